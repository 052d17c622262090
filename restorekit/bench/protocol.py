"""What makes scores comparable: the protocol of a suite, and the description of each method."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import platform
from typing import Any

import torch

from restorekit.bench import results
from restorekit.bench.contenders import Contender, parts_of
from restorekit.bench.inputs import Inputs
from restorekit.bench.suite import Suite
from restorekit.registries import Registry

PRECISION = "fp32"
"""What networks compute in, on every device; see `exact`."""

TILING = "none"
EVALUATION = "eval"
"""Networks see whole images, in evaluation mode."""

LIBRARIES = ("torch", "torchvision", "kornia", "numpy", "pillow", "scikit-image", "scipy", "timm")
"""Libraries whose versions the manifest records."""


def manifest(plan: Suite, inputs: Inputs, registry: Registry, *, shard: str | None = None) -> dict[str, Any]:
    """The manifest without methods and without digests of damaged images, which are made later."""
    specs = {spec["part"]: {**spec, "definition": plan.metrics[spec["part"]].definition} for spec in plan.content["metrics"]}
    ingredients = {
        "suite": plan.name,
        "data": {"longest_side": plan.data.longest_side, "crop": plan.data.crop, "limit": plan.limit},
        "targets": inputs.targets,
        "damaged": inputs.files if plan.data.paired else {},
        "degradations": plan.content["degradations"],
        "files": dict(plan.files),
        "seeds": inputs.seeds,
        "alignment": plan.alignment,
        "metrics": specs,
        "parts": {name: _version(name, registry) for name in sorted(parts_of([plan.content["degradations"], specs]))},
        "precision": PRECISION,
        "tiling": TILING,
        "evaluation": EVALUATION,
    }
    return {
        "format": results.FORMAT,
        "suite": plan.name,
        "content": plan.content,
        "protocol": sha(ingredients),
        "ingredients": ingredients,
        "files": inputs.files,
        "inputs": {},
        "images": list(inputs.targets),
        "degradations": list(plan.degradations),
        "draws": plan.seeds,
        "gives": {name: sorted(part.params) if part is not None else [] for name, part in plan.degradations.items()},
        "metrics": {
            name: {
                "higher_is_better": metric.higher_is_better,
                "unit": metric.unit,
                "definition": metric.definition,
                "version": _version(name, registry),
            }
            for name, metric in plan.metrics.items()
        },
        "shard": shard,
        "methods": {},
    }


def entry(contender: Contender, device: torch.device, threads: int, registry: Registry) -> dict[str, Any]:
    """What the manifest says of a method, besides its costs."""
    identity = {**contender.identity(registry), "device": device.type, "precision": PRECISION, "threads": threads}
    return {**identity, "fingerprint": sha(identity), **contender.terms(registry)}


def environment(device: torch.device, registry: Registry) -> dict[str, Any]:
    """Where something was measured: versions, device, system."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    versions |= {plugin.distribution: plugin.version for plugin in registry.plugins}
    return {
        "versions": versions,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "system": platform.system(),
    }


def _version(part: str, registry: Registry) -> str:
    found = registry.named(part)[0]
    return f"{found.distribution} {found.version}"


def sha(value: Any) -> str:
    """SHA-256 of a value as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def exact() -> contextlib.AbstractContextManager[None]:
    """A context in which convolutions on CUDA round to fp32, not TF32 as is torch's default, and are deterministic."""
    flags: contextlib.AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return flags
