"""The folder of a run: may it be used, and what is said when it cannot be written to any longer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from restorekit.engine import checkpoint
from restorekit.errors import TrainingError
from restorekit.files import TRAINED


def check(out: str | Path | None, *, resume: bool, init: bool) -> Path | None:
    """The folder as a path, after everything that can be told without writing.

    Raises:
        TrainingError: it holds a run already, holds none to resume, or cannot be written to.
    """
    if resume and out is None:
        raise TrainingError("resume: give the folder with the checkpoint (out)")
    if resume and init:
        raise TrainingError("--resume goes on with the weights of the checkpoint, --init starts from others; give one of them")
    if out is None:
        return None
    folder = Path(out)
    if not resume and checkpoint.there(folder):
        raise TrainingError(f"{folder}: holds a run already. Add --resume to go on with it, or choose another folder with --out")
    if not resume and (folder / TRAINED).exists():
        raise TrainingError(f"{folder}: holds a model already, which would be replaced. Choose another folder with --out")
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise TrainingError(f"{folder}: cannot be a folder: {existing} is a file. Choose another with --out")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise TrainingError(f"{folder}: cannot be written: no permission in {existing}. Choose another folder with --out")
    return folder


@contextlib.contextmanager
def told(folder: Path | None) -> Iterator[None]:
    """Turn a failure to write, such as a full disk, into a message that says how to go on."""
    try:
        yield
    except OSError as fault:
        if folder is None:
            raise
        cause = f"{fault.filename}: {fault.strerror}" if fault.filename else fault.strerror or str(fault)
        last = f"{folder / checkpoint.NAME} is whole" if checkpoint.there(folder) else "there is no checkpoint yet"
        raise TrainingError(f"stopped: {cause}; {last}. Make room or give the right to write, then add --resume to go on") from fault
