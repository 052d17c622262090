"""A new plugin of every kind: complete, clean, and conforming as it stands; nothing is written over or left half-written."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from restorekit import discovery
from restorekit.conformance import cases
from restorekit.conformance.kit import PLUGIN
from restorekit.errors import UserError
from restorekit.hooks import KINDS
from restorekit.recipes import load_yaml
from restorekit.registries import PluginInfo, PluginProblem, Registry
from restorekit.scaffolding import SKETCHES, new_plugin
from restorekit.scaffolding.writing import LONGEST

ROOT = Path(__file__).parents[2]
EMPTY = Registry()
NAMES = {"short": "x", "long": "n" * (LONGEST - 1)}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """A plugin of every kind, with names of one letter and with the longest; none depends on another."""
    found = {}
    for length, letters in NAMES.items():
        for number, kind in enumerate(KINDS):
            into = tmp_path_factory.mktemp("new")
            name = chr(ord("a") + number) if length == "short" else letters + chr(ord("a") + number)
            found[length, kind] = new_plugin(name, kind=kind, into=into, registry=EMPTY)
    return found


@pytest.fixture(scope="module")
def installed(written: dict[tuple[str, str], Path]) -> Iterator[tuple[Registry, dict[str, str]]]:
    """The registry with all of them, and the namespace of each kind."""
    namespaces = {}
    for (length, kind), folder in written.items():
        if length != "short":
            continue
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
        ((namespaces[kind], target),) = project["entry-points"]["restorekit"].items()
        (info / "entry_points.txt").write_text(f"[restorekit]\n{namespaces[kind]} = {target}\n")
    paths = [str(folder) for folder in written.values()]
    sys.path[:0] = paths
    try:
        yield discovery.discover(), namespaces
    finally:
        for path in paths:
            sys.path.remove(path)


def test_every_kind_has_a_sketch() -> None:
    assert set(SKETCHES) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_distribution_is_whole(written: dict[tuple[str, str], Path], kind: str) -> None:
    folder = written["short", kind]
    files = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    package = folder.name.replace("-", "_")
    assert {"pyproject.toml", "README.md", "LICENSE", ".gitignore", ".github/workflows/tests.yaml", "tests/test_plugin.py"} <= set(files)
    assert {f"{package}/__init__.py", f"{package}/plugin.py", f"{package}/{SKETCHES[kind].file}"} <= set(files)
    assert not [name for name, text in files.items() if re.search("@[A-Z]+@", text + name)]
    assert not [name for name in files if name.endswith(".txt")]
    assert files["LICENSE"] == (ROOT / "LICENSE").read_text()
    assert "parametrize_parts" in files["tests/test_plugin.py"]
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["name"] == folder.name
    assert project["entry-points"]["restorekit"] == {folder.name.removeprefix("restorekit-"): f"{package}.plugin"}
    steps = load_yaml(folder / ".github/workflows/tests.yaml")["jobs"]["tests"]["steps"]
    assert f"restorekit check {folder.name.removeprefix('restorekit-')}" in [step.get("run") for step in steps]


def test_all_of_it_is_clean_to_ruff_whatever_the_name(written: dict[tuple[str, str], Path]) -> None:
    folders = list(map(str, written.values()))
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, "--no-cache", *folders], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_the_part_conforms(installed: tuple[Registry, dict[str, str]], kind: str) -> None:
    registry, namespaces = installed
    found = [case.examine() for case in cases(namespaces[kind], registry=registry) if case.kind != PLUGIN]
    assert {result.kind for result in found} == {kind}
    assert not [result for result in found if result.status in ("failed", "known")]
    assert any(result.status == "passed" for result in found)


TAKEN = Registry(
    plugins=[PluginInfo("mine", "somebody-elses", "2.0", 1, 1), PluginInfo("a.b", "ab", "1", 1, 1)],
    problems=[PluginProblem("sick", "sick-dist", "1", "import", "x")],
)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "'' cannot be a namespace"),
        ("My Plugin", "'My Plugin' cannot be a namespace: lower-case letters.* Such as: my-plugin"),
        ("-x", "Such as: x"),
        ("x-", "Such as: x"),
        ("../x", "Such as: x"),
        ("a/b", "Such as: a-b"),
        ("x\n", "Such as: x"),
        ("é", "cannot be a namespace"),
        ("n" * (LONGEST + 1), f"{LONGEST} characters at most"),
        ("mine", r"the namespace mine is taken by somebody-elses 2\.0"),
        ("a-b", r"the namespace a\.b is taken by ab 1"),
        ("sick", "the namespace sick is taken by sick-dist 1"),
    ],
)
def test_a_name_that_will_not_do_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        new_plugin(name, into=tmp_path, registry=TAKEN)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no kind 'generater'\. Did you mean generator\? Kinds: generator, critic"):
        new_plugin("x", kind="generater", into=tmp_path, registry=EMPTY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["folder", "file", "dangling link"])
def test_nothing_is_written_over(tmp_path: Path, what: str) -> None:
    there = tmp_path / "restorekit-x"
    if what == "folder":
        there.mkdir()
    elif what == "file":
        there.write_text("mine")
    else:
        there.symlink_to("nowhere")
    with pytest.raises(UserError, match="restorekit-x: is there already and is left as it is"):
        new_plugin("x", into=tmp_path, registry=EMPTY)
    assert list(tmp_path.iterdir()) == [there]
    assert not there.is_dir() or list(there.iterdir()) == []


def test_a_place_that_will_not_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent: there is no such folder: make it first"):
        new_plugin("x", into=tmp_path / "absent", registry=EMPTY)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: not a folder"):
        new_plugin("x", into=tmp_path / "file", registry=EMPTY)


def test_what_fails_on_the_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    write = Path.write_text

    def full(path: Path, text: str, **options: str) -> int:
        written.append(path)
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        return write(path, text, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UserError, match=r"restorekit-x: cannot be written: No space left on device\. Choose another folder with --into"):
        new_plugin("x", into=tmp_path, registry=EMPTY)
    assert len(written) == 4
    assert list(tmp_path.iterdir()) == []
