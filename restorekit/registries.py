"""The registry: an immutable value that holds every part, with errors that say what to type instead."""

from __future__ import annotations

import importlib
import importlib.resources
import inspect
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorekit import config
from restorekit.errors import RegistryError, UnknownName, UserError, did_you_mean
from restorekit.hooks import KINDS, Part

if TYPE_CHECKING:
    from restorekit.interfaces import Importer


@dataclass(frozen=True)
class RegisteredPart:
    """A part and where it comes from.

    Attributes:
        part: the record that the plugin yielded.
        namespace: the plugin's entry-point name.
        distribution: name of the installed distribution that brought it.
        version: that distribution's version.
        interface: version of the plugin interface that it was written for.
    """

    part: Part
    namespace: str
    distribution: str
    version: str
    interface: int

    @property
    def kind(self) -> str:
        """One of `restorekit.hooks.KINDS`."""
        return self.part.kind

    @property
    def name(self) -> str:
        """Full name, ``namespace/part``."""
        return f"{self.namespace}/{self.part.name}"

    def load(self) -> Any:
        """Import the target: a class; for recipes and suites the path of the data file."""
        module, _, attribute = self.part.target.partition(":")
        try:
            if self.kind in ("recipe", "suite"):
                return self._data_file(module, attribute)
            return getattr(importlib.import_module(module), attribute)
        except UserError:
            raise
        except Exception as cause:
            raise UserError(
                f"{self.kind} {self.name} of {self.distribution} {self.version} cannot be loaded: target "
                f"{self.part.target}: {type(cause).__name__}: {cause}. Reinstall or update {self.distribution}."
            ) from cause

    def importer(self) -> Importer | None:
        """The function that makes this generator of other people's checkpoints, or None where it has none.

        Raises:
            UserError: it cannot be imported.
        """
        module, _, function = self.part.importer.partition(":")
        if not module:
            return None
        try:
            found: Importer = getattr(importlib.import_module(module), function)
        except Exception as cause:
            raise UserError(
                f"the importer of {self.name} cannot be loaded: {self.part.importer}: {type(cause).__name__}: {cause}. "
                f"Reinstall or update {self.distribution}."
            ) from cause
        return found

    def _data_file(self, package: str, name: str) -> Path:
        path = Path(str(importlib.resources.files(package).joinpath(name)))
        if not path.is_file():
            raise FileNotFoundError(f"{name} is not in the package")
        return path

    def source(self) -> Path | None:
        """The file that the part is written in, or None where Python cannot tell."""
        target = self.load()
        if isinstance(target, Path):
            return target
        try:
            return Path(inspect.getfile(target))
        except TypeError:
            return None


@dataclass(frozen=True)
class PluginProblem:
    """Why a plugin is not there.

    Attributes:
        namespace: its entry-point name.
        distribution: the distribution or distributions concerned.
        version: their versions.
        stage: ``import``, ``interface``, ``hook``, ``collect`` or ``namespace``.
        cause: what went wrong and what to do.
        path: the folder or folders in which they are installed.
    """

    namespace: str
    distribution: str
    version: str
    stage: str
    cause: str
    path: str = ""


@dataclass(frozen=True)
class PluginInfo:
    """A plugin that loaded.

    Attributes:
        namespace: its entry-point name.
        distribution: what brought it.
        version: of the distribution.
        interface: version of the plugin interface that it was written for.
        parts: how many it offers.
        path: the folder that its manifest was loaded from.
    """

    namespace: str
    distribution: str
    version: str
    interface: int
    parts: int
    path: str = ""


class Registry:
    """Parts by kind and full name. Built once, never changed.

    Args:
        parts: every part; two of one kind and name are an error that names both distributions.
        plugins: the plugins that loaded.
        problems: the plugins that did not.
    """

    def __init__(
        self,
        parts: Iterable[RegisteredPart] = (),
        plugins: Iterable[PluginInfo] = (),
        problems: Iterable[PluginProblem] = (),
    ) -> None:
        by_key: dict[tuple[str, str], RegisteredPart] = {}
        for part in parts:
            other = by_key.setdefault((part.kind, part.name), part)
            if other is not part:
                by, fix = f"by {other.distribution} and by {part.distribution}", "Uninstall one of them or rename the part."
                if other.distribution == part.distribution:
                    by, fix = f"by {part.distribution}", "Rename one of the two."
                raise RegistryError(f"{part.kind} {part.name} is offered twice: {by}. {fix}")
        self._parts: Mapping[tuple[str, str], RegisteredPart] = dict(sorted(by_key.items()))
        self.plugins = tuple(plugins)
        self.problems = tuple(problems)

    @property
    def parts(self) -> tuple[RegisteredPart, ...]:
        """Every part, sorted by kind and name."""
        return tuple(self._parts.values())

    def of_kind(self, kind: str) -> tuple[RegisteredPart, ...]:
        """Every part of one kind.

        Raises:
            UnknownName: there is no such kind.
        """
        if kind not in KINDS:
            raise UnknownName(f"no kind {kind!r}.{did_you_mean(kind, KINDS)} Kinds: {', '.join(KINDS)}")
        return tuple(part for part in self.parts if part.kind == kind)

    def find(self, kind: str, name: str) -> RegisteredPart:
        """The part of `kind` called `name`: in full, or bare where only one namespace has it.

        Raises:
            UnknownName: there is none, or a bare name fits several; the message lists what to type.
        """
        return self._one(name, self.of_kind(kind), (kind,))

    def find_any(self, kinds: Sequence[str], name: str) -> RegisteredPart:
        """As `find`, among parts of several kinds."""
        return self._one(name, tuple(part for kind in kinds for part in self.of_kind(kind)), kinds)

    def named(self, name: str) -> tuple[RegisteredPart, ...]:
        """Every part called `name`, of any kind; ``KIND:NAME`` asks for one kind only.

        Raises:
            UnknownName: there is none.
        """
        kind, colon, rest = name.partition(":")
        if colon:
            return (self.find(kind, rest),)
        found = self._matching(name, self.parts, depth=3)
        if not found:
            raise UnknownName(self._unknown(name, self.parts))
        if len({part.name for part in found}) > 1:
            raise UnknownName(f"{name!r} could be {' or '.join(sorted({p.name for p in found}))}: give the full name")
        return found

    def create(self, kind: str, name: str, **options: Any) -> Any:
        """Build a part from its options, checked against its constructor's signature.

        Nested parts may be given as a name, as a mapping with the key ``part``, or as an instance.

        Raises:
            UnknownName: there is no such part.
            ConfigError: options that are unknown, missing, of the wrong type or out of bounds.
        """
        return config.build(self.find(kind, name), options, registry=self)

    def default_for(self, job: str) -> RegisteredPart:
        """The part that declares itself the default for `job`.

        Raises:
            UnknownName: no installed plugin has one.
        """
        found = [part for part in self.parts if part.part.default_for == job]
        if not found:
            raise UnknownName(
                f"no installed plugin brings a default method to {job}. Install one: pip install restorekit-deblurgan, "
                f"or choose a method yourself: restorekit list restorer, then --with NAME"
            )
        if len(found) > 1:
            raise UnknownName(
                f"several plugins bring a default method to {job}: choose one with --with {' or '.join(part.name for part in found)}"
            )
        return found[0]

    def _matching(self, name: str, among: Iterable[RegisteredPart], depth: int) -> tuple[RegisteredPart, ...]:
        among = tuple(among)
        found = tuple(part for part in among if name in (part.name, part.part.name))
        if found:
            return found
        renamed = tuple(
            part
            for part in among
            if part.part.renamed_from and name in (part.part.renamed_from, f"{part.namespace}/{part.part.renamed_from}")
        )
        for part in renamed:
            warnings.warn(f"{name} is now called {part.name}; the old name goes with the next release", FutureWarning, stacklevel=depth)
        return renamed

    def _one(self, name: str, among: tuple[RegisteredPart, ...], kinds: Sequence[str]) -> RegisteredPart:
        found = self._matching(name, among, depth=4)
        if not found:
            raise UnknownName(self._unknown(name, among, kinds))
        if len(found) > 1:
            raise UnknownName(f"{' or '.join(kinds)} {name!r} could be {' or '.join(p.name for p in found)}: give the full name")
        return found[0]

    def _unknown(self, name: str, among: Iterable[RegisteredPart], kinds: Sequence[str] = ()) -> str:
        kind = " or ".join(kinds) or "part"
        namespace = name.partition("/")[0] if "/" in name else ""
        for problem in self.problems:
            if problem.namespace == namespace:
                return (
                    f"{name}: the plugin {namespace} ({problem.distribution} {problem.version}) did not load, at stage "
                    f"{problem.stage}: {problem.cause} See: restorekit plugins"
                )
        if namespace and namespace not in {plugin.namespace for plugin in self.plugins}:
            known = [plugin.namespace for plugin in self.plugins]
            return (
                f"no {kind} {name!r}: no plugin {namespace!r} is installed.{did_you_mean(namespace, known)} "
                f"Plugins are named after their namespace: pip install restorekit-{namespace}. What there is: restorekit plugins"
            )
        among = tuple(among)
        full = dict.fromkeys(part.name for part in among)
        hint = did_you_mean(name, full)
        if not hint:
            bare = {part.part.name: part.name for part in among}
            hint = did_you_mean(name.rpartition("/")[2], bare)
            for short, long in bare.items():
                hint = hint.replace(f" {short} ", f" {long} ").replace(f" {short}?", f" {long}?")
        commands = " and ".join(f"restorekit list {kind}" for kind in kinds) or "restorekit list"
        return f"no {kind} called {name!r}.{hint} See them all: {commands}"
