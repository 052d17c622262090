"""An image restored piece by piece, so that memory follows the tile and not the image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def tiled(restore: Callable[[Tensor], Tensor], image: Tensor, *, side: int, overlap: int, scale: int = 1, multiple_of: int = 1) -> Tensor:
    """Restore an image in overlapping tiles whose results fade into each other.

    Of each overlap the outer quarter of a tile's result is thrown away and the middle half is faded, so that a network
    whose receptive field reaches no further than ``overlap // 4`` pixels gives what it gives for the whole image.

    Args:
        restore: takes ``(N, C, h, w)`` and gives ``(N, C', scale·h, scale·w)``.
        image: ``(N, C, H, W)``, H and W multiples of `multiple_of`.
        side: height and width of a tile, a multiple of `multiple_of`; smaller only where the image is.
        overlap: pixels that neighbours share at least.
        scale: height of the output over height of the input.
        multiple_of: tiles begin at multiples of this, so that a network that shrinks its maps sees the same grid as in the whole image.

    Returns:
        ``(N, C', scale·H, scale·W)``.

    Raises:
        ValueError: the overlap leaves nothing of a tile.
    """
    step = (side - overlap) // multiple_of * multiple_of
    if step < 1:
        raise ValueError(f"tiles of {side} px that overlap by {overlap} px: make them larger")
    height, width = image.shape[-2:]
    if height <= side and width <= side:
        return restore(image)
    down, right = min(side, height), min(side, width)
    total: Tensor | None = None
    for top in _starts(height, down, step):
        for left in _starts(width, right, step):
            made = restore(image[..., top : top + down, left : left + right])
            if total is None:
                total = made.new_zeros(*made.shape[:2], height * scale, width * scale)
                weights = made.new_zeros(height * scale, width * scale)
            rows = _window(down, overlap, scale, first=top == 0, last=top + down == height).to(made)
            columns = _window(right, overlap, scale, first=left == 0, last=left + right == width).to(made)
            weight = rows[:, None] * columns
            here = (..., slice(top * scale, (top + down) * scale), slice(left * scale, (left + right) * scale))
            total[here] += weight * made
            weights[here] += weight
    assert total is not None
    return total / weights


def _starts(length: int, side: int, step: int) -> list[int]:
    """First pixels of tiles that cover `length`."""
    return [*range(0, length - side, step), length - side]


def _window(side: int, overlap: int, scale: int, *, first: bool, last: bool) -> Tensor:
    """How much each row or column of a tile's result counts; the borders of the image itself count in full."""
    window = torch.ones(side * scale)
    quarter, half = overlap * scale // 4, (overlap * scale + 1) // 2
    ramp = torch.cat([torch.zeros(quarter), (torch.arange(half) + 1) / (half + 1)])
    if not first:
        window[: len(ramp)] = ramp
    if not last:
        window[side * scale - len(ramp) :] *= ramp.flip(0)
    return window
