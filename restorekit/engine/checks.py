"""What is refused before time is spent: settings that do not go together, or not with this machine."""

from __future__ import annotations

import os
import shutil

import torch
from torch import nn

from restorekit.errors import TrainingError, did_you_mean
from restorekit.interfaces import Adversarial, Critic, Generator
from restorekit.recipes import Recipe
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
        raise TrainingError(f"critic: judges {critic.channels} channels, the generator makes {generator.channels}; set critic.channels")
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


def precision(asked: str, device: torch.device) -> str:
    """The precision for `train.precision`: ``fp32``, ``bf16`` or ``fp16``.

    Raises:
        TrainingError: fp16 on something else than CUDA.
    """
    if asked == "fp16" and device.type != "cuda":
        raise TrainingError(f"train.precision: fp16 needs a CUDA device, this run is on {device.type}; set train.precision to bf16 or fp32")
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # Emulated bf16 is ten times slower than fp32, so only instructions count; torch has no public question for them.
    there = any(getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return "bf16" if device.type == "cpu" and there else "fp32"
