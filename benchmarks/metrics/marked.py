"""A generated part of a Markdown file, between two comments that name it."""

from __future__ import annotations

import re
from pathlib import Path


def replace(file: Path, name: str, text: str) -> None:
    """Put `text` between ``<!-- name -->`` and ``<!-- /name -->`` in `file`."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    whole = file.read_text(encoding="utf-8")
    if whole.count(begin) != 1 or whole.count(end) != 1:
        raise SystemExit(f"{file}: expected {begin} and {end}, once each")
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    file.write_text(pattern.sub(lambda _: f"{begin}\n{text.strip()}\n{end}", whole), encoding="utf-8")


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows))
