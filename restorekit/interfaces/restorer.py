"""Methods that restore images, whether networks or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor

from restorekit.images import Degraded


class Restorer(ABC):
    """Takes a damaged image and gives a restored one.

    Declarations:
        uses: what it reads of `Degraded` besides the image: ``"mask"``, ``"reference"``, or names
            of entries of ``params`` such as ``"psf"``. Core removes everything else before
            calling, so a blind method cannot peek.
        scale: height of the output over height of the input.
    """

    uses: frozenset[str] = frozenset()
    scale: int = 1

    @abstractmethod
    def restore(self, degraded: Degraded) -> Tensor:
        """The restored image ``(N, C, scale·H, scale·W)`` in [0, 1], on the input's device."""

    def to(self, device: torch.device | str) -> Self:
        """Move what it holds to `device`; override where it holds networks."""
        return self
