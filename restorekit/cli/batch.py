"""Many pictures: what is written where, and going on past those that fail."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from restorekit.cli import common
from restorekit.errors import UserError

if TYPE_CHECKING:
    from restorekit.cli.watching import Watching


@dataclass(frozen=True)
class Job:
    """One picture.

    Attributes:
        source: the file to read.
        target: the file to write.
        inside: path of the picture within the folder that it was found in; its name for a file.
    """

    source: Path
    target: Path
    inside: Path


@dataclass(frozen=True)
class Done:
    """What became of a batch.

    Attributes:
        rows: one object per picture, for ``--json``.
        code: 0, or 2 where a picture failed.
    """

    rows: list[dict[str, Any]]
    code: int


def plan(sources: Sequence[Path], out: Path) -> list[Job]:
    """What is to be written where.

    Args:
        sources: files, and folders that are searched for pictures at any depth.
        out: a file for one file with an image suffix, otherwise a folder.

    Raises:
        UserError: a folder without pictures, two pictures with one target, a target that is an input, or an output that
            cannot be written. Files that do not exist fail in their turn.
    """
    from restorekit import files, photos

    if len(sources) == 1 and not sources[0].is_dir() and out.suffix.lower() in photos.SUFFIXES and not out.is_dir():
        if not sources[0].exists():
            raise UserError(files.missing(sources[0]))
        jobs = [Job(sources[0], out, Path(sources[0].name))]
        folder = out.parent
    else:
        if len(sources) == 1 and not sources[0].exists():
            raise UserError(files.missing(sources[0]))
        jobs = [Job(file, out / inside, inside) for source in sources for file, inside in _found(source, out)]
        folder = out
    _refuse_clashes(jobs)
    refuse_unwritable(folder)
    return jobs


def _found(source: Path, out: Path) -> list[tuple[Path, Path]]:
    """The pictures of one input, each with its path inside the output."""
    if not source.is_dir():
        return [(source, Path(source.name))]
    from restorekit import photos

    found = [(file, file.relative_to(source)) for file in photos.find([source])]
    results = out.resolve()
    if results == source.resolve():
        return found
    kept = [(file, inside) for file, inside in found if results not in file.resolve().parents]
    if not kept:
        raise UserError(f"{source}: no pictures in this folder but those in {out}")
    return kept


def _refuse_clashes(jobs: Sequence[Job]) -> None:
    inputs = {job.source.resolve() for job in jobs}
    identities = {(stat.st_dev, stat.st_ino) for path in inputs if (stat := _stat(path))}
    taken: dict[Path, Path] = {}
    for job in jobs:
        target = job.target.resolve()
        stat = _stat(target)
        if target in inputs or (stat and (stat.st_dev, stat.st_ino) in identities):
            raise UserError(f"{job.target}: an input; results are never written over inputs. Choose another output with -o")
        other = taken.setdefault(target, job.source)
        if other is not job.source:
            if other.resolve() == job.source.resolve():
                raise UserError(f"{job.source}: given twice")
            raise UserError(
                f"{other} and {job.source} would both be written to {job.target}. "
                "Give the folder above them, whose structure is kept, or restore them into two folders"
            )


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


def run(
    jobs: Sequence[Job],
    work: Callable[[Job], tuple[int, int]],
    *,
    doing: str,
    facts: Mapping[str, Any],
    quiet: bool = False,
    watching: Watching | None = None,
) -> Done:
    """Do the work for every picture, whatever becomes of the others.

    Args:
        jobs: from `plan`.
        work: reads, computes and writes one picture, and returns its width and height.
        doing: what is being done, for the progress bar.
        facts: what every row says besides.
        quiet: print no line per picture.
        watching: what listens to an iterative method, which then says on the bar how far it is.

    Raises:
        KeyboardInterrupt: after the picture during which it was asked for, which has been written.
        Exception: a fault of the program where there is only one picture.
    """
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    with common.progress(doing, len(jobs)) as steps:
        if watching is not None:
            watching.steps = steps
        for job in jobs:
            steps.move(f"{doing} {job.source.name}")
            start = time.perf_counter()
            row: dict[str, Any] = {"input": str(job.source), "output": str(job.target)}
            try:
                width, height = work(job)
            except Exception as fault:
                message = _failure(job, fault, alone=len(jobs) == 1)
                failures.append(message)
                row |= {"output": None, "seconds": _since(start), "width": None, "height": None, **facts, "error": message}
            else:
                row |= {"seconds": _since(start), "width": width, "height": height, **facts}
                if not quiet:
                    steps.say(f"{job.source} -> {job.target}  {width}×{height}, {row['seconds']:.1f} s")
            rows.append(row)
            steps.move(f"{doing} {job.source.name}", 1)
            if watching is not None and watching.interrupt.asked:
                raise KeyboardInterrupt
    if failures:
        if len(jobs) > 1:
            click.echo(f"error: {len(failures)} of {len(jobs)} pictures failed:", err=True)
        for message in failures:
            click.echo(f"  {message}" if len(jobs) > 1 else f"error: {message}", err=True)
    return Done(rows, 2 if failures else 0)


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 3)


def _failure(job: Job, fault: Exception, *, alone: bool) -> str:
    """The message for a picture that failed; raises what is no fault of the picture where it is the only one."""
    import torch

    if isinstance(fault, MemoryError | torch.OutOfMemoryError):
        message = "not enough memory for this picture; make it smaller, or choose another --device"
    elif isinstance(fault, UserError | OSError) or not alone:
        message = common.explain(fault)
    else:
        raise fault
    if common.state().debug:
        common.show_traceback(fault)
    message = " ".join(message.split())
    return message if str(job.source) in message else f"{job.source}: {message}"
