"""Trainings that last as long as they may, and what they gain in that time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

import restorekit as rk
from restorekit import engine
from restorekit.engine.callbacks import Callback
from restorekit.recipes import Recipe

SUITE = str(Path(__file__).with_name("shake.yaml"))
SHAKE = "shake"


class Clock(Callback):
    """Minutes of training, without validations, and the scores at each of them."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float, dict[str, float]]] = []
        self.trained = 0.0

    def start(self, step: int, steps: int) -> None:
        """Start the clock."""
        self.since = time.perf_counter()

    def step(self, step: int, terms: Mapping[str, float], *, images: int, learning_rate: float) -> None:
        """Count the time since the last step or validation."""
        now = time.perf_counter()
        self.trained, self.since = self.trained + now - self.since, now

    def validated(self, step: int, scores: Mapping[str, float], rows: list[tuple[Tensor, ...]]) -> None:
        """Remember the scores; the time that they took does not count."""
        self.points.append((step, self.trained / 60, dict(scores)))
        self.since = time.perf_counter()


def steps_within(recipe: Recipe, minutes: float) -> int:
    """How many steps of the recipe this machine does in so many minutes."""
    return max(1, round(60 * minutes / statistics.median(engine.rehearse(recipe).step_seconds for _ in range(3))))


def gain(model: rk.Model | str, data: Path | None, limit: int | None) -> tuple[float, float]:
    """Mean PSNR of CBSD68 shaken by 5 to 22 px, before and after, in dB."""
    scored = rk.bench.score(model, SUITE, data=data, limit=limit)
    means = {row["method"]: row["mean"] for row in scored.standings if row["metric"] == "core/psnr" and row["degradation"] == SHAKE}
    before = means.pop("core/identity")
    (after,) = means.values()
    return before, after
