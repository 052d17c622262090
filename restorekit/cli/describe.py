"""What there is to know of a part or a model file, as plain data; `restorekit.cli.report` prints it."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorekit import config
from restorekit.errors import ConfigError, UserError
from restorekit.hooks import KINDS

if TYPE_CHECKING:
    from restorekit.modelfile import Header
    from restorekit.registries import RegisteredPart, Registry

IMAGE = "(N, C, H, W) in [0, 1]"
SHAPES = {
    "critic": ("image {image}, or several from coarse to fine", "one map of logits (N, 1, h, w) per scale"),
    "adversarial": ("a critic, real and made images " + IMAGE, "named scalars to minimise, for the critic and for the generator"),
    "loss": ("restored and target " + IMAGE, "a scalar, the mean over the batch"),
    "degradation": ("image " + IMAGE, "image (N, C, H/scale, W/scale) in [0, 1], and what was done to it"),
    "metric": ("restored and target " + IMAGE, "one score per image, (N,)"),
    "set-metric": ("restored and target " + IMAGE + ", any number of times", "one number for the set"),
    "restorer": ("image " + IMAGE + ", and what it uses", "image (N, C, scale·H, scale·W) in [0, 1]"),
    "estimator": ("image " + IMAGE, "PSF (N, size, size), sum 1, centred"),
    "features": ("image " + IMAGE, "maps (N, C', H', W') by layer name"),
}
"""What a part of each kind takes and gives; generators say it themselves."""

BUILT = ("generator", "critic", "degradation", "metric", "loss", "features", "estimator")
"""Kinds whose declarations may depend on options and that are cheap to build with their defaults."""


def part(registered: RegisteredPart, registry: Registry) -> dict[str, Any]:
    """A part, ready for JSON.

    Raises:
        UserError: its target cannot be imported, or it is a recipe with mistakes.
    """
    record = registered.part
    found: dict[str, Any] = {
        "kind": registered.kind,
        "name": registered.name,
        "summary": record.summary,
        "paper": record.paper,
        "licence": record.licence,
        "distribution": registered.distribution,
        "version": registered.version,
        "interface": registered.interface,
        "target": record.target,
        "source": str(registered.source() or ""),
    }
    if record.default_for:
        found["default_for"] = record.default_for
    if record.renamed_from:
        found["renamed_from"] = record.renamed_from
    if registered.kind == "recipe":
        return found | {"recipe": _recipe(registered, registry)}
    if registered.kind == "suite":
        return found | {"suite": registered.load().read_text(encoding="utf-8")}
    target = registered.load()
    declared, parameters = declarations(registered.kind, target)
    takes, gives = shapes(registered.kind, declared)
    found |= {"takes": takes, "gives": gives}
    if parameters is not None:
        found["parameters"] = parameters
    return found | {"declares": declared, "options": options(registered, target)}


def model(header: Header) -> dict[str, Any]:
    """What a model file says of itself, ready for JSON."""
    return {
        "file": str(header.path),
        "bytes": header.path.stat().st_size,
        "generator": header.recipe.content.get("generator", {}).get("part", ""),
        "parameters": header.parameters,
        "dtype": header.dtype,
        "ema": header.ema,
        "scores": dict(header.scores),
        "provenance": dict(header.provenance),
        "recipe": dict(header.recipe.content),
    }


def metric_file(registered: RegisteredPart) -> str:
    """A file for ``score --metric``: the part and all that must be given, features by a network that is small."""
    known = config.options_of(registered.load())
    lines = [f"part: {registered.name}"]
    for option in known.values():
        if option.required and option.slot is not None and option.slot.kind == "features":
            lines.append("features: {part: core/squeezenet, weights: imagenet}")
            lines += ["layer: features.12"] if "layer" in known else []
        elif option.required:
            lines.append(f"{option.name}: {option.name.upper()}")
    return "\n".join(lines)


def options(registered: RegisteredPart, target: Callable[..., Any]) -> list[dict[str, Any]]:
    """Every option: name, type with bounds, default, whether it must be given, and what its docstring says."""
    words = config.option_words(target)
    try:
        known = config.options_of(target)
    except TypeError as fault:
        raise UserError(f"{registered.kind} {registered.name} of {registered.distribution} is at fault, not you: {fault}") from fault
    return [
        {
            "name": option.name,
            "type": option.type,
            "default": None if option.required else plain(option.default),
            "required": option.required,
            "help": words.get(option.name, ""),
        }
        for option in known.values()
    ]


def declarations(kind: str, target: Callable[..., Any]) -> tuple[dict[str, Any], int | None]:
    """What a part's class declares of itself, and the number of its parameters where it is a network.

    Constructors may set declarations, so a part that can be built from its defaults alone, on no device, is.
    """
    module, _, name = KINDS[kind].partition(":")
    interface = getattr(importlib.import_module(module), name)
    holder = _built(kind, target)
    parameters = None
    if holder is not None and kind in ("generator", "critic"):
        parameters = sum(weight.numel() for weight in holder.parameters())
    declared = {}
    for attribute in inspect.get_annotations(interface):
        value = getattr(holder if holder is not None else target, attribute, None)
        if value is not None and not isinstance(value, property):
            declared[attribute] = plain(value)
    return declared, parameters


def _built(kind: str, target: Callable[..., Any]) -> Any:
    if kind not in BUILT or getattr(target, "downloads", False):  # a description does not wait for the network
        return None
    if any(option.required for option in config.options_of(target).values()):
        return None
    import torch

    try:
        with torch.device("meta"):
            return target(weights="random") if kind == "features" else target()
    except Exception:  # it reads a file or a value of a tensor: then the class alone speaks
        return None


def shapes(kind: str, declared: Mapping[str, Any]) -> tuple[str, str]:
    """What a part takes and gives, in words."""
    if kind != "generator":
        takes, gives = SHAPES[kind]
        return takes.format(image=f"(N, {declared.get('channels', 'C')}, H, W) in [0, 1]"), gives
    channels, scale, size = declared.get("channels", "C"), declared.get("scale", 1), declared.get("size", {})
    fixed = size.get("fixed")
    grown = f"(N, {channels}, {fixed[0]}, {fixed[1]})" if fixed else f"(N, {channels}, {_times(scale, 'H')}, {_times(scale, 'W')})"
    if declared.get("consumes") == "latent":
        return f"latent (N, {declared.get('latent') or 'Z'}) from a standard normal", f"image {grown} in [0, 1]"
    if fixed:
        rule = f"; H = {fixed[0]} and W = {fixed[1]}"
    else:
        rule = f"; H and W at least {size['minimum']}" if size.get("minimum", 1) > 1 else ""
        rule += f"; padded to a multiple of {size['multiple_of']} and cut back" if size.get("multiple_of", 1) > 1 else ""
    return f"image (N, {channels}, H, W) in [0, 1]{rule}", f"image {grown}"


def _times(scale: int, side: str) -> str:
    return side if scale == 1 else f"{scale}·{side}"


def plain(value: Any) -> Any:
    """A declaration or default as JSON knows it: records as mappings, sets sorted, anything else as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(map(str, value))
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def as_text(value: Any) -> str:
    """A value in one line, as it would be typed in YAML."""
    if isinstance(value, list):
        return f"[{', '.join(map(as_text, value))}]" if value else "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {as_text(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else str(value)


def as_yaml(content: Mapping[str, Any]) -> str:
    """YAML that `restorekit.recipes` reads back."""
    from ruamel.yaml import YAML

    stream = StringIO()
    writer = YAML()
    writer.width = 100
    writer.dump(dict(content), stream)
    return stream.getvalue().rstrip()


def _recipe(registered: RegisteredPart, registry: Registry) -> dict[str, Any]:
    from restorekit import recipes

    written: Path = registered.load()
    recipe = recipes.Recipe(recipes.load_yaml(written), registered.name)
    try:
        return dict(recipe.check(registry).content)
    except ConfigError as fault:
        raise UserError(f"recipe {registered.name} of {registered.distribution} {registered.version} has mistakes:\n{fault}") from fault
