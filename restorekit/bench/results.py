"""Results on disk: one row per score in ``rows.jsonl``, and ``manifest.json``, which says what was measured how."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from restorekit import files
from restorekit.errors import UserError

FORMAT = 1
ROWS = "rows.jsonl"
MANIFEST = "manifest.json"
LEADERBOARD = "leaderboard.md"

INFINITE = ("inf", "-inf")
"""How infinite values are written, because JSON has no numbers for them."""

ROW_KEYS: dict[str, type | tuple[type, ...]] = {
    "suite": str,
    "protocol": str,
    "image": str,
    "degradation": str,
    "method": str,
    "metric": str,
    "value": (int, float, str, type(None)),
    "status": str,
    "reason": str,
    "seconds": (int, float, type(None)),
}
"""Keys of a row and the types of their values."""

MANIFEST_KEYS = ("format", "suite", "content", "protocol", "ingredients", "inputs", "images", "degradations", "metrics", "methods")
"""Keys of the manifest; ``benchmarks/README.md`` describes them."""

METHOD_KEYS = (
    *("part", "options", "distribution", "version", "network", "device", "precision", "fingerprint", "blind", "uses"),
    *("paper", "licence", "environment", "seconds", "warm_up_seconds", "peak_memory_mb"),
)
"""Keys of each entry under ``methods``, likewise."""


def rows(folder: Path) -> list[dict[str, Any]]:
    """The scores in `folder`, one mapping per image, degradation, method and metric, with the keys `ROW_KEYS`.

    ``status`` is ``ok`` or ``failed``. A failed row has ``value`` None and a ``reason``; an infinite
    value is the text ``"inf"`` or ``"-inf"``.

    Raises:
        UserError: no results there, or a damaged file, with the line.
    """
    path = Path(folder) / ROWS
    found = []
    for number, line in enumerate(_text(path).removesuffix("\n").split("\n"), 1):  # splitlines would also split at U+2028
        try:
            row = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError) as fault:
            raise UserError(f"{path}: line {number}: not JSON: {fault}. {_REMEDY}") from fault
        wrong = _faults(row)
        if wrong:
            raise UserError(f"{path}: line {number}: {wrong}. {_REMEDY}")
        found.append(row)
    return found


def manifest(folder: Path) -> dict[str, Any]:
    """What the results in `folder` are, with the keys `MANIFEST_KEYS`.

    Raises:
        UserError: no results there, a damaged file, or one of another version of the format.
    """
    path = Path(folder) / MANIFEST
    try:
        found = json.loads(_text(path), parse_constant=_no_constant)
    except (ValueError, RecursionError) as fault:
        raise UserError(f"{path}: not JSON: {fault}. {_REMEDY}") from fault
    if not isinstance(found, dict) or "format" not in found:
        raise UserError(f"{path}: no manifest of restorekit bench. {_REMEDY}")
    if found["format"] != FORMAT:
        raise UserError(f"{path}: format {found['format']!r}; this version reads {FORMAT}. Try: pip install --upgrade restorekit")
    missing = [key for key in MANIFEST_KEYS if key not in found]
    if missing:
        raise UserError(f"{path}: {', '.join(missing)} missing. {_REMEDY}")
    for key, kind in (("methods", dict), ("metrics", dict), ("images", list), ("degradations", list)):
        if not isinstance(found[key], kind):
            raise UserError(f"{path}: {key}: got {found[key]!r}. {_REMEDY}")
    for method, entry in found["methods"].items():
        if not isinstance(entry, dict) or set(METHOD_KEYS) - entry.keys():
            raise UserError(f"{path}: methods: {method}: incomplete. {_REMEDY}")
    return found


def write(folder: Path, manifest: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write both files, each whole or not at all.

    The rows come first: a method counts as measured once the manifest names it, so that a run which
    is killed in between measures it again.

    Raises:
        UserError: the folder cannot be written.
    """
    lines = [json.dumps(row, allow_nan=False) for row in rows]
    files.write(folder / ROWS, "".join(f"{line}\n" for line in lines).encode())
    text = json.dumps(manifest, indent=1, allow_nan=False)
    files.write(folder / MANIFEST, f"{text}\n".encode())


def stored(value: float) -> float | str:
    """A value as rows hold it."""
    return value if math.isfinite(value) else str(value)


def load(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The manifest and the rows of its methods, in its order: methods, images, degradations, metrics.

    Rows of a method that the manifest does not name are left out: its run was killed while it wrote.

    Raises:
        UserError: no results, damaged files, or files that do not belong together.
    """
    about = manifest(folder)
    path = Path(folder) / ROWS
    by_cell = {}
    for row in rows(folder):
        if (row["suite"], row["protocol"]) != (about["suite"], about["protocol"]):
            raise UserError(f"{path}: has rows of suite {row['suite']}, protocol {row['protocol']}; the manifest says otherwise. {_REMEDY}")
        key = tuple(row[name] for name in ("method", "image", "degradation", "metric"))
        if key in by_cell:
            raise UserError(f"{path}: has two rows for {', '.join(key)}. {_REMEDY}")
        by_cell[key] = row
    wanted = list(itertools.product(about["methods"], about["images"], about["degradations"], about["metrics"]))
    absent = [key for key in wanted if key not in by_cell]
    if absent:
        raise UserError(f"{path}: {len(absent)} rows missing, the first for {', '.join(absent[0])}. {_REMEDY}")
    return about, [by_cell[key] for key in wanted]


_REMEDY = "Run the suite again with another --out."


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _text(path: Path) -> str:
    if not path.is_file():
        if path.parent.is_dir():
            raise UserError(f"{path.parent}: no results of restorekit bench: {path.name} is missing. Make them: restorekit bench run")
        raise UserError(files.missing(path.parent))
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise UserError(f"{path}: cannot be read: {fault}. {_REMEDY}") from fault


def _faults(row: object) -> str:
    """What is wrong with a row, or an empty string."""
    if not isinstance(row, dict):
        return f"got {row!r}; expected an object"
    differing = sorted(row.keys() ^ ROW_KEYS.keys())
    if differing:
        return f"missing or unknown: {', '.join(differing)}"
    for key, kinds in ROW_KEYS.items():
        if not isinstance(row[key], kinds) or isinstance(row[key], bool):
            return f"{key}: got {row[key]!r}"
    if row["status"] not in ("ok", "failed"):
        return f"status: got {row['status']!r}; expected ok or failed"
    scored = row["value"] is not None and (not isinstance(row["value"], str) or row["value"] in INFINITE)
    if scored != (row["status"] == "ok") or (row["value"] is not None and not scored):
        return f"value: got {row['value']!r} where the status is {row['status']}"
    if row["status"] == "failed" and not row["reason"]:
        return "reason: missing where the status is failed"
    return ""
