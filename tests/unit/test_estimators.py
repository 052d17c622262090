"""PSF estimation: known blurs are found again, sharp pictures stay sharp, and every size goes through."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import restorekit as rk
from restorekit import photos, seeding
from restorekit.builtin.blind import BlindDeconvolution
from restorekit.builtin.deconvolution import Wiener
from restorekit.builtin.estimators import L0Estimator, sparse_deconvolution
from restorekit.builtin.restorers import Identity
from restorekit.errors import UserError
from restorekit.images import Degraded


def _shaken(name: str, length: float, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A photograph inside scikit-image, the same shaken, and the PSF."""
    sharp = photos.bundled_photo(name).image[..., :320, :400]
    shake = rk.registry().create("degradation", "core/camera-shake", length=length)
    params = shake.sample(1, tuple(sharp.shape[1:]), seeding.generator("estimate", seed))
    noisy = shake.apply(sharp, params).image + 0.01 * torch.randn(sharp.shape, generator=seeding.generator("noise", seed))
    return sharp, noisy.clamp(0, 1), params["psf"]


def _distance(found: torch.Tensor, true: torch.Tensor) -> float:
    """Share of the light that is somewhere else, both PSFs blurred by half a pixel."""
    size = max(found.shape[-1], true.shape[-1])
    both = [torch.nn.functional.pad(psf, ((size - psf.shape[-1]) // 2,) * 4) for psf in (found, true)]
    smooth = [ndimage.gaussian_filter(psf[0].numpy(), 0.5) for psf in both]
    return float(np.abs(smooth[0] - smooth[1]).sum() / 2)


@pytest.mark.parametrize(("name", "length"), [("astronaut", 10.0), ("astronaut", 20.0), ("coffee", 15.0), ("motorcycle_left", 15.0)])
def test_a_known_shake_is_found(name: str, length: float) -> None:
    """At least two thirds of the light where it belongs; the dot that knows nothing has most of it elsewhere."""
    _, blurred, psf = _shaken(name, length, 3)
    found = L0Estimator()(blurred)
    dot = torch.zeros(1, 31, 31)
    dot[:, 15, 15] = 1
    assert _distance(found, psf) < 1 / 3 < _distance(dot, psf)


def test_blind_wiener_restores_nearly_as_much_as_the_true_psf() -> None:
    """On a picture with edges."""
    sharp, blurred, psf = _shaken("astronaut", 15.0, 5)
    metric = rk.registry().create("metric", "core/psnr")
    blind = BlindDeconvolution(psf=L0Estimator(), restorer=Wiener()).restore(Degraded(blurred))
    knowing = Wiener().restore(Degraded(blurred, params={"psf": psf}))
    gained, possible = (float(metric(made, sharp) - metric(blurred, sharp)) for made in (blind, knowing))
    assert gained > 0.6 * possible > 1.5


def test_a_sharp_picture_has_almost_no_blur() -> None:
    """Nine tenths of the light stay within a pixel of the middle."""
    found = L0Estimator()(photos.bundled_photo("astronaut").image)
    assert float(found[:, 14:17, 14:17].sum()) > 0.9


@given(height=st.integers(20, 90), width=st.integers(20, 90), size=st.sampled_from([5, 9, 31]))
@settings(max_examples=15, deadline=None)
def test_any_size_of_picture(height: int, width: int, size: int) -> None:
    """A PSF of the asked size, whatever the picture's."""
    image = torch.rand(1, 3, height, width, generator=seeding.generator("any", height, width))
    found = L0Estimator(size=size, rounds=1)(image)
    assert found.shape == (1, size, size)
    assert math.isclose(float(found.sum()), 1, abs_tol=1e-4)


def test_only_the_window_with_the_strongest_gradients_is_looked_at() -> None:
    """What is faint and elsewhere changes nothing, and the size of the whole does not matter."""
    _, blurred, _ = _shaken("astronaut", 10.0, 1)
    large = torch.full((1, 3, 500, 430), 0.5)
    large[..., 90:290, 170:370] = blurred[..., :200, 40:240]
    estimator = L0Estimator(window=220, rounds=2)
    alone = estimator(large)
    large[..., 400:, :100] += 0.01 * torch.rand(100, 100, generator=seeding.generator("faint"))
    assert torch.equal(estimator(large), alone)
    assert _distance(alone, L0Estimator(window=512, rounds=2)(large)) > 0


def test_sparse_deconvolution_is_the_filter_where_nothing_is_an_edge() -> None:
    """With a weight so large that no gradient survives, the solution of its quadratic problem is known in closed form."""
    blurred = 0.5 + 0.1 * torch.rand(1, 16, 20, generator=seeding.generator("closed form"))
    dot = torch.zeros(1, 5, 5)
    dot[:, 2, 2] = 1
    found = sparse_deconvolution(blurred, dot, 1e4)
    y = np.fft.fft2(blurred[0].double().numpy())
    down, across = np.fft.fftfreq(16)[:, None], np.fft.fftfreq(20)[None]
    edges = 4 - 2 * np.cos(2 * np.pi * down) - 2 * np.cos(2 * np.pi * across)
    weight = 2e4 * 4  # the second and last weight below its limit
    np.testing.assert_allclose(found[0].numpy(), np.fft.ifft2(y / (1 + weight * edges)).real, atol=1e-5)


def test_mistakes_are_explained() -> None:
    """An even size, and a restorer that uses no PSF."""
    registry = rk.registry()
    with pytest.raises(UserError, match="odd"):
        registry.create("estimator", "core/l0", size=8)
    with pytest.raises(ValueError, match="does not use a PSF"):
        BlindDeconvolution(psf=L0Estimator(), restorer=Identity())
