"""Convolution with a PSF per image, and with one that turns with the place, against scipy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from restorekit.builtin import convolution
from restorekit.builtin.convolution import DIRECT_UP_TO, STRIPS, convolve, convolve_turning, mirror

SIDES = st.integers(-3, 40)


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def reference(image: torch.Tensor, psf: torch.Tensor) -> np.ndarray:
    """True convolution of each channel of ``(C, H, W)`` with ``(h, w)``."""
    return np.stack([scipy.ndimage.convolve(plane.double().numpy(), psf.double().numpy(), mode="mirror") for plane in image])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 20), st.integers(0, 20), st.floats(0, 1), st.integers(0, 1000))
def test_any_image_and_any_psf_wherever_it_is_zero(height, width, down, right, share, seed):
    image = torch.rand(2, 3, height, width, generator=rng(seed))
    psf = torch.rand(2, 2 * down + 1, 2 * right + 1, generator=rng(seed + 1))
    psf[torch.rand(psf.shape, generator=rng(seed + 2)) < share] = 0
    psf /= psf.sum((1, 2), keepdim=True).clamp(min=1e-3)
    result = convolve(image, psf)
    for i in range(2):
        np.testing.assert_allclose(result[i], reference(image[i], psf[i]), atol=2e-6)


@pytest.mark.parametrize("size", [3, 15, 21, 41])
def test_both_ways_of_filtering_agree_with_float64(size):
    image = torch.rand(3, 50, 61, generator=rng(0))
    kernel = torch.rand(size, size, generator=rng(1))
    kernel /= kernel.sum()
    reach = (size // 2,) * 4
    for filtering in (convolution._directly, convolution._by_fft):
        np.testing.assert_allclose(filtering(image, kernel, reach), reference(image, kernel), atol=2e-6)


def test_the_area_of_the_psf_decides_which_way(monkeypatch):
    ways = []
    for name in ("_directly", "_by_fft"):
        way = getattr(convolution, name)
        monkeypatch.setattr(convolution, name, lambda *given, way=way, name=name: (ways.append(name), way(*given))[1])
    psf = torch.zeros(3, 61, 61)
    psf[0, 30, 30] = 1
    psf[1, 5:15, 42:61] = 1 / 190  # a small rectangle far from the middle
    psf[2, 23:38, 23:38] = 1 / 225
    assert 190 <= DIRECT_UP_TO < 225
    image = torch.rand(3, 1, 30, 40, generator=rng(0))
    result = convolve(image, psf)
    assert ways == ["_directly", "_directly", "_by_fft"]
    for i in range(3):
        np.testing.assert_allclose(result[i], reference(image[i], psf[i]), atol=2e-6)


def test_an_image_gets_the_same_bits_in_any_batch():
    image = torch.rand(5, 3, 33, 47, generator=rng(0))
    psf = torch.rand(5, 13, 13, generator=rng(1))
    psf[1, :, :6] = 0
    psf[2, 2:] = 0
    together = convolve(image, psf)
    for i in range(5):
        assert torch.equal(convolve(image[i : i + 1], psf[i : i + 1])[0], together[i])


def test_a_single_point_changes_nothing():
    image = torch.rand(1, 3, STRIPS - 3, 9, generator=rng(0))
    psf = torch.zeros(1, 5, 5)
    psf[:, 2, 2] = 1
    assert torch.equal(convolve(image, psf), image)


@settings(max_examples=100, deadline=None)
@given(st.integers(4, 9), st.integers(4, 9), SIDES, SIDES, SIDES, SIDES)
def test_mirroring_is_numpys_and_negative_sides_are_cut(height, width, top, bottom, left, right):
    if height + top + bottom < 1 or width + left + right < 1:
        return
    image = torch.arange(2.0 * height * width).view(2, height, width)
    wide = np.pad(image.numpy(), ((0, 0), (40, 40), (40, 40)), mode="reflect")
    expected = wide[:, 40 - top : 40 + height + bottom, 40 - left : 40 + width + right]
    assert np.array_equal(mirror(image, (top, bottom, left, right)), expected)


def test_one_row_is_repeated():
    assert torch.equal(mirror(torch.ones(1, 1, 1), (2, 3, 0, 1)), torch.ones(1, 6, 2))


# Turning.


def turning(n: int, angles: int, reach: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    motion = torch.rand(n, angles, 2 * reach + 1, 2 * reach + 1, generator=rng(seed))
    motion[:, 1] = 0
    return motion / motion.sum((1, 2, 3), keepdim=True), 6 * torch.rand(n, angles, generator=rng(seed + 1)) - 3


def test_turning_is_the_average_of_what_a_sensor_would_see_at_each_moment():
    image = torch.rand(2, 3, 60, 81, generator=rng(3))
    motion, angle = turning(2, 4, 2, 4)
    result = convolve_turning(image, motion, angle)
    y, x = np.mgrid[:60, :81].astype(float)
    inner = (slice(None), slice(8, -8), slice(8, -8))
    for i in range(2):
        expected = np.zeros((3, 60, 81))
        for k in range(4):
            theta = np.deg2rad(float(angle[i, k]))
            # counter-clockwise as it is shown: what is right of the middle goes up
            from_y, from_x = y + theta * (x - 40), x - theta * (y - 29.5)
            for down in range(-2, 3):
                for right in range(-2, 3):
                    share = float(motion[i, k, down + 2, right + 2])
                    for c in range(3):
                        at = scipy.ndimage.map_coordinates(image[i, c].double().numpy(), [from_y - down, from_x - right], order=1)
                        expected[c] += share * at
        np.testing.assert_allclose(result[i].numpy()[inner], expected[inner], atol=2e-6)


def test_turning_leaves_an_even_image_even():
    motion, angle = turning(3, 5, 4, 7)
    for size in ((1, 1), (1, 9), (2, 3), (30, 41)):
        np.testing.assert_allclose(convolve_turning(torch.full((3, 2, *size), 0.7), motion, angle), 0.7, atol=1e-6)


def test_an_angle_of_zero_is_plain_convolution():
    image = torch.rand(2, 3, 20, 30, generator=rng(0))
    motion = torch.rand(2, 1, 7, 7, generator=rng(1))
    motion /= motion.sum((2, 3), keepdim=True)
    torch.testing.assert_close(convolve_turning(image, motion, torch.zeros(2, 1)), convolve(image, motion[:, 0]), atol=1e-5, rtol=0)
