"""DeblurGAN's generator."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from restorekit.images import SizeRule
from restorekit.interfaces import Generator


class ResNet(Generator):
    """Residual network at quarter resolution with a global skip (Kupyn et al., CVPR 2018, arXiv:1711.07064, figure 3).

    A 7×7 stem, two strided convolutions, residual blocks, two up-samplings and a 7×7 head whose tanh is
    added to the image. Works in [-1, 1] inside. With two convolutions per block, nine blocks and width
    64 it has 11.38 M parameters.

    Args:
        blocks: residual blocks.
        width: channels of the stem; four times as many at quarter resolution.
        dropout: probability of dropping a value between the convolutions of a block; in training only.
        upsample: ``transposed`` convolution as published, which leaves checkerboards, or ``resize``
            (nearest neighbour, then a convolution), which does not.
        channels: of the image.

    Shapes:
        ``(N, C, H, W)`` to ``(N, C, H, W)``; H and W multiples of 4, at least 16.
    """

    size = SizeRule(minimum=16, multiple_of=4)

    def __init__(
        self,
        *,
        blocks: Annotated[int, Ge(0)] = 9,
        width: Annotated[int, Gt(0)] = 64,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.5,
        upsample: Literal["resize", "transposed"] = "resize",
        channels: Annotated[int, Gt(0)] = 3,
    ) -> None:
        super().__init__()
        self.channels = channels
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(channels, width, 7), nn.InstanceNorm2d(width), nn.ReLU(inplace=True)]
        for here in (width, 2 * width):
            layers += [nn.Conv2d(here, 2 * here, 3, stride=2, padding=1), nn.InstanceNorm2d(2 * here), nn.ReLU(inplace=True)]
        layers += [ResidualBlock(width=4 * width, dropout=dropout) for _ in range(blocks)]
        for here in (4 * width, 2 * width):
            layers += [_upsampling(here, upsample), nn.InstanceNorm2d(here // 2), nn.ReLU(inplace=True)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7), nn.Tanh()]
        self.body = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Restore ``(N, C, H, W)``; clamped to [0, 1] like the published network's output."""
        signed = 2 * x - 1
        return (torch.clamp(signed + self.body(signed), -1, 1) + 1) / 2


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with instance norm and dropout between them, added to the input."""

    def __init__(self, *, width: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        changed: Tensor = self.body(x)
        return x + changed


def _upsampling(width: int, how: str) -> nn.Module:
    if how == "transposed":
        return nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.ReflectionPad2d(1), nn.Conv2d(width, width // 2, 3))


def _initialise(module: nn.Module) -> None:
    """N(0, 0.02), as the published code."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
