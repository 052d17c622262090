"""``restorekit sample``: pictures that follow from seed and number, and what is said where it cannot be done."""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import restorekit as rk
from restorekit import sampling
from restorekit.cli import main
from restorekit.errors import ImageError
from restorekit.modelfile import Model


def model_of(folder: Path, name: str, **options: Any) -> Path:
    generator = {"size": 28, "channels": 1, "width": 2, "latent": 6, **options}
    critic = {"size": 28, "channels": 1, "width": 2} | ({"classes": options["classes"]} if "classes" in options else {})
    recipe = rk.recipe(
        {
            "recipe": 1,
            "generator": {"part": "dcgan/generator", **generator},
            "critic": {"part": "dcgan/critic", **critic},
            "adversarial": "core/non-saturating",
            "data": {"train": "bundled-faces", "validation": "bundled-faces-heldout", "whole": True, "crop": 28, "batch": 64},
        }
    ).check()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = {
            kind: rk.registry().create(kind, f"dcgan/{kind}", **given) for kind, given in (("generator", generator), ("critic", critic))
        }
    for parameter in made["generator"].parameters():
        torch.nn.init.normal_(parameter, 0, 0.3, generator=torch.Generator().manual_seed(1))
    return Model(made["generator"].eval(), recipe, made["critic"].eval()).save(folder / f"{name}.safetensors")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_of(tmp_path_factory.mktemp("models"), "faces")


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_of(tmp_path_factory.mktemp("models"), "classes", classes=3)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).copy()


def test_a_grid_with_the_nearest_training_pictures(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(faces), "-n", "9", "-o", str(tmp_path / "grid.png"), "--seed", "1"]) == 0
    assert "9 pictures of 28×28, beside each the nearest training picture" in capsys.readouterr().out
    both = pixels(tmp_path / "grid.png")
    assert main(["sample", str(faces), "-n", "9", "-o", str(tmp_path / "alone.png"), "--seed", "1", "--no-neighbours"]) == 0
    alone = pixels(tmp_path / "alone.png")
    assert both.shape[0] == alone.shape[0]
    assert both.shape[1] > 2 * alone.shape[1]
    np.testing.assert_array_equal(both[:, : alone.shape[1]], alone)


def test_a_picture_follows_from_seed_and_number(faces: Path, tmp_path: Path) -> None:
    for name, extra in (("a", ["-n", "5"]), ("b", ["-n", "3"]), ("c", ["-n", "3", "--seed", "7"])):
        assert main(["sample", str(faces), "-o", str(tmp_path / name), *extra]) == 0
    assert [path.name for path in sorted((tmp_path / "a").iterdir())] == [f"00000{i}.png" for i in range(1, 6)]
    for i in (1, 2, 3):
        first, second, third = (pixels(tmp_path / name / f"00000{i}.png") for name in "abc")
        np.testing.assert_array_equal(first, second)
        assert (first != third).any()


def test_interpolation_begins_and_ends_with_the_pictures_of_the_grid(faces: Path, tmp_path: Path) -> None:
    assert main(["sample", str(faces), "-n", "4", "-o", str(tmp_path / "all")]) == 0
    assert main(["sample", str(faces), "-n", "5", "--interpolate", "2", "4", "-o", str(tmp_path / "way")]) == 0
    for here, there in ((1, 2), (5, 4)):
        found, wanted = (pixels(tmp_path / name).astype(int) for name in (f"way/00000{here}.png", f"all/00000{there}.png"))
        np.testing.assert_allclose(found, wanted, atol=1)
    assert (pixels(tmp_path / "way/000003.png") != pixels(tmp_path / "way/000001.png")).any()


def test_the_examples_interpolate_between_pictures_of_the_grid_before(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "--help"]) == 0
    readme = Path(__file__).parents[3] / "plugins/dcgan/README.md"
    for text in (capsys.readouterr().out, readme.read_text(encoding="utf-8")):
        grid, way = (re.search(rf"restorekit sample .*{option}.*", text) for option in ("grid.png", "--interpolate"))
        assert grid is not None
        assert way is not None
        assert re.findall(r"--seed \d+", grid[0]) == re.findall(r"--seed \d+", way[0]) != []


def test_all_pictures_of_an_interpolation_are_of_one_class(classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sample", str(classes), "-n", "4", "--seed", "2"]
    assert main([*command, "--interpolate", "2", "5", "-o", str(tmp_path / "same")]) == 0  # both are of class 1, as every third is
    assert main([*command, "--interpolate", "2", "5", "--class", "1", "-o", str(tmp_path / "said")]) == 0
    assert main([*command, "--interpolate", "2", "3", "--class", "2", "-o", str(tmp_path / "other")]) == 0
    for i in range(1, 5):
        np.testing.assert_array_equal(*(pixels(tmp_path / name / f"00000{i}.png") for name in ("same", "said")))
    model = rk.load(classes)
    way = sampling.between(*sampling.draw(model, [2, 3], 2), 4)
    wanted = sampling.make(model, way, torch.full((4,), 2))
    np.testing.assert_allclose(pixels(tmp_path / "other/000002.png") / 255, wanted[1, 0].numpy(), atol=1 / 255)
    capsys.readouterr()
    assert main([*command, "--interpolate", "3", "4", "-o", str(tmp_path / "two")]) == 2
    assert "picture 3 is of class 2, picture 4 is of class 0. Choose the class of all, such as --class 2" in capsys.readouterr().err
    assert not (tmp_path / "two").exists()


def test_the_way_between_is_on_the_great_circle() -> None:
    rng = torch.Generator().manual_seed(0)
    first, last = torch.randn(2, 50, generator=rng)
    way = sampling.between(first, last, 9)
    torch.testing.assert_close(way[0], first)
    torch.testing.assert_close(way[-1], last)
    angles = [math.acos(float(torch.nn.functional.cosine_similarity(a, b, dim=0))) for a, b in pairwise(way)]
    assert max(angles) - min(angles) < 1e-3, "equal steps"
    assert way.norm(dim=1).min() >= min(first.norm(), last.norm()) * 0.999
    torch.testing.assert_close(sampling.between(first, first, 3), first.expand(3, -1))


def test_truncation_draws_pictures_together(faces: Path) -> None:
    model = rk.load(faces)
    latents = sampling.draw(model, list(range(8)), 0)
    spreads = [float(torch.pdist(sampling.make(model, latents, truncation=t).flatten(1)).mean()) for t in (0.0, 0.3, 1.0)]
    assert spreads[0] < 1e-5 < spreads[1] < spreads[2]
    torch.testing.assert_close(sampling.make(model, latents), model.generator(latents).clamp(0, 1))


def test_classes(classes: Path, tmp_path: Path) -> None:
    for name, extra in (("turn", []), ("one", ["--class", "1"])):
        assert main(["sample", str(classes), "-n", "6", "-o", str(tmp_path / name), *extra]) == 0
    same = [(pixels(tmp_path / f"turn/00000{i}.png") == pixels(tmp_path / f"one/00000{i}.png")).all() for i in range(1, 7)]
    assert same == [False, True, False, False, True, False]


def test_latents_from_a_file(faces: Path, tmp_path: Path) -> None:
    latents = np.random.default_rng(0).normal(size=(3, 6))
    np.save(tmp_path / "z.npy", latents)
    assert main(["sample", str(faces), "--latents", str(tmp_path / "z.npy"), "-o", str(tmp_path / "made")]) == 0
    wanted = rk.load(faces).generator(torch.from_numpy(latents).float())
    np.testing.assert_allclose(pixels(tmp_path / "made/000002.png") / 255, wanted[1, 0].detach().numpy(), atol=1 / 255)


def test_other_pictures_in_the_folder_are_counted(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sample", str(faces), "-o", str(tmp_path / "made")]
    assert main([*command, "-n", "11"]) == 0
    assert "other pictures" not in capsys.readouterr().out
    assert main([*command, "-n", "4", "--overwrite"]) == 0
    assert "made holds 7 other pictures" in capsys.readouterr().out
    assert len(list((tmp_path / "made").iterdir())) == 11, "a picture has the same name whatever their number"
    assert main([*command, "-n", "11", "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["others"] == 0


def test_json(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(faces), "-n", "2", "-o", str(tmp_path / "g.png"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["pictures"], found["width"], found["height"], found["neighbours"]) == (2, 28, 28, True)


def test_a_model_that_is_older_than_some_keys_of_its_data(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = rk.load(faces)
    data = {"train": "bundled-faces", "validation": "bundled-faces-heldout", "whole": True, "crop": 28}
    file = Model(model.generator, model.recipe.set("data", data), model.critic).save(tmp_path / "old.safetensors")
    assert main(["sample", str(file), "-n", "2", "-o", str(tmp_path / "g.png")]) == 0
    assert "nearest" in capsys.readouterr().out


def test_training_pictures_that_are_gone_are_missed_in_words(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = rk.load(faces)
    moved = Model(model.generator, model.recipe.set("data.train", "/nowhere/faces"), model.critic)
    file = moved.save(tmp_path / "moved.safetensors")
    assert main(["sample", str(file), "-n", "2", "-o", str(tmp_path / "g.png")]) == 0
    captured = capsys.readouterr()
    assert "no nearest training pictures" in captured.err
    assert "--data" in captured.err
    assert "beside" not in captured.out
    again = ["sample", str(file), "-n", "2", "-o", str(tmp_path / "g.png"), "--data", "bundled-faces"]
    assert main(again) == 2
    assert "g.png: there already. To replace: --overwrite" in capsys.readouterr().err
    assert main([*again, "--overwrite"]) == 0
    assert "nearest" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--class", "1"], "dcgan/generator was trained without class labels; leave --class out"),
        (["--interpolate", "0", "3"], "0 is not in the range"),
        (["-n", "0"], "0 is not in the range"),
        (["--truncation", "-1"], "-1"),
        (["--truncation", "nan"], "--truncation nan: expected a number"),
        (["--truncation", "inf"], "--truncation inf: expected a number"),
        (["--latents", "{folder}/wrong.npy"], "latent vectors of 5 numbers; dcgan/generator takes 6"),
        (["--latents", "{folder}/text.npy"], "expected an array of numbers, as numpy.save writes (.npy)"),
        (["--latents", "{folder}/absent.npy"], "no such file"),
        (["--latents", "{folder}/nan.npy"], "not finite"),
        (["--latents", "{folder}/none.npy"], "none.npy: no latent vectors"),
        (["--latents", "{folder}/wrong.npy", "--interpolate", "1", "2"], "--latents and --interpolate: give one of them"),
        (["--latents", "{folder}/wrong.npy", "-n", "64"], "--latents and -n: give one of them"),
        (["--latents", "{folder}/wrong.npy", "--seed", "0"], "--latents and --seed: give one of them"),
        (["--data", "{folder}/nowhere"], "nowhere: no such folder"),
    ],
)
def test_what_cannot_be_sampled(
    arguments: list[str], message: str, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "wrong.npy", np.zeros((2, 5)))
    np.save(tmp_path / "nan.npy", np.full((2, 6), np.nan))
    np.save(tmp_path / "none.npy", np.zeros((0, 6)))
    (tmp_path / "text.npy").write_text("no array")
    given = [argument.format(folder=tmp_path) for argument in arguments]
    assert main(["sample", str(faces), "-o", str(tmp_path / "g.png"), *given]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "g.png").exists()


def test_models_that_sample_nothing(classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = {"width": 8, "blocks": [1], "middle": 1}
    recipe = rk.recipe({"recipe": 1, "generator": {"part": "deblurgan/compact", **small}, "losses": ["core/l1"]}).check()
    file = Model(rk.registry().create("generator", "deblurgan/compact", **small).eval(), recipe).save(tmp_path / "sharp.safetensors")
    out = ["-o", str(tmp_path / "g.png")]
    assert main(["sample", str(file), *out]) == 2
    assert "deblurgan/compact restores pictures and makes none from latent vectors" in capsys.readouterr().err
    assert main(["sample", str(tmp_path / "absent.safetensors"), *out]) == 2
    assert "no such file" in capsys.readouterr().err
    assert main(["sample", str(classes), "--class", "3", *out]) == 2
    assert "knows the classes 0 to 2" in capsys.readouterr().err
    assert main(["sample", str(classes), "-o", str(tmp_path / "g.gif")]) == 2
    assert ".gif is no format that can be written" in capsys.readouterr().err
    assert not (tmp_path / "g.gif").exists()
    assert not (tmp_path / "g.png").exists()


def test_models_that_restore_nothing(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "x.png")
    assert main(["restore", str(tmp_path / "x.png"), "-o", str(tmp_path / "y.png"), "--with", str(faces)]) == 2
    said = capsys.readouterr().err
    assert f"{faces}: dcgan/generator makes pictures from latent vectors and restores none" in said
    assert f"restorekit sample {faces}" in said
    with pytest.raises(ImageError, match=r"restores none.*restorekit\.sampling.*generator\(latents\)"):
        rk.load(faces)(torch.zeros(1, 1, 28, 28))


def test_completion_from_the_command_line(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (28, 28), np.uint8)
    Image.fromarray(grey).save(tmp_path / "photo.png")
    for name, shape in (("mask", (28, 28)), ("large", (30, 28)), ("empty", (28, 28)), ("full", (28, 28))):
        mask = np.zeros(shape, np.uint8)
        mask[10:18, 10:18] = 255
        Image.fromarray(mask * (name != "empty") | np.uint8(255 * (name == "full"))).save(tmp_path / f"{name}.png")
    command = ["restore", str(tmp_path / "photo.png"), "-o", str(tmp_path / "whole.png"), "--with", "dcgan/completion"]
    fast = ["--set", "steps=2", "--set", "restarts=2"]
    model = ["--set", f"model={faces}"]
    for mask, message in (
        ("large", "the mask is 28×30, the image 28×28; make them the same size"),
        ("empty", "the mask marks nothing to fill"),
        ("full", "the mask leaves no pixel to go by"),
    ):
        assert main([*command, *model, *fast, "--mask", str(tmp_path / f"{mask}.png")]) == 2
        assert message in capsys.readouterr().err
    assert main([*command, *model, *fast]) == 2
    assert "--mask FILE" in capsys.readouterr().err
    assert not (tmp_path / "whole.png").exists()
    known = np.ones((28, 28), bool)
    known[10:18, 10:18] = False
    fills = []
    for chosen in (model, []):  # the model that comes with the plugin is taken where none is named
        assert main([*command, *chosen, *fast, "--overwrite", "--mask", str(tmp_path / "mask.png")]) == 0
        filled = pixels(tmp_path / "whole.png")
        np.testing.assert_array_equal(filled[known], grey[known])
        fills.append(filled)
    assert not np.array_equal(*fills)
