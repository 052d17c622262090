"""Resumable state as one safetensors file: weights, their average, optimisers, step and recipe. No pickle."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from restorekit import files
from restorekit.errors import ConfigError, TrainingError, UserError
from restorekit.recipes import Recipe
from restorekit.registries import Registry

NAME = "checkpoint.safetensors"
"""The newest; older ones have their number of steps in the name."""

OLDER = re.compile(r"checkpoint-(\d+)\.safetensors")
PARTIAL = re.compile(r"\.[0-9a-f]{32}\.part")
"""What `restorekit.files` writes before it renames."""

GOOD = "good."
"""Before the names of the tensors of the last good state, where that is an older one than the checkpoint's own."""

_MAY_CHANGE = "steps validate_every patience checkpoint_every keep watch watch_tries watch_every"
MAY_CHANGE = (*(("train", name) for name in _MAY_CHANGE.split()), ("data", "memory"), ("data", "workers"))
"""Keys that may differ between a checkpoint and the recipe that resumes it."""


@dataclass(frozen=True)
class State:
    """Everything that training changes; batches and draws follow from seed and step and need no place here."""

    networks: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]
    scalers: Mapping[str, GradScaler] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """A copy of a `State` on the processor: tensors by name, and the rest as JSON has it."""

    tensors: Mapping[str, Tensor]
    rest: Mapping[str, Any]


@dataclass(frozen=True)
class Loaded:
    """What a checkpoint holds besides the state.

    Attributes:
        step: steps done.
        extras: what the run remembers, as it was saved.
        good: the last good state, or None where the watch had none.
    """

    step: int
    extras: Mapping[str, Any]
    good: Snapshot | None


def capture(state: State) -> Snapshot:
    """A copy that later training does not change."""
    tensors = {f"network.{n}.{k}": v for n, network in state.networks.items() for k, v in network.state_dict().items()}
    groups = {}
    for name, optimizer in state.optimizers.items():
        content = optimizer.state_dict()
        groups[name] = content["param_groups"]
        for index, entries in content["state"].items():
            tensors |= {f"optimizer.{name}.{index}.{key}": torch.as_tensor(value) for key, value in entries.items()}
    # A copy each: the format refuses tensors that share memory, and training goes on in the originals.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    # Through JSON, so that a copy kept in memory and one read from a file are the same.
    rest = {"groups": groups, "scalers": {name: scaler.state_dict() for name, scaler in state.scalers.items()}}
    return Snapshot(tensors, json.loads(json.dumps(rest)))


def restore(state: State, snapshot: Snapshot) -> None:
    """Put a copy back. Networks that it does not have are left as they are."""
    for name, network in state.networks.items():
        found = _below(snapshot.tensors, f"network.{name}.")
        if found:
            network.load_state_dict(found)
    for name, optimizer in state.optimizers.items():
        entries: dict[int, dict[str, Tensor]] = {}
        for key, value in _below(snapshot.tensors, f"optimizer.{name}.").items():
            index, _, entry = key.partition(".")
            entries.setdefault(int(index), {})[entry] = value.clone()  # the optimiser goes on in the tensors it is given
        optimizer.load_state_dict({"state": entries, "param_groups": snapshot.rest["groups"][name]})
    for name, scaler in state.scalers.items():
        if name in snapshot.rest["scalers"]:
            scaler.load_state_dict(snapshot.rest["scalers"][name])


def there(folder: Path) -> bool:
    """Whether `folder` holds a checkpoint."""
    return bool(_newest_first(folder))


def save(
    folder: Path,
    state: State,
    *,
    step: int,
    recipe: Recipe,
    extras: Mapping[str, Any],
    good: Snapshot | None = None,
    keep: int = 1,
) -> None:
    """Write a checkpoint after `step` steps, beside first and then renamed; at no time is there none.

    Args:
        folder: of the run.
        state: what to write.
        step: steps done.
        recipe: of the run.
        extras: what the run remembers, as JSON has it.
        good: the last good state, where it is an older one than `state`.
        keep: checkpoints that stay, this one included.

    Raises:
        TrainingError: it cannot be written; the checkpoint before it is whole.
    """
    from safetensors.torch import save as to_bytes

    current = capture(state)
    tensors = dict(current.tensors) | {GOOD + name: value for name, value in (good.tensors if good else {}).items()}
    metadata = {"step": str(step), "recipe": recipe.canonical, "groups": json.dumps(current.rest["groups"])}
    metadata |= {"scalers": json.dumps(current.rest["scalers"]), "extras": json.dumps(extras)}
    if good:
        metadata["good"] = json.dumps(good.rest)
    path = folder / NAME
    try:
        if keep > 1 and path.is_file():
            _keep_older(path, step)
        files.write(path, to_bytes(tensors, metadata))
        for old in _newest_first(folder)[keep:]:
            old.unlink(missing_ok=True)
    except (OSError, UserError) as fault:
        raise TrainingError(
            f"stopped at step {step}: {_cause(fault)}. The checkpoint before is whole: make room or give the right to write, "
            "then add --resume to go on"
        ) from fault


def load(folder: Path, state: State, *, recipe: Recipe, registry: Registry) -> Loaded:
    """Put the newest whole checkpoint of `folder` into `state`.

    Raises:
        TrainingError: no checkpoint there, only damaged ones, or one of another recipe; the keys that differ are named.
    """
    paths = _newest_first(folder)
    if not paths:
        raise TrainingError(f"{folder / NAME}: no checkpoint to resume from. Leave out --resume to start, or give its folder with --out")
    path, tensors, metadata = _newest_whole(paths)
    changed = _differences(_comparable(_completed(metadata["recipe"], registry)), _comparable(recipe.content))
    if changed:
        raise TrainingError(f"{path}: made by another recipe; these differ: {', '.join(changed)}. Choose another --out to start afresh")
    current = Snapshot(
        {name: value for name, value in tensors.items() if not name.startswith(GOOD)},
        {"groups": metadata["groups"], "scalers": metadata.get("scalers", {})},
    )
    restore(state, current)
    extras = metadata.get("extras", {})
    good = Snapshot(_below(tensors, GOOD), metadata["good"]) if "good" in metadata else current
    return Loaded(metadata["step"], extras, good if "watch" in extras else None)


def tidy(folder: Path) -> None:
    """Remove what a run that was killed left half-written."""
    for path in folder.glob(".*.part"):
        if PARTIAL.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _newest_first(folder: Path) -> list[Path]:
    older = sorted(((int(found[1]), path) for path in folder.glob("checkpoint-*") if (found := OLDER.fullmatch(path.name))), reverse=True)
    newest = [folder / NAME] if (folder / NAME).is_file() else []
    return newest + [path for _, path in older]


def _newest_whole(paths: list[Path]) -> tuple[Path, dict[str, Tensor], dict[str, Any]]:
    for path in paths:
        try:
            tensors, metadata = _read(path)
        except TrainingError as fault:
            if path == paths[-1]:
                raise
            warnings.warn(f"{fault}; the one before it is tried", UserWarning, stacklevel=3)
        else:
            break
    return path, tensors, metadata


def _keep_older(path: Path, step: int) -> None:
    """Give the newest checkpoint a second name, under which it stays when that of `step` takes its first."""
    try:
        _, metadata = _read(path, tensors=False)
    except TrainingError:
        return  # damaged: not worth keeping
    if metadata["step"] == step:
        return
    older = path.with_name(f"checkpoint-{metadata['step']}.safetensors")
    older.unlink(missing_ok=True)
    try:
        older.hardlink_to(path)
    except OSError:  # a file system without links
        partial = path.with_name(f".{'0' * 32}.part")
        shutil.copyfile(path, partial)
        partial.replace(older)


def _read(path: Path, *, tensors: bool = True) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        with safe_open(path, framework="pt") as opened:
            metadata = {key: json.loads(value) for key, value in (opened.metadata() or {}).items()}
        if not {"step", "recipe", "groups"} <= metadata.keys():
            raise ValueError("step, recipe or optimisers are missing")
        return load_file(path) if tensors else {}, metadata
    except (SafetensorError, OSError, ValueError) as fault:
        raise TrainingError(f"{path}: not a whole checkpoint: {fault}") from fault


def _cause(fault: OSError | UserError) -> str:
    return f"{fault.filename}: {fault.strerror}" if isinstance(fault, OSError) and fault.filename else str(fault)


def _completed(content: Mapping[str, Any], registry: Registry) -> Mapping[str, Any]:
    """A stored recipe with the keys that are newer than it at their defaults."""
    try:
        return Recipe(content).check(registry).content
    except ConfigError:
        return content  # a part has changed since: the keys that differ are then named


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _comparable(content: Mapping[str, Any]) -> dict[str, Any]:
    flat = _flatten(json.loads(json.dumps(content)), "")
    for keys in MAY_CHANGE:
        flat.pop(".".join(keys), None)
    return flat


def _flatten(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, inner in items for k, v in _flatten(inner, f"{where}.{key}".lstrip(".")).items()}
    return {where: value}


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    absent = object()
    return [key for key in sorted(first.keys() | second.keys()) if first.get(key, absent) != second.get(key, absent)]
