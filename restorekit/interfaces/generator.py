"""Networks that make images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor, nn

from restorekit.images import SizeRule


class Generator(nn.Module, ABC):
    """A network that makes an image from an image or from a latent vector.

    Declarations, as class attributes or set by the constructor before it returns:
        consumes: ``"image"`` or ``"latent"``.
        channels: channels of the image it makes (and takes, if it takes one).
        size: sizes of the image it takes, or makes from a latent.
        scale: height of the output over height of the input image.
        local: whether an output pixel depends only on a finite neighbourhood of the input.
        latent: length Z of the latent vector; 0 for image generators.
    """

    consumes: Literal["image", "latent"] = "image"
    channels: int = 3
    size: SizeRule = SizeRule()
    scale: int = 1
    local: bool = False
    latent: int = 0

    @abstractmethod
    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        """Make an image.

        Args:
            x: an image ``(N, C, H, W)`` in [0, 1], or a latent ``(N, Z)`` from a standard normal.
            given: what the image is conditioned on, if anything: a label ``(N,)``, an image, a style index.

        Returns:
            ``(N, C, scale·H, scale·W)``; in training mode a generator may return a tuple of images
            from coarse to fine instead. Values may overshoot [0, 1] while training; in
            evaluation core clamps them.
        """
