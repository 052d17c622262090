"""Resumable state as one safetensors file: weights, their average, optimisers, step and recipe. No pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from restorekit import files
from restorekit.errors import TrainingError
from restorekit.recipes import Recipe

NAME = "checkpoint.safetensors"

MAY_CHANGE = (("train", "steps"), ("train", "validate_every"), ("train", "checkpoint_every"))
"""Keys that may differ between a checkpoint and the recipe that resumes it."""


@dataclass(frozen=True)
class State:
    """Everything that training changes; batches and draws follow from seed and step and need no place here."""

    networks: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]


def save(path: Path, state: State, *, step: int, recipe: Recipe) -> None:
    """Write a checkpoint after `step` steps, beside first and then renamed.

    Raises:
        UserError: the file cannot be written; the checkpoint before it is intact.
    """
    from safetensors.torch import save as to_bytes

    tensors = {f"network.{n}.{k}": v for n, network in state.networks.items() for k, v in network.state_dict().items()}
    groups = {}
    for name, optimizer in state.optimizers.items():
        content = optimizer.state_dict()
        groups[name] = content["param_groups"]
        for index, entries in content["state"].items():
            tensors |= {f"optimizer.{name}.{index}.{key}": torch.as_tensor(value) for key, value in entries.items()}
    # A copy each: the format refuses tensors that share memory.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    metadata = {"step": str(step), "recipe": recipe.canonical, "groups": json.dumps(groups)}
    files.write(path, to_bytes(tensors, metadata))


def load(path: Path, state: State, *, recipe: Recipe) -> int:
    """Put a checkpoint's content into `state` and return the number of steps it had done.

    Raises:
        TrainingError: no checkpoint there, a damaged one, or one of another recipe; the keys that differ are named.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    if not path.is_file():
        raise TrainingError(f"{path}: no checkpoint to resume from. Leave out --resume to start, or give its folder with --out")
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
        tensors = load_file(path)
        step, groups, stored = int(metadata["step"]), json.loads(metadata["groups"]), json.loads(metadata["recipe"])
    except (SafetensorError, OSError, KeyError, ValueError) as fault:
        raise TrainingError(f"{path}: not a whole checkpoint: {fault}") from fault
    changed = _differences(_comparable(stored), _comparable(recipe.content))
    if changed:
        raise TrainingError(f"{path}: made by another recipe; these differ: {', '.join(changed)}. Choose another --out to start afresh")
    for name, network in state.networks.items():
        network.load_state_dict(_below(tensors, f"network.{name}."))
    for name, optimizer in state.optimizers.items():
        entries: dict[int, dict[str, Tensor]] = {}
        for key, value in _below(tensors, f"optimizer.{name}.").items():
            index, _, entry = key.partition(".")
            entries.setdefault(int(index), {})[entry] = value
        optimizer.load_state_dict({"state": entries, "param_groups": groups[name]})
    return step


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
