"""Learning rates over time."""

from __future__ import annotations

import math

from restorekit.settings import TrainSettings


def schedule(settings: TrainSettings, step: int) -> float:
    """Factor on the peak learning rate at a step, counted from 0."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    way = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    if settings.schedule == "cosine":
        return 0.01 + 0.99 * (1 + math.cos(math.pi * way)) / 2
    if settings.schedule == "linear":
        return min(1.0, 2 * (1 - way))
    return 1.0
