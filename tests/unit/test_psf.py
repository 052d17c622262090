"""Trajectories and point-spread functions, against formulas, scipy and kornia."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia.filters import get_motion_kernel2d

from restorekit.builtin import psf as psfs

SEEDS = st.integers(0, 2**31)


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def paths(n: int, length: float, curvature: float, jerk: float, points: int, seed: int) -> torch.Tensor:
    fill = (torch.full((n,), value) for value in (length, curvature, jerk))
    return psfs.trajectories(*fill, points, rng(seed))


def centroids(psf: torch.Tensor) -> np.ndarray:
    """Offsets (y, x) from the middle, by scipy."""
    middle = (psf.shape[-1] - 1) / 2
    return np.array([scipy.ndimage.center_of_mass(one) for one in psf.double().numpy()]) - middle


def assert_proper(psf: torch.Tensor) -> None:
    assert psf.dtype == torch.float32
    assert psf.shape[-1] == psf.shape[-2]
    assert psf.shape[-1] % 2 == 1
    assert float(psf.min()) >= 0
    np.testing.assert_allclose(psf.double().sum((1, 2)), 1, atol=1e-6)
    assert np.abs(centroids(psf)).max() < 0.01


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.floats(0, 60), st.floats(0, 20), st.floats(0, 10), st.integers(2, 300))
def test_a_trajectory_is_as_long_as_asked_and_centred(seed, length, curvature, jerk, points):
    path = paths(3, length, curvature, jerk, points, seed)
    steps = np.linalg.norm(np.diff(path.numpy(), axis=1), axis=-1)
    np.testing.assert_allclose(steps.sum(1), float(np.float32(length)), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(path.mean(1), 0, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.floats(0, 40), st.floats(0, 20), st.floats(0, 10))
def test_camera_psfs_are_centred_and_keep_the_light(seed, length, curvature, jerk):
    assert_proper(psfs.splat(paths(3, length, curvature, jerk, 128, seed), psfs.radius_for(length)))


@pytest.mark.parametrize("length", [0.0, 0.3, 1.0, 4.0, 7.9, 22.0])
@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 4, math.pi / 2, 4.0])
def test_the_longest_way_from_the_centroid_is_not_cut(length, angle):
    """Almost all the exposure at one end of a straight path, the rest at the other."""
    direction = torch.tensor([math.sin(angle), math.cos(angle)], dtype=torch.float64)
    path = torch.cat((torch.zeros(4999, 2, dtype=torch.float64), length * direction[None]))
    psf = psfs.splat((path - path.mean(0))[None], psfs.radius_for(length))
    assert_proper(psf)
    offsets = np.arange(psf.shape[-1]) - psf.shape[-1] // 2
    far = offsets[:, None] * math.sin(angle) + offsets * math.cos(angle) > length / 2
    if length >= 4:
        assert float(psf[0].numpy()[far].sum()) == pytest.approx(1 / 5000, rel=1e-3)


def test_no_length_is_no_blur():
    psf = psfs.splat(paths(2, 0.0, 3.0, 2.0, 64, 0), 3)
    expected = torch.zeros(2, 7, 7)
    expected[:, 3, 3] = 1
    torch.testing.assert_close(psf, expected)


def test_splat_is_bilinear():
    path = paths(1, 9.0, 4.0, 1.0, 40, 5)
    expected = np.zeros((19, 19))
    for y, x in path[0].numpy():
        rows = np.maximum(0, 1 - np.abs(np.arange(-9, 10) - y))
        columns = np.maximum(0, 1 - np.abs(np.arange(-9, 10) - x))
        expected += np.outer(rows, columns) / 40
    np.testing.assert_allclose(psfs.splat(path, 9)[0], expected, atol=1e-7)


@pytest.mark.parametrize("reach", [(2, 5, 4), (5,)])
def test_splat_is_linear_in_every_dimension(reach):
    path = 4 * torch.rand(1, 30, 3, dtype=torch.float64, generator=rng(3)) - 2
    radii = reach * 3 if len(reach) == 1 else reach
    expected = np.zeros([2 * radius + 1 for radius in radii])
    for place in path[0].numpy():
        weights = (np.maximum(0, 1 - np.abs(np.arange(-radius, radius + 1) - x)) for radius, x in zip(radii, place, strict=True))
        expected += np.einsum("i,j,k->ijk", *weights) / 30
    np.testing.assert_allclose(psfs.splat(path, *reach)[0], expected, atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.floats(0, 40), st.integers(2, 300))
def test_a_sway_is_as_long_as_asked_and_centred(seed, length, points):
    way = psfs.sways(torch.full((3,), length), points, rng(seed)).numpy()
    np.testing.assert_allclose(np.abs(np.diff(way, axis=1)).sum(1), float(np.float32(length)), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(way.mean(1), 0, atol=1e-9)


def test_sways_differ_and_go_both_ways():
    way = psfs.sways(torch.full((500,), 10.0), 64, rng(1)).numpy()
    assert abs((way[:, -1] > way[:, 0]).mean() - 0.5) < 0.1
    assert np.std(np.ptp(way, axis=1)) > 1


def test_curvature_is_the_spread_of_the_turn():
    path = paths(4000, 20.0, 0.3, 0.0, 200, 1).numpy()
    first, last = path[:, 1] - path[:, 0], path[:, -1] - path[:, -2]
    turn = np.angle((last[:, 1] + 1j * last[:, 0]) / (first[:, 1] + 1j * first[:, 0]))
    assert turn.std() == pytest.approx(0.3, rel=0.05)
    assert abs(turn.mean()) < 0.02


def test_jerk_is_the_expected_number_of_reversals():
    """Without curvature a path is straight unless it was reversed, and that happens in 1 - exp(-jerk) of all."""
    path = paths(4000, 20.0, 0.0, 0.7, 200, 2).numpy()
    spread = np.linalg.svd(path, compute_uv=False)[:, 1]
    assert (spread > 1e-6).mean() == pytest.approx(1 - math.exp(-0.7), abs=0.03)


def test_headings_have_no_favourite_direction():
    path = paths(4000, 20.0, 2.0, 0.0, 64, 3).numpy()
    first = path[:, 1] - path[:, 0]
    headings = np.exp(1j * np.arctan2(first[:, 0], first[:, 1]))
    assert abs(headings.mean()) < 0.05
    assert abs((headings**2).mean()) < 0.05


def test_trajectories_come_from_the_generator_alone():
    before = torch.random.get_rng_state()
    once, again, other = (paths(2, 9.0, 2.0, 1.0, 64, seed) for seed in (7, 7, 8))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert torch.equal(torch.random.get_rng_state(), before)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 30), min_size=1, max_size=4), st.floats(-400, 400))
def test_lines_are_centred_and_keep_the_light(lengths, angle):
    radius = max(math.ceil((max(lengths) - 1) / 2), 0)
    assert_proper(psfs.lines(torch.tensor(lengths), torch.full((len(lengths),), angle), radius))


@pytest.mark.parametrize("length", [0.0, 0.7, 1.0, 1.5, 2.0, 3.0, 4.4, 5.0, 8.0, 9.99])
def test_a_level_line_covers_its_length(length):
    """Each pixel gets its share of an interval of this length around the middle."""
    psf = psfs.lines(torch.tensor([length]), torch.zeros(1), 5)[0]
    half = max(length, 1) / 2
    left, right = np.arange(-5, 6) - 0.5, np.arange(-5, 6) + 0.5
    expected = np.clip(np.minimum(right, half) - np.maximum(left, -half), 0, None) / (2 * half)
    np.testing.assert_allclose(psf[5], expected, atol=2e-6)
    assert float(psf.sum() - psf[5].sum()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("angle", [0.0, 20.0, 45.0, 90.0, 160.0])
def test_lines_of_odd_length_are_kornias(angle):
    psf = psfs.lines(torch.tensor([9.0, 5.0]), torch.tensor([angle, angle]), 4)
    torch.testing.assert_close(psf[:1], get_motion_kernel2d(9, angle, mode="bilinear"))
    torch.testing.assert_close(psf[1:, 2:-2, 2:-2], get_motion_kernel2d(5, angle, mode="bilinear"))


@pytest.mark.parametrize("angle", [10.0, 30.0, 75.0, 120.0, 165.0])
def test_a_line_points_counter_clockwise(angle):
    psf = psfs.lines(torch.tensor([16.5]), torch.tensor([angle]), 9)[0].double().numpy()
    offset = np.arange(-9, 10)
    up, right = -offset[:, None], offset[None]
    second = [[(psf * right * right).sum(), (psf * right * up).sum()], [(psf * right * up).sum(), (psf * up * up).sum()]]
    axis = np.linalg.eigh(second)[1][:, -1]
    assert np.degrees(np.arctan2(axis[1], axis[0])) % 180 == pytest.approx(angle, abs=1.0)


@pytest.mark.parametrize("sigma", [0.0, 0.4, 1.0, 2.5])
def test_gaussians_are_scipys(sigma):
    delta = np.zeros((21, 21))
    delta[10, 10] = 1
    expected = scipy.ndimage.gaussian_filter(delta, sigma, radius=10) if sigma else delta
    np.testing.assert_allclose(psfs.gaussians(torch.tensor([sigma]), 10)[0], expected, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 30), min_size=1, max_size=4))
def test_disks_are_centred_and_keep_the_light(radii):
    assert_proper(psfs.disks(torch.tensor(radii), max(math.ceil(max(radii) - 0.5), 0)))


@pytest.mark.parametrize("radius", [0.5, 0.8, 1.0, 2.3, 5.0, 11.7])
def test_a_pixel_of_a_disk_has_the_share_of_its_area_inside(radius):
    reach = max(math.ceil(radius - 0.5), 0)
    fine = (np.arange(64 * (2 * reach + 1)) + 0.5) / 64 - reach - 0.5
    inside = np.hypot(fine[:, None], fine) <= radius
    expected = inside.reshape(2 * reach + 1, 64, 2 * reach + 1, 64).mean((1, 3)) / (math.pi * radius**2)
    expected /= expected.sum()
    np.testing.assert_allclose(psfs.disks(torch.tensor([radius]), reach)[0], expected, atol=0.01 * expected.max())


def test_compose_is_the_full_convolution():
    one, two = (psfs.splat(paths(3, length, 3.0, 1.0, 64, 4), radius) for length, radius in ((4.0, 4), (7.0, 7)))
    three = psfs.gaussians(torch.tensor([0.5, 1.0, 1.5]), 3)
    total = psfs.compose([one, two, three])
    assert total.shape == (3, 29, 29)
    for i in range(3):
        expected = scipy.signal.convolve2d(scipy.signal.convolve2d(one[i], two[i]), three[i])
        np.testing.assert_allclose(total[i], expected, atol=1e-6)


def test_trim_cuts_the_frame_that_is_empty_in_the_whole_batch():
    psf = torch.zeros(2, 9, 9)
    psf[0, 4, 4] = 1
    psf[1, 4, 6] = 0.5
    psf[1, 4, 2] = 0.5
    torch.testing.assert_close(psfs.trim(psf), psf[:, 2:-2, 2:-2])
    assert psfs.trim(psf[:1]).shape == (1, 1, 1)
    assert psfs.trim(torch.zeros(1, 5, 5)).shape == (1, 1, 1)
