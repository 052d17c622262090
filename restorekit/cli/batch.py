"""Many pictures and clips: what is written where."""

from __future__ import annotations

import difflib
import glob
import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from restorekit.errors import UserError


@dataclass(frozen=True)
class Job:
    """One picture or clip.

    Attributes:
        source: the file to read.
        target: the file to write.
        inside: path of the picture within the folder that it was found in; its name for a file.
    """

    source: Path
    target: Path
    inside: Path

    @property
    def is_clip(self) -> bool:
        """Whether it is one of video."""
        from restorekit import clips

        return clips.is_clip(self.source)


def plan(sources: Sequence[Path], out: Path, *, suffix: str | None = None, clips: bool = False) -> list[Job]:
    """What is to be written where.

    Args:
        sources: files, folders that are searched for pictures at any depth, and patterns such as ``holiday/**/*.jpg``.
        out: a file for one file with an image suffix, otherwise a folder.
        suffix: of the results in a folder, such as ``.png``; each input's own if None.
        clips: look for clips of video too.

    Raises:
        UserError: a folder or a pattern without pictures, two pictures with one target, a target that is an input, an
            output that cannot be written, or a clip that would become a picture or the reverse. Files that do not exist fail in
            their turn.
    """
    from restorekit import clips as video
    from restorekit import files, photos

    known = photos.SUFFIXES + (video.SUFFIXES if clips else ())
    alone = len(sources) == 1 and not sources[0].is_dir()
    if alone and not sources[0].exists() and not _is_pattern(sources[0]):
        raise UserError(files.missing(sources[0]))
    one = alone and not _is_pattern(sources[0]) and not out.is_dir()
    ending = out.suffix.lower()
    if one and ending not in video.SUFFIXES:
        refuse_other_format(out, known)
    if not one and not out.is_dir() and ending in known:
        raise UserError(f"{out}: the name of one file, and there may be several results; give a folder, such as -o {out.with_suffix('')}/")
    if one and ending in known:
        if suffix is not None and ending != suffix:
            raise UserError(f"{out}: the name says another format than --format {suffix[1:]}; leave --format out, or change the name")
        jobs = [Job(sources[0], out, Path(sources[0].name))]
        folder = out.parent
    else:
        there = [pair for source in sources for pair in _found(source, out, known)]
        found = [(file, inside.with_suffix(suffix) if suffix else inside) for file, inside in there]
        jobs = [Job(file, out / inside, inside) for file, inside in found]
        folder = out
    for job in jobs:
        if job.is_clip and not clips:
            raise UserError(f"{job.source}: a clip of video, and this command takes pictures; clips are for restorekit restore")
        if job.is_clip != video.is_clip(job.target):
            a, b = ("clip", "picture") if job.is_clip else ("picture", "clip")
            raise UserError(f"{job.source} -> {job.target}: a {b} cannot be made of a {a}; choose another suffix, or restore it on its own")
    _refuse_clashes(jobs)
    refuse_unwritable(folder)
    return jobs


def refuse_other_format(out: Path, known: Sequence[str]) -> None:
    """Check that `out`, if it is no folder yet, is not named like a picture of a format that is not among `known`."""
    ending = out.suffix.lower()
    near = difflib.get_close_matches(ending, known, cutoff=0.7)
    if near and ending not in known and not out.is_dir():
        raise UserError(
            f"{out}: {ending} is no format that can be written. Did you mean {' or '.join(near)}? For a folder of this name, make it first"
        )


def settle_existing(jobs: Sequence[Job], *, skip: bool, overwrite: bool) -> list[Job]:
    """The jobs to be done, where results may be there already.

    Args:
        jobs: from `plan`.
        skip: leave what is there.
        overwrite: replace it.

    Raises:
        UserError: there are results and neither was asked for, or both were.
    """
    if skip and overwrite:
        raise UserError("--skip-existing and --overwrite: give one of the two")
    there = {job.target for job in jobs if os.path.lexists(job.target)}
    if there and not skip and not overwrite:
        first = next(job.target for job in jobs if job.target in there)
        many = f"there already, and {len(there) - 1} more" if len(there) > 1 else "there already"
        raise UserError(f"{first}: {many}. To replace: --overwrite. To leave what is there and do the rest: --skip-existing")
    return [job for job in jobs if not skip or job.target not in there]


def refuse_existing(files: Iterable[Path], option: str, *, overwrite: bool) -> None:
    """Check that none of `files`, named by `option`, is there, unless they may be replaced.

    Raises:
        UserError: one is there.
    """
    there = next((file for file in files if os.path.lexists(file)), None)
    if there is not None and not overwrite:
        raise UserError(f"{option} {there}: there already. To replace: --overwrite")


def settle_side_files(sides: Sequence[tuple[str, Path]], planned: Sequence[Job], *, overwrite: bool) -> None:
    """Check what is written beside the results.

    Args:
        sides: the option that asks for it, and the file; for the jobs that are to be done.
        planned: all jobs, whose inputs and results are not to be touched.
        overwrite: replace such files where they are there.

    Raises:
        UserError: one is an input, a result or asked for twice, or there already and not to be replaced.
    """
    taken = {real(job.source): "an input" for job in planned} | {real(job.target): "a result" for job in planned}
    there = []
    for option, file in sides:
        place = real(file)
        if place in taken:
            raise UserError(f"{file}: {option} would write over {taken[place]} of that name; rename it, or leave {option} out")
        taken[place] = f"another file of {option}"
        there += [(option, file)] if os.path.lexists(file) and not overwrite else []
    if there:
        option, file = there[0]
        many = f"there already, and {len(there) - 1} more" if len(there) > 1 else "there already"
        raise UserError(f"{file}: {many}. To replace what {option} writes: --overwrite")


def _is_pattern(source: Path) -> bool:
    return glob.has_magic(str(source)) and not os.path.lexists(source)


def _found(source: Path, out: Path, suffixes: tuple[str, ...]) -> list[tuple[Path, Path]]:
    """The pictures and clips of one input, each with its path inside the output."""
    from restorekit import photos

    if _is_pattern(source):
        fixed = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), source.parts[:-1]))
        matches = [(file, file.relative_to(fixed)) for file in sorted(fixed.glob(str(source.relative_to(fixed))))]
        shown = [(file, inside) for file, inside in matches if not any(part.startswith(".") for part in inside.parts)]
        found = [(file, inside) for file, inside in shown if inside.suffix.lower() in suffixes and not file.is_dir()]
        if not found:
            raise UserError(f"{source}: no picture matches; looked for {' '.join(suffixes)}")
    elif not source.is_dir():
        return [(source, Path(source.name))]
    else:
        found = [(file, file.relative_to(source)) for file in photos.find([source], suffixes)]
    results = real(out)
    if results == real(source):
        return found
    kept = [(file, inside) for file, inside in found if results not in real(file).parents]
    if not kept:
        raise UserError(f"{source}: no pictures in this folder but those in {out}")
    return kept


def _refuse_clashes(jobs: Sequence[Job]) -> None:
    inputs = {real(job.source) for job in jobs}
    identities = {(stat.st_dev, stat.st_ino) for path in inputs if (stat := _stat(path))}
    taken: dict[Path, Path] = {}
    for job in jobs:
        target = real(job.target)
        stat = _stat(target)
        if target in inputs or (stat and (stat.st_dev, stat.st_ino) in identities):
            raise UserError(f"{job.target}: an input; results are never written over inputs. Choose another output with -o")
        other = taken.setdefault(target, job.source)
        if other is not job.source:
            if real(other) == real(job.source):
                raise UserError(f"{job.source}: given twice")
            raise UserError(
                f"{other} and {job.source} would both be written to {job.target}. "
                "Give the folder above them, whose structure is kept, or restore them into two folders"
            )


def real(path: Path) -> Path:
    """Where links lead; `Path.resolve` raises on those that lead in a circle."""
    return Path(os.path.realpath(path))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def refuse_unwritable(folder: Path, *, option: str = "") -> None:
    """Check that `folder` is one that can be written to, or can be made.

    Args:
        folder: for results.
        option: which named it, where that is not the output.

    Raises:
        UserError: it cannot.
    """
    said = f"{option} {folder}: " if option else ""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        why = "; it can be a file only for one picture, and with the suffix of an image" if there == folder and not option else ""
        raise UserError(f"{said}{there}: a file, and {'it' if option else 'the output'} must be a folder here{why}")
    if not os.access(there, os.W_OK):
        raise UserError(f"{said}{there}: no permission to write here; choose another {'folder' if option else 'output'}")
