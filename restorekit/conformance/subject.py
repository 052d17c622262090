"""One part under examination, and how a check says what is wrong with it."""

from __future__ import annotations

import copy
import functools
import importlib
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from restorekit import config, seeding
from restorekit.registries import RegisteredPart, Registry


class Failed(Exception):  # noqa: N818 - a verdict, not a fault of the kit
    """The part does not hold.

    Args:
        seen: what was there instead of what was expected.
        fix: what most likely puts it right.
    """

    def __init__(self, seen: str, fix: str = "") -> None:
        super().__init__(seen)
        self.seen, self.fix = seen, fix


class Skipped(Exception):  # noqa: N818
    """The check says nothing about this part; the text says why."""


class Subject:
    """A part, its example and the registry it stands in.

    Args:
        registered: the part.
        registry: where its nested parts are looked up.
    """

    def __init__(self, registered: RegisteredPart, registry: Registry) -> None:
        self.registered = registered
        self.registry = registry

    @property
    def kind(self) -> str:
        """One of `restorekit.hooks.KINDS`."""
        return self.registered.kind

    @property
    def name(self) -> str:
        """Full name."""
        return self.registered.name

    @functools.cached_property
    def _temporary(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="restorekit-check-")

    @property
    def folder(self) -> Path:
        """A folder of its own, removed with the subject."""
        return Path(self._temporary.name)

    @functools.cached_property
    def target(self) -> Any:
        """The class, or a skip where the check ``target-imports`` already says why there is none."""
        try:
            return self.registered.load()
        except (Exception, SystemExit) as cause:
            raise Skipped("the target cannot be imported: see target-imports") from cause

    @functools.cached_property
    def options(self) -> dict[str, Any]:
        """The example configuration."""
        example = self.registered.part.example
        if isinstance(example, str):
            module, _, function = example.partition(":")
            example = getattr(importlib.import_module(module), function)(self.folder)
        return dict(example)

    def make(self, **changes: Any) -> Any:
        """Build the part from its example with some options changed; the same seed each time.

        Raises:
            UserError: the options do not fit.
        """
        with seeding.seeded("conformance", self.name):
            return config.build(self.registered, copy.deepcopy({**self.options, **changes}), registry=self.registry)

    def build(self) -> Any:
        """A fresh copy of the example, or a skip where the check ``example-builds`` already says why there is none."""
        self.target  # noqa: B018 - its skip is the better reason
        try:
            return copy.deepcopy(_pristine(self))
        except (Exception, SystemExit) as cause:
            raise Skipped("the example cannot be built: see example-builds") from cause

    @functools.cached_property
    def checked(self) -> dict[str, Any]:
        """The example with every option filled in; a skip where ``example-builds`` fails."""
        try:
            checked, problems = config.check(self.target, self.options, registry=self.registry)
        except TypeError as cause:
            raise Skipped("the signature is no schema: see signature-is-a-schema") from cause
        if problems:
            raise Skipped("the example does not fit: see example-builds")
        return checked

    def plain(self) -> dict[str, Any]:
        """`checked` as it comes back from JSON; a skip where the example holds Python objects."""
        try:
            found: dict[str, Any] = json.loads(json.dumps(self.checked))
        except TypeError as cause:
            raise Skipped("the example holds Python objects, which no recipe can") from cause
        return found


@functools.lru_cache(maxsize=1)
def _pristine(subject: Subject) -> Any:
    return subject.make()


Check = Callable[[Subject], str | None]
"""A check: its docstring's first line is what is expected; it raises `Failed` or `Skipped`, or returns a remark."""


def interface(kind: str) -> type:
    """The abstract class of a kind that has one."""
    from restorekit.hooks import KINDS

    module, _, name = KINDS[kind].partition(":")
    found: type = getattr(importlib.import_module(module), name)
    return found


def holds_objects(options: Mapping[str, Any]) -> bool:
    """Whether options hold anything that JSON cannot."""
    try:
        json.dumps(options)
    except TypeError:
        return True
    return False
