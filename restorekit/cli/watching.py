"""What is seen of a restorer while it iterates: its terms, every k-th picture, an animation; and Ctrl-C that keeps the best."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorekit.errors import UserError
from restorekit.interrupt import Interrupt

if TYPE_CHECKING:
    from torch import Tensor

    from restorekit.cli.common import Steps
    from restorekit.interfaces import Iteration, Restorer
    from restorekit.photos import Photo

ANIMATIONS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}
FRAMES = 40
"""Of an animation, where --save-every does not say how many."""

SIDE = 640
"""Longest side of an animation in pixels."""

SHOWN_MS, HELD_MS = 100, 2000
"""How long a frame is shown, and the last one."""


@dataclass
class Watching:
    """Listens to an iterative restorer, picture by picture.

    Attributes:
        every: steps between pictures that are kept, or None.
        animation: file to write the pictures to as an animation, or None.
        interrupt: remembers Ctrl-C.
        stopped: which step of how many was the last one, by result, where Ctrl-C came before the end.
    """

    every: int | None
    animation: Path | None
    interrupt: Interrupt
    steps: Steps | None = None
    stopped: dict[Path, tuple[int, int]] = field(default_factory=dict)
    _target: Path = Path()
    _like: Photo | None = None
    _name: str = ""
    _frames: list[Any] = field(default_factory=list)

    def begin(self, source: Path, target: Path, photo: Photo) -> None:
        """Of the next picture."""
        self._name, self._target, self._like, self._frames = source.name, target, photo, []

    def __call__(self, progress: Iteration) -> bool:
        """Show how far it is and keep what was asked for; False after Ctrl-C."""
        if self.steps is not None:
            terms = "  ".join(f"{name} {value:.4g}" for name, value in progress.terms.items())
            self.steps.move(f"{self._name}: {progress.step}/{progress.steps}  {terms}")
        if self.every is not None and progress.step % self.every == 0:
            from restorekit import photos

            photos.write(step_file(self._target, progress.step, progress.steps), progress.picture(), like=self._like)
        if self.animation is not None and (progress.step == 1 or progress.step % self._between(progress) == 0):
            self._frames.append(_frame(progress.picture()))
        if self.interrupt.asked and progress.step < progress.steps:
            self.stopped[self._target] = progress.step, progress.steps
        return not self.interrupt.asked

    def _between(self, progress: Iteration) -> int:
        return self.every or max(1, progress.steps // FRAMES)

    def end(self, restored: Tensor) -> None:
        """Write the animation, whose last frame is the result."""
        if self.animation is None:
            return
        from restorekit import files

        first, *others = [*self._frames, _frame(restored)]
        stream = io.BytesIO()
        times = [SHOWN_MS] * len(others) + [HELD_MS]
        first.save(stream, ANIMATIONS[self.animation.suffix.lower()], save_all=True, append_images=others, duration=times, loop=0)
        files.write(self.animation, stream.getvalue())


def step_file(target: Path, step: int, steps: int) -> Path:
    """Where the picture of a step goes."""
    return target.with_name(f"{target.stem}-{step:0{len(str(steps))}d}{target.suffix}")


def earlier_steps(target: Path) -> list[Path]:
    """Files that may be written over: pictures of steps beside `target`, of an earlier run or by chance."""
    named = re.compile(re.escape(target.stem) + r"-\d+" + re.escape(target.suffix))
    return sorted(file for file in target.parent.iterdir() if named.fullmatch(file.name)) if target.parent.is_dir() else []


@contextmanager
def watching(restorer: Restorer, label: str, *, every: int | None, animation: Path | None, pictures: int) -> Iterator[Watching | None]:
    """Listen to `restorer` while the block runs, if it is one that iterates.

    Raises:
        UserError: pictures or an animation of a method that does not iterate, of several pictures, or of an unknown format.
    """
    for option, given in (("--save-every", every), ("--animation", animation)):
        if given is not None and not restorer.iterative:
            raise UserError(f"{option} {given}: {label} does not work step by step, so that there is nothing to show; leave it out")
    if animation is not None:
        if animation.suffix.lower() not in ANIMATIONS:
            raise UserError(f"--animation {animation}: not a format of animations; use one of {' '.join(ANIMATIONS)}")
        if pictures > 1:
            raise UserError(f"--animation {animation}: one file for {pictures} pictures; restore them one at a time")
    if not restorer.iterative:
        yield None
        return
    with Interrupt() as interrupt:
        listener = restorer.listener = Watching(every, animation, interrupt)
        try:
            yield listener
        finally:
            restorer.listener = None


def _frame(picture: Tensor) -> Any:
    from PIL import Image

    pixels = picture[0].detach().float().cpu().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
    frame = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    frame.thumbnail((SIDE, SIDE))
    return frame
