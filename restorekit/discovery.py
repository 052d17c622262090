"""Entry points in, a registry and a list of problems out; one broken plugin never hides another.

pluggy's stock loader stops at the first plugin that fails to import, skips a second distribution with
the same entry-point name in silence, and accepts a misspelt hook unless asked. So each plugin is
taken alone here: import, interface version, registration, verification, collection.
"""

from __future__ import annotations

import functools
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from types import ModuleType
from typing import cast

import pluggy

from restorekit import __version__
from restorekit.errors import RegistryError, did_you_mean
from restorekit.hooks import INTERFACES, KINDS, PROJECT, Hooks, Part
from restorekit.registries import PluginInfo, PluginProblem, RegisteredPart, Registry

GROUP = "restorekit"
ONLY = "RESTOREKIT_PLUGINS"
"""Environment variable: comma-separated namespaces; others are not loaded (``core`` always is)."""

JOBS = ("restore",)
"""Jobs that a part may declare itself the default for."""

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
"""What namespaces and part names look like."""


class _Fault(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, stage: str, cause: str) -> None:
        super().__init__(cause)
        self.stage, self.cause = stage, cause


@dataclass(frozen=True)
class _Source:
    namespace: str
    value: str
    distribution: str
    version: str
    entry: EntryPoint
    path: str


@functools.cache
def registry() -> Registry:
    """The registry of everything installed, discovered once a process."""
    return discover()


def discover() -> Registry:
    """Load every installed plugin that the environment variable `ONLY` allows, core first."""
    chosen = {name.strip() for name in os.environ.get(ONLY, "").split(",") if name.strip()}
    sources = [s for s in _sources() if not chosen or s.namespace in chosen or s.namespace == "core"]
    by_namespace: dict[str, list[_Source]] = defaultdict(list)
    for source in sources:
        by_namespace[source.namespace].append(source)

    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    parts: list[RegisteredPart] = []
    plugins: list[PluginInfo] = []
    problems: list[PluginProblem] = []
    for namespace in sorted(by_namespace, key=lambda n: (n != "core", n)):
        claims = by_namespace[namespace]
        names, versions, paths = (" and ".join(dict.fromkeys(words)) for words in zip(*map(_origin, claims), strict=True))
        try:
            _check_claims(namespace, claims)
            module, interface, found = _load(manager, claims[0])
        except _Fault as fault:
            problems.append(PluginProblem(namespace, names, versions, fault.stage, fault.cause, paths))
            continue
        parts += found
        place = str(Path(module.__file__).parent) if module.__file__ else paths
        plugins.append(PluginInfo(namespace, names, versions, interface, len(found), place))
    return Registry(parts, plugins, problems)


def _sources() -> list[_Source]:
    # Not entry_points(): that drops the second of two distributions that use one name for their entry.
    found: dict[tuple[str, ...], _Source] = {}
    for distribution in distributions():
        for entry in distribution.entry_points:
            if entry.group == GROUP:
                metadata = distribution.metadata
                # A half-removed distribution has no metadata left; it must not stop the others.
                name, version = metadata["Name"] or f"the distribution of {entry.value}", metadata["Version"] or "?"
                source = _Source(entry.name, entry.value, name, version, entry, str(distribution.locate_file("")))
                # The same distribution can be seen twice on the path; the first is the one imported. Another version of it clashes.
                found.setdefault((entry.name, re.sub(r"[-_.]+", "-", name).lower(), version), source)
    return list(found.values())


def _origin(source: _Source) -> tuple[str, str, str]:
    return source.distribution, source.version, source.path


def _check_claims(namespace: str, claims: Sequence[_Source]) -> None:
    if len(claims) > 1:
        which = " and ".join(f"{claim.distribution} {claim.version} in {claim.path}" for claim in claims)
        raise _Fault("namespace", f"{which} both claim the namespace {namespace}, so neither is loaded: uninstall one of them.")
    if not NAME.fullmatch(namespace):
        raise _Fault(
            "namespace",
            f"a namespace is lower-case letters, digits, '-', '_' and '.', got {namespace!r}: "
            f"rename the entry point of {claims[0].distribution}.",
        )


def _load(manager: pluggy.PluginManager, source: _Source) -> tuple[ModuleType, int, list[RegisteredPart]]:
    module = _import(source)
    interface = _interface(module, source)
    try:
        manager.register(module, name=source.namespace)
        manager.check_pending()
    except pluggy.PluginValidationError as fault:
        _forget(manager, module)
        raise _Fault("hook", _hook_advice(module, str(fault))) from fault
    try:
        return module, interface, _collect(manager, module, source, interface)
    except Exception:
        _forget(manager, module)
        raise


def _forget(manager: pluggy.PluginManager, module: ModuleType) -> None:
    if manager.is_registered(module):
        manager.unregister(module)


def _import(source: _Source) -> ModuleType:
    try:
        return cast(ModuleType, source.entry.load())
    except (Exception, SystemExit) as cause:
        raise _Fault(
            "import", f"importing {source.value} failed: {type(cause).__name__}: {cause}. Reinstall or update {source.distribution}."
        ) from cause


def _interface(module: ModuleType, source: _Source) -> int:
    version = getattr(module, "RESTOREKIT_INTERFACE", None)
    low, high = INTERFACES
    if type(version) is not int:
        raise _Fault("interface", f"{source.value} does not say which interface it was written for: add RESTOREKIT_INTERFACE = {high}.")
    if not low <= version <= high:
        supported = str(high) if low == high else f"{low} to {high}"
        behind = source.distribution if version < low else "restorekit"
        raise _Fault(
            "interface",
            f"written for interface {version}, and this restorekit {__version__} supports {supported}: pip install --upgrade {behind}.",
        )
    return version


def _hook_advice(module: ModuleType, fault: str) -> str:
    known = [name for name in vars(Hooks) if not name.startswith("_")]
    marked = [name for name, value in vars(module).items() if hasattr(value, f"{PROJECT}_impl")]
    for name in marked:
        if name not in known:
            return f"{module.__name__}.{name} is no hook of restorekit.{did_you_mean(name, known)} Hooks: {', '.join(known)}."
    return " ".join(fault.split())


def _collect(manager: pluggy.PluginManager, module: ModuleType, source: _Source, interface: int) -> list[RegisteredPart]:
    own = [impl for impl in manager.hook.restorekit_parts.get_hookimpls() if impl.plugin is module]
    if not own:
        raise _Fault("hook", f"{module.__name__} has no function restorekit_parts marked with @hookimpl.")
    try:
        yielded = list(cast("Iterable[Part]", own[0].function()))
    except (Exception, SystemExit) as cause:
        raise _Fault("collect", f"restorekit_parts() failed: {type(cause).__name__}: {cause}.") from cause
    for record in yielded:
        _check_record(record)
    found = [RegisteredPart(r, source.namespace, source.distribution, source.version, interface) for r in yielded]
    try:
        Registry(found)
    except RegistryError as fault:
        raise _Fault("collect", str(fault)) from fault
    return found


def _check_record(record: object) -> None:
    if not isinstance(record, Part):
        raise _Fault("collect", f"restorekit_parts() yielded {record!r}; expected restorekit.hooks.Part.")
    for name in ("kind", "name", "target", "summary", "paper", "licence", "default_for", "renamed_from", "importer"):
        value = getattr(record, name)
        if not isinstance(value, str):
            raise _Fault("collect", f"part {record.name!r}: {name} is {value!r}; expected text.")
    if record.kind not in KINDS:
        raise _Fault("collect", f"part {record.name!r} has the unknown kind {record.kind!r}.{did_you_mean(record.kind, KINDS)}")
    if not NAME.fullmatch(record.name):
        raise _Fault("collect", f"part {record.name!r}: a name is lower-case letters, digits, '-', '_' and '.'; core adds the namespace.")
    if not all(record.target.partition(":")) or record.target.count(":") > 1:
        raise _Fault("collect", f"part {record.name!r}: the target is 'module:object'; got {record.target!r}.")
    if not isinstance(record.example, Mapping | str) or not isinstance(record.known_failures, Mapping):
        raise _Fault("collect", f"part {record.name!r}: example and known_failures are mappings; example may be 'module:function'.")
    if record.renamed_from and (not NAME.fullmatch(record.renamed_from) or record.renamed_from == record.name):
        raise _Fault("collect", f"part {record.name!r}: renamed_from is a former name without the namespace; got {record.renamed_from!r}.")
    if record.importer and (record.kind != "generator" or not all(record.importer.partition(":"))):
        raise _Fault("collect", f"part {record.name!r}: importer is 'module:function' of a generator; got {record.importer!r}.")
    if record.default_for and record.default_for not in JOBS:
        raise _Fault("collect", f"part {record.name!r}: default_for is {record.default_for!r}; the jobs are {', '.join(JOBS)}.")
