"""The public names of Python, a page per module, which mkdocstrings fills from docstrings."""

from __future__ import annotations

import ast
import importlib
import inspect
import re

MODULES = {
    "restorekit": "What `import restorekit as rk` gives. Names are resolved on first use, so that importing it imports no torch.",
    "restorekit.bench": "The benchmark from Python; `rk.bench` is the same.",
    "restorekit.hooks": "What a plugin's manifest imports.",
    "restorekit.interfaces": "What each kind of part must be.",
    "restorekit.images": "What an image is, and what is known of its damage.",
    "restorekit.conformance": "What every part of a plugin must hold.",
}
"""The modules that a plugin or a script may import, each in a sentence."""


def pages() -> dict[str, tuple[str, str]]:
    """Place and text of each page, by title."""
    return {module: (f"reference/{module}.md", _page(module, words)) for module, words in MODULES.items()}


def public(module: str) -> list[str]:
    """The public names of a module: its list of them, or else what it defines itself, in its own order."""
    loaded = importlib.import_module(module)
    listed = getattr(loaded, "__all__", None)
    if listed is not None:
        return [name for name in listed if not name.startswith("__")]
    names = []
    for node in ast.parse(inspect.getsource(loaded)).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith("_")]


def _page(module: str, words: str) -> str:
    blocks = []
    for name in public(module):
        if module == "restorekit" and name == "bench":
            continue  # has a page of its own
        blocks.append(f"::: {_home(module, name)}\n    options:\n      heading: {name}\n      toc_label: {name}\n")
    return f"# {module}\n\n{words}\n\n" + "\n".join(blocks)


def listed(content: str) -> str:
    """A page's HTML with its sections "Declarations", which are of our own making and come as one paragraph, as lists."""

    def as_list(found: re.Match[str]) -> str:
        entries = re.findall(r"^(\w+): (.*(?:\n\s+.*)*)", found[2], re.MULTILINE)
        items = "".join(f"<li><b><code>{name}</code></b> – {' '.join(words.split())}</li>" for name, words in entries)
        return f'<p class="doc-section-title"><b>Declarations:</b></p><ul>{items}</ul>' if entries else found[0]

    return re.sub(
        r'(<details class="declarations"[^>]*>\s*<summary>Declarations</summary>\s*<p>)(.*?)</p>\s*</details>',
        as_list,
        content,
        flags=re.DOTALL,
    )


def _home(module: str, name: str) -> str:
    """Where a name is defined, which is where its docstring is read."""
    value = getattr(importlib.import_module(module), name)
    home = getattr(value, "__module__", "")
    defined = getattr(value, "__qualname__", "") == name and home.startswith("restorekit")
    if defined:
        return f"{home}.{name}"
    where = getattr(importlib.import_module(module), "_WHERE", {})
    return f"{where.get(name, module)}.{name}"
