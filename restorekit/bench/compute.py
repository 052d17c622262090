"""Restoring and scoring: the cells that one process has to do."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from restorekit import seeding
from restorekit.bench import align, pictures, protocol, results
from restorekit.bench.cells import Store
from restorekit.bench.contenders import Contender
from restorekit.bench.inputs import Cell, Inputs, Pair
from restorekit.bench.measure import Meter
from restorekit.bench.suite import Suite
from restorekit.errors import ImageError, UserError
from restorekit.images import Degraded
from restorekit.interfaces import Metric

Advance = Callable[[str], None]

LARGEST = 16383
"""Longest side of a WebP picture, in pixels."""


@dataclass(frozen=True)
class Place:
    """Where and how cells are computed.

    Attributes:
        device: what on.
        environment: what the records say of it.
        out: folder of the results.
        store: what has been made.
        keep_pictures: whether restored pictures are kept.
    """

    device: torch.device
    environment: Mapping[str, Any]
    out: Path
    store: Store
    keep_pictures: bool


def compute(
    plan: Suite,
    inputs: Inputs,
    field: Sequence[tuple[Contender, str]],
    cells: Sequence[Cell],
    place: Place,
    advance: Advance,
    known: Mapping[str, str],
) -> None:
    """Restore and score every cell that has not been made, method by method.

    Args:
        plan: the suite.
        inputs: its pairs.
        field: contenders with their fingerprints.
        cells: which to do.
        place: where.
        advance: called with the method's name after each cell.
        known: digests of damaged images, by label, that earlier runs saw.

    Raises:
        UserError: a damaged image differs from the one that an earlier run saw.
    """
    with protocol.exact():
        for contender, fingerprint in field:
            todo = [cell for cell in cells if not place.store.has(contender.label, fingerprint, cell)]
            if not todo:
                continue
            stuck, meter = "", Meter(place.device)
            try:
                contender.move(place.device)
            except Exception as fault:  # such as a device whose memory is full
                stuck = _words(fault)
            for cell in todo:
                pair = inputs.pair(cell)
                if known.get(cell.label, pair.digest) != pair.digest:
                    raise UserError(
                        f"{place.out}: its damaged images differ from those made now in their last bits: another processor or torch "
                        "version made them. Choose another --out"
                    )
                place.store.put(contender.label, fingerprint, cell, _record(plan, contender, cell, pair, meter, stuck, place))
                advance(contender.label)


def _record(plan: Suite, contender: Contender, cell: Cell, pair: Pair, meter: Meter, stuck: str, place: Place) -> dict[str, Any]:
    record: dict[str, Any] = {
        "method": contender.label,
        "image": cell.image,
        "degradation": cell.degradation,
        "draw": cell.draw,
        "input": pair.digest,
        "output": None,
        "status": results.FAILED,
        "reason": stuck,
        "scores": {},
        "seconds": None,
        "memory_mb": None,
        "warm_up_seconds": None,
        "environment": place.environment,
    }
    if stuck:
        return record
    try:
        call = partial(contender.restore, cell, pair.degraded.to(place.device))
        with seeding.seeded(cell.image, cell.degradation, *([cell.draw] if cell.draw else [])):
            if contender.timed:
                restored, cost = meter.call(call)
                record |= {"seconds": cost.seconds, "memory_mb": cost.memory_mb, "warm_up_seconds": cost.warm_up_seconds}
            else:
                restored = call()
    except Exception as fault:  # one method's failure is a row, not the end of the others
        lacking = _lacking(contender, pair.degraded, fault)
        status = results.INAPPLICABLE if lacking else results.FAILED
        return record | {"status": status, "reason": lacking or _words(fault)}
    restored = restored.cpu()
    levels = restored.mul(255).round().byte()[0].permute(1, 2, 0).contiguous().numpy()
    scores, reason = score(plan.metrics, restored, pair, plan.alignment)
    if place.keep_pictures and max(levels.shape[:2]) <= LARGEST and not reason:
        pictures.keep(pictures.path(place.out, contender.label, cell.image, cell.degradation, cell.draw), levels)
        sharp = pictures.path(place.out, pictures.TARGET, cell.image)
        if not sharp.is_file():
            pictures.keep(sharp, next(pair.targets()).mul(255).round().byte()[0].permute(1, 2, 0).numpy())
    output = hashlib.sha256(repr(levels.shape).encode() + levels.tobytes()).hexdigest()
    return record | {"status": results.FAILED if reason else results.OK, "reason": reason, "output": output, "scores": scores}


def score(
    metrics: Mapping[str, Metric], restored: Tensor, pair: Pair, alignment: str | None
) -> tuple[dict[str, float | str | dict[str, str]], str]:
    """The score of a result under each metric, as records hold it: a number, ``"inf"``, or ``{"reason": ...}``.

    Where there are several targets, the best counts, metric by metric.

    Returns:
        The scores, and why there are none, or an empty text.
    """
    found: dict[str, float | str | dict[str, str]] = {}
    for target in pair.targets():
        if restored.shape != target.shape:
            (_, c, h, w), (_, channels, height, width) = restored.shape, target.shape
            return {}, f"the result is {w}×{h} with {c} channels, the target {width}×{height} with {channels}"
        shown, sharp = restored, target
        if alignment is not None:
            try:
                shown, sharp = align.aligned(restored, target, alignment)
            except UserError as fault:
                return {}, _words(fault)
        for name, metric in metrics.items():
            found[name] = _best(found.get(name), _score(name, metric, shown, sharp), metric.higher_is_better)
    return found, ""


def _score(name: str, metric: Metric, restored: Tensor, target: Tensor) -> float | str | dict[str, str]:
    try:
        value = float(metric(restored, target).item())
    except Exception as fault:
        return {"reason": f"{name}: {_words(fault)}"}
    return {"reason": f"{name}: the score is not a number"} if math.isnan(value) else results.stored(value)


def _best(one: float | str | dict[str, str] | None, other: float | str | dict[str, str], higher: bool) -> float | str | dict[str, str]:
    if one is None or isinstance(other, dict):
        return other
    if isinstance(one, dict):
        return one
    return max(one, other, key=float) if higher else min(one, other, key=float)


def _lacking(contender: Contender, given: Degraded, fault: Exception) -> str:
    """What the method needs and this damage does not come with, if that is why it failed."""
    for name in contender.uses:
        try:
            given.need(name)
        except ImageError as lacking:
            if str(lacking) == str(fault):
                return f"needs the {name}, which this damage does not come with"
    return ""


def _words(fault: Exception) -> str:
    text = " ".join(str(fault).split())
    return text if isinstance(fault, UserError) and text else f"{type(fault).__name__}: {text}".removesuffix(": ")
