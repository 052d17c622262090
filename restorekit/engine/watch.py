"""A run that watches itself: what it measures, when it goes back to the last good state, and what it changes then.

Steps are not done again: after going back to the weights of an earlier step the run goes on with the next batch, so
that it takes as many steps as it was to take. Everything follows from numbers of the steps, never from time, and all
of it is in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from restorekit.engine import checkpoint
from restorekit.engine.checkpoint import Snapshot
from restorekit.engine.players import NonFiniteError
from restorekit.engine.probe import FixedSet, alive
from restorekit.engine.steps import Outcome
from restorekit.engine.symptoms import Alarm, Seen, Symptoms
from restorekit.errors import TrainingError

LOWER = 0.25
"""Factor on a learning rate, or on the weight of the adversarial terms, at each rescue."""

LISTED = 20
"""Events that a model file tells of."""


@dataclass(frozen=True)
class Event:
    """What the watch did: after which step, why, what it had seen and what it changed."""

    step: int
    kind: str
    saw: str
    did: str

    def __str__(self) -> str:
        return f"step {self.step}: {self.kind}: {self.saw}; {self.did}"


class GaveUpError(TrainingError):
    """The run is beyond the watch's help."""


class Watch:
    """Looks at every step and rescues the run.

    Args:
        state: what is remembered and put back.
        fixed: the inputs that are looked at, or None where there are none.
        steps: done so far.
        every: steps between looks at them, after which a healthy state is remembered.
        tries: rescues before it gives up.
        agree: makes what several processes have measured the same, or None where there is one.
    """

    def __init__(
        self,
        state: checkpoint.State,
        fixed: FixedSet | None,
        *,
        every: int,
        tries: int,
        agree: Callable[[dict[str, float]], dict[str, float]] | None = None,
    ) -> None:
        self.state, self.fixed, self.every, self.tries, self.agree = state, fixed, every, tries, agree
        self.rates = dict.fromkeys(state.optimizers, 1.0)
        self.share = 1.0
        self.events: list[Event] = []
        self.rescues = self.unusable = 0
        self.symptoms = Symptoms()
        if fixed is not None:
            self.symptoms.look(_seen(self._agreed(fixed.look())))
        self.good = checkpoint.capture(state)
        self.good_step = 0
        self.good_symptoms = self.symptoms.state()

    def look(self, step: int, outcome: Outcome, real: Tensor) -> tuple[dict[str, float], Event | None]:
        """Look at what step number `step`, counted from 1, has done with the images `real`.

        Returns:
            What was measured, and what was done about it, if anything.

        Raises:
            GaveUpError: it went wrong again after the last try; the last good state has been put back.
        """
        signals = dict(outcome.signals)
        due = step % self.every == 0
        if due:
            signals["weights with a gradient"] = alive(self.state.networks["generator"])
            signals = self._agreed(signals if self.fixed is None else signals | self.fixed.look(real))
        self.unusable = 0
        alarm = self.symptoms.look(_seen(signals, outcome.loss, outcome.critic))
        if alarm is not None:
            return signals, self._rescue(step, alarm)
        if due and self.symptoms.well:
            self.good, self.good_step, self.good_symptoms = checkpoint.capture(self.state), step, self.symptoms.state()
        return signals, None

    def _agreed(self, signals: dict[str, float]) -> dict[str, float]:
        return signals if self.agree is None else self.agree(signals)

    def not_finite(self, step: int, fault: NonFiniteError) -> Event:
        """Deal with a step that could not be done.

        Raises:
            GaveUpError: as for `look`.
        """
        if fault.batch:
            self.unusable += 1
            if self.unusable >= self.tries:
                raise GaveUpError(
                    f"stopped at step {step}: {self.unusable} batches in a row hold values that are not finite; look at the data"
                )
            return self._note(Event(step, "non-finite", "the batch has values that are not finite", "left it out"))
        players = ("critic",) if all(name.startswith("critic") for name in fault.names) else ("generator", "critic")
        return self._rescue(step, Alarm("non-finite", f"first {fault.names[0]} became non-finite", players))

    def _rescue(self, step: int, alarm: Alarm) -> Event:
        checkpoint.restore(self.state, self.good)
        self.symptoms = Symptoms.of(self.good_symptoms)
        self.symptoms.looks.clear()  # the way to a good state may have been a bad one; what comes now is judged anew
        if self.rescues >= self.tries:
            tried = "; ".join(map(str, self.events[-self.tries :]))
            raise GaveUpError(
                f"stopped at step {step}: {alarm.kind}: {alarm.saw}. The watch gave up after going back {self.rescues} times: {tried}. "
                f"The checkpoint holds the last good state, of step {self.good_step}. Try a lower train.learning_rate or "
                "train.critic_learning_rate, train.clip_gradient=1 or train.precision=fp32"
            )
        self.rescues += 1
        self._ease(alarm)
        did = [f"went back to the weights of step {self.good_step}"]
        did += [f"{name}'s learning rate times {rate:g}" for name, rate in self.rates.items() if rate < 1]
        did += [f"adversarial weight times {self.share:g}"] if self.share < 1 else []
        return self._note(Event(step, alarm.kind, alarm.saw, ", ".join(did)))

    def _ease(self, alarm: Alarm) -> None:
        players = set(alarm.players) & self.rates.keys()
        if alarm.kind == "divergence" and len(players) == 2:
            # Losses that get worse while a critic plays are its doing in the first place: it is listened to less and learns
            # more slowly before the generator does.
            players -= {"generator"} if self.share == 1 else set()
            self.share *= LOWER
        for player in players:
            self.rates[player] *= LOWER

    def _note(self, event: Event) -> Event:
        self.events.append(event)
        return event

    @property
    def report(self) -> list[str]:
        """The events in words, for the model file."""
        more = [f"and {len(self.events) - LISTED} more"] if len(self.events) > LISTED else []
        return [str(event) for event in self.events[:LISTED]] + more

    def extras(self) -> dict[str, Any]:
        """Everything but the last good state, as JSON has it."""
        return {
            "rates": self.rates,
            "share": self.share,
            "events": [vars(event) for event in self.events],
            "rescues": self.rescues,
            "unusable": self.unusable,
            "symptoms": self.symptoms.state(),
            "good_step": self.good_step,
            "good_symptoms": self.good_symptoms,
        }

    def resume(self, step: int, extras: Mapping[str, Any], good: Snapshot | None) -> None:
        """Go on from a checkpoint after `step` steps; one made without a watch is taken as good."""
        if good is None:
            self.good, self.good_step = checkpoint.capture(self.state), step
            return
        self.rates = {name: extras["rates"].get(name, 1.0) for name in self.rates}
        self.share = extras["share"]
        self.events = [Event(**event) for event in extras["events"]]
        self.rescues, self.unusable = extras["rescues"], extras["unusable"]
        self.symptoms = Symptoms.of(extras["symptoms"])
        self.good, self.good_step, self.good_symptoms = good, extras["good_step"], extras["good_symptoms"]


def _seen(signals: Mapping[str, float], loss: float | None = None, critic: float | None = None) -> Seen:
    natural = signals.get("saturation of real images")
    return Seen(
        loss=loss,
        critic=critic,
        gap=signals["D(x)"] - signals["D(G(z))"] if {"D(x)", "D(G(z))"} <= signals.keys() else None,
        gradient=signals.get("generator's gradient"),
        diversity=signals.get("diversity"),
        error=signals.get("loss on the fixed set"),
        saturation=None if natural is None else signals["saturation"] - natural,
        natural=signals.get("diversity of real images"),
        alive=signals.get("weights with a gradient"),
    )
