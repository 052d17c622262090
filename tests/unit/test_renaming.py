"""A part's former name works for one release, wherever a name can be written, and what is saved has the new one."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import safe_open, save_file

import restorekit as rk
from restorekit import discovery, modelfile, recipes
from restorekit.cli import main
from restorekit.registries import Registry

FAKES = Path(__file__).parents[1] / "fake_plugins"
WARNING = "renamed/old is now called renamed/new; the old name goes with the next release"


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    discovery.registry()  # of what is installed, before there is more on the path
    sys.path.insert(0, str(FAKES / "renamed"))
    try:
        yield discovery.discover()
    finally:
        sys.path.remove(str(FAKES / "renamed"))


RECIPE = {"recipe": 1, "generator": {"part": "renamed/old"}, "losses": ["core/l1"], "data": {"train": "bundled"}}


@pytest.fixture(scope="module")
def old_file(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file as the release before wrote it."""
    whole = recipes.recipe({**RECIPE, "generator": {"part": "renamed/new"}}).check(registry)
    path = tmp_path_factory.mktemp("old") / "old.safetensors"
    modelfile.Model(registry.create("generator", "renamed/new"), whole).save(path)
    with safe_open(path, "pt") as opened:
        metadata = {key: value.replace("renamed/new", "renamed/old") for key, value in opened.metadata().items()}
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    save_file(tensors, path, metadata)
    return path


def test_in_a_recipe(registry: Registry) -> None:
    with pytest.warns(FutureWarning, match=WARNING):
        whole = recipes.recipe(RECIPE).check(registry)
    assert whole.content["generator"]["part"] == "renamed/new"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert whole.check(registry).content == whole.content


def test_in_a_model_file(registry: Registry, old_file: Path, tmp_path: Path) -> None:
    with pytest.warns(FutureWarning, match=WARNING):
        model = modelfile.load(old_file, registry=registry)
    image = torch.rand(1, 3, 8, 8)
    model.save(tmp_path / "again.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = modelfile.load(tmp_path / "again.safetensors", registry=registry)
    assert again.recipe.content["generator"]["part"] == "renamed/new"
    assert torch.equal(again.restore(image), model.restore(image))


def test_in_python(registry: Registry) -> None:
    with pytest.warns(FutureWarning, match=WARNING):
        registry.create("generator", "renamed/old")


@pytest.mark.filterwarnings("always::FutureWarning")
def test_on_the_command_line(
    registry: Registry, old_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(discovery, "registry", lambda: registry)
    photo = tmp_path / "photo.png"
    Image.new("RGB", (12, 10)).save(photo)
    for arguments in (
        ["info", "renamed/old", "--json"],
        ["info", str(old_file), "--json"],
        ["restore", str(photo), "-o", str(tmp_path / "made.png"), "--with", str(old_file)],
    ):
        assert main(arguments) == 0
        shown = capsys.readouterr()
        assert shown.err.count(f"warning: {WARNING}") == (0 if arguments[1] == str(old_file) else 1), arguments


def test_no_bundled_part_keeps_a_former_name_without_a_line_in_the_changelog() -> None:
    text = (Path(__file__).parents[2] / "CHANGELOG.md").read_text()
    renamed = [part.part.renamed_from for part in rk.registry().parts if part.part.renamed_from]
    assert [name for name in renamed if f"`{name}`" not in text] == []
