"""Batches of real pairs, of pairs mixed with synthetic ones, with one damage for each photograph, and with damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import restorekit as rk
from restorekit import seeding
from restorekit.datasets import layouts
from restorekit.datasets.photographs import Photographs
from restorekit.engine.data import TRIES, Batch, FixedDamage, PatchSource, validation_pairs
from restorekit.errors import TrainingError
from restorekit.interfaces import Degradation
from restorekit.settings import DataSettings

from .data_files import CAT, damage, write_pairs, write_sharp


def degradation(name: str = "core/camera-shake", **options: object) -> Degradation:
    part: Degradation = rk.registry().create("degradation", name, **({"length": [3, 7]} if name == "core/camera-shake" else options))
    return part


def settings(**more: object) -> DataSettings:
    return DataSettings(**{"crop": 32, "batch": 8, **more})  # type: ignore[arg-type]


def assert_equal(first: Batch, second: Batch, numbers: list[int] | None = None) -> None:
    chosen = numbers if numbers is not None else list(range(len(first.sharp)))
    assert torch.equal(first.sharp[chosen], second.sharp[chosen])
    assert torch.equal(first.degraded.image[chosen], second.degraded.image[chosen])


@pytest.mark.parametrize("options", [{}, {"zoom": (0.4, 1.0)}, {"flips": False}], ids=["flips", "zoom", "straight"])
def test_both_sides_of_a_pair_are_cut_and_turned_alike(options: dict[str, object], tmp_path: Path) -> None:
    patches = PatchSource(write_pairs(tmp_path), settings(**options), None, 0)
    for step in range(3):
        batch = patches.batch(step)
        # Resizing rounds, and overshoot at edges is clipped at either end.
        torch.testing.assert_close(batch.degraded.image, 1 - batch.sharp, atol=1.01 / 255, rtol=0)
        assert batch.degraded.params == {}


def test_pairs_of_different_sizes_show_the_same_place(tmp_path: Path) -> None:
    patches = PatchSource(write_pairs(tmp_path, scale=2), settings(flips=False), None, 0)
    batch = patches.batch(0)
    assert batch.degraded.image.shape == (8, 3, 16, 16)
    torch.testing.assert_close(batch.degraded.image, 1 - batch.sharp[..., ::2, ::2])
    with pytest.raises(TrainingError, match="33 is no multiple of 2"):
        PatchSource(write_pairs(tmp_path, scale=2), settings(crop=33), None, 0)


def test_a_share_of_the_pairs_is_sharp_on_both_sides(tmp_path: Path) -> None:
    batch = PatchSource(write_pairs(tmp_path), settings(sharp_share=0.5, batch=40), None, 0).batch(0)
    same = sum(torch.equal(s, d) for s, d in zip(batch.sharp, batch.degraded.image, strict=True))
    assert 8 <= same <= 32


def test_colours_of_a_pair_change_alike(tmp_path: Path) -> None:
    """Both sides are equal here, so they must still be equal afterwards."""
    for side in ("sharp", "degraded"):
        (tmp_path / side).mkdir()
        Image.fromarray(CAT[:96, :120]).save(tmp_path / side / "a.png")
    images = Photographs(layouts.find(tmp_path / "sharp", degraded=tmp_path / "degraded"), channels=3, smallest=32)
    plain, changed = (PatchSource(images, settings(colour_jitter=strength), None, 0).batch(0) for strength in (0.0, 0.3))
    assert torch.equal(changed.sharp, changed.degraded.image)
    assert float((plain.sharp - changed.sharp).abs().mean()) > 0.02


def test_colours_change_before_the_degradation() -> None:
    """With noise that is not clipped the difference of the sides is the noise, whatever the colours."""
    images = Photographs(layouts.find("bundled"), channels=3, smallest=32)
    noise = degradation("core/gaussian-noise", sigma=0.01)
    plain, changed = (PatchSource(images, settings(colour_jitter=s), noise, 0).batch(0) for s in (0.0, 0.2))
    inside = (plain.sharp > 0.1) & (plain.sharp < 0.9) & (changed.sharp > 0.1) & (changed.sharp < 0.9)
    one, other = (batch.degraded.image - batch.sharp for batch in (plain, changed))
    assert float(inside.float().mean()) > 0.2
    torch.testing.assert_close(one[inside], other[inside], atol=1e-5, rtol=0)
    assert float((plain.sharp - changed.sharp).abs().mean()) > 0.01


@pytest.mark.parametrize("share", [0.25, 0.3, 0.9])
def test_real_and_synthetic_pairs_come_in_the_stated_ratio(share: float, tmp_path: Path) -> None:
    pairs, sharp = write_pairs(tmp_path / "pairs"), write_sharp(tmp_path / "more")
    patches = PatchSource(pairs, settings(synthetic_share=share, batch=5), degradation(), 0, sharp)
    origin = [patches._chosen(position) for position in range(1000)]
    made = [images is sharp for images, _ in origin]
    assert sum(made) == pytest.approx(share * 1000, abs=1)
    for start in range(0, 980, 20):
        assert sum(made[start : start + 20]) == pytest.approx(share * 20, abs=1), "evenly over the steps"
    for images in (pairs, sharp):
        order = [index for found, index in origin if found is images]
        for epoch in range(3):
            part = order[epoch * len(images) : (epoch + 1) * len(images)]
            assert sorted(part) == list(range(len(images))), "each once an epoch of its own set"
    batch = patches.batch(0)
    for number in range(5):
        negative = torch.allclose(batch.degraded.image[number], 1 - batch.sharp[number], atol=1e-6)
        assert negative != made[number]


def test_a_mixed_batch_has_a_mask_where_it_is_synthetic(tmp_path: Path) -> None:
    mask = degradation("core/mask")
    patches = PatchSource(write_pairs(tmp_path), settings(synthetic_share=0.5), mask, 0, write_sharp(tmp_path / "more"))
    batch = patches.batch(0)
    assert batch.degraded.mask is not None
    made = [patches._chosen(position)[0] is patches.synthetic for position in range(8)]
    missing = batch.degraded.mask.flatten(1).any(1).tolist()
    assert missing == made


def test_a_share_of_a_mixed_batch_is_that_part_of_it(tmp_path: Path) -> None:
    """Damage is drawn for the synthetic patches of the whole batch, wherever they are."""
    pairs, sharp = write_pairs(tmp_path), write_sharp(tmp_path / "more")
    together, *shares = (
        PatchSource(pairs, settings(synthetic_share=0.6, batch=6, sharp_share=0.3), degradation(), 0, sharp, share).batch(1)
        for share in ((0, 1), (0, 3), (1, 3), (2, 3))
    )
    assert torch.equal(torch.cat([share.sharp for share in shares]), together.sharp)
    torch.testing.assert_close(torch.cat([share.degraded.image for share in shares]), together.degraded.image, rtol=0, atol=1e-6)


def whole(images: Photographs, name: str) -> torch.Tensor:
    return torch.from_numpy(images.read(images.names.index(name)).sharp.copy()).permute(2, 0, 1)[None].float() / 255


def test_one_damage_for_each_photograph(tmp_path: Path) -> None:
    images = write_sharp(tmp_path / "a")
    shake = degradation()
    fixed = images.damaged_by(FixedDamage(shake, 0))
    assert fixed.paired
    one, again = fixed.read(0), fixed.read(0)
    assert one.degraded is not None
    np.testing.assert_array_equal(one.degraded, again.degraded)
    # The damage goes with the photograph's name, so that it is the same in a smaller set.
    subset = Photographs(layouts.find(tmp_path / "a"), channels=3, smallest=32).split(0.5, 3)[1]
    for index, name in enumerate(subset.names):
        part = subset.damaged_by(FixedDamage(shake, 0)).read(index)
        np.testing.assert_array_equal(part.degraded, fixed.read(fixed.names.index(name)).degraded)
    blurred = shake.apply(whole(images, "0"), shake.sample(1, (3, 90, 110), seeding.generator(0, "fixed", "0")))
    torch.testing.assert_close(torch.from_numpy(one.degraded).permute(2, 0, 1)[None] / 255, blurred.image, atol=0.501 / 255, rtol=0)
    assert not np.array_equal(one.degraded, images.damaged_by(FixedDamage(shake, 1)).read(0).degraded)


def test_the_same_place_looks_the_same_at_every_step_with_a_fixed_damage(tmp_path: Path) -> None:
    """Noise tells: a pixel of the photograph always has the same."""
    folder = tmp_path / "one"
    folder.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(folder / "a.png")
    images = Photographs(layouts.find(folder), channels=3, smallest=32)
    noise = degradation("core/gaussian-noise", sigma=0.05)
    for fixed in (True, False):
        source = images.damaged_by(FixedDamage(noise, 0)) if fixed else images
        patches = PatchSource(source, settings(flips=False, batch=4), None if fixed else noise, 0)
        found: dict[bytes, torch.Tensor] = {}
        equal = []
        for step in range(40):
            batch = patches.batch(step)
            for sharp, degraded in zip(batch.sharp, batch.degraded.image, strict=True):
                key = sharp.numpy().tobytes()
                if key in found:
                    equal.append(torch.equal(found[key], degraded))
                found[key] = degraded
        assert equal
        assert all(equal) if fixed else not any(equal)


def test_a_fixed_damage_cannot_have_a_mask(tmp_path: Path) -> None:
    images = write_sharp(tmp_path).damaged_by(FixedDamage(degradation("core/mask"), 0))
    with pytest.raises(TrainingError, match=r"data\.fixed_degradation: not with a degradation that marks missing pixels"):
        images.read(0)


def test_a_fixed_damage_that_changes_the_size(tmp_path: Path) -> None:
    sample = write_sharp(tmp_path, 1).damaged_by(FixedDamage(degradation("core/downscale", factor=4), 0)).read(0)
    assert sample.degraded is not None
    assert sample.sharp.shape == (88, 108, 3)
    assert sample.degraded.shape == (22, 27, 3)


@pytest.mark.parametrize("memory", [0, 100])
@pytest.mark.parametrize("kind", ["sharp", "pairs"])
def test_a_damaged_file_changes_no_other_patch(kind: str, memory: int, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    make = write_sharp if kind == "sharp" else write_pairs
    shake = degradation() if kind == "sharp" else None
    sound = PatchSource(make(folder), settings(batch=4), shake, 0)
    expected = [sound.batch(step) for step in range(5)]
    bad = folder / "2.jpg" if kind == "sharp" else folder / "degraded" / "2.png"
    damage(bad)
    listing = layouts.find(folder) if kind == "sharp" else layouts.find(folder / "sharp", degraded=folder / "degraded")

    def reopened() -> PatchSource:
        images = Photographs(listing, channels=3, smallest=32)
        images.keep(memory)
        return PatchSource(images, settings(batch=4), shake, 0)

    patches, later = reopened(), reopened()
    replaced = 0
    for step in range(5):
        batch = patches.batch(step)
        hit = [number for number in range(4) if patches.images.names[patches._chosen(4 * step + number)[1]] == "2"]
        others = [number for number in range(4) if number not in hit]
        assert_equal(batch, expected[step], others)
        assert all(not torch.equal(batch.sharp[number], expected[step].sharp[number]) for number in hit)
        replaced += len(hit)
    assert replaced >= 3
    assert list(patches.unreadable) == ["2"]
    assert str(bad) in patches.unreadable["2"]
    # What takes a place follows from seed and step, not from what has been met before.
    assert_equal(later.batch(4), patches.batch(4))


def test_a_disk_that_is_gone_ends_the_run_with_a_message(tmp_path: Path) -> None:
    images = write_sharp(tmp_path / "x")
    for file in (tmp_path / "x").iterdir():
        file.unlink()
    with pytest.raises(TrainingError, match=f"{TRIES} photographs drawn in a row cannot be read; is the disk still there"):
        PatchSource(images, settings(), degradation(), 0).batch(0)


def test_validation_takes_the_real_pairs(tmp_path: Path) -> None:
    images = write_pairs(tmp_path)
    pairs = validation_pairs(images, settings(validation_images=2), None, 0)
    assert len(pairs) == 2
    for pair, index in zip(pairs, range(2), strict=True):
        assert torch.equal(pair.sharp[0], whole(images, str(index))[0])
        torch.testing.assert_close(pair.degraded.image, 1 - pair.sharp)


@pytest.mark.parametrize("scale", [1, 2])
def test_large_validation_pairs_are_cut_from_the_middle_alike(scale: int, tmp_path: Path) -> None:
    sharp = np.random.default_rng(0).integers(0, 256, (40, 527, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)[:, :-3]
    sharp = sharp[:, : sharp.shape[1] // scale * scale]
    for side, pixels in (("sharp", sharp), ("degraded", sharp[::scale, ::scale])):
        (tmp_path / side).mkdir()
        Image.fromarray(pixels).save(tmp_path / side / "a.png")
    listing = layouts.find(tmp_path / "sharp", degraded=tmp_path / "degraded")
    (pair,) = validation_pairs(Photographs(listing, channels=3, smallest=32, scale=scale), settings(), None, 0)
    assert pair.sharp.shape == (1, 3, 80, 512)
    assert torch.equal(pair.sharp[..., ::scale, ::scale], pair.degraded.image)


def test_validation_passes_over_damaged_files_and_needs_one(tmp_path: Path) -> None:
    images = write_sharp(tmp_path / "x", 3)
    damage(tmp_path / "x" / "0.jpg")
    pairs = validation_pairs(images, settings(validation_images=2), degradation(), 0)
    assert len(pairs) == 2
    assert list(images.failures) == ["0"]
    for name in ("1", "2"):
        damage(tmp_path / "x" / f"{name}.jpg")
    images = Photographs(layouts.find(tmp_path / "x"), channels=3, smallest=32)
    with pytest.raises(TrainingError, match=r"no validation image can be read: .*0\.jpg"):
        validation_pairs(images, settings(), degradation(), 0)
