"""Whether a part does on a GPU what it does on the processor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from restorekit import devices, seeding
from restorekit.bench.protocol import exact
from restorekit.conformance import probes
from restorekit.conformance.subject import Failed, Skipped, Subject
from restorekit.images import Degraded

TOLERANCE = 1e-3
"""For the largest difference between two results, as a share of the largest value."""

ROUNDING = 1e-6
"""Relative change of the input that is no more than rounding. A part may answer it with a difference above `TOLERANCE`, and on a
GPU with twice that: a search with thresholds turns elsewhere for less."""


def same_on_a_gpu(subject: Subject) -> str:
    """On a GPU the part returns, on that GPU, what it returns on the processor."""
    subject.target  # noqa: B018 - its skip is the better reason
    device = devices.pick()
    if device.type in ("cpu", "mps"):  # many scores and fits are computed in float64, which Apple's GPUs have not
        raise Skipped("this machine has no GPU with float64 that torch can use")
    here = torch.device("cpu")
    expected = _returned(subject, here)
    with exact():
        made = _returned(subject, device)
    strays = [path for path, value in made.items() if value.ndim and value.device.type != device.type]
    if strays:
        raise Failed(f"{strays[0]} is on {made[strays[0]].device}", "make it on the device of the input")
    worst = _differences(expected, made)
    path = max(worst, key=worst.__getitem__)
    if worst[path] > TOLERANCE:
        allowed = 2 * max(_differences(expected, _returned(subject, here, shaken=True)).values())
        if not worst[path] <= allowed:
            raise Failed(f"{path} differs by {worst[path]:.2g} of its largest value", "look for what the device decides, or draws")
    return f"differs by {worst[path]:.1g} of the largest value"


def _returned(subject: Subject, device: torch.device, *, shaken: bool = False) -> dict[str, Tensor]:
    with seeding.seeded("behaviour"):
        part = subject.build()
        given = probes.inputs(subject.kind, part)
        moved = [_moved(_shaken(value) if shaken else value, device) for value in given]
        return dict(_tensors(probes.called(subject.kind, _moved(part, device), tuple(moved))))


def _moved(value: Any, device: torch.device) -> Any:
    return value.to(device) if hasattr(value, "to") else value


def _shaken(value: Any) -> Any:
    if isinstance(value, Degraded):
        return replace(value, image=_shaken(value.image))
    if isinstance(value, Tensor) and value.is_floating_point():
        return value * (1 + ROUNDING * torch.randn(value.shape, generator=seeding.generator("rounding")))
    return value


def _differences(expected: Mapping[str, Tensor], made: Mapping[str, Tensor]) -> dict[str, float]:
    return {path: _difference(value, made[path]) for path, value in expected.items()}


def _difference(value: Tensor, other: Tensor) -> float:
    if value.shape != other.shape or value.dtype != other.dtype:
        return float("inf")
    first, second = (each.detach().cpu().double().nan_to_num() for each in (value, other))
    return float((first - second).abs().max() / first.abs().max().clamp(min=1e-12)) if first.numel() else 0.0


def _tensors(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors and numbers by their paths, but for what is drawn, which is on the processor, and what training returns: dropout differs."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, float):
        yield path, torch.tensor(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if path or key not in ("training", "trained", "drawn", "recorded"):
                yield from _tensors(item, f"{path}[{key}]" if path else str(key))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _tensors(item, f"{path}[{i}]")
