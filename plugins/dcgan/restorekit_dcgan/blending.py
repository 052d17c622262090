"""Filling holes with the gradients of another picture.

Pérez, Gangnet & Blake, "Poisson image editing", SIGGRAPH 2003, doi:10.1145/882262.882269.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray

Array = NDArray[np.float64]

NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def blended(image: Array, guide: Array, hole: NDArray[np.bool_]) -> Array:
    """`image` with the hole filled so that its differences between neighbours are as near as can be to those of `guide`.

    At the border of the hole the fill meets the picture, so that there is no seam however much brighter the guide is; at the
    picture's own border nothing is asked for.

    Args:
        image: ``(H, W, C)``.
        guide: the same shape; looked at in the hole and one pixel around it.
        hole: ``(H, W)``, true where `image` is missing, somewhere false.

    Returns:
        ``(H, W, C)``, not clipped; outside the hole equal to `image`.
    """
    rows, columns = np.nonzero(hole)
    count = len(rows)
    if not count:
        return image.copy()
    height, width = hole.shape
    number = np.full(hole.shape, -1)
    number[rows, columns] = np.arange(count)
    degree = np.zeros(count)
    right = np.zeros((count, image.shape[2]))
    places, values = [], []
    for down, aside in NEIGHBOURS:
        r, c = rows + down, columns + aside
        inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
        mine, r, c = np.nonzero(inside)[0], r[inside], c[inside]
        degree[mine] += 1
        right[mine] += guide[rows[mine], columns[mine]] - guide[r, c]
        known = ~hole[r, c]
        right[mine[known]] += image[r[known], c[known]]
        places.append((mine[~known], number[r[~known], c[~known]]))
        values.append(np.full(int((~known).sum()), -1.0))
    places.append((np.arange(count), np.arange(count)))
    values.append(degree)
    across, along = (np.concatenate([pair[axis] for pair in places]) for axis in (0, 1))
    matrix = scipy.sparse.csc_array((np.concatenate(values), (across, along)), shape=(count, count))
    filled = image.copy()
    filled[rows, columns] = scipy.sparse.linalg.splu(matrix).solve(right)
    return filled
