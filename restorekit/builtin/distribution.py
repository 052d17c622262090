"""FID and KID: how far the restored pictures, as a set, are from the sharp ones in the eyes of a network."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import MutableMapping
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from restorekit import seeding
from restorekit.builtin.features import check_layers, described
from restorekit.builtin.metrics import to_uint8_levels
from restorekit.errors import ImageError
from restorekit.interfaces import Features, SetMetric

HALVES = 20
"""Random halves of a set from which a score's deviation is estimated."""

LEAST = 2
"""Pictures that a score needs."""

Size = Annotated[int, Ge(32)] | None

_found: MutableMapping[Tensor, dict[object, Tensor]] = WeakTensorKeyDictionary()
"""Vectors of images that are still there, by network, layer and size: several scores over one network run it once."""


class SetScore(SetMetric):
    """Collects one vector a picture: a layer's map, averaged over the picture.

    Pictures are clipped and rounded to 8 bits, as all scores are. How far the score is from that of other samples is estimated
    from random halves of the sets: the deviation of their scores is about that of the whole's (delete-half jackknife: Shao & Wu,
    Annals of Statistics 1989, doi:10.1214/aos/1176347263). Where every `update` brings as many targets as restored pictures they
    count as pairs, and halves are of pairs; otherwise the two sets are halved each by itself.

    Args:
        features: the network.
        layer: of it.
        resize: height and width to which pictures are brought, bicubic with antialiasing; null leaves them as they are.
        seed: of the halves.
    """

    higher_is_better = False
    downloads = True
    paired = False

    def __init__(self, features: Features, layer: str, resize: int | None, seed: int) -> None:
        super().__init__()
        check_layers(features, [layer])
        self.seed = seed
        self._spread: tuple[tuple[int, int], float] = ((0, 0), 0.0)
        self._pairs = True
        self.features = features
        self.layer = layer
        self.resize = resize
        self._restored: list[Tensor] = []
        self._target: list[Tensor] = []

    @property
    def samples(self) -> tuple[int, int]:
        """Pictures in each of the two sets; the first twice where there is no other."""
        restored = sum(map(len, self._restored))
        return restored, sum(map(len, self._target)) if self.needs_target else restored

    @property
    def definition(self) -> str:  # type: ignore[override]
        """Network, layer, digest of the weights, resize filter, numbers of samples, and the deviation over halves of them."""
        size = f"{self.resize}×{self.resize}, bicubic with antialiasing" if self.resize else "as they are"
        restored, target = self.samples
        count = f"{restored} samples" if restored == target else f"{restored} restored and {target} target samples"
        said = f"{self._network}, layer {self.layer}, pictures {size}, {count}"
        if min(self.samples) < 2 * LEAST:
            return said
        value, reach = self.compute(), 1.96 * self._deviation()
        low, high = max(self.bounds[0], value - reach), min(self.bounds[1], value + reach)
        halves = f"{HALVES} random halves" if self._pairs else f"{HALVES} random halves of each set"
        return f"{said}, 95% interval {low:.4g} to {high:.4g} ({halves}, seed {self.seed})"

    @abstractmethod
    def _score(self, restored: Tensor, target: Tensor) -> float:
        """Of vectors ``(n, d)`` of both sets."""

    def compute(self) -> float:
        """The score of the pictures added so far.

        Raises:
            ImageError: there are fewer than two in a set.
        """
        return self._score(*self._sets(LEAST))

    def _deviation(self) -> float:
        if self._spread[0] != self.samples:
            restored, target = self._sets(2 * LEAST)
            rng = seeding.generator("halves", self.seed)
            scores = []
            for _ in range(HALVES):
                half = torch.randperm(len(restored), generator=rng)[: len(restored) // 2]
                # Of pairs the same, so that pictures and what they were made from stay together.
                other = half if self._pairs else torch.randperm(len(target), generator=rng)[: len(target) // 2]
                scores.append(self._score(restored[half], target[other]))
            self._spread = self.samples, float(torch.tensor(scores, dtype=torch.float64).std())
        return self._spread[1]

    @torch.no_grad()
    def update(self, restored: Tensor, target: Tensor | None = None) -> None:
        """Add pictures ``(N, 1 or 3, H, W)`` in [0, 1] to the one set and ``(M, 1 or 3, H', W')`` to the other, if there is one.

        Raises:
            ImageError: the target is missing, or the pictures are too small for the layer.
        """
        if not self.needs_target:
            self._restored += self._vectors(restored)
            return
        if target is None:
            raise ImageError("this score compares with a set of sharp images: pass target")
        found = self._vectors(restored), self._vectors(target)
        self._restored += found[0]
        self._target += found[1]
        self._pairs = self._pairs and len(restored) == len(target)

    def _vectors(self, image: Tensor) -> list[Tensor]:
        if image.ndim != 4:
            raise ImageError(f"expected images (N, C, H, W), got {tuple(image.shape)}")
        if not len(image):
            return []
        if image.is_inference():  # whether it has been changed since, such a tensor does not say
            return [self._seen(image)]
        known = _found.setdefault(image, {})
        key = (self._network, self.layer, self.resize, image._version)
        if key not in known:
            known[key] = self._seen(image)
        return [known[key]]

    @functools.cached_property
    def _network(self) -> str:
        return described(self.features)

    def _seen(self, image: Tensor) -> Tensor:
        place = next(self.features.parameters(), image).device
        levels = (to_uint8_levels(image) / 255).to(place)
        with torch.autocast(place.type, enabled=False):
            if self.resize is not None:
                levels = F.interpolate(levels, (self.resize, self.resize), mode="bicubic", antialias=True).clamp(0, 1)
            maps: Tensor = self.features(levels, [self.layer])[self.layer]
        return maps.mean((2, 3)).cpu().double()

    def _sets(self, at_least: int) -> tuple[Tensor, Tensor]:
        ours, theirs = self.samples
        if ours == theirs < at_least:
            raise ImageError(f"a score of a set needs at least {at_least} pictures, this one has {ours}")
        if min(ours, theirs) < at_least:
            raise ImageError(f"a score of two sets needs at least {at_least} pictures of each, got {ours} restored and {theirs} target")
        restored = torch.cat(self._restored)
        return restored, torch.cat(self._target) if self.needs_target else restored


class Fid(SetScore):
    """Fréchet distance between the two sets' features, taken for Gaussian: 0 for equal sets.

    It is biased: fewer samples give a larger distance, so that only equal numbers of samples compare; papers use
    10 000 and more. With no more samples than the layer has numbers, which the definition says, `Kid` is the one to take.
    It compares with published distances only where the network and its weights are the same: torchvision's Inception is
    not the network of the first FID.
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

    @property
    def definition(self) -> str:  # type: ignore[override]
        """As of all scores of sets; and that there are too few samples, where their covariance is singular."""
        numbers = self._restored[0].shape[1] if self._restored else 0
        if not 0 < min(self.samples) <= numbers:
            return super().definition
        return f"{super().definition}, no more pictures than the layer's {numbers} numbers: FID is biased, KID is not"

    def _score(self, restored: Tensor, target: Tensor) -> float:
        means = restored.mean(0), target.mean(0)
        roots = [_root(vectors - mean) for vectors, mean in zip((restored, target), means, strict=True)]
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
        subset_size: pictures in each; a smaller set is taken whole, and two such once.
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
        if max(self.samples) <= self.subset_size:
            return super().definition
        spread = float(torch.tensor(self._distances(*self._sets(LEAST))).std())
        return f"{super().definition}, {self.subsets} subsets of {self.subset_size} (standard deviation {spread:.3g})"

    def _score(self, restored: Tensor, target: Tensor) -> float:
        found = self._distances(restored, target)
        return sum(found) / len(found)

    def _distances(self, restored: Tensor, target: Tensor) -> list[float]:
        if max(len(restored), len(target)) <= self.subset_size:
            return [_discrepancy(restored, target)]
        rng = seeding.generator("kid", self.seed)

        def some(vectors: Tensor) -> Tensor:
            return vectors[torch.randperm(len(vectors), generator=rng)[: self.subset_size]]

        return [_discrepancy(some(restored), some(target)) for _ in range(self.subsets)]


def _discrepancy(first: Tensor, second: Tensor) -> float:
    def kernel(some: Tensor, others: Tensor) -> Tensor:
        return (some @ others.T / some.shape[1] + 1) ** 3

    own = 0.0
    for vectors in (first, second):
        within, n = kernel(vectors, vectors), len(vectors)
        own += float(within.sum() - within.trace()) / (n * (n - 1))
    return own - 2 * float(kernel(first, second).mean())
