"""From what a user typed to a restorer: a registered name, a model file, or a YAML file with options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorekit import config, discovery, recipes, remote
from restorekit.errors import ConfigError, UserError
from restorekit.files import TRAINED

if TYPE_CHECKING:
    from restorekit.interfaces import Restorer
    from restorekit.registries import Registry

MODEL_SUFFIX = ".safetensors"
FOREIGN = (".pth", ".pt", ".ckpt", ".h5", ".bin", ".pkl")


@dataclass(frozen=True)
class Method:
    """A restorer, ready to run, and how tables call it.

    Attributes:
        label: full name of the part, or the stem of the model file.
        part: full name of the restorer part.
        options: its whole options.
        restorer: the instance.
    """

    label: str
    part: str
    options: Mapping[str, Any]
    restorer: Restorer


def resolve(name: str, options: Mapping[str, Any] | None = None, *, seed: int | None = None, registry: Registry | None = None) -> Method:
    """The method that `name` means.

    Args:
        name: ``core/wiener``, ``wiener``, ``model.safetensors``, the address of a model file as `restorekit.remote` takes it,
            or ``method.yaml`` with the key ``part`` and the part's options.
        options: dotted option paths and their values, as given with ``--set``.
        seed: for the option ``seed`` of methods that have one, where neither `options` nor the file says another.
        registry: where names are looked up; the installed parts if None.

    Raises:
        UserError: no such name or file, a part that is no restorer, or options that do not fit.
    """
    registry = registry or discovery.registry()
    path = Path(name)
    spec: Mapping[str, Any]
    if remote.is_address(name):
        file = remote.local(name)
        label, spec = file.stem, {"part": "core/network", "file": str(file)}
    elif path.suffix == MODEL_SUFFIX:
        if not path.is_file():
            raise UserError(f"{name}: no such model file")
        label, spec = path.stem, {"part": "core/network", "file": name}
    elif path.suffix in (".yaml", ".yml"):
        label, spec = path.stem, recipes.load_yaml(path)
    elif path.suffix in FOREIGN:
        raise UserError(
            f"{name}: somebody else's checkpoint. Make a model file of it: restorekit import {name} --as NETWORK -o model.safetensors, "
            f"or use it as it is, if spandrel knows it: --with spandrel/checkpoint --set file={name}"
        )
    elif path.is_file():
        raise UserError(f"{name}: not a method; give a registered name, a model file (.safetensors) or a YAML file with the key part")
    elif (path / TRAINED).is_file():
        raise UserError(f"{name}: a folder; give the model in it, {path / TRAINED}")
    else:
        label, spec = "", {"part": _restorer(name, registry)}
    content = recipes.Recipe(spec, name)
    for key, value in (options or {}).items():
        content = content.set(key, value)
    checked, problems = config.check_part("restorer", content.content, registry=registry, where="")
    if problems:
        raise ConfigError(f"{name}: {problem.removeprefix('.')}" for problem in problems)
    if seed is not None and "seed" in checked and "seed" not in content.content:
        checked["seed"] = seed
    restorer = config.build_spec("restorer", checked, registry=registry, where=name)
    rest = {k: v for k, v in checked.items() if k != "part"}
    return Method(label or checked["part"], checked["part"], rest, restorer)


def _restorer(name: str, registry: Registry) -> str:
    try:
        return registry.find("restorer", name).name
    except UserError:
        others = [p for p in registry.parts if name in (p.name, p.part.name)]
        if any(p.kind == "generator" for p in others):
            raise UserError(
                f"{name} is a generator, a network without weights: name a model file (--with model.safetensors). "
                f"To make one: restorekit train. Methods without training: restorekit list restorer"
            ) from None
        if others:
            kinds = " and a ".join(part.kind for part in others)
            how = f" Train it: restorekit train {name} --out FOLDER." if any(p.kind == "recipe" for p in others) else ""
            raise UserError(f"{name} is a {kinds}, not a restorer.{how} See: restorekit list restorer") from None
        raise
