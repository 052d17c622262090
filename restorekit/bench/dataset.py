"""The files of a suite: which pictures there must be, whether they are the right ones, and which belongs to which."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from restorekit import photos
from restorekit.errors import UserError
from restorekit.files import sha256
from restorekit.settings import BUNDLED

VARIABLE = "RESTOREKIT_DATA"
"""Environment variable that says where data sets lie."""

HOME = Path(__file__).parents[2].parent / "shared" / "data"
"""Where data sets lie unless `VARIABLE` or the caller says otherwise: ``../shared/data`` from a checkout."""

FIELD = re.compile(r"\{([a-z]+)\}")
PAIRED = ("input", "target", "pairs", "targets")


@dataclass(frozen=True, kw_only=True)
class SuiteData:
    """Which photographs, and what of them is the target.

    Attributes:
        images: folder, searched recursively and relative to the suite's file, or ``bundled``: the
            photographs inside scikit-image.
        dataset: folder under the data folder (``--data``) instead of `images`.
        origin: who made the data set and where it is described, for those who have to get it.
        checksums: file beside the suite with the SHA-256 and the path of every picture, as ``sha256sum`` writes it.
        count: how many pictures, or pairs, there must be.
        input: path of a damaged picture in the folder, with ``{name}`` for each part that varies:
            the pictures are damaged already, and `target` says which picture is sharp.
        target: path of the sharp picture; a ``{name}`` that `input` does not have stands for several
            targets, of which the best counts.
        pairs: instead of the two, a file in the folder with the paths of a target and of its input on each line.
        targets: how many sharp pictures there must be, where an input has several.
        longest_side: larger photographs are reduced to this, in pixels; null leaves them as they are.
        crop: largest height and width of the target, cut from the middle; null takes all but the
            margin that the degradations need, so that no blur sees an invented border.
    """

    images: str | None = None
    dataset: str | None = None
    origin: str = ""
    checksums: str | None = None
    count: Annotated[int, Ge(1)] | None = None
    input: str | None = None
    target: str | None = None
    pairs: str | None = None
    targets: Annotated[int, Ge(1)] | None = None
    longest_side: Annotated[int, Ge(16)] | None = None
    crop: Annotated[int, Ge(16)] | None = None

    def __post_init__(self) -> None:
        if (self.images is None) == (self.dataset is None):
            raise ValueError("give images (a folder, or bundled) or dataset (a folder under the data folder), one of the two")
        if (self.input is None) != (self.target is None):
            raise ValueError("input and target belong together: give both")
        if self.pairs is not None and self.input is not None:
            raise ValueError("give input and target, or pairs, not both")
        if self.paired and self.images == BUNDLED:
            raise ValueError("the bundled photographs are sharp and have no damaged counterparts; leave input, target and pairs out")
        if self.paired and self.longest_side is not None:
            raise ValueError("longest_side: pictures that are damaged already are not reduced, which would change the damage")
        if self.targets is not None and not self.paired:
            raise ValueError("targets: only for pictures that are damaged already")

    @property
    def paired(self) -> bool:
        """Whether the pictures are damaged already and have targets of their own."""
        return self.input is not None or self.pairs is not None


@dataclass(frozen=True)
class Source:
    """A picture of a suite.

    Attributes:
        name: path inside the folder, or the name of a bundled photograph.
        image: the file: a sharp photograph, or a damaged picture where there are `targets`.
        targets: sharp pictures; none where `image` is the target itself.
    """

    name: str
    image: Path
    targets: tuple[Path, ...] = ()

    def digest(self) -> str:
        """SHA-256 of the files' SHA-256."""
        whole = hashlib.sha256()
        for path in (self.image, *self.targets):
            whole.update(sha256(path).encode())
        return whole.hexdigest()


def home(given: Path | None = None) -> Path:
    """The data folder: as given, from the environment variable `VARIABLE`, or `HOME`."""
    return given or Path(os.environ.get(VARIABLE) or HOME)


def find(data: SuiteData, folder: Path | None, beside: Path) -> dict[str, Source]:
    """Every picture of a suite by name, known to be complete and right.

    Args:
        data: which.
        folder: where; None for the bundled photographs.
        beside: folder of the suite's file, where the list of checksums is.

    Raises:
        UserError: no folder, no pictures, or missing, extra and changed files, all of them named.
    """
    if folder is None:
        found = {name: Source(name, path) for name, path in photos.bundled().items()}
        if not found:
            raise UserError("the installed scikit-image brings no photographs: pip install --force-reinstall scikit-image")
        return found
    check_there(data, folder)
    problems: list[str] = []
    if data.pairs is not None:
        found = {source.name: source for source in _listed(folder, data.pairs, problems)}
    elif data.input is not None and data.target is not None:
        found = {source.name: source for source in _matching(folder, data.input, data.target, problems)}
        if not found:
            raise UserError(f"{folder}: no pictures {data.input} in this folder.{_get(data)}")
    else:
        found = {path.relative_to(folder).as_posix(): Source(path.relative_to(folder).as_posix(), path) for path in photos.find([folder])}
    if data.checksums is not None:
        problems += _compared(folder, beside / data.checksums, found)
    if data.count is not None and len(found) != data.count:
        problems.append(f"{len(found)} pictures; the data set has {data.count}")
    targets = sum(len(source.targets) for source in found.values())
    if data.targets is not None and targets != data.targets:
        problems.append(f"{targets} sharp pictures; the data set has {data.targets}")
    if problems:
        raise UserError("\n".join(f"{folder}: {problem}" for problem in problems) + _get(data))
    return found


def check_there(data: SuiteData, folder: Path) -> None:
    """Raise a `UserError` unless there is such a folder."""
    if folder.is_dir():
        return
    if data.dataset is None:
        raise UserError(f"{folder}: no such folder")
    raise UserError(
        f"{folder}: no such folder, and this suite needs the data set in it. Say where your data sets lie with --data DIR or "
        f"the environment variable {VARIABLE}; this one is looked for in DIR/{data.dataset}.{_get(data)}"
    )


def _get(data: SuiteData) -> str:
    return f"\nThe data set: {data.origin}" if data.origin else ""


def _compared(folder: Path, listing: Path, found: dict[str, Source]) -> list[str]:
    """What differs from the list of checksums."""
    try:
        lines = [line.split(maxsplit=1) for line in listing.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as fault:
        raise UserError(f"{listing}: the list of checksums cannot be read: {fault}") from fault
    if any(len(line) != 2 or not re.fullmatch(r"[0-9a-f]{64}", line[0]) for line in lines):
        raise UserError(f"{listing}: expected lines such as sha256sum writes: 64 hexadecimal digits and a path")
    wanted = {path.removeprefix("*").strip(): digest for digest, path in lines}
    problems = [f"{path} is missing" for path in sorted(wanted) if not (folder / path).is_file()]
    problems += [f"{name} is not of the data set" for name in sorted(found) if name not in wanted]
    there = [path for path in sorted(wanted) if (folder / path).is_file()]
    return problems + [f"{path} is not the right file: its SHA-256 differs" for path in there if sha256(folder / path) != wanted[path]]


def _listed(folder: Path, listing: str, problems: list[str]) -> Iterator[Source]:
    """The pairs of a list, whose lines begin with the paths of the target and of the input."""
    try:
        lines = (folder / listing).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        problems.append(f"{listing}, the list of pairs, is missing or not text")
        return
    for number, line in enumerate(lines, 1):
        paths = line.split()
        if not paths:
            continue
        if len(paths) < 2:
            problems.append(f"{listing}: line {number}: expected the paths of a target and of an input")
            continue
        target, image = paths[:2]
        problems += [f"{path} is missing" for path in (image, target) if not (folder / path).is_file()]
        yield Source(image, folder / image, (folder / target,))


def _matching(folder: Path, pattern: str, target: str, problems: list[str]) -> Iterator[Source]:
    shape = re.compile(_expression(pattern))
    for path in sorted(folder.glob(FIELD.sub("*", pattern))):
        name = path.relative_to(folder).as_posix()
        match = shape.fullmatch(name)
        if match is None:
            continue
        filled = target
        for field, text in match.groupdict().items():
            filled = filled.replace(f"{{{field}}}", text)
        sharp = sorted(folder.glob(FIELD.sub("*", _literal(filled)))) if FIELD.search(filled) else [folder / filled]
        if not sharp or not all(file.is_file() for file in sharp):
            problems.append(f"{filled}, the target of {name}, is missing")
        yield Source(name, path, tuple(sharp))


def _literal(pattern: str) -> str:
    """`pattern` for glob, with what glob would take for a wildcard made harmless."""
    return re.sub(r"[*?\[]", lambda sign: f"[{sign[0]}]", pattern)


def _expression(pattern: str) -> str:
    """A regular expression in which a repeated ``{name}`` must repeat its text."""
    seen: set[str] = set()
    parts = []
    for i, piece in enumerate(FIELD.split(pattern)):
        if i % 2 == 0:
            parts.append(re.escape(piece))
        else:
            parts.append(f"(?P={piece})" if piece in seen else f"(?P<{piece}>[^/]+)")
            seen.add(piece)
    return "".join(parts)
