"""What a restoration costs: seconds and memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
"""Where Linux tells a process its memory, and takes the order to forget the highest value so far."""

RESET_PEAK = "5"


@dataclass
class Costs:
    """What one method took, filled by `call`.

    Attributes:
        device: where it computes.
        warm_up: seconds of its first successful call, which also loads and tunes libraries.
        seconds: of each image, warm.
        memory: most extra bytes that a call held, or None where the system does not tell.
    """

    device: torch.device
    warm_up: float | None = None
    seconds: list[float] = field(default_factory=list)
    memory: int | None = None

    def call(self, function: Callable[[], Tensor]) -> tuple[Tensor, float]:
        """Call `function` and time it; the first time twice, because the first call is not typical.

        Returns:
            The result of the first call, and the seconds of the last.
        """
        result, seconds = self._timed(function)
        if self.warm_up is None:
            self.warm_up = seconds
            _, seconds = self._timed(function)
        self.seconds.append(seconds)
        return result, seconds

    def summary(self) -> dict[str, Any]:
        """Seconds an image (median and quartiles), warm-up and memory in MB (10⁶ bytes), for the manifest."""
        times = None
        if self.seconds:
            low, high = np.quantile(self.seconds, (0.25, 0.75))
            times = {"median": statistics.median(self.seconds), "low": float(low), "high": float(high), "images": len(self.seconds)}
        return {
            "seconds": times,
            "warm_up_seconds": self.warm_up,
            "peak_memory_mb": None if self.memory is None else round(self.memory / 1e6, 1),
        }

    def _timed(self, function: Callable[[], Tensor]) -> tuple[Tensor, float]:
        before = _start_of_memory(self.device)
        _synchronise(self.device)
        start = time.perf_counter()
        result = function()
        _synchronise(self.device)
        seconds = time.perf_counter() - start
        peak = _peak_of_memory(self.device)
        if before is not None and peak is not None:
            self.memory = max(self.memory or 0, peak - before)
        return result, seconds


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _start_of_memory(device: torch.device) -> int | None:
    """Bytes held now; forgets the highest value so far."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return int(torch.cuda.memory_allocated(device))
    try:
        RESET.write_text(RESET_PEAK)
    except OSError:
        return None
    return _status("VmRSS")


def _peak_of_memory(device: torch.device) -> int | None:
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else _status("VmHWM")


def _status(key: str) -> int | None:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), None)
