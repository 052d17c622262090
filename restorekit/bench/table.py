"""The leaderboard, made of rows and manifest alone: the same results give the same text."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from restorekit.bench import results

BASELINE = "core/identity"
"""The method that does nothing: what the others are compared with."""

RESAMPLES = 2000
"""Bootstrap samples of an interval."""

CONFIDENCE = 0.95
LONGEST_REASON = 200
NONE = "–"

Cell = tuple[str, str]
"""Image and degradation."""


@dataclass(frozen=True)
class Mean:
    """A mean over cells and its bootstrap interval over images.

    Attributes:
        value: of the finite scores; infinite where all are.
        low: lower end of the interval, None with fewer than two images.
        high: upper end.
        infinite: scores left out of `value` because they are infinite.
    """

    value: float
    low: float | None
    high: float | None
    infinite: int

    def text(self, digits: int, *, signed: bool = False) -> str:
        """As a cell of the table: ``27.41 [25.90, 28.95]``."""
        form = f"{'+' if signed else ''}.{digits}f"
        interval = "" if self.low is None or self.high is None else f" [{self.low:{form}}, {self.high:{form}}]"
        infinite = f" ({self.infinite} inf)" if self.infinite else ""
        return f"{self.value:{form}}{interval}{infinite}"


class Scores:
    """The scores of one metric, and which of them compare.

    Args:
        rows: as `results.load` gives them.
        metric: which metric.
        seed: of the bootstrap.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], metric: str, seed: int) -> None:
        self._values: dict[str, dict[Cell, float]] = defaultdict(dict)
        self._seed = seed
        for row in rows:
            if row["metric"] == metric and row["status"] == "ok":
                self._values[row["method"]][row["image"], row["degradation"]] = float(row["value"])

    def compared(self, degradations: Iterable[str]) -> set[Cell]:
        """Cells of the `degradations` that any method has a score for: what a method must have to be compared."""
        wanted = set(degradations)
        return {cell for values in self._values.values() for cell in values if cell[1] in wanted}

    def mean(self, method: str, degradations: Iterable[str]) -> Mean | None:
        """Of the method over the compared cells, or None where it lacks one or there are none."""
        cells, values = self.compared(degradations), self._values.get(method, {})
        return self._mean({cell: values[cell] for cell in cells}) if cells <= values.keys() else None

    def gain(self, method: str, degradations: Iterable[str]) -> tuple[Mean | None, int]:
        """Mean of the differences from `BASELINE` over the cells that both have, and their number."""
        own, base = self._values.get(method, {}), self._values.get(BASELINE, {})
        both = self.compared(degradations) & own.keys() & base.keys() if method != BASELINE else set()
        finite = {cell for cell in both if math.isfinite(own[cell]) and math.isfinite(base[cell])}
        return self._mean({cell: own[cell] - base[cell] for cell in finite}), len(both)

    def _mean(self, values: Mapping[Cell, float]) -> Mean | None:
        if not values:
            return None
        finite = {cell: value for cell, value in values.items() if math.isfinite(value)}
        infinite = len(values) - len(finite)
        if not finite:
            return Mean(next(iter(values.values())), None, None, infinite)
        low, high = _interval(finite, self._seed)
        return Mean(math.fsum(finite.values()) / len(finite), low, high, infinite)


def _interval(values: Mapping[Cell, float], seed: int) -> tuple[float | None, float | None]:
    """Percentile bootstrap of the mean. Images are drawn, each with all its degradations: those share its difficulty."""
    by_image: dict[str, list[float]] = defaultdict(list)
    for (image, _), value in sorted(values.items()):
        by_image[image].append(value)
    if len(by_image) < 2:
        return None, None
    sums = np.array([math.fsum(found) for found in by_image.values()])
    counts = np.array([len(found) for found in by_image.values()])
    picks = np.random.default_rng(seed).integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[picks].sum(1) / counts[picks].sum(1)
    low, high = np.quantile(means, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return float(low), float(high)


def leaderboard(folder: Path) -> str:
    """The results in `folder` as Markdown.

    Methods are sorted by the suite's first metric in the direction that it declares. A method that
    failed where another did not has no mean there and no rank: fewer images do not compare.

    Raises:
        UserError: no results there, or damaged ones.
    """
    about, rows = results.load(Path(folder))
    seed = int(about["protocol"][:16], 16)
    scores = {metric: Scores(rows, metric, seed) for metric in about["metrics"]}
    order = _ranked(about, scores)
    parts = [
        f"# {about['suite']}",
        f"Protocol `{about['protocol'][:12]}`: {len(about['images'])} images × {len(about['degradations'])} degradations "
        f"({', '.join(about['degradations'])}). Sorted by {next(iter(about['metrics']))}.",
        _overall(about, scores, order, rows),
        *(_by_degradation(about, metric, scores[metric], order) for metric in about["metrics"]),
        _failures(rows),
        _methods(about, order),
        _NOTES,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_NOTES = f"""## How to read this

- All means of a column are over the same images; brackets hold {CONFIDENCE:.0%} bootstrap intervals over images.
- Δ, or the number in parentheses, is the mean difference from {BASELINE} (do nothing), image by image.
- `{NONE}`: the method failed, on some images at least, for the reason under *Failures*. It has no mean there and no rank, because
  a mean over fewer images would not compare; its difference from {BASELINE} on the images it did is in parentheses.
- Infinite scores (identical images) are left out of means and counted as `inf`.
- Blind methods see the damaged image alone; the others are told what is named.
- Scores compare with those of tables of the same protocol only."""


def _ranked(about: Mapping[str, Any], scores: Mapping[str, Scores]) -> list[tuple[str, str]]:
    """Rank and label of every method: those with an overall mean, best first, then the others."""
    first, declared = next(iter(about["metrics"].items()))
    sign = -1 if declared["higher_is_better"] else 1
    means = {method: scores[first].mean(method, about["degradations"]) for method in about["methods"]}
    ranked = sorted((sign * mean.value, method) for method, mean in means.items() if mean is not None)
    rest = sorted(method for method, mean in means.items() if mean is None)
    return [(str(rank), method) for rank, (_, method) in enumerate(ranked, 1)] + [(NONE, method) for method in rest]


def _overall(about: Mapping[str, Any], scores: Mapping[str, Scores], order: list[tuple[str, str]], rows: list[dict[str, Any]]) -> str:
    cells = len(about["images"]) * len(about["degradations"])
    failed: dict[str, set[Cell]] = defaultdict(set)
    for row in rows:
        if row["status"] == "failed":
            failed[row["method"]].add((row["image"], row["degradation"]))
    head = ["#", "method", "blind"]
    for metric in about["metrics"]:
        head += [_title(metric, about), "Δ"]
    head += ["s/image", "failed", "licence"]
    body = []
    for rank, method in order:
        entry = about["methods"][method]
        line = [rank, method, _blind(entry)]
        for metric, found in scores.items():
            digits = _digits(about["metrics"][metric])
            mean = found.mean(method, about["degradations"])
            gain = None if mean is None else found.gain(method, about["degradations"])[0]
            line += [_mean(mean, digits), _mean(gain, digits, signed=True)]
        line += [_seconds(entry), f"{len(failed[method])} of {cells}", entry["licence"]]
        body.append(line)
    compared = ", ".join(f"{metric}: {len(found.compared(about['degradations']))}" for metric, found in scores.items())
    return f"## All degradations\n\n{_table(head, body)}\n\nCompared, of {cells} images × degradations: {compared}."


def _by_degradation(about: Mapping[str, Any], metric: str, scores: Scores, order: list[tuple[str, str]]) -> str:
    digits = _digits(about["metrics"][metric])
    counts = {degradation: len(scores.compared([degradation])) for degradation in about["degradations"]}
    head = ["method", *(f"{degradation} ({count} images)" for degradation, count in counts.items())]
    body = []
    for _, method in order:
        line = [method]
        for degradation, count in counts.items():
            mean, (gain, pairs) = scores.mean(method, [degradation]), scores.gain(method, [degradation])
            notes = [f"{mean.infinite} inf"] if mean is not None and mean.infinite else []
            if gain is not None:
                notes.append(f"{gain.value:+.{digits}f}" + (f" on {pairs} images" if pairs < count else ""))
            line.append((NONE if mean is None else f"{mean.value:.{digits}f}") + (f" ({', '.join(notes)})" if notes else ""))
        body.append(line)
    return f"## {_title(metric, about)} by degradation\n\n{_table(head, body)}"


def _failures(rows: list[dict[str, Any]]) -> str:
    images: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for row in rows:
        if row["status"] == "failed":
            images[row["method"], row["degradation"], row["reason"]].add(row["image"])
    body = [
        [method, degradation, str(len(found)), reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}…"]
        for (method, degradation, reason), found in images.items()
    ]
    return f"## Failures\n\n{_table(['method', 'degradation', 'images', 'reason'], body)}" if body else ""


def _methods(about: Mapping[str, Any], order: list[tuple[str, str]]) -> str:
    body = []
    for _, method in order:
        entry = about["methods"][method]
        network, seconds, environment = entry["network"], entry["seconds"], entry["environment"]
        body.append(
            [
                method,
                entry["part"] if network is None else f"{entry['part']} ({network['part']})",
                NONE if network is None else f"{network['parameters']:,}",
                NONE if seconds is None else f"{seconds['median']:.3g} [{seconds['low']:.3g}, {seconds['high']:.3g}]",
                NONE if entry["peak_memory_mb"] is None else f"{entry['peak_memory_mb']:.0f}",
                f"{environment['device']}, {environment['threads']} thread{'s' * (environment['threads'] > 1)}, {entry['precision']}",
                entry["paper"],
            ]
        )
    head = ["method", "part", "parameters", "s/image, quartiles", "extra MB", "on", "paper"]
    return f"## Methods\n\n{_table(head, body)}"


def _title(metric: str, about: Mapping[str, Any]) -> str:
    declared = about["metrics"][metric]
    unit = f" in {declared['unit']}" if declared["unit"] else ""
    return f"{metric}{unit} {'↑' if declared['higher_is_better'] else '↓'}"


def _digits(declared: Mapping[str, Any]) -> int:
    return 2 if declared["unit"] == "dB" else 4


def _blind(entry: Mapping[str, Any]) -> str:
    return "yes" if entry["blind"] else f"no: {', '.join(entry['uses'])}"


def _seconds(entry: Mapping[str, Any]) -> str:
    return NONE if entry["seconds"] is None else f"{entry['seconds']['median']:.3g}"


def _mean(mean: Mean | None, digits: int, *, signed: bool = False) -> str:
    return NONE if mean is None else mean.text(digits, signed=signed)


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in [head, rule, *body])


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
