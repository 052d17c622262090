"""DeblurGAN-v2's generator."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from restorekit.images import SizeRule
from restorekit.interfaces import Generator
from restorekit_deblurgan.backbones import Backbone, by_image, published, reported
from restorekit_deblurgan.parts import joined


class Fpn(Generator):
    """Feature pyramid over a classification network (Kupyn et al., DeblurGAN-v2, ICCV 2019, arXiv:1908.03826, figure 3).

    The backbone's maps at a quarter of the resolution and below go through 1×1 convolutions and are added up from the
    coarsest to the finest; each level has a head of two 3×3 convolutions, all are enlarged to a quarter by repetition
    and merged, and two more enlargements and convolutions lead to a correction, whose tanh is added to the image.

    Args:
        backbone: timm's name of a network with maps at 1/4, 1/8, 1/16 and 1/32 of the resolution.
        weights: the backbone's: ``imagenet`` (by timm's own loader, downloaded once), ``random``, or a file that timm
            reads: ``.safetensors`` or ``.pth``. A trained model brings its own.
        taps: which maps: ``timm`` those that the library lists, with images normalised as in the backbone's training;
            ``published`` those of the DeblurGAN-v2 release, for its two backbones ``inception_resnet_v2`` and
            ``mobilenetv2_100``, with images in [-1, 1] and the edges of small maps mirrored. Imported checkpoints
            need the latter.
        statistics: by which the backbone's batch norm normalises at inference: ``running``, the averages that training left,
            or ``image``, those of each image, as the DeblurGAN-v2 release does. Imported checkpoints need the latter.
        width: channels of the pyramid; its heads have half as many. Published: 256 over Inception, 128 over MobileNet.

    Shapes:
        ``(N, 3, H, W)`` to ``(N, 3, H, W)``; H and W multiples of 32, at least 64, or more where the backbone needs more.

    Raises:
        ValueError: timm has no such backbone, it lacks maps, or takes images of one size only; or `taps` is
            ``published`` and there is none of that backbone; or its weights cannot be loaded.
    """

    def __init__(
        self,
        *,
        backbone: str = "mobilenetv2_100",
        weights: str = "imagenet",
        taps: Literal["timm", "published"] = "timm",
        statistics: Literal["running", "image"] = "running",
        width: Annotated[int, Ge(4)] = 128,
    ) -> None:
        super().__init__()
        if width % 4:
            raise ValueError(f"width: {width} is no multiple of 4, which the heads and the last stage divide it by")
        self.trunk: Backbone = (published if taps == "published" else reported)(backbone, weights)
        if statistics == "image":
            by_image(self.trunk)
        self.size = SizeRule(minimum=self.trunk.smallest, multiple_of=32)
        self.mirrored = taps == "published"
        channels = dict(zip(self.trunk.reductions, self.trunk.channels, strict=True))
        # The map at half resolution, where there is one, is only added at the end and has the width of that stage.
        outs = {reduction: width // 2 if reduction == 2 else width for reduction in channels}
        self.laterals = nn.ModuleList(nn.Conv2d(channels[r], outs[r], 1, bias=False) for r in channels)
        self.top_down = nn.ModuleList(_stage(width, width) for _ in range(3))
        self.heads = nn.ModuleList(_head(width, width // 2) for _ in range(4))
        self.smooth = _stage(2 * width, width // 2)
        self.refine = _stage(width // 2, width // 4)
        self.final = nn.Conv2d(width // 4, self.channels, 3, padding=1)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Restore ``(N, 3, H, W)``; the result lies in [0, 1]."""
        height, width = x.shape[-2:]
        maps = {}
        for reduction, found, lateral in zip(self.trunk.reductions, self.trunk(x), self.laterals, strict=True):
            maps[reduction] = self._to_grid(lateral(found), height // reduction, width // reduction)
        pyramid = [maps[32]]
        for reduction, stage in zip((16, 8, 4), self.top_down, strict=True):
            pyramid.append(stage(maps[reduction] + _larger(pyramid[-1], 2)))
        heads = zip((8, 4, 2, 1), pyramid, reversed(self.heads), strict=True)
        merged = _larger(self.smooth(torch.cat([_larger(head(level), factor) for factor, level, head in heads], dim=1)), 2)
        merged = _larger(self.refine(merged + maps[2] if 2 in maps else merged), 2)
        return joined(2 * x - 1, torch.tanh(self.final(merged)), "add")

    def _to_grid(self, found: Tensor, height: int, width: int) -> Tensor:
        """A map in its place: backbones without padding make maps that are some pixels too small."""
        down, across = height - found.shape[-2], width - found.shape[-1]
        if not (down or across):
            return found
        if self.mirrored:
            return F.pad(found, (across // 2, across - across // 2, down // 2, down - down // 2), mode="reflect")
        return F.interpolate(found, (height, width), mode="bilinear", align_corners=False)


def _stage(here: int, there: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(here, there, 3, padding=1), nn.InstanceNorm2d(there), nn.ReLU(inplace=True))


def _head(here: int, there: int) -> nn.Sequential:
    first, second = nn.Conv2d(here, there, 3, padding=1, bias=False), nn.Conv2d(there, there, 3, padding=1, bias=False)
    return nn.Sequential(first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True))


def _larger(maps: Tensor, factor: int) -> Tensor:
    return maps if factor == 1 else F.interpolate(maps, scale_factor=factor, mode="nearest")
