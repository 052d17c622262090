"""One step of training: supervised, or the two-player game."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from restorekit.engine.data import Batch
from restorekit.errors import TrainingError
from restorekit.images import Degraded
from restorekit.interfaces import Adversarial, Critic, Loss
from restorekit.interfaces.adversarial import Images


@dataclass(frozen=True)
class Term:
    """One loss of the recipe, its weight and its name in reports."""

    name: str
    weight: float
    loss: Loss


@dataclass
class Player:
    """A network, its optimiser and its peak learning rate; `network` may be wrapped by Fabric."""

    network: nn.Module
    optimizer: Optimizer
    peak: float
    clip: float | None = None

    def update(self, fabric: Fabric, loss: Tensor) -> None:
        """Back-propagate and step."""
        self.optimizer.zero_grad(set_to_none=True)
        fabric.backward(loss)
        if self.clip is not None:
            fabric.clip_gradients(self.network, self.optimizer, max_norm=self.clip, error_if_nonfinite=False)
        self.optimizer.step()


class Step:
    """A step of the generator and, in adversarial training, of its critic.

    Args:
        fabric: runs backward passes.
        generator: with its optimiser.
        terms: the recipe's losses.
        autocast: context in which networks run.
        game: critic, objective, the objective's weight and the critic's steps, or None.
    """

    def __init__(
        self,
        fabric: Fabric,
        generator: Player,
        terms: Sequence[Term],
        autocast: AbstractContextManager[object],
        game: Game | None = None,
    ) -> None:
        self.fabric, self.generator, self.terms, self.autocast, self.game = fabric, generator, terms, autocast, game

    def __call__(self, batch: Batch, latent: Tensor | None) -> dict[str, float]:
        """Train on one batch and report the weighted terms.

        Raises:
            TrainingError: a term that is not finite; it is named, and the weights are as before.
        """
        with self.autocast:
            fake = self.generator.network(batch.degraded.image if latent is None else latent)
        report: dict[str, Tensor] = {}
        if self.game is not None:
            report |= self.game.critic_rounds(self.fabric, batch, fake, self.autocast)
        terms = {term.name: term.weight * term.loss(_finest(fake), batch.sharp, batch.degraded) for term in self.terms}
        if self.game is not None:
            terms |= self.game.generator_terms(batch, fake, self.autocast)
        report |= terms
        total = torch.stack([value.float() for value in terms.values()]).sum()
        _require_finite(report)
        self.generator.update(self.fabric, total)
        return {name: float(value.detach()) for name, value in report.items()}


@dataclass
class Game:
    """The critic's side of adversarial training."""

    critic: Player
    objective: Adversarial
    weight: float
    rounds: int

    def critic_rounds(self, fabric: Fabric, batch: Batch, fake: Images, autocast: AbstractContextManager[object]) -> dict[str, Tensor]:
        """Train the critic on what the generator has just made.

        The generator does not change meanwhile, so one forward pass of it serves all rounds.
        """
        critic = _as_critic(self.critic.network)
        critic.requires_grad_(True)
        detached = tuple(image.detach() for image in fake) if isinstance(fake, tuple) else fake.detach()
        report: dict[str, Tensor] = {}
        for _ in range(self.rounds):
            with autocast:
                terms = self.objective.critic_terms(critic, batch.sharp, detached, _given(critic, batch.degraded))
            report = {f"critic {name}": value for name, value in terms.items()}
            _require_finite(report)
            self.critic.update(fabric, torch.stack([value.float() for value in terms.values()]).sum())
            self.objective.constrain(critic)
        return report

    def generator_terms(self, batch: Batch, fake: Images, autocast: AbstractContextManager[object]) -> dict[str, Tensor]:
        """The objective's terms for the generator, with the critic's weights frozen so that no gradient is computed for them."""
        critic = _as_critic(self.critic.network)
        critic.requires_grad_(False)
        with autocast:
            terms = self.objective.generator_terms(critic, batch.sharp, fake, _given(critic, batch.degraded))
        return {name: self.weight * value for name, value in terms.items()}


def _as_critic(network: nn.Module) -> Critic:
    return network  # type: ignore[return-value]  # Fabric's wrapper forwards to the critic inside


def _given(critic: Critic, degraded: Degraded) -> Tensor | None:
    return degraded.image if critic.conditional else None


def _finest(fake: Images) -> Tensor:
    return fake[-1] if isinstance(fake, tuple) else fake


def _require_finite(report: dict[str, Tensor]) -> None:
    wrong = [name for name, value in report.items() if not torch.isfinite(value.detach())]
    if wrong:
        raise TrainingError(
            f"{' and '.join(wrong)} became non-finite. Lower train.learning_rate, set train.clip_gradient, "
            "or train with train.precision=fp32"
        )


def term_names(parts: Iterable[str]) -> list[str]:
    """Names for reports: the part's name without its namespace, numbered where it repeats."""
    names: list[str] = []
    for part in parts:
        name = part.rpartition("/")[2]
        used = sum(other == name or other.startswith(f"{name} ") for other in names)
        names.append(f"{name} {used + 1}" if used else name)
    return names
