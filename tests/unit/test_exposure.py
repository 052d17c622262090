"""The sRGB curve, shot noise and over-exposure, against their formulas in float64 and scipy."""

from __future__ import annotations

import kornia.color
import numpy as np
import pytest
import scipy.special
import scipy.stats
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from restorekit.builtin.degradations import PoissonNoise, Saturation
from restorekit.builtin.light import decode, encode, lift

CODES = np.concatenate((np.linspace(0, 1, 4096), [0.04045, 0.0031308]))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photo(size: int = 96) -> torch.Tensor:
    pixels = skimage.data.astronaut()[100 : 100 + size, 160 : 160 + size]
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def linear(image: np.ndarray) -> np.ndarray:
    return np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)


def coded(light: np.ndarray) -> np.ndarray:
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


# The curve.


def test_the_curve_is_the_standards():
    values = torch.from_numpy(CODES).float()
    np.testing.assert_allclose(decode(values), linear(values.double().numpy()), atol=4e-7)
    np.testing.assert_allclose(encode(values), coded(values.double().numpy()), atol=4e-7)
    np.testing.assert_allclose(encode(decode(values)), values, atol=4e-7)


def test_the_curve_is_kornias():
    torch.testing.assert_close(decode(photo()), kornia.color.rgb_to_linear_rgb(photo()), atol=1e-6, rtol=0)
    torch.testing.assert_close(encode(photo()), kornia.color.linear_rgb_to_rgb(photo()), atol=1e-6, rtol=0)


def test_light_outside_is_clipped():
    seen = encode(torch.tensor([-0.5, -1e-9, 0.0, 1.0, 1.5, 80.0]))
    assert float(seen.max()) <= 1
    np.testing.assert_allclose(seen, [0, 0, 0, 1, 1, 1], atol=1e-7)


def test_lift_is_one_at_the_threshold_and_the_factor_at_white():
    image = torch.tensor([0.0, 0.5, 0.8, 0.9, 1.0]).view(1, 1, 1, 5).repeat(2, 1, 1, 1)
    light = decode(image)
    factors = (lift(light, image, torch.tensor([3.0, 1.0]), 0.8) / light.clamp(min=1e-9))[:, 0, 0, 1:]
    np.testing.assert_allclose(factors, [[1, 1, 2, 3], [1, 1, 1, 1]], rtol=1e-5)


# Shot noise.


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 2000), st.integers(0, 2**31))
def test_counts_are_poissons_quantiles(mean, seed):
    """Scipy's, but for a few in a thousand that are off by one."""
    part = PoissonNoise(photons=max(mean, 1e-3), light="encoded")
    image = torch.linspace(0, 1, 40).expand(1, 1, 50, 40).contiguous()
    params = part.sample(1, (1, 50, 40), rng(seed))
    photons = float(params["photons"])
    seen = part.apply(image, params).image[0, 0].double().numpy() * photons
    probability = scipy.special.ndtr(params["noise"][0, 0].double().numpy())
    expected = scipy.stats.poisson.ppf(probability, image[0, 0].double().numpy() * photons).clip(0, photons)
    difference = np.abs(seen - expected)
    assert difference.max() < 1.001
    assert (difference > 1e-3 * max(photons, 1)).mean() < 0.01


@pytest.mark.parametrize("mean", [0.2, 3.0, 7.0, 60.0])
def test_counts_have_poissons_distribution(mean):
    part = PoissonNoise(photons=200.0, light="encoded")
    image = torch.full((1, 1, 300, 300), mean / 200)
    counts = (part.apply(image, part.sample(1, (1, 300, 300), rng(4))).image * 200).round().long().flatten()
    seen = torch.bincount(counts, minlength=400)[:400].double().numpy()
    expected = scipy.stats.poisson.pmf(np.arange(400), mean) * counts.numel()
    often = expected > 8
    assert scipy.stats.chisquare(seen[often], expected[often] * seen[often].sum() / expected[often].sum()).pvalue > 1e-3
    assert float(counts.double().mean()) == pytest.approx(mean, abs=4 * (mean / counts.numel()) ** 0.5)
    assert float(counts.double().var()) == pytest.approx(mean, rel=0.03)


def test_photons_are_counted_in_linear_light():
    image = photo(48)
    part = PoissonNoise(photons=(40.0, 400.0))
    params = part.sample(2, (3, 48, 48), rng(2))
    result = part.apply(image.repeat(2, 1, 1, 1), params).image
    for i in range(2):
        photons = params["photons"][i].double().numpy()
        probability = scipy.special.ndtr(params["noise"][i].double().numpy())
        counts = scipy.stats.poisson.ppf(probability, linear(image[0].double().numpy()) * photons)
        assert (np.abs(result[i].double().numpy() - coded(counts / photons)) > 1e-5).mean() < 0.005


def test_more_photons_are_less_noise_and_the_light_stays():
    image = photo().repeat(16, 1, 1, 1) * 0.7
    errors = []
    for photons in (20.0, 200.0, 2000.0, 2e5):
        part = PoissonNoise(photons=photons)
        result = part.apply(image, part.sample(16, (3, 96, 96), rng(1))).image
        errors.append(float((result - image).square().mean()))
        assert float(decode(result).mean() / decode(image).mean()) == pytest.approx(1, abs=0.01)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-5


def test_black_stays_black():
    part = PoissonNoise(photons=5.0)
    assert not part.apply(torch.zeros(1, 3, 9, 9), part.sample(1, (3, 9, 9), rng())).image.any()


# Over-exposure.


@pytest.mark.parametrize("pull_back", [True, False])
def test_light_is_multiplied_and_clipped(pull_back):
    part = Saturation(stops=(0.5, 3.0), pull_back=pull_back)
    image = photo(48).repeat(3, 1, 1, 1)
    result = part.apply(image, part.sample(3, (3, 48, 48), rng(3)))
    stops = result.params["stops"].double().numpy()
    assert len(set(stops)) == 3
    for i in range(3):
        light = np.minimum(linear(image[i].double().numpy()) * 2 ** stops[i], 1)
        np.testing.assert_allclose(result.image[i], coded(light / 2 ** stops[i] if pull_back else light), atol=2e-6)


def test_pulled_back_only_highlights_are_lost():
    part = Saturation(stops=1.0)
    result = part.apply(photo(), part.sample(1, (3, 96, 96), rng())).image
    lost = decode(photo()) > 0.5
    assert 0.05 < float(lost.float().mean()) < 0.9
    np.testing.assert_allclose(result[~lost], photo()[~lost], atol=1e-6)
    np.testing.assert_allclose(result[lost], float(coded(np.array(0.5))), atol=1e-6)


@pytest.mark.parametrize("pull_back", [True, False])
def test_no_stops_leave_the_image(pull_back):
    part = Saturation(stops=0.0, pull_back=pull_back)
    torch.testing.assert_close(part.apply(photo(), part.sample(1, (3, 96, 96), rng())).image, photo(), atol=1e-6, rtol=0)
