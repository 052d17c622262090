"""What is compared of a feature map: Gram matrices, or means and standard deviations.

Both follow from sums over positions, so that a picture can be worked through in tiles and the sums added up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

SMALL = 1e-12
"""Below this a squared norm counts as this, so that black maps divide nothing by zero."""


class Statistic(ABC):
    """A statistic of maps ``(N, C, H, W)`` that follows from sums over their positions."""

    @abstractmethod
    def sums(self, maps: Tensor, weight: Tensor | None = None) -> Tensor:
        """Sums over positions, in at least float32, each position weighted by `weight` ``(1 or N, 1, H, W)``."""

    @abstractmethod
    def finish(self, sums: Tensor, positions: Tensor | float) -> Tensor:
        """The statistic of sums over so many positions."""

    def of(self, maps: Tensor, weight: Tensor | None = None) -> Tensor:
        """The statistic of maps, autocast or not."""
        with torch.autocast(maps.device.type, enabled=False):
            return self.finish(self.sums(maps, weight), positions(maps, weight))


class Gram(Statistic):
    """Gram matrices ``(N, C, C)``, divided by channels × positions (Gatys, Ecker & Bethge, CVPR 2016)."""

    def sums(self, maps: Tensor, weight: Tensor | None = None) -> Tensor:
        """Σ f fᵀ, of shape ``(N, C, C)``."""
        result: Tensor = _Products.apply(maps, weight)
        return result

    def finish(self, sums: Tensor, positions: Tensor | float) -> Tensor:
        """The Gram matrix."""
        return sums / (sums.shape[-1] * positions)


class Moments(Statistic):
    """Mean and standard deviation of each channel ``(N, 2, C)`` (Li, Wang, Liu & Hou, IJCAI 2017)."""

    def sums(self, maps: Tensor, weight: Tensor | None = None) -> Tensor:
        """Σ f and Σ f², of shape ``(N, 2, C)``."""
        wide = maps.to(torch.promote_types(maps.dtype, torch.float32))
        weighted = wide if weight is None else wide * weight
        return torch.stack([weighted.sum((2, 3)), (weighted * wide).sum((2, 3))], 1)

    def finish(self, sums: Tensor, positions: Tensor | float) -> Tensor:
        """Means, then standard deviations."""
        mean, square = (sums / positions).unbind(1)
        return torch.stack([mean, (square - mean.square()).clamp_min(SMALL).sqrt()], 1)


STATISTICS: dict[str, Statistic] = {"gram": Gram(), "moments": Moments()}


def positions(maps: Tensor, weight: Tensor | None) -> Tensor | float:
    """How many positions maps have, or their weights' sum."""
    return float(maps.shape[-2] * maps.shape[-1]) if weight is None else weight.sum().clamp_min(SMALL)


def relative(made: Tensor, wanted: Tensor) -> Tensor:
    """Squared distance of two statistics over the squared norm of the one wanted, averaged over the batch.

    1 is as far as having nothing at all, whatever the network and the size of the picture.
    """
    return ((made - wanted).square().flatten(1).sum(1) / wanted.square().flatten(1).sum(1).clamp_min(SMALL)).mean()


class _Products(torch.autograd.Function):
    """Σ w f fᵀ over positions, with half the work of autograd's own gradient, which does not know that it is symmetric."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor | None) -> Tensor:
        flat = _positions_first(maps)
        factor = None if weight is None else _positions_first(weight).to(flat.dtype)
        ctx.save_for_backward(flat, factor)
        ctx.size = maps.shape[-2:]
        weighted = flat if factor is None else flat * factor
        return (weighted.mT @ flat).to(torch.promote_types(maps.dtype, torch.float32))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        flat, factor = ctx.saved_tensors
        (gradient,) = gradients
        made = flat @ (gradient + gradient.mT).to(flat.dtype)
        made = made if factor is None else made * factor
        return made.unflatten(1, ctx.size).permute(0, 3, 1, 2), None


def _positions_first(maps: Tensor) -> Tensor:
    """``(N, P, C)``: no copy where the maps are in channels-last order."""
    return maps.permute(0, 2, 3, 1).flatten(1, 2)
