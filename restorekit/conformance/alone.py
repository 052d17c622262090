"""Imports modules and tells what each of them changed; `restorekit.conformance.imports` runs this file in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

MARK = "restorekit imports "
"""What a line on the standard error begins with before each module."""


class Setting(NamedTuple):
    """Something of the whole process that importing must leave as it is."""

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], Any]
    shown: bool = True


# Global random states are looked at, not drawn from.
SETTINGS = (
    Setting("Python's random state", random.getstate, random.setstate, shown=False),
    Setting("NumPy's random state", lambda: np.random.get_state(legacy=False), np.random.set_state, shown=False),  # noqa: NPY002
    Setting("torch's random state", torch.get_rng_state, torch.set_rng_state, shown=False),
    Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    Setting("torch's default device", torch.get_default_device, lambda _: torch.set_default_device(None)),
    Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    Setting("whether torch takes gradients", torch.is_grad_enabled, torch.set_grad_enabled),
    Setting("whether torch's algorithms are deterministic", torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    Setting("torch's float32 matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
)


def changes(module: str) -> list[str]:
    """Import a module and say what it changed; everything is put back, so that the next one is judged alone."""
    before = [setting.get() for setting in SETTINGS]
    with contextlib.suppress(Exception, SystemExit):  # the check target-imports tells of it
        __import__(module)  # -X importtime does not see importlib.import_module
    found = []
    for setting, old in zip(SETTINGS, before, strict=True):
        new = setting.get()
        if _text(new) != _text(old):
            found.append(f"{setting.name} from {old} to {new}" if setting.shown else setting.name)
            setting.put(old)
    return found


def _text(value: Any) -> str:
    """A value, or what is in it, so that it can be compared."""
    if isinstance(value, dict):
        return repr({key: _text(item) for key, item in value.items()})
    return repr(value.tolist() if isinstance(value, torch.Tensor | np.ndarray) else value)


def main(modules: list[str]) -> None:
    """Print, as JSON on standard output, what each module changed and which share of the time went to other processes.

    What the modules print themselves goes to standard error.
    """
    with os.fdopen(os.dup(1), "w") as report:
        os.dup2(2, 1)
        found = {}
        for module in modules:
            print(f"{MARK}{module}", file=sys.stderr, flush=True)
            start, waited = time.perf_counter(), _waited()
            changed = changes(module)
            share = (_waited() - waited) / (time.perf_counter() - start)
            found[module] = {"changed": changed, "share": min(1.0, share)}
            sys.stdout.flush()
        json.dump(found, report)


def _waited() -> float:
    """Seconds for which this process could have run and others did; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


if __name__ == "__main__":
    main(sys.argv[1:])
