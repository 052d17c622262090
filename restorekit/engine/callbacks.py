"""What a run shows and writes: a progress bar, TensorBoard, a history. A plain list of these belongs to each run."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from restorekit import files
from restorekit.engine.watch import Event

GRID_SIDE = 192
"""Pixels a side of a picture in the grids."""


class Callback:
    """What can be told about a run; every method may be left as it is."""

    def start(self, step: int, steps: int) -> None:
        """Training starts after `step` steps that an earlier run has done, and goes to `steps`."""

    def step(self, step: int, terms: Mapping[str, float], *, images: int, learning_rate: float) -> None:
        """Step number `step`, counted from 1, has used `images` images."""

    def measured(self, step: int, signals: Mapping[str, float]) -> None:
        """What was measured in step number `step`, by name."""

    def rescued(self, step: int, event: Event) -> None:
        """The watch has interfered after step number `step`; where that step could not be done, `step` was not called for it."""

    def validated(self, step: int, scores: Mapping[str, float], rows: list[tuple[Tensor, ...]]) -> None:
        """Scores by name, and rows of pictures ``(C, H, W)`` for people to look at: input, result, target.

        Of a generator that makes pictures from latent vectors a row has some that it made, and as many training pictures, the
        nearest to each.
        """

    def made(self, step: int, images: Tensor) -> None:
        """What the generator makes of the same latent vectors at every validation, ``(n, C, H, W)`` in [0, 1]."""

    def finish(self) -> None:
        """The run has come to its end; not called for one that was stopped."""

    def close(self) -> None:
        """The run is over, however it ended."""


class Progress(Callback):
    """A live bar on standard error: step, the generator's terms, validation score, images a second, time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.bar = Bar(
            TextColumn("training"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[shown]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            speed_estimate_period=60,
        )
        self.score = ""
        self.smooth: dict[str, float] = {}
        self.images = 0
        self.began = time.perf_counter()

    def start(self, step: int, steps: int) -> None:
        """Show the bar."""
        self.task = self.bar.add_task("", total=steps, completed=step, shown="")
        self.began = time.perf_counter()
        self.bar.start()

    def step(self, step: int, terms: Mapping[str, float], *, images: int, learning_rate: float) -> None:
        """Move the bar."""
        for name, value in terms.items():
            if not name.startswith("critic "):  # they are in the log
                self.smooth[name] = 0.98 * self.smooth.get(name, value) + 0.02 * value
        self.images += images
        rate = self.images / (time.perf_counter() - self.began)
        losses = "  ".join(f"{name} {value:.3g}" for name, value in self.smooth.items())
        self.bar.update(self.task, completed=step, shown=f"{losses}  {rate:.1f} images/s{self.score}")

    def validated(self, step: int, scores: Mapping[str, float], rows: list[tuple[Tensor, ...]]) -> None:
        """Remember the score for the bar, and leave a line above it."""
        line = "  ".join(f"{name} {value:.2f} dB" for name, value in scores.items())
        if line:
            first = next(iter(scores.items()))
            self.score = f"  {first[0]} {first[1]:.2f} dB"
            self.bar.console.print(f"step {step}: {line}", highlight=False)

    def close(self) -> None:
        """Remove the bar."""
        self.bar.stop()


class History(Callback):
    """``history.jsonl``: one line every `every` steps, and one for each validation."""

    def __init__(self, path: Path, *, every: int = 10) -> None:
        self.path, self.every = path, every
        self.stream: IO[str] | None = None

    def start(self, step: int, steps: int) -> None:
        """Open the file; a resumed run drops what an interrupted one wrote after its last checkpoint."""

        def after(entry: Mapping[str, Any]) -> bool:
            return entry["step"] > step or (step >= steps and entry["step"] == step and "scores" in entry)  # the last validation

        kept = [json.dumps(entry) + "\n" for entry in history(self.path) if not after(entry)] if step else []
        files.write(self.path, "".join(kept).encode())
        self.stream = self.path.open("a")

    def step(self, step: int, terms: Mapping[str, float], *, images: int, learning_rate: float) -> None:
        """Write a line."""
        if step % self.every == 0:
            self._write({"step": step, "learning_rate": learning_rate, "terms": dict(terms)})

    def measured(self, step: int, signals: Mapping[str, float]) -> None:
        """Write a line."""
        if step % self.every == 0:
            self._write({"step": step, "signals": dict(signals)})

    def rescued(self, step: int, event: Event) -> None:
        """Write a line."""
        self._write({"step": step, "watch": vars(event)})

    def validated(self, step: int, scores: Mapping[str, float], rows: list[tuple[Tensor, ...]]) -> None:
        """Write a line."""
        self._write({"step": step, "scores": dict(scores)})

    def close(self) -> None:
        """Close the file."""
        if self.stream:
            self.stream.close()

    def _write(self, entry: Mapping[str, object]) -> None:
        if self.stream:
            self.stream.write(json.dumps(entry) + "\n")
            self.stream.flush()


def history(path: Path) -> list[dict[str, Any]]:
    """The entries of a ``history.jsonl``, without a last line that a killed run left half-written; none where there is no file."""
    entries = []
    for line in path.read_text().splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError):
            entries.append(json.loads(line))
    return entries


class TensorBoard(Callback):
    """Scalars and before/after grids for TensorBoard."""

    def __init__(self, folder: Path, *, every: int = 10) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self.every = every
        self.folder = folder
        self.open = SummaryWriter
        self.writer: SummaryWriter | None = None

    def start(self, step: int, steps: int) -> None:
        """Open the log; a resumed run hides what comes after its checkpoint."""
        # The log is written by a thread, and on a full disk Python would print that thread's traceback.
        self.excepthook = threading.excepthook
        threading.excepthook = _quiet_about_files
        self.writer = self.open(str(self.folder), purge_step=step + 1 if step else None)

    def step(self, step: int, terms: Mapping[str, float], *, images: int, learning_rate: float) -> None:
        """Log the terms."""
        if self.writer and step % self.every == 0:
            for name, value in terms.items():
                self.writer.add_scalar(f"loss/{name}", value, step)
            self.writer.add_scalar("learning_rate", learning_rate, step)

    def measured(self, step: int, signals: Mapping[str, float]) -> None:
        """Log the signals."""
        if self.writer and step % self.every == 0:
            for name, value in signals.items():
                self.writer.add_scalar(f"watch/{name}", value, step)

    def rescued(self, step: int, event: Event) -> None:
        """Log what happened as text."""
        if self.writer:
            self.writer.add_text("watch", str(event), step)

    def validated(self, step: int, scores: Mapping[str, float], rows: list[tuple[Tensor, ...]]) -> None:
        """Log scores and pictures."""
        if self.writer:
            for name, value in scores.items():
                self.writer.add_scalar(f"validation/{name}", value, step)
            if rows:
                self.writer.add_image("pictures", grid(rows), step)

    def close(self) -> None:
        """Close the log."""
        if self.writer:
            with contextlib.suppress(OSError):  # a full disk stops the run by its own files
                self.writer.close()
        threading.excepthook = self.excepthook


def _quiet_about_files(fault: threading.ExceptHookArgs) -> None:
    if not isinstance(fault.exc_value, OSError):
        threading.__excepthook__(fault)


def grid(rows: list[tuple[Tensor, ...]]) -> Tensor:
    """Rows of pictures ``(C, H, W)`` as one ``(3, H', W')`` in [0, 1]: cut to squares from the middle, small ones enlarged."""
    return torch.cat([torch.cat([_square(picture) for picture in row], dim=2) for row in rows], dim=1)


def _square(picture: Tensor) -> Tensor:
    picture = picture.detach().float().cpu().clamp(0, 1).expand(3, -1, -1)
    height, width = picture.shape[-2:]
    side = min(height, width, GRID_SIDE)
    top, left = (height - side) // 2, (width - side) // 2
    cut = picture[:, top : top + side, left : left + side]
    return F.interpolate(cut[None], size=(GRID_SIDE, GRID_SIDE), mode="nearest")[0]
