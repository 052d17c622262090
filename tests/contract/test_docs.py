"""What a user or an author can write is described, and what the documents show is true: every code block is checked and run."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

import click
import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

import restorekit as rk
from restorekit import cli, discovery
from restorekit.cli import app
from restorekit.hooks import KINDS, Hooks, Part
from restorekit.modelfile import Model
from restorekit.recipes import KEYS
from restorekit.registries import Registry
from restorekit.settings import DataSettings, TrainSettings

from .docs_blocks import ROOT, Block, blocks, blocks_of, commands, documents, mistakes

PAPERS = ("README.md", "CONTRIBUTING.md")
DOCUMENTS = {str(path.relative_to(ROOT)): path for path in documents() if blocks(path)}


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


@pytest.mark.parametrize("name", DOCUMENTS)
def test_blocks_say_what_is_so(name: str) -> None:
    """Commands, options, parts, their options, recipes, suites, scripts, targets and extras exist."""
    problems = [f"{block.place}: {what}" for block in blocks(DOCUMENTS[name]) for what in mistakes(block, rk.registry())]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_comments_above_blocks_say_how_they_are_tested(name: str) -> None:
    found = blocks(DOCUMENTS[name])
    assert {block.how for block in found} <= {"run", "slow", "parse"}
    assert not [block.place for block in found if block.how == "parse" and "," not in block.note], "say why it is not run"
    above = re.findall(r"^[ ]*<!-- test:", DOCUMENTS[name].read_text(encoding="utf-8"), re.MULTILINE)
    assert len(above) == sum(bool(block.note) for block in found), "a comment above no block"


@pytest.fixture
def making(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The modules that make pages can be imported."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "making"))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(ROOT / "docs") in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.usefixtures("making")
def test_pages_of_parts_say_how_to_use_them() -> None:
    import parts

    registry = rk.registry()
    for part in registry.parts:
        (block,) = blocks_of(parts.usage(part) + "\n", ROOT / part.name)
        assert part.name in block.text
        assert not mistakes(block, registry)


@pytest.mark.usefixtures("making")
def test_examples_of_commands_are_so() -> None:
    import commands

    def every(command: click.Command) -> Iterator[str]:
        yield from commands.examples(command)
        for below in getattr(command, "commands", {}).values():
            yield from every(below)

    lines = [line for line in every(app) if "COMMAND" not in line]
    assert len(lines) > 40
    for line in lines:
        (block,) = blocks_of(f"```sh\n{line}\n```\n", ROOT / "commands")
        assert not mistakes(block, rk.registry())


@pytest.mark.usefixtures("making")
def test_links_of_papers_lead_to_their_pages() -> None:
    import papers

    text = "[a](../deblurgan/README.md#sizes) [b](../../docs/faces28.png)\n```\n[c](../../README.md)\n```\n[d](tests/test_fill.py) [e](https://x.y/z.md)\n"
    found = papers.relink(ROOT, "plugins/style.md", text)
    assert found == "[a](deblurgan.md#sizes) [b](../files/docs-faces28.png)\n```\n[c](../../README.md)\n```\nd [e](https://x.y/z.md)\n"


WRONG = {
    "restorekit restor photo.jpg -o x.jpg": "no command",
    "restorekit restore photo.jpg -o x.jpg --sharpen": "No such option",
    "restorekit restore photo.jpg -o x.jpg --with core/wienr": "no restorer called",
    "restorekit restore photo.jpg -o x.jpg --with core/tv-denoise --set weigth=1": "not an option",
    "restorekit degrade photo.jpg x.jpg --with core/jpeg --set quality=300": "expected",
    "restorekit train deblurgan/default --data x --set train.stepz=3": "stepz",
    "restorekit info core/nothing": "no part called",
    "restorekit bench run core/photoz --method core/wiener --out x": "no suite called",
    "restorekit score a/ b/ --metric core/snr": "no metric called",
    "make dome": "no target",
    "pip install 'restorekit[nothing]'": "no extra",
    "pip install restorekit-nothing": "none of ours",
    "python benchmarks/nothing.py": "no such script",
    "python benchmarks/training/curve.py x --nothing 3": "has no --nothing",
    "curl https://example.org": "not a program",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_is_not_so_is_found(line: str) -> None:
    (block,) = blocks_of(f"```\n{line}\n```\n", ROOT / "x.md")
    assert WRONG[line] in "\n".join(mistakes(block, rk.registry()))


def test_wrong_yaml_is_found() -> None:
    text = "```yaml\nlosses:\n  - {part: core/l1, weight: 1.0}\n  - {part: core/ssim, widow: 3}\n```\n"
    (block,) = blocks_of(text, ROOT / "x.md")
    (found,) = mistakes(block, rk.registry())
    assert "losses.widow: not an option of core/ssim" in found


def test_blocks_within_lists_and_commands_over_several_lines() -> None:
    text = "1. One\n\n   <!-- test: slow --set a=1 -->\n   ```sh\n   A=1 restorekit list \\\n     loss  # all\n   make test\n   ```\n"
    (block,) = blocks_of(text, ROOT / "x.md")
    assert (block.how, block.line, block.language) == ("slow", 3, "sh")
    assert commands(block.text) == [["restorekit", "list", "loss"], ["make", "test"]]


def picture(path: Path, name: str, side: tuple[int, int] = (96, 80), corner: int = 60) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = getattr(skimage.data, name)()[corner : corner + side[1], corner + 40 : corner + 40 + side[0]]
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the documents take for granted: photographs, pairs, a mask, a kernel, small untrained models."""
    folder = tmp_path_factory.mktemp("inputs")
    for name in ("photo.jpg", "my.jpg", "noisy.jpg", "photo.png", "scan.png", "blurred.png", "holes.png", "painting.jpg", "holiday/1.jpg"):
        picture(folder / name, "chelsea")
    picture(folder / "holiday" / "town" / "2.jpg", "coffee")
    for number in range(6):
        for name in ("my-photos", "photographs", "portraits"):
            picture(folder / name / f"{number}.jpg", ("coffee", "astronaut")[number % 2], (330, 330), 10 * number)
    for number in range(3):
        for name in ("sharp", "blurred", "restored"):
            picture(folder / name / f"{number}.png", ("chelsea", "coffee")[number % 2], (330, 230), 10 * number)
    for number in range(5):
        for which in range(3):
            picture(folder / "kinds" / str(number) / f"{which}.jpg", ("coffee", "astronaut", "chelsea")[which], (80, 80), 10 * number)
    picture(folder / "test-photos" / "1.png", "astronaut")
    mask = np.zeros((80, 96), np.uint8)
    mask[20:24] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    picture(folder / "scratched" / "1.jpg", "chelsea")
    (folder / "masks").mkdir()
    Image.fromarray(mask).save(folder / "masks" / "1.png")
    np.save(folder / "psf.npy", np.full((3, 3), 1 / 9, np.float32))
    latent = rk.recipe("dcgan/faces28").set("generator.width", 4).set("critic.width", 4).check()
    image = rk.recipe("deblurgan/denoise").set("generator.width", 4).set("data.train", "bundled").check()
    for recipe, places in ((latent, ("faces", "runs/faces/model", "runs/dcgan-faces28/model")), (image, ("model", "runs/mine/model"))):
        spec = dict(recipe.content["generator"])
        torch.manual_seed(0)
        network = rk.registry().create("generator", spec.pop("part"), **spec).eval()
        judge = dict(recipe.content.get("critic") or {})
        critic = rk.registry().create("critic", judge.pop("part"), **judge).eval() if judge else None
        for place in places:
            target = folder / f"{place}.safetensors"
            target.parent.mkdir(parents=True, exist_ok=True)
            Model(network, recipe, critic).save(target)
    return folder


@pytest.fixture
def folder(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the inputs, which is the current folder and where Python finds modules."""
    shutil.copytree(inputs, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.syspath_prepend(str(tmp_path / "here"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "here"), os.environ.get("PYTHONPATH", "")]))
    before = set(sys.modules)
    yield tmp_path / "here"
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "") or getattr(sys.modules[name], "__path__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_blocks_run(name: str, inputs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _tell(DOCUMENTS[name], inputs, folder, monkeypatch, capsys, ("run",))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, path in DOCUMENTS.items() if any(block.how == "slow" for block in blocks(path))])
def test_slow_blocks_run(
    name: str, inputs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _tell(DOCUMENTS[name], inputs, folder, monkeypatch, capsys, ("run", "slow"))


def _tell(
    path: Path, inputs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], hows: tuple[str, ...]
) -> None:
    """Run a document's blocks in turn, as somebody would who reads it from top to bottom."""
    found = [block for block in blocks(path) if block.how in hows]
    for block in found:
        for there in inputs.iterdir():  # blocks share what they make, not what they are given
            if there.is_dir() and there.name != "runs":
                shutil.rmtree(folder / there.name)
                shutil.copytree(there, folder / there.name)
        if block.shell:
            with contextlib.chdir(folder):
                for words in commands(block.text):
                    _shell(words, block, folder, monkeypatch, capsys)
        elif block.language == "python":
            _python(block, folder, monkeypatch)
        elif block.language == "toml":
            _install(folder, block.text, folder, monkeypatch)
    if (entries := list(folder.glob("*.dist-info/entry_points.txt"))) and hows == ("run",):
        shown = discovery.discover()  # what the document has written since
        monkeypatch.setattr(discovery, "registry", lambda: shown)
        _command(["check", entries[0].read_text().split()[1]], found[-1], capsys)


def _shell(words: list[str], block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a command of ours; follow into a folder; put a plugin that is installed from there where Python finds it."""
    if words[0] == "restorekit":
        _command(words[1:], block, capsys)
    elif words[0] == "cd":
        os.chdir(words[1])
    elif words[:3] == ["pip", "install", "-e"]:
        project = Path(re.sub(r"\[.*", "", words[3])).resolve()
        _install(project, (project / "pyproject.toml").read_text(encoding="utf-8"), folder, monkeypatch)


def _command(arguments: list[str], block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("-o", "--out"):  # results of blocks before
        if option in arguments and arguments[0] in ("restore", "train") and "--resume" not in arguments:
            there = Path(arguments[arguments.index(option) + 1])
            shutil.rmtree(there, ignore_errors=True) if there.is_dir() else there.unlink(missing_ok=True)
    if arguments[0] == "degrade":
        Path(arguments[2]).unlink(missing_ok=True)
    if arguments[0] == "train" and "--set" in block.note:
        arguments = _with_settings(arguments, block.note.split()[2::2])
    code = cli.main(arguments)
    said = capsys.readouterr()
    assert code == 0, f"{block.place}: restorekit {' '.join(arguments)}\n{said.out[-2000:]}{said.err[-2000:]}"


def _with_settings(arguments: list[str], settings: list[str]) -> list[str]:
    """A command with these in place of its own settings of the same keys."""
    keys = {setting.partition("=")[0] for setting in settings}
    own = [
        number for number, word in enumerate(arguments) if number and arguments[number - 1] == "--set" and word.partition("=")[0] in keys
    ]
    kept = [word for number, word in enumerate(arguments) if number not in own and number + 1 not in own]
    return [*kept, *(word for setting in settings for word in ("--set", setting))]


def _python(block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = block.text
    for swap in block.note.split()[1:]:
        old, _, new = swap.partition("=")
        assert old in text, f"{block.place}: no {old} to be replaced"
        text = text.replace(old, new)
    pieces = re.split(r"^# ([\w/.-]+\.(?:py|toml))\n", text, flags=re.MULTILINE)
    for file, inside in zip(pieces[1::2], pieces[2::2], strict=True):
        if file.endswith(".toml"):
            _install(folder, re.sub(r"^# ", "", inside, flags=re.MULTILINE), folder, monkeypatch)
            continue
        package = file.partition("/")[0]
        base = next((there.parent for there in folder.glob(f"*/{package}")), folder)
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]  # it is written anew
        target = base / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(inside, encoding="utf-8")
        exec(compile(inside, block.place, "exec"), {"__name__": file.removesuffix(".py").replace("/", ".")})
    if len(pieces) == 1:
        exec(compile(text, block.place, "exec"), {"__name__": "block", "image": Image.open(folder / "photo.jpg")})


def _install(project: Path, toml: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a plugin an installed one, with the entry point that its `toml` shows."""
    ((name, target),) = tomllib.loads(toml)["project"]["entry-points"]["restorekit"].items()
    info = folder / "documented-0.1.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: documented\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[restorekit]\n{name} = {target}\n")
    if project != folder:
        monkeypatch.syspath_prepend(str(project))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(project), os.environ["PYTHONPATH"]]))
    importlib.invalidate_caches()
    found: Registry = discovery.discover()
    assert not [problem for problem in found.problems if problem.namespace == name], found.problems
    monkeypatch.setattr(discovery, "registry", lambda: found)


LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)\s#]+)(?:#[^)\s]*)?\)")
MADE = ("parts/", "reference/", "scores/")
"""Chapters of the site that are made when it is built; MkDocs itself checks links into them."""


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(path: Path) -> None:
    prose = re.sub(r"^[ ]*```.*?^[ ]*```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    pages = ROOT / "docs" / "pages"
    broken = []
    for target in LINK.findall(prose):
        there = Path(os.path.normpath(path.parent / target))
        made = there.is_relative_to(pages) and str(there.relative_to(pages)).startswith(MADE)
        if not made and not there.exists():
            broken.append(target)
    assert not broken
