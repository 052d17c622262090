"""How two results differ: in their protocol, or under one protocol in their methods and scores."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restorekit.bench import results


@dataclass(frozen=True)
class Difference:
    """What two results have apart.

    Attributes:
        protocol: what differs between their protocols; empty where their scores compare.
        methods: what differs between methods of one name, and methods that only one has.
        scores: for each method of both, metric and degradation: mean of the differences (second minus first),
            the largest, and over how many images; only where the protocols agree.
    """

    protocol: tuple[str, ...]
    methods: tuple[str, ...]
    scores: tuple[tuple[str, str, str, float, float, int], ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.protocol and not self.methods and not any(largest for *_, largest, _ in self.scores)

    def text(self) -> str:
        """For people."""
        if self.protocol:
            lines = [
                "Another protocol: these scores do not compare. What differs (first and second):",
                *(f"  {line}" for line in self.protocol),
            ]
        else:
            lines = ["The same protocol: the scores compare."]
        if self.methods:
            lines += ["Methods:", *(f"  {line}" for line in self.methods)]
        moved = [line for line in self.scores if line[4]]
        if moved:
            lines.append("Scores, second minus first:")
            lines += [
                f"  {method}, {metric}, {name}: {mean:+.4g} on average, {largest:.4g} at most, over {count} images"
                for method, metric, name, mean, largest, count in moved
            ]
        elif self.scores:
            lines.append("No score differs.")
        return "\n".join(lines)


def diff(first: Path, second: Path) -> Difference:
    """Compare the results in two folders.

    Raises:
        UserError: no results in one of them, or damaged ones.
    """
    (one, rows), (other, more) = results.load(Path(first)), results.load(Path(second))
    lines = tuple(differences(one["ingredients"], other["ingredients"])) if one["protocol"] != other["protocol"] else ()
    return Difference(lines, tuple(_methods(one["methods"], other["methods"])), () if lines else tuple(_scores(rows, more)))


def _methods(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    lines = [f"{name}: only in the first" for name in one if name not in other]
    lines += [f"{name}: only in the second" for name in other if name not in one]
    keys = ("part", "options", "distribution", "version", "source", "network", "device", "precision", "threads")
    for name in one:
        if name in other and one[name]["fingerprint"] != other[name]["fingerprint"]:
            lines += [f"{name}: {line}" for line in differences(*({key: m[name][key] for key in keys} for m in (one, other)))]
    return lines


def _scores(rows: list[dict[str, Any]], more: list[dict[str, Any]]) -> list[tuple[str, str, str, float, float, int]]:
    values = {results.key(row): float(row["value"]) for row in more if row["status"] == results.OK}
    grouped: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        if row["status"] == results.OK and results.key(row) in values:
            mine, theirs = float(row["value"]), values[results.key(row)]
            if math.isfinite(mine) or math.isfinite(theirs):
                grouped.setdefault((row["method"], row["metric"], row["degradation"]), []).append(theirs - mine)
    return [(*place, math.fsum(found) / len(found), max(map(abs, found)), len(found)) for place, found in grouped.items()]


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What differs between the ingredients of two protocols: dotted places with both values, many images as a count."""
    found: list[str] = []
    for key in dict.fromkeys([*one, *other]):
        a, b = one.get(key), other.get(key)
        if a == b:
            continue
        if key in ("targets", "damaged", "seeds") and isinstance(a, Mapping) and isinstance(b, Mapping):
            found += _differing_names(key, a, b)
        else:
            found += _differing(key, a, b)
    return found


def _differing_names(key: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    lines = []
    for words, names in (
        ("only in the first", [name for name in one if name not in other]),
        ("only in the second", [name for name in other if name not in one]),
        ("different", [name for name in one if name in other and one[name] != other[name]]),
    ):
        if names:
            lines.append(f"{key}: {len(names)} {words}: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}")
    return lines


def _differing(place: str, one: Any, other: Any) -> list[str]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return [
            line
            for key in dict.fromkeys([*one, *other])
            if one.get(key) != other.get(key)
            for line in _differing(f"{place}.{key}", one.get(key), other.get(key))
        ]
    if isinstance(one, Sequence) and isinstance(other, Sequence) and not isinstance(one, str) and len(one) == len(other):
        return [line for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b for line in _differing(f"{place}.{i}", a, b)]
    return [f"{place}: {_shown(one)} and {_shown(other)}"]


def _shown(value: Any) -> str:
    return "absent" if value is None else json.dumps(value)
