"""Running methods over a suite."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from restorekit import devices, discovery, files, restoration, seeding
from restorekit.bench import protocol, results, table
from restorekit.bench.inputs import Cell, Inputs
from restorekit.bench.measure import Costs
from restorekit.bench.suite import load as load_suite
from restorekit.errors import ImageError, UserError
from restorekit.images import Degraded
from restorekit.interfaces import Metric
from restorekit.methods import Method, resolve
from restorekit.registries import Registry

Advance = Callable[[str], None]


def run_suite(
    suite: str, methods: Sequence[str], out: Path, *, device: str = "auto", progress: bool = False, registry: Registry | None = None
) -> Path:
    """Score methods on a suite and write rows, manifest and leaderboard.

    ``core/identity``, which does nothing, is always measured too. Methods that `out` holds already
    are kept, unless they have changed; a method that fails on an image gets a row with the reason.

    Args:
        suite: registered name, YAML file, or folder of images.
        methods: registered restorers, model files, or YAML files with options.
        out: folder for the results.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        progress: show a bar with the time left, on the standard error.
        registry: where names are looked up; the installed parts if None.

    Returns:
        Path of ``leaderboard.md``.

    Raises:
        UserError: no such suite, method or device, unreadable photographs, two methods of one name, or
            an `out` that is no folder or holds results of another protocol.
    """
    registry = registry or discovery.registry()
    out = Path(out)
    _check_writable(out)
    plan = load_suite(suite, registry=registry)
    place = devices.pick(device)
    chosen = _resolved(methods, registry)
    with tempfile.TemporaryDirectory(prefix="restorekit-bench-") as folder:
        inputs = Inputs(plan, Path(folder))
        manifest = protocol.manifest(plan, inputs, registry)
        rows = _keep_earlier(out, manifest)
        entries = {method.label: protocol.entry(method, place, registry) for method in chosen}
        todo = [method for method in chosen if not _is_measured(method.label, entries, manifest)]
        with _bar(progress, len(todo) * len(inputs.cells)) as advance, protocol.exact():
            for method in todo:
                costs = Costs(place)
                new = [
                    {"suite": plan.name, "protocol": manifest["protocol"], **row}
                    for row in _measured(method, inputs, plan.metrics, costs, advance)
                ]
                rows = [row for row in rows if row["method"] != method.label] + new
                manifest["methods"][method.label] = {**entries[method.label], **costs.summary()}
                results.write(out, manifest, rows)
    page = out / results.LEADERBOARD
    files.write(page, table.leaderboard(out).encode())
    return page


def _check_writable(out: Path) -> None:
    # Before anything is computed: a result that cannot be kept costs the user minutes.
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: a file; --out needs a folder")
    if out.exists() and not os.access(out, os.W_OK):
        raise UserError(f"{out}: this folder cannot be written; choose another --out")


def _resolved(names: Sequence[str], registry: Registry) -> list[Method]:
    found: dict[str, Method] = {}
    for name in dict.fromkeys([table.BASELINE, *names]):
        method = resolve(name, registry=registry)
        other = found.setdefault(method.label, method)
        if other is not method and (other.part, other.options) != (method.part, method.options):
            raise UserError(f"two methods would be called {method.label} in the table; rename one of the files")
    return list(found.values())


def _keep_earlier(out: Path, manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Take the methods that `out` holds already into `manifest`, and give their rows."""
    if not any((out / name).exists() for name in (results.ROWS, results.MANIFEST)):
        return []
    earlier, rows = results.load(out)
    if earlier["protocol"] != manifest["protocol"]:
        old, new = earlier["ingredients"], manifest["ingredients"]
        differing = ", ".join(key for key in new if old.get(key) != new[key])
        raise UserError(
            f"{out}: holds results of protocol {earlier['protocol'][:12]}, this run has {manifest['protocol'][:12]}, and their scores "
            f"do not compare (different: {differing}). Choose another --out"
        )
    if earlier["inputs"] != manifest["inputs"]:
        raise UserError(
            f"{out}: its damaged images differ from those made now in their last bits: another processor or torch version made them. "
            "Choose another --out"
        )
    manifest["methods"] = dict(earlier["methods"])
    return rows


def _is_measured(label: str, entries: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    earlier = manifest["methods"].get(label)
    return isinstance(earlier, dict) and earlier.get("fingerprint") == entries[label]["fingerprint"]


def _measured(method: Method, inputs: Inputs, metrics: Mapping[str, Metric], costs: Costs, advance: Advance) -> Iterator[dict[str, Any]]:
    """One row for each cell and metric."""
    restorer, stuck = method.restorer, ""
    try:
        restorer = restorer.to(costs.device)
    except Exception as fault:  # such as a device whose memory is full
        stuck = _words(fault)
    for cell, target, degraded in inputs:
        shared = {"image": cell.image, "degradation": cell.degradation, "method": method.label}
        restored, seconds, reason = None, None, stuck
        if not stuck:
            try:
                with seeding.seeded(cell.image, cell.degradation):
                    call = partial(restoration.restore, restorer, degraded.to(costs.device), name=method.label)
                    restored, seconds = costs.call(call)
            except Exception as fault:  # one method's failure is a row, not the end of the others
                reason = _missing(method, degraded, fault, cell) or _words(fault)
        for name, metric in metrics.items():
            value, wrong = (None, reason) if restored is None else _score(name, metric, restored.cpu(), target)
            status = "failed" if value is None else "ok"
            yield {**shared, "metric": name, "value": value, "status": status, "reason": wrong, "seconds": seconds}
        advance(method.label)


def _score(name: str, metric: Metric, restored: Tensor, target: Tensor) -> tuple[float | str | None, str]:
    """The value as rows hold it, or None and the reason."""
    if restored.shape != target.shape:
        (_, c, h, w), (_, channels, height, width) = restored.shape, target.shape
        return None, f"the result is {w}×{h} with {c} channels, the target {width}×{height} with {channels}"
    try:
        value = float(metric(restored, target).item())
    except Exception as fault:
        return None, f"{name}: {_words(fault)}"
    return (None, f"{name}: the score is not a number") if math.isnan(value) else (results.stored(value), "")


def _missing(method: Method, given: Degraded, fault: Exception, cell: Cell) -> str:
    """Why the method cannot work here, if that is because it needs what this damage does not come with."""
    for name in sorted(method.restorer.uses):
        try:
            given.need(name)
        except ImageError as lacking:
            if str(lacking) == str(fault):
                return f"needs the {name}, which {cell.degradation} does not come with"
    return ""


def _words(fault: Exception) -> str:
    text = " ".join(str(fault).split())
    return text if isinstance(fault, UserError) and text else f"{type(fault).__name__}: {text}".removesuffix(": ")


@contextlib.contextmanager
def _bar(shown: bool, total: int) -> Iterator[Advance]:
    """A function to call with the method's name at the start of each of `total` steps."""
    if not shown:
        yield lambda label: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)

        def advance(label: str) -> None:
            bar.update(task, description=label, advance=1)

        yield advance
