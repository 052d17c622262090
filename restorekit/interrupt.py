"""Ctrl-C and SIGTERM that wait for the end of a step, so that what is saved is never half of one."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""SIGTERM is what batch systems such as SLURM send some time before they kill."""

MESSAGE = b"stopping at the end of this step; once more to stop at once\n"


class Interrupt:
    """While it is entered, a signal is remembered in `asked`; a second one interrupts at once.

    Python delivers signals to the main thread alone, so that elsewhere this does nothing.

    Args:
        settle: seconds in which more signals count as the same, where a terminal and a parent process send it both.
        quiet: say nothing.
    """

    def __init__(self, settle: float = 0.0, *, quiet: bool = False) -> None:
        self.asked, self.settle, self.quiet = False, settle, quiet
        self._since = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._remember) for number in SIGNALS}
        return self

    def __exit__(self, *raised: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            if time.monotonic() - self._since < self.settle:
                return
            raise KeyboardInterrupt
        self.asked, self._since = True, time.monotonic()
        if not self.quiet:
            os.write(2, MESSAGE)  # not print: the signal may have come in the middle of one
