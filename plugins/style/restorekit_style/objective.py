"""What is minimised: content, style and total variation of a picture, with the gradient, in one pass of the network.

A picture that is larger than a tile is worked through tile by tile: first the sums of which the statistics are made are
added up over all tiles, then each tile gets its gradient from the statistics of the whole. So memory is bounded by the
tile, and there is one style for the whole picture and no seam: with a margin as wide as the network reaches the gradient
equals that of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from restorekit.interfaces import Features
from restorekit_style.statistics import SMALL, Statistic, positions, relative

ALIGNED = 32
"""Tiles begin at multiples of this, so that the maps of most networks fit together."""


@dataclass(frozen=True)
class Terms:
    """How the terms are weighted.

    Attributes:
        content_layers: layers whose maps are to stay those of the content image.
        style_layers: layers whose statistics are to become those of the style image.
        layer_weights: a factor for each style layer, summing to 1.
        statistic: which is compared.
        content: weight of the content term.
        style: weight of the style term.
        tv: weight of the total variation.
    """

    content_layers: tuple[str, ...]
    style_layers: tuple[str, ...]
    layer_weights: tuple[float, ...]
    statistic: Statistic
    content: float
    style: float
    tv: float

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers that are read, each once."""
        return tuple(dict.fromkeys((*(self.content_layers if self.content else ()), *self.style_layers)))


@dataclass(frozen=True)
class Tile:
    """A part of the picture: what the network sees, and what of it counts.

    Attributes:
        rows, columns: with the margin, in pixels of the picture.
        counts: ``(1, 1, h, w)``, 1 where a pixel counts for this tile and not for another, or None where all do.
        kept: maps of the content image by layer.
        content_positions: weights of the positions by content layer, summed over the whole picture.
    """

    rows: slice
    columns: slice
    counts: Tensor | None
    kept: dict[str, Tensor] = field(default_factory=dict)

    def of(self, image: Tensor) -> Tensor:
        """This part of `image`."""
        return image[..., self.rows, self.columns]


class Objective:
    """The weighted sum of the terms for one picture size, and its gradient.

    Args:
        features: the network, in its precision and memory order.
        terms: what is compared, and how it is weighted.
        content: the image ``(1, 1 or 3, H, W)`` whose content is kept.
        styles: statistics that are wanted, by layer.
        mask: ``(1, 1, H, W)``, 1 where the picture may change; elsewhere it stays `content`.
        tile: height and width of the part of the picture that is worked on at a time.
        margin: pixels around it that the network sees besides.
        border: mirrored pixels around the picture.
    """

    def __init__(
        self,
        features: Features,
        terms: Terms,
        content: Tensor,
        styles: Mapping[str, Tensor],
        *,
        mask: Tensor | None = None,
        tile: int = 1024,
        margin: int = 64,
        border: int = 0,
    ) -> None:
        self.features, self.terms, self.content, self.styles, self.mask = features, terms, content, styles, mask
        self.tiles = tiles_of(content.shape[-2:], tile, margin, mask)
        self.border = border
        self._content_norm: dict[str, Tensor] = {}
        self._content_positions: dict[str, float] = {}
        self._keep_content()

    def value_and_gradient(self, image: Tensor) -> tuple[dict[str, float], Tensor]:
        """The weighted terms of `image` by name, ``total`` among them, and the gradient of the total."""
        image = self.composed(image.detach())
        terms = self.terms
        values: dict[str, Tensor] = {}
        gradient = torch.zeros_like(image)
        if len(self.tiles) == 1:
            x = image.clone().requires_grad_()
            content, sums, counted = self._tile(self.tiles[0], x)
            values = {"content": content, "style": self._style(sums, counted)}
            (gradient,) = torch.autograd.grad(_total(values), x)
        else:
            values, slopes = self._whole(image)
            for tile in self.tiles:
                x = tile.of(image).clone().requires_grad_()
                content, sums, _ = self._tile(tile, x)
                # Of the sums over all tiles only this one's depend on x, and how the total depends on them is known.
                along = content + torch.stack([(sums[layer] * slopes[layer]).sum() for layer in sums]).sum()
                tile.of(gradient).add_(torch.autograd.grad(along, x)[0])
        if terms.tv:
            x = image.clone().requires_grad_()
            values["tv"] = terms.tv * total_variation(x)
            gradient = gradient + torch.autograd.grad(values["tv"], x)[0]
        if self.mask is not None:
            gradient = gradient * self.mask
        gradient = gradient.contiguous()  # L-BFGS refuses channels-last
        numbers = {name: float(value.detach()) for name, value in values.items() if name != "content" or terms.content}
        return {**numbers, "total": sum(numbers.values())}, gradient

    def composed(self, image: Tensor) -> Tensor:
        """`image` inside the mask and the content image outside of it."""
        return image if self.mask is None else torch.where(self.mask > 0, image, self.content)

    def _whole(self, image: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The terms of the whole picture, and the derivative of the style term by the sums over positions of each layer."""
        total: dict[str, Tensor] = {}
        counted: dict[str, Tensor | float] = {}
        content = image.new_zeros(())
        with torch.no_grad():
            for tile in self.tiles:
                part, sums, count = self._tile(tile, tile.of(image))
                content = content + part
                for layer, value in sums.items():
                    total[layer] = total[layer] + value if layer in total else value
                    counted[layer] = counted.get(layer, 0.0) + count[layer]
        leaves = {layer: value.requires_grad_() for layer, value in total.items()}
        style = self._style(leaves, counted)
        slopes = torch.autograd.grad(style, list(leaves.values()))
        return {"content": content, "style": style.detach()}, dict(zip(leaves, slopes, strict=True))

    def _tile(self, tile: Tile, image: Tensor) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor | float]]:
        """The content term of one tile, its sums by style layer, and over how many positions they go."""
        maps = self._maps(image)
        terms = self.terms
        content = image.new_zeros(())
        for layer in terms.content_layers if terms.content else ():
            error = (maps[layer] - tile.kept[layer]).float().square()
            weight = _weight(tile.counts, self.border, error)
            error = error if weight is None else error * weight
            content = content + terms.content / len(terms.content_layers) * error.sum() / (
                self._content_norm[layer] * self._content_positions[layer]
            )
        sums, counted = {}, {}
        for layer in terms.style_layers:
            weight = _weight(tile.counts, self.border, maps[layer])
            sums[layer] = terms.statistic.sums(maps[layer], weight)
            counted[layer] = positions(maps[layer], weight)
        return content, sums, counted

    def _style(self, sums: Mapping[str, Tensor], counted: Mapping[str, Tensor | float]) -> Tensor:
        terms = self.terms
        made = {layer: terms.statistic.finish(value, counted[layer]) for layer, value in sums.items()}
        parts = [w * relative(made[layer], self.styles[layer]) for layer, w in zip(terms.style_layers, terms.layer_weights, strict=True)]
        return terms.style * torch.stack(parts).sum()

    @torch.no_grad()
    def _keep_content(self) -> None:
        """Remember the maps of the content image, once, and how large they are."""
        if not self.terms.content:
            return
        squares = dict.fromkeys(self.terms.content_layers, self.content.new_zeros(()))
        counts = dict.fromkeys(self.terms.content_layers, 0.0)
        for tile in self.tiles:
            maps = self._maps(tile.of(self.content))
            for layer in self.terms.content_layers:
                kept = tile.kept[layer] = maps[layer].clone()
                weight = _weight(tile.counts, self.border, kept)
                energy = kept.float().square()
                squares[layer] = squares[layer] + (energy if weight is None else energy * weight).sum()
                counts[layer] += float(positions(kept, weight))
        for layer in self.terms.content_layers:
            self._content_positions[layer] = counts[layer]
            self._content_norm[layer] = (squares[layer] / counts[layer]).clamp_min(SMALL)

    def _maps(self, image: Tensor) -> dict[str, Tensor]:
        return network_maps(self.features, image, self.terms.layers, self.border)


def network_maps(features: Features, image: Tensor, layers: Sequence[str], border: int) -> dict[str, Tensor]:
    """Maps of `image` with a mirrored border, in the memory order of the network's weights.

    Networks see zeros beyond a border, or leave out the last columns; what comes of that falls on the mirrored pixels.
    """
    if border:
        mirrored = min(image.shape[-2:]) > border
        image = F.pad(image, (border,) * 4, mode="reflect" if mirrored else "replicate")
    first = next((p for p in features.parameters() if p.ndim == 4 and p.shape[1] > 1), None)
    ordered = first is not None and first.is_contiguous(memory_format=torch.channels_last)
    maps: dict[str, Tensor] = features(image.contiguous(memory_format=torch.channels_last) if ordered else image, layers)
    return maps


@torch.no_grad()
def style_targets(
    features: Features,
    terms: Terms,
    styles: Sequence[Tensor],
    shares: Sequence[float],
    tile: int,
    margin: int,
    border: int,
    mask: Tensor | None = None,
) -> dict[str, Tensor]:
    """The statistics that are wanted: those of the style images ``(1, 1 or 3, h, w)``, mixed by their shares.

    Args:
        features: the network.
        terms: which layers and which statistic.
        styles: of any sizes.
        shares: one for each of them, summing to 1.
        tile: height and width worked on at a time.
        margin: pixels around it.
        border: mirrored pixels around each.
        mask: 1 where pixels of the style images, which then have one size, count; None where all do.
    """
    wanted: dict[str, Tensor] = {}
    for image, share in zip(styles, shares, strict=True):
        total: dict[str, Tensor] = {}
        counted: dict[str, Tensor | float] = {}
        for part in tiles_of(image.shape[-2:], tile, margin, mask):
            maps = network_maps(features, part.of(image), terms.style_layers, border)
            for layer in terms.style_layers:
                weight = _weight(part.counts, border, maps[layer])
                value = terms.statistic.sums(maps[layer], weight)
                total[layer] = total[layer] + value if layer in total else value
                counted[layer] = counted.get(layer, 0.0) + positions(maps[layer], weight)
        for layer, value in total.items():
            statistic = share * terms.statistic.finish(value, counted[layer])
            wanted[layer] = wanted[layer] + statistic if layer in wanted else statistic
    return wanted


def tiles_of(size: tuple[int, int] | torch.Size, tile: int, margin: int, mask: Tensor | None) -> list[Tile]:
    """Parts that cover a picture of `size` (height, width), each of its pixels counted once; those outside the mask are left out."""
    height, width = size
    if height <= tile + 2 * margin and width <= tile + 2 * margin:
        return [Tile(slice(0, height), slice(0, width), mask)]
    step = max(ALIGNED, tile // ALIGNED * ALIGNED)
    edge = -(-margin // ALIGNED) * ALIGNED
    found = []
    for top in range(0, height, step):
        for left in range(0, width, step):
            rows = slice(max(0, top - edge), min(height, top + step + edge))
            columns = slice(max(0, left - edge), min(width, left + step + edge))
            counts = torch.zeros(1, 1, rows.stop - rows.start, columns.stop - columns.start)
            inner = (slice(top - rows.start, top - rows.start + step), slice(left - columns.start, left - columns.start + step))
            counts[..., inner[0], inner[1]] = 1
            if mask is not None:
                counts = counts.to(mask) * mask[..., rows, columns]
            if counts.any():
                found.append(Tile(rows, columns, counts))
    return found


def _weight(counts: Tensor | None, border: int, maps: Tensor) -> Tensor | None:
    """`counts` at the resolution of `maps`."""
    if counts is None:
        return None
    height, width = maps.shape[-2:]
    return F.adaptive_avg_pool2d(F.pad(counts.to(maps.device, torch.float32), (border,) * 4, mode="replicate"), (height, width))


def _total(values: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(values.values())).sum()


def total_variation(image: Tensor) -> Tensor:
    """Mean squared difference of neighbours, across and down, of ``(N, C, H, W)`` (Mahendran & Vedaldi, CVPR 2015, with β = 2)."""
    return (image.diff(dim=-2).square().sum() + image.diff(dim=-1).square().sum()) / image.numel()
