"""Any style in one pass: the statistics of a style picture given to the maps of a photograph."""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from restorekit.images import SizeRule
from restorekit.interfaces import Features, Generator
from restorekit_style.layers import check_layers
from restorekit_style.networks import EPSILON, mirrored

PROBE = 128
"""Side in pixels of the picture by which the sizes of maps are found out."""


class Step(nn.Module):
    """Two convolutions of the decoder."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(inputs, outputs, 3), nn.Conv2d(outputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Same size."""
        inner = F.relu(self.first(mirrored(x, 1)))
        return F.relu(self.second(mirrored(inner, 1)))


class AdaIn(Generator):
    """Paints a photograph in the style of any picture.

    Huang & Belongie, ICCV 2017, arXiv:1703.06868: the maps of a frozen network are normalised channel by channel and given
    mean and standard deviation of the style picture's (adaptive instance normalisation); a decoder, which alone is
    trained, makes a picture of them. Here it gets them from several layers, each joined in where its size is reached,
    which keeps edges.

    Args:
        features: the encoder, such as ``{part: core/vgg19}``.
        layers: of the encoder, shallow to deep; the paper takes ``relu4_1`` of VGG-19.
        width: channels of the decoder at full size; doubled with each halving, up to eight times.
        strength: 1 takes over the style's statistics, 0 keeps the photograph's.

    Raises:
        UserError: a layer that the encoder does not have.
        ValueError: no layers.
    """

    guided = True
    size = SizeRule(minimum=32)

    def __init__(
        self,
        *,
        features: Features,
        layers: tuple[str, ...],
        width: Annotated[int, Ge(1)] = 32,
        strength: Annotated[float, Gt(0), Le(1)] = 1.0,
    ) -> None:
        super().__init__()
        if not layers:
            raise ValueError("layers: give at least one")
        check_layers(features, layers)
        self.features, self.layers, self.strength = features, layers, strength
        device = next(features.parameters()).device
        with torch.no_grad():
            maps = features(torch.zeros(1, 3, PROBE, PROBE, device=device), layers)
        halvings = [max(0, round(math.log2(PROBE / maps[layer].shape[-1]))) for layer in layers]
        self.joined = {depth: [i for i, d in enumerate(halvings) if d == depth] for depth in range(max(halvings) + 1)}
        self.steps = nn.ModuleList()
        above = 0
        for depth in range(max(halvings), -1, -1):
            inputs = above + sum(maps[layers[i]].shape[1] for i in self.joined[depth])
            outputs = width * 2 ** min(depth, 3)
            self.steps.append(Step(inputs, outputs))
            above = outputs
        self.last = nn.Conv2d(above, 3, 3)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """The painted image, same shape.

        Args:
            x: ``(N, 3, H, W)`` in [0, 1].
            given: the style pictures ``(N, 3, h, w)`` in [0, 1]; where there are none the photograph is decoded as it is.
        """
        maps = self.features(x, self.layers)
        styles = None if given is None else self.features(given, self.layers)
        mixed = [
            maps[layer] if styles is None else torch.lerp(maps[layer], adapted(maps[layer], styles[layer]), self.strength)
            for layer in self.layers
        ]
        inner: Tensor | None = None
        deepest = len(self.steps) - 1
        for depth, step in zip(range(deepest, -1, -1), self.steps, strict=True):
            size = [-(-side // 2**depth) for side in x.shape[-2:]]
            parts = [] if inner is None else [F.interpolate(inner, size, mode="nearest")]
            parts += [F.interpolate(mixed[i], size, mode="bilinear") for i in self.joined[depth]]
            inner = step(torch.cat(parts, 1))
        assert inner is not None
        return torch.sigmoid(self.last(mirrored(inner, 1)).float())


def adapted(maps: Tensor, style: Tensor) -> Tensor:
    """`maps` with mean and standard deviation of each channel of `style`, in the type of `maps`."""
    with torch.autocast(maps.device.type, enabled=False):
        own_variance, own_mean = torch.var_mean(maps.float(), (2, 3), correction=0, keepdim=True)
        variance, mean = torch.var_mean(style.float(), (2, 3), correction=0, keepdim=True)
        scale = ((variance + EPSILON) / (own_variance + EPSILON)).sqrt()
        return ((maps.float() - own_mean) * scale + mean).to(maps.dtype)
