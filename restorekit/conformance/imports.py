"""What importing a plugin's modules does to the process, found out in another process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from restorekit.conformance import alone
from restorekit.conformance.subject import Failed

PATIENCE = 300
"""Seconds after which importing everything is given up."""

_TIME = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
"""What ``-X importtime`` prints for each module: microseconds of its own, and its name."""


@dataclass(frozen=True)
class Imported:
    """What importing one module did.

    Attributes:
        changed: settings of the process, in words.
        printed: the first line that it printed, or empty.
        seconds: that the plugin's own code took, without what it imports from elsewhere and without waiting for other processes.
    """

    changed: tuple[str, ...]
    printed: str
    seconds: float


def run(modules: Iterable[str]) -> Mapping[str, Imported]:
    """Import modules one after the other, the manifest first.

    Raises:
        Failed: the process ended, or did not.
    """
    names = list(modules)
    package = names[0].partition(".")[0]
    # Warnings are Python's and other packages' business. -X importtime tells whose time it was.
    # The file and not the module, because the rest of this package takes longer to import than all of a plugin.
    command = [sys.executable, "-P", "-W", "ignore", "-X", "importtime", alone.__file__, *names]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"not imported after {PATIENCE} s: {', '.join(names)}", "wait for nothing at the top of a module") from None
    printed: dict[str, str] = {}
    seconds: defaultdict[str, float] = defaultdict(float)
    now = ""
    for line in done.stderr.splitlines():
        timed = _TIME.fullmatch(line)
        if line.startswith(alone.MARK):
            now = line.removeprefix(alone.MARK)
        elif timed:
            seconds[now] += int(timed[1]) / 1e6 if timed[2].partition(".")[0] == package else 0
        elif now and line.strip():
            printed.setdefault(now, line.strip())
    if done.returncode:
        raise Failed(
            f"importing {now or names[0]} ended the process with {done.returncode}", f"python -c 'import {now or names[0]}' shows it"
        )
    found = json.loads(done.stdout)
    return {
        name: Imported(tuple(found[name]["changed"]), printed.get(name, ""), seconds[name] * (1 - found[name]["share"])) for name in names
    }
