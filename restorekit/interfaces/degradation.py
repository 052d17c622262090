"""How photographs get damaged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from restorekit.images import Degraded


class Degradation(ABC):
    """Damage whose random parameters are drawn apart from being applied.

    Drawing happens on the CPU from the generator that is passed in, so that one seed gives the same
    damage on every device; the global random state is never touched.

    Declarations:
        params: names of what `sample` returns and `apply` records.
        margin: pixels at each border of the result that depend on pixels outside the image; callers
            that own more of the photograph cut patches wider by margin · scale and crop afterwards.
        spread: pixels over which a degradation without a margin, such as JPEG with its blocks, mixes parts of the image.
            Within an image that is nothing to a margin; after another degradation it widens that one's.
        scale: input height over output height (above 1 for down-scaling).
    """

    params: tuple[str, ...] = ()
    margin: int = 0
    spread: int = 0
    scale: int = 1

    @abstractmethod
    def sample(self, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> dict[str, Tensor]:
        """Draw parameters for `n` images of shape ``(C, H, W)``: CPU tensors whose first dimension is `n`."""

    @abstractmethod
    def apply(self, image: Tensor, params: Mapping[str, Tensor]) -> Degraded:
        """Damage `image` ``(N, C, H, W)`` in [0, 1], one set of parameters per image.

        Returns:
            The damaged image in [0, 1], registered with the input, with `params` recorded and, where
            pixels are missing, the mask.
        """
