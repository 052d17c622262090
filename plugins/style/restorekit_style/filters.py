"""Untrained filters at several scales: texture without any weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from restorekit.interfaces import Features
from restorekit_style.layers import check_layers

MEAN, SPREAD = 0.45, 0.25
"""Of pixels, roughly, in photographs and paintings."""


class RandomFilters(Features):
    """One layer of random filters, applied to the picture at several scales; nothing is trained and nothing downloaded.

    After Ustyuzhaninov, Brendel, Gatys & Bethge, "Texture synthesis using shallow convolutional networks with random
    filters", 2016, arXiv:1606.00021, who take filters of 3 to 55 pixels; here one size of filter sees the picture halved
    again and again, which reaches as far for a fraction of the work. Filters sum to zero over their window and have
    norm 1; as many again are averages of it in random colours. All are rectified. Layers are ``scale1`` (full size) to
    ``scaleN`` (halved N - 1 times; no further than the picture allows).

    Args:
        scales: how many.
        channels: filters at each scale, of both sorts together.
        side: height and width of a filter, odd.
        seed: of the filters.

    Raises:
        ValueError: an even `side`, or fewer than two channels.
    """

    def __init__(
        self,
        *,
        scales: Annotated[int, Ge(1)] = 5,
        channels: Annotated[int, Ge(2)] = 96,
        side: Annotated[int, Ge(3)] = 5,
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        super().__init__()
        if side % 2 == 0:
            raise ValueError(f"side: got {side}; odd sizes have a centre")
        self.weights, self.seed, self.side = "random", seed, side
        self.layers = tuple(f"scale{i + 1}" for i in range(scales))
        rng = torch.Generator().manual_seed(seed)
        patterns = torch.randn(scales, channels - channels // 2, 3, side, side, generator=rng)
        patterns = patterns - patterns.mean((-2, -1), keepdim=True)
        colours = torch.randn(scales, channels // 2, 3, 1, 1, generator=rng).expand(-1, -1, -1, side, side)
        both = torch.cat([patterns, colours], 1)
        both = both / torch.linalg.vector_norm(both, dim=(2, 3, 4), keepdim=True)
        self.filters = nn.ParameterList([nn.Parameter(each.clone(), requires_grad=False) for each in both])

    def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Maps by layer name, of ``(N, 1 or 3, H, W)``.

        Raises:
            UserError: a layer that there is not.
        """
        check_layers(self, list(dict.fromkeys(layers)))
        wanted = {self.layers.index(name) for name in layers}
        x = (image.to(self.filters[0].dtype) - MEAN) / SPREAD
        x = x.expand(-1, 3, -1, -1)
        found: dict[str, Tensor] = {}
        edge = self.side // 2
        for number, filters in enumerate(self.filters):
            if number in wanted:
                mirrored = min(x.shape[-2:]) > edge
                padded = F.pad(x, (edge,) * 4, mode="reflect" if mirrored else "replicate")
                found[self.layers[number]] = F.relu(F.conv2d(padded, filters))
            if number == max(wanted, default=-1):
                break
            if min(x.shape[-2:]) > 1:
                x = F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
        return {name: found[name] for name in layers}
