"""Losses that compare the style of two images."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, MinLen
from torch import Tensor

from restorekit.images import Degraded
from restorekit.interfaces import Features, Loss


class GramLoss(Loss):
    """Distance between the Gram matrices of two images' feature maps, which holds texture without place.

    Gatys, Ecker & Bethge, "Image style transfer using convolutional neural networks", CVPR 2016,
    equations 3 to 5: at layer l, ``E_l = 1/4 Σ_ij (G_ij - A_ij)²`` with ``G = F Fᵀ / (C·P)`` for maps F of
    C channels and P positions, so that images of different sizes can be compared; the loss is the
    weighted sum of ``E_l``, averaged over the batch. As a term of a recipe it compares the restored
    image with its target, and so asks for the right texture where a pixel loss would blur. The Gram
    matrices are computed in at least float32 under autocast too, since sums over all positions
    overflow or lose digits in half precision.

    Args:
        features: the network whose maps are compared; the paper takes VGG-19.
        layers: names of its layers; the paper takes the first convolution of each of the five blocks.
        layer_weights: one factor per layer, at least 0 and not all of them 0; null gives each layer
            ``1/len(layers)``, as the paper does.

    Raises:
        ValueError: a layer that the network does not have or that is given twice, another number of
            factors than of layers, or nothing but zeros.
    """

    def __init__(
        self,
        *,
        features: Features,
        layers: Annotated[tuple[str, ...], MinLen(1)],
        layer_weights: tuple[Annotated[float, Ge(0)], ...] | None = None,
    ) -> None:
        super().__init__()
        unknown = [layer for layer in layers if layer not in features.layers]
        if unknown:
            raise ValueError(f"layers: the feature network has no layer {', '.join(unknown)}. Layers: {', '.join(features.layers)}")
        if len(set(layers)) < len(layers):
            raise ValueError(f"layers: {', '.join(layers)}: each may be given once")
        if layer_weights is None:
            layer_weights = (1 / len(layers),) * len(layers)
        if len(layer_weights) != len(layers):
            raise ValueError(f"layer_weights: got {len(layer_weights)} for {len(layers)} layers; give one factor per layer")
        if not any(layer_weights):
            raise ValueError("layer_weights: all are 0, so nothing is compared; give at least one layer a factor above 0")
        self.features = features
        self.layers = layers
        self.layer_weights = layer_weights

    def forward(self, restored: Tensor, target: Tensor, degraded: Degraded) -> Tensor:
        """A scalar: the weighted style distance of `restored` ``(N, C, H, W)`` from `target` ``(N, C, H', W')``; `degraded` is not read."""
        made, wanted = self.features(restored, self.layers), self.features(target, self.layers)
        terms = [
            weight * (gram(made[layer]) - gram(wanted[layer])).square().sum((1, 2)).mean() / 4
            for layer, weight in zip(self.layers, self.layer_weights, strict=True)
        ]
        return torch.stack(terms).sum()


def gram(maps: Tensor) -> Tensor:
    """Gram matrices ``(N, C, C)`` of feature maps ``(N, C, H, W)``, divided by C·H·W, in at least float32."""
    with torch.autocast(maps.device.type, enabled=False):
        flat = maps.to(torch.promote_types(maps.dtype, torch.float32)).flatten(2)
        return flat @ flat.mT / (flat.shape[1] * flat.shape[2])
