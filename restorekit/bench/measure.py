"""What a restoration costs: seconds and memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
"""Where Linux tells a process its memory, and takes the order to forget the highest value so far."""

RESET_PEAK = "5"


@dataclass(frozen=True)
class Cost:
    """What one restoration took.

    Attributes:
        seconds: of the call, warm.
        memory_mb: most extra memory that the call held, in 10⁶ bytes, or None where the system does not tell.
        warm_up_seconds: of the first call in this process, which also loads and tunes libraries; None for later ones.
    """

    seconds: float
    memory_mb: float | None
    warm_up_seconds: float | None = None


class Meter:
    """Times one method's calls.

    Args:
        device: where it computes.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._warm = False

    def call(self, function: Callable[[], Tensor]) -> tuple[Tensor, Cost]:
        """Call `function` and time it; the first time twice, because the first call is not typical.

        Returns:
            The result of the first call, and what the last took.
        """
        result, cost = self._timed(function)
        if not self._warm:
            self._warm = True
            warm_up = cost.seconds
            cost = replace(self._timed(function)[1], warm_up_seconds=warm_up)
        return result, cost

    def _timed(self, function: Callable[[], Tensor]) -> tuple[Tensor, Cost]:
        before = _start_of_memory(self.device)
        _synchronise(self.device)
        start = time.perf_counter()
        result = function()
        _synchronise(self.device)
        seconds = time.perf_counter() - start
        peak = _peak_of_memory(self.device)
        extra = None if before is None or peak is None else round(max(peak - before, 0) / 1e6, 1)
        return result, Cost(seconds, extra)


def summary(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What a method's restorations took, for the manifest: seconds an image (median and quartiles), and the most memory.

    Args:
        rows: of one method, as `results.load` gives them.
    """
    by_cell = {(row["image"], row["degradation"], row["draw"]): row for row in rows if row["seconds"] is not None}
    seconds = [row["seconds"] for row in by_cell.values()]
    memory = [row["memory_mb"] for row in by_cell.values() if row["memory_mb"] is not None]
    times = None
    if seconds:
        low, high = np.quantile(seconds, (0.25, 0.75))
        times = {"median": statistics.median(seconds), "low": float(low), "high": float(high), "images": len(seconds)}
    return {"seconds": times, "peak_memory_mb": max(memory, default=None)}


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
