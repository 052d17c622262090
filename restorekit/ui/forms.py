"""What a person can set: methods and their options, taken from the registry's own schemas, and what was set read back."""

from __future__ import annotations

import functools
import json
import math
import operator
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from annotated_types import Ge, Gt, Interval, Le, Lt

from restorekit import config, recipes
from restorekit.config import Option
from restorekit.errors import UserError
from restorekit.registries import RegisteredPart, Registry

NETWORK = "core/network"
"""The part that model files are restored with."""

OWN_MODEL = "a model file of yours"
"""The method that restores with an uploaded model file."""

FINEST = 100
"""Steps of a slider between its ends, for numbers that are not whole."""

LONGEST_SLIDER = 1000
"""Most whole numbers on a slider; of more, one is typed."""

Kind = Literal["switch", "choice", "slider", "number", "text", "part"]


@dataclass(frozen=True)
class Field:
    """One thing to set.

    Attributes:
        name: of the option.
        kind: how it is set: ``switch``, one of a few as ``choice``, a number on a ``slider`` or typed as ``number``, a
            ``part`` by its name, or ``text``, which is YAML.
        default: as JSON knows it; None is null.
        type: type and bounds in words.
        help: what the docstring says of it.
        low: least number, or None.
        high: greatest number, or None.
        whole: whether only whole numbers will do.
        step: between numbers of a slider, or from one number to the next where it is typed.
        choices: of a ``choice`` or a ``part``.
        null: whether null will do, which an empty field means then; otherwise empty means the default.
        plain: of a ``text``, whether it is taken as it stands and not as YAML.
    """

    name: str
    kind: Kind
    default: Any
    type: str
    help: str = ""
    low: float | None = None
    high: float | None = None
    whole: bool = False
    step: float = 1
    choices: tuple[Any, ...] = ()
    null: bool = False
    plain: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The choices as text, all of them different."""
        return tuple("null" if choice is None else str(choice) for choice in self.choices)

    @property
    def shown(self) -> Any:
        """The default as the field shows it."""
        if self.kind in ("choice", "part"):
            return dict(zip(self.choices, self.labels, strict=True)).get(self.default)
        if self.kind == "text" and not self.plain:
            return self.default if isinstance(self.default, str) else json.dumps(self.default)
        return self.default

    def read(self, value: Any) -> Any:
        """What a person set, as an option.

        Raises:
            UserError: text that is not YAML, or none of the choices.
        """
        if value is None or value == "":
            return None if self.null and self.kind != "choice" else self.default
        if self.kind in ("choice", "part"):
            known = dict(zip(self.labels, self.choices, strict=True))
            if not isinstance(value, str) or value not in known:
                raise UserError(f"{self.name}: got {str(value)[:60]!r}; expected one of {', '.join(known)}")
            return known[value]
        if self.kind == "text" and not self.plain:
            return recipes.parse_yaml(str(value), self.name)
        if self.whole and isinstance(value, float) and value.is_integer():
            return int(value)
        return value


@dataclass(frozen=True)
class Offer:
    """A method that the page offers.

    Attributes:
        name: unique among the offers.
        summary: one line.
        fields: its options that can be set here.
        left: those that stay as they are, each with its type.
        uses: what it may read besides the picture: ``psf``, ``mask``, ``reference``, ``references``.
        iterative: whether it works step by step, and can be stopped.
        model: its model file; None for registered methods, and for the uploaded one.
    """

    name: str
    summary: str
    fields: tuple[Field, ...]
    left: tuple[str, ...]
    uses: frozenset[str]
    iterative: bool = False
    model: Path | None = None

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Options that differ from their defaults, as ``--set`` takes them.

        Args:
            values: what was set, by option; options without a value keep their default.

        Raises:
            UserError: text that is not YAML.
        """
        found = {field.name: field.read(values[field.name]) for field in self.fields if field.name in values}
        return {f.name: found[f.name] for f in self.fields if f.name in found and (f.kind == "part" or not _same(found[f.name], f.default))}


@dataclass(frozen=True)
class Catalogue:
    """What there is to choose.

    Attributes:
        offers: by name, the default first.
        missing: restorers that are not offered, each with the reason.
    """

    offers: Mapping[str, Offer]
    missing: Mapping[str, str]


def catalogue(registry: Registry, models: Mapping[Path, frozenset[str]], *, accept_models: bool) -> Catalogue:
    """Every restorer that works from a picture and what is uploaded, and the model files.

    Args:
        registry: of the restorers.
        models: files given at the start, each with what it reads besides the picture.
        accept_models: whether to offer uploaded ones, too.
    """
    offers: dict[str, Offer] = {}
    missing: dict[str, str] = {}
    for part in registry.of_kind("restorer"):
        if part.name == NETWORK:
            continue
        try:
            offers[part.name] = _offer(part, registry)
        except (UserError, TypeError) as reason:
            missing[part.name] = str(reason)
    network = registry.find("restorer", NETWORK)
    for file, uses in models.items():
        base = _offer(network, registry)
        name = _unique(file.stem, offers)
        offers[name] = replace(base, name=name, summary=f"model file {file.name}", uses=uses, model=file)
    if accept_models:
        base = _offer(network, registry)
        offers[OWN_MODEL] = replace(base, name=OWN_MODEL, summary="dropped below (.safetensors)", uses=frozenset({"reference"}))
    first = [part.name for part in registry.of_kind("restorer") if part.part.default_for == "restore" and part.name in offers]
    ordered = dict.fromkeys([*first, *(name for name, offer in offers.items() if offer.model), *offers])
    return Catalogue({name: offers[name] for name in ordered}, missing)


def _unique(name: str, taken: Mapping[str, Any]) -> str:
    number = 2
    unique = name
    while unique in taken or unique == OWN_MODEL:
        unique, number = f"{name} ({number})", number + 1
    return unique


def _offer(part: RegisteredPart, registry: Registry) -> Offer:
    """A restorer as an offer.

    Raises:
        UserError: it needs something that cannot be set here.
    """
    target = part.load()
    words = config.option_words(target)
    example = part.part.example if isinstance(part.part.example, Mapping) else {}
    fields, left = [], []
    for option in config.options_of(target).values():
        made = _field(option, words.get(option.name, ""), registry, example.get(option.name))
        if made is not None:
            fields.append(made)
        elif option.required:
            raise UserError(f"needs {option.name} ({option.type}), which only the command line takes")
        elif not holds_path(option.annotation):
            left.append(f"{option.name} ({option.type})")
    return Offer(part.name, part.part.summary, tuple(fields), tuple(left), frozenset(target.uses), target.iterative)


def _field(option: Option, words: str, registry: Registry, example: Any) -> Field | None:
    """The option as a field; None where it cannot be set here: a path of this machine, or nested parts that have a default."""
    if option.slot is not None:
        if not option.required or option.slot.many:
            return None
        names = tuple(part.name for part in registry.of_kind(option.slot.kind) if _needs_nothing(part))
        suggested = example.get("part") if isinstance(example, Mapping) else example
        default = suggested if suggested in names else next(iter(names), None)
        return Field(option.name, "part", default, option.type, words, choices=names) if names else None
    if holds_path(option.annotation):
        return None
    inner, null = _without_null(option.annotation)
    default = None if option.required else json.loads(json.dumps(option.default))
    base, bounds = _unwrapped(inner)
    if base is bool and not null:
        return Field(option.name, "switch", default, option.type, words)
    if typing.get_origin(base) is Literal:
        choices = (*typing.get_args(base), *((None,) if null else ()))
        return Field(option.name, "choice", default, option.type, words, choices=choices, null=null)
    if base in (int, float) and not null:  # Gradio's field of a number knows no empty one
        return _number(option, words, default, bounds, whole=base is int)
    return Field(option.name, "text", default, option.type, words, null=null, plain=base is str)


def _number(option: Option, words: str, default: Any, bounds: Sequence[object], *, whole: bool) -> Field:
    low = max((float(b.ge if isinstance(b, Ge) else b.gt) for b in bounds if isinstance(b, Ge | Gt)), default=None)  # type: ignore[arg-type]
    high = min((float(b.le if isinstance(b, Le) else b.lt) for b in bounds if isinstance(b, Le | Lt)), default=None)  # type: ignore[arg-type]
    closed = not any(isinstance(bound, Gt | Lt) for bound in bounds)
    kind: Kind = "number"
    step = 1.0 if whole else 10.0 ** math.floor(math.log10(abs(default))) if default else 0.1
    if low is not None and high is not None and closed and default is not None:
        step = 1.0 if whole else (high - low) / FINEST
        on_grid = math.isclose((default - low) / step, round((default - low) / step), abs_tol=1e-9)
        if on_grid and (high - low) / step <= LONGEST_SLIDER:
            kind = "slider"
    return Field(option.name, kind, default, option.type, words, low=low, high=high, whole=whole, step=step)


def _without_null(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        inner = [argument for argument in typing.get_args(annotation) if argument is not type(None)]
        if len(inner) < len(typing.get_args(annotation)):
            return functools.reduce(operator.or_, inner), True
    return annotation, False


def _unwrapped(annotation: Any) -> tuple[Any, list[object]]:
    """The type without its bounds, and those."""
    if typing.get_origin(annotation) is not typing.Annotated:
        return annotation, []
    bounds: list[object] = []
    for bound in annotation.__metadata__:
        bounds += list(typing.cast(Iterable[object], bound)) if isinstance(bound, Interval) else [bound]
    return annotation.__origin__, bounds


def _needs_nothing(part: RegisteredPart) -> bool:
    """Whether a part can be built from its defaults."""
    try:
        return not any(option.required for option in config.options_of(part.load()).values())
    except (UserError, TypeError):
        return False


def holds_path(annotation: Any) -> bool:
    """Whether a value of this type names a file, which only the owner of the machine may do."""
    return annotation is Path or any(holds_path(argument) for argument in typing.get_args(annotation))


def refuse_paths(kind: str, spec: Any, registry: Registry, where: str) -> None:
    """Refuse a part, or parts within it, that would read files of this machine, in a model file that somebody uploaded.

    Args:
        kind: of the part.
        spec: ``{"part": name, option: value}``.
        registry: where it is looked up.
        where: for the message.

    Raises:
        UserError: an option that is a path has a value; or there is no such part.
    """
    if not isinstance(spec, Mapping) or not isinstance(spec.get("part"), str):
        return  # the check of the recipe says so
    options = config.options_of(registry.find(kind, spec["part"]).load())
    for name, value in spec.items():
        option = options.get(name)
        if option is None or value is None:
            continue
        if option.slot is not None:
            for nested in value if option.slot.many and isinstance(value, list) else [value]:
                refuse_paths(option.slot.kind, {"part": nested} if isinstance(nested, str) else nested, registry, f"{where}.{name}")
        elif holds_path(option.annotation) or any(map(_may_be_file, _texts(value))):
            raise UserError(
                f"{where}.{name}: names a file of this machine or an address, which a model file that is dropped on the page must not. "
                f"Who runs the page can offer this model: restorekit ui --model FILE"
            )


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


def _may_be_file(text: str) -> bool:
    return any(sign in text for sign in "/\\:\0") or Path(text).exists()


def _same(value: Any, default: Any) -> bool:
    """Equal, and not because true is 1."""
    return bool(value == default) and isinstance(value, bool) == isinstance(default, bool)
