"""Statistics of scores: means over the same images, bootstrap intervals, paired differences and paired tests."""

from __future__ import annotations

import functools
import itertools
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from restorekit.bench import results
from restorekit.bench.names import BASELINE

RESAMPLES = 2000
"""Bootstrap samples of an interval."""

CONFIDENCE = 0.95
LEVEL = 1 - CONFIDENCE
"""Of the paired tests, over all pairs of methods together."""

Cell = tuple[str, str, int]
"""Image, degradation and draw."""


@dataclass(frozen=True)
class Mean:
    """A mean over cells and its bootstrap interval over images.

    Attributes:
        value: of the compared scores; infinite where the method's scores all are.
        low: lower end of the interval, None with fewer than two images.
        high: upper end.
        cells: how many scores it is made of.
        infinite: scores of the method that are infinite and therefore in nobody's mean.
    """

    value: float
    low: float | None
    high: float | None
    cells: int
    infinite: int = 0

    def text(self, digits: int, *, signed: bool = False) -> str:
        """As a cell of the table: ``27.41 [25.90, 28.95]``."""
        form = f"{'+' if signed else ''}.{digits}f"
        interval = "" if self.low is None or self.high is None else f" [{self.low:{form}}, {self.high:{form}}]"
        infinite = f" ({self.infinite} inf)" if self.infinite else ""
        return f"{self.value:{form}}{interval}{infinite}"


@dataclass(frozen=True)
class Record:
    """How a method did against each other by the paired test."""

    wins: int
    ties: int
    losses: int


class Scores:
    """The scores of one metric on some degradations, and which of them compare.

    A method takes part where it has a score for every cell that anybody has one for. Cells where the
    score of a method that takes part is infinite are left out for all of them, because a mean without
    them would be over other images than everybody else's; methods whose scores all are infinite decide
    nothing.

    Args:
        rows: as `results.load` gives them.
        metric: which metric.
        degradations: which degradations.
        higher_is_better: direction of the metric.
        seed: of the bootstrap.
        apart: cells that are not compared.

    Attributes:
        scored: cells that anybody has a score for.
        infinite: those of them where the score of a method that takes part is infinite.
        cells: those that are compared.
        compared: methods that take part.
    """

    def __init__(
        self,
        rows: Iterable[Mapping[str, Any]],
        metric: str,
        degradations: Iterable[str],
        *,
        higher_is_better: bool = True,
        seed: int = 0,
        apart: Collection[Cell] = (),
    ) -> None:
        wanted = set(degradations)
        self._values: dict[str, dict[Cell, float]] = defaultdict(dict)
        for row in rows:
            if row["metric"] == metric and row["status"] == results.OK and row["degradation"] in wanted:
                self._values[row["method"]][row["image"], row["degradation"], row["draw"]] = float(row["value"])
        self._sign, self._seed = 1 if higher_is_better else -1, seed
        self.scored: set[Cell] = {cell for values in self._values.values() for cell in values}
        whole = {method: values for method, values in self._values.items() if self.scored and self.scored <= values.keys()}
        self._perfect = {method for method, values in whole.items() if not any(map(math.isfinite, values.values()))}
        self.compared = [method for method in whole if method not in self._perfect]
        self.infinite = {cell for cell in self.scored if not all(math.isfinite(whole[m][cell]) for m in self.compared)}
        self.cells = self.scored - self.infinite - set(apart) if self.compared else set()

    def mean(self, method: str) -> Mean | None:
        """Of the method over the compared cells, or None where it lacks one or there are none."""
        values = self._values.get(method, {})
        if method in self._perfect:
            return Mean(next(iter(values.values())), None, None, 0, len(values))
        if method not in self.compared or not self.cells:
            return None
        infinite = sum(not math.isfinite(value) for value in values.values())
        return self._mean({cell: values[cell] for cell in self.cells}, infinite)

    def gain(self, method: str) -> Mean | None:
        """Mean of the differences from `BASELINE`, over the compared cells; over those that both have where the method lacks some."""
        own, base = self._values.get(method, {}), self._values.get(BASELINE, {})
        cells = self.cells if method in self.compared else own.keys()
        both = [cell for cell in cells if math.isfinite(own.get(cell, math.nan)) and math.isfinite(base.get(cell, math.nan))]
        return None if method == BASELINE or not both else self._mean({cell: own[cell] - base[cell] for cell in both}, 0)

    def records(self) -> dict[str, Record]:
        """Wins, ties and losses of every compared method against each other one.

        A win is a difference that the Wilcoxon signed-rank test over images (each with the mean of its
        damages; normal approximation with continuity correction) finds at `LEVEL`, after Holm's correction
        for the number of pairs.
        """
        if not self.cells:
            return {}
        means = {method: _by_image({cell: self._values[method][cell] for cell in self.cells}) for method in self.compared}
        pairs = list(itertools.combinations(self.compared, 2))
        count: dict[str, list[int]] = {method: [0, 0, 0] for method in self.compared}
        for (a, b), better in zip(pairs, _better([self._sign * (means[a] - means[b]) for a, b in pairs]), strict=True):
            count[a][1 - better] += 1
            count[b][1 + better] += 1
        return {method: Record(*found) for method, found in count.items()}

    def by_cell(self, method: str) -> Mapping[Cell, float]:
        """Every score of a method."""
        return self._values.get(method, {})

    def _mean(self, values: Mapping[Cell, float], infinite: int) -> Mean:
        low, high = _interval(values, self._seed)
        return Mean(math.fsum(values.values()) / len(values), low, high, len(values), infinite)


def _by_image(values: Mapping[Cell, float]) -> Any:
    """The mean of each image over its damages."""
    grouped: dict[str, list[float]] = defaultdict(list)
    for (image, _, _), value in sorted(values.items()):
        grouped[image].append(value)
    return np.array([math.fsum(found) / len(found) for found in grouped.values()])


def _better(differences: Sequence[Any]) -> list[int]:
    """For each set of paired differences 1 or -1 where the test finds them positive or negative, otherwise 0."""
    from scipy.stats import wilcoxon

    found = [0] * len(differences)
    if not found:
        return found
    with np.errstate(invalid="ignore", divide="ignore"):  # differences that are all zero have no p-value
        # The normal approximation, whatever the number: scipy's own choice takes minutes where few images have tied differences.
        options = {"axis": 1, "method": "asymptotic", "correction": True}
        both, positive = (wilcoxon(np.stack(differences), alternative=side, **options).pvalue for side in ("two-sided", "greater"))
    p = np.nan_to_num(both, nan=1.0)
    for rank, index in enumerate(np.argsort(p, kind="stable")):
        if p[index] > LEVEL / (len(found) - rank):  # Holm
            break
        found[index] = 1 if positive[index] < 0.5 else -1
    return found


@functools.lru_cache(maxsize=64)
def _picks(seed: int, images: int) -> Any:
    """Which images each bootstrap sample is made of."""
    return np.random.default_rng(seed).integers(0, images, (RESAMPLES, images))


def _interval(values: Mapping[Cell, float], seed: int) -> tuple[float | None, float | None]:
    """Percentile bootstrap of the mean. Images are drawn, each with all its damages: those share its difficulty."""
    by_image: dict[str, list[float]] = defaultdict(list)
    for (image, _, _), value in sorted(values.items()):
        by_image[image].append(value)
    if len(by_image) < 2:
        return None, None
    sums = np.array([math.fsum(found) for found in by_image.values()])
    counts = np.array([len(found) for found in by_image.values()])
    picks = _picks(seed, len(sums))
    means = sums[picks].sum(1) / counts[picks].sum(1)
    low, high = np.quantile(means, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return float(low), float(high)
