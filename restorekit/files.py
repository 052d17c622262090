"""Files read whole and written whole, with errors that say what to type instead."""

from __future__ import annotations

import hashlib
import itertools
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from restorekit.errors import ImageError, UserError, did_you_mean

TRAINED = "model.safetensors"
"""What a training leaves in its folder."""

NAMES_COMPARED = 5000
"""Names in a folder that a missing one is compared with; more would make the message slow."""


def missing(path: Path) -> str:
    """A message that `path` does not exist, with the nearest names beside it."""
    if path.is_symlink():
        return f"{path}: a link that leads nowhere, to {path.readlink()}"
    try:
        beside = [entry.name for entry in itertools.islice(path.parent.iterdir(), NAMES_COMPARED)]
    except OSError:
        return f"{path}: no such file, nor a folder {path.parent}"
    return f"{path}: no such file.{did_you_mean(path.name, beside)}"


def refuse_strange(path: Path) -> None:
    """Check that `path` is a plain file.

    Raises:
        ImageError: missing, a folder, a pipe or a device.
    """
    if path.is_dir():
        raise ImageError(f"{path}: a folder, expected a file")
    if not path.is_file():
        raise ImageError(f"{path}: not a plain file" if path.exists() else missing(path))


def content(path: Path) -> bytes:
    """The bytes of a plain file.

    Raises:
        ImageError: missing, a folder, empty or unreadable.
    """
    refuse_strange(path)
    try:
        with path.open("rb") as stream:
            before = os.fstat(stream.fileno())
            data = stream.read()
            after = os.fstat(stream.fileno())
    except OSError as fault:
        raise ImageError(f"{path}: cannot be read: {fault.strerror or fault}") from fault
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImageError(f"{path}: changed while it was read; try again when it is written whole")
    if not data:
        raise ImageError(f"{path}: the file is empty (0 bytes)")
    return data


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write(path: Path, data: bytes) -> None:
    """Write `data`, so that `path` holds all of it or what it held before.

    Raises:
        UserError: `path` is a folder or cannot be written.
    """
    with whole(path) as partial:
        partial.write_bytes(data)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file beside `path` to be written in the block, and renamed to `path` at its end; nothing is left of it where the block raises.

    Raises:
        UserError: `path` is a folder, or an `OSError` in the block.
    """
    if path.is_dir():
        raise UserError(f"{path}: a folder; give a file name")
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as fault:
        raise UserError(f"{path}: cannot be written: {fault.strerror or fault}. Choose another place") from fault
