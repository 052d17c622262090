"""DeblurGAN's generator."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from restorekit.images import SizeRule
from restorekit.interfaces import Generator
from restorekit_deblurgan.parts import Norm, Padding, Skip, Upsample, initialise, joined, norm_layer, padded, upsampling


class ResNet(Generator):
    """Residual network at quarter resolution with a global skip (Kupyn et al., CVPR 2018, arXiv:1711.07064, figure 3).

    A 7×7 stem, two strided convolutions, residual blocks, two up-samplings and a 7×7 head whose tanh is
    added to the image. Works in [-1, 1] inside. With two convolutions per block, nine blocks and width
    64 it has 11.38 M parameters.

    Args:
        blocks: residual blocks.
        width: channels of the stem; four times as many at quarter resolution.
        norm: ``instance`` (published), ``batch`` (the Keras version) or ``none``. Without instance norm it is local.
        dropout: probability of dropping a value after the first convolution of a block; in training only.
        upsample: ``resize`` (linear interpolation, then a convolution), ``shuffle`` (sub-pixel convolution, ICNR) or
            ``transposed`` convolution as published, which leaves checkerboards.
        convolutions_per_block: 2 as in the paper's figure, or 1 as in the published code.
        skip: ``add`` the network's output to the image and clamp; ``average``: half of the sum (the Keras version);
            ``none``: the output alone.
        padding: around the 3×3 convolutions of the blocks and of the up-sampling.
        channels: of the image.

    Shapes:
        ``(N, C, H, W)`` to ``(N, C, H, W)``; H and W multiples of 4, at least 16.
    """

    size = SizeRule(minimum=16, multiple_of=4)
    portable = ("body",)
    engine = "openvino"

    def __init__(
        self,
        *,
        blocks: Annotated[int, Ge(0)] = 9,
        width: Annotated[int, Gt(0)] = 64,
        norm: Norm = "instance",
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.5,
        upsample: Upsample = "resize",
        convolutions_per_block: Literal[1, 2] = 2,
        skip: Skip = "add",
        padding: Padding = "reflect",
        channels: Annotated[int, Gt(0)] = 3,
    ) -> None:
        super().__init__()
        self.channels, self.skip = channels, skip
        self.local = norm != "instance"
        biased = norm != "batch"  # batch norm has a bias of its own
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(channels, width, 7, bias=biased),
            norm_layer(norm, width),
            nn.ReLU(inplace=True),
        ]
        for here in (width, 2 * width):
            layers += [nn.Conv2d(here, 2 * here, 3, stride=2, padding=1, bias=biased), norm_layer(norm, 2 * here), nn.ReLU(inplace=True)]
        for _ in range(blocks):
            layers.append(ResidualBlock(width=4 * width, norm=norm, dropout=dropout, convolutions=convolutions_per_block, padding=padding))
        for here in (4 * width, 2 * width):
            layers += [
                upsampling(here, here // 2, upsample, padding=padding, bias=biased),
                norm_layer(norm, here // 2),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7), nn.Tanh()]
        self.body = nn.Sequential(*layers)
        initialise(self)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Restore ``(N, C, H, W)``; the result lies in [0, 1]."""
        signed = 2 * x - 1
        return joined(signed, self.body(signed), self.skip)


class ResidualBlock(nn.Module):
    """One or two 3×3 convolutions, the first with a norm, ReLU and dropout and the second with a norm, added to the input."""

    def __init__(self, *, width: int, norm: Norm, dropout: float, convolutions: int, padding: Padding) -> None:
        super().__init__()
        biased = norm != "batch"
        layers = [
            padded(padding, 1),
            nn.Conv2d(width, width, 3, bias=biased),
            norm_layer(norm, width),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        ]
        if convolutions == 2:
            layers += [padded(padding, 1), nn.Conv2d(width, width, 3, bias=biased), norm_layer(norm, width)]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        changed: Tensor = self.body(x)
        return x + changed
