"""The larger sibling of `compact`, for those with a GPU."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from restorekit.images import SizeRule
from restorekit.interfaces import Generator
from restorekit_deblurgan.attention import ChannelAttention
from restorekit_deblurgan.compact import ChannelNorm, gate


class Gated(Generator):
    """U-shaped network of gated blocks at full resolution: NAFNet (Chen et al., ECCV 2022, arXiv:2204.04676, figures 2 and 3).

    Blocks have no activation but products of halves of their channels. With the defaults it has 17.11 M parameters and does
    16 G multiply-adds at 256×256, the authors' smaller setting. Output: the input plus a correction.

    Channel attention pools over the whole image, so that a large image, a crop of it and the patches that the network
    was trained on are treated differently. A `window` makes each pixel's attention that of its surroundings, in
    evaluation alone; the authors use 1.5 times the side of the training patches.

    Args:
        width: channels at full resolution; they double at each level below.
        blocks: blocks of each level, on the way down.
        middle: blocks at the lowest level.
        decoder: blocks of each level, on the way up, full resolution first.
        window: side of the window of the channel attention, in pixels of the image; null takes the whole image.
        channels: of the image.

    Shapes:
        ``(N, C, H, W)`` to ``(N, C, H, W)``; H and W multiples of 2^levels.
    """

    def __init__(
        self,
        *,
        width: Annotated[int, Gt(0)] = 32,
        blocks: tuple[Annotated[int, Ge(0)], ...] = (1, 1, 1, 28),
        middle: Annotated[int, Ge(0)] = 1,
        decoder: tuple[Annotated[int, Ge(0)], ...] = (1, 1, 1, 1),
        window: Annotated[int, Ge(1)] | None = None,
        channels: Annotated[int, Gt(0)] = 3,
    ) -> None:
        super().__init__()
        if not blocks:
            raise ValueError("blocks: give at least one level, such as [2, 2]")
        if len(blocks) != len(decoder):
            raise ValueError(f"decoder: {len(decoder)} levels up for {len(blocks)} levels down; give one number for each")
        self.size = SizeRule(minimum=2 ** len(blocks), multiple_of=2 ** len(blocks))
        self.channels = channels
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.encoder, self.down, self.up, self.decoder = (nn.ModuleList() for _ in range(4))
        for level, (falling, rising) in enumerate(zip(blocks, decoder, strict=True)):
            here = width * 2**level
            self.encoder.append(_blocks(falling, here, window, level))
            self.down.append(nn.Conv2d(here, 2 * here, 2, stride=2))
            # Widened by a 1×1 convolution and folded out: no checkerboards, since neighbours share the same inputs.
            self.up.append(nn.Sequential(nn.Conv2d(2 * here, 4 * here, 1, bias=False), nn.PixelShuffle(2)))
            self.decoder.append(_blocks(rising, here, window, level))
        self.middle = _blocks(middle, width * 2 ** len(blocks), window, len(blocks))
        self.head = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Restore ``(N, C, H, W)``; the result may overshoot [0, 1]."""
        features = self.stem(x)
        skips = []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            skips.append(blocks(features))
            features = down(skips[-1])
        features = self.middle(features)
        for blocks, up in zip(reversed(self.decoder), reversed(self.up), strict=True):
            features = blocks(up(features) + skips.pop())
        restored: Tensor = x + self.head(features)
        return restored


def _blocks(count: int, width: int, window: int | None, level: int) -> nn.Sequential:
    there = None if window is None else max(1, window // 2**level)
    return nn.Sequential(*(Block(width=width, window=there) for _ in range(count)))


class Block(nn.Module):
    """A spatial branch with channel attention and a pointwise one, both gated; they start as the identity.

    Args:
        width: channels.
        window: as of `ChannelAttention`.
    """

    def __init__(self, *, width: int, window: int | None) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(width)
        self.widen1 = nn.Conv2d(width, 2 * width, 1)
        self.spatial = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.attention = ChannelAttention(width, window)
        self.narrow1 = nn.Conv2d(width, width, 1)
        self.norm2 = ChannelNorm(width)
        self.widen2 = nn.Conv2d(width, 2 * width, 1)
        self.narrow2 = nn.Conv2d(width, width, 1)
        self.scale1 = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.scale2 = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        inner = self.attention(gate(self.spatial(self.widen1(self.norm1(x)))))
        x = x + self.scale1 * self.narrow1(inner)
        mixed: Tensor = self.narrow2(gate(self.widen2(self.norm2(x))))
        return x + self.scale2 * mixed
