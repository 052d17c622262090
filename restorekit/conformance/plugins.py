"""Checks of a plugin as a whole: it loads, its manifest is light, and it keeps to what is public."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import restorekit
from restorekit.conformance import imports
from restorekit.conformance.subject import Failed, Skipped
from restorekit.discovery import GROUP
from restorekit.registries import PluginProblem, Registry

HEAVY = ("torch", "torchvision", "kornia", "timm", "skimage", "scipy", "lightning_fabric", "pydantic")
"""Packages that listing parts must not import: they are most of a small job's time."""

PUBLIC = ("restorekit.hooks", "restorekit.interfaces", "restorekit.images", "restorekit.conformance")
"""Modules of the core, beside ``restorekit`` itself, that plugins may import."""

SLOW = 0.5
"""Seconds that a plugin's own code may take when one of its modules is imported."""

TRIES = 3
"""Times that a slow import is timed: a busy machine is not the plugin's fault."""

_LIST_HEAVY = """
import importlib, json, sys
manifest = importlib.import_module(sys.argv[1])
list(manifest.restorekit_parts())
print(json.dumps([name for name in sys.argv[2:] if name in sys.modules]))
"""


def plugin_loads(problem: PluginProblem) -> None:
    """The plugin loads."""
    raise Failed(f"at stage {problem.stage}: {problem.cause}", f"put it right in {problem.distribution} and install it again")


def manifest_is_light(namespace: str, distribution: str, registry: Registry) -> None:
    """Listing the plugin's parts imports neither torch nor any other slow package."""
    module = _manifest(namespace, distribution)
    done = subprocess.run(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-c", _LIST_HEAVY, module, *HEAVY],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise Failed(
            f"importing {module} alone failed: {done.stderr.strip().splitlines()[-1]}", f"python -c 'import {module}' shows all of it"
        )
    heavy = json.loads(done.stdout.splitlines()[-1])
    if heavy:
        raise Failed(
            f"importing {module} imports {', '.join(heavy)}", f"name targets as text in {module}; keep its package's __init__ empty"
        )


def only_public_core_is_imported(namespace: str, distribution: str, registry: Registry) -> None:
    """The plugin imports only restorekit and its hooks, interfaces, images and conformance, and no other plugin."""
    if namespace == "core":
        raise Skipped("core is what the others import")
    package = _manifest(namespace, distribution).partition(".")[0]
    others = {
        _manifest(plugin.namespace, plugin.distribution).partition(".")[0]
        for plugin in registry.plugins
        if plugin.namespace not in ("core", namespace)
    } - {package}
    faults = []
    for path in _sources(package):
        for line, name in _imports(path):
            if _private(name) or name.partition(".")[0] in others:
                faults.append(f"{path.name}:{line} imports {name}")
    if faults:
        raise Failed("; ".join(faults[:5]), "take core's parts as nested parts by annotation; import UserError from restorekit")


def import_prints_nothing(namespace: str, distribution: str, registry: Registry) -> None:
    """Importing the manifest and the parts' modules prints nothing."""
    found = _imported(namespace, distribution, registry)
    noisy = [f"importing {module} prints {one.printed!r}" for module, one in found.items() if one.printed]
    if noisy:
        raise Failed("; ".join(noisy), "remove the print, or log it where the part is used")


def import_changes_nothing(namespace: str, distribution: str, registry: Registry) -> None:
    """Importing them leaves random states, and torch's default dtype, device and threads, as they were."""
    found = _imported(namespace, distribution, registry)
    changed = [f"importing {module} changes {', '.join(one.changed)}" for module, one in found.items() if one.changed]
    if changed:
        raise Failed("; ".join(changed), "they are everybody's: seed generators of your own; set dtype and device where tensors are made")


def import_is_quick(namespace: str, distribution: str, registry: Registry) -> str:
    """Importing each of them takes less than half a second, apart from what it imports from elsewhere."""
    least = _imported(namespace, distribution, registry)
    for _ in range(TRIES - 1):
        if all(one.seconds < SLOW for one in least.values()):
            break
        again = imports.run(least)
        least = {module: min(one, again[module], key=lambda run: run.seconds) for module, one in least.items()}
    slow = [f"importing {module} takes {one.seconds:.1f} s" for module, one in least.items() if one.seconds >= SLOW]
    if slow:
        raise Failed("; ".join(slow), "read files and compute in the part's constructor, not at the top of a module")
    return f"{max(one.seconds for one in least.values()):.2f} s at most"


@functools.lru_cache(maxsize=1)
def _imported(namespace: str, distribution: str, registry: Registry) -> Mapping[str, imports.Imported]:
    """What importing did, by module: the manifest and whatever its records name."""
    modules = [_manifest(namespace, distribution)]
    for part in registry.parts:
        if part.namespace == namespace:
            texts = (part.part.target, part.part.importer, part.part.example if isinstance(part.part.example, str) else "")
            modules += [text.partition(":")[0] for text in texts if text]
    return imports.run(dict.fromkeys(modules))


PLUGIN: tuple[Callable[[str, str, Registry], str | None], ...] = (
    manifest_is_light,
    only_public_core_is_imported,
    import_prints_nothing,
    import_changes_nothing,
    import_is_quick,
)
"""Checks of a plugin as a whole."""


def _manifest(namespace: str, distribution: str) -> str:
    try:
        entries = importlib.metadata.distribution(distribution).entry_points
    except importlib.metadata.PackageNotFoundError:
        raise Skipped(f"{distribution} is not an installed distribution") from None
    for entry in entries:
        if entry.group == GROUP and entry.name == namespace:
            return entry.module
    raise Skipped(f"{distribution} has no entry point {namespace}")


def _sources(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise Skipped(f"the package {package} has no source")
    if spec.submodule_search_locations:
        return sorted(path for folder in spec.submodule_search_locations for path in Path(folder).rglob("*.py"))
    return [Path(str(spec.origin))]


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def _private(name: str) -> bool:
    if name.partition(".")[0] != "restorekit" or name == "restorekit":
        return False
    public = any(name == module or name.startswith(f"{module}.") for module in PUBLIC)
    return not public and name.removeprefix("restorekit.") not in restorekit.__all__
