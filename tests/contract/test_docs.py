"""What a user or an author can write is described: the README or CONTRIBUTING shows it as code."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from restorekit.cli import app
from restorekit.hooks import KINDS, Hooks, Part
from restorekit.recipes import KEYS
from restorekit.settings import DataSettings, TrainSettings

ROOT = Path(__file__).parents[2]
PAPERS = ("README.md", "CONTRIBUTING.md")


def code_words(text: str) -> set[str]:
    """Words inside fenced blocks and code spans; dotted words count with each of their parts."""
    fences = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    words = set(re.findall(r"[\w.-]+", "\n".join([*fences, *spans])))
    return words | {piece for word in words for piece in word.split(".")}


WORDS = set().union(*(code_words((ROOT / name).read_text(encoding="utf-8")) for name in PAPERS))

THINGS = [
    *(("hook", name) for name in vars(Hooks) if not name.startswith("_")),
    *(("kind", name) for name in KINDS),
    *(("optional field of Part", field.name) for field in fields(Part) if field.default != MISSING or field.default_factory != MISSING),
    *(("key of a recipe", name) for name in KEYS),
    *(("setting data", field.name) for field in fields(DataSettings)),
    *(("setting train", field.name) for field in fields(TrainSettings)),
    *(("command", name) for name in app.commands),
]


@pytest.mark.parametrize(("what", "name"), THINGS, ids=[f"{what}: {name}" for what, name in THINGS])
def test_everything_that_can_be_written_is_described(what: str, name: str) -> None:
    assert name in WORDS, f"{what} {name}: show it as code in {' or '.join(PAPERS)}"


def test_words_are_taken_from_code_only() -> None:
    text = "prose `span data.crop` prose\n```\nfence: {deep.key: 1}\n```\nmore prose"
    assert code_words(text) == {"span", "data.crop", "data", "crop", "fence", "deep.key", "deep", "key", "1"}
