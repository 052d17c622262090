"""Recipes: which parts work together, on which data, trained how. A value that is checked as a whole."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorekit import config, discovery
from restorekit.errors import ConfigError, UserError, did_you_mean
from restorekit.settings import DataSettings, TrainSettings

if TYPE_CHECKING:
    from restorekit.registries import Registry

VERSION = 1

SLOTS = {"generator": "generator", "critic": "critic", "adversarial": "adversarial"}
"""Keys that hold one part each, and the part's kind."""

KEYS = {
    "recipe": f"version of the format: {VERSION}",
    "task": "what the model is for, such as deblur",
    "degradation": "a degradation, or a list of them applied in order",
    "generator": "the network",
    "critic": "the network that judges, for adversarial training",
    "adversarial": "the objective of the game, with its weight",
    "losses": "list of losses, each with its weight",
    "data": "see restorekit.settings.DataSettings",
    "train": "see restorekit.settings.TrainSettings",
}
"""Every key of a recipe and what it holds."""


@dataclass(frozen=True)
class Recipe:
    """A recipe as it was written, with overrides; `check` makes it whole.

    Attributes:
        content: the keys as nested mappings and lists.
        origin: file or registered name, for messages.
    """

    content: Mapping[str, Any]
    origin: str = field(default="recipe", compare=False)

    def set(self, key: str, value: Any) -> Recipe:
        """A copy with one value replaced; `key` is dotted, list items are numbered (``losses.0.weight``).

        Raises:
            ConfigError: the path leads nowhere, such as a list item that is not there.
        """
        content = copy.deepcopy(dict(self.content))
        at: Any = content
        steps = key.split(".")
        for depth, step in enumerate(steps):
            last = depth == len(steps) - 1
            if isinstance(at, list):
                if not step.isdecimal() or int(step) >= len(at):
                    have = f"has items 0 to {len(at) - 1}" if at else "is an empty list"
                    raise ConfigError([f"{self.origin}: {key}: {'.'.join(steps[:depth])} {have}, got {step!r}"])
                index: Any = int(step)
            elif isinstance(at, dict):
                index = step
                if not last:
                    at.setdefault(step, {})
            else:
                raise ConfigError([f"{self.origin}: {key}: {'.'.join(steps[:depth])} is {at!r} and has no {step}"])
            if last:
                at[index] = _as_plain(value)
            else:
                if at[index] is None:
                    at[index] = {}  # a key without a value
                elif isinstance(at[index], str):
                    at[index] = {"part": at[index]}  # a part given by name alone gets its first option
                at = at[index]
        return Recipe(content, self.origin)

    def check(self, registry: Registry | None = None) -> Recipe:
        """The whole recipe: full names, every option with its value, ready to build and to store.

        Raises:
            ConfigError: every mistake in it, each with its place.
        """
        registry = registry or discovery.registry()
        content, problems = _check(self.content, registry)
        if not problems and _holds_objects(content):
            problems = ["it holds Python objects; a recipe names its parts, so that a model file can hold it: {part: NAME, option: value}"]
        if problems:
            raise ConfigError([f"{self.origin}: {problem}" for problem in problems])
        return Recipe(content, self.origin)

    @property
    def canonical(self) -> str:
        """JSON with sorted keys: equal for recipes that differ in comments and key order only."""
        return json.dumps(self.content, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @property
    def hash(self) -> str:
        """SHA-256 of `canonical`, in hex."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()


def recipe(source: str | Path | Mapping[str, Any], *, registry: Registry | None = None) -> Recipe:
    """A recipe from a YAML file, a registered name such as ``deblurgan/default``, or a mapping.

    Raises:
        UserError: no such file or name, or a file that is no YAML mapping.
    """
    if isinstance(source, Mapping):
        return Recipe(_as_plain(source))
    path = Path(source)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return Recipe(load_yaml(path, instead="Registered recipes: restorekit list recipe"), str(source))
    found = (registry or discovery.registry()).find("recipe", str(source))
    return Recipe(load_yaml(found.load()), found.name)


def load_yaml(path: Path, *, instead: str = "") -> dict[str, Any]:
    """A YAML 1.2 file that holds a mapping; duplicate keys are refused.

    Args:
        path: the file.
        instead: what to say where there is no such file.

    Raises:
        UserError: unreadable, not YAML, or no mapping; with the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.y*ml")]) if path.parent.is_dir() else ""
        raise UserError(f"{path}: no such file.{near} {instead}".rstrip()) from None
    except (OSError, UnicodeDecodeError) as fault:
        raise UserError(f"{path}: cannot be read: {fault}") from fault
    value = parse_yaml(text, str(path))
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected keys and values, got {type(value).__name__}")
    return value


def parse_yaml(text: str, where: str) -> Any:
    """A YAML 1.2 value as plain Python.

    Raises:
        UserError: not YAML, or a key that is there twice; with line and column.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="safe", pure=True).load(StringIO(text))
    except DuplicateKeyError as fault:
        mark = fault.problem_mark
        raise UserError(f"{where}: line {mark.line + 1}: {fault.problem.split(' with value')[0]}; each key once") from fault
    except MarkedYAMLError as fault:
        mark = fault.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UserError(f"{where}: {place}not YAML: {fault.problem}") from fault
    except (YAMLError, ValueError, RecursionError) as fault:
        raise UserError(f"{where}: not YAML: {' '.join(str(fault).split())}") from fault


def _holds_objects(content: Mapping[str, Any]) -> bool:
    try:
        json.dumps(content)
    except TypeError:
        return True
    return False


def _as_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _as_plain(v) for k, v in value.items()}
    return [_as_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _check(content: Mapping[str, Any], registry: Registry) -> tuple[dict[str, Any], list[str]]:
    problems = [
        f"{key}: not a key of a recipe.{did_you_mean(str(key), KEYS)} Keys: {', '.join(KEYS)}" for key in content if key not in KEYS
    ]
    result: dict[str, Any] = {"recipe": VERSION, "task": content.get("task", "")}
    version = content.get("recipe")
    if version != VERSION or isinstance(version, bool):
        problems.append(f"recipe: got {version!r}; this restorekit reads version {VERSION}: write recipe: {VERSION} as the first line")
    if not isinstance(result["task"], str):
        problems.append(f"task: got {result['task']!r}; expected text")

    if content.get("degradation") is not None:
        result["degradation"], found = config.check_part(
            "degradation", degradation_spec(content["degradation"]), registry=registry, where="degradation"
        )
        problems += found
    for key, kind in SLOTS.items():
        if content.get(key) is not None:
            result[key], found = _weighted(kind, content[key], registry, key)
            problems += found
    if "generator" not in result:
        problems.append("generator: missing; a recipe needs a network: {part: NAME}. See: restorekit list generator")
    if ("critic" in result) != ("adversarial" in result):
        there, absent = ("critic", "adversarial") if "critic" in result else ("adversarial", "critic")
        problems.append(f"{absent}: missing; {there} is given, and adversarial training needs both. See: restorekit list {absent}")

    losses = content.get("losses")
    if losses is None:
        losses = []
    elif not isinstance(losses, list):
        problems.append(f"losses: got {losses!r}; expected a list: [{{part: core/l1, weight: 1.0}}]")
        losses = []
    result["losses"] = []
    for i, spec in enumerate(losses):
        checked, found = _weighted("loss", spec, registry, f"losses.{i}")
        result["losses"].append(checked)
        problems += found
    if not losses and "adversarial" not in result:
        problems.append("losses: missing; give at least one loss, or a critic and an adversarial objective")

    for key, settings in (("data", DataSettings), ("train", TrainSettings)):
        given = {} if content.get(key) is None else content[key]
        if not isinstance(given, Mapping):
            problems.append(f"{key}: got {given!r}; expected keys and values")
            continue
        result[key], found = config.check(settings, given, registry=registry, where=key, owner=key)
        if not found:
            try:
                config.construct(settings, result[key], registry=registry, where=key)
            except ConfigError as refusal:
                found = list(refusal.problems)
        problems += found
    return result, problems


def degradation_spec(spec: Any) -> Any:
    """One part's specification; a list becomes ``core/sequence``."""
    return {"part": "core/sequence", "steps": spec} if isinstance(spec, list | tuple) else spec


def _weighted(kind: str, spec: Any, registry: Registry, where: str) -> tuple[Any, list[str]]:
    """Check a part whose slot may carry a weight beside the part's own options."""
    if kind not in ("adversarial", "loss"):
        return config.check_part(kind, spec, registry=registry, where=where)
    if isinstance(spec, str):
        spec = {"part": spec}
    problems = []
    weight: Any = 1.0
    if isinstance(spec, Mapping):
        weight = spec.get("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            problems.append(f"{where}.weight: got {weight!r}; expected float >= 0")
        spec = {k: v for k, v in spec.items() if k != "weight"}
    checked, found = config.check_part(kind, spec, registry=registry, where=where, extra={"weight": weight})
    return checked, problems + found
