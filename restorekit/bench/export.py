"""The leaderboard as numbers for other programs: CSV and JSON."""

from __future__ import annotations

import csv
import io
from typing import Any

from restorekit.bench import results
from restorekit.bench.board import Board


def standings(found: Board) -> list[dict[str, Any]]:
    """One mapping for each method, metric and degradation (``all`` for all of them together)."""
    lines = []
    for line in found.lines:
        entry = line.entry
        shared = {
            "suite": found.about["suite"],
            "protocol": found.about["protocol"],
            "rank": line.rank,
            "method": line.method,
            "blind": entry["blind"],
            "uses": " ".join(entry["uses"]),
        }
        costs = {
            "seconds": None if entry["seconds"] is None else entry["seconds"]["median"],
            "memory_mb": entry["peak_memory_mb"],
            "parameters": None if entry["network"] is None else entry["network"]["parameters"],
            "licence": entry["licence"],
            "paper": entry["paper"],
        }
        for metric, declared in found.about["metrics"].items():
            for column in found.columns:
                standing = line.standings[metric, column]
                mean, gain, record = standing.mean, standing.gain, standing.record
                names = list(line.missed) if column == found.columns[0] else [column]
                lines.append(
                    {
                        **shared,
                        "metric": metric,
                        "unit": declared["unit"],
                        "higher_is_better": declared["higher_is_better"],
                        "degradation": column,
                        "mean": None if mean is None else results.stored(mean.value),
                        "low": None if mean is None else mean.low,
                        "high": None if mean is None else mean.high,
                        "cells": 0 if mean is None else mean.cells,
                        "infinite": 0 if mean is None else mean.infinite,
                        "gain": None if gain is None else gain.value,
                        "gain_low": None if gain is None else gain.low,
                        "gain_high": None if gain is None else gain.high,
                        "gain_cells": 0 if gain is None else gain.cells,
                        "wins": None if record is None else record.wins,
                        "ties": None if record is None else record.ties,
                        "losses": None if record is None else record.losses,
                        "failed": sum(line.missed[name][results.FAILED] for name in names),
                        "not_applicable": sum(line.missed[name][results.INAPPLICABLE] for name in names),
                        **costs,
                    }
                )
    return lines


def csv_text(found: Board) -> str:
    """`standings` as CSV with a header."""
    lines = standings(found)
    stream = io.StringIO()
    if lines:
        writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return stream.getvalue()
