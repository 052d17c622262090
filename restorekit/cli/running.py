"""Many pictures and clips: decoding, computing and encoding at the same time, and going on past those that fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from restorekit.cli import common
from restorekit.cli.batch import Job
from restorekit.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from restorekit.cli.common import Steps
    from restorekit.cli.watching import Watching
    from restorekit.clips import Made
    from restorekit.photos import Photo

Tell = Callable[[str, float], None]
"""Takes words for the progress bar, and the share of the picture or clip that is done."""

LARGE = 12_000_000
"""Pixels above which a picture has the memory for itself: the next is not decoded beside it, nor the last one encoded."""


@dataclass(frozen=True)
class Work:
    """What is done with each picture.

    Attributes:
        compute: makes the result, in the main thread.
        write: writes it, in another thread.
        keeps_input: whether `write` looks at the picture that was read; otherwise only at what is known of it, and the pixels
            are given back before.
        clip: reads, restores and writes one of video, in the main thread.
    """

    compute: Callable[[Job, Photo, Tell], Tensor]
    write: Callable[[Job, Photo, Tensor], None]
    keeps_input: bool = False
    clip: Callable[[Job, Tell], Made] | None = None


def run(
    jobs: Sequence[Job],
    work: Work,
    *,
    doing: str,
    facts: Mapping[str, Any],
    as_json: bool = False,
    watching: Watching | None = None,
) -> int:
    """Do the work for every picture, whatever becomes of the others.

    Args:
        jobs: from `batch.plan`.
        work: what to do.
        doing: what is being done, for the progress bar.
        facts: what every line of JSON says besides.
        as_json: print a JSON object per picture, as soon as it is done, instead of a line of text.
        watching: what listens to an iterative method, which then says on the bar how far it is.

    Returns:
        0, or 2 where a picture failed.

    Raises:
        KeyboardInterrupt: after whatever was being written has been written whole.
        Exception: a fault of the program where there is only one picture.
    """
    failures: list[str] = []
    pixels, ended, began = 0, 0, time.perf_counter()

    def say(job: Job) -> str:
        rate = f"{pixels / 1e6 / max(1e-6, time.perf_counter() - began):.2f} Mpx/s  " if pixels else ""
        return f"{rate}{doing} {job.source.name}"

    def finish(done: _Doing) -> None:
        """Wait until it is written and say what became of it."""
        nonlocal pixels, ended
        row: dict[str, Any] = {"input": str(done.job.source), "output": str(done.job.target)}
        try:
            height, width = done.result()
        except Exception as fault:
            message = _failure(done.job, fault, alone=len(jobs) == 1)
            failures.append(message)
            row |= {"output": None, "seconds": round(done.seconds, 3), "width": None, "height": None, **facts, "error": message}
        else:
            pixels += done.pixels
            row |= {"seconds": round(done.seconds, 3), "width": width, "height": height, **facts}
            frames = ""
            if done.made is not None:
                row |= {"frames": done.made.frames, "notes": done.made.notes}
                frames = f", {done.made.frames} frames"
                for note in done.made.notes:
                    common.warn(f"{done.job.source}: {note}")
            if not as_json:
                by = f", {facts['engine']} {facts['precision']}" if facts.get("engine") else ""
                stopped = watching.stopped.get(done.job.target) if watching is not None else None
                so_far = f", stopped after {stopped[0]} of {stopped[1]} steps" if stopped else ""
                steps.say(f"{done.job.source} -> {done.job.target}  {width}×{height}{frames}, {row['seconds']:.1f} s{by}{so_far}")
        if as_json:
            common.emit_line(row)
        ended += 1
        steps.move(say(done.job), 1 - done.share)

    with common.progress(doing, len(jobs)) as steps, ThreadPoolExecutor(1) as readers, ThreadPoolExecutor(1) as writers:
        if watching is not None:
            watching.steps = steps
        before: _Doing | None = None
        try:
            for doing_now in _read(jobs, readers):
                steps.move(say(doing_now.job))
                if before is not None and (max(before.pixels, doing_now.pixels) > LARGE or doing_now.job.is_clip):
                    finish(before)
                    before = None
                doing_now.go(work, writers, steps)
                if before is not None:
                    finish(before)
                before = doing_now
                if watching is not None and watching.interrupt.asked:
                    raise KeyboardInterrupt
            if before is not None:
                finish(before)
        except KeyboardInterrupt:
            if before is not None and before.written is not None:
                finish(before)
            if len(jobs) > 1:
                common.tell(f"{ended} of {len(jobs)} done; with --skip-existing the same command does the rest")
            raise
    if failures:
        if len(jobs) > 1:
            click.echo(f"error: {len(failures)} of {len(jobs)} pictures failed:", err=True)
        for message in failures:
            click.echo(f"  {message}" if len(jobs) > 1 else f"error: {message}", err=True)
    return 2 if failures else 0


def by_tiles(job: Job, tell: Tell, *, passes: int) -> Callable[[int, int], None]:
    """Says on the bar how far one large picture is.

    Args:
        job: which.
        tell: moves the bar.
        passes: how often the picture is gone through.
    """
    ended = 0

    def told(done: int, tiles: int) -> None:
        nonlocal ended
        if passes * tiles > 1:
            words = f"tile {done} of {tiles}, {job.source.name}"
            tell(words, min(1.0, (ended + done / tiles) / passes))  # a grey network takes each channel by itself: three times as many
        ended += done == tiles

    return told


class _Doing:
    """One picture or clip on its way."""

    def __init__(self, job: Job, start: float, photo: Photo | Exception | None) -> None:
        self.job = job
        self.seconds = time.perf_counter() - start  # that it has been worked on, without waiting for its turn
        self.photo: Photo | None = None if isinstance(photo, Exception) else photo
        self.fault = photo if isinstance(photo, Exception) else None
        self.pixels = 0 if self.photo is None else self.photo.image[0, 0].numel()
        self.written: Future[None] | None = None
        self.size = (0, 0)
        self.share = 0.0
        self.made: Made | None = None

    def go(self, work: Work, writers: ThreadPoolExecutor, steps: Steps) -> None:
        """Compute, and begin to write; a clip whole."""
        start = time.perf_counter()
        try:
            self._go(work, writers, steps)
        finally:
            self.seconds += time.perf_counter() - start

    def _go(self, work: Work, writers: ThreadPoolExecutor, steps: Steps) -> None:
        def tell(words: str, share: float) -> None:
            steps.move(words, share - self.share)
            self.share = share

        if self.job.is_clip and work.clip is not None and self.fault is None:
            try:
                self.made = work.clip(self.job, tell)
            except Exception as fault:
                self.fault = fault
            else:
                self.size = self.made.height, self.made.width
                self.pixels = self.made.frames * self.made.height * self.made.width
            return
        photo, self.photo = self.photo, None
        if photo is None:
            return
        try:
            made = work.compute(self.job, photo, tell)
        except Exception as fault:
            self.fault = fault
        else:
            self.size = made.shape[-2], made.shape[-1]
            if not work.keeps_input:
                photo = replace(photo, image=photo.image[:, :, :1, :1].clone())
            self.written = writers.submit(self._write, work, photo, made)

    def _write(self, work: Work, photo: Photo, made: Tensor) -> None:
        start = time.perf_counter()
        work.write(self.job, photo, made)
        self.seconds += time.perf_counter() - start

    def result(self) -> tuple[int, int]:
        """Height and width, once it is written; raises what went wrong."""
        if self.fault is not None:
            raise self.fault
        if self.written is not None:
            self.written.result()
        return self.size


def _read(jobs: Sequence[Job], readers: ThreadPoolExecutor) -> Iterator[_Doing]:
    """Each picture; the next one is decoded while this one is worked on, unless this one is large."""
    ahead: Future[_Doing] | None = None
    for number, job in enumerate(jobs):
        now = (ahead or readers.submit(_decoded, job)).result()
        ahead = readers.submit(_decoded, jobs[number + 1]) if number + 1 < len(jobs) and now.pixels <= LARGE else None
        yield now


def _decoded(job: Job) -> _Doing:
    from restorekit import treatment

    start = time.perf_counter()
    if job.is_clip:
        return _Doing(job, start, None)
    try:
        photo = treatment.read(job.source)
    except Exception as fault:  # told when it is this picture's turn
        return _Doing(job, start, fault)
    return _Doing(job, start, photo)


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
    message, source = (" ".join(text.split()) for text in (message, str(job.source)))
    return message if source in message else f"{source}: {message}"
