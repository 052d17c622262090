"""Batches: a pure function of seed and step, with real borders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import restorekit as rk
from restorekit import photos, seeding
from restorekit.datasets import layouts
from restorekit.datasets.photographs import Photographs
from restorekit.engine.data import PatchSource, validation_pairs
from restorekit.engine.patches import mirror
from restorekit.errors import TrainingError
from restorekit.settings import DataSettings


def load(folder: str | Path, *, channels: int = 3, smallest: int = 32) -> Photographs:
    images = Photographs(layouts.find(folder), channels=channels, smallest=smallest)
    images.keep(2048)
    return images


@pytest.fixture(scope="module")
def bundled() -> Photographs:
    return load("bundled")


def source(seed: int = 0, degradation: str = "core/camera-shake", **settings: object) -> PatchSource:
    images = load("bundled")
    data = DataSettings(**{"train": "bundled", "crop": 32, "batch": 4, **settings})  # type: ignore[arg-type]
    return PatchSource(images, data, rk.registry().create("degradation", degradation), seed)


def test_batches_follow_from_seed_and_step_alone() -> None:
    first, second = source(), source()
    second.batch(7)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    for step in (0, 5):
        one, other = first.batch(step), second.batch(step)
        assert torch.equal(one.sharp, other.sharp)
        assert torch.equal(one.degraded.image, other.degraded.image)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(first.batch(0).sharp, first.batch(1).sharp)
    assert not torch.equal(first.batch(0).sharp, source(seed=1).batch(0).sharp)


EXAMPLES = {p.name: p.part.example for p in rk.registry().of_kind("degradation") if isinstance(p.part.example, Mapping)}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_shares_of_several_processes_make_up_the_batch(name: str, bundled: Photographs) -> None:
    degradation = rk.registry().create("degradation", name, **EXAMPLES[name])
    settings = DataSettings(train="bundled", crop=32, batch=4, sharp_share=0.0 if degradation.scale > 1 else 0.3)
    whole = PatchSource(bundled, settings, degradation, 0).batch(3)
    shares = [PatchSource(bundled, settings, degradation, 0, share=(rank, 2)).batch(3) for rank in range(2)]
    assert torch.equal(torch.cat([share.sharp for share in shares]), whole.sharp)
    torch.testing.assert_close(torch.cat([share.degraded.image for share in shares]), whole.degraded.image, rtol=0, atol=1e-6)
    if whole.degraded.mask is not None:
        assert torch.equal(torch.cat([share.degraded.need("mask") for share in shares]), whole.degraded.mask)


def test_every_photograph_is_seen_once_an_epoch() -> None:
    patches = source(batch=1)
    count = len(patches.images)
    for epoch in range(2):
        seen = [patches._chosen(epoch * count + i)[1] for i in range(count)]
        assert sorted(seen) == list(range(count))


def test_no_border_is_invented_inside_the_photograph(tmp_path: Path) -> None:
    """A patch equals the same place of the whole photograph, blurred whole with the PSF that the batch records."""
    pixels = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    images = load(tmp_path)
    shake = rk.registry().create("degradation", "core/camera-shake", length=[3, 9])
    patches = PatchSource(images, DataSettings(crop=32, batch=6, flips=False), shake, 0)
    whole = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    inside = 0
    for step in range(4):
        batch = patches.batch(step)
        for i in range(6):
            places = (whole.unfold(2, 32, 1).unfold(3, 32, 1)[0, :, :, :, 0, 0] - batch.sharp[i, :, 0, 0][:, None, None]).abs().sum(0)
            top, left = divmod(int(places.argmin()), places.shape[1])
            assert torch.equal(whole[0, :, top : top + 32, left : left + 32], batch.sharp[i])
            psf = {"psf": batch.degraded.params["psf"][i : i + 1]}
            blurred = shake.apply(whole, psf).image[0, :, top : top + 32, left : left + 32]
            torch.testing.assert_close(batch.degraded.image[i], blurred, atol=1e-5, rtol=0)
            inside += 1
    assert inside == 24


def test_sharp_share_leaves_that_share_alone() -> None:
    assert all(torch.equal(b.sharp, b.degraded.image) for b in [source(sharp_share=1.0).batch(0)])
    patches = source(sharp_share=0.5, batch=32)
    batch = patches.batch(0)
    same = sum(torch.equal(s, d) for s, d in zip(batch.sharp, batch.degraded.image, strict=True))
    assert 6 <= same <= 26


def test_zoom_shrinks_the_photograph() -> None:
    """Shrunk patches hold more of the picture, so neighbouring pixels differ more."""

    def roughness(zoom: list[float]) -> float:
        sharp = source(zoom=tuple(zoom), batch=16, crop=64).batch(0).sharp
        return float((sharp[..., 1:] - sharp[..., :-1]).abs().mean())

    assert roughness([0.4, 0.4]) > 1.2 * roughness([1.0, 1.0])


@pytest.mark.parametrize("factor", [2, 4])
def test_degradations_that_change_the_size(factor: int) -> None:
    images = load("bundled")
    down = rk.registry().create("degradation", "core/downscale", factor=factor)
    batch = PatchSource(images, DataSettings(crop=32, batch=2), down, 0).batch(0)
    assert batch.sharp.shape == (2, 3, 32, 32)
    assert batch.degraded.image.shape == (2, 3, 32 // factor, 32 // factor)
    mean = torch.nn.functional.avg_pool2d(batch.sharp, factor)
    assert float((mean - batch.degraded.image).abs().mean()) < 0.03, "both show the same place"


def test_masks_are_cut_like_the_picture() -> None:
    batch = source(degradation="core/mask").batch(0)
    assert batch.degraded.mask is not None
    assert batch.degraded.mask.shape == (4, 1, 32, 32)


def test_validation_pairs_are_always_the_same() -> None:
    images = load("bundled")
    shake = rk.registry().create("degradation", "core/camera-shake")
    first, second = (validation_pairs(images, DataSettings(validation_images=2), shake, 0) for _ in range(2))
    assert len(first) == 2
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.degraded.image, other.degraded.image)


def test_unusable_files_are_left_out_and_listed(tmp_path: Path) -> None:
    name = next(iter(photos.bundled()))
    photos.write(tmp_path / "good.png", photos.bundled_photo(name).image)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    Image.new("RGB", (8, 8)).save(tmp_path / "small.png")
    Image.new("RGBA", (64, 64)).save(tmp_path / "alpha.png")
    Image.new("L", (64, 64)).save(tmp_path / "grey.png")
    images = load(tmp_path)
    assert len(images) == 3
    assert all(images.read(i).sharp.shape[2] == 3 for i in range(3))
    listed = "\n".join(images.left_out)
    assert "broken.jpg" in listed
    assert "small.png: 8×8" in listed


def test_grey_networks_get_grey_pictures() -> None:
    images = load("bundled", channels=1)
    assert all(images.read(i).sharp.shape[2] == 1 for i in range(len(images)))


def test_an_empty_folder_and_one_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(rk.UserError, match="no images in this folder"):
        load(tmp_path)
    Image.new("RGB", (64, 64)).save(tmp_path / "one.png")
    with pytest.raises(TrainingError, match="only one usable image"):
        load(tmp_path).split(0.1, 0)


def test_holding_out_takes_every_image_once() -> None:
    images = load("bundled")
    kept, held = images.split(0.3, 0)
    assert sorted(kept.names + held.names) == sorted(images.names)
    assert len(held) == max(1, round(0.3 * len(images)))


@given(st.integers(-500, 500), st.integers(1, 60))
def test_mirroring_agrees_with_numpy(start: int, length: int) -> None:
    reach = np.arange(start, start + 7)
    left, right = max(0, -start), max(0, start + 7 - length)
    expected = np.pad(np.arange(length), (left, right), mode="reflect")[reach + left]
    np.testing.assert_array_equal(mirror(reach, length), expected)


def test_seeds_are_the_same_everywhere() -> None:
    # Golden: int.from_bytes(sha256(b"core/photos\0astronaut\x000").digest()[:8], "big") >> 1
    import hashlib

    digest = hashlib.sha256(b"core/photos\0astronaut\x000").digest()
    assert seeding.derive("core/photos", "astronaut", 0) == int.from_bytes(digest[:8], "big") >> 1
