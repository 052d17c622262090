"""What one training is made of: networks, data, optimisers, and how it is validated."""

from __future__ import annotations

import contextlib
import copy
import math
import platform
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from restorekit import config, devices, seeding
from restorekit.engine import checkpoint
from restorekit.engine.callbacks import Callback
from restorekit.engine.data import Images, PatchSource, validation_pairs
from restorekit.engine.ema import Ema
from restorekit.engine.schedule import schedule
from restorekit.engine.sharing import SharedFeatures, build_losses
from restorekit.engine.steps import Game, Player, Step, Term, term_names
from restorekit.errors import TrainingError
from restorekit.interfaces import Critic, Degradation, Generator, Metric
from restorekit.modelfile import Model
from restorekit.recipes import Recipe
from restorekit.registries import Registry
from restorekit.settings import BUNDLED, DataSettings, TrainSettings

SHOWN = 4
"""Pictures in a validation grid."""


class Run:
    """The networks, data and optimisers of one training.

    Args:
        recipe: checked.
        device: as in `train`.
        registry: where parts are looked up.
    """

    def __init__(self, recipe: Recipe, device: str, registry: Registry) -> None:
        content = recipe.content
        self.recipe, self.registry = recipe, registry
        self.data: DataSettings = config.construct(DataSettings, content["data"], registry=registry, where="data")
        self.settings: TrainSettings = config.construct(TrainSettings, content["train"], registry=registry, where="train")
        settings = self.settings
        self.device = devices.pick(device)
        self.precision = _precision(settings.precision, self.device)
        fabric = Fabric(accelerator=self.device.type, devices=1)

        self.generator: Generator = self._network("generator", content["generator"])
        self.average = Ema(copy.deepcopy(self.generator), settings.ema)
        self._read_data()
        self.players = {"generator": self._player(fabric, self.generator, settings.learning_rate, settings.clip_gradient)}
        game = None
        self.critic: Critic | None = None
        if "critic" in content:
            self.critic = self._network("critic", content["critic"])
            self._check_critic()
            self.players["critic"] = self._player(fabric, self.critic, settings.critic_learning_rate or settings.learning_rate, None)
            spec = {k: v for k, v in content["adversarial"].items() if k != "weight"}
            objective = self._build("adversarial", spec, "adversarial")
            game = Game(self.players["critic"], objective, content["adversarial"]["weight"], settings.critic_steps)
        specs = [{k: v for k, v in spec.items() if k != "weight"} for spec in content["losses"]]
        self.shared: list[SharedFeatures]
        losses, self.shared = build_losses(specs, registry=registry)
        names = term_names(spec["part"] for spec in specs)
        weights = [spec["weight"] for spec in content["losses"]]
        terms = [Term(n, w, loss.to(self.device)) for n, w, loss in zip(names, weights, losses, strict=True)]
        self.step = Step(fabric, self.players["generator"], terms, self._autocast(), game)
        self.metric: Metric = registry.create("metric", "core/psnr")

    def _build(self, kind: str, spec: Any, where: str) -> Any:
        return config.build_spec(kind, spec, registry=self.registry, where=where)

    def _network(self, kind: str, spec: Any) -> Any:
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        return self._build(kind, spec, kind).to(device=self.device, memory_format=layout)

    def _read_data(self) -> None:
        spec = self.recipe.content.get("degradation")
        self.degradation: Degradation | None = None
        if self.generator.consumes == "image":
            if spec is None:
                raise TrainingError("degradation: missing; the generator restores images, so say how they get damaged")
            self.degradation = self._build("degradation", spec, "degradation")
            _check_size(self.generator, self.data.crop // self.degradation.scale)
        if not self.data.train:
            raise TrainingError(f"data.train: which photographs? Give --data FOLDER, or --data {BUNDLED} to try with scikit-image's own")
        images = Images(self.data.train, channels=self.generator.channels, smallest=self.data.crop)
        _warn_of_skipped(images.skipped)
        if self.data.validation is None:
            images, held_out = images.split(self.data.holdout, self.settings.seed)
        else:
            held_out = Images(self.data.validation, channels=self.generator.channels, smallest=self.data.crop)
        self.images = images
        _warn_of_skipped(held_out.skipped)
        self.patches = PatchSource(images, self.data, self.degradation, self.settings.seed)
        self.pairs = validation_pairs(held_out, self.data, self.degradation, self.settings.seed) if self.degradation else []

    def _player(self, fabric: Fabric, network: Generator | Critic, peak: float, clip: float | None) -> Player:
        settings = self.settings
        optimizer = torch.optim.AdamW(network.parameters(), lr=peak, betas=settings.betas, weight_decay=settings.weight_decay)
        wrapped, optimizer = fabric.setup(network, optimizer)
        return Player(wrapped, optimizer, peak, clip)

    def _check_critic(self) -> None:
        if self.critic is not None and self.critic.channels != self.generator.channels:
            raise TrainingError(
                f"critic: judges {self.critic.channels} channels, the generator makes {self.generator.channels}; set critic.channels"
            )

    def _autocast(self) -> AbstractContextManager[object]:
        # Not Fabric's own mixed precision: that would reach into gradient penalties, which stay in float32.
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    @property
    def state(self) -> checkpoint.State:
        """What a checkpoint holds."""
        networks = {name: _unwrapped(player.network) for name, player in self.players.items()} | {"average": self.average.average}
        return checkpoint.State(networks, {name: player.optimizer for name, player in self.players.items()})

    def latent(self, n: int, step: int) -> Tensor | None:
        """The latent vectors of one step, or None for a generator that takes images."""
        if self.generator.consumes == "image":
            return None
        rng = seeding.generator(self.settings.seed, "latent", step)
        return torch.randn(n, self.generator.latent, generator=rng).to(self.device)

    def set_learning_rate(self, step: int) -> float:
        """Set every optimiser's rate for this step and return the generator's."""
        factor = schedule(self.settings, step)
        for player in self.players.values():
            for group in player.optimizer.param_groups:
                group["lr"] = player.peak * factor
        return self.players["generator"].peak * factor

    @torch.no_grad()
    def validate(self, step: int, listeners: Sequence[Callback]) -> dict[str, float]:
        """Score the averaged generator on the held-out images and tell the listeners.

        Returns:
            PSNR of the results in dB, of their inputs, and, where the recipe trains on sharp images too, of sharp
            images put through the network. Empty for generators that make images from a latent.
        """
        model = Model(self.average.average, self.recipe)
        rows: list[tuple[Tensor, ...]] = []
        if not self.pairs:
            made = self.average.average(self.fixed_latent())
            finest = made[-1] if isinstance(made, tuple) else made
            rows = [tuple(finest[i : i + SHOWN]) for i in range(0, SHOWN * SHOWN, SHOWN)]
            _tell(listeners, step, {}, rows)
            return {}
        values: dict[str, list[float]] = {"PSNR": [], "PSNR of input": [], "PSNR on sharp": []}
        for pair in self.pairs:
            batch = pair.to(self.device)
            with self._autocast():
                restored = model.restore(batch.degraded.image)
            values["PSNR"].append(float(self.metric(restored, batch.sharp)))
            if restored.shape == batch.degraded.image.shape:
                values["PSNR of input"].append(float(self.metric(batch.degraded.image, batch.sharp)))
            if self.data.sharp_share:
                values["PSNR on sharp"].append(float(self.metric(model.restore(batch.sharp), batch.sharp)))
            if len(rows) < SHOWN:
                rows.append((batch.degraded.image[0], restored[0], batch.sharp[0]))
        finite = {name: [v for v in found if math.isfinite(v)] for name, found in values.items()}
        scores = {name: sum(found) / len(found) for name, found in finite.items() if found}
        _tell(listeners, step, scores, rows)
        return scores

    def fixed_latent(self) -> Tensor:
        """The same latent vectors at every validation."""
        count = SHOWN * SHOWN
        return torch.randn(count, self.generator.latent, generator=seeding.generator(self.settings.seed, "fixed")).to(self.device)

    def model(self, scores: dict[str, float]) -> Model:
        """The result, with what is needed to know it again."""
        used = sorted({name.partition("/")[0] for name in _part_names(self.recipe.content)})
        installed = {plugin.namespace: plugin for plugin in self.registry.plugins}
        provenance = {
            "distributions": {n: f"{installed[n].distribution}=={installed[n].version}" for n in used if n in installed},
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "device": self.device.type,
            "precision": self.precision,
            "steps": self.settings.steps,
            "training images": len(self.images),
            "recipe": self.recipe.origin,
        }
        average = self.average.average
        latent = self.generator.consumes == "latent"
        return Model(average, self.recipe, self.critic if latent else None, provenance, scores, ema=self.settings.ema > 0)


def _warn_of_skipped(skipped: Sequence[str]) -> None:
    if skipped:
        more = f" and {len(skipped) - 3} more" if len(skipped) > 3 else ""
        warnings.warn(f"{len(skipped)} pictures are left out: {'; '.join(skipped[:3])}{more}", UserWarning, stacklevel=2)


def _precision(asked: str, device: torch.device) -> str:
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # Emulated bf16 is ten times slower than fp32, so only instructions count; torch has no public question for them.
    there = any(getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return "bf16" if device.type == "cpu" and there else "fp32"


def _check_size(generator: Generator, side: int) -> None:
    size = generator.size
    if side < size.minimum or side % size.multiple_of or (size.fixed and size.fixed != (side, side)):
        wanted = f"{size.fixed}" if size.fixed else f"at least {size.minimum} and a multiple of {size.multiple_of}"
        raise TrainingError(f"data.crop: the generator would get {side} pixels; it takes {wanted}")


def _unwrapped(network: Any) -> torch.nn.Module:
    module: torch.nn.Module = getattr(network, "module", network)
    return module


def _tell(listeners: Sequence[Callback], step: int, scores: dict[str, float], rows: list[tuple[Tensor, ...]]) -> None:
    for listener in listeners:
        listener.validated(step, scores, rows)


def _part_names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("part"), str):
            yield value["part"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _part_names(item)
