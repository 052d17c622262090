"""An image restored piece by piece, so that memory follows the tile and not the image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def tiled(
    restore: Callable[[Tensor], Tensor],
    image: Tensor,
    *,
    side: int,
    overlap: int,
    margin: int | None = None,
    scale: int = 1,
    multiple_of: int = 1,
) -> Tensor:
    """Restore an image in overlapping tiles whose results fade into each other.

    Of each overlap the outer `margin` of a tile's result is thrown away and what lies between the margins of two tiles is faded,
    so that a network whose receptive field reaches no further than `margin` gives what it gives for the whole image. What any
    other network gives is, pixel by pixel, a mean of what it gives for the tiles around: nowhere further from the result for the
    whole than the worst of these, and where neighbouring tiles differ by d, a step between pixels of at most d over the width
    of the fade more than within a tile.

    Args:
        restore: takes ``(N, C, h, w)`` and gives ``(N, C', scale·h, scale·w)``.
        image: ``(N, C, H, W)``, H and W multiples of `multiple_of`.
        side: height and width of a tile, a multiple of `multiple_of`; smaller only where the image is.
        overlap: pixels that neighbours share at least.
        margin: pixels at each side of a tile that are thrown away, half of the overlap at most; a quarter if None.
        scale: height of the output over height of the input.
        multiple_of: tiles begin at multiples of this, so that a network that shrinks its maps sees the same grid as in the whole image.

    Returns:
        ``(N, C', scale·H, scale·W)``.

    Raises:
        ValueError: the overlap leaves nothing of a tile, or the margins are wider than it.
    """
    step = (side - overlap) // multiple_of * multiple_of
    if step < 1:
        raise ValueError(f"tiles of {side} px that overlap by {overlap} px: make them larger")
    margin = overlap // 4 if margin is None else margin
    if 2 * margin > overlap:
        raise ValueError(f"margins of {margin} px in an overlap of {overlap} px: make it twice as wide at least")
    height, width = image.shape[-2:]
    if height <= side and width <= side:
        return restore(image)
    down, right = min(side, height), min(side, width)
    rows = _windows(height, down, step, overlap=overlap, margin=margin, scale=scale)
    columns = _windows(width, right, step, overlap=overlap, margin=margin, scale=scale)
    total: Tensor | None = None
    for top, row in rows.items():
        for left, column in columns.items():
            made = restore(image[..., top : top + down, left : left + right])
            if total is None:
                total = made.new_zeros(*made.shape[:2], height * scale, width * scale)
            here = (..., slice(top * scale, (top + down) * scale), slice(left * scale, (left + right) * scale))
            total[here] += (row[:, None] * column).to(made) * made
    assert total is not None
    return total


def _windows(length: int, side: int, step: int, *, overlap: int, margin: int, scale: int) -> dict[int, Tensor]:
    """How much each row or column of each tile's result counts, by the tile's first pixel; for a pixel they sum to 1."""
    found: dict[int, Tensor] = {}
    total = torch.zeros(length * scale, dtype=torch.float64)
    for start in (*range(0, length - side, step), length - side):
        window = torch.ones(side * scale, dtype=torch.float64)
        faded = (overlap - 2 * margin) * scale
        ramp = torch.cat([torch.zeros(margin * scale), (torch.arange(faded) + 1) / (faded + 1)])
        if start > 0:
            window[: len(ramp)] = ramp
        if start + side < length:
            window[side * scale - len(ramp) :] *= ramp.flip(0)
        found[start] = window
        total[start * scale : (start + side) * scale] += window
    return {start: window / total[start * scale : (start + side) * scale] for start, window in found.items()}
