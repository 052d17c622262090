"""pix2pix's generator."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from restorekit.images import SizeRule
from restorekit.interfaces import Generator
from restorekit_deblurgan.parts import Norm, Skip, initialise, joined, norm_layer

WIDEST = 8
"""Times the width: what the deeper levels have."""

DROPPED = 4
"""Levels from the top whose way up has no dropout, and the lowest has none either."""


class UNet256(Generator):
    """The U-Net of pix2pix (Isola et al., CVPR 2017, arXiv:1611.07004, appendix 6.1.1), which DeblurGAN offers too.

    4×4 convolutions of stride 2 down to where `levels` halvings lead, transposed ones up again, and the maps of each
    level beside those that come up. Eight levels take 256 pixels down to one. With batch norm, as in pix2pix, it has
    54.41 M parameters. Works in [-1, 1] inside.

    Args:
        levels: halvings. The image's sides are padded to multiples of 2^levels.
        width: channels of the first level; they double down to eight times as many.
        norm: ``instance`` (DeblurGAN), ``batch`` (pix2pix) or ``none``.
        dropout: probability of dropping a value on the way up, from the second lowest level to the fifth from the top;
            in training only.
        skip: ``add`` the network's output to the image and clamp (DeblurGAN), ``average`` both, or ``none``: the output
            alone (pix2pix).
        channels: of the image.

    Shapes:
        ``(N, C, H, W)`` to ``(N, C, H, W)``; H and W multiples of 2^levels.
    """

    def __init__(
        self,
        *,
        levels: Annotated[int, Ge(1)] = 8,
        width: Annotated[int, Gt(0)] = 64,
        norm: Norm = "instance",
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.5,
        skip: Skip = "add",
        channels: Annotated[int, Gt(0)] = 3,
    ) -> None:
        super().__init__()
        self.channels, self.skip = channels, skip
        # At a little more than half a multiple there is enough of the image to mirror for the rest.
        self.size = SizeRule(minimum=2 ** (levels - 1) + 1, multiple_of=2**levels)
        biased = norm != "batch"  # batch norm has a bias of its own
        widths = [channels, *(min(2**level, WIDEST) * width for level in range(levels))]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level in range(levels):
            above, here = widths[level : level + 2]
            top, bottom = level == 0, level == levels - 1
            plain = top or bottom
            down = nn.Conv2d(above, here, 4, stride=2, padding=1, bias=biased or top)
            self.down.append(nn.Sequential(down, nn.Identity() if plain else norm_layer(norm, here)))
            up = nn.ConvTranspose2d(here if bottom else 2 * here, above, 4, stride=2, padding=1, bias=biased or top)
            drops = dropout if level >= DROPPED and not bottom else 0.0
            self.up.append(nn.Sequential(up, nn.Tanh() if top else norm_layer(norm, above), nn.Dropout(drops)))
        initialise(self)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Restore ``(N, C, H, W)``; the result lies in [0, 1]."""
        signed = 2 * x - 1
        maps = [self.down[0](signed)]
        for down in self.down[1:]:
            maps.append(down(F.leaky_relu(maps[-1], 0.2)))
        rising = maps.pop()
        for up in reversed(self.up[1:]):
            rising = torch.cat((maps.pop(), up(F.relu(rising))), dim=1)
        return joined(signed, self.up[0](F.relu(rising)), self.skip)
