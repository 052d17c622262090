"""Clips of video on the command line: what is refused, and each frame restored as a photograph is."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from restorekit.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from restorekit.cli.batch import Job
    from restorekit.cli.running import Tell
    from restorekit.cli.watching import Watching
    from restorekit.clips import Made
    from restorekit.treatment import Treatment


def refuse(jobs: Sequence[Job], pictures_only: Mapping[str, object]) -> None:
    """Check what can be told of clips before the work.

    Args:
        jobs: from `batch.plan`.
        pictures_only: options that make no sense for clips, and what was given for them; None for nothing.

    Raises:
        UserError: one of them was given and there is a clip, or there are only clips and no library to read them.
    """
    clip = next((job for job in jobs if job.is_clip), None)
    if clip is None:
        return
    for option, given in pictures_only.items():
        if given is not None:
            raise UserError(
                f"{option} {given}: of pictures only, and {clip.source} is a clip; leave it out, or restore the clip on its own"
            )
    if all(job.is_clip for job in jobs):
        from restorekit import clips

        clips.refuse_without_library()


def restore(
    job: Job,
    tell: Tell,
    treated: Treatment,
    watched: Watching | None,
    *,
    quality: int | None = None,
    strip: bool = False,
    compared: Path | None = None,
) -> Made:
    """Restore a clip frame by frame, every frame with the same seed.

    Args:
        job: what is read and written.
        tell: gets how far it is.
        treated: what is done to each frame.
        watched: what listens to an iterative method.
        quality: see `clips.convert`, as `strip`.
        strip: see `clips.convert`.
        compared: where to write the frame in the middle before and after, side by side; None for nowhere.

    Raises:
        UserError: see `clips.convert` and `Treatment.apply`.
        KeyboardInterrupt: after Ctrl-C or SIGTERM; nothing is left of the clip.
    """
    from restorekit import clips, comparison, files
    from restorekit.photos import Photo

    said = clips.look(job.source)
    began, number = time.perf_counter(), 0
    middle = (said.frames or 0) // 2
    shown: bytes | None = None

    def change(image: Tensor) -> Tensor:
        nonlocal number, shown
        photo = Photo(image)
        if watched is not None:
            watched.begin(job.source, job.target, photo)
        restored = treated.apply(photo, job.source.name)
        if watched is not None and watched.interrupt.asked:
            raise KeyboardInterrupt
        if compared is not None and (number == middle or number == 0):
            turned = [part.rot90(said.rotation // 90, (-2, -1)) for part in (image, restored)]
            shown = comparison.before_after(*turned)
        number += 1
        rate = number / max(1e-6, time.perf_counter() - began)
        of = f" of {max(number, said.frames)}" if said.frames else ""
        tell(f"{rate:.2f} frames/s  restoring {job.source.name}: frame {number}{of}", min(1.0, number / said.frames) if said.frames else 0)
        return restored

    with _ended_as_by_ctrl_c():
        made = clips.convert(job.source, job.target, change, quality=quality, strip=strip)
    if compared is not None and shown is not None:
        files.write(compared, shown)
    return made


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """SIGTERM, which `timeout` and batch systems send, cleans up too, where it would end the process at once."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
