"""Joining results: the shards of one run, or runs of different methods under one protocol."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from restorekit import files
from restorekit.bench import cells, pictures, results, table, webpage
from restorekit.bench.difference import differences
from restorekit.bench.measure import summary
from restorekit.errors import UserError

Loaded = tuple[Path, dict[str, Any], list[dict[str, Any]]]
"""A folder, its manifest and its rows."""


def merge(out: Path, folders: Sequence[Path]) -> Path:
    """Join results into `out`, which gets rows, manifest, leaderboard, pictures and everything a later run goes on from.

    Args:
        out: folder for the whole; empty or not there.
        folders: results of one protocol. Each method must be measured on every image by one of them.

    Returns:
        Path of ``leaderboard.md``.

    Raises:
        UserError: damaged results, results of another protocol, two results that contradict each other, or
            images that nobody measured. Nothing is written then.
    """
    out = Path(out)
    if results.exist(out):
        raise UserError(f"{out}: holds results already; choose another folder for the whole")
    if not folders:
        raise UserError("nothing to join: name the folders of the shards")
    loaded: list[Loaded] = [(Path(folder), *results.load(Path(folder))) for folder in folders]
    about = _joined(loaded)
    rows = _rows(loaded, about)
    for method, entry in about["methods"].items():
        entry |= summary(row for row in rows if row["method"] == method)
    results.write(out, about, rows)
    for folder, _, _ in loaded:
        for name in (cells.FOLDER, pictures.FOLDER):
            if (folder / name).is_dir():
                shutil.copytree(folder / name, out / name, dirs_exist_ok=True)
    files.write(out / results.LEADERBOARD, table.leaderboard(out).encode())
    files.write(out / results.PAGE, webpage.page(out).encode())
    return out / results.LEADERBOARD


def _joined(loaded: Sequence[Loaded]) -> dict[str, Any]:
    """The manifest of the whole."""
    first, whole, _ = loaded[0]
    whole = {**whole, "shard": None, "methods": {}, "inputs": {}}
    for folder, about, _ in loaded:
        if about["protocol"] != whole["protocol"]:
            lines = differences(whole["ingredients"], about["ingredients"])
            raise UserError(
                f"{folder}: protocol {about['protocol'][:12]}, and {first} has {whole['protocol'][:12]}; their scores do not compare. "
                "What differs:\n" + "\n".join(f"  {line}" for line in lines)
            )
        for label, digest in about["inputs"].items():
            if whole["inputs"].setdefault(label, digest) != digest:
                raise UserError(f"{folder}: the damaged image {label} differs from that of the others: another machine made it otherwise")
        for method, entry in about["methods"].items():
            _join_method(whole["methods"], method, entry, folder)
    return whole


def _join_method(methods: dict[str, dict[str, Any]], method: str, entry: Mapping[str, Any], folder: Path) -> None:
    if method not in methods:
        methods[method] = {**entry, "environments": list(entry["environments"])}
        return
    known = methods[method]
    if known["fingerprint"] != entry["fingerprint"]:
        keys = ("part", "options", "version", "source", "network", "device", "threads")
        differing = ", ".join(key for key in keys if known[key] != entry[key])
        raise UserError(f"{folder}: {method} is not the method that the others measured (different: {differing})")
    known["environments"] += [machine for machine in entry["environments"] if machine not in known["environments"]]
    known["warm_up_seconds"] = max((s for s in (known["warm_up_seconds"], entry["warm_up_seconds"]) if s is not None), default=None)


def _rows(loaded: Sequence[Loaded], about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the whole, in its order; where two have the same row, that of the first."""
    by_key: dict[results.Key, dict[str, Any]] = {}
    for folder, _, rows in loaded:
        for row in rows:
            known = by_key.setdefault(results.key(row), row)
            same = ("value", "status", "reason")
            if [known[name] for name in same] != [row[name] for name in same]:
                raise UserError(
                    f"{folder}: {', '.join(map(str, results.key(row)))}: {row['value']}, and another of the folders has {known['value']}"
                )
    wanted: list[results.Key] = [
        (method, *cell, metric) for method in about["methods"] for cell in results.labels(about) for metric in about["metrics"]
    ]
    absent = [key for key in wanted if key not in by_key]
    if absent:
        shards = sorted({shard for _, found, _ in loaded if (shard := found["shard"]) is not None})
        have = f"; there are the shards {', '.join(shards)}" if shards else ""
        raise UserError(f"not the whole: {len(absent)} scores are missing, the first for {', '.join(map(str, absent[0]))}{have}")
    return [by_key[key] for key in wanted]
