"""What ails a training, told from a few numbers of each step. Numbers in, alarm out: no networks, no pictures, no clock.

Every limit is relative to the run's own best stretch or its own start, because losses have no common scale.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

LONG = 100
"""Steps over which the level of a loss is taken that later ones are compared with."""

SHORT = 20
"""Steps whose median is compared; with fewer than five nothing is."""

WORSE = 4.0
"""A loss diverges when it is so many times its best level ..."""

DEVIATIONS = 6.0
"""... and above it by so many standard deviations of single steps."""

NEGLIGIBLE = 0.05
"""A loss below this share of the first one does not diverge: small losses go up and down by factors."""

WORSE_LOOK = 2.0
"""The loss on the fixed set, which has no noise, diverges when it is so many times its best at two looks in a row."""

LOOKS = 5
"""Looks over which a run may be no better than it began ..."""

STUCK = 1.2
"""... and it diverges when the median of their losses on the fixed set is so many times the first. Games swing, so that looks in a
row would say less, and one that begins with a trained network may give away a little of its loss."""

SATURATED = 0.8
"""Outputs are black or white all over when the share of such values exceeds that of real images by this, at two looks in a row."""

WELL_LOOK = 1.2
"""A state worth going back to has at most so many times its best."""

EXPLODED = 50.0
"""A critic's loss explodes when it is so many times its first value (or 1, if that is more)."""

VANISHED = 1e-3
"""A gradient has vanished below this share of its largest level."""

ALIVE = 0.1
"""A generator is dead when less than this share of its weights gets any gradient, at two looks in a row."""

CONSTANT = 0.1
"""Outputs have collapsed when their mean distance falls below this share of its best, at two looks in a row; of a network that
has just been made, at most this share of the distance between real images is taken for good."""

WON = 0.02
"""A critic whose loss stays below this share of its first one ..."""

GAP = 10.0
"""... while its logits for real and made images are further apart than this has won ..."""

LASTS = 100
"""... if that lasts for so many steps. Objectives with margins or targets never get there: their gap stays near 1 or 2."""


@dataclass(frozen=True)
class Seen:
    """What one step showed; None where there is no such thing.

    Attributes:
        loss: sum of the recipe's weighted losses that compare with a target, without the adversarial terms.
        critic: sum of the critic's terms.
        gap: mean logit of real images less that of made ones.
        gradient: norm of the generator's gradient.
        diversity: mean distance between the outputs for a fixed set, at the steps when it is looked at.
        error: the same losses on that set.
        saturation: share of black and white values in those outputs less that in real images.
        natural: mean distance between real images.
        alive: share of the generator's weights whose gradient is not zero.
    """

    loss: float | None = None
    critic: float | None = None
    gap: float | None = None
    gradient: float | None = None
    diversity: float | None = None
    error: float | None = None
    saturation: float | None = None
    natural: float | None = None
    alive: float | None = None


@dataclass(frozen=True)
class Alarm:
    """What is wrong, what was seen, and the players whose learning rate is to blame."""

    kind: str
    saw: str
    players: tuple[str, ...]


@dataclass
class Symptoms:
    """What has been seen so far, as plain numbers, so that a checkpoint can hold it as JSON.

    Attributes:
        losses: the last values of the recipe's losses, at most `LONG`.
        count: how many there have been.
        first_loss: level of the first of them.
        best_loss: lowest level.
        loss_limit: lowest limit that any stretch has given; above it the run diverges.
        critics: the last values of the critic's loss, at most `SHORT`.
        first_critic: the first one.
        gaps: likewise.
        gradients: likewise.
        most_gradient: the largest level of the gradient's norm.
        won: steps in a row in which the critic had won.
        alive: the last two shares of weights with a gradient.
        diversities: the last three of the fixed set.
        first_diverse: the first of them.
        most_diverse: their largest median of three.
        errors: the last two of the fixed set.
        best_error: the lowest.
        looks: the last ones, at most `LOOKS`.
        first_error: the first.
        saturations: the last two of the fixed set.
    """

    losses: list[float] = field(default_factory=list)
    count: int = 0
    first_loss: float | None = None
    best_loss: float | None = None
    loss_limit: float | None = None
    critics: list[float] = field(default_factory=list)
    first_critic: float | None = None
    gaps: list[float] = field(default_factory=list)
    gradients: list[float] = field(default_factory=list)
    most_gradient: float = 0.0
    won: int = 0
    alive: list[float] = field(default_factory=list)
    diversities: list[float] = field(default_factory=list)
    first_diverse: float = 0.0
    most_diverse: float = 0.0
    errors: list[float] = field(default_factory=list)
    best_error: float | None = None
    looks: list[float] = field(default_factory=list)
    first_error: float | None = None
    saturations: list[float] = field(default_factory=list)

    def look(self, seen: Seen) -> Alarm | None:
        """Take one step in and say what is wrong, if anything."""
        # Each of them takes its number in, whatever the others say; the first alarm counts.
        alarms = [
            self._loss(seen.loss),
            self._critic(seen.critic, seen.gap),
            self._gradient(seen.gradient),
            self._alive(seen.alive),
            self._outputs(seen.diversity, seen.natural),
            self._saturation(seen.saturation),
            self._error(seen.error),
        ]
        return next((alarm for alarm in alarms if alarm is not None), None)

    @property
    def well(self) -> bool:
        """Whether the run is far enough from every limit that its present state is worth going back to."""
        if self.losses and self.best_loss is not None and self.loss_limit is not None:
            halfway = (self.best_loss + self.loss_limit) / 2
            if _median(self.losses[-SHORT:]) > halfway or max(self.losses[-3:]) > self.loss_limit:
                return False
        if self.critics and self.first_critic is not None:
            if max(abs(value) for value in self.critics[-3:]) > EXPLODED / 2 * max(1.0, abs(self.first_critic)):
                return False
            if 0 <= max(self.critics[-3:]) < 5 * WON * self.first_critic and self.gaps and min(self.gaps[-3:]) > GAP / 2:
                return False
        if len(self.gradients) >= 5 and _median(self.gradients[-5:]) < 10 * VANISHED * self.most_gradient:
            return False
        if self.errors and self.best_error is not None and self.errors[-1] > _times(self.best_error, WELL_LOOK):
            return False
        if (self.saturations and self.saturations[-1] > SATURATED / 2) or (self.alive and self.alive[-1] < 2 * ALIVE):
            return False
        return not self.diversities or self.diversities[-1] >= 3 * CONSTANT * self.most_diverse

    def state(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Symptoms:
        """From what `state` gave."""
        copied: dict[str, Any] = copy.deepcopy(dict(state))
        return cls(**copied)

    def _loss(self, value: float | None) -> Alarm | None:
        if value is None:
            return None
        _push(self.losses, value, LONG)
        self.count += 1
        n = len(self.losses)
        mean, deviation = _moments(self.losses)
        # Few values say little: the first ones alone must not make the limit tight, nor may a negative loss,
        # such as minus a PSNR, be multiplied.
        if mean > 0:
            limit = max(mean * (WORSE + 8 / n), mean + DEVIATIONS * deviation)
        elif n >= SHORT:
            limit = mean + DEVIATIONS * deviation
        else:
            return None
        if self.count <= SHORT or self.first_loss is None:
            self.first_loss = mean
        if self.loss_limit is None or limit < self.loss_limit:
            self.best_loss, self.loss_limit = mean, max(limit, NEGLIGIBLE * self.first_loss if self.first_loss > 0 else limit)
        level = _median(self.losses[-SHORT:])
        if n >= 5 and level > self.loss_limit:
            saw = f"the losses were at {self.best_loss:.3g} and are at {level:.3g}, the median of {min(n, SHORT)} steps"
            return Alarm("divergence", saw, ("generator", "critic"))
        return None

    def _critic(self, value: float | None, gap: float | None) -> Alarm | None:
        if value is None:
            return None
        _push(self.critics, value, SHORT)
        if gap is not None:
            _push(self.gaps, gap, SHORT)
        if self.first_critic is None:
            self.first_critic = value
        level = _median(self.critics)
        if len(self.critics) >= 5 and _median([abs(v) for v in self.critics]) > EXPLODED * max(1.0, abs(self.first_critic)):
            return Alarm("divergence", f"the critic's loss began at {self.first_critic:.3g} and is at {level:.3g}", ("critic",))
        winning = 0 <= level < WON * self.first_critic and bool(self.gaps) and _median(self.gaps) > GAP
        self.won = self.won + 1 if winning else 0
        if self.won >= LASTS:
            apart = f"D(x) - D(G(z)) is {_median(self.gaps):.3g}"
            saw = f"for {self.won} steps the critic's loss has been below {WON:.0%} of its first value, {apart}"
            return Alarm("critic domination", saw, ("critic",))
        return None

    def _gradient(self, value: float | None) -> Alarm | None:
        if value is None or not math.isfinite(value):  # fp16 skips steps whose gradient overflows
            return None
        _push(self.gradients, value, SHORT)
        if len(self.gradients) < 5:
            return None
        level = _median(self.gradients)
        self.most_gradient = max(self.most_gradient, level)
        if len(self.gradients) < SHORT or (level >= VANISHED * self.most_gradient and self.most_gradient > 0):
            return None
        saw = f"the norm of the generator's gradient is {level:.3g}, at most it was {self.most_gradient:.3g}"
        if self.losses and self.first_loss is not None and _median(self.losses[-SHORT:]) < 0.2 * self.first_loss:
            return None  # nothing left to learn
        return self._dead(saw)

    def _dead(self, saw: str) -> Alarm:
        """Whose fault it is: a critic that is sure of itself leaves the generator of a saturating objective no gradient."""
        if self.critics and self.first_critic is not None and 0 <= _median(self.critics) < 0.1 * self.first_critic:
            return Alarm(
                "critic domination",
                f"{saw}, and the critic's loss fell from {self.first_critic:.3g} to {_median(self.critics):.3g}",
                ("critic",),
            )
        return Alarm("dead generator", saw, ("generator",))

    def _alive(self, value: float | None) -> Alarm | None:
        if value is None:
            return None
        _push(self.alive, value, 2)
        if len(self.alive) == 2 and max(self.alive) < ALIVE:
            return self._dead(f"{1 - value:.0%} of the generator's weights get no gradient")
        return None

    def _outputs(self, value: float | None, natural: float | None) -> Alarm | None:
        if value is None:
            return None
        if not self.diversities:
            self.first_diverse = value
        _push(self.diversities, value, 3)
        if len(self.diversities) < 3:
            return None
        at_first = 0.0 if natural is None else min(self.first_diverse, CONSTANT * natural)
        self.most_diverse = max(self.most_diverse, _median(self.diversities), at_first)
        if max(self.diversities[-2:]) < CONSTANT * self.most_diverse:
            saw = f"the outputs for different inputs are {value:.3g} apart, at most they were {self.most_diverse:.3g}"
            return Alarm("collapse", saw, ("generator",))
        return None

    def _saturation(self, value: float | None) -> Alarm | None:
        if value is None:
            return None
        _push(self.saturations, value, 2)
        if len(self.saturations) == 2 and min(self.saturations) > SATURATED:
            return Alarm("collapse", f"{value:.0%} more of the outputs' values are black or white than of real images'", ("generator",))
        return None

    def _error(self, value: float | None) -> Alarm | None:
        if value is None:
            return None
        _push(self.errors, value, 2)
        if self.best_error is None:
            self.first_error = value
        else:
            _push(self.looks, value, LOOKS)
        if self.best_error is None or value < self.best_error:
            self.best_error = value
        if len(self.errors) == 2 and min(self.errors) > _times(self.best_error, WORSE_LOOK):
            saw = f"the losses on the fixed set are at {value:.3g}, at best they were {self.best_error:.3g}"
            return Alarm("divergence", saw, ("generator", "critic"))
        if len(self.looks) < LOOKS or self.first_error is None:
            return None
        if min(value, _median(self.looks)) > _times(self.first_error, STUCK):
            saw = f"the losses on the fixed set began at {self.first_error:.3g} and are at {_median(self.looks):.3g}"
            return Alarm("divergence", f"{saw}, the median of {LOOKS} looks", ("generator", "critic"))
        return None


def _times(best: float, factor: float) -> float:
    """So many times worse, also where a good loss is negative, such as minus a PSNR."""
    return best + (factor - 1) * abs(best)


def _push(values: list[float], value: float, most: int) -> None:
    values.append(value)
    del values[:-most]


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _moments(values: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values))
