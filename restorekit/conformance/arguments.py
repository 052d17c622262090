"""Whether each option of a part does anything: the part is built again with another legal value and compared."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from restorekit import config
from restorekit.conformance import probes
from restorekit.conformance.state import TENSOR, flatten
from restorekit.conformance.subject import Failed, Skipped, Subject, holds_objects
from restorekit.errors import UserError
from restorekit.registries import Registry

TRIES = 6
"""Other values of one option that are built at most."""

CONSTRUCTORS = {"__init__", "__post_init__", "__repr__", "extra_repr"}


def every_argument_matters(subject: Subject) -> str:
    """Changing any option changes the part's behaviour, or state that its code reads."""
    target, given = subject.target, subject.checked
    subject.build()  # skips where there is no example to compare with
    options = config.options_of(target)
    if not options:
        raise Skipped("it has no options")
    base = subject.make()
    state = flatten(base)
    behaviour: dict[str, str] | None = None
    ignored, untried = [], []
    for name, option in options.items():
        changed = list(itertools.islice(_variants(subject, name, option, given[name]), TRIES))
        if not changed:
            untried.append(name)
        elif not any(_reads(target, _differences(state, flatten(part))) for part in changed):
            behaviour = behaviour or flatten(probes.behaviour(subject.kind, subject.make()))
            if all(flatten(probes.behaviour(subject.kind, part)) == behaviour for part in changed):
                ignored.append(name)
    if ignored:
        raise Failed(f"{', '.join(ignored)}: accepted and ignored", "use the option, or remove it")
    if len(untried) == len(options):
        raise Skipped(f"no other legal value can be derived of {', '.join(untried)}")
    return f"no other legal value could be derived of {', '.join(untried)}" if untried else ""


def _variants(subject: Subject, name: str, option: config.Option, value: Any) -> Iterator[Any]:
    """Parts built with other values of one option."""
    for other in _other_values(option, value, subject.registry):
        changed = {**subject.options, name: other}
        if other == value or config.check(subject.target, changed, registry=subject.registry)[1]:
            continue
        try:
            yield subject.make(**{name: other})
        except (UserError, OSError):  # the constructor refuses the combination, or there is no such file
            continue


def _other_values(option: config.Option, value: Any, registry: Registry) -> Iterator[Any]:
    slot = option.slot
    if slot is None:
        yield from alternatives(option.annotation, value)
    elif slot.many:
        items = list(value or [])
        yield from (items[:-1], items + items[-1:])
        for i, item in enumerate(items):
            yield from ([*items[:i], other, *items[i + 1 :]] for other in _other_parts(slot.kind, item, registry))
    else:
        yield from _other_parts(slot.kind, value, registry)
        if slot.optional and value is not None:
            yield None


def _other_parts(kind: str, value: Any, registry: Registry) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for name, option in config.options_of(registry.find(kind, value["part"]).load()).items():
            yield from ({**value, name: other} for other in _other_values(option, value.get(name), registry))
    for part in registry.of_kind(kind):
        example = part.part.example
        if isinstance(example, Mapping) and not holds_objects(example):
            yield {"part": part.name, **example}


def alternatives(annotation: Any, value: Any) -> Iterator[Any]:
    """Other values that a type may allow, in the form that JSON gives them; bounds are for the caller to check."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        yield from alternatives(arguments[0], value)
    elif origin is Literal:
        yield from (other for other in arguments if other != value)
    elif origin in (typing.Union, types.UnionType):
        for argument in arguments:
            yield from (None,) if argument is type(None) else alternatives(argument, value)
    elif annotation is bool:
        yield from (not value,) if isinstance(value, bool) else (True, False)
    elif annotation is int:
        start = value if isinstance(value, int) else 1
        yield from (start + 1, start * 2, start - 1, start // 2, start + 2, start * 4)
    elif annotation is float:
        here = float(value) if isinstance(value, int | float) else 0.5
        yield from (here * 1.5, here / 2, here + 0.25, here - 0.25, 0.5, 1.0, 2.0)
    elif origin in (tuple, list, Sequence):
        yield from _sequences(arguments, value)


def _sequences(arguments: tuple[Any, ...], value: Any) -> Iterator[Any]:
    items = list(value) if isinstance(value, list | tuple) else []
    if not items:
        return
    if Ellipsis in arguments or len(arguments) == 1:
        arguments = (arguments[0],) * len(items)
        yield from (items[:-1], items + items[-1:])
    if len(arguments) == len(items):
        others = [list(alternatives(*pair)) for pair in zip(arguments, items, strict=True)]
        yield from map(list, zip(*others, strict=False))
        for i, values in enumerate(others):
            yield from ([*items[:i], other, *items[i + 1 :]] for other in values)


def _differences(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    return {path: second.get(path, first.get(path, "")) for path in {*first, *second} if first.get(path) != second.get(path)}


def _reads(target: type, differences: Mapping[str, str]) -> bool:
    """Whether what differs takes part: weights, inner objects, declarations, or attributes that the code reads."""
    if any("." in path or value.startswith(TENSOR) for path, value in differences.items()):
        return True
    return bool({path.partition("[")[0] for path in differences} & _read_names(target))


@functools.cache
def _read_names(target: type) -> frozenset[str]:
    """Attributes that the modules of a class and of its bases read outside constructors, and those that interfaces declare."""
    found: set[str] = set()
    for base in target.__mro__:
        root = base.__module__.partition(".")[0]
        if root in ("torch", "abc", "builtins", "typing"):
            continue
        found |= set(vars(base).get("__annotations__", {})) if base.__module__.startswith("restorekit.interfaces") else set()
        try:
            source = Path(inspect.getfile(base)).read_text(encoding="utf-8")
        except (OSError, TypeError):
            continue
        reads = _Reads()
        reads.visit(ast.parse(source))
        found |= reads.names
    return frozenset(found)


class _Reads(ast.NodeVisitor):
    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name not in CONSTRUCTORS:
            self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Load):
            self.names.add(node.attr)
        self.generic_visit(node)
