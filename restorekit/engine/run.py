"""What one training is made of: networks, data, optimisers, and how it is validated."""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import platform
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from restorekit import config, devices, processes, seeding
from restorekit.engine import checkpoint, checks, neighbours
from restorekit.engine.augment import Augment
from restorekit.engine.callbacks import Callback
from restorekit.engine.data import Batch
from restorekit.engine.ema import Ema
from restorekit.engine.initial import start_from
from restorekit.engine.patience import Patience
from restorekit.engine.players import NonFiniteError, Player
from restorekit.engine.probe import FixedSet, fixed_patches
from restorekit.engine.schedule import schedule
from restorekit.engine.sharing import SharedFeatures, build_losses
from restorekit.engine.sources import open_sources
from restorekit.engine.steps import Game, Step, Term, given_of, term_names, unwrapped
from restorekit.engine.watch import Watch
from restorekit.errors import TrainingError
from restorekit.images import finest
from restorekit.interfaces import Adversarial, Critic, Degradation, Generator, Metric
from restorekit.modelfile import Model
from restorekit.recipes import Recipe
from restorekit.registries import Registry
from restorekit.settings import DataSettings, TrainSettings

SHOWN = 4
"""Pictures in a validation grid."""


class Run:
    """The networks, data and optimisers of one training.

    Args:
        recipe: checked.
        device: as in `train`.
        registry: where parts are looked up.
        init: a model whose weights the networks start with, or None for random ones.
    """

    def __init__(self, recipe: Recipe, device: str, registry: Registry, init: Model | None = None) -> None:
        content = recipe.content
        self.recipe, self.registry = recipe, registry
        self.data: DataSettings = config.construct(DataSettings, content["data"], registry=registry, where="data")
        self.settings: TrainSettings = config.construct(TrainSettings, content["train"], registry=registry, where="train")
        settings = self.settings
        self.device = devices.pick(device)
        self.crew = processes.crew()
        self.fabric = processes.join(self.device.type)
        if self.crew.world > 1:
            self.device = self.fabric.device
        self.precision = checks.precision(settings.precision, self.device)

        self.generator: Generator = self._network("generator", content["generator"])
        self.critic: Critic | None = self._network("critic", content["critic"]) if "critic" in content else None
        checks.networks(recipe, self.data, settings, self.generator, self.critic, self.device, self.crew.world)
        if init is not None:
            start_from(init, recipe, {"generator": self.generator} | ({"critic": self.critic} if self.critic is not None else {}))
        self.origin = Path(init.recipe.origin).name if init is not None else None
        self.before: dict[str, float] = {}
        self.frozen = checks.frozen(settings, self.generator)
        self.average = Ema(copy.deepcopy(self.generator), settings.ema)
        self._read_data()
        self.players = {"generator": self._player("generator", self.generator, settings.learning_rate, settings.clip_gradient)}
        game = None
        if self.critic is not None:
            peak = settings.critic_learning_rate or settings.learning_rate
            critic = self.players["critic"] = self._player("critic", self.critic, peak, settings.clip_critic_gradient)
            spec = {k: v for k, v in content["adversarial"].items() if k != "weight"}
            objective: Adversarial = self._build("adversarial", spec, "adversarial")
            checks.objective(spec["part"], objective, settings)
            checks.penalty(spec["part"], objective, content["critic"], self.critic, registry)
            rest = -math.inf if settings.critic_rest is None else settings.critic_rest
            augment = Augment(settings.augment, *checks.augmentation(settings, spec["part"], objective), settings.augment_images)
            game = Game(critic, objective, content["adversarial"]["weight"], settings.critic_steps, rest, augment=augment)
        specs = [{k: v for k, v in spec.items() if k != "weight"} for spec in content["losses"]]
        self.shared: list[SharedFeatures]
        losses, self.shared = build_losses(specs, registry=registry)
        names = term_names(spec["part"] for spec in specs)
        weights = [spec["weight"] for spec in content["losses"]]
        terms = [Term(n, w, loss.to(self.device)) for n, w, loss in zip(names, weights, losses, strict=True)]
        self.step = Step(self.fabric, self.players["generator"], terms, self._autocast, game, self.shared, settings.micro_batches)
        self.patience = self._patience()
        self.watch = self._watch() if settings.watch else None
        self.metric: Metric = registry.create("metric", "core/psnr")

    def _build(self, kind: str, spec: Any, where: str) -> Any:
        return config.build_spec(kind, spec, registry=self.registry, where=where)

    def _network(self, kind: str, spec: Any) -> Any:
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        return self._build(kind, spec, kind).to(device=self.device, memory_format=layout)

    def _read_data(self) -> None:
        spec = self.recipe.content.get("degradation")
        self.degradation: Degradation | None = None
        made, crop = self.generator.size.fixed, self.data.crop
        if self.generator.consumes == "latent" and made is not None and made != (crop, crop):
            raise TrainingError(f"data.crop: {crop}, and the generator makes {made[1]}×{made[0]} pixels; set data.crop={made[0]}")
        if self.generator.consumes == "image":
            if spec is not None:
                self.degradation = self._build("degradation", spec, "degradation")
            _check_size(self.generator, self.data.crop // self.generator.scale)
        self.sources = open_sources(
            self.data,
            generator=self.generator,
            degradation=self.degradation,
            seed=self.settings.seed,
            device=self.device,
            share=(self.crew.rank, self.crew.world),
            beside=self.crew.local,
        )
        self.images, self.patches, self.pairs = self.sources.images, self.sources.patches, self.sources.pairs

    def _player(self, name: str, network: Generator | Critic, peak: float, clip: float | None) -> Player:
        settings = self.settings
        optimizer = torch.optim.AdamW(network.parameters(), lr=peak, betas=settings.betas, weight_decay=settings.weight_decay)
        if settings.compile:
            network.compile()  # in place, so that the names of the weights stay as they are
        wrapped, optimizer = self.fabric.setup(network, optimizer)
        scaler = torch.amp.GradScaler(self.device.type) if self.precision == "fp16" else None
        return Player(name, wrapped, optimizer, peak, clip, scaler)

    def _patience(self) -> Patience | None:
        return None if self.settings.patience is None else Patience(self.average.average, self.settings.patience)

    def _watch(self) -> Watch:
        data = self.data
        if self.generator.consumes == "latent":
            few = slice(max(2, data.batch))
            labels = self.fixed_labels()
            fixed: FixedSet | None = FixedSet(
                self.generator, self.fixed_latent()[few], self._autocast, given=None if labels is None else labels[few]
            )
        else:
            crop = data.crop // self.generator.scale
            found = fixed_patches(self.pairs, self.generator.size, crop=crop, pixels=data.batch * crop**2)
            fixed = None if found is None else self._fixed(found.to(self.device))
        # What is done about it must be the same everywhere, also where devices round differently: the first one's word counts.
        agree = self.fabric.broadcast if self.crew.world > 1 else None
        return Watch(self._training, fixed, every=self.settings.watch_every, tries=self.settings.watch_tries, agree=agree)

    def _fixed(self, batch: Batch) -> FixedSet:
        losses = (lambda outputs: self.step.losses(outputs, batch)) if self.step.compared else None
        given = given_of(self.generator, batch)
        return FixedSet(self.generator, batch.degraded.image, self._autocast, batch.sharp, losses, given)

    def _autocast(self) -> AbstractContextManager[object]:
        # Not Fabric's own mixed precision: that would reach into gradient penalties, which stay in float32.
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.float16 if self.precision == "fp16" else torch.bfloat16)

    @property
    def _training(self) -> checkpoint.State:
        """What a step changes."""
        networks = {name: unwrapped(player.network) for name, player in self.players.items()} | {"average": self.average.average}
        scalers = {name: player.scaler for name, player in self.players.items() if player.scaler is not None}
        return checkpoint.State(networks, {name: player.optimizer for name, player in self.players.items()}, scalers)

    def save(self, folder: Path, step: int) -> None:
        """Write a checkpoint after `step` steps, if this is the first process.

        Raises:
            TrainingError: it cannot be written.
        """
        if not self.fabric.is_global_zero:
            return
        state, watch = self._training, self.watch
        extras: dict[str, Any] = {"origin": self.origin, "before": self.before}
        if watch is not None:
            extras["watch"] = watch.extras()
        if self.step.game is not None:
            extras["augment"] = self.step.game.augment.extras()
        if self.patience is not None:
            extras["patience"] = self.patience.extras()
            state = replace(state, networks={**state.networks, "best": self.patience.best})
        good = watch.good if watch is not None and watch.good_step != step else None
        checkpoint.save(folder, state, step=step, recipe=self.recipe, extras=extras, good=good, keep=self.settings.keep)

    def resume(self, folder: Path) -> int:
        """Go on from the newest checkpoint and return the number of steps it had done.

        Raises:
            TrainingError: there is none that fits.
        """
        state = self._training
        if self.patience is not None:
            state = replace(state, networks={**state.networks, "best": self.patience.best})
        loaded = checkpoint.load(folder, state, recipe=self.recipe, registry=self.registry)
        self.origin = loaded.extras.get("origin")
        self.before = loaded.extras.get("before", {})
        if self.watch is not None:
            self.watch.resume(loaded.step, loaded.extras.get("watch", {}), loaded.good)
        if self.step.game is not None and "augment" in loaded.extras:
            self.step.game.augment.resume(loaded.extras["augment"])
        if self.patience is not None and "patience" in loaded.extras:
            self.patience.resume(loaded.extras["patience"])
        if loaded.step >= self.settings.steps:
            warnings.warn(
                f"{folder}: at step {loaded.step} already, and train.steps is {self.settings.steps}: no step is left to do. "
                "To train it longer: --set train.steps=N",
                UserWarning,
                stacklevel=2,
            )
        return loaded.step

    def put(self, batch: Batch) -> Batch:
        """The batch on the device.

        Raises:
            NonFiniteError: it holds values that are not finite, here or in another process.
        """
        # Asked before it is moved, since on a GPU an answer waits for everything before it. A sum is the cheapest question.
        if self.anywhere(not (batch.sharp.sum() + batch.degraded.image.sum()).isfinite()):
            raise NonFiniteError(["the batch"], batch=True)
        return batch.to(self.device)

    def anywhere(self, true: bool) -> bool:
        """Whether it is true of any of the processes, all of which have to ask."""
        return bool(self._sum([float(true)])[0])

    def _sum(self, values: Sequence[float]) -> list[float]:
        """Their sums over all processes."""
        if self.crew.world == 1:
            return list(values)
        total: Any = self.fabric.all_reduce(torch.tensor(values, dtype=torch.float64, device=self.device), reduce_op="sum")
        numbers: list[float] = total.tolist()
        return numbers

    def grow(self, step: int) -> None:
        """Give networks that grow the size that they have in the step of this number."""
        self.generator.grow(step)
        if self.critic is not None:
            self.critic.grow(step)

    def seed(self, step: int) -> None:
        """Whatever networks draw (dropout, penalties) follows from seed, step and process, so nothing needs storing."""
        others = [self.crew.rank] if self.crew.rank else []
        torch.manual_seed(seeding.derive(self.settings.seed, "step", step, *others))

    def latent(self, step: int) -> Tensor | None:
        """This process's latent vectors of one step, or None for a generator that takes images."""
        if self.generator.consumes == "image":
            return None
        rng = seeding.generator(self.settings.seed, "latent", step)
        count = self.data.batch // self.crew.world
        vectors = torch.randn(self.data.batch, self.generator.latent, generator=rng)
        return vectors[self.crew.rank * count : (self.crew.rank + 1) * count].to(self.device)

    def set_learning_rate(self, step: int) -> float:
        """Set every optimiser's rate for this step, as schedule and watch will have it, and return the generator's.

        What ``train.freeze`` freezes is set with it.
        """
        self.players["generator"].frozen = [one for until, parameters in self.frozen if step < until for one in parameters]
        factor = schedule(self.settings, step)
        if self.watch is not None and self.step.game is not None:
            self.step.game.share = self.watch.share
        if self.step.game is not None:
            self.step.game.augment.noise = self.settings.instance_noise * (1 - step / self.settings.steps)
        for name, player in self.players.items():
            for group in player.optimizer.param_groups:
                group["lr"] = player.peak * factor * self._share(name)
        return self.players["generator"].peak * factor * self._share("generator")

    def _share(self, player: str) -> float:
        return 1.0 if self.watch is None else self.watch.rates[player]

    @torch.no_grad()
    def validate(self, step: int, listeners: Sequence[Callback], *, images: int | None = None) -> dict[str, float]:
        """Score the averaged generator on the held-out images, or the first `images` of them, and tell the listeners.

        Returns:
            PSNR of the results in dB, of their inputs, and, where the recipe trains on sharp images too, of sharp
            images put through the network. Empty for generators that make images from a latent.
        """
        model = Model(self.average.average, self.recipe)
        rows: list[tuple[Tensor, ...]] = []
        if not self.pairs:
            made = self.average.average(self.fixed_latent(), self.fixed_labels())
            shown = finest(made).float().clamp(0, 1).cpu()
            near = neighbours.nearest(shown, self._trained_on)
            rows = [(*shown[i : i + SHOWN], *near[i : i + SHOWN]) for i in range(0, SHOWN * SHOWN, SHOWN)]
            _tell(listeners, step, {}, rows)
            for listener in listeners:
                listener.made(step, shown)
            return {}
        values: dict[str, list[float]] = {"PSNR": [], "PSNR of input": [], "PSNR on sharp": []}
        for pair in self.pairs[:images][self.crew.rank :: self.crew.world]:
            batch = pair.to(self.device)
            with self._autocast():
                given = given_of(self.average.average, batch)
                restored = model.restore(batch.degraded.image, given=given)
            values["PSNR"].append(float(self.metric(restored, batch.sharp)))
            if restored.shape == batch.degraded.image.shape:
                values["PSNR of input"].append(float(self.metric(batch.degraded.image, batch.sharp)))
            if self.data.sharp_share:
                values["PSNR on sharp"].append(float(self.metric(model.restore(batch.sharp, given=given), batch.sharp)))
            if len(rows) < SHOWN:
                rows.append((batch.degraded.image[0], restored[0], batch.sharp[0]))
        finite = {name: [v for v in found if math.isfinite(v)] for name, found in values.items()}
        sums, counts = (self._sum([measure(found) for found in finite.values()]) for measure in (sum, len))
        scores = {name: total / count for name, total, count in zip(finite, sums, counts, strict=True) if count}
        _tell(listeners, step, scores, rows)
        if self.patience is not None:
            self.patience.see(scores)
        return scores

    @functools.cached_property
    def _trained_on(self) -> Tensor:
        """Training patches ``(N, C, H, W)`` among which the nearest to made pictures are looked for."""
        return neighbours.patches(self.patches)

    def finish(self, step: int, listeners: Sequence[Callback]) -> Model:
        """Validate once more, unless patience has ended the run, and return the result: the best weights where it was asked for them."""
        patience = self.patience
        scores = patience.scores if patience is not None and patience.over else self.validate(step, listeners)
        if patience is not None and patience.scores:
            self.average.average.load_state_dict(patience.best.state_dict())
            scores = patience.scores
        return self._model(step, scores)

    def fixed_latent(self) -> Tensor:
        """The same latent vectors at every validation."""
        count = SHOWN * SHOWN
        return torch.randn(count, self.generator.latent, generator=seeding.generator(self.settings.seed, "fixed")).to(self.device)

    def fixed_labels(self) -> Tensor | None:
        """The class labels that go with them, each class in turn, or None where the generator takes none."""
        classes = self.generator.classes
        return (torch.arange(SHOWN * SHOWN) % classes).to(self.device) if classes and self.generator.consumes == "latent" else None

    def _model(self, step: int, scores: dict[str, float]) -> Model:
        used = sorted({name.partition("/")[0] for name in _part_names(self.recipe.content)})
        installed = {plugin.namespace: plugin for plugin in self.registry.plugins}
        provenance = {
            "distributions": {n: f"{installed[n].distribution}=={installed[n].version}" for n in used if n in installed},
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "device": self.device.type,
            "precision": self.precision,
            "steps": step,
            "training images": self.sources.count,
            "training data": self.sources.kind,
            "recipe": self.recipe.origin,
        }
        if self.origin is not None:
            provenance["started from"] = self.origin
            provenance["scores before"] = self.before
        damaged = self.sources.finish()
        if damaged:
            provenance["images that could not be read"] = damaged
        if self.watch is not None and self.watch.events:
            provenance["watch"] = self.watch.report
        average = self.average.average
        latent = self.generator.consumes == "latent"
        return Model(average, self.recipe, self.critic if latent else None, provenance, scores, ema=self.settings.ema > 0)


def _check_size(generator: Generator, side: int) -> None:
    size = generator.size
    if side < size.minimum or side % size.multiple_of or (size.fixed and size.fixed != (side, side)):
        wanted = f"{size.fixed}" if size.fixed else f"at least {size.minimum} and a multiple of {size.multiple_of}"
        raise TrainingError(f"data.crop: the generator would get {side} pixels; it takes {wanted}")


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
