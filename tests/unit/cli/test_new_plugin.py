"""``new-plugin``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restorekit.hooks import KINDS

Run = Callable[..., Any]
"""The fixture `run`: arguments in, exit code and both streams out."""


def test_it_says_where_and_what_next(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = run("new-plugin", "mine", "--kind", "metric")
    assert (shown.code, shown.err) == (0, "")
    for words in (
        "restorekit-mine: a plugin with the metric mine/",
        "cd restorekit-mine",
        "pip install",
        "restorekit check mine",
        "pytest",
    ):
        assert words in shown.out
    assert (tmp_path / "restorekit-mine/pyproject.toml").is_file()


def test_as_json(run: Run, tmp_path: Path) -> None:
    shown = run("new-plugin", "mine", "--into", tmp_path, "--json").json
    folder = tmp_path / "restorekit-mine"
    assert (shown["folder"], shown["namespace"], shown["kind"]) == (str(folder), "mine", "loss")
    assert sorted(shown["files"]) == sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["test"], "the namespace test is taken by restorekit-test 1.2"),
        (["Mine"], "Such as: mine"),
        (["mine", "--kind", "los"], "no kind 'los'. Did you mean loss?"),
        ([], "Missing argument 'NAME'"),
    ],
)
def test_what_will_not_do_is_one_message(run: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    shown = run("new-plugin", *arguments, "--into", tmp_path)
    assert shown.code == 2
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["list", "new-plugin"])
def test_the_help_names_every_kind(run: Run, command: str) -> None:
    text = "".join(run(command, "--help").out.split())
    assert f"Kinds:{','.join(KINDS)}." in text
