"""The benchmark: methods scored by the same code on the same inputs.

A suite (photographs × degradations × metrics) is run with `run_suite`; `rows` reads the scores back
and `leaderboard` prints them. Names are resolved on first use: importing this package does not
import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restorekit.bench.results import rows as rows
    from restorekit.bench.run import run_suite as run_suite
    from restorekit.bench.table import leaderboard as leaderboard

_WHERE = {
    "leaderboard": "restorekit.bench.table",
    "rows": "restorekit.bench.results",
    "run_suite": "restorekit.bench.run",
}

__all__ = ["leaderboard", "rows", "run_suite"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'restorekit.bench' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
