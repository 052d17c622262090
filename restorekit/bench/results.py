"""Results on disk: one row per score in ``rows.jsonl``, and ``manifest.json``, which says what was measured how."""

from __future__ import annotations

import gzip
import itertools
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from restorekit import files
from restorekit.errors import UserError

FORMAT = 2
ROWS = "rows.jsonl"
PACKED = ".gz"
"""What the name of the rows may end with besides, where they are kept compressed."""

MANIFEST = "manifest.json"
LEADERBOARD = "leaderboard.md"
PAGE = "leaderboard.html"
PUBLISHED = (LEADERBOARD, PAGE)

OK, FAILED, INAPPLICABLE = "ok", "failed", "not applicable"
STATUSES = (OK, FAILED, INAPPLICABLE)
"""Of a row; `INAPPLICABLE` where the method needs what the damage does not come with, such as a mask."""

INFINITE = ("inf", "-inf")
"""How infinite values are written, because JSON has no numbers for them."""

ROW_KEYS: dict[str, type | tuple[type, ...]] = {
    "suite": str,
    "protocol": str,
    "image": str,
    "degradation": str,
    "draw": int,
    "method": str,
    "metric": str,
    "value": (int, float, str, type(None)),
    "status": str,
    "reason": str,
    "seconds": (int, float, type(None)),
    "memory_mb": (int, float, type(None)),
}
"""Keys of a row and the types of their values."""

MEASURED = ("seconds", "memory_mb")
"""Keys whose values differ from run to run."""

MANIFEST_KEYS = (
    *("format", "suite", "content", "protocol", "ingredients", "files", "inputs", "images", "degradations", "draws", "gives"),
    *("metrics", "shard", "methods"),
)
"""Keys of the manifest; ``benchmarks/README.md`` describes them."""

METHOD_KEYS = (
    *("part", "options", "distribution", "version", "source", "network", "device", "precision", "threads", "fingerprint"),
    *("blind", "uses", "paper", "licence", "environments", "seconds", "warm_up_seconds", "peak_memory_mb"),
)
"""Keys of each entry under ``methods``, likewise."""

Key = tuple[str, str, str, int, str]
"""Method, image, degradation, draw and metric of a row."""


def rows(folder: Path) -> list[dict[str, Any]]:
    """The scores in `folder`, one mapping per image, degradation, method and metric, with the keys `ROW_KEYS`.

    ``status`` is one of `STATUSES`. A row that is not ``ok`` has ``value`` None and a ``reason``; an
    infinite value is the text ``"inf"`` or ``"-inf"``.

    Raises:
        UserError: no results there, or a damaged file, with the line.
    """
    path = Path(folder) / ROWS
    text = _text(path if path.exists() or not _packed(path).exists() else _packed(path))
    found = []
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], 1):  # splitlines would also split at U+2028
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
        remedy = _REMEDY if found["format"] in range(FORMAT) else "Try: pip install --upgrade restorekit"
        raise UserError(f"{path}: format {found['format']!r}; this version reads {FORMAT}. {remedy}")
    missing = [key for key in MANIFEST_KEYS if key not in found]
    if missing:
        raise UserError(f"{path}: {', '.join(missing)} missing. {_REMEDY}")
    kinds = {**dict.fromkeys(("methods", "metrics", "gives", "files", "inputs"), dict), "images": list, "degradations": list, "draws": int}
    for name, kind in kinds.items():
        if not isinstance(found[name], kind):
            raise UserError(f"{path}: {name}: got {found[name]!r}. {_REMEDY}")
    for method, entry in found["methods"].items():
        if not isinstance(entry, dict) or set(METHOD_KEYS) - entry.keys():
            raise UserError(f"{path}: methods: {method}: incomplete. {_REMEDY}")
    return found


def exist(folder: Path) -> bool:
    """Whether there are results, or a part of them."""
    return any((folder / name).exists() for name in (ROWS, ROWS + PACKED, MANIFEST))


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


def pack(source: Path, target: Path) -> None:
    """Copy results with the rows compressed; the same results give the same files.

    Raises:
        UserError: no results in `source`, or damaged ones.
    """
    load(source)
    files.write(_packed(target / ROWS), gzip.compress((source / ROWS).read_bytes(), mtime=0))
    files.write(target / MANIFEST, (source / MANIFEST).read_bytes())


def _packed(path: Path) -> Path:
    return path.with_name(path.name + PACKED)


def stored(value: float) -> float | str:
    """A value as rows hold it."""
    return value if math.isfinite(value) else str(value)


def key(row: Mapping[str, Any]) -> Key:
    """What there is one row for."""
    return row["method"], row["image"], row["degradation"], row["draw"], row["metric"]


def labels(about: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Image, degradation and draw of every cell that results of this manifest must have, in order; those of its shard if it has one."""
    every = list(itertools.product(about["images"], about["degradations"], range(about["draws"])))
    if about["shard"] is None:
        return every
    number, of = map(int, about["shard"].split("/"))
    return every[number - 1 :: of]


def load(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The manifest and the rows of its methods, in its order: methods, images, degradations, draws, metrics.

    Rows of a method that the manifest does not name are left out: its run was killed while it wrote.

    Raises:
        UserError: no results, damaged files, or files that do not belong together.
    """
    about = manifest(folder)
    path = Path(folder) / ROWS
    by_key: dict[Key, dict[str, Any]] = {}
    for row in rows(folder):
        if (row["suite"], row["protocol"]) != (about["suite"], about["protocol"]):
            raise UserError(f"{path}: has rows of suite {row['suite']}, protocol {row['protocol']}; the manifest says otherwise. {_REMEDY}")
        if key(row) in by_key:
            raise UserError(f"{path}: has two rows for {', '.join(map(str, key(row)))}. {_REMEDY}")
        by_key[key(row)] = row
    cells = labels(about)
    wanted: list[Key] = [(method, *cell, metric) for method in about["methods"] for cell in cells for metric in about["metrics"]]
    absent = [key for key in wanted if key not in by_key]
    if absent:
        raise UserError(f"{path}: {len(absent)} rows missing, the first for {', '.join(map(str, absent[0]))}. {_REMEDY}")
    return about, [by_key[key] for key in wanted]


_REMEDY = (
    f"Delete {ROWS} and {MANIFEST} there and run the suite again with this --out, which computes nothing twice that is in cells, "
    "or with another --out."
)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _text(path: Path) -> str:
    if not path.is_file():
        if path.parent.is_dir():
            raise UserError(f"{path.parent}: no results of restorekit bench: {path.name} is missing. Make them: restorekit bench run")
        raise UserError(files.missing(path.parent))
    try:
        return (gzip.decompress(path.read_bytes()) if path.suffix == PACKED else path.read_bytes()).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as fault:
        raise UserError(f"{path}: cannot be read: {fault}. {_REMEDY}") from fault


def _faults(row: object) -> str:
    """What is wrong with a row, or an empty string."""
    if not isinstance(row, dict):
        return f"got {row!r}; expected an object"
    differing = sorted(row.keys() ^ ROW_KEYS.keys())
    if differing:
        return f"missing or unknown: {', '.join(differing)}"
    for name, kinds in ROW_KEYS.items():
        if not isinstance(row[name], kinds) or isinstance(row[name], bool):
            return f"{name}: got {row[name]!r}"
    if row["status"] not in STATUSES:
        return f"status: got {row['status']!r}; expected {', '.join(STATUSES)}"
    scored = row["value"] is not None and (not isinstance(row["value"], str) or row["value"] in INFINITE)
    if scored != (row["status"] == OK) or (row["value"] is not None and not scored):
        return f"value: got {row['value']!r} where the status is {row['status']}"
    if row["status"] != OK and not row["reason"]:
        return f"reason: missing where the status is {row['status']}"
    return ""
