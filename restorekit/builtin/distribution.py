"""FID and KID: how far the restored pictures, as a set, are from the sharp ones in the eyes of a network."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor

from restorekit import seeding
from restorekit.builtin.features import check_layers, described
from restorekit.builtin.metrics import check_pair, to_uint8_levels
from restorekit.errors import ImageError
from restorekit.interfaces import Features, SetMetric

HALVES = 20
"""Random halves of a set from which a score's deviation is estimated."""

LEAST = 2
"""Pictures that a score needs."""

Size = Annotated[int, Ge(32)] | None


class SetScore(SetMetric):
    """Collects one vector a picture: a layer's map, averaged over the picture.

    Pictures are clipped and rounded to 8 bits, as all scores are. How far the score is from that of other samples is estimated
    from random halves of the sets: the deviation of their scores is about that of the whole's (delete-half jackknife: Shao & Wu,
    Annals of Statistics 1989, doi:10.1214/aos/1176347263).

    Args:
        features: the network.
        layer: of it.
        resize: height and width to which pictures are brought, bicubic with antialiasing; null leaves them as they are.
        seed: of the halves.
    """

    higher_is_better = False
    downloads = True

    def __init__(self, features: Features, layer: str, resize: int | None, seed: int) -> None:
        super().__init__()
        check_layers(features, [layer])
        self.seed = seed
        self._spread: tuple[int, float] = (0, 0.0)
        self.features = features
        self.layer = layer
        self.resize = resize
        self._restored: list[Tensor] = []
        self._target: list[Tensor] = []

    @property
    def samples(self) -> int:
        """Pictures in each of the two sets."""
        return sum(map(len, self._restored))

    @property
    def definition(self) -> str:  # type: ignore[override]
        """Network, layer, digest of the weights, resize filter, number of samples, and the deviation over halves of them."""
        size = f"{self.resize}×{self.resize}, bicubic with antialiasing" if self.resize else "as they are"
        said = f"{described(self.features)}, layer {self.layer}, pictures {size}, {self.samples} samples"
        if self.samples < 2 * LEAST:
            return said
        value, reach = self.compute(), 1.96 * self._deviation()
        low, high = max(self.bounds[0], value - reach), min(self.bounds[1], value + reach)
        return f"{said}, 95% interval {low:.4g} to {high:.4g} ({HALVES} random halves, seed {self.seed})"

    @abstractmethod
    def _score(self, restored: Tensor, target: Tensor) -> float:
        """Of vectors ``(n, d)`` of both sets."""

    def compute(self) -> float:
        """The score of the pictures added so far.

        Raises:
            ImageError: there are fewer than two.
        """
        return self._score(*self._sets(LEAST))

    def _deviation(self) -> float:
        if self._spread[0] != self.samples:
            restored, target = self._sets(2 * LEAST)
            rng = seeding.generator("halves", self.seed)
            scores = []
            for _ in range(HALVES):
                # The same of both sets, so that pictures and what they were made from stay together.
                half = torch.randperm(len(restored), generator=rng)[: len(restored) // 2]
                scores.append(self._score(restored[half], target[half]))
            self._spread = self.samples, float(torch.tensor(scores, dtype=torch.float64).std())
        return self._spread[1]

    @torch.no_grad()
    def update(self, restored: Tensor, target: Tensor | None = None) -> None:
        """Add pictures ``(N, 1 or 3, H, W)`` in [0, 1] to both sets, or to the one where there is no target.

        Raises:
            ImageError: the target is missing or of another shape, or the pictures are too small for the layer.
        """
        if not self.needs_target:
            self._restored.append(self._vectors(restored))
            return
        target = check_pair(restored, target)
        pair = self._vectors(restored), self._vectors(target)
        self._restored.append(pair[0])
        self._target.append(pair[1])

    def _vectors(self, image: Tensor) -> Tensor:
        place = next(self.features.parameters(), image).device
        levels = (to_uint8_levels(image) / 255).to(place)
        with torch.autocast(place.type, enabled=False):
            if self.resize is not None:
                levels = F.interpolate(levels, (self.resize, self.resize), mode="bicubic", antialias=True).clamp(0, 1)
            maps: Tensor = self.features(levels, [self.layer])[self.layer]
        return maps.mean((2, 3)).cpu().double()

    def _sets(self, at_least: int) -> tuple[Tensor, Tensor]:
        if self.samples < at_least:
            raise ImageError(f"a score of a set needs at least {at_least} pictures, this one has {self.samples}")
        restored = torch.cat(self._restored)
        return restored, torch.cat(self._target) if self.needs_target else restored


class Fid(SetScore):
    """Fréchet distance between the two sets' features, taken for Gaussian: 0 for equal sets.

    It is biased: fewer samples give a larger distance, so that only equal numbers of samples compare; papers use
    10 000 and more. It compares with published distances only where the network and its weights are the same:
    torchvision's Inception is not the network of the first FID.
    Heusel et al., NIPS 2017, arXiv:1706.08500.

    Args:
        features: the network.
        layer: of it; its map is averaged over the picture.
        resize: height and width to which pictures are brought, bicubic with antialiasing; null leaves them as they are.
        seed: of the random halves that the interval is estimated from.

    Raises:
        UserError: the network has no such layer.
    """

    bounds = (0.0, math.inf)

    def __init__(self, *, features: Features, layer: str = "avgpool", resize: Size = 299, seed: Annotated[int, Ge(0)] = 0) -> None:
        super().__init__(features, layer, resize, seed)

    def _score(self, restored: Tensor, target: Tensor) -> float:
        first, second = restored, target
        means = first.mean(0), second.mean(0)
        roots = [_root(vectors - mean) for vectors, mean in zip((first, second), means, strict=True)]
        # With covariances A'A and B'B the trace of the root of their product is the nuclear norm of AB': no root of a
        # matrix that is singular where there are fewer samples than features.
        overlap = float(torch.linalg.svdvals(roots[0] @ roots[1].T).sum())
        spreads = sum(float(root.square().sum()) for root in roots)
        return max(0.0, float((means[0] - means[1]).square().sum()) + spreads - 2 * overlap)


def _root(centred: Tensor) -> Tensor:
    """A matrix ``A`` with at most as many rows as columns whose ``A'A`` is the covariance of the rows of `centred`."""
    scaled = centred / math.sqrt(len(centred) - 1)
    return scaled if len(scaled) <= scaled.shape[1] else torch.linalg.qr(scaled, mode="r").R


class Kid(SetScore):
    """Kernel distance between the two sets' features: the unbiased squared maximum mean discrepancy.

    The kernel is ``(x·y / d + 1)³`` for features of d dimensions. Unlike `Fid` it does not depend on the number of samples,
    but spreads more; it can be a little below 0 for equal sets. Bińkowski et al., ICLR 2018, arXiv:1801.01401.

    Args:
        features: the network.
        layer: of it; its map is averaged over the picture.
        resize: height and width to which pictures are brought, bicubic with antialiasing; null leaves them as they are.
        subsets: the distance is the mean over so many random subsets.
        subset_size: pictures in each; smaller sets are taken whole, once.
        seed: of the subsets, and of the random halves that the interval is estimated from.

    Raises:
        UserError: the network has no such layer.
    """

    def __init__(
        self,
        *,
        features: Features,
        layer: str = "avgpool",
        resize: Size = 299,
        subsets: Annotated[int, Ge(2)] = 100,
        subset_size: Annotated[int, Ge(2)] = 1000,
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        super().__init__(features, layer, resize, seed)
        self.subsets = subsets
        self.subset_size = subset_size

    @property
    def definition(self) -> str:  # type: ignore[override]
        """As of `Fid`, and the subsets with the standard deviation of the distance over them."""
        if self.samples <= self.subset_size:
            return super().definition
        spread = float(torch.tensor(self._distances(*self._sets(LEAST))).std())
        return f"{super().definition}, {self.subsets} subsets of {self.subset_size} (standard deviation {spread:.3g})"

    def _score(self, restored: Tensor, target: Tensor) -> float:
        found = self._distances(restored, target)
        return sum(found) / len(found)

    def _distances(self, restored: Tensor, target: Tensor) -> list[float]:
        if len(restored) <= self.subset_size:
            return [_discrepancy(restored, target)]
        rng = seeding.generator("kid", self.seed)

        def some(vectors: Tensor) -> Tensor:
            return vectors[torch.randperm(len(vectors), generator=rng)[: self.subset_size]]

        return [_discrepancy(some(restored), some(target)) for _ in range(self.subsets)]


def _discrepancy(first: Tensor, second: Tensor) -> float:
    n, features = first.shape
    within = [(vectors @ vectors.T / features + 1) ** 3 for vectors in (first, second)]
    across = (first @ second.T / features + 1) ** 3
    own = sum(float(kernel.sum() - kernel.trace()) for kernel in within) / (n * (n - 1))
    return own - 2 * float(across.mean())
