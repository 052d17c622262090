"""Critics of the DeblurGAN family."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt, MultipleOf
from torch import Tensor, nn

from restorekit import UserError
from restorekit.images import finest
from restorekit.interfaces import Critic
from restorekit_deblurgan.parts import Norm, initialise, norm_layer

SLOPE = 0.2
"""Of the leaky ReLU below zero."""

HALVINGS = 4
"""Strided convolutions of the single-value critic."""


class PatchCritic(Critic):
    """PatchGAN (Isola et al., CVPR 2017, arXiv:1611.07004): each logit judges one patch of the image.

    With three strided layers a logit sees 70×70 pixels.

    Args:
        layers: strided convolutions.
        width: channels after the first; they double up to eight times as many.
        norm: ``instance`` (DeblurGAN, and required by gradient penalties, which look at each image
            alone), ``batch`` (pix2pix) or ``none``.
        conditional: also show the degraded image to the critic.
        channels: of the images.

    Shapes:
        ``(N, C, H, W)`` to one map ``(N, 1, H/8 - 2, W/8 - 2)``; H and W at least 24. In general 8 is 2^layers.
    """

    def __init__(
        self,
        *,
        layers: Annotated[int, Ge(1)] = 3,
        width: Annotated[int, Gt(0)] = 64,
        norm: Norm = "instance",
        conditional: bool = False,
        channels: Annotated[int, Gt(0)] = 3,
    ) -> None:
        super().__init__()
        self.conditional, self.channels = conditional, channels
        self.smallest = 3 * 2**layers  # one logit is left, and two pixels for instance norm before it
        here = width
        body: list[nn.Module] = [nn.Conv2d(channels * (1 + conditional), here, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        for layer in range(1, layers + 1):
            there = min(8, 2**layer) * width
            body += [
                nn.Conv2d(here, there, 4, stride=2 if layer < layers else 1, padding=1),
                norm_layer(norm, there),
                nn.LeakyReLU(SLOPE),
            ]
            here = there
        body.append(nn.Conv2d(here, 1, 4, padding=1))
        self.body = nn.Sequential(*body)
        initialise(self)

    def forward(self, image: Tensor | tuple[Tensor, ...], given: Tensor | None = None) -> tuple[Tensor, ...]:
        """Logits of the finest image.

        Raises:
            UserError: an image that is too small for a logit.
        """
        seen = _seen(image, given, self.conditional)
        height, width = seen.shape[-2:]
        if min(height, width) < self.smallest:
            raise UserError(
                f"critic: it needs images of at least {self.smallest}×{self.smallest} pixels and got {width}×{height}; "
                "raise data.crop, or give the critic fewer layers"
            )
        return (self.body(2 * seen - 1),)


class DoubleScaleCritic(Critic):
    """DeblurGAN-v2's pair of critics: one for patches, one for the whole (Kupyn et al., ICCV 2019, arXiv:1908.03826).

    Two PatchGANs. With three strided layers a logit sees 70×70 pixels, with five 286×286, which is more than the
    paper's crop of 256.

    Args:
        patch_layers: strided convolutions of the critic of patches.
        whole_layers: of the other.
        width: channels after the first convolution of each; they double up to eight times as many.
        norm: ``instance`` (published), ``batch`` or ``none``.
        conditional: also show the degraded image to both.
        channels: of the images.

    Shapes:
        ``(N, C, H, W)`` to maps ``(N, 1, H/32 - 2, W/32 - 2)`` and ``(N, 1, H/8 - 2, W/8 - 2)``; H and W at least 96.
    """

    def __init__(
        self,
        *,
        patch_layers: Annotated[int, Ge(1)] = 3,
        whole_layers: Annotated[int, Ge(1)] = 5,
        width: Annotated[int, Gt(0)] = 64,
        norm: Norm = "instance",
        conditional: bool = False,
        channels: Annotated[int, Gt(0)] = 3,
    ) -> None:
        super().__init__()
        self.conditional, self.channels = conditional, channels
        self.whole, self.patch = (
            PatchCritic(layers=layers, width=width, norm=norm, conditional=conditional, channels=channels)
            for layers in (whole_layers, patch_layers)
        )

    def forward(self, image: Tensor | tuple[Tensor, ...], given: Tensor | None = None) -> tuple[Tensor, ...]:
        """Logits of the finest image, for the whole and for patches.

        Raises:
            UserError: an image that is too small for a logit.
        """
        return (*self.whole(image, given), *self.patch(image, given))


class SingleValueCritic(Critic):
    """The critic of the Keras version of DeblurGAN (Meudec, 2018): convolutions, then dense layers to one number.

    Without the sigmoid of the original, since objectives take logits.

    Args:
        size: height and width of the images that it judges, in pixels.
        width: channels after the first convolution; they double from the third to the fifth up to eight times as many.
        hidden: values between the dense layers.
        norm: ``batch`` (published), ``instance`` (required by gradient penalties) or ``none``.
        conditional: also show the degraded image to the critic.
        channels: of the images.

    Shapes:
        ``(N, C, size, size)`` to one logit ``(N, 1, 1, 1)``.
    """

    def __init__(
        self,
        *,
        size: Annotated[int, MultipleOf(2**HALVINGS), Ge(2 ** (HALVINGS + 1))] = 256,
        width: Annotated[int, Gt(0)] = 64,
        hidden: Annotated[int, Gt(0)] = 1024,
        norm: Norm = "batch",
        conditional: bool = False,
        channels: Annotated[int, Gt(0)] = 3,
    ) -> None:
        super().__init__()
        self.conditional, self.channels, self.side = conditional, channels, size
        body: list[nn.Module] = [nn.Conv2d(channels * (1 + conditional), width, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        here = width
        for there in (width, 2 * width, 4 * width):
            body += [nn.Conv2d(here, there, 4, stride=2, padding=1), norm_layer(norm, there), nn.LeakyReLU(SLOPE)]
            here = there
        # A 4×4 convolution keeps the size with a frame that is wider at the bottom and right, as TensorFlow has it.
        body += [nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(here, 8 * width, 4), norm_layer(norm, 8 * width), nn.LeakyReLU(SLOPE)]
        body += [nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(8 * width, 1, 4)]
        self.body = nn.Sequential(*body)
        self.dense = nn.Sequential(nn.Flatten(), nn.Linear((size // 2**HALVINGS) ** 2, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        initialise(self)

    def forward(self, image: Tensor | tuple[Tensor, ...], given: Tensor | None = None) -> tuple[Tensor, ...]:
        """The logit of the finest image.

        Raises:
            UserError: an image of another size.
        """
        seen = _seen(image, given, self.conditional)
        height, width = seen.shape[-2:]
        if (height, width) != (self.side, self.side):
            raise UserError(
                f"critic: it judges {self.side}×{self.side} pixels and got {width}×{height}; make critic.size and data.crop equal"
            )
        logit: Tensor = self.dense(self.body(2 * seen - 1))
        return (logit[:, :, None, None],)


def _seen(image: Tensor | tuple[Tensor, ...], given: Tensor | None, conditional: bool) -> Tensor:
    """The finest image, with the degraded one beside it where the critic is conditional."""
    seen = finest(image)
    if not conditional:
        return seen
    if given is None:
        raise ValueError("a conditional critic needs the degraded image")
    return torch.cat([seen, given], dim=1)
