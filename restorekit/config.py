"""A constructor's signature is the schema of its options.

`check` compares options with a signature and returns every mistake at once, worded for the person who
typed them; `build` does that and calls the constructor. A parameter annotated with an interface, such
as ``Features``, ``Critic | None`` or ``tuple[Degradation, ...]``, takes nested parts.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restorekit.errors import ConfigError, UserError, did_you_mean
from restorekit.hooks import KINDS

if typing.TYPE_CHECKING:
    from restorekit.registries import RegisteredPart, Registry

MISSING = inspect.Parameter.empty

building: ContextVar[Registry | None] = ContextVar("building", default=None)
"""The registry with which a part is being built, for parts that read model files: what is in those is looked up there too."""


@dataclass(frozen=True)
class Slot:
    """Where an option takes nested parts: of which kind, whether several, and whether None will do."""

    kind: str
    many: bool
    optional: bool


@dataclass(frozen=True)
class Option:
    """One option: a parameter of the constructor.

    Attributes:
        name: the parameter.
        type: its type and bounds in words.
        default: its default, or `MISSING` where it must be given.
        annotation: as Python sees it.
        slot: what nested parts it takes, or None.
    """

    name: str
    type: str
    default: Any
    annotation: Any
    slot: Slot | None

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is MISSING


@functools.cache
def options_of(target: Callable[..., Any]) -> dict[str, Option]:
    """The options of a class, by name.

    Raises:
        TypeError: the signature is no schema: positional or catch-all parameters, or no annotation.
    """
    init: Any = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    if init is object.__init__ or init.__module__.startswith("torch."):
        return {}  # the class has no constructor of its own
    signature = inspect.signature(target)
    try:
        hints = typing.get_type_hints(init, include_extras=True)
    except NameError as fault:
        raise TypeError(
            f"{target.__qualname__}: an annotation cannot be read: {fault}; import what it names outside TYPE_CHECKING"
        ) from fault
    found = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            raise TypeError(f"{target.__qualname__}: *{name} would swallow misspelt options; name every option")
        if parameter.kind is not parameter.KEYWORD_ONLY:
            raise TypeError(f"{target.__qualname__}: option {name} must be keyword-only (put * before it)")
        if name not in hints:
            raise TypeError(f"{target.__qualname__}: option {name} needs a type annotation")
        annotation = hints[name]
        slot = _slot(annotation)
        words = _slot_words(slot) if slot else describe(annotation)
        found[name] = Option(name, words, parameter.default, annotation, slot)
    return found


def option_words(target: Callable[..., Any]) -> dict[str, str]:
    """What the section ``Args`` of the class's or its constructor's docstring says, by option."""
    found: dict[str, str] = {}
    for documented in (getattr(target, "__init__", None), target):
        text = inspect.getdoc(documented) or ""
        _, heading, rest = f"\n{text}\n".partition("\nArgs:\n")
        if not heading:
            continue
        section = re.split(r"\n(?=\S)", rest)[0]
        for name, words in re.findall(r"^    (\w+)(?: \([^)]*\))?:(.*(?:\n {5,}.*)*)", section, re.MULTILINE):
            found[name] = " ".join(words.replace("``", "").split())
    return found


@functools.cache
def _interfaces() -> dict[type, str]:
    found = {}
    for kind, path in KINDS.items():
        if path:
            module, _, name = path.partition(":")
            found[getattr(importlib.import_module(module), name)] = kind
    return found


def _slot(annotation: Any) -> Slot | None:
    if isinstance(annotation, type) and annotation in _interfaces():
        return Slot(_interfaces()[annotation], many=False, optional=False)
    arguments = [a for a in typing.get_args(annotation) if a is not Ellipsis]
    if _is_union(annotation):
        inner = [_slot(a) for a in arguments if a is not type(None)]
        if len(inner) == 1 and inner[0] is not None:
            return Slot(inner[0].kind, inner[0].many, optional=True)
    elif typing.get_origin(annotation) in (tuple, list, Sequence) and len(arguments) == 1:
        inner_slot = _slot(arguments[0])
        if inner_slot is not None:
            return Slot(inner_slot.kind, many=True, optional=False)
    return None


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _slot_words(slot: Slot) -> str:
    return ("list of " if slot.many else "") + f"{slot.kind} part" + (" or null" if slot.optional else "")


def describe(annotation: Any) -> str:
    """A type and its bounds in words: ``int > 0``, ``float >= 0 or [float >= 0, float >= 0]``."""
    if annotation is type(None):
        return "null"
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        bounds = " and ".join(filter(None, map(_bound, annotation.__metadata__)))
        return f"{describe(arguments[0])} {bounds}".strip()
    if origin is typing.Literal:
        return " | ".join(map(str, arguments))
    if _is_union(annotation):
        return " or ".join(map(describe, arguments))
    if origin in (tuple, list, Sequence):
        if origin is tuple and Ellipsis not in arguments:
            return f"[{', '.join(map(describe, arguments))}]"
        return f"list of {describe(arguments[0])}"
    if origin in (dict, Mapping):
        return f"mapping of {describe(arguments[0])} to {describe(arguments[1])}"
    return {str: "text", bool: "true | false", Path: "path"}.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _bound(bound: object) -> str:
    import annotated_types  # here, because listing parts does without it

    if isinstance(bound, annotated_types.Interval):
        return " and ".join(filter(None, map(_bound, bound)))
    signs = {"Gt": (">", "gt"), "Ge": (">=", "ge"), "Lt": ("<", "lt"), "Le": ("<=", "le"), "MultipleOf": ("multiple of", "multiple_of")}
    if type(bound).__name__ in signs:
        sign, attribute = signs[type(bound).__name__]
        return f"{sign} {getattr(bound, attribute)}"
    if isinstance(bound, annotated_types.MinLen):
        return f"of at least {bound.min_length}"
    return ""


@functools.cache
def _validator(target: Callable[..., Any], name: str) -> Any:
    from pydantic import ConfigDict, TypeAdapter, with_config

    annotation = options_of(target)[name].annotation
    try:
        return TypeAdapter(annotation, config=ConfigDict(strict=True, allow_inf_nan=False))
    except Exception:  # a type that carries a configuration of its own refuses another
        return TypeAdapter(with_config(ConfigDict(strict=True))(annotation))


def check(
    target: Callable[..., Any], options: Mapping[str, Any], *, registry: Registry, where: str = "", owner: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """Compare options with a signature.

    Args:
        target: the class whose constructor is the schema.
        options: what was given.
        registry: where nested parts are looked up.
        where: dotted path of the options within their file, for messages.
        owner: how messages call the target; its class name if empty.

    Returns:
        The options with defaults filled in, nested parts as mappings with full names, ready for JSON
        (instances of parts are kept as they are), and every mistake found.
    """
    known = options_of(target)
    owner = owner or getattr(target, "__name__", str(target))
    path = f"{where}." if where else ""
    problems = []
    result: dict[str, Any] = {}
    for name in options:
        if name not in known:
            hint = did_you_mean(str(name), known)
            problems.append(f"{path}{name}: not an option of {owner}.{hint} Options: {', '.join(known) or 'none'}")
    for name, option in known.items():
        if name not in options:
            if option.required:
                problems.append(f"{path}{name}: missing; {owner} needs it: {option.type}")
            elif option.slot and option.default is not None:
                result[name], found = _check_slot(option.slot, option.default, registry, path + name)
                problems += found
            else:
                result[name] = _plain(option.default)
            continue
        value = options[name]
        if option.slot:
            result[name], found = _check_slot(option.slot, value, registry, path + name)
            problems += found
            continue
        value = _plain(value)
        try:
            _validator(target, name).validate_json(json.dumps(value))
            result[name] = value
        except (TypeError, ValueError):
            problems.append(f"{path}{name}: got {_shown(value)}; expected {option.type}")
    return result, problems


def check_part(kind: str, spec: Any, *, registry: Registry, where: str, extra: Mapping[str, Any] | None = None) -> tuple[Any, list[str]]:
    """Check a nested part: its name, a mapping with the key ``part``, or an instance.

    Args:
        kind: which kind it must be.
        spec: what was given.
        registry: where it is looked up.
        where: dotted path for messages.
        extra: values already checked that belong to the slot rather than to the part, such as its weight.

    Returns:
        ``{"part": full name, **options}`` and every mistake found.
    """
    if not isinstance(spec, str | Mapping) and isinstance(spec, tuple(cls for cls, name in _interfaces().items() if name == kind)):
        return spec, []  # an instance from Python
    if isinstance(spec, str):
        spec = {"part": spec}
    if not isinstance(spec, Mapping) or not isinstance(spec.get("part"), str):
        return spec, [f"{where}: got {_shown(spec)}; expected a part: {{part: NAME, option: value}}. See: restorekit list {kind}"]
    try:
        found = registry.find(kind, spec["part"])
        target = found.load()
        rest = {k: v for k, v in spec.items() if k != "part"}
        options, problems = check(target, rest, registry=registry, where=where, owner=found.name)
    except TypeError as fault:
        return spec, [f"{where}: {found.name} is at fault, not you: {fault}"]
    except UserError as fault:
        return spec, [f"{where}.part: {fault}"]
    return {"part": found.name, **(extra or {}), **options}, problems


def _check_slot(slot: Slot, value: Any, registry: Registry, where: str) -> tuple[Any, list[str]]:
    if value is None and slot.optional:
        return None, []
    if not slot.many:
        return check_part(slot.kind, value, registry=registry, where=where)
    if isinstance(value, str) or not isinstance(value, Sequence):
        return value, [f"{where}: got {_shown(value)}; expected a list of {slot.kind} parts"]
    checked = [check_part(slot.kind, item, registry=registry, where=f"{where}.{i}") for i, item in enumerate(value)]
    return [item for item, _ in checked], [problem for _, found in checked for problem in found]


def build(part: RegisteredPart, options: Mapping[str, Any], *, registry: Registry, where: str = "") -> Any:
    """Check options and call the part's constructor.

    Raises:
        ConfigError: every mistake in the options, or the constructor's own refusal of their combination.
    """
    target = part.load()
    checked, problems = check(target, options, registry=registry, where=where, owner=part.name)
    if problems:
        raise ConfigError(problems)
    return construct(target, checked, registry=registry, where=where or part.name)


def build_spec(kind: str, spec: Mapping[str, Any], *, registry: Registry, where: str = "") -> Any:
    """Build a part from a mapping with the key ``part``."""
    return build(registry.find(kind, spec["part"]), {k: v for k, v in spec.items() if k != "part"}, registry=registry, where=where)


def construct(target: Callable[..., Any], checked: Mapping[str, Any], *, registry: Registry, where: str) -> Any:
    """Call a constructor with options that `check` has passed: nested parts are built, lists become tuples."""
    arguments: dict[str, Any] = {}
    for name, option in options_of(target).items():
        value = checked[name]
        if option.slot is not None and value is None:
            arguments[name] = None
        elif option.slot is None:
            arguments[name] = _validator(target, name).validate_json(json.dumps(value))
        elif option.slot.many:
            arguments[name] = tuple(_nested(option.slot.kind, item, registry, f"{where}.{name}.{i}") for i, item in enumerate(value))
        else:
            arguments[name] = _nested(option.slot.kind, value, registry, f"{where}.{name}")
    token = building.set(registry)
    try:
        return target(**arguments)
    except ValueError as refusal:
        raise ConfigError([f"{where}: {refusal}"]) from refusal
    finally:
        building.reset(token)


def _nested(kind: str, value: Any, registry: Registry, where: str) -> Any:
    return build_spec(kind, value, registry=registry, where=where) if isinstance(value, Mapping) else value


def _plain(value: Any) -> Any:
    """Tuples as lists and paths as text, so that options compare equal before and after JSON."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
