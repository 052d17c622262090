"""What ``score`` found: as text, as JSON, as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from restorekit.cli import common

if TYPE_CHECKING:
    from restorekit.interfaces import Metric, SetMetric

MEAN = "mean"


@dataclass
class Scores:
    """What was found.

    Attributes:
        rulers: what was scored with, by what the table calls it.
        images: scores by ruler, by picture; nothing where a ruler failed, and no picture where all rulers are of sets.
        sets: scores of whole sets, by ruler.
        scored: restored pictures that were scored or added to a set.
        problems: what could not be scored, a sentence each.
        definitions: what the rulers say of themselves after scoring.
    """

    rulers: Mapping[str, Metric | SetMetric]
    images: dict[str, dict[str, float]] = field(default_factory=dict)
    sets: dict[str, float] = field(default_factory=dict)
    scored: int = 0
    problems: list[str] = field(default_factory=list)
    definitions: dict[str, str] = field(default_factory=dict)

    def average(self, ruler: str) -> dict[str, Any]:
        """Mean of the finite scores under one ruler, of how many pictures, and how many scores were infinite; of a set its score."""
        if ruler in self.sets:
            return {"value": self.sets[ruler], "images": self.scored, "infinite": 0}
        values = [scores[ruler] for scores in self.images.values() if ruler in scores]
        finite = [value for value in values if not math.isinf(value)]
        mean = sum(finite) / len(finite) if finite else None
        return {"value": mean, "images": len(finite), "infinite": len(values) - len(finite)}

    def shown(self, ruler: str, value: float | None) -> str:
        """A score with as many digits as its ruler deserves."""
        if value is None:
            return "–"
        if self.rulers[ruler].unit == "dB":
            return f"{value:.2f}"
        return f"{value:.4f}" if math.isfinite(self.rulers[ruler].bounds[1]) else f"{value:.4g}"


def brief(found: Scores) -> str:
    """A line for each ruler: the score of the one picture, or of the sets, and what it means."""
    rows = []
    for name, ruler in found.rulers.items():
        better = "higher is better" if ruler.higher_is_better else "lower is better"
        words = f"{ruler.unit}, {better}" if ruler.unit else better
        if found.definitions[name]:
            words += f"\n{found.definitions[name]}"
        value = next((scores[name] for scores in found.images.values() if name in scores), found.sets.get(name))
        rows.append((name, found.shown(name, value), words))
    wide = max(len(value) for _, value, _ in rows)
    return common.columns([(name, value.rjust(wide), words) for name, value, words in rows], indent=0)


def table(found: Scores) -> str:
    """One line for each picture, one for the average; the rulers by their bare names."""
    single = [name for name in found.rulers if name not in found.sets]
    bare = [name.rpartition("/")[2] for name in single]
    titles = bare if len(set(bare)) == len(bare) else single
    rows = [[picture, *(found.shown(name, scores.get(name)) for name in single)] for picture, scores in found.images.items()]
    averages = {name: found.average(name) for name in found.rulers}
    rows.append([f"{MEAN} of {len(rows)}", *(found.shown(name, averages[name]["value"]) for name in single)])
    widths = [max(map(len, column)) for column in zip(["picture", *titles], *rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in (["picture", *titles], *rows)
    ]
    lines = [click.style(lines[0], bold=True), *lines[1:-1], click.style(lines[-1], bold=True)]
    for name, mean in averages.items():
        if mean["infinite"]:
            lines.append(f"{name}: {mean['infinite']} infinite (identical pictures), left out of the average")
        if name not in found.sets and mean["images"] + mean["infinite"] < len(found.images):
            lines.append(f"{name}: average of {mean['images']} only")
    lines += [f"{name}: {found.shown(name, value)}" for name, value in found.sets.items()]
    lines += [f"{name}: {definition}" for name, definition in found.definitions.items() if definition]
    return "\n".join(lines)


def report(found: Scores, images: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The rulers, what there is to say of each of the images, the averages and the problems, ready for JSON."""
    facts = ("higher_is_better", "needs_target", "unit")
    return {
        "metrics": {
            name: {**{fact: getattr(ruler, fact) for fact in facts}, "definition": found.definitions[name]}
            for name, ruler in found.rulers.items()
        },
        "images": images,
        MEAN: {name: found.average(name) for name in found.rulers},
        "problems": found.problems,
    }


def write_csv(path: Path, found: Scores) -> None:
    """A row for each picture and one for the averages, which also says what rulers say of themselves, in columns on the right."""
    from restorekit import files

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    said = {f"{name} definition": definition for name, definition in found.definitions.items() if definition}
    writer.writerow(["picture", *found.rulers, *said])
    for picture, scores in found.images.items():
        writer.writerow([picture, *(scores.get(name, "") for name in found.rulers), *([""] * len(said))])
    means = [found.average(name)["value"] for name in found.rulers]
    writer.writerow([MEAN, *("" if value is None else value for value in means), *said.values()])
    files.write(path, stream.getvalue().encode())
