"""Model files: whole, strict and never unpickled."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import restorekit as rk
from restorekit import modelfile
from restorekit.errors import ImageError
from restorekit.registries import Registry

GENERATOR = {"part": "deblurgan/compact", "width": 8, "blocks": [1], "middle": 1}
RECIPE = {"recipe": 1, "task": "deblur", "generator": GENERATOR, "losses": [{"part": "core/l1"}]}


@pytest.fixture
def model() -> rk.Model:
    recipe = rk.recipe(RECIPE).check()
    spec = dict(recipe.content["generator"])
    generator = rk.registry().create("generator", spec.pop("part"), **spec)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, 0, 0.05, generator=torch.Generator().manual_seed(parameter.numel()))
    provenance = {"distributions": {"deblurgan": "restorekit-deblurgan==0.1.0"}}
    return rk.Model(generator.eval(), recipe, provenance=provenance, scores={"PSNR": 25.5}, ema=True)


@pytest.fixture
def saved(model: rk.Model, tmp_path: Path) -> Path:
    return model.save(tmp_path / "model.safetensors")


def rewrite(path: Path, **changes: str | None) -> None:
    """The same weights with other entries in the header."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as opened:
        metadata = {**opened.metadata(), **changes}
    save_file(load_file(path), path, {k: v for k, v in metadata.items() if v is not None})


def test_the_round_trip_is_exact(model: rk.Model, saved: Path) -> None:
    loaded = rk.load(saved)
    assert {k: v.tolist() for k, v in loaded.generator.state_dict().items()} == {
        k: v.tolist() for k, v in model.generator.state_dict().items()
    }
    assert loaded.recipe.canonical == model.recipe.canonical
    assert (loaded.scores, loaded.ema) == (model.scores, True)
    image = torch.rand(1, 3, 37, 50, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded(image), model(image))
    assert not loaded.generator.training


def test_the_header_is_read_without_weights(saved: Path, model: rk.Model) -> None:
    header = modelfile.read_header(saved)
    assert header.recipe.hash == model.recipe.hash
    assert header.parameters == sum(p.numel() for p in model.generator.parameters())
    assert header.scores == {"PSNR": 25.5}
    assert header.dtype == "F32"


def test_half_is_half_the_size_and_close(model: rk.Model, saved: Path, tmp_path: Path) -> None:
    half = model.save(tmp_path / "half.safetensors", half=True)
    assert half.stat().st_size < 0.65 * saved.stat().st_size
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(rk.load(half)(image), model(image), atol=2e-3, rtol=0)
    assert all(p.dtype == torch.float32 for p in rk.load(half).generator.parameters())


def test_calling_with_a_picture_gives_a_picture(model: rk.Model) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8))
    restored = model(picture)
    assert isinstance(restored, Image.Image)
    assert restored.size == picture.size
    tensor = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None] / 255
    expected = model(tensor)[0].permute(1, 2, 0).mul(255).round().byte().numpy()
    np.testing.assert_array_equal(np.asarray(restored), expected)


def test_grey_stays_grey(model: rk.Model) -> None:
    assert model(torch.rand(2, 1, 32, 32)).shape == (2, 1, 32, 32)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(3, 32, 32), "expected a tensor"),
        (torch.full((1, 3, 32, 32), 255.0), "expected \\[0, 1\\]"),
        (torch.full((1, 3, 32, 32), float("nan")), "expected \\[0, 1\\]"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.int64), "divide by 255"),
        (torch.zeros(1, 3, 2, 32), "needs at least 4×4"),
        (torch.zeros(1, 4, 32, 32), "expected 3 channels"),
        ("photo.jpg", "expected a tensor .* or a PIL image, got str"),
    ],
)
def test_what_is_no_image_is_refused(model: rk.Model, image: object, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        model(image)  # type: ignore[arg-type]


def test_a_missing_plugin_gives_the_install_command(saved: Path) -> None:
    only_core = Registry(rk.registry().of_kind("loss"), [p for p in rk.registry().plugins if p.namespace == "core"])
    with pytest.raises(rk.UserError, match=r"plugin deblurgan is not installed. Install it: pip install 'restorekit-deblurgan==0.1.0'"):
        rk.load(saved, registry=only_core)


@pytest.mark.parametrize("kept", [0, 5, 200, 5000])
def test_truncated_files_say_so(saved: Path, kept: int) -> None:
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(rk.UserError, match=r"not a (model|whole safetensors) file"):
        rk.load(saved)


def test_pickles_and_strangers_are_refused(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(rk.UserError, match="no safetensors header"):
        rk.load(tmp_path / "evil.pth")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(rk.UserError, match="no model of restorekit"):
        rk.load(tmp_path / "other.safetensors")
    with pytest.raises(rk.UserError, match="no such file"):
        rk.load(tmp_path / "nothing.safetensors")
    with pytest.raises(rk.UserError, match=r"deblurgan/v1: a recipe, no model; to make one with it: restorekit train deblurgan/v1"):
        rk.load("deblurgan/v1")


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"generator": 3}', '{"generator": {"part": 3}}', "{}", "[" * 100000])
def test_damaged_headers_are_refused(saved: Path, text: str) -> None:
    rewrite(saved, recipe=text)
    with pytest.raises(rk.UserError, match="damaged header"):
        rk.load(saved)


def test_a_later_format_says_to_upgrade(saved: Path) -> None:
    rewrite(saved, format="restorekit 2")
    with pytest.raises(rk.UserError, match="pip install --upgrade restorekit"):
        rk.load(saved)


def test_weights_that_do_not_fit_are_listed(saved: Path) -> None:
    recipe = json.loads(json.dumps({**RECIPE, "generator": {**GENERATOR, "width": 4}}))
    rewrite(saved, recipe=json.dumps(recipe))
    with pytest.raises(rk.UserError, match=r"weights do not fit deblurgan/compact: networks\.0\.stem\.weight is \(8, 12, 3, 3\)"):
        rk.load(saved)


def test_options_inside_a_file_are_checked_like_any_others(saved: Path) -> None:
    rewrite(saved, recipe=json.dumps({**RECIPE, "generator": {**GENERATOR, "widht": 8}}))
    with pytest.raises(rk.UserError, match="widht: not an option"):
        rk.load(saved)


def test_an_unwritable_place_leaves_nothing(model: rk.Model, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(rk.UserError):
        model.save(tmp_path / "file" / "model.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_loading_leaves_the_random_state_alone(saved: Path) -> None:
    before = torch.get_rng_state()
    rk.load(saved)
    assert torch.equal(before, torch.get_rng_state())
