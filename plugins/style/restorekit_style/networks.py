"""Networks that paint in one pass: one style, or several, learnt by training."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from restorekit.images import SizeRule
from restorekit.interfaces import Generator

EPSILON = 1e-5


class InstanceNorm(nn.Module):
    """Normalises each channel of each image, then scales and shifts it by numbers of its own for every style.

    Ulyanov, Vedaldi & Lempitsky, 2016, arXiv:1607.08022; conditional: Dumoulin, Shlens & Kudlur, ICLR 2017,
    arXiv:1610.07629. Keeps channels-last order, for which torch's own has no kernel.
    """

    def __init__(self, channels: int, styles: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(max(1, styles), channels))
        self.bias = nn.Parameter(torch.zeros(max(1, styles), channels))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """`x` ``(N, C, H, W)`` in the styles of the numbers `style` ``(N,)``."""
        with torch.autocast(x.device.type, enabled=False):
            variance, mean = torch.var_mean(x.float(), (2, 3), correction=0, keepdim=True)
            scale = self.weight[style][:, :, None, None] * (variance + EPSILON).rsqrt()
            shift = self.bias[style][:, :, None, None] - mean * scale
        return torch.addcmul(shift.to(x.dtype), x, scale.to(x.dtype))


class Convolution(nn.Module):
    """A convolution with a mirrored border and instance norm.

    `scale` above 1 enlarges the picture first, so that it leaves no checkerboard.
    """

    def __init__(self, inputs: int, outputs: int, side: int, *, styles: int, stride: int = 1, scale: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, side, stride, bias=False)
        self.norm = InstanceNorm(outputs, styles)
        self.edge, self.scale = side // 2, scale

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Before the rectifier."""
        if self.scale > 1:
            x = F.interpolate(x, scale_factor=self.scale, mode="nearest")
        normed: Tensor = self.norm(self.convolution(mirrored(x, self.edge)), style)
        return normed


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int, styles: int) -> None:
        super().__init__()
        self.first = Convolution(channels, channels, 3, styles=styles)
        self.second = Convolution(channels, channels, 3, styles=styles)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Same shape."""
        inner: Tensor = self.second(F.relu(self.first(x, style)), style)
        return x + inner


class TransformNet(Generator):
    """Paints a photograph in the style that it was trained for.

    Johnson, Alahi & Fei-Fei, ECCV 2016, arXiv:1603.08155, with enlarging before convolutions in place of transposed ones
    and with instance norm.

    Args:
        width: channels at full size; doubled with each halving of the size, of which there are two.
        blocks: residual blocks at a quarter of the size.
        styles: styles that it can make, one of which its `given` names; 0 for a single one.
    """

    size = SizeRule(minimum=16, multiple_of=4)

    def __init__(self, *, width: Annotated[int, Ge(1)] = 16, blocks: Annotated[int, Ge(0)] = 5, styles: Annotated[int, Ge(0)] = 0) -> None:
        super().__init__()
        self.classes = styles
        self.down = nn.ModuleList(
            [
                Convolution(3, width, 9, styles=styles),
                Convolution(width, 2 * width, 3, stride=2, styles=styles),
                Convolution(2 * width, 4 * width, 3, stride=2, styles=styles),
            ]
        )
        self.middle = nn.ModuleList([Block(4 * width, styles) for _ in range(blocks)])
        self.up = nn.ModuleList(
            [Convolution(4 * width, 2 * width, 3, scale=2, styles=styles), Convolution(2 * width, width, 3, scale=2, styles=styles)]
        )
        self.last = nn.Conv2d(width, 3, 9)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """The painted image, same shape.

        Args:
            x: ``(N, 3, H, W)`` in [0, 1].
            given: number of the style ``(N,)``; the first where there is none.
        """
        style = torch.zeros(len(x), dtype=torch.long, device=x.device) if given is None else given
        inner = 2 * x - 1
        for layer in self.down:
            inner = F.relu(layer(inner, style))
        for block in self.middle:
            inner = block(inner, style)
        for layer in self.up:
            inner = F.relu(layer(inner, style))
        return torch.sigmoid(self.last(mirrored(inner, 4)).float())


def mirrored(x: Tensor, edge: int) -> Tensor:
    """`x` with `edge` mirrored pixels around it; repeats the edge where it is too small to mirror."""
    if not edge:
        return x
    return F.pad(x, (edge,) * 4, mode="reflect" if min(x.shape[-2:]) > edge else "replicate")
