"""The benchmark: methods scored by the same code on the same inputs.

A suite (photographs × degradations × metrics) is run with `run_suite`; `rows` reads the scores back
and `leaderboard` prints them. `score` does both for a Python function, in a notebook. Names are
resolved on first use: importing this package does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restorekit.bench.difference import Difference as Difference
    from restorekit.bench.difference import diff as diff
    from restorekit.bench.merging import merge as merge
    from restorekit.bench.notebook import Scored as Scored
    from restorekit.bench.notebook import score as score
    from restorekit.bench.results import rows as rows
    from restorekit.bench.run import run_suite as run_suite
    from restorekit.bench.table import leaderboard as leaderboard
    from restorekit.bench.webpage import page as page

_WHERE = {
    "Difference": "restorekit.bench.difference",
    "Scored": "restorekit.bench.notebook",
    "diff": "restorekit.bench.difference",
    "leaderboard": "restorekit.bench.table",
    "merge": "restorekit.bench.merging",
    "page": "restorekit.bench.webpage",
    "rows": "restorekit.bench.results",
    "run_suite": "restorekit.bench.run",
    "score": "restorekit.bench.notebook",
}

__all__ = ["Difference", "Scored", "diff", "leaderboard", "merge", "page", "rows", "run_suite", "score"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'restorekit.bench' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
