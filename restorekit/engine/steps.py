"""One step of training: supervised, or the two-player game."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.func import functional_call

from restorekit.engine.augment import Augment, pyramid
from restorekit.engine.data import Batch
from restorekit.engine.microbatches import MicroBatch, divide
from restorekit.engine.players import Player
from restorekit.engine.probe import SIGN, Ear
from restorekit.engine.sharing import SharedFeatures
from restorekit.images import finest
from restorekit.interfaces import Adversarial, Critic, Generator, Loss
from restorekit.interfaces.adversarial import Images

Autocast = Callable[[], AbstractContextManager[object]]

CRITIC = "critic "
"""Before the names of the critic's terms in reports."""


@dataclass(frozen=True)
class Term:
    """One loss of the recipe, its weight and its name in reports."""

    name: str
    weight: float
    loss: Loss


@dataclass(frozen=True)
class Outcome:
    """What a step has done.

    Attributes:
        terms: the weighted terms by name.
        loss: sum of the recipe's losses that compare with a target, or None where it has none.
        critic: sum of the critic's terms, or None where it did not play.
        signals: mean logits ``D(x)`` and ``D(G(z))``, ``D(G(z)) after`` the generator's step where that was asked for, and
            the norms of the gradients.
    """

    terms: dict[str, float]
    loss: float | None
    critic: float | None
    signals: dict[str, float]


class Step:
    """A step of the generator and, in adversarial training, of its critic.

    Args:
        fabric: runs backward passes.
        generator: with its optimiser.
        terms: the recipe's losses.
        autocast: makes the context in which networks run.
        game: critic, objective, the objective's weight and the critic's steps, or None.
        shared: feature networks that remember the images of a step.
        micro_batches: parts into which a batch is divided.
    """

    def __init__(
        self,
        fabric: Fabric,
        generator: Player,
        terms: Sequence[Term],
        autocast: Autocast,
        game: Game | None = None,
        shared: Sequence[SharedFeatures] = (),
        micro_batches: int = 1,
    ) -> None:
        self.fabric, self.generator, self.terms, self.autocast, self.game = fabric, generator, terms, autocast, game
        self.shared, self.micro_batches = shared, micro_batches
        self.compared = [term.name for term in terms if term.loss.needs_target]

    def __call__(self, batch: Batch, latent: Tensor | None, *, play: bool = True, after: bool = False) -> Outcome:
        """Train on one batch.

        Args:
            batch: on the device.
            latent: the generator's input ``(N, Z)``, or None where it takes the degraded images.
            play: whether the critic takes part.
            after: also ask the critic about the images that the generator makes after its step.

        Raises:
            NonFiniteError: a term or a gradient; it is named.
        """
        game = self.game if play else None
        parts = divide(batch, latent, self.micro_batches)
        numbers: dict[str, float] = {}
        ready: list[Images] = []
        if game is not None:
            # The generator does not change in the critic's rounds, so one forward pass serves them all and, unless the
            # batch is divided to save memory, the generator's own step too.
            with torch.set_grad_enabled(len(parts) == 1):
                ready = [self._make(part) for part in parts]
            numbers |= game.critic_rounds(self.fabric, parts, [_detached(fake) for fake in ready], self.autocast)
        sums: dict[str, Tensor] = {}
        self.generator.optimizer.zero_grad(set_to_none=True)
        for part in parts:
            with self.generator.adding(self.fabric, last=part is parts[-1]):
                fake = ready[0] if game is not None and len(parts) == 1 else self._make(part)
                terms = self._weighted(fake, part.batch)
                if game is not None:
                    terms |= game.generator_terms(part, fake, self.autocast)
                self.generator.backward(self.fabric, _total(terms) / len(parts))
            _add(sums, terms, len(parts))
            for features in self.shared:
                features.clear()
        numbers |= self.generator.update(self.fabric, sums, {})
        if game is not None and after:
            numbers |= game.after(self.fabric, self.generator.network, parts[0], self.autocast)
        return self._outcome(numbers, sums)

    def _make(self, part: MicroBatch) -> Images:
        with self.autocast(), part.drawing():
            return _made(self.generator.network, part)

    def losses(self, restored: Tensor, batch: Batch) -> Tensor:
        """The sum of the recipe's weighted losses that compare with a target, without training."""
        terms = self._weighted(restored, batch)
        total = _total({name: terms[name] for name in self.compared})
        for features in self.shared:
            features.clear()
        return total

    def _weighted(self, fake: Images, batch: Batch) -> dict[str, Tensor]:
        with self.autocast():  # for feature networks; distances are taken in float32 whatever the autocast
            return {term.name: term.weight * term.loss(finest(fake), batch.sharp, batch.degraded) for term in self.terms}

    def _outcome(self, numbers: dict[str, float], sums: Mapping[str, Tensor]) -> Outcome:
        critic = [value for name, value in numbers.items() if name.startswith(CRITIC)]
        terms = {name: value for name, value in numbers.items() if name.startswith(CRITIC) or name in sums}
        return Outcome(
            terms,
            sum(numbers[name] for name in self.compared) if self.compared else None,
            sum(critic) if critic else None,
            {name: value for name, value in numbers.items() if name not in terms},
        )


@dataclass
class Game:
    """The critic's side of adversarial training.

    Args:
        critic: with its optimiser.
        objective: what both minimise.
        weight: of the objective's terms in the generator's loss.
        rounds: steps of the critic for each of the generator's.
        rest: loss below which the critic is not updated.
        share: factor on `weight`, which the watch lowers.
        augment: what the critic sees instead of the images.
    """

    critic: Player
    objective: Adversarial
    weight: float
    rounds: int
    rest: float = -math.inf
    share: float = 1.0
    augment: Augment = field(default_factory=Augment)
    ear: Ear = field(init=False)

    def __post_init__(self) -> None:
        self.ear = Ear(self.critic.network, signs=self.augment.target is not None)

    def critic_rounds(self, fabric: Fabric, parts: Sequence[MicroBatch], fakes: Sequence[Images], autocast: Autocast) -> dict[str, float]:
        """Train the critic on what the generator has just made, detached, and report the last round."""
        critic = _as_critic(self.critic.network)
        critic.requires_grad_(True)
        numbers: dict[str, float] = {}
        for _ in range(self.rounds):
            sums: dict[str, Tensor] = {}
            heard: dict[str, Tensor] = {}
            self.critic.optimizer.zero_grad(set_to_none=True)
            for part, fake in zip(parts, fakes, strict=True):
                real, seen = self.augment(pyramid(part.batch.sharp, fake)), self.augment(fake)
                self.ear.listen(real, seen)
                with self.critic.adding(fabric, last=part is parts[-1]):
                    with autocast():
                        terms = self.objective.critic_terms(critic, real, seen, _given(critic, part.batch))
                    self.critic.backward(fabric, _total(terms) / len(parts))
                _add(sums, {CRITIC + name: value for name, value in terms.items()}, len(parts))
                _add(heard, self.ear.heard, len(parts))
            numbers = self.critic.update(fabric, sums, heard, self.rest)
            self.objective.constrain(critic)
            if self.augment.target is not None:
                self.augment.adapt(numbers[SIGN], sum(len(part.batch.sharp) for part in parts) * fabric.world_size)
                numbers["probability of augmentation"] = self.augment.probability
        return numbers

    def generator_terms(self, part: MicroBatch, fake: Images, autocast: Autocast) -> dict[str, Tensor]:
        """The objective's terms for the generator, with the critic's weights frozen so that no gradient is computed for them."""
        critic = unwrapped(self.critic.network)  # a wrapper that averages gradients would wait for those of the critic
        critic.requires_grad_(False)
        real, seen = self.augment(pyramid(part.batch.sharp, fake)), self.augment(fake)
        with autocast():
            terms = self.objective.generator_terms(critic, real, seen, _given(critic, part.batch))
        return {name: self.share * self.weight * value for name, value in terms.items()}

    @torch.no_grad()
    def after(self, fabric: Fabric, generator: nn.Module, part: MicroBatch, autocast: Autocast) -> dict[str, float]:
        """Mean logit of what the generator makes now of the inputs of the last step; no state changes, nothing is drawn anew."""
        with torch.random.fork_rng(devices=[part.batch.sharp.device] if part.batch.sharp.device.type == "cuda" else []), autocast():
            fake = _made(generator, part, _untouched(generator))
            critic = unwrapped(self.critic.network)
            scales = _untouched(critic)(self.augment(fake), _given(critic, part.batch))
        mean: Any = fabric.all_reduce(torch.stack([logits.float().mean() for logits in scales]).mean())
        return {"D(G(z)) after": float(mean)}


def _untouched(network: nn.Module) -> Callable[..., Any]:
    """Calls a network in training mode whose buffers, such as batch norm's statistics, stay as they are."""
    inside: nn.Module = unwrapped(network)

    def call(*inputs: Any) -> Any:
        return functional_call(inside, {name: value.clone() for name, value in inside.named_buffers()}, inputs)

    return call


def _made(network: nn.Module, part: MicroBatch, call: Callable[..., Any] | None = None) -> Images:
    """What `network` makes, or `call`, which calls it in another way."""
    x = part.batch.degraded.image if part.latent is None else part.latent
    given = given_of(unwrapped(network), part.batch)
    call = call or network
    made: Images = call(x) if given is None else call(x, given)
    return made


def given_of(generator: Generator, batch: Batch) -> Tensor | None:
    """What the generator is conditioned on beside its input: a reference picture, class labels, or nothing."""
    return batch.degraded.reference if generator.guided else batch.labels


def _add(sums: dict[str, Tensor], terms: Mapping[str, Tensor], count: int) -> None:
    for name, value in terms.items():
        sums[name] = sums.get(name, 0) + value.detach().float() / count


def _total(terms: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([value.float() for value in terms.values()]).sum()


def _as_critic(network: nn.Module) -> Critic:
    return network  # type: ignore[return-value]  # Fabric's wrapper forwards to the critic inside


def unwrapped(network: Any) -> Any:
    """The network inside Fabric's wrapper."""
    return getattr(network, "module", network)


def _given(critic: Critic, batch: Batch) -> Tensor | None:
    if not critic.conditional:
        return None
    return batch.labels if critic.classes else batch.degraded.image


def _detached(fake: Images) -> Images:
    return tuple(image.detach() for image in fake) if isinstance(fake, tuple) else fake.detach()


def term_names(parts: Iterable[str]) -> list[str]:
    """Names for reports: the part's name without its namespace, numbered where it repeats."""
    names: list[str] = []
    for part in parts:
        name = part.rpartition("/")[2]
        used = sum(other == name or other.startswith(f"{name} ") for other in names)
        names.append(f"{name} {used + 1}" if used else name)
    return names
