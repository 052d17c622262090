"""Spreading the cells of a run over processes: in this one, in several on this machine, or as torchrun started them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch

from restorekit import processes
from restorekit.bench import results
from restorekit.bench.compute import Advance
from restorekit.bench.compute import compute as compute_cells
from restorekit.bench.job import ENDED, Job, Prepared, prepare
from restorekit.errors import UserError


def compute(job: Job, prepared: Prepared) -> dict[str, str]:
    """Compute what is to do, and return when all of it is done.

    Returns:
        Why the process of a method ended early, by label; empty unless methods run in processes of their own.

    Raises:
        UserError: a process ended early; what was computed is kept.
    """
    if processes.crew().world > 1:
        _join(job, prepared)
        return {}
    ended = {}
    if not job.isolate:
        if job.devices == 1:
            _share(job, prepared, prepared.todo, 0, 1)
        else:
            reason = _launched(job, prepared, prepared.todo)
            if reason:
                raise UserError(f"{ENDED} {reason}; what was computed is kept. Run the same command again to go on")
        return {}
    for label in prepared.todo:
        reason = _launched(job, prepared, [label])
        if reason:
            ended[label] = reason
    return ended


def _share(job: Job, prepared: Prepared, labels: Sequence[str], rank: int, world: int) -> None:
    """Compute this process's part of the cells of some methods."""
    cells = prepared.cells[rank::world]
    field = [(one, prepared.entries[one.label]["fingerprint"]) for one in prepared.field if one.label in labels]
    store = prepared.place.store
    total = sum(not store.has(one.label, fingerprint, cell) for one, fingerprint in field for cell in cells)
    before = torch.get_num_threads()
    torch.set_num_threads(job.threads)
    try:
        with _bar(job.progress and rank == 0, total) as advance:
            compute_cells(prepared.plan, prepared.inputs, field, cells, prepared.place, advance, prepared.about["inputs"])
    finally:
        torch.set_num_threads(before)


def _join(job: Job, prepared: Prepared) -> None:
    """Take this process's part of the cells, as torchrun or SLURM numbers it."""
    fabric = processes.join(prepared.place.device.type)
    own = replace(prepared, place=replace(prepared.place, device=fabric.device))
    _share(job, own, own.todo, fabric.global_rank, fabric.world_size)
    with processes.lost():
        fabric.barrier()


def _launched(job: Job, prepared: Prepared, labels: Sequence[str]) -> str:
    """Compute in `job.devices` processes of their own; returns why one ended early, or an empty text."""
    given = [one.given for one in prepared.field if one.label in labels]
    if not all(given):
        raise UserError("Python functions cannot be sent to other processes; write FILE.py:FUNCTION, or leave devices and isolation out")
    if not (job.out / results.MANIFEST).exists():
        results.write(job.out, prepared.about, [])  # spares the other processes reading every picture
    own = replace(job, methods=tuple(given))
    fingerprints = {label: prepared.entries[label]["fingerprint"] for label in labels}
    ending = processes.start(_worker, (own, fingerprints, prepared.place.device.type), count=job.devices)
    return "" if ending is None else f"{ending.how}{': ' * bool(ending.said)}{ending.said}"


def _worker(job: Job, fingerprints: Mapping[str, str], kind: str) -> None:
    """What each process does: prepare anew, because nothing but plain values travels, and take its part."""
    fabric = processes.join(kind)
    prepared = prepare(job, device=fabric.device)
    changed = [label for label, fingerprint in fingerprints.items() if prepared.entries[label]["fingerprint"] != fingerprint]
    if changed:
        raise UserError(f"{', '.join(changed)}: code or weights changed while the run was starting")
    _share(job, prepared, list(fingerprints), fabric.global_rank, fabric.world_size)
    with processes.lost():
        fabric.barrier()


@contextlib.contextmanager
def _bar(shown: bool, total: int) -> Iterator[Advance]:
    """A function to call with the method's name at the end of each of `total` steps."""
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
