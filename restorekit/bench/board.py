"""The leaderboard as data, made of rows and manifest alone: what tables, pages and files of numbers show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restorekit.bench import results
from restorekit.bench.scores import Cell, Mean, Record, Scores
from restorekit.errors import UserError

ALL = "all"
"""Stands for all degradations together."""


@dataclass(frozen=True)
class Standing:
    """What a method reached, by one metric, on one degradation or on `ALL`.

    Attributes:
        mean: over the compared cells; None where the method does not compare.
        gain: difference from doing nothing, image by image.
        record: by the paired test against each other method, or None where it does not compare.
    """

    mean: Mean | None
    gain: Mean | None
    record: Record | None


@dataclass(frozen=True)
class Line:
    """A method on the leaderboard.

    Attributes:
        rank: from 1, or None where it has no overall mean.
        method: its label.
        entry: what the manifest says of it.
        standings: by metric and degradation.
        missed: how many cells failed and how many do not apply, by degradation.
    """

    rank: int | None
    method: str
    entry: Mapping[str, Any]
    standings: Mapping[tuple[str, str], Standing]
    missed: Mapping[str, Mapping[str, int]]

    def missing(self, status: str) -> int:
        """Cells of that status, over all degradations."""
        return sum(found[status] for found in self.missed.values())


@dataclass(frozen=True)
class Missed:
    """Why a method has no score somewhere.

    Attributes:
        method: its label.
        status: `results.FAILED` or `results.INAPPLICABLE`.
        degradations: on which.
        cells: how many images × degradations.
        reason: why.
    """

    method: str
    status: str
    degradations: tuple[str, ...]
    cells: int
    reason: str


@dataclass(frozen=True)
class Board:
    """A leaderboard.

    Attributes:
        about: the manifest.
        rows: every score.
        lines: methods in order of rank, then those without one.
        scores: by metric and degradation.
    """

    about: Mapping[str, Any]
    rows: list[dict[str, Any]]
    lines: list[Line]
    scores: Mapping[tuple[str, str], Scores]

    @property
    def columns(self) -> list[str]:
        """`ALL` and each degradation; a single degradation stands for all."""
        names = list(self.about["degradations"])
        return [ALL, *names] if len(names) > 1 else [ALL]

    @property
    def first(self) -> str:
        """The metric that ranks."""
        return str(next(iter(self.about["metrics"])))

    def missed(self) -> list[Missed]:
        """Cells without a score, those of one method and reason together."""
        grouped: dict[tuple[str, str, str], dict[str, set[Any]]] = {}
        for row in self.rows:
            if row["status"] != results.OK:
                place = grouped.setdefault((row["status"], row["method"], row["reason"]), {})
                place.setdefault(row["degradation"], set()).add((row["image"], row["draw"]))
        return [
            Missed(method, status, tuple(found), sum(map(len, found.values())), reason)
            for (status, method, reason), found in grouped.items()
        ]

    def title(self, metric: str) -> str:
        """``core/psnr in dB ↑``."""
        declared = self.about["metrics"][metric]
        unit = f" in {declared['unit']}" if declared["unit"] else ""
        return f"{metric}{unit} {'↑' if declared['higher_is_better'] else '↓'}"

    def digits(self, metric: str) -> int:
        """Decimals that a score is shown with."""
        return 2 if self.about["metrics"][metric]["unit"] == "dB" else 4


def board(folder: Path) -> Board:
    """The leaderboard of the results in `folder`.

    Raises:
        UserError: no results there, damaged ones, or only a part of them (a shard).
    """
    about, rows = results.load(Path(folder))
    if about["shard"] is not None:
        raise UserError(f"{folder}: shard {about['shard']} of a run. Join all of them first: restorekit bench merge OUT SHARD...")
    scores = _scores(about, rows)
    records = {place: found.records() for place, found in scores.items()}
    missed: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(lambda: dict.fromkeys(results.STATUSES, 0)))
    first = next(iter(about["metrics"]))
    for row in rows:
        if row["metric"] == first:
            missed[row["method"]][row["degradation"]][row["status"]] += 1

    def standing(method: str, place: tuple[str, str]) -> Standing:
        return Standing(scores[place].mean(method), scores[place].gain(method), records[place].get(method))

    lines = [
        Line(rank, method, about["methods"][method], {place: standing(method, place) for place in scores}, missed[method])
        for rank, method in _ranked(about, scores[first, ALL])
    ]
    return Board(about, rows, lines, scores)


def _scores(about: Mapping[str, Any], rows: list[dict[str, Any]]) -> dict[tuple[str, str], Scores]:
    """By metric and column. Where a score is infinite, no metric counts the image, so that all numbers of a line are about the same."""
    seed = int(about["protocol"][:16], 16)
    columns: dict[str, list[str]] = {ALL: about["degradations"], **{name: [name] for name in about["degradations"]}}

    def of(metric: str, column: str, apart: Collection[Cell] = ()) -> Scores:
        higher = about["metrics"][metric]["higher_is_better"]
        return Scores(rows, metric, columns[column], higher_is_better=higher, seed=seed, apart=apart)

    places = [(metric, column) for metric in about["metrics"] for column in columns]
    found = {place: of(*place) for place in places}
    infinite = {column: {cell for metric in about["metrics"] for cell in found[metric, column].infinite} for column in columns}
    return {place: of(*place, infinite[place[1]]) if infinite[place[1]] else found[place] for place in places}


def _ranked(about: Mapping[str, Any], scores: Scores) -> list[tuple[int | None, str]]:
    """Rank and name of every method: those with an overall mean, best first, then the others."""
    sign = -1 if next(iter(about["metrics"].values()))["higher_is_better"] else 1
    means = {method: scores.mean(method) for method in about["methods"]}
    ranked = sorted((sign * mean.value, method) for method, mean in means.items() if mean is not None)
    rest = sorted(method for method, mean in means.items() if mean is None)
    return [*((rank, method) for rank, (_, method) in enumerate(ranked, 1)), *((None, method) for method in rest)]
