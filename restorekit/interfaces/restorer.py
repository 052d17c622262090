"""Methods that restore images, whether networks or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from restorekit.images import Degraded


@dataclass(frozen=True)
class Iteration:
    """One step of an iterative restorer.

    Attributes:
        step: steps done, from 1.
        steps: how many there will be at most.
        terms: what is minimised, by name, weighted.
        picture: makes the image ``(1, C, scale·H, scale·W)`` in [0, 1] as it is now, at its full size.
    """

    step: int
    steps: int
    terms: Mapping[str, float]
    picture: Callable[[], Tensor]


Listener = Callable[[Iteration], bool]
"""Told after every step; False asks to stop with the best picture so far."""


class Restorer(ABC):
    """Takes a damaged image and gives a restored one.

    Declarations:
        uses: what it reads of `Degraded` besides the image: ``"mask"``, ``"reference"``, ``"references"`` where it
            reads several, or names of entries of ``params`` such as ``"psf"``. Core removes everything else before
            calling, so a blind method cannot peek.
        scale: height of the output over height of the input.
        iterative: whether it calls `report` after each of its steps.
        tiled: whether it works through large images in tiles, as `rk.Model.restore` does: it keeps to a given memory, and takes
            the image also as whole numbers (`images.LEVELS`), of which it makes the same, rounded to such or not.
        model: the `restorekit.Model` that does the work, where there is one; core then chooses its engine and precision.
    """

    uses: frozenset[str] = frozenset()
    scale: int = 1
    iterative: bool = False
    tiled: bool = False
    listener: Listener | None = None
    model: Any = None

    @abstractmethod
    def restore(self, degraded: Degraded) -> Tensor:
        """The restored image ``(N, C, scale·H, scale·W)`` in [0, 1], on the input's device."""

    def report(self, progress: Iteration) -> bool:
        """Tell the listener, if there is one, how far it is; False where it is to stop with the best picture so far."""
        return self.listener is None or self.listener(progress)

    def to(self, device: torch.device | str) -> Self:
        """Move what it holds to `device`; override where it holds networks."""
        return self
