"""Losses that compare the style, or the content, of two images by the maps of a network."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

import torch
from annotated_types import Ge, MinLen
from torch import Tensor

import restorekit as rk
from restorekit.images import Degraded
from restorekit.interfaces import Features, Loss
from restorekit_style.layers import check_layers
from restorekit_style.networks import EPSILON
from restorekit_style.statistics import STATISTICS, relative

Against = Literal["target", "reference"]
Factors = tuple[Annotated[float, Ge(0)], ...] | None


class _StyleLoss(Loss):
    """What the losses of style share: layers with factors, and what they compare with."""

    statistic: str

    def __init__(
        self,
        *,
        features: Features,
        layers: Annotated[tuple[str, ...], MinLen(1)],
        layer_weights: Factors = None,
        against: Against = "target",
        relative: bool = False,
    ) -> None:
        super().__init__()
        check_layers(features, layers)
        if layer_weights is None:
            layer_weights = (1 / len(layers),) * len(layers)
        if len(layer_weights) != len(layers):
            raise ValueError(f"layer_weights: got {len(layer_weights)} for {len(layers)} layers; give one factor per layer")
        if not any(layer_weights):
            raise ValueError("layer_weights: all are 0, so nothing is compared; give at least one layer a factor above 0")
        self.features, self.layers, self.layer_weights, self.against, self.relative = features, layers, layer_weights, against, relative
        self.needs_target = against == "target"
        self._known: tuple[Tensor, dict[str, Tensor]] | None = None

    def forward(self, restored: Tensor, target: Tensor, degraded: Degraded) -> Tensor:
        """A scalar: the weighted style distance of `restored` ``(N, C, H, W)`` from `target` ``(N, C, H', W')``.

        With ``against: reference`` it is the distance from the reference of `degraded`, of which there is one for each
        image or one for all.

        Raises:
            UserError: there is no reference.
        """
        made = self.features(restored, self.layers)
        wanted = self._wanted(target if self.against == "target" else _reference(degraded))
        statistic = STATISTICS[self.statistic]
        terms = []
        for layer, weight in zip(self.layers, self.layer_weights, strict=True):
            here = statistic.of(_wide(made[layer]))
            there = wanted[layer].expand_as(here)
            terms.append(weight * (relative(here, there) if self.relative else self.distance(here, there)))
        return torch.stack(terms).sum()

    @abstractmethod
    def distance(self, made: Tensor, wanted: Tensor) -> Tensor:
        """Between statistics ``(N, …)``, averaged over the batch."""

    def _wanted(self, image: Tensor) -> dict[str, Tensor]:
        """Statistics of the target or reference. A reference that is the same again and again is looked at once."""
        statistic = STATISTICS[self.statistic]
        if self.against == "target":
            return {layer: statistic.of(_wide(maps)) for layer, maps in self.features(image, self.layers).items()}
        one = image[:1] if len(image) > 1 and torch.equal(image, image[:1].expand_as(image)) else image
        if self._known is None or self._known[0].shape != one.shape or not torch.equal(self._known[0], one):
            with torch.no_grad():
                found = {layer: statistic.of(_wide(maps)) for layer, maps in self.features(one, self.layers).items()}
            self._known = (one.clone(), found)
        return self._known[1]


class GramLoss(_StyleLoss):
    """Distance between the Gram matrices of two images' feature maps, which holds texture without place.

    Gatys, Ecker & Bethge, "Image style transfer using convolutional neural networks", CVPR 2016,
    equations 3 to 5: at layer l, ``E_l = 1/4 Σ_ij (G_ij - A_ij)²`` with ``G = F Fᵀ / (C·P)`` for maps F of
    C channels and P positions, so that images of different sizes can be compared; the loss is the
    weighted sum of ``E_l``, averaged over the batch. As a term of a recipe it compares the restored
    image with its target, and so asks for the right texture where a pixel loss would blur; or with a style
    picture, ``data.reference``. The Gram matrices are computed in at least float32 under autocast too, since sums
    over all positions overflow or lose digits in half precision.

    Args:
        features: the network whose maps are compared; the paper takes VGG-19.
        layers: names of its layers; the paper takes the first convolution of each of the five blocks.
        layer_weights: one factor per layer, at least 0 and not all of them 0; null gives each layer
            ``1/len(layers)``, as the paper does.
        against: what the restored image is compared with: the ``target``, or the ``reference``, a style.
        relative: take ``Σ (G - A)² / Σ A²`` instead of ``E_l``, so that one weight suits any network.

    Raises:
        UserError: a layer that the network does not have or that is given twice.
        ValueError: another number of factors than of layers, or nothing but zeros.
    """

    statistic = "gram"

    def distance(self, made: Tensor, wanted: Tensor) -> Tensor:
        """A quarter of the sum of squared differences."""
        return (made - wanted).square().sum((1, 2)).mean() / 4


class MomentsLoss(_StyleLoss):
    """Distance between the means and standard deviations of two images' feature maps: style with few numbers.

    At each layer the mean over channels of ``(μ - μ')² + (σ - σ')²``. Li, Wang, Liu & Hou, IJCAI 2017,
    arXiv:1701.01036; the style loss of Huang & Belongie, ICCV 2017, arXiv:1703.06868.

    Args:
        features: the network whose maps are compared.
        layers: names of its layers.
        layer_weights: one factor per layer, at least 0 and not all of them 0; null gives each layer
            ``1/len(layers)``.
        against: what the restored image is compared with: the ``target``, or the ``reference``, a style.
        relative: divide by ``Σ μ'² + σ'²``, so that one weight suits any network.

    Raises:
        UserError: a layer that the network does not have or that is given twice.
        ValueError: another number of factors than of layers, or nothing but zeros.
    """

    statistic = "moments"

    def distance(self, made: Tensor, wanted: Tensor) -> Tensor:
        """Squared differences, summed over mean and deviation, averaged over channels."""
        return (made - wanted).square().sum(1).mean()


class ContentLoss(Loss):
    """Squared difference of two images' feature maps over the mean square of the target's map, averaged over layers.

    Gatys et al., CVPR 2016, equation 1, with a norm that suits any network and any size.

    Args:
        features: the network whose maps are compared.
        layers: names of its layers; the paper takes ``conv4_2`` of VGG-19.
        normalised: compare maps whose channels have been brought to mean 0 and deviation 1, in each image by itself: what is where,
            and not how strong it is, which is the style's to say. Huang & Belongie, ICCV 2017, get there by another way: they
            give the target's maps the style's means and deviations first.

    Raises:
        UserError: a layer that the network does not have or that is given twice.
    """

    def __init__(self, *, features: Features, layers: Annotated[tuple[str, ...], MinLen(1)], normalised: bool = False) -> None:
        super().__init__()
        check_layers(features, layers)
        self.features, self.layers, self.normalised = features, layers, normalised

    def forward(self, restored: Tensor, target: Tensor, degraded: Degraded) -> Tensor:
        """A scalar for images ``(N, C, H, W)``; `degraded` is not read."""
        made, wanted = self.features(restored, self.layers), self.features(target, self.layers)
        prepared = normalised if self.normalised else _wide
        terms = [relative(prepared(made[layer]), prepared(wanted[layer])) for layer in self.layers]
        return torch.stack(terms).mean()


def _reference(degraded: Degraded) -> Tensor:
    if degraded.reference is None:
        raise rk.UserError("against: reference, and there is none; give the style picture with --set data.reference=FILE")
    return degraded.reference


def normalised(maps: Tensor) -> Tensor:
    """Maps ``(N, C, H, W)`` whose channels have mean 0 and deviation 1 in each image, in at least float32."""
    with torch.autocast(maps.device.type, enabled=False):
        variance, mean = torch.var_mean(_wide(maps), (2, 3), correction=0, keepdim=True)
        return (_wide(maps) - mean) * (variance + EPSILON).rsqrt()


def _wide(maps: Tensor) -> Tensor:
    return maps.to(torch.promote_types(maps.dtype, torch.float32))


def gram(maps: Tensor) -> Tensor:
    """Gram matrices ``(N, C, C)`` of feature maps ``(N, C, H, W)``, divided by C·H·W, in at least float32."""
    return STATISTICS["gram"].of(_wide(maps))
