"""Help, mistakes in what is typed, faults, and how little is imported to look around."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from PIL import Image

from restorekit import photos
from restorekit.cli import app

Run = Callable[..., Any]
"""The fixture `run`: arguments in, exit code and both streams out."""

HEAVY = (
    "torch",
    "torchvision",
    "kornia",
    "timm",
    "skimage",
    "scipy",
    "lightning_fabric",
    "pydantic",
    "ruamel.yaml",
    "rich",
    "numpy",
    "PIL",
)
CPU_SECONDS = 0.3


def commands(group: click.Group = app, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


EVERY = {" ".join(path): command for path, command in commands()}
LEAVES = {name: command for name, command in EVERY.items() if not isinstance(command, click.Group)}


def test_the_commands_are_those_promised() -> None:
    assert set(LEAVES) == {
        "list",
        "info",
        "plugins",
        "check",
        "degrade",
        "restore",
        "ui",
        "sample",
        "score",
        "data check",
        "data organise",
        "train",
        "import",
        "export",
        "new-plugin",
        "bench run",
        "bench table",
        "bench inputs",
        "bench merge",
        "bench diff",
        "bench verify",
    }


@pytest.mark.parametrize("name", EVERY)
def test_every_command_has_help_with_examples(name: str, run: Run) -> None:
    shown = run(*name.split(), "--help")
    assert shown.code == 0
    assert "Examples:" in shown.out
    assert f"restorekit {name}" in shown.out.partition("Examples:")[2]
    assert "--debug" in shown.out
    assert shown.err == ""


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_reports_as_json(name: str) -> None:
    assert any("--json" in parameter.opts for parameter in LEAVES[name].params)


@pytest.mark.parametrize("name", EVERY)
def test_the_examples_in_the_help_can_be_typed(name: str) -> None:
    lines = (EVERY[name].epilog or "").partition("Examples:")[2].splitlines()[1:]
    assert lines
    for line in lines:
        words = line.split()
        assert words[0] == "restorekit"
        command: click.Command = app
        words = words[1:]
        while isinstance(command, click.Group):
            command = command.commands[words[0]]
            words = words[1:]
        command.make_context(name, words)  # refuses unknown options, missing arguments and bad values


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_without_a_command_there_is_help(arguments: tuple[str, ...], run: Run) -> None:
    shown = run(*arguments)
    assert shown.code == 0
    assert all(name.split()[0] in shown.out for name in EVERY)
    assert not run("bench").code


def test_the_version_is_the_packages(run: Run) -> None:
    import restorekit

    assert run("--version").out.split() == ["restorekit", restorekit.__version__]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lst"], ["'lst'", "Did you mean list?", "restorekit --help"]),
        (["bench", "rum"], ["'rum'", "Did you mean run?"]),
        (["list", "--jsn"], ["--jsn", "--json", "restorekit list --help"]),
        (["restore", "a.png", "-o", "b.png", "--wiht", "x"], ["--wiht", "--with"]),
        (["restore", "-o", "b.png"], ["IN"]),
        (["restore", "a.png"], ["--out"]),
        (["restore", "a.png", "-o", "b.png", "--device", "gpu"], ["gpu", "cuda"]),
        (["restore", "a.png", "-o", "b.png", "--seed", "-1"], ["-1"]),
        (["list", "generators"], ["'generators'", "Did you mean generator"]),
        (["info", "core/psnrr"], ["'core/psnrr'", "core/psnr", "restorekit list"]),
        (["info", "metric:core/psnrr"], ["core/psnr", "restorekit list metric"]),
        (["info", "nothing.safetensors"], ["nothing.safetensors", "no such file"]),
        (["info", "sick/part"], ["sick", "did not load", "No module named 'x'", "restorekit plugins"]),
        (["info", "elsewhere/part"], ["pip install restorekit-elsewhere"]),
        (["check", "cor"], ["'cor'", "Did you mean core?"]),
        (["degrade", "a.png", "b.png"], ["--with"]),
        (["train", "deblurgan/defalt"], ["deblurgan/defalt"]),
        (["train", "nothing.yaml"], ["nothing.yaml", "no such file"]),
        (["bench", "table", "nothing"], ["nothing", "restorekit bench run"]),
    ],
)
def test_a_mistake_gets_one_message_and_exit_code_2(arguments: list[str], words: list[str], run: Run) -> None:
    shown = run(*arguments)
    assert shown.code == 2
    assert shown.out == ""
    assert "Traceback" not in shown.err
    assert shown.err.count("error: ") == 1
    for word in words:
        assert word in shown.err


@pytest.mark.parametrize("where", ["before", "after"])
def test_debug_shows_the_traceback_wherever_it_stands(where: str, run: Run) -> None:
    shown = run(*(["--debug", "info", "core/nix"] if where == "before" else ["info", "core/nix", "--debug"]))
    assert shown.code == 2
    assert "Traceback" in shown.err
    assert "error: no part called 'core/nix'" in shown.err


def test_a_fault_of_the_program_is_one_line(run: Run, photo: Path, tmp_path: Path) -> None:
    shown = run("restore", photo, "-o", tmp_path / "out.png", "--with", "test/faulty")
    assert shown.code == 1
    assert shown.err.count("\n") == 1
    assert "restorekit failed: ZeroDivisionError: a fault of two lines; run again with --debug" in shown.err
    assert "Traceback" in run("restore", photo, "-o", tmp_path / "out.png", "--with", "test/faulty", "--debug").err


def test_an_interrupt_ends_cleanly(run: Run, photo: Path, tmp_path: Path) -> None:
    shown = run("restore", photo, "-o", tmp_path / "out", "--with", "test/interrupted")
    assert shown.code == 130
    assert shown.err.strip() == "interrupted"


@pytest.mark.filterwarnings("default::FutureWarning")
def test_a_warning_is_one_line(run: Run, photo: Path, tmp_path: Path) -> None:
    before = warnings.showwarning
    shown = run("restore", photo, "-o", tmp_path / "out.png", "--with", "test/inverse")
    assert shown.code == 0
    assert shown.err.splitlines() == ["warning: test/inverse is now called test/negative; the old name goes with the next release"]
    assert warnings.showwarning is before


def test_pillows_own_warnings_are_not_shown(run: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Image.open(photo) as opened:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", opened.width * opened.height - 1)
    with pytest.warns(Image.DecompressionBombWarning):
        photos.read(photo)
    shown = run("restore", photo, "-o", tmp_path / "out.png", "--with", "test/negative")
    assert (shown.code, shown.err) == (0, "")


def test_a_file_error_is_the_users(run: Run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("")
    shown = run("degrade", photo, tmp_path / "out.png", "--with", "core/camera-shake", "--save-params", tmp_path / "p")
    assert shown.code == 2
    assert str(tmp_path / "p") in shown.err
    assert "Traceback" not in shown.err


def light_run(*arguments: str) -> tuple[float, list[str]]:
    """CPU seconds of a process that runs the command, and the heavy modules that it had loaded at its end."""
    report = f"print('HEAVY', *[name for name in {HEAVY!r} if name in sys.modules])"
    code = f"import sys; from restorekit.cli import main; main({list(arguments)!r}); {report}"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["list", "--json"], ["plugins"], ["restore", "--help"], ["lst"]])
def test_looking_around_is_light_and_fast(arguments: list[str]) -> None:
    seconds = []
    for _ in range(10):  # a busy machine makes the same work cost more
        spent, heavy = light_run(*arguments)
        assert heavy == []
        seconds.append(spent)
        if spent < CPU_SECONDS:
            return
    pytest.fail(f"restorekit {' '.join(arguments)} took {min(seconds):.2f} s of CPU time")


def test_a_closed_pipe_is_no_fault() -> None:
    script = Path(sys.executable).with_name("restorekit")
    done = subprocess.run(["sh", "-c", f"'{script}' list | head -n 1"], capture_output=True, text=True, check=True, env={**os.environ})
    assert done.stdout == "generator\n"
    assert "Traceback" not in done.stderr
