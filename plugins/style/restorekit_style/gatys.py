"""Style transfer by optimisation of the pixels."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from torch import Tensor

import restorekit as rk
from restorekit.images import Degraded
from restorekit.interfaces import Features, Iteration, Restorer
from restorekit_style import colours
from restorekit_style.descent import Outcome, minimise
from restorekit_style.filters import RandomFilters
from restorekit_style.layers import layers_for
from restorekit_style.objective import Objective, Terms, network_maps, style_targets
from restorekit_style.statistics import STATISTICS

COARSEST = 96
"""Shorter side in pixels below which no coarser scale is added."""

MORE_COARSE = 1.6
"""A coarser scale does so many times the steps of the next one, each of which costs four times as much."""

PLENTY = 256
"""Pixels a side that are enough for any layer."""

MARGIN = 64
"""Pixels around a tile that the network sees besides."""


def default_features() -> Features:
    """VGG-19 with ImageNet's weights, or untrained filters, with a warning that says so, where these cannot be had."""
    try:
        made: Features = rk.registry().create("features", "core/vgg19", pooling="average")
    except rk.UserError as fault:
        warnings.warn(
            "no pretrained features, so untrained filters (style/random-filters) take their place: they carry colour and texture, "
            f"and know nothing of objects. For VGG-19: {fault}",
            UserWarning,
            stacklevel=2,
        )
        return RandomFilters()
    return made


def fastest(features: Features, precision: str, device: torch.device) -> Features:
    """`features` in the precision and the memory order in which they are fastest."""
    if precision == "fp32" or (precision == "auto" and not rk.has_bf16(device)):
        return features
    return copy.deepcopy(features).to(torch.bfloat16).to(memory_format=torch.channels_last)


class Gatys(Restorer):
    """Paints a photograph in the style of a reference picture, by optimising its pixels.

    They change until a network sees the content of the one in the textures of the other.
    Gatys, Ecker & Bethge, "Image style transfer using convolutional neural networks", CVPR 2016,
    doi:10.1109/CVPR.2016.265. Content is the mean squared difference of maps over the mean square of the photograph's
    map; style the squared distance of statistics over their squared norm, averaged over layers; so that one
    `style_weight` suits any network and picture size. Content and style share one pass of the network, what does not
    change is computed once, and coarse scales come first (each starts from the last one's result). Reads ``reference``,
    one picture or several, and, if given, ``mask``: white is painted, the rest stays as it is.

    Args:
        features: the network; null for VGG-19 with ImageNet's weights, or ``style/random-filters`` where these cannot
            be downloaded.
        content_layers: layers whose maps are kept; null chooses some that suit the network, VGG's as in the paper.
        style_layers: layers whose statistics are taken over; likewise.
        layer_weights: a factor for each style layer; null for equal ones.
        statistics: ``gram`` matrices, or ``moments``: mean and standard deviation of each channel.
        content_weight: of the content term; 0 makes texture without content, best with ``start: noise``.
        style_weight: of the style term: more paints more strongly.
        tv_weight: of the total variation: more is smoother.
        reference_weights: a factor for each reference picture; null for equal ones.
        style_scale: size of the reference over that of the photograph; smaller makes smaller strokes. A reference is
            never enlarged.
        colours: ``style`` takes the reference's; ``luminance`` paints the luminance alone and keeps the photograph's
            chroma, or, with ``start: recoloured``, the reference's; ``histogram`` gives the reference the photograph's colours first.
        start: ``content`` begins with the photograph, ``recoloured`` with the photograph in the colours of the reference that
            weighs most, which suits references of few colours, ``noise`` with noise, ``blend`` with a mixture.
        noise: share of noise in a ``blend``.
        optimizer: ``adam``, or ``lbfgs`` with a strong Wolfe line search.
        steps: evaluations of the network at most, over all scales.
        learning_rate: of Adam, in units of the image range.
        tolerance: go on to the next scale when ten steps improved the total by less than this share; 0 does all steps.
        scales: how many sizes, each half of the next; null goes down to about 96 pixels.
        tile: pictures larger than this many pixels a side are worked through in tiles, for bounded memory.
        border: mirrored pixels around the picture, on which falls what networks make of a border.
        precision: ``bf16`` or ``fp32``; ``auto`` takes bf16 where the processor has instructions for it.
        seed: of the noise.

    Raises:
        UserError: the network has no such layers.
        ValueError: factors that do not go with the layers, or nothing but zeros.
    """

    uses = frozenset({"reference", "references", "mask"})
    iterative = True

    def __init__(
        self,
        *,
        features: Features | None = None,
        content_layers: tuple[str, ...] | None = None,
        style_layers: tuple[str, ...] | None = None,
        layer_weights: tuple[Annotated[float, Ge(0)], ...] | None = None,
        statistics: Literal["gram", "moments"] = "gram",
        content_weight: Annotated[float, Ge(0)] = 1.0,
        style_weight: Annotated[float, Gt(0)] = 30.0,
        tv_weight: Annotated[float, Ge(0)] = 20.0,
        reference_weights: tuple[Annotated[float, Ge(0)], ...] | None = None,
        style_scale: Annotated[float, Gt(0)] = 1.0,
        colours: Literal["style", "luminance", "histogram"] = "style",
        start: Literal["content", "recoloured", "noise", "blend"] = "content",
        noise: Annotated[float, Ge(0), Le(1)] = 0.5,
        optimizer: Literal["adam", "lbfgs"] = "adam",
        steps: Annotated[int, Ge(1)] = 200,
        learning_rate: Annotated[float, Gt(0)] = 0.03,
        tolerance: Annotated[float, Ge(0)] = 0.0,
        scales: Annotated[int, Ge(1)] | None = None,
        tile: Annotated[int, Ge(64)] = 1024,
        border: Annotated[int, Ge(0)] = 8,
        precision: Literal["auto", "fp32", "bf16"] = "auto",
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        features = default_features() if features is None else features
        content, style = layers_for(features, content_layers, style_layers)
        if layer_weights is not None and len(layer_weights) != len(style):
            raise ValueError(f"layer_weights: {len(layer_weights)} for {len(style)} style layers ({', '.join(style)}); give one for each")
        factors = (1.0,) * len(style) if layer_weights is None else layer_weights
        for name, values in (("layer_weights", factors), ("reference_weights", reference_weights)):
            if values is not None and not sum(values) > 0:
                raise ValueError(f"{name}: all are 0, so there would be no style; give at least one a factor above 0")
        shares = tuple(factor / sum(factors) for factor in factors)
        self.terms = Terms(content, style, shares, STATISTICS[statistics], content_weight, style_weight, tv_weight)
        self.features, self.reference_weights, self.style_scale, self.colours = features, reference_weights, style_scale, colours
        self.start, self.noise, self.seed = start, noise, seed
        self.optimizer, self.steps, self.learning_rate, self.tolerance = optimizer, steps, learning_rate, tolerance
        self.scales, self.tile, self.border, self.precision = scales, tile, border, precision

    def to(self, device: torch.device | str) -> Self:
        """Move the network."""
        self.features.to(device)
        return self

    def restore(self, degraded: Degraded) -> Tensor:
        """The painted image ``(N, 3, H, W)``; each image of a batch on its own.

        Raises:
            UserError: no reference, references that are neither one nor as many as the images, another number of weights
                than of references, or a picture that is too small for a layer.
        """
        references = (degraded.need("reference"), *degraded.references)
        weights = self.reference_weights or (1.0,) * len(references)
        if len(weights) != len(references):
            raise rk.UserError(
                f"reference_weights: {len(weights)} for {len(references)} reference picture(s); give one for each, or leave it out"
            )
        shares = [weight / sum(weights) for weight in weights]
        n = len(degraded.image)
        if any(len(reference) not in (1, n) for reference in references):
            raise rk.UserError(f"reference: one for all images or one for each of the {n}, got {[len(r) for r in references]}")
        results = []
        for i in range(n):
            chosen = [reference[i % len(reference)][None] for reference in references]
            mask = None if degraded.mask is None else degraded.mask[i : i + 1]
            results.append(self._paint(degraded.image[i : i + 1], chosen, shares, mask))
        return torch.cat(results)

    def _paint(self, photo: Tensor, references: Sequence[Tensor], shares: Sequence[float], mask: Tensor | None) -> Tensor:
        if mask is not None and not mask.any():
            return photo
        photo = photo.float()
        content: Tensor = photo
        ground = photo.expand(-1, 3, -1, -1)
        if self.colours == "luminance":
            content = colours.luminance(photo)
            if self.start == "recoloured":
                ground = colours.match_colours(ground, references[shares.index(max(shares))])
                references = [colours.luminance(reference) for reference in references]
            else:
                references = [colours.match_luminance(reference, photo) for reference in references]
        else:
            content = ground
            if self.colours == "histogram":
                references = [colours.match_colours(reference, photo) for reference in references]
        painted = self._descend(content, [r.float() for r in references], shares, mask)
        if self.colours == "luminance":
            painted = colours.with_luminance(ground, painted)
            painted = painted if mask is None else torch.where(mask > 0, painted, photo)
        return painted

    def _descend(self, content: Tensor, references: Sequence[Tensor], shares: Sequence[float], mask: Tensor | None) -> Tensor:
        network = fastest(self.features, self.precision, content.device)
        sizes = pyramid(content.shape[-2:], self.scales)
        steps = share_steps(self.steps, len(sizes))
        image: Tensor | None = None
        done = 0
        self._check_sizes(network, content, references, sizes[0])
        for size, count in zip(sizes, steps, strict=True):
            small = resized(content, size)
            image = self._beginning(small, references[shares.index(max(shares))]) if image is None else resized(image, size)
            targets = style_targets(network, self.terms, [self._style(r, size) for r in references], shares, self.tile, MARGIN, self.border)
            objective = Objective(
                network,
                self.terms,
                small,
                targets,
                mask=None if mask is None else resized(mask, size),
                tile=self.tile,
                margin=MARGIN,
                border=self.border,
            )
            outcome = self._minimise(objective, image, count, done, content.shape[-2:])
            image, done = outcome.image, done + count
            if outcome.stopped:
                break
        assert image is not None
        whole = resized(image, content.shape[-2:])
        return whole if mask is None else torch.where(mask > 0, whole, content)

    def _minimise(self, objective: Objective, image: Tensor, count: int, done: int, size: torch.Size) -> Outcome:
        def watcher(step: int, terms: Mapping[str, float], picture: Tensor) -> bool:
            return self.report(Iteration(done + step, self.steps, terms, lambda: self._shown(picture, size)))

        return minimise(
            objective,
            image,
            optimizer=self.optimizer,
            steps=count,
            learning_rate=self.learning_rate,
            tolerance=self.tolerance,
            watcher=watcher,
        )

    def _shown(self, picture: Tensor, size: torch.Size) -> Tensor:
        return resized(picture.clamp(0, 1), size).expand(-1, 3, -1, -1)

    def _style(self, reference: Tensor, size: tuple[int, int]) -> Tensor:
        """The reference as large as it is to be beside a photograph of `size`."""
        ratio = min(1.0, self.style_scale * max(size) / max(reference.shape[-2:]))
        height, width = (max(1, round(side * ratio)) for side in reference.shape[-2:])
        return resized(reference, (height, width))

    def _beginning(self, content: Tensor, reference: Tensor) -> Tensor:
        if self.start == "content":
            return content
        if self.start == "recoloured":
            match = colours.match_luminance if content.shape[1] == 1 else colours.match_colours
            return match(content, reference)
        rng = torch.Generator().manual_seed(self.seed)
        noise = torch.rand(content.shape, generator=rng).to(content)
        return noise if self.start == "noise" else torch.lerp(content, noise, self.noise)

    @torch.no_grad()
    def _check_sizes(self, network: Features, content: Tensor, references: Sequence[Tensor], size: tuple[int, int]) -> None:
        """Refuse pictures that are too small, before the first step."""
        pictures: list[tuple[str, Sequence[int], Tensor]] = [("photograph", size, content)]
        pictures += [(f"reference {i + 1}", self._style(r, size).shape[-2:], r) for i, r in enumerate(references)]
        for what, (height, width), image in pictures:
            if min(height, width) >= PLENTY:
                continue
            empty = torch.zeros(1, image.shape[1], min(height, PLENTY), min(width, PLENTY), device=image.device)
            try:
                network_maps(network, empty, self.terms.layers, self.border)
            except (rk.UserError, RuntimeError) as fault:
                raise rk.UserError(
                    f"{what}: {image.shape[-1]}×{image.shape[-2]}, {width}×{height} at the coarsest scale, is too small for the layers "
                    f"{', '.join(self.terms.layers)} ({' '.join(str(fault).split())[:160]}). Take a larger picture, scales=1, a larger "
                    "style_scale, or layers that are less deep"
                ) from fault


def pyramid(size: Sequence[int], scales: int | None) -> list[tuple[int, int]]:
    """Sizes (height, width) from coarse to fine, each half of the next, the last one `size`."""
    height, width = size
    found = [(height, width)]
    while len(found) != scales and (scales is not None or min(found[0]) >= 2 * COARSEST):
        factor = 2 ** len(found)
        found.insert(0, (max(1, round(height / factor)), max(1, round(width / factor))))
        if min(found[0]) <= 1:
            break
    return found


def share_steps(steps: int, scales: int) -> list[int]:
    """Steps for each scale, coarse to fine, at least one each, summing to `steps` where there are that many."""
    weights = [MORE_COARSE ** (scales - 1 - i) for i in range(scales)]
    shared = [max(1, round(steps * weight / sum(weights))) for weight in weights]
    shared[0] = max(1, shared[0] + steps - sum(shared))
    return shared


def resized(image: Tensor, size: Sequence[int]) -> Tensor:
    """`image` ``(N, C, H, W)`` at another size, clamped to [0, 1]."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    return F.interpolate(image, tuple(size), mode="bicubic", antialias=True).clamp(0, 1)
