"""Scores as they are made: one file for each restoration, named by all that it depends on.

A file is written whole or not at all, so that a run that is killed loses the restoration that it was
at, several processes can share one folder, and nothing is measured twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restorekit import files
from restorekit.bench.inputs import Cell
from restorekit.bench.protocol import sha
from restorekit.errors import UserError

FOLDER = "cells"

KEYS = {
    "method",
    "image",
    "degradation",
    "draw",
    "input",
    "output",
    "status",
    "reason",
    "scores",
    "seconds",
    "memory_mb",
    "warm_up_seconds",
    "environment",
}


class Store:
    """The restorations of one protocol.

    Args:
        out: folder of the results.
        protocol: hash of the protocol.
    """

    def __init__(self, out: Path, protocol: str) -> None:
        self._folder, self._protocol = out / FOLDER, protocol

    def file(self, method: str, fingerprint: str, cell: Cell) -> Path:
        """Where the restoration of `cell` by a method of this name and fingerprint is kept."""
        name = sha([self._protocol, method, fingerprint, cell.image, cell.degradation, cell.draw])
        return self._folder / f"{name}.json"

    def has(self, method: str, fingerprint: str, cell: Cell) -> bool:
        """Whether it has been made."""
        return self.file(method, fingerprint, cell).is_file()

    def put(self, method: str, fingerprint: str, cell: Cell, record: Mapping[str, Any]) -> None:
        """Keep a restoration's record."""
        files.write(self.file(method, fingerprint, cell), json.dumps(record, allow_nan=False).encode())

    def get(self, method: str, fingerprint: str, cell: Cell) -> dict[str, Any] | None:
        """The record, or None where there is none.

        Raises:
            UserError: the file is damaged.
        """
        file = self.file(method, fingerprint, cell)
        try:
            record = json.loads(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as fault:
            raise UserError(f"{file}: damaged: {fault}. Delete this file; the next run makes it again.") from fault
        if not isinstance(record, dict) or record.keys() != KEYS:
            raise UserError(f"{file}: no record of this version. Delete this file; the next run makes it again.")
        return record

    def forget(self, method: str, fingerprint: str, cell: Cell) -> None:
        """Remove a record."""
        self.file(method, fingerprint, cell).unlink(missing_ok=True)
