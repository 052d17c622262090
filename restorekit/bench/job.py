"""What one run of the benchmark is to do, and everything that must be known before it computes anything."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from restorekit import devices, discovery
from restorekit.bench import protocol, results
from restorekit.bench.cells import Store
from restorekit.bench.compute import Place
from restorekit.bench.contenders import Contender, contenders
from restorekit.bench.difference import differences
from restorekit.bench.inputs import Cell, Inputs
from restorekit.bench.suite import Suite, load
from restorekit.errors import UserError
from restorekit.registries import Registry

INPUTS = "inputs"
ENDED = "the process ended"
"""How the reason begins of a row whose process died: nothing is known of the method, so the next run tries again."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to run.

    Attributes:
        suite: registered name, YAML file, or folder of images.
        methods: registered restorers, model files, YAML files with options, ``FILE.py:FUNCTION``, folders of
            restored pictures, or contenders.
        out: folder for the results.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        devices: how many processes share the cells, each on a device of its own.
        threads: of PyTorch, in each process.
        shard: ``i/n`` does the i-th of n parts only.
        isolate: each method in a process of its own.
        limit: only the first so many pictures.
        data: the data folder.
        pictures: keep the restored pictures for the page.
        keep_inputs: keep the damaged images after the run.
        retry: measure again what failed.
        metrics: instead of those of the suite.
        progress: show a bar with the time left, on the standard error.
        registry: where names are looked up; the installed parts if None.
    """

    suite: str
    methods: tuple[str | Contender, ...]
    out: Path
    device: str = "auto"
    devices: int = 1
    threads: int = 1
    shard: str | None = None
    isolate: bool = False
    limit: int | None = None
    data: Path | None = None
    pictures: bool = True
    keep_inputs: bool = False
    retry: bool = False
    metrics: tuple[str, ...] | None = None
    progress: bool = False
    registry: Registry | None = None


@dataclass(frozen=True)
class Prepared:
    """A job whose names are resolved, whose files are checked, and whose earlier results are read.

    Attributes:
        plan: the suite.
        inputs: its pairs.
        cells: those of the shard.
        field: every contender that was asked for.
        entries: what the manifest says of each, by label.
        about: the manifest so far, with the methods of earlier runs.
        rows: of earlier runs.
        todo: labels of the contenders that are not measured yet.
        place: where to compute.
    """

    plan: Suite
    inputs: Inputs
    cells: list[Cell]
    field: list[Contender]
    entries: Mapping[str, dict[str, Any]]
    about: dict[str, Any]
    rows: list[dict[str, Any]]
    todo: list[str]
    place: Place


def prepare(job: Job, *, device: torch.device | None = None) -> Prepared:
    """Resolve, check and read all that `job` needs.

    Args:
        job: what to run.
        device: where to compute instead of what the job says, in a process that was given a device.

    Raises:
        UserError: no such suite, method or device, pictures that are missing, changed or unreadable, two
            methods of one name, or an `out` that is no folder or holds other results.
    """
    registry = job.registry or discovery.registry()
    _check_writable(job.out)
    check_shard(job.shard)
    plan = load(job.suite, registry=registry, data=job.data, limit=job.limit, metrics=job.metrics)
    place = device or devices.pick(job.device)
    _check_processes(job, place)
    field = contenders(job.methods, registry=registry, single=len(plan.degradations) == 1)
    earlier, rows = _earlier(job.out)
    inputs = Inputs(plan, job.out / INPUTS, earlier=earlier)
    about = protocol.manifest(plan, inputs, registry, shard=job.shard)
    if earlier is not None:
        _check_same(earlier, about, job.out)
        about |= {"methods": dict(earlier["methods"]), "inputs": dict(earlier["inputs"])}
    entries = {one.label: protocol.entry(one, place, job.threads, registry) for one in field}
    again = {row["method"] for row in rows if row["status"] == results.FAILED and (job.retry or row["reason"].startswith(ENDED))}
    todo = [label for label in entries if label in again or not _is_measured(label, entries, about)]
    cells = [Cell(*label) for label in results.labels(about)]
    where = Place(place, protocol.environment(place, registry), job.out, Store(job.out, about["protocol"]), job.pictures)
    return Prepared(plan, inputs, cells, field, entries, about, rows, todo, where)


def _check_processes(job: Job, device: torch.device) -> None:
    there = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device.type)
    if there is not None and job.devices > there:
        raise UserError(f"--devices {job.devices}: this machine has {there} of {device.type}. Give at most as many, or --device cpu")
    if job.isolate and device.type == "mps":
        raise UserError("--isolate: other processes cannot compute on mps; add --device cpu, or leave --isolate out")


def check_shard(shard: str | None) -> None:
    """Raise a `UserError` unless `shard` is None or ``i/n`` with i from 1 to n."""
    if shard is None:
        return
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard {shard}: expected i/n with i from 1 to n, such as 1/4, 2/4, 3/4 and 4/4")


def _check_writable(out: Path) -> None:
    # Before anything is computed: a result that cannot be kept costs the user minutes.
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: a file; --out needs a folder")
    if out.exists() and not os.access(out, os.W_OK):
        raise UserError(f"{out}: this folder cannot be written; choose another --out")


def _earlier(out: Path) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    if not results.exist(out):
        return None, []
    return results.load(out)


def _check_same(earlier: Mapping[str, Any], about: Mapping[str, Any], out: Path) -> None:
    if earlier["protocol"] != about["protocol"]:
        lines = differences(earlier["ingredients"], about["ingredients"])
        raise UserError(
            f"{out}: holds results of protocol {earlier['protocol'][:12]}, this run has {about['protocol'][:12]}, and their scores "
            "do not compare. Choose another --out. What differs:\n" + "\n".join(f"  {line}" for line in lines)
        )
    if earlier["shard"] != about["shard"]:
        here, wanted = (f"shard {shard}" if shard else "a whole run" for shard in (earlier["shard"], about["shard"]))
        raise UserError(f"{out}: holds {here}, and this is {wanted}. Give each shard its own --out, and join them: restorekit bench merge")


def _is_measured(label: str, entries: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    earlier = about["methods"].get(label)
    return isinstance(earlier, dict) and earlier.get("fingerprint") == entries[label]["fingerprint"]
