"""A loss."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from restorekit.images import Degraded
from restorekit.interfaces import Loss


class EdgeAware(Loss):
    """Mean absolute difference, weighted by 1 + strength · |gradient of the target|.

    Args:
        strength: how much more a full black-to-white edge counts; 0 is plain L1.
    """

    def __init__(self, *, strength: Annotated[float, Ge(0)] = 4.0) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, restored: Tensor, target: Tensor, degraded: Degraded) -> Tensor:
        """A scalar for images ``(N, C, H, W)``."""
        rows, columns = torch.gradient(target, dim=(-2, -1))
        return ((1 + self.strength * torch.hypot(rows, columns)) * (restored - target).abs()).mean()
