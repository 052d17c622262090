"""What is refused before time is spent: settings that do not go together, or not with this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from restorekit import config, devices
from restorekit.errors import TrainingError, did_you_mean
from restorekit.interfaces import Adversarial, Critic, Generator
from restorekit.recipes import Recipe
from restorekit.registries import Registry
from restorekit.settings import DataSettings, TrainSettings


def networks(
    recipe: Recipe,
    data: DataSettings,
    settings: TrainSettings,
    generator: Generator,
    critic: Critic | None,
    device: torch.device,
    processes: int,
) -> None:
    """Check that networks and settings fit each other.

    Raises:
        TrainingError: they do not; with the key to change.
    """
    if critic is not None and critic.channels != generator.channels:
        raise TrainingError(
            f"critic: judges {critic.channels} channels, the generator makes {generator.channels}; set critic.channels={generator.channels}"
        )
    if critic is not None and critic.classes != generator.classes and (critic.classes or generator.consumes == "latent"):
        wrong, right = ("generator", critic.classes) if generator.classes == 0 else ("critic", generator.classes)
        counts = f"{critic.classes or 'no'} class labels and the generator {generator.classes or 'none'}"
        raise TrainingError(f"critic: takes {counts}; set {wrong}.classes={right}")
    grows = any(type(network).grow is not base.grow for network, base in ((generator, Generator), (critic, Critic)) if network is not None)
    if grows and processes > 1:
        raise TrainingError("generator: grows while it trains, which only one process can do; leave out --devices")
    if data.batch % (settings.micro_batches * processes):
        if processes > 1:
            each = f" and its {settings.micro_batches} parts" if settings.micro_batches > 1 else ""
            raise TrainingError(f"data.batch: {data.batch} cannot be divided equally among {processes} processes{each}; set data.batch")
        raise TrainingError(f"train.micro_batches: {settings.micro_batches} equal parts do not make data.batch={data.batch}")
    if settings.patience is not None and generator.consumes == "latent":
        raise TrainingError("train.patience: a generator that makes images from latent vectors has no PSNR to wait for; leave it out")
    if settings.critic_start and not recipe.content["losses"]:
        raise TrainingError("train.critic_start: without losses there is nothing to train by before the critic joins; set it to 0")
    if settings.compile and device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        raise TrainingError("train.compile: needs a C++ compiler on the processor; install g++, or set train.compile=false")


def objective(name: str, objective: Adversarial, settings: TrainSettings) -> None:
    """Check that the objective can be trained as the settings say.

    Raises:
        TrainingError: it needs the whole batch and would get parts.
    """
    if objective.whole_batch and settings.micro_batches > 1:
        raise TrainingError(
            f"train.micro_batches: {name} averages over the batch, and its terms for {settings.micro_batches} parts do not add up to those "
            "of the whole. Set it to 1 and, where memory is short, lower data.batch, or choose another adversarial part"
        )


def frozen(settings: TrainSettings, generator: Generator) -> list[tuple[int, list[nn.Parameter]]]:
    """The parameters that ``train.freeze`` names, and until which step they stay as they are.

    Raises:
        TrainingError: the generator has no such module, or there is nothing in it to freeze, or nothing left to train.
    """
    modules = dict(generator.named_modules())
    found = []
    for name, steps in (settings.freeze or {}).items():
        if not name or name not in modules:
            top = [child for child, _ in generator.named_children()]
            raise TrainingError(
                f"train.freeze: the generator has no module {name!r}.{did_you_mean(name, modules)} Its modules: {', '.join(top)}"
            )
        parameters = list(modules[name].parameters())
        if not parameters:
            raise TrainingError(f"train.freeze: {name} has no weights")
        found.append((steps, parameters))
    if len({id(parameter) for _, parameters in found for parameter in parameters}) == len(list(generator.parameters())):
        raise TrainingError(f"train.freeze: {', '.join(settings.freeze or ())} is all of the generator; leave something to train")
    return found


def penalty(name: str, objective: Adversarial, spec: Mapping[str, Any], critic: Critic, registry: Registry) -> None:
    """Check that a critic whose gradient is looked at image by image judges each image alone.

    Raises:
        TrainingError: it has batch norm; with the option to change.
    """
    if not objective.of_each_image or not any(isinstance(module, _BatchNorm) for module in critic.modules()):
        return
    options = config.options_of(registry.find("critic", spec["part"]).load())
    instead = "set critic.norm=none" if "norm" in options else "choose a critic without it"
    raise TrainingError(
        f"critic: {spec['part']} has batch norm, which mixes the images of a batch, and {name} looks at the gradient for each image alone; "
        f"{instead}"
    )


def augmentation(settings: TrainSettings, name: str, objective: Adversarial) -> tuple[float, float | None]:
    """The probability of augmentation at the start, and what it is adapted to, or None.

    Raises:
        TrainingError: it follows logits that say nothing by their sign.
    """
    if settings.augment_probability != "adaptive":
        return settings.augment_probability, None
    if not objective.signed:
        raise TrainingError(
            f"train.augment_probability: adaptive counts the real images that the critic calls real, and with {name} no logit says that; "
            "give a number, or take core/non-saturating, core/hinge or core/r1"
        )
    return 0.0, settings.augment_target


def precision(asked: str, device: torch.device) -> str:
    """The precision for `train.precision`: ``fp32``, ``bf16`` or ``fp16``.

    Raises:
        TrainingError: fp16 on something else than CUDA.
    """
    if asked == "fp16" and device.type != "cuda":
        raise TrainingError(f"train.precision: fp16 needs a CUDA device, this run is on {device.type}; set train.precision to bf16 or fp32")
    if asked != "auto":
        return asked
    return "bf16" if devices.has_bf16(device) else "fp32"
