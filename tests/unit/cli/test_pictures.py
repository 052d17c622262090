"""``degrade`` and ``restore``: what is written, what is refused, and going on past failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image

import restorekit as rk
from restorekit import config, discovery, treatment
from restorekit.registries import Registry

Run = Callable[..., Any]
"""The fixture `run`: arguments in, exit code and both streams out."""


def pixels(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(Image.open(path))


def test_the_saved_psf_is_the_one_that_was_used(run: Run, photo: Path, tmp_path: Path) -> None:
    out, params = tmp_path / "blurred.png", tmp_path / "params"
    shown = run("degrade", photo, out, "--with", "core/camera-shake", "--set", "length=[9, 12]", "--save-params", params)
    assert shown.code == 0, shown.err
    psf = np.load(params / "psf.npy").astype(np.float64)
    expected = np.stack([scipy.ndimage.convolve(pixels(photo)[..., c] / 255.0, psf, mode="mirror") for c in range(3)], -1)
    inner = (slice(20, -20), slice(20, -20))
    assert np.abs(expected[inner] - pixels(out)[inner] / 255).max() <= 0.5 / 255 + 1e-5
    preview = pixels(params / "psf.png").astype(float)
    assert np.abs(preview / 255 - psf / psf.max()).max() <= 0.5 / 255 + 1e-6


def test_the_saved_mask_is_the_one_that_was_used(run: Run, photo: Path, tmp_path: Path) -> None:
    out, params = tmp_path / "holes.png", tmp_path / "params"
    assert run("degrade", photo, out, "--with", "core/mask", "--save-params", params).code == 0
    missing = pixels(params / "mask.png") > 127
    assert 0 < missing.mean() < 1
    assert (pixels(out)[~missing] == pixels(photo)[~missing]).all()
    assert len(np.unique(pixels(out)[missing], axis=0)) == 1


def test_other_parameters_are_saved_as_text(run: Run, photo: Path, tmp_path: Path) -> None:
    assert (
        run("degrade", photo, tmp_path / "o.jpg", "--with", "core/jpeg", "--set", "quality=31", "--save-params", tmp_path / "p").code == 0
    )
    assert json.loads((tmp_path / "p" / "params.json").read_text()) == {"quality": 31}


def test_parameters_that_cannot_be_saved_are_said_before_a_picture_is_made(run: Run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    shown = run("degrade", photo, tmp_path / "o.png", "--with", "core/gaussian-blur", "--save-params", tmp_path / "file")
    assert shown.code == 2
    assert f"--save-params {tmp_path / 'file'}" in shown.err
    assert not (tmp_path / "o.png").exists()


def test_the_seed_decides_the_damage(run: Run, photo: Path, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run("degrade", photo, tmp_path / f"{name}.png", "--with", "gaussian-noise", "--seed", seed).code == 0
    a, b, c = (pixels(tmp_path / f"{name}.png") for name in "abc")
    assert (a == b).all()
    assert (a != c).any()
    assert torch.equal(state, torch.get_rng_state())


def test_degrading_a_folder_keeps_its_structure_and_draws_afresh(run: Run, photo: Path, tmp_path: Path) -> None:
    (photo.parent / "more").mkdir()
    Image.open(photo).save(photo.parent / "more" / "same.png")
    shown = run("degrade", photo.parent, tmp_path / "out", "--with", "core/gaussian-noise", "--json", "--save-params", tmp_path / "p")
    assert shown.code == 0, shown.err
    assert [(row["output"], row["width"], row["height"]) for row in shown.lines] == [
        (str(tmp_path / "out" / "cat.png"), 100, 90),
        (str(tmp_path / "out" / "more" / "same.png"), 100, 90),
    ]
    assert (pixels(tmp_path / "out" / "cat.png") != pixels(tmp_path / "out" / "more" / "same.png")).any()
    assert (tmp_path / "p" / "more" / "same.png").is_dir()


def test_transparency_is_carried_along(run: Run, photo: Path, tmp_path: Path) -> None:
    alpha = np.tile(np.arange(100, dtype=np.uint8), (90, 1))
    clear = tmp_path / "clear.png"
    Image.fromarray(np.dstack([pixels(photo), alpha])).save(clear)
    assert run("degrade", clear, tmp_path / "a.png", "--with", "core/gaussian-blur").code == 0
    assert run("restore", clear, "-o", tmp_path / "b.png", "--with", "test/negative").code == 0
    for name in "ab":
        assert (pixels(tmp_path / f"{name}.png")[..., 3] == alpha).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["lenght=3"], ["lenght", "Did you mean length"]),
        (["length=-3"], ["length", "-3"]),
        (["length"], ["--set length", "KEY=VALUE"]),
        (["=3"], ["KEY=VALUE"]),
        (["length=[3"], ["not YAML"]),
        (["length=3", "length=4"], ["twice"]),
        (["lenght=3", "jerk=yes"], ["lenght", "jerk"]),
    ],
)
def test_mistakes_in_settings_are_explained(settings: list[str], words: list[str], run: Run, photo: Path, tmp_path: Path) -> None:
    given = [word for setting in settings for word in ("--set", setting)]
    shown = run("degrade", photo, tmp_path / "out.png", "--with", "core/camera-shake", *given)
    assert shown.code == 2
    assert "Traceback" not in shown.err
    for word in words:
        assert word in shown.err
    assert not (tmp_path / "out.png").exists()


def negative(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return 255 - pixels(path)


def test_one_file_to_one_file_with_the_default_method(run: Run, photo: Path, tmp_path: Path) -> None:
    shown = run("restore", photo, "-o", tmp_path / "new" / "out.png")
    assert shown.code == 0, shown.err
    assert (pixels(tmp_path / "new" / "out.png") == negative(photo)).all()
    assert str(tmp_path / "new" / "out.png") in shown.out


def test_json_is_all_there_is_on_standard_output(run: Run, photo: Path, tmp_path: Path) -> None:
    (row,) = run("restore", photo, "-o", tmp_path / "out.png", "--json").lines
    assert {key: row[key] for key in ("input", "output", "width", "height", "method")} == {
        "input": str(photo),
        "output": str(tmp_path / "out.png"),
        "width": 100,
        "height": 90,
        "method": "test/negative",
    }
    assert row["seconds"] > 0
    assert "error" not in row


@pytest.mark.parametrize("out", ["folder", "folder.d"])
def test_without_an_image_suffix_the_output_is_a_folder(out: str, run: Run, photo: Path, tmp_path: Path) -> None:
    assert run("restore", photo, "-o", tmp_path / out).code == 0
    assert (pixels(tmp_path / out / "cat.png") == negative(photo)).all()


def test_folders_keep_their_structure_and_files_their_names(run: Run, photo: Path, tmp_path: Path) -> None:
    (photo.parent / "deep" / "er").mkdir(parents=True)
    Image.open(photo).save(photo.parent / "deep" / "er" / "cat.png")
    (photo.parent / "notes.txt").write_text("no picture")
    Image.open(photo).save(tmp_path / "other.bmp")
    shown = run("restore", photo.parent, tmp_path / "other.bmp", "-o", tmp_path / "out")
    assert shown.code == 0, shown.err
    written = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert written == ["cat.png", "deep/er/cat.png", "other.bmp"]


def test_several_results_do_not_go_into_the_name_of_a_file(run: Run, photo: Path, tmp_path: Path) -> None:
    for sources in ([photo.parent], [photo, photo], [photo.parent / "*.png"]):
        shown = run("restore", *sources, "-o", tmp_path / "out.png")
        assert shown.code == 2
        assert f"give a folder, such as -o {tmp_path / 'out'}/" in shown.err
        assert not (tmp_path / "out.png").exists()
    (tmp_path / "out.png").mkdir()
    assert run("restore", photo.parent, "-o", tmp_path / "out.png").code == 0


def test_pictures_of_one_name_do_not_overwrite_each_other(run: Run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    Image.open(photo).save(tmp_path / "b" / "cat.png")
    shown = run("restore", photo, tmp_path / "b" / "cat.png", "-o", tmp_path / "out")
    assert shown.code == 2
    assert str(photo) in shown.err
    assert str(tmp_path / "b" / "cat.png") in shown.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("way", ["file", "folder", "own folder", "symbolic link", "hard link", "another input"])
def test_inputs_are_never_written_over(way: str, run: Run, photo: Path, tmp_path: Path) -> None:
    before = photo.read_bytes()
    other = tmp_path / "other.png"
    sources, out = [photo], other
    if way == "file":
        out = photo.parent / ".." / "in" / "cat.png"
    elif way == "folder":
        out = photo.parent
    elif way == "own folder":
        sources, out = [photo.parent], photo.parent
    elif way == "symbolic link":
        other.symlink_to(photo)
    elif way == "hard link":
        other.hardlink_to(photo)
    else:
        (tmp_path / "b").mkdir()
        Image.open(photo).save(tmp_path / "b" / "x.png")
        Image.open(photo).save(photo.parent / "x.png")
        sources, out = [photo, photo.parent / "x.png", tmp_path / "b"], photo.parent
    shown = run("restore", *sources, "-o", out)
    assert shown.code == 2
    assert "input" in shown.err
    assert photo.read_bytes() == before


def test_results_inside_the_input_folder_are_not_restored_again(run: Run, photo: Path) -> None:
    for again in ((), ("--overwrite",)):
        (row,) = run("restore", photo.parent, "-o", photo.parent / "restored", "--json", *again).lines
        assert row["input"] == str(photo)


def test_a_batch_goes_on_past_failures(run: Run, photo: Path, tmp_path: Path) -> None:
    broken = photo.parent / "broken.png"
    broken.write_bytes(photo.read_bytes()[:300])
    (photo.parent / "empty.jpg").write_bytes(b"")
    shown = run("restore", photo.parent, tmp_path / "nothing.png", "-o", tmp_path / "out", "--json")
    assert shown.code == 2
    rows = {Path(row["input"]).name: row for row in shown.lines}
    assert set(rows) == {"broken.png", "cat.png", "empty.jpg", "nothing.png"}
    assert "error" not in rows["cat.png"]
    for name in ("broken.png", "empty.jpg", "nothing.png"):
        assert name in rows[name]["error"]
        assert rows[name]["output"] is None
        assert name in shown.err
    assert "3 of 4 pictures failed" in shown.err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["cat.png"]
    assert "Traceback" not in shown.err


def test_one_picture_that_fails_leaves_nothing_behind(run: Run, photo: Path, tmp_path: Path) -> None:
    photo.write_bytes(photo.read_bytes()[:300])
    shown = run("restore", photo, "-o", tmp_path / "new" / "out.png")
    assert shown.code == 2
    assert str(photo) in shown.err
    assert shown.out == ""
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--with", "core/wienr"], ["core/wiener", "restorekit list restorer"]),
        (["--with", "deblurgan/compact"], ["generator", "model file", "restorekit list restorer"]),
        (["--with", "core/psnr"], ["metric", "not a restorer"]),
        (["--with", "missing.safetensors"], ["no such model file"]),
        (["--with", "old.pth"], ["old.pth", ".safetensors"]),
        (["--with", "test/negative", "--set", "strenth=1"], ["strenth", "Did you mean strength"]),
        (["--with", "test/negative", "--set", "strength=0"], ["strength", "float > 0"]),
        (["--with", "test/negative", "--psf", "k.npy"], ["--psf k.npy", "test/negative does not use the psf"]),
        (["--with", "test/guided", "--psf", "k.npy"], ["k.npy", "no such file"]),
        (["--with", "test/guided"], ["--mask"]),
    ],
)
def test_what_the_method_cannot_do_is_said(arguments: list[str], words: list[str], run: Run, photo: Path, tmp_path: Path) -> None:
    shown = run("restore", photo, "-o", tmp_path / "out.png", *arguments)
    assert shown.code == 2
    assert "Traceback" not in shown.err
    for word in words:
        assert word in shown.err
    assert not (tmp_path / "out.png").exists()


def test_without_a_default_method_there_is_an_install_command(
    run: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = Registry([p for p in discovery.registry().parts if not p.part.default_for])
    monkeypatch.setattr(discovery, "registry", lambda: bare)
    shown = run("restore", photo, "-o", tmp_path / "out.png")
    assert shown.code == 2
    assert "pip install" in shown.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there_is_refused(run: Run, photo: Path, tmp_path: Path) -> None:
    shown = run("restore", photo, "-o", tmp_path / "out.png", "--device", "cuda")
    assert shown.code == 2
    assert "--device cuda" in shown.err


def test_psf_mask_and_reference_reach_the_method(run: Run, photo: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.array([[0, 1, 0], [1, 2, 1], [0, 1, 0]]))
    area = np.zeros((90, 100), np.uint8)
    area[:, 50:] = 255
    Image.fromarray(area).save(tmp_path / "mask.png")
    Image.new("RGB", (7, 5), (51, 102, 153)).save(tmp_path / "style.png")
    files = ["--psf", tmp_path / "k.npy", "--mask", tmp_path / "mask.png", "--reference", tmp_path / "style.png"]
    assert run("restore", photo, "-o", tmp_path / "out.png", "--with", "test/guided", *files).code == 0
    assert (pixels(tmp_path / "out.png")[:, :50] == 85).all()  # 2 / 6 of 255
    assert (pixels(tmp_path / "out.png")[:, 50:] == 102).all()


def test_each_picture_gets_the_mask_of_its_name(run: Run, photo: Path, tmp_path: Path) -> None:
    """`test/guided` makes 102 of what is missing."""
    np.save(tmp_path / "k.npy", np.ones((1, 1)))
    Image.new("RGB", (7, 5), (51, 102, 153)).save(tmp_path / "style.png")
    for folder in ("many/deep", "masks"):
        (tmp_path / folder).mkdir(parents=True)
    for name, across in (("a.png", 20), ("deep/b.png", 70)):
        (tmp_path / "many" / name).write_bytes(photo.read_bytes())
        area = np.zeros((90, 100), np.uint8)
        area[:, across:] = 255
        Image.fromarray(area).save((tmp_path / "masks" / name.rpartition("/")[2]).with_suffix(".bmp"))
    (tmp_path / "many" / "c.png").write_bytes(photo.read_bytes())
    files = ["--psf", tmp_path / "k.npy", "--mask", tmp_path / "masks", "--reference", tmp_path / "style.png"]
    shown = run("restore", tmp_path / "many", "-o", tmp_path / "out", "--with", "test/guided", *files)
    assert shown.code == 2
    assert "holds no mask of this name; expected c" in shown.err
    for name, across in (("a.png", 20), ("deep/b.png", 70)):
        made = pixels(tmp_path / "out" / name)
        assert (made[:, across:] == 102).all()
        assert not (made[:, :across] == 102).all()
    Image.new("L", (100, 90)).save(tmp_path / "masks" / "b.png")
    shown = run("restore", tmp_path / "many", "-o", tmp_path / "again", "--with", "test/guided", *files)
    assert (shown.code, "masks of the same picture" in shown.err) == (2, True)


def test_the_seed_is_that_of_methods_which_have_one(tmp_path: Path) -> None:
    (tmp_path / "method.yaml").write_text("part: core/unsupervised-wiener\nseed: 5\n")
    for name, options, seed in (
        ("core/unsupervised-wiener", {}, 7),
        ("core/unsupervised-wiener", {"seed": 3}, 3),
        (str(tmp_path / "method.yaml"), {}, 5),
    ):
        method = treatment.prepare(name, options, seed=7).method
        assert (method.options["seed"], vars(method.restorer)["seed"]) == (seed, seed)


def test_settings_reach_the_method(run: Run, photo: Path, tmp_path: Path) -> None:
    assert run("restore", photo, "-o", tmp_path / "out.png", "--with", "test/negative", "--set", "strength=0.5").code == 0
    assert set(np.unique(pixels(tmp_path / "out.png"))) <= {127, 128}


def test_the_seed_decides_what_a_random_method_does(run: Run, photo: Path, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run("restore", photo, "-o", tmp_path / f"{name}.png", "--with", "test/random", "--seed", seed).code == 0
    a, b, c = (pixels(tmp_path / f"{name}.png") for name in "abc")
    assert (a == b).all()
    assert (a != c).any()
    assert torch.equal(state, torch.get_rng_state())


def test_a_method_that_enlarges_says_the_new_size(run: Run, photo: Path, tmp_path: Path) -> None:
    (row,) = run("restore", photo, "-o", tmp_path / "out.png", "--with", "test/double", "--json").lines
    assert (row["width"], row["height"]) == (200, 180) == Image.open(tmp_path / "out.png").size


def test_an_output_that_cannot_be_written_is_said_before_the_work(run: Run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "out.png", tmp_path / "file" / "folder", tmp_path / "file"):
        shown = run("restore", photo, "-o", out, "--with", "test/interrupted")
        assert shown.code == 2
        assert str(tmp_path / "file") in shown.err


# batches


def test_a_pattern_in_quotes_is_searched_and_mirrored(run: Run, photo: Path, tmp_path: Path) -> None:
    deep = photo.parent / "a b" / "é\n🐈.png"
    deep.parent.mkdir()
    deep.write_bytes(photo.read_bytes())
    (photo.parent / "notes.txt").write_text("")
    rows = run("restore", f"{photo.parent}/**/*", "-o", tmp_path / "out", "--json", "--format", "bmp").lines
    assert {Path(row["output"]) for row in rows} == {tmp_path / "out" / "cat.bmp", tmp_path / "out" / "a b" / "é\n🐈.bmp"}
    assert all(Path(row["output"]).read_bytes()[:2] == b"BM" for row in rows)
    nothing = run("restore", f"{photo.parent}/*.tif", "-o", tmp_path / "out")
    assert (nothing.code, "no picture matches" in nothing.err) == (2, True)


def test_a_file_whose_name_looks_like_a_pattern_is_taken_as_it_is(run: Run, photo: Path, tmp_path: Path) -> None:
    odd = photo.rename(photo.with_name("cat[1].png"))
    assert run("restore", odd, "-o", tmp_path / "out.png").code == 0


def test_results_are_replaced_only_when_asked(run: Run, photo: Path, tmp_path: Path) -> None:
    (photo.parent / "dog.png").write_bytes(photo.read_bytes())
    out = tmp_path / "out"
    out.mkdir()
    (out / "dog.png").write_bytes(b"mine")
    refused = run("restore", photo.parent, "-o", out)
    assert refused.code == 2
    assert all(word in refused.err for word in ("dog.png", "--overwrite", "--skip-existing"))
    assert [p.name for p in out.iterdir()] == ["dog.png"]
    (row,) = run("restore", photo.parent, "-o", out, "--skip-existing", "--json").lines
    assert Path(row["input"]).name == "cat.png"
    assert (out / "dog.png").read_bytes() == b"mine"
    assert run("restore", photo.parent, "-o", out, "--overwrite").code == 0
    assert pixels(out / "dog.png").shape == pixels(photo).shape
    shown = run("restore", photo.parent, "-o", out, "--skip-existing")
    assert (shown.code, "2 there already, left as they are" in shown.err) == (0, True)
    assert run("restore", photo.parent, "-o", out, "--skip-existing", "--overwrite").code == 2


def test_strength_mixes_the_result_with_the_picture(run: Run, photo: Path, tmp_path: Path) -> None:
    for strength, expected in (("0", pixels(photo)), ("1", 255 - pixels(photo)), ("0.25", 0.5 * pixels(photo) + 63.75)):
        assert run("restore", photo, "-o", tmp_path / f"{strength}.png", "--strength", strength).code == 0
        assert np.abs(pixels(tmp_path / f"{strength}.png") - expected).max() <= 0.51
    assert run("restore", photo, "-o", tmp_path / "o.png", "--strength", "1.5").code == 2
    assert run("restore", photo, "-o", tmp_path / "two.png", "--with", "test/double", "--strength", "0.5").code == 0
    assert pixels(tmp_path / "two.png").shape[0] == 2 * pixels(photo).shape[0]


def test_a_comparison_lies_beside_the_result(run: Run, photo: Path, tmp_path: Path) -> None:
    assert run("restore", photo, "-o", tmp_path / "out.png", "--compare").code == 0
    assert pixels(tmp_path / "out-compared.png").shape[1] > 2 * pixels(photo).shape[1]
    taken = photo.with_name("cat-compared.png")
    taken.write_bytes(photo.read_bytes())
    shown = run("restore", photo.parent, "-o", tmp_path / "many", "--compare")
    assert (shown.code, "--compare would write over" in shown.err) == (2, True)


def test_strip_and_format(run: Run, photo: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.open(photo).save(photo.with_suffix(".jpg"), exif=exif)
    for extra, maker in (((), "Maker"), (("--strip",), None)):
        out = tmp_path / f"out{len(extra)}"
        assert run("restore", photo.with_suffix(".jpg"), "-o", out, "--format", "PNG", *extra).code == 0
        assert Image.open(out / "cat.png").getexif().get(0x010F) == maker
    assert "use one of" in run("restore", photo, "-o", tmp_path / "o", "--format", "gif").err
    assert "--format" in run("restore", photo, "-o", tmp_path / "o.png", "--format", "jpg").err


def test_pictures_of_several_frames_are_refused(run: Run, photo: Path, tmp_path: Path) -> None:
    Image.open(photo).save(tmp_path / "two.tif", save_all=True, append_images=[Image.open(photo)])
    shown = run("restore", tmp_path / "two.tif", "-o", tmp_path / "out.tif")
    assert (shown.code, "2 pages or frames" in shown.err) == (2, True)
    assert not (tmp_path / "out.tif").exists()


def test_an_interrupt_leaves_what_is_whole_and_nothing_else(run: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from restorekit import restoration

    (photo.parent / "dog.png").write_bytes(photo.read_bytes())
    whole, seen = restoration.restore, []

    def interrupted(*arguments: Any, **named: Any) -> torch.Tensor:
        seen.append(arguments)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return whole(*arguments, **named)

    monkeypatch.setattr(restoration, "restore", interrupted)
    assert run("restore", photo.parent, "-o", tmp_path / "out").code == 130
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["cat.png"]
    assert pixels(tmp_path / "out" / "cat.png").shape == pixels(photo).shape


def test_a_result_that_cannot_be_written_is_one_failure(run: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up: the second file fails, nothing half-written stays, the third is done."""
    for name in ("dog.png", "emu.png"):
        (photo.parent / name).write_bytes(photo.read_bytes())
    write_bytes, count = Path.write_bytes, iter(range(10))

    def full(self: Path, data: bytes) -> int:
        if self.suffix == ".part" and next(count) == 1:
            write_bytes(self, data[:10])
            raise OSError(28, "No space left on device")
        return write_bytes(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    shown = run("restore", photo.parent, "-o", tmp_path / "out", "--json")
    assert shown.code == 2
    assert [("error" in row) for row in shown.lines] == [False, True, False]
    assert "No space left" in shown.err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["cat.png", "emu.png"]


def test_a_memory_limit_is_read_and_kept_to(run: Run, photo: Path, tmp_path: Path) -> None:
    spec = {"part": "deblurgan/compact", "width": 4, "blocks": [0], "middle": 1, "attention": False}
    model = rk.Model(config.build_spec("generator", spec, registry=discovery.registry(), where=""), rk.recipe({"generator": spec}))
    for wrong in ("2", "G", "-1G", "two"):
        assert f"--memory {wrong}" in run("restore", photo, "-o", tmp_path / "o.png", f"--memory={wrong}").err
    file = model.save(tmp_path / "box.safetensors")
    whole = run("restore", photo, "-o", tmp_path / "o.png", "--with", file)
    shown = run("restore", photo, "-o", tmp_path / "p.png", "--with", file, "--memory", "15g")
    assert (whole.code, shown.code) == (0, 0), shown.err
    assert np.array_equal(pixels(tmp_path / "p.png"), pixels(tmp_path / "o.png"))
    shown = run("restore", photo, "-o", tmp_path / "q.png", "--with", file, "--memory", "20M")
    assert shown.code == 2
    assert "20 MiB are too few for this picture; give at least" in shown.err
    assert not (tmp_path / "q.png").exists()


def test_a_memory_limit_is_refused_by_methods_that_keep_to_none(run: Run, photo: Path, tmp_path: Path) -> None:
    shown = run("restore", photo, "-o", tmp_path / "o.png", "--memory", "2G")
    assert shown.code == 2
    assert "--memory: test/negative takes a picture as a whole, and however much memory that needs; leave it out" in shown.err


@pytest.mark.parametrize("command", [("degrade", "{photo}", "{out}"), ("restore", "{photo}", "-o", "{out}")])
def test_a_misspelt_suffix_makes_no_folder(command: tuple[str, ...], run: Run, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.jpge"
    words = [word.format(photo=photo, out=out) for word in command]
    shown = run(*words, "--with", "core/gaussian-noise" if command[0] == "degrade" else "core/identity")
    assert shown.code == 2
    assert ".jpge is no format that can be written. Did you mean .jpg" in shown.err or "Did you mean .jpeg" in shown.err
    assert not out.exists()
    out.mkdir()
    assert run(*words, "--with", "core/gaussian-noise" if command[0] == "degrade" else "core/identity").code == 0


def test_messages_say_what_to_type_instead(run: Run, photo: Path, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.safetensors").touch()
    shown = run("restore", photo, "-o", tmp_path / "out.png", "--with", tmp_path / "run")
    assert f"give the model in it, {tmp_path / 'run' / 'model.safetensors'}" in shown.err
    (tmp_path / "notes.txt").write_text("no picture")
    shown = run("restore", photo, "-o", tmp_path / "out.png", "--with", "core/biharmonic-inpaint", "--mask", tmp_path / "notes.txt")
    assert f"--mask {tmp_path / 'notes.txt'}: not an image" in shown.err
    others = {part.name for part in registry.parts if part.kind != "recipe"}
    alone = next((part.name for part in registry.of_kind("recipe") if part.name not in others), None)
    if alone is not None:
        assert f"restorekit train {alone}" in run("restore", photo, "-o", tmp_path / "out.png", "--with", alone).err
