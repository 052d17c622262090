"""Decoding: what is used, in which form, and what happens with damaged files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import skimage.color
import skimage.data
from PIL import Image

import restorekit as rk
from restorekit import metadata, photos
from restorekit.datasets import layouts
from restorekit.datasets.photographs import Photographs, header_size
from restorekit.errors import ImageError, TrainingError

CAT = skimage.data.chelsea()[:96, :120]


def use(folder: Path, *, channels: int = 3, smallest: int = 32, scale: int = 1, **more: object) -> Photographs:
    return Photographs(layouts.find(folder, **more), channels=channels, smallest=smallest, scale=scale)  # type: ignore[arg-type]


def truncated(path: Path) -> Path:
    """A JPEG with a sound header and half of its content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    Image.fromarray(CAT).save(stream, "JPEG")
    path.write_bytes(stream.getvalue()[: stream.tell() // 2])
    return path


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """One picture in every form, and files that are of no use."""
    Image.fromarray(CAT).save(tmp_path / "rgb.png")
    Image.fromarray(CAT).convert("L").save(tmp_path / "grey.png")
    Image.fromarray(CAT).convert("RGBA").save(tmp_path / "alpha.png")
    photos.write(
        tmp_path / "deep.png", photos.read(tmp_path / "rgb.png").image, like=photos.Photo(photos.read(tmp_path / "rgb.png").image, bits=16)
    )
    Image.fromarray(CAT[:20]).save(tmp_path / "small.png")
    truncated(tmp_path / "truncated.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize("memory", [0, 100])
def test_every_form_of_a_picture_becomes_the_same_pixels(mixed: Path, memory: int) -> None:
    images = use(mixed)
    images.keep(memory)
    assert images.names == ["alpha", "deep", "grey", "rgb", "truncated"]
    for index in (0, 1, 3):
        np.testing.assert_array_equal(images.read(index).sharp, CAT)
    grey = images.read(2).sharp
    assert grey.shape == CAT.shape
    assert (grey == grey[..., :1]).all()


def test_grey_networks_get_luma(mixed: Path) -> None:
    grey = use(mixed, channels=1).read(3).sharp
    assert grey.shape == (96, 120, 1)
    luma = CAT @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey[..., 0] - luma).max() <= 0.5 + 1e-3


def test_files_of_no_use_are_listed_before_anything_is_decoded(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = use(mixed)
    listed = "\n".join(images.left_out)
    assert len(images.left_out) == 3
    for words in ("broken.jpg: damaged or incomplete", "empty.png: the file is empty", "small.png: 120×20, smaller than the 32 pixels"):
        assert words in listed
    monkeypatch.setattr(photos, "read", lambda path: pytest.fail(f"{path} was decoded"))
    assert len(Photographs(layouts.Listing("x", "sharp", tuple(images._entries)), channels=3, smallest=32)) == 5


@pytest.mark.parametrize("memory", [0, 100])
def test_a_truncated_file_fails_the_same_way_each_time_and_is_read_once(mixed: Path, memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images = use(mixed)
    images.keep(memory)
    for _ in range(2):
        with pytest.raises(ImageError, match=r"truncated\.jpg: damaged or incomplete"):
            images.read(4)
        monkeypatch.setattr(photos, "read", lambda path: pytest.fail(f"{path} was read again"))
    assert list(images.failures) == ["truncated"]


def test_what_fits_is_kept_and_what_does_not_is_read_again(tmp_path: Path) -> None:
    side = 640
    for name in ("a", "b"):
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(tmp_path / f"{name}.png")
    needed = -(-2 * side * side * 3 // 2**20)
    images = use(tmp_path)
    assert images.mebibytes == needed
    assert images.keep(needed - 1) == 0
    assert images.read(0).sharp is not images.read(0).sharp
    assert images.keep(needed) == needed
    assert images.read(0).sharp is images.read(0).sharp


def test_a_file_that_changes_while_training_is_damaged(tmp_path: Path) -> None:
    Image.fromarray(CAT).save(tmp_path / "a.png")
    images = use(tmp_path)
    Image.fromarray(CAT[:, :60]).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a\.png: has become 60×96; it was 120×96"):
        images.read(0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_the_header_tells_the_size_of_the_upright_picture(suffix: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[metadata.ORIENTATION] = orientation
    path = tmp_path / f"x{suffix}"
    Image.fromarray(CAT).save(path, exif=exif)
    assert header_size(layouts.Entry("x", path)) == tuple(photos.read(path).image.shape[2:])


def test_pairs_of_different_sizes_are_left_out(tmp_path: Path) -> None:
    for name, width in (("same", 120), ("other", 119)):
        for side, columns in (("sharp", 120), ("blurred", width)):
            (tmp_path / side).mkdir(exist_ok=True)
            Image.fromarray(CAT[:, :columns]).save(tmp_path / side / f"{name}.png")
    images = use(tmp_path / "sharp", degraded=tmp_path / "blurred")
    assert images.names == ["same"]
    assert images.left_out == [f"{tmp_path}/sharp/other.png: 120×96, but {tmp_path}/blurred/other.png: 119×96"]


def test_pairs_of_which_one_side_is_smaller(tmp_path: Path) -> None:
    for side, factor in (("large", 1), ("small", 2)):
        (tmp_path / side).mkdir()
        Image.fromarray(CAT[::factor, ::factor]).save(tmp_path / side / "a.png")
    with pytest.raises(TrainingError, match="must be 4 times as large"):
        use(tmp_path / "large", degraded=tmp_path / "small", scale=4)
    sample = use(tmp_path / "large", degraded=tmp_path / "small", scale=2).read(0)
    assert sample.degraded is not None
    np.testing.assert_array_equal(sample.sharp[::2, ::2], sample.degraded)


@pytest.mark.parametrize("half", ["left", "right"])
def test_halves(half: str, tmp_path: Path) -> None:
    Image.fromarray(CAT).save(tmp_path / "a.png")
    Image.fromarray(CAT[:, 1:]).save(tmp_path / "odd.png")
    images = use(tmp_path, layout="ab", sharp_half=half)
    assert images.left_out == [f"{tmp_path}/odd.png: 119 pixels wide, which two pictures side by side cannot be"]
    sample = images.read(0)
    sides = [CAT[:, :60], CAT[:, 60:]]
    np.testing.assert_array_equal(sample.sharp, sides[half == "right"])
    np.testing.assert_array_equal(sample.degraded, sides[half == "left"])
    alone = images.sharp_sides().read(0)
    np.testing.assert_array_equal(alone.sharp, sample.sharp)
    assert alone.degraded is None


def test_halves_smaller_than_the_crop_are_left_out(tmp_path: Path) -> None:
    Image.fromarray(CAT).save(tmp_path / "a.png")
    with pytest.raises(TrainingError, match="60×96, smaller than the 64 pixels"):
        use(tmp_path, layout="ab", smallest=64)


def test_a_folder_without_one_usable_file_is_refused(tmp_path: Path) -> None:
    truncated(tmp_path / "a.jpg")
    images = use(tmp_path)
    with pytest.raises(rk.UserError, match=r"no usable image: .*a\.jpg"):
        images.keep(100)


def test_the_parts_of_a_split_share_nothing(mixed: Path) -> None:
    first, second = use(mixed).split(0.4, 0)
    assert sorted(first.names + second.names) == ["alpha", "deep", "grey", "rgb", "truncated"]
    assert not first.files & second.files
    assert use(mixed).split(0.4, 0)[1].names == second.names
    for part in (first, second):
        part.keep(100)
    assert len(first.failures) + len(second.failures) == 1
