"""Batches made in advance by worker processes."""

from __future__ import annotations

import signal
import sys
import threading
import warnings
from concurrent.futures import Future
from types import FrameType
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from restorekit import processes
from restorekit.engine.data import Batch, PatchSource
from restorekit.errors import TrainingError, UserError

MOST_WORKERS = 8
"""Of those that are started without being asked for."""

GRACE = 30.0
"""Seconds after which a worker heeds a SIGTERM that the whole group of processes was sent."""

Made = tuple[Batch | UserError, dict[str, str]]


class _Steps(Dataset[Made]):
    """What a worker does: batches by step, or what the user has to be told, and the files that it could not read."""

    def __init__(self, source: PatchSource) -> None:
        self.source = source

    def __getitem__(self, step: int) -> Made:
        try:
            return self.source.batch(step), self.source.unreadable
        except UserError as fault:
            return fault, self.source.unreadable


class ReadAhead:
    """A source of batches with processes that make the next ones while one is being used.

    Any step may be asked for; asking for them in order is what is fast. The batches are those of `source`, to the bit.

    Args:
        source: what makes the batches.
        workers: number of processes.
    """

    def __init__(self, source: PatchSource, workers: int) -> None:
        self.source, self.workers = source, workers
        self._batches: _MultiProcessingDataLoaderIter | None = None
        self._next = 0
        self._unreadable: dict[str, str] = {}

    @property
    def unreadable(self) -> dict[str, str]:
        """As of the source."""
        return self.source.unreadable | self._unreadable

    def batch(self, step: int) -> Batch:
        """As of the source.

        Raises:
            TrainingError: a worker died.
        """
        if self._batches is None or step != self._next:
            self.close()
            self._batches = self._start(step)
        made: Batch | UserError
        try:
            made, unreadable = next(self._batches)
        except (RuntimeError, OSError) as fault:
            self.close()
            if "Original Traceback" in str(fault):
                raise  # a fault inside the work, which the loader passes on
            raise TrainingError(
                f"a process that makes batches ended: {' '.join(str(fault).split())}. "
                "If memory or /dev/shm is full, lower data.workers; 0 does without"
            ) from fault
        self._unreadable |= unreadable
        self._next = step + 1
        if isinstance(made, UserError):
            self.close()
            raise made
        return made

    def close(self) -> None:
        """End the processes; asking for a batch starts new ones."""
        batches, self._batches = self._batches, None
        if batches is not None:
            # The loader does it when its iterator is collected, which the traceback of an exception can put off for ever.
            batches._shutdown_workers()

    def _start(self, step: int) -> _MultiProcessingDataLoaderIter:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about more workers than cores, which somebody has asked for
            loader = DataLoader(
                _Steps(self.source),
                sampler=range(step, sys.maxsize),
                batch_size=None,
                num_workers=self.workers,
                collate_fn=_as_it_is,
                worker_init_fn=_leave_signals_to_the_parent,
                generator=torch.Generator(),  # the loader draws a seed for its workers; the global state is not touched
            )
            # Started by the main thread, a worker that dies would raise there at any moment, in the middle of a step too.
            started: Future[_MultiProcessingDataLoaderIter] = Future()
            starter = threading.Thread(target=_start, args=(loader, started))
            starter.start()
            starter.join()
        return started.result()


def _start(loader: DataLoader[Made], started: Future[_MultiProcessingDataLoaderIter]) -> None:
    try:
        batches = iter(loader)
        assert isinstance(batches, _MultiProcessingDataLoaderIter)
        started.set_result(batches)
    except OSError as fault:  # no memory, or too many processes
        started.set_exception(TrainingError(f"a process that makes batches cannot be started: {fault}. Lower data.workers; 0 does without"))


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C and SIGTERM go to the whole group of processes, and the parent decides when the run ends.

    Should it not, a worker goes at the second SIGTERM or some time after the first.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _go_later)


def _go_later(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "setitimer"):  # not on Windows
        signal.setitimer(signal.ITIMER_REAL, GRACE)


def _as_it_is(made: Any) -> Any:
    return made


def workers_for(asked: int | None, device: torch.device, beside: int = 1) -> int:
    """The number of processes for ``data.workers``, where so many trainings share this machine's cores."""
    if asked is not None:
        return asked
    return 0 if device.type == "cpu" else min(MOST_WORKERS, max(0, processes.cores() // beside - 1))
