"""Networks that make images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
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
        classes: how many class labels or styles `given` chooses from; 0 where it is no label.
        guided: whether `given` is a picture that guides it, such as a style, of any size.
        portable: names of the submodules that do most of the work and take and give one tensor ``(N, C, H, W)`` of the image's height
            and width; they can be left to another engine or computed in bf16, while what is around them stays in torch and float32.
        exportable: whether all of it is operations on tensors, the same for every image, so that it can be written as one graph.
        engine: what computes the `portable` ones fastest on a processor, where it is installed, as measured.
    """

    consumes: Literal["image", "latent"] = "image"
    channels: int = 3
    size: SizeRule = SizeRule()
    scale: int = 1
    local: bool = False
    latent: int = 0
    classes: int = 0
    guided: bool = False
    portable: tuple[str, ...] = ()
    exportable: bool = True
    engine: Literal["torch", "onnxruntime", "openvino"] = "torch"

    @abstractmethod
    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        """Make an image.

        Args:
            x: an image ``(N, C, H, W)`` in [0, 1], or a latent ``(N, Z)`` from a standard normal.
            given: what the image is conditioned on, if anything: a label ``(N,)`` below `classes`, an image, a style index.

        Returns:
            ``(N, C, scale·H, scale·W)``; in training mode a generator may return a tuple of images
            from coarse to fine instead, and one that is still growing smaller ones. Values may overshoot
            [0, 1] while training; in evaluation core clamps them.
        """

    def grow(self, step: int) -> None:
        """Take the size that the network has after `step` steps of training, which calls this before each of its steps.

        What it sets must be a buffer of integers, so that checkpoints and model files hold it. A network that was never
        told to grow is full-grown.
        """

    def code(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """What images are drawn from, ``(N, W)``: the latent itself, or what a mapping network makes of it."""
        return x

    def centre(self) -> Tensor:
        """The mean of all codes ``(W,)``, towards which truncation draws them."""
        return torch.zeros(self.latent, device=next(self.parameters()).device)

    def decode(self, code: Tensor, given: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        """Images of codes; ``decode(code(x))`` is ``forward(x)`` in evaluation mode."""
        made: Tensor | tuple[Tensor, ...] = self(code, given)
        return made
