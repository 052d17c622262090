"""A small U-shaped network of gated blocks that restores a photograph in a second."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from torch import Tensor, nn

from restorekit.images import SizeRule
from restorekit.interfaces import Generator


class Compact(Generator):
    """Half-resolution U-shaped network of gated convolution blocks with a global skip.

    The image is folded to half resolution (pixel unshuffle), which makes everything behind it four
    times cheaper; blocks follow NAFNet (Chen et al., ECCV 2022, arXiv:2204.04676) with layer norm,
    simple gates and channel attention, but with full 3×3 convolutions, which are faster than
    depthwise ones on a CPU at the same quality. Output: the input plus a correction, which is zero
    in an untrained network.

    Args:
        width: channels at half resolution; they double at each level below.
        blocks: blocks of each level, on the way down and again on the way up.
        middle: blocks at the lowest level.
        attention: weigh channels by their mean over the whole image. It helps to tell which blur the
            image has; without it the network is local.
        channels: of the image.

    Shapes:
        ``(N, C, H, W)`` to ``(N, C, H, W)``; H and W multiples of 2 · 2^levels.
    """

    def __init__(
        self,
        *,
        width: Annotated[int, Gt(0)] = 32,
        blocks: tuple[Annotated[int, Ge(0)], ...] = (2, 2),
        middle: Annotated[int, Ge(0)] = 6,
        attention: bool = True,
        channels: Annotated[int, Gt(0)] = 3,
    ) -> None:
        super().__init__()
        if not blocks:
            raise ValueError("blocks: give at least one level, such as [2, 2]")
        multiple = 2 * 2 ** len(blocks)
        self.size = SizeRule(minimum=multiple, multiple_of=multiple)
        self.channels = channels
        self.local = not attention
        self.stem = nn.Conv2d(4 * channels, width, 3, padding=1)
        self.down = nn.ModuleList()
        self.encoder = nn.ModuleList()
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for level, count in enumerate(blocks):
            here = width * 2**level
            self.encoder.append(nn.Sequential(*(Block(width=here, attention=attention) for _ in range(count))))
            self.down.append(nn.Conv2d(here, 2 * here, 2, stride=2))
            # Widened by a 1×1 convolution and folded out: no checkerboards, since neighbours share the same inputs.
            self.up.append(nn.Sequential(nn.Conv2d(2 * here, 4 * here, 1, bias=False), nn.PixelShuffle(2)))
            self.decoder.append(nn.Sequential(*(Block(width=here, attention=attention) for _ in range(count))))
        lowest = width * 2 ** len(blocks)
        self.middle = nn.Sequential(*(Block(width=lowest, attention=attention) for _ in range(middle)))
        self.head = nn.Conv2d(width, 4 * channels, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Restore ``(N, C, H, W)``; the result may overshoot [0, 1]."""
        features = self.stem(F.pixel_unshuffle(x, 2))
        skips = []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            features = blocks(features)
            skips.append(features)
            features = down(features)
        features = self.middle(features)
        for blocks, up, skip in zip(reversed(self.decoder), reversed(self.up), reversed(skips), strict=True):
            features = blocks(up(features) + skip)
        return x + F.pixel_shuffle(self.head(features), 2)


class Block(nn.Module):
    """Two gated residual branches: spatial, then pointwise; both start as the identity."""

    def __init__(self, *, width: int, attention: bool) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(width)
        self.spatial = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.attention = nn.Conv2d(width, width, 1) if attention else None
        self.merge = nn.Conv2d(width, width, 1)
        self.norm2 = ChannelNorm(width)
        self.widen = nn.Conv2d(width, 2 * width, 1)
        self.narrow = nn.Conv2d(width, width, 1)
        self.scale1 = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.scale2 = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        inner = gate(self.spatial(self.norm1(x)))
        if self.attention is not None:
            inner = inner * self.attention(inner.mean((2, 3), keepdim=True))
        x = x + self.scale1 * self.merge(inner)
        mixed: Tensor = self.narrow(gate(self.widen(self.norm2(x))))
        return x + self.scale2 * mixed


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        pixels = x.permute(0, 2, 3, 1)
        return F.layer_norm(pixels, self.weight.shape, self.weight, self.bias).permute(0, 3, 1, 2)


def gate(x: Tensor) -> Tensor:
    """Product of the two halves of the channels (SimpleGate)."""
    first, second = x.chunk(2, dim=1)
    return first * second
