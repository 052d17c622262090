"""Running methods over a suite."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from restorekit import files, processes
from restorekit.bench import results, spread, table, webpage
from restorekit.bench.contenders import Contender
from restorekit.bench.inputs import Cell
from restorekit.bench.job import ENDED, INPUTS, Job, Prepared, prepare
from restorekit.bench.measure import summary
from restorekit.registries import Registry


def run_suite(
    suite: str,
    methods: Sequence[str | Contender],
    out: Path,
    *,
    device: str = "auto",
    data: Path | None = None,
    limit: int | None = None,
    progress: bool = False,
    registry: Registry | None = None,
) -> Path:
    """Score methods on a suite and write rows, manifest and leaderboard.

    ``core/identity``, which does nothing, is always measured too. What `out` holds already is kept,
    unless a method has changed; a method that fails on an image gets a row with the reason. A run that
    is killed goes on where it stopped when it is started again.

    Args:
        suite: registered name, YAML file, or folder of images.
        methods: registered restorers, model files, YAML files with options, ``FILE.py:FUNCTION``, or
            folders of pictures that another program restored.
        out: folder for the results.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        data: folder in which data sets lie; see `restorekit.bench.dataset.home`.
        limit: only the first so many pictures.
        progress: show a bar with the time left, on the standard error.
        registry: where names are looked up; the installed parts if None.

    Returns:
        Path of ``leaderboard.md``; ``leaderboard.html`` is beside it.

    Raises:
        UserError: no such suite, method or device, unreadable photographs, two methods of one name, or
            an `out` that is no folder or holds results of another protocol.
    """
    return run(
        Job(
            suite=suite,
            methods=tuple(methods),
            out=Path(out),
            device=device,
            data=data,
            limit=limit,
            progress=progress,
            registry=registry,
        )
    )


def run(job: Job) -> Path:
    """Do a job, in this process or in several; see `run_suite`."""
    prepared = prepare(job)
    page_file = job.out / results.LEADERBOARD
    ended: Mapping[str, str] = {}
    if prepared.todo:
        if job.retry:
            _forget_failures(prepared)
        ended = spread.compute(job, prepared)
    if not processes.is_first() or (not prepared.todo and _is_published(job)):
        return page_file
    about, rows = collect(prepared, ended)
    results.write(job.out, about, rows)
    if job.shard is None:
        _publish(job.out)
    if not job.keep_inputs:
        shutil.rmtree(job.out / INPUTS, ignore_errors=True)
    return page_file


def collect(prepared: Prepared, ended: Mapping[str, str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The manifest and all rows, after the cells have been computed.

    Args:
        prepared: the job.
        ended: why a method's process ended early, by label.

    Raises:
        UserError: a damaged record.
    """
    about = prepared.about
    rows = [row for row in prepared.rows if row["method"] not in prepared.todo]
    for label in prepared.todo:
        entry = prepared.entries[label]
        records = [prepared.place.store.get(label, entry["fingerprint"], cell) for cell in prepared.cells]
        own = [
            row
            for cell, record in zip(prepared.cells, records, strict=True)
            for row in _rows(about, label, cell, record, ended.get(label, "before it came to this image"))
        ]
        rows += own
        made = [record for record in records if record is not None]
        about["inputs"] |= {Cell(r["image"], r["degradation"], r["draw"]).label: r["input"] for r in made}
        warm_ups = [r["warm_up_seconds"] for r in made if r["warm_up_seconds"] is not None]
        environments: list[Any] = []
        for record in made:
            if record["environment"] not in environments:
                environments.append(record["environment"])
        about["methods"][label] = {
            **entry,
            "environments": environments,
            **summary(own),
            "warm_up_seconds": max(warm_ups, default=None),
        }
    order = {label: i for i, label in enumerate(about["methods"])}
    rows.sort(key=lambda row: order.get(row["method"], len(order)))
    return about, rows


def _rows(about: Mapping[str, Any], label: str, cell: Cell, record: Mapping[str, Any] | None, ended: str) -> Iterator[dict[str, Any]]:
    """One row for each metric."""
    shared = {
        "suite": about["suite"],
        "protocol": about["protocol"],
        "image": cell.image,
        "degradation": cell.degradation,
        "draw": cell.draw,
        "method": label,
    }
    for metric in about["metrics"]:
        if record is None:
            found = {"value": None, "status": results.FAILED, "reason": f"{ENDED} {ended}", "seconds": None, "memory_mb": None}
        else:
            found = {"value": None, **{key: record[key] for key in ("status", "reason", *results.MEASURED)}}
            if record["status"] == results.OK:
                value = record["scores"][metric]
                found |= {"status": results.FAILED, **value} if isinstance(value, dict) else {"value": value}
        yield {**shared, "metric": metric, **found}


def _forget_failures(prepared: Prepared) -> None:
    for label in prepared.todo:
        fingerprint = prepared.entries[label]["fingerprint"]
        for cell in prepared.cells:
            record = prepared.place.store.get(label, fingerprint, cell)
            if record is not None and record["status"] == results.FAILED:
                prepared.place.store.forget(label, fingerprint, cell)


def _is_published(job: Job) -> bool:
    return job.shard is not None or all((job.out / name).is_file() for name in results.PUBLISHED)


def _publish(out: Path) -> None:
    """Write the leaderboard as Markdown and as a page."""
    files.write(out / results.LEADERBOARD, table.leaderboard(out).encode())
    files.write(out / results.PAGE, webpage.page(out).encode())
