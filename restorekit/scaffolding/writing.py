"""Writing a new plugin."""

from __future__ import annotations

import importlib.resources
import os
import re
import tempfile
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path

from restorekit.discovery import NAME
from restorekit.errors import UnknownName, UserError, did_you_mean
from restorekit.hooks import INTERFACES, KINDS
from restorekit.registries import PluginInfo, PluginProblem, Registry
from restorekit.scaffolding.kinds import SKETCHES

SUFFIX = ".txt"
"""What every template ends in beside its own suffix, so that no tool takes templates for code of this project."""

LONGEST = 40
"""Characters of a namespace; longer ones would not fit into tables."""

DOTTED = {"gitignore": ".gitignore", "github": ".github"}
"""Names that begin with a dot once they are written."""

USAGE = "usage.md"
"""The template that becomes a section of the README."""


def new_plugin(name: str, *, kind: str = "loss", into: Path = Path(), registry: Registry) -> Path:
    """Write a distribution ``restorekit-NAME`` that brings one working part.

    Args:
        name: its namespace.
        kind: of the part, one of `restorekit.hooks.KINDS`.
        into: the folder in which a folder of its own is made.
        registry: what is installed already.

    Returns:
        The new folder. It appears whole or not at all.

    Raises:
        UserError: a name that cannot be a namespace or is taken, an unknown kind, a folder that is there or cannot be written.
    """
    if kind not in KINDS:
        raise UnknownName(f"no kind {kind!r}.{did_you_mean(kind, KINDS)} Kinds: {', '.join(KINDS)}")
    _check_name(name, registry)
    words = _words(name, kind)
    folder = into / words["DISTRIBUTION"]
    if not into.is_dir():
        raise UserError(f"{into}: {'not a folder' if into.exists() else 'there is no such folder: make it first'}")
    if os.path.lexists(folder):
        raise UserError(f"{folder}: is there already and is left as it is. Choose another NAME, or another folder with --into DIR")
    try:
        with tempfile.TemporaryDirectory(prefix=".restorekit-new-", dir=into) as beside:
            whole = Path(beside) / "whole"
            for template in ("common", kind):
                _write(_templates() / template, whole, words)
            whole.rename(folder)
    except OSError as fault:
        raise UserError(f"{folder}: cannot be written: {fault.strerror or fault}. Choose another folder with --into DIR") from fault
    return folder


def _check_name(name: str, registry: Registry) -> None:
    if not NAME.fullmatch(name) or not name[-1].isalnum() or len(name) > LONGEST:
        suggestion = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:LONGEST].rstrip("-._")
        instead = f" Such as: {suggestion}" if suggestion and suggestion != name else ""
        raise UserError(
            f"{name!r} cannot be a namespace: lower-case letters, digits, '-', '_' and '.', a letter or digit first and last, "
            f"{LONGEST} characters at most.{instead}"
        )
    known: list[PluginInfo | PluginProblem] = [*registry.plugins, *registry.problems]
    for plugin in known:
        if _package(plugin.namespace) == _package(name) or plugin.namespace == name:
            raise UserError(
                f"the namespace {plugin.namespace} is taken by {plugin.distribution} {plugin.version}; two plugins of one name do "
                f"not load. Choose another. Those taken: restorekit plugins"
            )


def _package(name: str) -> str:
    return "restorekit_" + re.sub(r"[.-]", "_", name)


def _words(name: str, kind: str) -> dict[str, str]:
    """What stands in templates for what."""
    sketch = SKETCHES[kind]
    words = {
        "NAMESPACE": name,
        "PACKAGE": _package(name),
        "DISTRIBUTION": f"restorekit-{name}",
        "INTERFACE": str(INTERFACES[1]),
        "KIND": kind,
        "PART": sketch.part,
        "TARGET": _package(name) + (sketch.target if sketch.target.startswith(":") else f".{sketch.target}"),
        "SUMMARY": sketch.summary,
        "PAPER": sketch.paper,
        "EXAMPLE": sketch.example,
        "DEPENDENCIES": sketch.dependencies,
        "TESTING": sketch.testing,
        "FILE": sketch.file,
        "ADVICE": sketch.advice,
    }
    usage = (_templates() / kind / (USAGE + SUFFIX)).read_text(encoding="utf-8").rstrip()
    return words | {"USAGE": _filled(usage, words)}


def _templates() -> Traversable:
    return importlib.resources.files("restorekit.scaffolding") / "templates"


def _filled(text: str, words: Mapping[str, str]) -> str:
    """Text in which each ``@WORD@`` is replaced."""
    return re.sub("@([A-Z]+)@", lambda found: words[found[1]], text)


def _write(template: Traversable, folder: Path, words: Mapping[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    for entry in template.iterdir():
        name = _filled(entry.name, words).removesuffix(SUFFIX)
        target = folder / DOTTED.get(name, name)
        if entry.is_dir():
            _write(entry, target, words)
        elif name != USAGE:
            target.write_text(_filled(entry.read_text(encoding="utf-8"), words), encoding="utf-8")
