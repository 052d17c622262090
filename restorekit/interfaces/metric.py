"""Scores."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Metric(nn.Module, ABC):
    """One score per image.

    Declarations:
        higher_is_better: direction.
        needs_target: whether it compares with a reference.
        unit: such as ``dB``; empty for none.
        bounds: lowest and highest possible value.
        downloads: whether it fetches weights from the network unless its options say otherwise.
        definition: what else there is to say for the score to mean anything, such as network and digest
            of weights; empty where the name says it all.
    """

    higher_is_better: bool
    needs_target: bool = True
    unit: str = ""
    bounds: tuple[float, float] = (float("-inf"), float("inf"))
    downloads: bool = False
    definition: str = ""

    @abstractmethod
    def forward(self, restored: Tensor, target: Tensor | None = None) -> Tensor:
        """Scores ``(N,)`` of images ``(N, C, H, W)`` in [0, 1]."""


class SetMetric(nn.Module, ABC):
    """One score for a whole set of images.

    Declarations as in `Metric`, and:
        paired: whether each target belongs to the restored image of its place. Where not, `update` takes
            targets ``(M, C', H', W')`` of any number and size, and N or M may be 0.
    """

    higher_is_better: bool
    needs_target: bool = True
    paired: bool = True
    unit: str = ""
    bounds: tuple[float, float] = (float("-inf"), float("inf"))
    downloads: bool = False
    definition: str = ""

    @abstractmethod
    def update(self, restored: Tensor, target: Tensor | None = None) -> None:
        """Add images ``(N, C, H, W)`` in [0, 1] to the set, and their targets to theirs."""

    @abstractmethod
    def compute(self) -> float:
        """The score of everything added so far."""
