"""Which file belongs to which: by name, never by position."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

import restorekit as rk
from restorekit import photos
from restorekit.datasets import layouts

BSD = Path(__file__).parents[2] / "../shared/data/bsd400"


def picture(path: Path, size: tuple[int, int] = (16, 12), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 90).save(path)
    return path


def pairs(listing: layouts.Listing) -> dict[str, tuple[str, str]]:
    return {entry.name: (entry.sharp.name, entry.degraded.name) for entry in listing.entries if entry.degraded}


def test_single_photographs(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "trip" / "b.jpg")
    listing = layouts.find(tmp_path)
    assert (listing.layout, listing.paired) == ("sharp", False)
    assert [entry.name for entry in listing.entries] == ["a", "trip/b"]


def test_the_bundled_photographs() -> None:
    for name in ("bundled", Path("bundled")):
        assert {entry.name for entry in layouts.find(name).entries} == set(photos.bundled())
    with pytest.raises(rk.UserError, match="no degraded counterparts"):
        layouts.find("bundled", layout="ab")


def test_two_folders_are_matched_by_path_whatever_the_suffix(tmp_path: Path) -> None:
    for name in ("a.png", "in/a.png", "v1.5.png", "only.png"):
        picture(tmp_path / "sharp" / name)
    for name in ("a.jpg", "in/a.png", "v1.5.jpg", "other/only.png"):
        picture(tmp_path / "blurred" / name)
    listing = layouts.find(tmp_path / "sharp", degraded=tmp_path / "blurred")
    assert listing.layout == "pairs"
    assert pairs(listing) == {"a": ("a.png", "a.jpg"), "in/a": ("a.png", "a.png"), "v1.5": ("v1.5.png", "v1.5.jpg")}
    assert sorted(listing.unmatched) == sorted(
        [
            f"{tmp_path}/sharp/only.png: no degraded picture of this name in {tmp_path}/blurred",
            f"{tmp_path}/blurred/other/only.png: no sharp picture of this name in {tmp_path}/sharp",
        ]
    )


def test_a_name_that_fits_several_files_is_not_guessed(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp", "b.png", "b.jpg", "c.png"):
        picture(tmp_path / "sharp" / name)
    for name in ("a.jpg", "b.png", "b.jpg", "c.png"):
        picture(tmp_path / "blurred" / name)
    listing = layouts.find(tmp_path / "sharp", degraded=tmp_path / "blurred")
    assert pairs(listing) == {"b.png": ("b.png", "b.png"), "b.jpg": ("b.jpg", "b.jpg"), "c": ("c.png", "c.png")}
    assert len(listing.unmatched) == 1
    assert "one name for several files" in listing.unmatched[0]
    assert all(name in listing.unmatched[0] for name in ("a.png", "a.bmp", "a.jpg"))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.text(string.ascii_lowercase[:4], min_size=1, max_size=3), st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_a_pair_never_has_two_names(tmp_path_factory: pytest.TempPathFactory, names: dict[str, tuple[bool, bool]]) -> None:
    """Files in any number and order, some on one side only: what is matched has one name, the rest is listed."""
    root = tmp_path_factory.mktemp("pairs")
    both = {name for name, there in names.items() if all(there)}
    for name, there in names.items():
        for side, is_there in zip(("sharp", "blurred"), there, strict=True):
            if is_there:
                picture(root / side / f"{name}.png", (2, 2))
    if not both:
        with pytest.raises(rk.UserError, match=r"no name is in both|no such folder|no images"):
            layouts.find(root / "sharp", degraded=root / "blurred")
        return
    listing = layouts.find(root / "sharp", degraded=root / "blurred")
    assert pairs(listing) == {name: (f"{name}.png", f"{name}.png") for name in both}
    assert len(listing.unmatched) == sum(one != other for one, other in names.values())


def test_the_degraded_folder_may_lie_inside_the_sharp_one(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "blurred" / "a.png", (8, 8))
    for sharp, degraded in ((tmp_path, tmp_path / "blurred"), (tmp_path / "blurred", tmp_path)):
        listing = layouts.find(sharp, degraded=degraded)
        assert pairs(listing) == {"a": ("a.png", "a.png")}
        assert not listing.unmatched
        assert listing.entries[0].sharp.parent == sharp


def test_pairs_of_which_none_match_are_refused_with_examples(tmp_path: Path) -> None:
    picture(tmp_path / "sharp" / "1_sharp.png")
    picture(tmp_path / "blurred" / "1_blur.png")
    with pytest.raises(rk.UserError, match=r"no name is in both: 1_sharp\.png here, 1_blur\.png there"):
        layouts.find(tmp_path / "sharp", degraded=tmp_path / "blurred")
    with pytest.raises(rk.UserError, match="the same folder"):
        layouts.find(tmp_path / "sharp", degraded=tmp_path / "sharp" / ".." / "sharp")


@pytest.mark.parametrize("layout", ["auto", "gopro"])
@pytest.mark.parametrize("blur_folder", ["blur", "blur_gamma"])
def test_scenes(layout: str, blur_folder: str, tmp_path: Path) -> None:
    for scene in ("train/S1", "train/S2"):
        for kind in ("sharp", "blur", "blur_gamma"):
            for number in (1, 2):
                picture(tmp_path / scene / kind / f"{number}.png")
    (tmp_path / "train/S2" / blur_folder / "2.png").unlink()
    listing = layouts.find(tmp_path, layout=layout, blur_folder=blur_folder)  # type: ignore[arg-type]
    assert listing.layout == "gopro"
    assert [entry.name for entry in listing.entries] == ["train/S1/1", "train/S1/2", "train/S2/1"]
    assert all(entry.degraded == entry.sharp.parents[1] / blur_folder / entry.sharp.name for entry in listing.entries)
    assert listing.unmatched == (f"{tmp_path}/train/S2/sharp/2.png: no picture of this name in {tmp_path}/train/S2/{blur_folder}",)


def test_one_scene_and_strays(tmp_path: Path) -> None:
    picture(tmp_path / "sharp" / "1.png")
    picture(tmp_path / "blur" / "1.png")
    picture(tmp_path / "notes" / "page" / "x.png")
    listing = layouts.find(tmp_path)
    assert [entry.name for entry in listing.entries] == ["1"]
    assert listing.unmatched == (f"{tmp_path}/notes/page/x.png: neither in a folder sharp nor in blur",)
    assert layouts.find(tmp_path / "sharp").layout == "sharp", "the sharp folder alone is single photographs"


def test_a_missing_blur_folder_names_the_one_that_is_there(tmp_path: Path) -> None:
    picture(tmp_path / "S" / "sharp" / "1.png")
    picture(tmp_path / "S" / "blur_gamma" / "1.png")
    with pytest.raises(rk.UserError, match=r"there is blur_gamma: give it as data\.blur_folder or --blur-folder"):
        layouts.find(tmp_path)
    picture(tmp_path / "other" / "1.png")
    with pytest.raises(rk.UserError, match="no pairs in folders sharp and blur"):
        layouts.find(tmp_path / "other", layout="gopro")


def test_pictures_side_by_side_are_recognised(tmp_path: Path) -> None:
    for number, pixels in enumerate((skimage.data.chelsea(), skimage.data.coffee(), skimage.data.astronaut())):
        sharp = Image.fromarray(pixels[:, : pixels.shape[1] // 2 * 2])
        blurred = sharp.filter(ImageFilter.GaussianBlur(4))
        (tmp_path / "ab").mkdir(exist_ok=True)
        (tmp_path / "plain").mkdir(exist_ok=True)
        Image.fromarray(np.concatenate([np.asarray(blurred), np.asarray(sharp)], 1)).save(tmp_path / "ab" / f"{number}.png")
        sharp.save(tmp_path / "plain" / f"{number}.png")
    listing = layouts.find(tmp_path / "ab", sharp_half="left")
    assert listing.layout == "ab"
    assert all(entry.degraded == entry.sharp and entry.half == "left" for entry in listing.entries)
    assert layouts.find(tmp_path / "ab", layout="sharp").layout == "sharp"
    assert layouts.find(tmp_path / "plain").layout == "sharp"
    assert layouts.find(tmp_path / "plain", layout="ab").layout == "ab"


@pytest.mark.parametrize("folders", [("a", "b"), ("x/2", "x/1")])
def test_pairs_in_two_folders_of_any_name_are_noticed(folders: tuple[str, str], tmp_path: Path) -> None:
    for number, pixels in enumerate((skimage.data.chelsea(), skimage.data.coffee(), skimage.data.astronaut())):
        sharp = Image.fromarray(pixels)
        for folder, image in zip(folders, (sharp, sharp.filter(ImageFilter.GaussianBlur(4))), strict=True):
            (tmp_path / folder).mkdir(exist_ok=True, parents=True)
            image.save(tmp_path / folder / f"{number}.png")
    found = layouts.find(tmp_path)
    assert (found.layout, len(found.entries)) == ("sharp", 6)
    assert layouts.twins(found) == tuple(map(Path, folders))
    Image.fromarray(skimage.data.rocket()).save(tmp_path / folders[0] / "alone.png")
    assert layouts.twins(layouts.find(tmp_path)) is not None, "one may be missing"
    for number in range(2):
        Image.fromarray(skimage.data.rocket()).save(tmp_path / folders[1] / f"{number}.png")
    assert layouts.twins(layouts.find(tmp_path)) is None, "equal names are common: frames of films have them"


def test_flat_and_unreadable_pictures_are_no_pairs(tmp_path: Path) -> None:
    picture(tmp_path / "flat.png")
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    assert layouts.find(tmp_path).layout == "sharp"


@pytest.mark.skipif(not BSD.is_dir(), reason="../shared/data/bsd400 is not there")
def test_no_hundred_photographs_are_mistaken_for_pairs() -> None:
    files = photos.find([BSD])
    even = [file for file in files if Image.open(file).width % 2 == 0]
    assert not any(layouts.side_by_side(files[start : start + 20]) for start in range(0, 100, 20))
    assert not layouts.side_by_side(even)


def test_a_divided_set_is_seen(tmp_path: Path) -> None:
    assert layouts.divided(tmp_path) is None
    (tmp_path / "train").mkdir()
    assert layouts.divided(tmp_path) is None
    (tmp_path / "val").mkdir()
    assert layouts.divided(tmp_path) == (tmp_path / "train", tmp_path / "val")


@pytest.mark.parametrize(
    ("name", "message"), [("nothing", "no such folder"), ("file.txt", "a file"), ("empty", "no images in this folder")]
)
def test_folders_that_cannot_be_used(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(rk.UserError, match=message):
        layouts.find(tmp_path / name)
