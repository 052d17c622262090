"""Whose file is whose: uploads and results in one folder, each for the visitor who brought or made it, and not for long."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from restorekit.errors import UserError

KEEP = 3600.0
"""Seconds after which a file is deleted."""

ROOM = 4 << 30
"""Bytes of all files together, above which nothing is taken in."""

VISITORS = 10_000
"""Most visitors that are remembered; the one who came first is forgotten first."""

TOKEN_BYTES = 24


@dataclass
class _Visitor:
    uploads: set[str] = field(default_factory=set)
    results: dict[str, Path] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)


class Store:
    """Files of the visitors, who are known by a secret that their browser keeps as a cookie.

    Args:
        folder: where everything lies; nothing else is ever served.
        keep: seconds after which a file is deleted.
        room: bytes of all files together at most.
    """

    def __init__(self, folder: Path, *, keep: float = KEEP, room: int = ROOM) -> None:
        self.folder, self.keep, self.room = folder, keep, room
        self._visitors: dict[str, _Visitor] = {}
        self._lock = threading.Lock()

    def known(self, visitor: str) -> bool:
        """Whether `visitor` is one that `welcome` named."""
        return visitor in self._visitors

    def welcome(self) -> str:
        """The secret of a new visitor."""
        visitor = secrets.token_urlsafe(TOKEN_BYTES)
        with self._lock:
            self._visitors[visitor] = _Visitor()
            while len(self._visitors) > VISITORS:
                del self._visitors[next(iter(self._visitors))]
        return visitor

    def brought(self, visitor: str, path: str) -> None:
        """Remember that `visitor` uploaded the file `path`."""
        with self._lock:
            if visitor in self._visitors:
                self._visitors[visitor].uploads.add(path)

    def may_see(self, visitor: str, path: str) -> bool:
        """Whether `path`, exactly as it was given out, is an upload of this visitor."""
        one = self._visitors.get(visitor)
        return one is not None and path in one.uploads

    def upload(self, visitor: str, path: str) -> Path:
        """An upload of this visitor.

        Raises:
            UserError: it is not, or it has been deleted.
        """
        if not self.may_see(visitor, path) or not Path(path).is_file():
            raise UserError(f"the upload is no longer there; files are deleted after {self.keep / 60:.0f} minutes. Drop it again")
        return Path(path)

    def place(self, visitor: str) -> tuple[str, Path]:
        """An empty folder for what is made for `visitor`, and its name.

        Raises:
            UserError: a visitor who is not known any more.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        folder = self.folder / "results" / token
        with self._lock:
            if visitor not in self._visitors:
                raise UserError("load the page again: it was started anew meanwhile, or your browser keeps no cookies")
            self._visitors[visitor].results[token] = folder
        folder.mkdir(parents=True)
        return token, folder

    def result(self, visitor: str, token: str, name: str) -> Path | None:
        """A file that was made for this visitor; None where there is none, or it is somebody else's."""
        one = self._visitors.get(visitor)
        folder = one.results.get(token) if one is not None else None
        if folder is None or not name or Path(name).name != name or name.startswith("."):
            return None
        file = folder / name
        return file if file.is_file() else None

    def stop(self, visitor: str) -> threading.Event:
        """What is set when the visitor asks to stop."""
        one = self._visitors.get(visitor)
        return one.stop if one is not None else threading.Event()

    def stop_all(self) -> None:
        """Ask everything that iterates to stop."""
        for one in list(self._visitors.values()):
            one.stop.set()

    def is_full(self) -> bool:
        """Whether there is no room for more uploads."""
        return sum(_size(file) for file in self.folder.rglob("*")) >= self.room

    def sweep(self, now: float | None = None) -> int:
        """Delete files older than `keep`, and forget whose they were; how many there were.

        Args:
            now: seconds since 1970; the time now if None.
        """
        before = (time.time() if now is None else now) - self.keep
        deleted = 0
        for path in sorted(self.folder.rglob("*"), reverse=True):  # what is inside a folder first
            with contextlib.suppress(OSError):
                if path.is_dir():
                    if path.stat().st_mtime < before:
                        path.rmdir()
                elif path.lstat().st_mtime < before:
                    path.unlink()
                    deleted += 1
        with self._lock:
            for one in self._visitors.values():
                one.uploads = {path for path in one.uploads if Path(path).exists()}
                one.results = {token: folder for token, folder in one.results.items() if folder.exists()}
        return deleted


def _size(file: Path) -> int:
    try:
        return file.lstat().st_size
    except OSError:
        return 0
