"""Wiener deconvolution that tunes itself: to the least cross-validated error, near the best that could have been chosen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve
from torch import Tensor

from restorekit import photos
from restorekit.builtin import convolution
from restorekit.builtin.deconvolution import Wiener, periodic_frame
from restorekit.builtin.tuned_wiener import BALANCES, TunedWiener, _cross_validated, _framed, _gradient_power
from restorekit.images import Degraded


def lopsided(size: int = 9) -> np.ndarray:
    psf = np.zeros((size, size))
    psf[size // 2, 1 : size - 1] = np.linspace(1, 2, size - 2)
    psf[1 : size // 2, size - 3] = 0.5
    return psf / psf.sum()


def blurred(sigma: float) -> tuple[Tensor, Degraded]:
    """The middle of a photograph, and its blurred version, whose border comes from the photograph."""
    pixels = photos.bundled_photo("coffee").image[0, :, 100:240, 150:330].double().numpy()
    psf = lopsided()
    soft = np.stack([fftconvolve(channel, psf, "valid") for channel in pixels])
    soft += np.random.default_rng(1).normal(0, sigma, soft.shape)
    sharp = torch.from_numpy(pixels[:, 4:-4, 4:-4]).float()[None]
    return sharp, Degraded(torch.from_numpy(soft.clip(0, 1)).float()[None], params={"psf": torch.from_numpy(psf).float()[None]})


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * torch.log10((a - b).double().square().mean()))


@pytest.mark.parametrize("size", [(8, 9), (9, 10)])
def test_the_balance_is_that_of_cross_validation_by_definition(size: tuple[int, int]) -> None:
    """|y - A y|² / trace(I - A)², with A as a matrix: one column for each pixel."""
    rng = np.random.default_rng(3)
    psf = lopsided(5)
    smooth_pictures = gaussian_filter(rng.random((2, 3, *size)), (0, 0, 1.5, 1.5), mode="wrap")
    images = smooth_pictures + np.array([0.001, 0.02]).reshape(2, 1, 1, 1) * rng.normal(size=smooth_pictures.shape)
    wide = np.zeros(size)
    wide[:5, :5] = psf
    transfer = np.fft.fft2(np.roll(wide, (-2, -2), (0, 1)))
    edges = np.zeros(size)
    edges[0, 0] = 4
    for place in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        edges[place] -= 1
    rough = np.fft.fft2(edges).real ** 1.5
    wanted = []
    for image in images:
        scores = []
        for balance in BALANCES:
            smooth = np.abs(transfer) ** 2 / (np.abs(transfer) ** 2 + balance * rough)
            units = np.eye(size[0] * size[1]).reshape(-1, *size)
            predict = np.fft.ifft2(np.fft.fft2(units) * smooth).real.reshape(len(units), -1).T
            left = np.eye(len(units)) - predict
            misfit = sum(np.sum((left @ channel.ravel()) ** 2) for channel in image)
            scores.append(misfit / np.trace(left) ** 2)
        wanted.append(BALANCES[int(np.argmin(scores))])
    tensor = torch.from_numpy(images).float()
    power = convolution.transfer(torch.from_numpy(psf).float()[None], size).abs().square().expand(2, -1, -1)
    found = _cross_validated(torch.fft.rfft2(tensor), power, _gradient_power(size, tensor.device) ** 1.5, size)
    assert found.tolist() == pytest.approx(wanted)
    assert BALANCES[0] < wanted[0] < wanted[1] < BALANCES[-1]  # more noise, more smoothness, inside the range that is tried


def test_the_frame_is_that_of_the_other_methods() -> None:
    rng = np.random.default_rng(0)
    plane, psf = rng.random((31, 44)), np.zeros((9, 13))
    framed = _framed(_framed(torch.from_numpy(plane)[None, None], -2, 9), -1, 13)[0, 0].numpy()
    expected, (rows, columns) = periodic_frame(plane, psf)
    np.testing.assert_allclose(np.roll(framed, (rows.start, columns.start), (0, 1)), expected, atol=1e-7)


@pytest.mark.parametrize("sigma", [0.003, 0.01, 0.03])
def test_it_comes_near_the_best_fixed_balance_whatever_the_noise(sigma: float) -> None:
    sharp, degraded = blurred(sigma)
    found = psnr(TunedWiener().restore(degraded), sharp)
    best = max(psnr(Wiener(balance=10**e).restore(degraded), sharp) for e in np.arange(-4, 0, 0.25))
    assert found > best - 0.4
    assert found > psnr(degraded.image, sharp) + 1


def test_each_image_of_a_batch_is_tuned_alone() -> None:
    (_, one), (_, other) = blurred(0.003), blurred(0.05)
    batch = Degraded(torch.cat([one.image, other.image]), params={"psf": one.params["psf"].expand(2, -1, -1)})
    together = TunedWiener().restore(batch)
    for i, alone in enumerate((one, other)):
        torch.testing.assert_close(together[i : i + 1], TunedWiener().restore(alone), atol=2e-6, rtol=0)
