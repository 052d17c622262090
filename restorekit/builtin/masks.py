"""Missing pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Interval
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from restorekit.builtin.psf import trajectories
from restorekit.builtin.ranges import bounds, draw
from restorekit.images import Degraded
from restorekit.interfaces import Degradation

Share = Annotated[float, Interval(ge=0, lt=1)]
Value = Annotated[float, Interval(ge=0, le=1)]

BOXES = 32


class Mask(Degradation):
    """Missing pixels, filled with one value and marked in the result's mask.

    Records ``mask`` ``(N, 1, H, W)``, 1 where a pixel is missing.

    Args:
        shape: ``centre``, a hole in the middle with the image's aspect; ``boxes``, rectangles that
            may overlap; ``strokes``, as of a brush; ``pixels``, single dead ones.
        share: share of the area that is missing, exact to one pixel; for ``centre`` the nearest that
            a rectangle allows, within half a column of the hole.
        fill: value of the missing pixels.
    """

    params = ("mask",)

    def __init__(
        self,
        *,
        shape: Literal["centre", "boxes", "strokes", "pixels"] = "strokes",
        share: Share | tuple[Share, Share] = 0.25,
        fill: Value = 0.0,
    ) -> None:
        self.shape = shape
        self.share = bounds(share, "share")
        self.fill = fill

    def sample(self, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> dict[str, Tensor]:
        """Draw a mask per image."""
        _, height, width = shape
        counts = (draw(self.share, n, rng).double() * height * width).round().long().tolist()
        return {"mask": torch.stack([self._mask(height, width, count, rng) for count in counts])[:, None]}

    def apply(self, image: Tensor, params: Mapping[str, Tensor]) -> Degraded:
        """Overwrite the missing pixels."""
        mask = params["mask"].to(image)
        return Degraded(torch.where(mask > 0, self.fill, image), mask=mask, params={"mask": mask})

    def _mask(self, height: int, width: int, count: int, rng: torch.Generator) -> Tensor:
        if not count:
            return torch.zeros(height, width)
        match self.shape:
            case "centre":
                return _hole(height, width, count)
            case "pixels":
                return _first(torch.rand(height, width, dtype=torch.float64, generator=rng), count)
            case "boxes":
                return _first(_boxes(height, width, count, rng), count)
            case "strokes":
                return _first(_strokes(height, width, count, rng), count)


def _first(turn: Tensor, count: int) -> Tensor:
    """1 at the `count` pixels with the lowest `turn`, 0 elsewhere."""
    order = turn.flatten().argsort(stable=True)
    return torch.zeros(turn.numel()).index_fill_(0, order[:count], 1.0).view_as(turn)


def _hole(height: int, width: int, count: int) -> Tensor:
    rows = min(max(round(math.sqrt(count * height / width)), math.ceil(count / width), 1), height)
    columns = min(max(round(count / rows), 1), width)
    top, left = (height - rows) // 2, (width - columns) // 2
    mask = torch.zeros(height, width)
    mask[top : top + rows, left : left + columns] = 1
    return mask


def _boxes(height: int, width: int, count: int, rng: torch.Generator) -> Tensor:
    """The turn at which each pixel goes missing: box by box, and row by row within a box."""
    turn = np.full((height, width), np.inf)
    side = math.sqrt(count / (height * width))
    for i, (tall, wide, down, right) in reversed([*enumerate(torch.rand(BOXES, 4, generator=rng).tolist())]):
        rows = max(round(height * side * (0.25 + tall / 2)), 1)
        columns = max(round(width * side * (0.25 + wide / 2)), 1)
        top, left = int(down * (height - rows + 1)), int(right * (width - columns + 1))
        turn[top : top + rows, left : left + columns] = i + np.arange(rows * columns).reshape(rows, columns) / (rows * columns)
    return _grown(turn, count)


def _strokes(height: int, width: int, count: int, rng: torch.Generator) -> Tensor:
    """The turn at which each pixel goes missing: along each stroke of a round brush, one stroke after the other."""
    small, weight = min(height, width), torch.rand((), generator=rng).item()
    brush = max((0.02 + 0.04 * weight) * small, 0.5)
    mean = 0.75 * min(max(height, width), 4 * small)
    strokes = 1 + math.ceil(2 * count / (2 * brush * mean))  # twice the area asked for: they cross and leave the image
    length = draw((0.5 * mean, 1.5 * mean), strokes, rng)
    points = 2 + math.ceil(4.5 * mean / brush)  # a third of the brush's radius apart in the longest
    middle = torch.rand(strokes, 1, 2, dtype=torch.float64, generator=rng) * torch.tensor([height, width])
    path = middle + trajectories(length, torch.full_like(length, 3.0), torch.ones_like(length), points, rng)

    reach = int(brush)
    offset = np.arange(-reach, reach + 1)
    disc = offset[:, None] ** 2 + offset**2 <= brush**2
    turn = np.full((height + 2 * reach, width + 2 * reach), np.inf)
    inside = (path >= -reach).all(-1) & (path < torch.tensor([height + reach, width + reach])).all(-1)
    for i, (y, x) in reversed([*enumerate(path[inside].floor().long().tolist())]):
        top, left = max(y, 0), max(x, 0)
        window = turn[top : y + 2 * reach + 1, left : x + 2 * reach + 1]
        window[disc[top - y :, left - x :][: window.shape[0], : window.shape[1]]] = i
    return _grown(turn[reach : reach + height, reach : reach + width], count)


def _grown(turn: NDArray[np.float64], count: int) -> Tensor:
    """`turn`; where it covers fewer than `count` pixels, the others follow in order of their distance to what is covered."""
    bare = np.isinf(turn)
    if bare.size - bare.sum() < count:
        turn = np.where(bare, np.max(turn, initial=0, where=~bare) + distance_transform_edt(bare), turn)
    return torch.from_numpy(turn)
