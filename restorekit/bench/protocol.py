"""What makes scores comparable: the protocol of a suite, and the description of each method."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import platform
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from restorekit import config
from restorekit.bench import results
from restorekit.bench.inputs import Inputs
from restorekit.bench.suite import Suite
from restorekit.methods import Method
from restorekit.modelfile import Model
from restorekit.registries import Registry

PRECISION = "fp32"
"""What networks compute in, on every device; see `exact`."""

LIBRARIES = ("torch", "torchvision", "kornia", "numpy", "pillow", "scikit-image", "scipy", "timm")
"""Libraries whose versions the manifest records."""


def manifest(plan: Suite, inputs: Inputs, registry: Registry) -> dict[str, Any]:
    """The manifest without methods."""
    specs = {spec["part"]: spec for spec in plan.content["metrics"]}
    ingredients = {
        "suite": plan.name,
        "data": {key: value for key, value in plan.content["data"].items() if key != "images"},
        "targets": inputs.targets,
        "degradations": plan.content["degradations"],
        "seeds": inputs.seeds,
        "metrics": specs,
        "parts": {name: _version(name, registry) for name in sorted(_parts([plan.content["degradations"], specs]))},
        "precision": PRECISION,
    }
    return {
        "format": results.FORMAT,
        "suite": plan.name,
        "content": plan.content,
        "protocol": _sha(ingredients),
        "ingredients": ingredients,
        "inputs": inputs.digests,
        "images": list(inputs.targets),
        "degradations": list(plan.degradations),
        "metrics": {
            name: {"higher_is_better": metric.higher_is_better, "unit": metric.unit, "version": _version(name, registry)}
            for name, metric in plan.metrics.items()
        },
        "methods": {},
    }


def entry(method: Method, device: torch.device, registry: Registry) -> dict[str, Any]:
    """What the manifest says of a method, besides its costs."""
    found = registry.find("restorer", method.part)
    options = {name: _content(found.load(), name, value) for name, value in method.options.items()}
    network = _network(method)
    identity = {
        "part": method.part,
        "options": options,
        "distribution": found.distribution,
        "version": found.version,
        "network": network,
        "device": device.type,
        "precision": PRECISION,
    }
    told = sorted(method.restorer.uses)
    paper, licence = found.part.paper, found.part.licence
    if network is not None and any(option != method.options[name] for name, option in options.items()):
        # The part only reads model files; what it reads has a method and terms of its own.
        paper, licence = _terms(network["part"], registry) or (paper, licence)
    return {
        **identity,
        "fingerprint": _sha(identity),
        "blind": not told,
        "uses": told,
        "paper": paper,
        "licence": licence,
        "environment": _environment(device, registry),
    }


def _content(target: type, name: str, value: Any) -> Any:
    """An option's value; a file by its name and digest, because its path says nothing elsewhere."""
    annotation = config.options_of(target)[name].annotation
    if Path in (annotation, *typing.get_args(annotation)) and isinstance(value, str) and Path(value).is_file():
        return {"file": Path(value).name, "sha256": hashlib.sha256(Path(value).read_bytes()).hexdigest()}
    return value


def _network(method: Method) -> dict[str, Any] | None:
    """The network that a restorer holds, or None."""
    model = next((value for value in vars(method.restorer).values() if isinstance(value, Model)), None)
    if model is None:
        return None
    digest = hashlib.sha256(model.recipe.canonical.encode())
    for name, value in sorted(model.generator.state_dict().items()):
        digest.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return {
        "part": str(model.recipe.content["generator"]["part"]),
        "parameters": sum(parameter.numel() for parameter in model.generator.parameters()),
        "sha256": digest.hexdigest(),
    }


def _terms(generator: str, registry: Registry) -> tuple[str, str] | None:
    found = [part.part for part in registry.of_kind("generator") if part.name == generator]
    return (found[0].paper, found[0].licence) if found else None


def _environment(device: torch.device, registry: Registry) -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    versions |= {plugin.distribution: plugin.version for plugin in registry.plugins}
    return {
        "versions": versions,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
    }


def _version(part: str, registry: Registry) -> str:
    found = registry.named(part)[0]
    return f"{found.distribution} {found.version}"


def _parts(spec: Any) -> Iterator[str]:
    """Names of every part in a checked specification."""
    if isinstance(spec, Mapping):
        if isinstance(spec.get("part"), str):
            yield spec["part"]
        spec = list(spec.values())
    if isinstance(spec, list):
        for item in spec:
            yield from _parts(item)


def _sha(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def exact() -> contextlib.AbstractContextManager[None]:
    """A context in which convolutions on CUDA round to fp32, not TF32 as is torch's default, and are deterministic."""
    flags: contextlib.AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return flags
