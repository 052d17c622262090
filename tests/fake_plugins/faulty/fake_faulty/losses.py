"""Losses with one fault each."""

from typing import Annotated

import torch
from annotated_types import Gt

from restorekit.interfaces import Loss


class Sound(Loss):
    def forward(self, restored, target, degraded):
        return (restored - target).abs().mean()


class NoLoss(torch.nn.Module):
    needs_target = True

    def forward(self, restored, target, degraded):
        return (restored - target).abs().mean()


class Abstract(Loss):
    pass


class CatchAll(Sound):
    def __init__(self, **options) -> None:
        super().__init__()


class Positional(Sound):
    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor


class Scaled(Sound):
    def __init__(self, *, factor: Annotated[float, Gt(0)] = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, restored, target, degraded):
        return self.factor * super().forward(restored, target, degraded)


class Weight(Sound):
    def __init__(self, *, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, restored, target, degraded):
        return self.weight * super().forward(restored, target, degraded)


class Needy(Scaled):
    def __init__(self, *, factor: float) -> None:
        super().__init__(factor=factor)


class BadDefault(Scaled):
    def __init__(self, *, factor: Annotated[float, Gt(0)] = -1.0) -> None:
        super().__init__(factor=factor)


class Ignores(Sound):
    def __init__(self, *, strength: float = 1.0) -> None:
        super().__init__()


class Stores(Sound):
    def __init__(self, *, mode: bool = False, span: tuple[int, int] = (1, 2)) -> None:
        super().__init__()
        self.kept_and_never_read = mode
        self.kept_too = span


class OneElement(Loss):
    def forward(self, restored, target, degraded):
        return (restored - target).abs().mean().reshape(1)


class Unreduced(Loss):
    def forward(self, restored, target, degraded):
        return (restored - target).abs().mean((1, 2, 3))


class LogOfZero(Loss):
    def forward(self, restored, target, degraded):
        return (restored - target).abs().mean().log()


class Root(Loss):
    def forward(self, restored, target, degraded):
        return (restored - target).square().sqrt().mean()


class Rounded(Loss):
    def forward(self, restored, target, degraded):
        return (restored.mul(255).round() - target.mul(255)).abs().mean()


class Summed(Loss):
    def forward(self, restored, target, degraded):
        return (restored - target).abs().mean((1, 2, 3)).sum()


class Negative(Sound):
    def forward(self, restored, target, degraded):
        return -super().forward(restored, target, degraded)


class NoTarget(Loss):
    def forward(self, restored, target, degraded):
        return 0 * restored.mean() + 1


class ReadsTarget(Sound):
    needs_target = False


class Clamps(Loss):
    def forward(self, restored, target, degraded):
        with torch.no_grad():
            restored.clamp_(0, 1)
        return (restored - target).abs().mean()
