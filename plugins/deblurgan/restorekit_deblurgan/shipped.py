"""The model that comes with this plugin."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

import restorekit
from restorekit.images import Degraded
from restorekit.interfaces import Restorer

WEIGHTS = "weights/shipped.safetensors"


class Shipped(Restorer):
    """Removes camera shake, blind, with `deblurgan/compact` as trained by the recipe `deblurgan/default`.

    Any size, grey or RGB. What it was trained on, what it gains and where it fails is in the model card
    beside the weights (``weights/README.md``).
    """

    def __init__(self) -> None:
        self.model = restorekit.load(Path(str(files("restorekit_deblurgan").joinpath(WEIGHTS))))

    def restore(self, degraded: Degraded) -> Tensor:
        """The restored image, same size."""
        return self.model.restore(degraded.image)

    def to(self, device: torch.device | str) -> Self:
        """Move the network."""
        self.model.to(device)
        return self
