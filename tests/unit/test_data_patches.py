"""Patches: the place is drawn once for both sides, and colours change alike."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given
from hypothesis import strategies as st

import restorekit as rk
from restorekit import seeding
from restorekit.engine.patches import Colours, Place, cut, draw_colours, draw_place, recolour

CAT = skimage.data.chelsea()


def test_a_cut_is_a_slice_turned() -> None:
    patch = cut(CAT, Place(10, 20, 32, turns=1, mirrored=True), side=32)
    np.testing.assert_array_equal(patch.numpy(), np.rot90(CAT[10:42, 20:52])[:, ::-1])


def test_a_margin_is_real_inside_and_mirrored_outside() -> None:
    padded = np.pad(CAT, ((5, 5), (5, 5), (0, 0)), mode="reflect")
    for place in (Place(0, 0, 32), Place(CAT.shape[0] - 32, CAT.shape[1] - 32, 32), Place(50, 60, 32)):
        expected = padded[place.top : place.top + 42, place.left : place.left + 42]
        np.testing.assert_array_equal(cut(CAT, place, side=32, margin=5).numpy(), expected)


@given(st.integers(0, 10_000), st.sampled_from([1, 2, 4]), st.integers(32, 60), st.integers(32, 60), st.floats(0.3, 1), st.booleans())
def test_every_place_lies_in_the_photograph(seed: int, multiple: int, height: int, width: int, low: float, flips: bool) -> None:
    size = (height // multiple * multiple, width // multiple * multiple)
    place = draw_place(size, 32, zoom=(low, 1.0), flips=flips, rng=seeding.generator(seed), multiple_of=multiple)
    assert all(value % multiple == 0 for value in (place.top, place.left, place.crop))
    assert 0 <= place.top <= size[0] - place.crop
    assert 0 <= place.left <= size[1] - place.crop
    assert 32 // multiple * multiple <= place.crop <= min(size)
    assert flips or (place.turns, place.mirrored) == (0, False)


def test_every_place_and_turn_comes_up() -> None:
    drawn = [draw_place((10, 9), 8, zoom=(1, 1), flips=True, rng=seeding.generator(seed)) for seed in range(600)]
    assert {(p.top, p.left) for p in drawn} == {(top, left) for top in range(3) for left in range(2)}
    assert {(p.turns, p.mirrored) for p in drawn} == {(turns, mirrored) for turns in range(4) for mirrored in (False, True)}


@pytest.mark.parametrize("zoom", [1.0, 0.5])
def test_both_sides_show_the_same_place(zoom: float) -> None:
    """The small side is every second pixel of blocks of equal pixels, so that it can be compared exactly at full scale."""
    small = CAT[:100, :120]
    large = small.repeat(2, 0).repeat(2, 1)
    for seed in range(20):
        place = draw_place(large.shape, 32, zoom=(zoom, zoom), flips=True, rng=seeding.generator(seed), multiple_of=2)
        sharp = cut(large, place, side=32)
        degraded = cut(small, place, side=16, scale=2)
        if zoom == 1:
            assert torch.equal(sharp[::2, ::2], degraded)
        else:
            mean = sharp.float().unflatten(0, (16, 2)).unflatten(2, (16, 2)).mean((1, 3))
            assert float((mean - degraded.float()).abs().mean()) < 3


def test_no_strength_changes_nothing() -> None:
    colours = draw_colours(0.0, 3, seeding.generator(0))
    torch.testing.assert_close(colours.matrix, torch.eye(3))
    image = torch.rand(1, 3, 8, 8, generator=seeding.generator(1))
    torch.testing.assert_close(recolour(image, [colours]), image)


def test_colour_changes_commute_with_blur() -> None:
    shake = rk.registry().create("degradation", "core/camera-shake")
    image = 0.3 + 0.4 * torch.from_numpy(CAT[:96, :96].copy()).permute(2, 0, 1)[None].float() / 255
    params = shake.sample(1, (3, 96, 96), seeding.generator(0))
    for seed in range(5):
        colours = [draw_colours(0.2, 3, seeding.generator(seed))]
        torch.testing.assert_close(
            recolour(shake.apply(image, params).image, colours), shake.apply(recolour(image, colours), params).image, atol=2e-6, rtol=0
        )


def test_grey_stays_grey_and_saturation_and_hue_leave_it_alone() -> None:
    grey = torch.full((1, 3, 2, 2), 0.5)
    for seed in range(10):
        colours = draw_colours(0.4, 3, seeding.generator(seed))
        result = recolour(grey, [colours])
        assert float((result - result.mean()).abs().max()) < 1e-6
        alone = recolour(grey[:, :1], [draw_colours(0.4, 1, seeding.generator(seed))])
        torch.testing.assert_close(alone[0, 0], result[0, 0])


def test_the_hue_turns_as_far_as_it_says() -> None:
    """Near grey a turn about the grey axis is a turn of the hue of HSV, up to the hexagon that HSV makes of the circle."""
    colour = torch.tensor([0.55, 0.5, 0.5]).view(1, 3, 1, 1)
    for seed in range(20):
        rng = seeding.generator(seed)
        *_, hue = (0.5 * (2 * torch.rand(4, dtype=torch.float64, generator=rng) - 1)).tolist()
        red, green, blue = recolour(colour, [draw_colours(0.5, 3, seeding.generator(seed))]).flatten().tolist()
        turned = (360 * colorsys.rgb_to_hsv(red, green, blue)[0] + 180) % 360 - 180
        assert turned == pytest.approx(90 * hue, abs=1.5)


def test_brightness_contrast_and_saturation_reach_as_far_as_they_say() -> None:
    drawn = [draw_colours(0.3, 3, seeding.generator(seed)) for seed in range(300)]
    offsets = torch.stack([2 * c.offset[0] for c in drawn])
    assert 0.27 < float(offsets.max()) <= 0.3
    assert -0.3 <= float(offsets.min()) < -0.27
    sums = torch.stack([c.matrix.sum(1).mean() for c in drawn])
    assert float(sums.min()) >= 0.49
    assert float(sums.max()) <= 1.69 + 1e-6
    assert float(sums.max()) > 1.4


def test_results_stay_within_bounds() -> None:
    bright = Colours(2 * torch.eye(3), torch.zeros(3))
    assert float(recolour(torch.full((1, 3, 2, 2), 0.9), [bright]).max()) == 1.0
