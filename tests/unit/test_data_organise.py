"""From one layout to another: nothing is lost, mixed up or written over."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import restorekit as rk
from restorekit import photos, seeding
from restorekit.datasets import layouts
from restorekit.datasets.layouts import Listing
from restorekit.datasets.organise import plan, write
from restorekit.datasets.photographs import decode

from .data_files import CAT, write_pairs


def gopro(folder: Path) -> Path:
    for scene, numbers in {"train/S1": (1, 2), "test/S2": (1,)}.items():
        for number in numbers:
            sharp = CAT[30 * number : 30 * number + 60, :80]
            for kind, pixels in (("sharp", sharp), ("blur", sharp // 2), ("blur_gamma", sharp // 3)):
                (folder / scene / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / scene / kind / f"{number:06d}.png")
    return folder


def organise(source: Path, target: Path, conversion: str, **more: object) -> int:
    copy = bool(more.pop("copy", False))
    return sum(write(job, copy=copy) for job in plan(source, target, conversion, **more).jobs)  # type: ignore[arg-type]


def assert_same(first: Listing, second: Listing) -> None:
    assert [entry.name for entry in first.entries] == [entry.name for entry in second.entries]
    for one, other in zip(first.entries, second.entries, strict=True):
        before, after = decode(one, 3), decode(other, 3)
        assert before.degraded is not None
        np.testing.assert_array_equal(before.sharp, after.sharp)
        np.testing.assert_array_equal(before.degraded, after.degraded)


@pytest.mark.parametrize("blur_folder", ["blur", "blur_gamma"])
def test_there_and_back_loses_nothing(blur_folder: str, tmp_path: Path) -> None:
    source = gopro(tmp_path / "gopro")
    original = layouts.find(source, blur_folder=blur_folder)
    assert organise(source, tmp_path / "ab", "gopro-to-ab", blur_folder=blur_folder) == 3
    assert sorted(path.relative_to(tmp_path / "ab").as_posix() for path in (tmp_path / "ab").rglob("*.png")) == [
        "test/S2/000001.png",
        "train/S1/000001.png",
        "train/S1/000002.png",
    ]
    assert_same(original, layouts.find(tmp_path / "ab", layout="ab"))
    left, right = np.split(np.asarray(Image.open(tmp_path / "ab" / "test" / "S2" / "000001.png")), 2, 1)
    assert left.mean() < right.mean(), "degraded left, sharp right"
    organise(tmp_path / "ab", tmp_path / "pairs", "ab-to-pairs")
    assert_same(original, layouts.find(tmp_path / "pairs" / "sharp", degraded=tmp_path / "pairs" / "degraded"))
    organise(tmp_path / "pairs" / "sharp", tmp_path / "again", "pairs-to-ab", degraded=tmp_path / "pairs" / "degraded")
    assert_same(original, layouts.find(tmp_path / "again", layout="ab"))
    organise(source, tmp_path / "direct", "gopro-to-pairs", blur_folder=blur_folder)
    assert_same(original, layouts.find(tmp_path / "direct" / "sharp", degraded=tmp_path / "direct" / "degraded"))


@pytest.mark.parametrize("half", ["left", "right"])
def test_the_sharp_half_may_be_on_either_side(half: str, tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    Image.fromarray(np.concatenate([CAT[:50, :60], CAT[:50, :60] // 2], 1)).save(tmp_path / "ab" / "v1.5.png")
    organise(tmp_path / "ab", tmp_path / "pairs", "ab-to-pairs", sharp_half=half)
    sharp, degraded = (np.asarray(Image.open(tmp_path / "pairs" / side / "v1.5.png")) for side in ("sharp", "degraded"))
    assert (sharp.mean() > degraded.mean()) == (half == "left")


@pytest.mark.parametrize("reason", ["asked", "cannot link"])
def test_files_are_linked_or_copied(reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = gopro(tmp_path / "gopro")
    organise(source, tmp_path / "linked", "gopro-to-pairs")
    original = source / "train" / "S1" / "sharp" / "000001.png"
    assert original.samefile(tmp_path / "linked" / "sharp" / "train" / "S1" / "000001.png")
    if reason == "cannot link":
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("another file system")))
    organise(source, tmp_path / "copied", "gopro-to-pairs", copy=reason == "asked")
    copied = tmp_path / "copied" / "sharp" / "train" / "S1" / "000001.png"
    assert not original.samefile(copied)
    assert original.read_bytes() == copied.read_bytes()


def test_what_is_there_stays_and_the_rest_is_added(tmp_path: Path) -> None:
    source = gopro(tmp_path / "gopro")
    kept = tmp_path / "pairs" / "degraded" / "train" / "S1" / "000002.png"
    organise(source, tmp_path / "pairs", "gopro-to-pairs")
    (tmp_path / "pairs" / "sharp" / "train" / "S1" / "000002.png").unlink()
    kept.unlink()
    kept.write_bytes(b"mine")
    assert organise(source, tmp_path / "pairs", "gopro-to-pairs") == 1
    assert kept.read_bytes() == b"mine"
    assert organise(source, tmp_path / "pairs", "gopro-to-pairs") == 0


def test_sixteen_bits_and_the_profile_are_kept(tmp_path: Path) -> None:
    image = torch.rand(1, 3, 40, 50, generator=seeding.generator(0))
    for side in ("sharp", "degraded"):
        photos.write(tmp_path / side / "a.png", image, like=photos.Photo(image, bits=16))
    organise(tmp_path / "sharp", tmp_path / "ab", "pairs-to-ab", degraded=tmp_path / "degraded")
    both = photos.read(tmp_path / "ab" / "a.png")
    assert both.bits == 16
    assert torch.equal(both.image, photos.read(tmp_path / "sharp" / "a.png").image.repeat(1, 1, 1, 2))
    organise(tmp_path / "ab", tmp_path / "pairs", "ab-to-pairs")
    assert torch.equal(photos.read(tmp_path / "pairs" / "sharp" / "a.png").image, photos.read(tmp_path / "sharp" / "a.png").image)


def test_grey_beside_colour(tmp_path: Path) -> None:
    for side, mode in (("sharp", "RGB"), ("degraded", "L")):
        (tmp_path / side).mkdir()
        Image.fromarray(CAT[:40, :50]).convert(mode).save(tmp_path / side / "a.png")
    organise(tmp_path / "sharp", tmp_path / "ab", "pairs-to-ab", degraded=tmp_path / "degraded")
    left, right = np.split(np.asarray(Image.open(tmp_path / "ab" / "a.png")), 2, 1)
    np.testing.assert_array_equal(right, CAT[:40, :50])
    np.testing.assert_array_equal(left, np.asarray(Image.open(tmp_path / "degraded" / "a.png"))[..., None].repeat(3, 2))


def test_sides_of_different_sizes_write_nothing(tmp_path: Path) -> None:
    write_pairs(tmp_path, 1)
    Image.fromarray(CAT[:50]).save(tmp_path / "degraded" / "0.png")
    with pytest.raises(rk.UserError, match=r"0\.png: 120×96, but .*0\.png: 451×50"):
        organise(tmp_path / "sharp", tmp_path / "ab", "pairs-to-ab", degraded=tmp_path / "degraded")
    assert not (tmp_path / "ab").exists()


@pytest.mark.parametrize(
    ("target", "conversion", "degraded", "message"),
    [
        ("gopro", "gopro-to-ab", None, "lies in"),
        ("gopro/ab", "gopro-to-ab", None, "lies in"),
        (".", "gopro-to-ab", None, "lies in"),
        ("ab", "pairs-to-ab", None, "give the degraded pictures with --degraded"),
        ("ab", "gopro-to-ab", "gopro", "takes no --degraded"),
    ],
)
def test_what_cannot_be_planned(target: str, conversion: str, degraded: str | None, message: str, tmp_path: Path) -> None:
    source = gopro(tmp_path / "gopro")
    with pytest.raises(rk.UserError, match=message):
        plan(source, tmp_path / target, conversion, degraded=tmp_path / degraded if degraded else None)  # type: ignore[arg-type]
