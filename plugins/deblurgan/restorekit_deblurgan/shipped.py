"""The models that come with this plugin."""

from __future__ import annotations

import math
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Self

import torch
from annotated_types import Ge
from torch import Tensor

import restorekit
from restorekit.images import Degraded
from restorekit.interfaces import Restorer

OVERLAP = 64
"""Pixels that neighbouring windows share (`restorekit.Model.restore`)."""


class Packaged(Restorer):
    """What the models have in common: each lies beside this file, under the name that the subclass gives.

    Declarations:
        weights: file in the folder ``weights``.
    """

    weights: str
    model: restorekit.Model
    tiled = True

    def __init__(self) -> None:
        self.model = restorekit.load(Path(str(files("restorekit_deblurgan").joinpath("weights", self.weights))))

    def restore(self, degraded: Degraded) -> Tensor:
        """The restored image, same size."""
        return self.model.restore(degraded.image)

    def to(self, device: torch.device | str) -> Self:
        """Move the network."""
        self.model.to(device)
        return self


class Shipped(Packaged):
    """Removes camera shake, blind, with `deblurgan/compact` as trained by the recipe `deblurgan/shipped`.

    Any size, grey or RGB. What it was trained on, what it gains and where it fails is in the model card
    beside the weights (``weights/README.md``).

    Args:
        window: side of the windows that a larger picture is restored in, in pixels, each with a PSF of its own: in a
            photograph the blur differs from place to place, and one PSF for all of it leaves ripples where it does not fit.
            They are up to one and a half times as large where fewer pixels are then restored twice; pictures that fit into one
            are restored as a whole, and null always does that, and is faster.
    """

    weights = "shipped.safetensors"

    def __init__(self, *, window: Annotated[int, Ge(256)] | None = 512) -> None:
        super().__init__()
        self.window = window

    def restore(self, degraded: Degraded) -> Tensor:
        """The restored image, same size."""
        image = degraded.image
        height, width = image.shape[-2:]
        small = self.window is None or max(height, width) <= 1.5 * self.window
        return self.model.restore(image, tile=None if small or self.window is None else _side(self.window, height, width))


def _side(window: int, height: int, width: int) -> int:
    """Of the sides from `window` to half as much again the one with which windows that overlap have the fewest pixels."""

    def pixels(side: int) -> int:
        counts = [max(1, math.ceil((length - OVERLAP) / (side - OVERLAP))) for length in (height, width)]
        return math.prod(counts) * min(side, height) * min(side, width)

    return min(range(window, window * 3 // 2 + 1, 8), key=pixels)


class Denoise(Packaged):
    """Removes noise and JPEG artefacts of unknown strength, with `deblurgan/compact` as trained by the recipe `deblurgan/denoise`.

    Any size, grey or RGB. Scores and limits are in the model card (``weights/README.md``).
    """

    weights = "denoise.safetensors"
