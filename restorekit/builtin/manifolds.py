"""Precision and recall of one set of pictures against another, and how far the pictures of a set are apart."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from restorekit.builtin.distribution import SetScore, Size
from restorekit.interfaces import Features

Count = Annotated[int, Ge(1)]
Seed = Annotated[int, Ge(0)]


class Precision(SetScore):
    """The share of the pictures that lie among the sharp ones: how good they are.

    A picture lies among a set when it is no further from one of its members than that one's k-th neighbour in the set. Pictures of the
    set that are equal count as one: nothing but themselves would be near enough to them.
    Kynkäänniemi et al., NeurIPS 2019, arXiv:1904.06991.

    Args:
        features: the network.
        layer: of it; its map is averaged over the picture.
        resize: height and width to which pictures are brought, bicubic with antialiasing; null leaves them as they are.
        neighbours: the paper's k.
        seed: of the random halves that the interval is estimated from.

    Raises:
        UserError: the network has no such layer.
    """

    higher_is_better = True
    bounds = (0.0, 1.0)

    def __init__(self, *, features: Features, layer: str = "avgpool", resize: Size = 299, neighbours: Count = 3, seed: Seed = 0) -> None:
        super().__init__(features, layer, resize, seed)
        self.neighbours = neighbours

    def _score(self, restored: Tensor, target: Tensor) -> float:
        return _covered(restored, target, self.neighbours)


class Recall(Precision):
    """The share of the sharp pictures that lie among these: how much of the variety is there.

    As `Precision`, with the sets exchanged. Kynkäänniemi et al., NeurIPS 2019, arXiv:1904.06991.

    Args:
        features: the network.
        layer: of it; its map is averaged over the picture.
        resize: height and width to which pictures are brought, bicubic with antialiasing; null leaves them as they are.
        neighbours: the paper's k.
        seed: of the random halves that the interval is estimated from.

    Raises:
        UserError: the network has no such layer.
    """

    def _score(self, restored: Tensor, target: Tensor) -> float:
        return _covered(target, restored, self.neighbours)


class Diversity(SetScore):
    """The mean distance between two pictures of the set, in the eyes of a network: near 0 where all look the same.

    Args:
        features: the network.
        layer: of it; its map is averaged over the picture.
        resize: height and width to which pictures are brought, bicubic with antialiasing; null leaves them as they are.
        seed: of the random halves that the interval is estimated from.

    Raises:
        UserError: the network has no such layer.
    """

    higher_is_better = True
    needs_target = False
    bounds = (0.0, math.inf)

    def __init__(self, *, features: Features, layer: str = "avgpool", resize: Size = 299, seed: Seed = 0) -> None:
        super().__init__(features, layer, resize, seed)

    def _score(self, restored: Tensor, target: Tensor) -> float:
        return float(torch.pdist(restored).mean())


def _covered(some: Tensor, among: Tensor, neighbours: int) -> float:
    """The share of the vectors `some` that lie in a ball around one of `among` which reaches to its neighbour of that number."""
    among = torch.unique(among, dim=0)
    within = torch.cdist(among, among, compute_mode="donot_use_mm_for_euclid_dist")
    # The nearest is the vector itself; a set smaller than the number of neighbours is taken whole.
    radii = within.kthvalue(min(neighbours + 1, len(among)), dim=1).values
    across = torch.cdist(some, among, compute_mode="donot_use_mm_for_euclid_dist")
    return float((across <= radii).any(1).double().mean())
