"""Engines, precisions and ``export`` from the command line."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_the_output_says_what_computed_a_picture(run: Run, photo: Path, tmp_path: Path) -> None:
    arguments = ("restore", photo, "--with", "deblurgan/denoise", "--engine", "torch", "--precision", "fp32")
    told = run(*arguments, "-o", tmp_path / "a.png", "--json")
    assert (told.code, told.lines[0]["engine"], told.lines[0]["precision"]) == (0, "torch", "fp32")
    assert run(*arguments, "-o", tmp_path / "b.png").out.rstrip().endswith(", torch fp32")


def test_methods_without_a_network_say_nothing_of_engines(run: Run, photo: Path, tmp_path: Path) -> None:
    told = run("restore", photo, "-o", tmp_path / "a.png", "--json")
    assert (told.lines[0]["engine"], told.lines[0]["precision"]) == (None, None)


@pytest.mark.parametrize("option", [("--precision", "bf16"), ("--engine", "torch"), ("--compile",)])
def test_and_refuse_what_would_change_nothing(option: tuple[str, ...], run: Run, photo: Path, tmp_path: Path) -> None:
    told = run("restore", photo, "-o", tmp_path / "a.png", *option)
    assert told.code == 2
    assert f"{option[0]}: test/negative has no network" in told.err
    assert list(tmp_path.glob("*.png")) == []


@pytest.mark.parametrize(
    ("out", "words"),
    [("model.pt", "write -o"), ("there.onnx", "there already"), ("folder.onnx", "a folder"), ("new.onnx", "without a network")],
)
def test_export_refuses_before_it_writes(out: str, words: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "there.onnx").write_text("mine")
    (tmp_path / "folder.onnx").mkdir()
    told = run("export", "test/negative", "-o", tmp_path / out)
    assert told.code == 2
    assert words in told.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.onnx", "there.onnx"]
    assert (tmp_path / "there.onnx").read_text() == "mine"


def test_export_names_the_extra_that_it_needs(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name.startswith("onnx") else found(name, *more))
    told = run("export", "deblurgan/denoise", "-o", tmp_path / "model.onnx")
    assert told.code == 2
    assert "pip install 'restorekit[onnx]'" in told.err
    assert list(tmp_path.iterdir()) == []
