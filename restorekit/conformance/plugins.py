"""Checks of a plugin as a whole: it loads, its manifest is light, and it keeps to what is public."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import restorekit
from restorekit.conformance.subject import Failed, Skipped
from restorekit.discovery import GROUP
from restorekit.registries import PluginProblem, Registry

HEAVY = ("torch", "torchvision", "kornia", "timm", "skimage", "scipy", "lightning_fabric", "pydantic")
"""Packages that listing parts must not import: they are most of a small job's time."""

PUBLIC = ("restorekit.hooks", "restorekit.interfaces", "restorekit.images", "restorekit.conformance")
"""Modules of the core, beside ``restorekit`` itself, that plugins may import."""

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


PLUGIN: tuple[Callable[[str, str, Registry], None], ...] = (manifest_is_light, only_public_core_is_imported)


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
