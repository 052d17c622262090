"""The repository's own papers as pages: READMEs, CONTRIBUTING, CHANGELOG, tables of results. They are written once, for both places.

Links are relative to where a paper lies in the repository. `relink` turns them into links between pages; pictures and the
benchmark's own pages are copied; a link to source code becomes plain text, because the site does not hold it.
"""

from __future__ import annotations

import functools
import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PAGES = "docs/pages"
"""Where pages lie that are written for the site alone."""

COPIED = (".jpg", ".jpeg", ".png", ".gif", ".svg", ".webp", ".html")

LINK = re.compile(r"(?P<before>(?P<bang>!?)\[(?P<words>[^\]]*)\]\()(?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Papers:
    """The papers as pages by their place in the site, and the navigation of each chapter."""

    pages: dict[str, str]
    nav: dict[str, list[object]]


def place(path: PurePosixPath) -> str | None:
    """Where a file of the repository is in the site, or None where it is no page."""
    text = str(path)
    if text.startswith(f"{PAGES}/"):
        return text.removeprefix(f"{PAGES}/")
    if path.suffix != ".md":
        return None
    fixed = {
        "README.md": "index.md",
        "CONTRIBUTING.md": "about/contributing.md",
        "CHANGELOG.md": "about/changes.md",
        "docs/metrics.md": "scores/metrics.md",
        "benchmarks/README.md": "scores/benchmarks.md",
        "benchmarks/speed/README.md": "scores/speed.md",
    }
    if text in fixed:
        return fixed[text]
    if found := re.fullmatch(r"benchmarks/results/([\w-]+)/leaderboard\.md", text):
        return f"scores/leaderboard/{found[1]}.md"
    if found := re.fullmatch(r"plugins/([\w-]+)/README\.md", text):
        return f"plugins/{found[1]}.md"
    if found := re.fullmatch(r"plugins/([\w-]+)/\w+/weights/(\w+)\.md", text):
        return f"plugins/{found[1]}-{'model' if found[2] == 'README' else found[2]}.md"
    return None


def pages(root: Path) -> Papers:
    """Every paper, read."""
    sources.cache_clear()
    found = {where: (root / path).read_text(encoding="utf-8") for where, path in sources(root).items()}
    boards = {where: _title(text) for where, text in found.items() if where.startswith("scores/leaderboard/")}
    found["scores/leaderboard/index.md"] = _boards(root, boards)
    scores: list[object] = [
        {"Benchmarks": "scores/benchmarks.md"},
        {"What each ruler is": "scores/metrics.md"},
        {"Leaderboards": ["scores/leaderboard/index.md", *({title: where} for where, title in boards.items())]},
        {"Speed": "scores/speed.md"},
    ]
    plugins: list[object] = [{_title(text): where} for where, text in found.items() if where.startswith("plugins/")]
    about: list[object] = [{"Contributing": "about/contributing.md"}, {"Changes": "about/changes.md"}]
    return Papers(found, {"Scores": scores, "Plugins": plugins, "About": about})


def _boards(root: Path, boards: dict[str, str]) -> str:
    readme = (root / "README.md").read_text(encoding="utf-8")
    table = readme.partition("<!-- leaderboard: made by make leaderboard -->")[2].partition("<!-- leaderboard: end -->")[0].strip()
    lines = [
        "# Leaderboards",
        "",
        "Every method is scored by the same code on the same inputs. `core/identity` does nothing and is always in the table; a method",
        "that is told something of the damage says what. `make results` measures all of this again, and `restorekit bench verify` checks",
        "a claim.",
        "",
        table,
        "",
        "| suite | all columns | sorts and plots |",
        "|---|---|---|",
    ]
    for where, title in boards.items():
        name = PurePosixPath(where).stem
        page = f"../../../../benchmarks/results/{name}/leaderboard.html"
        lines.append(f"| `{title}` | [table]({name}.md) | [page]({page}) |")
    return "\n".join(lines) + "\n"


def _title(text: str) -> str:
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found[1] if found else "?"


@functools.cache
def sources(root: Path) -> dict[str, PurePosixPath]:
    """The papers that become pages, by their place in the site; paths are relative to the repository."""
    found = {}
    for pattern in ("*.md", "docs/metrics.md", "benchmarks/**/*.md", "plugins/*/README.md", "plugins/*/*/weights/*.md"):
        for path in sorted(root.glob(pattern)):
            relative = PurePosixPath(path.relative_to(root).as_posix())
            where = place(relative)
            if where is not None and where != "index.md":
                found[where] = relative
    return found


def origin(root: Path, where: str) -> PurePosixPath:
    """The folder of the repository that a page's links start from."""
    return sources(root).get(where, PurePosixPath(PAGES, where)).parent


def _outside(root: Path, folder: PurePosixPath, target: str) -> PurePosixPath | None:
    """The file of the repository, outside the pages, that a link names; None where it names something else."""
    path, _, _ = target.partition("#")
    if not path or re.match(r"[a-z][a-z0-9+.-]*:", path):
        return None
    found = PurePosixPath(posixpath.normpath(str(folder / path)))
    if str(found).startswith((f"{PAGES}/", "..")):
        return None
    return found if (root / found).exists() else None


def shown(root: Path, where: str, text: str) -> set[Path]:
    """Pictures and pages of the repository that a page shows or links to and that have to be copied."""
    folder = origin(root, where)
    found = set()
    for match in _links(text):
        outside = _outside(root, folder, match["target"])
        if outside is not None and outside.suffix in COPIED:
            found.add(root / outside)
    return found


def asset(root: Path, path: Path) -> str:
    """Where a copied file goes."""
    return f"files/{path.relative_to(root).as_posix().replace('/', '-')}"


def relink(root: Path, where: str, text: str) -> str:
    """`text` with links into the repository turned into links within the site."""
    folder = origin(root, where)

    def turned(match: re.Match[str]) -> str:
        outside = _outside(root, folder, match["target"])
        if outside is None:
            return match[0]
        _, mark, anchor = match["target"].partition("#")
        goal = asset(root, root / outside) if outside.suffix in COPIED else place(outside)
        if goal is None:
            return match["words"]
        return f"{match['before']}{os.path.relpath(goal, posixpath.dirname(where) or '.')}{mark}{anchor})"

    text = re.sub(r"^[ ]*<!-- test: .*? -->\n", "", text, flags=re.MULTILINE)
    return _outside_code(text, lambda prose: LINK.sub(turned, prose))


def _links(text: str) -> list[re.Match[str]]:
    found: list[re.Match[str]] = []
    _outside_code(text, lambda prose: found.extend(LINK.finditer(prose)) or prose)
    return found


def _outside_code(text: str, change: object) -> str:
    """`text` with `change` done to what is outside fenced blocks."""
    pieces = re.split(r"(^[ \t]*```.*?^[ \t]*```[ \t]*$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(piece if index % 2 else change(piece) for index, piece in enumerate(pieces))  # type: ignore[operator]
