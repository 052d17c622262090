"""Square windows around holes, of a size in which a generator of small pictures can fill them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from restorekit import UserError

Mask = NDArray[np.bool_]

LONG = 2
"""Holes longer than so many times their thickness are taken piece by piece; others, such as round ones, as a whole."""


@dataclass(frozen=True)
class Window:
    """A square of a picture.

    Attributes:
        top, left: its first row and column.
        side: its rows and columns.
        own: the missing pixels that are filled from it, as a mask of the window.
    """

    top: int
    left: int
    side: int
    own: Mask

    @property
    def place(self) -> tuple[slice, slice]:
        """Its rows and columns in the picture."""
        return slice(self.top, self.top + self.side), slice(self.left, self.left + self.side)


def thick(hole: Mask, most: int) -> Mask:
    """The parts of a hole ``(H, W)`` that are somewhere thicker than `most` pixels, each as a whole."""
    parts, count = ndimage.label(hole, np.ones((3, 3)))
    thickness = 2 * ndimage.maximum(_depth(hole), parts, np.arange(count + 1))
    found: Mask = hole & (thickness > most)[parts]
    return found


def around(hole: Mask, side: int, share: float) -> list[Window]:
    """Windows that together own every missing pixel once.

    A window has `side` pixels where that leaves room around the hole; a thicker hole gets a larger one, to be reduced. Long thin
    holes, and many small ones, are taken piece by piece.

    Args:
        hole: ``(H, W)``, true where pixels are missing.
        side: pixels of the generator's pictures.
        share: largest part of a window's side that a hole may take.

    Raises:
        UserError: a hole so thick that nothing is left around it.
    """
    height, width = hole.shape
    parts, _ = ndimage.label(hole, np.ones((3, 3)))
    boxes = ndimage.find_objects(parts)
    depth = _depth(hole)
    left_over = hole.copy()
    found: list[Window] = []
    while left_over.any():
        row, column = (int(i) for i in np.unravel_index(int(left_over.argmax()), hole.shape))
        part = int(parts[row, column])
        box = boxes[part - 1]
        extent = max(box[0].stop - box[0].start, box[1].stop - box[1].start)
        thickness = 2 * int(depth[box][parts[box] == part].max())
        compact = extent <= LONG * thickness
        wanted = max(side, math.ceil((extent if compact else thickness) / share))
        size = min(wanted, height, width)
        margin = int(size * (1 - share) / 2)
        if extent <= share * size:
            wished = ((box[0].start + box[0].stop - size) // 2, (box[1].start + box[1].stop - size) // 2)
        else:  # no row above this one has anything left
            wished = (row - margin, _fullest(left_over[row : row + size - 2 * margin], size - 2 * margin, column) - margin)
        top, left = (min(max(0, start), whole - size) for start, whole in zip(wished, (height, width), strict=True))
        here = slice(top, top + size), slice(left, left + size)
        own = np.zeros((size, size), bool)
        # At the picture's border there is no margin to keep.
        first = [0 if start == 0 else margin for start in (top, left)]
        last = [size if start + size == whole else size - margin for start, whole in zip((top, left), (height, width), strict=True)]
        own[first[0] : last[0], first[1] : last[1]] = left_over[here][first[0] : last[0], first[1] : last[1]]
        if hole[here].all():
            across, down = box[1].stop - box[1].start, box[0].stop - box[0].start
            raise UserError(
                f"the hole at row {box[0].start}, column {box[1].start} is {across}×{down} pixels and a square window of {size} around it "
                f"holds nothing of the picture: give a larger part of the picture, or a mask with a smaller hole"
            )
        left_over[here] &= ~own
        found.append(Window(top, left, size, own))
    return found


def _fullest(rows: Mask, width: int, column: int) -> int:
    """First of as many columns as `width`, `column` among them, in which most is left of these rows; the middle one of several."""
    many = np.concatenate([[0], rows.sum(0).cumsum()])
    starts = np.arange(max(0, column - width + 1), column + 1)
    held = many[np.minimum(starts + width, len(many) - 1)] - many[starts]
    best = starts[held == held.max()]
    return int(best[len(best) // 2])


def _depth(hole: Mask) -> NDArray[np.int_]:
    """How many pixels it is from each missing one to the nearest known one; nothing is known beyond the picture's border."""
    depth: NDArray[np.int_] = ndimage.distance_transform_cdt(np.pad(hole, 1, constant_values=True), metric="chessboard")[1:-1, 1:-1]
    return depth
