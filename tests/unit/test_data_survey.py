"""What a survey of a data set finds: counts, strays, copies, and pairs that do not lie on one another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from scipy import ndimage

import restorekit as rk
from restorekit import photos, seeding
from restorekit.datasets import layouts
from restorekit.datasets.registration import SIDE, SMALLEST, shift
from restorekit.datasets.survey import Finding, Survey, seen, survey

from .data_files import CAT, damage, write_pairs, write_sharp

BSD = Path(__file__).parents[2] / "../shared/data/bsd400"


def look(folder: Path, *, crop: int = 32, scale: int = 1, **more: object) -> Survey:
    return survey(layouts.find(folder, **more), crop=crop, scale=scale)  # type: ignore[arg-type]


def of_kind(kind: str, findings: tuple[Finding, ...]) -> list[str]:
    return [finding.message for finding in findings if finding.kind == kind]


def grey(image: torch.Tensor) -> np.ndarray:
    return image[0].mean(0).numpy()


def test_what_a_folder_holds(tmp_path: Path) -> None:
    Image.fromarray(CAT).save(tmp_path / "a.png")
    Image.fromarray(CAT[:100]).convert("L").save(tmp_path / "b.png")
    Image.fromarray(CAT[:100]).convert("RGBA").save(tmp_path / "c.png")
    image = torch.rand(1, 3, 40, 50, generator=seeding.generator(0))
    photos.write(tmp_path / "d.png", image, like=photos.Photo(image, bits=16))
    found = look(tmp_path)
    assert found.sizes == {"451×300": 1, "451×100": 2, "50×40": 1}
    assert found.sizes.most_common(1) == [("451×100", 2)]
    assert found.colours == {"RGB, 8 bits": 1, "grey, 8 bits": 1, "RGB with alpha, 8 bits": 1, "RGB, 16 bits": 1}
    assert found.mebibytes == -(-3 * (451 * 300 + 2 * 451 * 100 + 50 * 40) // 2**20)
    assert found.findings == ()
    assert found.shifts == []


def test_files_of_no_use(tmp_path: Path) -> None:
    write_pairs(tmp_path, 4)
    damage(tmp_path / "degraded" / "0.png")
    Image.fromarray(CAT[:90]).save(tmp_path / "degraded" / "1.png")
    Image.fromarray(CAT).save(tmp_path / "sharp" / "alone.png")
    found = look(tmp_path / "sharp", degraded=tmp_path / "degraded", crop=100)
    assert len(found.looks) == 2
    assert [finding.serious for finding in found.findings] == [True] * 3 + [False] * 2
    assert "degraded/0.png: damaged or incomplete" in of_kind("unreadable", found.findings)[0]
    assert of_kind("sizes", found.findings) == [f"{tmp_path}/sharp/1.png: 120×96, but {tmp_path}/degraded/1.png: 451×90"]
    assert "alone.png: no degraded picture of this name" in of_kind("unmatched", found.findings)[0]
    assert of_kind("small", found.findings)[0] == f"{tmp_path}/sharp/2.png: 120×96, left out with data.crop=100"


def test_copies_are_known_by_their_pixels(tmp_path: Path) -> None:
    write_sharp(tmp_path / "train", 3)
    (tmp_path / "val").mkdir()
    again = Image.open(tmp_path / "train" / "1.jpg")
    again.save(tmp_path / "val" / "other-name.png")  # the same pixels in another format
    again.save(tmp_path / "train" / "9.bmp")
    Image.fromarray(255 - CAT).save(tmp_path / "val" / "new.png")
    train, validation = look(tmp_path / "train"), look(tmp_path / "val")
    assert of_kind("duplicate", train.findings) == [f"{tmp_path}/train/1.jpg, {tmp_path}/train/9.bmp: the same picture"]
    assert not train.findings[0].serious
    (leak,) = seen(train, validation)
    assert leak.serious
    assert leak.message == f"{tmp_path}/val/other-name.png: the same picture as {tmp_path}/train/1.jpg, which is trained on"


def test_a_degraded_side_with_more_detail_is_worth_a_note(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    blurred = np.stack([ndimage.gaussian_filter(CAT[..., c], 3) for c in range(3)], 2)
    for number in range(3):
        Image.fromarray(np.concatenate([blurred, CAT], 1)[10 * number :]).save(tmp_path / "ab" / f"{number}.png")
    assert look(tmp_path / "ab").findings == ()
    (note,) = look(tmp_path / "ab", sharp_half="left").findings
    assert (note.kind, note.serious) == ("sides", False)
    assert "3 of 3 pairs" in note.message


@pytest.mark.parametrize("scale", [1, 2])
def test_pairs_that_do_not_lie_on_one_another_are_found(scale: int, tmp_path: Path) -> None:
    large = skimage.data.astronaut()
    for name, (down, right) in {"straight": (0, 0), "moved": (4, 2)}.items():
        for side, pixels in (("sharp", large[20:340, 20:340]), ("degraded", large[20 + down : 340 + down, 20 + right : 340 + right])):
            (tmp_path / side).mkdir(exist_ok=True)
            size = (320 // scale, 320 // scale) if side == "degraded" else (320, 320)
            Image.fromarray(pixels).resize(size, Image.Resampling.BOX).save(tmp_path / side / f"{name}.png")
    found = look(tmp_path / "sharp", degraded=tmp_path / "degraded", scale=scale)
    (message,) = of_kind("unregistered", found.findings)
    assert f"{tmp_path}/sharp/moved.png: its degraded side lies" in message
    assert found.shifts == pytest.approx([0, np.hypot(4, 2)], abs=0.6)


@pytest.mark.parametrize("moved", [(0, 0), (2, 0), (0, -3), (-7, 5)])
def test_the_shift_of_a_blurred_picture_is_measured(moved: tuple[int, int]) -> None:
    """The PSF is centred, so that the shift is the one that was made; a plain phase correlation is several pixels off."""
    image = torch.from_numpy(skimage.data.astronaut()[:400].copy()).permute(2, 0, 1)[None].float() / 255
    for seed in range(4):
        shake = rk.registry().create("degradation", "core/camera-shake", length=[22, 22])
        blurred = shake.apply(image, shake.sample(1, (3, 400, 512), seeding.generator(seed))).image
        measured = shift(grey(image), grey(torch.roll(blurred, moved, (2, 3))))
        assert measured == pytest.approx(np.hypot(*moved), abs=0.6)


def test_small_and_flat_pictures_tell_nothing() -> None:
    noise = np.random.default_rng(0).random((SMALLEST - 1, 300)).astype(np.float32)
    assert shift(noise, noise) is None
    flat = np.full((300, 300), 0.5, np.float32)
    assert shift(flat, flat) is None
    assert (
        shift(np.random.default_rng(0).random((SMALLEST, SIDE + 100)).astype(np.float32), np.zeros((SMALLEST, SIDE + 100), np.float32))
        is None
    )


@pytest.mark.skipif(not BSD.is_dir(), reason="../shared/data/bsd400 is not there")
def test_no_shaken_photograph_is_mistaken_for_a_moved_one() -> None:
    shake = rk.registry().create("degradation", "core/camera-shake")
    for number, file in enumerate(photos.find([BSD])[:12]):
        image = photos.read(file).image
        blurred = shake.apply(image, shake.sample(1, tuple(image.shape[1:]), seeding.generator(number))).image
        straight, moved = shift(grey(image), grey(blurred)), shift(grey(image), grey(torch.roll(blurred, (2, 0), (2, 3))))
        assert straight is not None
        assert moved is not None
        assert straight <= 1 < moved
