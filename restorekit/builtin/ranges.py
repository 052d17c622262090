"""Options that are a number or a range to draw from."""

from __future__ import annotations

import torch
from torch import Tensor

Bounds = float | tuple[float, float]


def bounds(value: Bounds, name: str) -> tuple[float, float]:
    """Lowest and highest value of an option.

    Raises:
        ValueError: the range runs backwards.
    """
    low, high = value if isinstance(value, tuple) else (value, value)
    if low > high:
        raise ValueError(f"{name}: the range runs from {low} down to {high}; give the lower bound first")
    return low, high


def draw(limits: tuple[float, float], n: int, rng: torch.Generator) -> Tensor:
    """`n` uniform draws between the limits, float32 on the CPU; consumes the same randomness for a single number."""
    low, high = limits
    return (low + (high - low) * torch.rand(n, generator=rng)).clamp(max=high)
