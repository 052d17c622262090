"""Other people's checkpoints as model files: an importer of a plugin says how, core checks that everything fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from restorekit import config, discovery, files, modelfile
from restorekit.checkpoints import read_checkpoint
from restorekit.errors import ConfigError, UserError
from restorekit.interfaces import Imported
from restorekit.recipes import Recipe

if TYPE_CHECKING:
    from restorekit.registries import RegisteredPart, Registry


@dataclass(frozen=True)
class Conversion:
    """What came of a checkpoint.

    Attributes:
        model: the network with its weights.
        part: full name of the generator.
        told: the options that the file told.
        assumed: options that it does not tell, at their defaults.
        dropped: tensors that were left out on purpose, by the reason.
        sha256: of the file.
    """

    model: modelfile.Model
    part: str
    told: Mapping[str, Any]
    assumed: Mapping[str, Any]
    dropped: Mapping[str, tuple[str, ...]]
    sha256: str


def convert(path: Path, name: str, settings: Mapping[str, Any] | None = None, *, registry: Registry | None = None) -> Conversion:
    """Make a model of somebody else's checkpoint.

    Args:
        path: the checkpoint, as `restorekit.read_checkpoint` takes it.
        name: the generator that it is for.
        settings: options of the generator that the file does not tell, by dotted name.
        registry: where the generator and its importer are; the installed parts if None.

    Raises:
        UserError: no such generator, one without an importer, or a file that cannot be read, is of another network, lacks
            tensors or has some too many or of another shape (all are listed), or holds values that are not finite.
    """
    registry = registry or discovery.registry()
    part = registry.find("generator", name)
    importer = part.importer()
    if importer is None:
        able = ", ".join(other.name for other in registry.of_kind("generator") if other.part.importer) or "none"
        raise UserError(f"{part.name} has no importer of other people's checkpoints; those that have: {able}")
    tensors = read_checkpoint(path)
    if _is_model(path):
        raise UserError(f"{path}: already a model file; use it: restorekit restore photo.jpg -o restored.jpg --with {path}")
    settings = dict(settings or {})
    try:
        found = importer(tensors, settings)
    except Exception as fault:  # of a tensor that is not there or not what it should be, most likely
        why = " ".join(f"{type(fault).__name__}: {fault}".split())
        raise UserError(f"{path}: the importer of {part.name} does not understand it: {why}") from fault
    if found is None:
        raise UserError(_another(path, part, tensors, registry))
    spec = _specification(part, found, settings, registry)
    weights = _fitted(path, part, spec, found, tensors, registry)
    digest = files.sha256(path)
    dropped: dict[str, list[str]] = {}
    for tensor, why in found.dropped.items():
        dropped.setdefault(why, []).append(tensor)
    provenance = {
        "distributions": {part.namespace: f"{part.distribution}=={part.version}"},
        "imported from": path.name,
        "sha256": digest,
        "torch": str(torch.__version__),
    }
    generator = modelfile.assemble("generator", spec, weights, path, registry)
    return Conversion(
        model=modelfile.Model(generator, Recipe({"recipe": 1, "task": "", "generator": spec}, str(path)), provenance=provenance),
        part=part.name,
        told=dict(found.options),
        assumed={key: value for key, value in spec.items() if key not in {"part", *found.options, *settings}},
        dropped={why: tuple(names) for why, names in dropped.items()},
        sha256=digest,
    )


def _is_model(path: Path) -> bool:
    try:
        modelfile.read_header(path)
    except UserError:
        return False
    return True


def _specification(part: RegisteredPart, found: Imported, settings: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """The generator's whole options: what the file tells and what the user adds."""
    for key, value in settings.items():
        if key in found.options and found.options[key] != value:
            raise UserError(f"--set {key}={value}: the checkpoint's is {found.options[key]}; leave it out")
    content = Recipe({"part": part.name, **found.options}, part.name)
    for key, value in settings.items():
        content = content.set(key, value)
    checked, problems = config.check_part("generator", content.content, registry=registry, where="")
    if problems:
        raise ConfigError(f"{part.name}: {problem.removeprefix('.')}" for problem in problems)
    return dict(checked)


def _fitted(
    path: Path, part: RegisteredPart, spec: Mapping[str, Any], found: Imported, tensors: Mapping[str, Tensor], registry: Registry
) -> dict[str, Tensor]:
    """The network's tensors, all of them, and nothing left over."""
    with torch.device("meta"):
        network = config.build_spec("generator", spec, registry=registry, where=part.name)
    weights: dict[str, Tensor] = {}
    known, wrong = set(found.dropped), []
    for ours, wanted in network.state_dict().items():
        theirs = found.names.get(ours, ours)
        known.add(theirs)
        value = found.changed.get(ours, tensors.get(theirs))
        if value is None:
            wrong.append(f"{theirs} is missing, {tuple(wanted.shape)}")
        elif value.shape != wanted.shape:
            wrong.append(f"{theirs} is {tuple(value.shape)}, the network takes {tuple(wanted.shape)}")
        elif value.is_floating_point() != wanted.is_floating_point() or value.is_complex():
            wrong.append(
                f"{theirs} is {str(value.dtype).removeprefix('torch.')}, the network takes {str(wanted.dtype).removeprefix('torch.')}"
            )
        elif not torch.isfinite(value).all():
            wrong.append(f"{theirs} holds values that are not finite")
        else:
            weights[ours] = value
    wrong += [f"{theirs} is not of the network" for theirs in tensors if theirs not in known]
    if wrong:
        told = ", ".join(f"{key}={value}" for key, value in found.options.items())
        raise UserError(f"{path}: looks like {part.name} with {told}, but {len(wrong)} tensors do not fit:\n  " + "\n  ".join(wrong))
    return weights


def _another(path: Path, part: RegisteredPart, tensors: Mapping[str, Tensor], registry: Registry) -> str:
    """The message that a checkpoint is not of this network, and of which it is."""
    like = []
    for other in registry.of_kind("generator"):
        if other is part:
            continue
        try:
            importer = other.importer()
            if importer is not None and importer(tensors, {}) is not None:
                like.append(other.name)
        except Exception:  # noqa: S112 - a question in passing, whose answer is then no
            continue
    start = f"{path}: not a checkpoint of {part.name}"
    if like:
        return f"{start}; it looks like {' or '.join(like)}: restorekit import {path} --as {like[0]}"
    if restorer := _taken_as_it_is(path, registry):
        name, network = restorer
        use = f"restorekit restore photo.jpg -o restored.png --with {name} --set file={path}"
        return f"{start}; it looks like {network}, which is used as it is: {use}"
    first = ", ".join(f"{name} {tuple(value.shape)}" for name, value in list(tensors.items())[:3])
    return (
        f"{start}, nor of another network that can be imported; its {len(tensors)} tensors begin with {first}. "
        "NAFNet, SwinIR, Real-ESRGAN and others are used as they are, with: pip install 'restorekit-spandrel[spandrel]'"
    )


def _taken_as_it_is(path: Path, registry: Registry) -> tuple[str, str] | None:
    """A restorer that needs nothing but a checkpoint and takes this one, and the name that it has for the network."""
    for part in registry.of_kind("restorer"):
        try:
            needed = [name for name, option in config.options_of(part.load()).items() if option.required]
            if needed != ["file"]:
                continue
            model = vars(config.build(part, {"file": str(path)}, registry=registry)).get("model")
        except Exception:  # noqa: S112 - again a question in passing
            continue
        return part.name, model.recipe.content["generator"]["part"] if isinstance(model, modelfile.Model) else part.name
    return None
