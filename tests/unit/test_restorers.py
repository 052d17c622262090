"""Classical restorers: registered, at home with real borders, never worse than scikit-image called straight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import fftconvolve
from skimage import restoration as skimage
from torch import Tensor

import restorekit as rk
from restorekit import photos
from restorekit.builtin.deconvolution import Deconvolution, RichardsonLucy, UnsupervisedWiener, Wiener, fading_frame, periodic_frame
from restorekit.builtin.restorers import BiharmonicInpaint, NlmDenoise, TvDenoise, noise_level
from restorekit.errors import ConfigError, ImageError
from restorekit.images import Degraded
from restorekit.restoration import restore

DATA = Path(__file__).parents[2] / "../shared/data"
NON_BLIND = (Wiener, UnsupervisedWiener, RichardsonLucy)


def hook_kernel(size: int = 9) -> np.ndarray:
    """A lopsided shake: a flipped or shifted kernel is another one. Its centroid is in the middle."""
    psf = np.zeros((size, size))
    for t in np.linspace(0, 1, 200):
        psf[round(2 + (size - 5) * t**2), round(2 + (size - 5) * t)] += 1 + t
    rows, columns = (np.average(np.arange(size), weights=psf.sum(axis)) for axis in (1, 0))
    psf = np.roll(psf, (round(size // 2 - rows), round(size // 2 - columns)), (0, 1))
    return psf / psf.sum()


def blurred(sharp: Tensor, psf: np.ndarray, sigma: float = 0.01) -> tuple[Tensor, Degraded]:
    """The middle of a photograph and its blurred version, whose border comes from the photograph and not from a rule."""
    rng = np.random.default_rng(3)
    pixels = sharp[0].double().numpy()
    soft = np.stack([fftconvolve(channel, psf, "valid") for channel in pixels])
    soft = np.clip(soft + rng.normal(0, sigma, soft.shape), 0, 1)
    (top, left), (h, w) = (n // 2 for n in psf.shape), soft.shape[-2:]
    psf_tensor = torch.from_numpy(psf).float()[None]
    return sharp[..., top : top + h, left : left + w], Degraded(torch.from_numpy(soft).float()[None], params={"psf": psf_tensor})


def psnr(a: Tensor, b: Tensor) -> float:
    error = (a.clamp(0, 1).mul(255).round() - b.clamp(0, 1).mul(255).round()).double().square().mean()
    return float(10 * torch.log10(255**2 / error))


def gain(restored: Tensor, sharp: Tensor, degraded: Degraded) -> float:
    return psnr(restored, sharp) - psnr(degraded.image, sharp)


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return photos.bundled_photo("coffee").image[..., 100:300, 150:390]


# deconvolution


@pytest.mark.parametrize("method", NON_BLIND)
def test_deconvolution_gains_at_real_borders_where_scikit_image_alone_does_not(photo: Tensor, method: type[Deconvolution]) -> None:
    sharp, degraded = blurred(photo, hook_kernel())
    restorer = method()
    psf = degraded.params["psf"][0].double().numpy()
    straight = torch.stack([torch.from_numpy(restorer.deconvolve(channel.double().numpy(), psf)) for channel in degraded.image[0]])[None]
    ours = gain(restore(restorer, degraded), sharp, degraded)
    assert ours > 3
    assert ours > gain(straight, sharp, degraded) + 2


@pytest.mark.parametrize("method", NON_BLIND)
def test_deconvolution_is_registered(photo: Tensor, method: type[Deconvolution]) -> None:
    sharp, degraded = blurred(photo, hook_kernel())
    restored = restore(method(), degraded)
    inner = (..., slice(20, -20), slice(20, -20))
    errors = {
        (dy, dx): float((restored.roll((dy, dx), (-2, -1))[inner] - sharp[inner]).square().mean()) for dy in (-1, 0, 1) for dx in (-1, 0, 1)
    }
    assert min(errors, key=errors.__getitem__) == (0, 0)


@pytest.mark.parametrize("method", NON_BLIND)
def test_the_psf_is_that_of_a_convolution_not_a_correlation(photo: Tensor, method: type[Deconvolution]) -> None:
    sharp, degraded = blurred(photo, hook_kernel())
    turned = Degraded(degraded.image, params={"psf": degraded.params["psf"].flip(1, 2)})
    assert gain(restore(method(), degraded), sharp, degraded) > gain(restore(method(), turned), sharp, degraded) + 3


@pytest.mark.parametrize("method", NON_BLIND)
def test_a_grey_area_stays_grey(method: type[Deconvolution]) -> None:
    image = torch.full((1, 1, 60, 80), 0.4)
    psf = torch.from_numpy(hook_kernel()).float()[None]
    restored = restore(
        method(), Degraded(image + torch.rand(image.shape, generator=torch.Generator().manual_seed(0)) * 1e-4, params={"psf": psf})
    )
    torch.testing.assert_close(restored, image, atol=1e-2, rtol=0)


def test_richardson_lucy_leaves_an_unblurred_image_alone(photo: Tensor) -> None:
    sharp = photo[..., :48, :64]
    identity = torch.zeros(1, 5, 5)
    identity[0, 2, 2] = 1
    torch.testing.assert_close(restore(RichardsonLucy(iterations=20), Degraded(sharp, params={"psf": identity})), sharp, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("iterations", "floor"), [(10, 0.0), (30, 0.0), (10, 0.05)])
def test_richardson_lucy_agrees_with_scikit_image(photo: Tensor, iterations: int, floor: float) -> None:
    _, degraded = blurred(photo, hook_kernel())
    plane, psf = (value[0].double().numpy() for value in (degraded.image[:, 0], degraded.params["psf"]))
    plane[:40, :60] = 0  # black, where nothing may be divided by
    expected = skimage.richardson_lucy(plane, psf, iterations, clip=False, filter_epsilon=floor or None)
    np.testing.assert_allclose(RichardsonLucy(iterations=iterations, floor=floor).deconvolve(plane, psf), expected, atol=2e-5)


def test_wiener_on_a_periodic_image_agrees_with_its_formula() -> None:
    """H* / (|H|² + λ|L|²) in float64, L the discrete Laplacian; on a periodic image no frame is needed."""
    rng = np.random.default_rng(0)
    plane, psf = rng.random((32, 48)), hook_kernel(7)

    def transfer(kernel: np.ndarray) -> np.ndarray:
        wide = np.zeros(plane.shape)
        wide[: kernel.shape[0], : kernel.shape[1]] = kernel
        return np.fft.fft2(np.roll(wide, [-(n // 2) for n in kernel.shape], (0, 1)))

    h, laplacian = transfer(psf), transfer(np.array([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]]))
    expected = np.fft.ifft2(np.fft.fft2(plane) * h.conj() / (np.abs(h) ** 2 + 0.02 * np.abs(laplacian) ** 2)).real
    np.testing.assert_allclose(Wiener(balance=0.02).deconvolve(plane, psf), expected, atol=1e-10)


def test_unsupervised_wiener_is_repeatable_and_leaves_the_global_state_alone(photo: Tensor) -> None:
    _, degraded = blurred(photo[..., :64, :64], hook_kernel(7))
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the very state that must not change
    first, second = (restore(UnsupervisedWiener(seed=5), degraded) for _ in range(2))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert torch.equal(first, second)
    assert not torch.equal(first, restore(UnsupervisedWiener(seed=6), degraded))


def test_unsupervised_wiener_finds_about_the_best_balance(photo: Tensor) -> None:
    for sigma in (0.005, 0.03):
        sharp, degraded = blurred(photo, hook_kernel(), sigma)
        best = max(gain(restore(Wiener(balance=b), degraded), sharp, degraded) for b in (0.001, 0.003, 0.01, 0.03, 0.1))
        assert gain(restore(UnsupervisedWiener(), degraded), sharp, degraded) > best - 1


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 40)] * 2),
    psf=st.tuples(*[st.sampled_from([1, 3, 9, 31])] * 2),
    frame=st.sampled_from([periodic_frame, fading_frame]),
)
def test_a_frame_holds_the_image_unchanged_within_its_range(shape: tuple[int, int], psf: tuple[int, int], frame: Any) -> None:
    plane = 0.5 + 0.5 * np.random.default_rng(1).random(shape)
    wide, inside = frame(plane, np.ones(psf))
    np.testing.assert_array_equal(wide[inside], plane)
    assert wide.max() <= plane.max() + 1e-12
    assert wide.min() >= (plane.min() - 1e-12 if frame is periodic_frame else 0)
    for axis, reach in enumerate(psf):
        assert wide.shape[axis] >= shape[axis] + reach


def largest_step(plane: np.ndarray) -> float:
    return max(np.abs(plane - np.roll(plane, 1, axis)).max() for axis in (0, 1))


@pytest.mark.parametrize(("frame", "share"), [(periodic_frame, 0.15), (fading_frame, 0.15)])
def test_a_frame_joins_opposite_edges_smoothly(frame: Any, share: float) -> None:
    ramp = 0.1 + np.add.outer(np.linspace(0, 1, 60), np.linspace(0, 2, 80))
    wide, _ = frame(ramp, np.ones((21, 21)))
    assert largest_step(wide) < share * largest_step(ramp)


@pytest.mark.parametrize(("kernel", "method", "least"), [("k1", Wiener, 3.5), ("k4", Wiener, 3.5), ("k1", RichardsonLucy, 3.0)])
def test_levin_kernels_on_benchmark_photographs(kernel: str, method: type[Deconvolution], least: float) -> None:
    if not (DATA / "kernels/levin09.npz").is_file():
        pytest.skip("needs ../shared/data (CBSD68 and Levin's kernels)")
    with np.load(DATA / "kernels/levin09.npz") as kernels:
        psf = kernels[kernel].astype(np.float64)
    gains = []
    for path in sorted((DATA / "cbsd68").glob("*.png"))[6 : 7 if method is RichardsonLucy else 20 : 6]:
        sharp, degraded = blurred(photos.read(path).image, psf / psf.sum())
        gains.append(gain(restore(method(), degraded), sharp, degraded))
    assert np.mean(gains) > least


# denoising


def noisy(sharp: Tensor, sigma: float) -> Degraded:
    noise = torch.randn(sharp.shape, generator=torch.Generator().manual_seed(1))
    return Degraded((sharp + sigma * noise).clamp(0, 1))


@pytest.mark.parametrize("method", [TvDenoise, NlmDenoise])
@pytest.mark.parametrize("sigma", [0.05, 0.1])
@pytest.mark.parametrize("channels", [1, 3])
def test_denoising_gains(photo: Tensor, method: type[TvDenoise | NlmDenoise], sigma: float, channels: int) -> None:
    sharp = photo[:, :channels]
    degraded = noisy(sharp, sigma)
    assert gain(restore(method(), degraded), sharp, degraded) > 3


def test_total_variation_agrees_with_scikit_image(photo: Tensor) -> None:
    degraded = noisy(photo, 0.05)
    expected = skimage.denoise_tv_chambolle(degraded.image[0].permute(1, 2, 0).double().numpy(), 0.05, max_num_iter=200, channel_axis=-1)
    restored = restore(TvDenoise(weight=0.05), degraded)[0].permute(1, 2, 0).double().numpy()
    assert np.abs(restored - np.clip(expected, 0, 1)).mean() < 1e-4


def test_non_local_means_agrees_with_scikit_image(photo: Tensor) -> None:
    degraded = noisy(photo[..., :80, :80], 0.05)
    pixels = degraded.image[0].permute(1, 2, 0).double().numpy()
    expected = skimage.denoise_nl_means(pixels, 5, 4, h=0.04, sigma=0.05, fast_mode=True, channel_axis=-1)
    restored = restore(NlmDenoise(sigma=0.05, strength=0.8, patch_size=5, search=4), degraded)
    np.testing.assert_allclose(restored[0].permute(1, 2, 0), np.clip(expected, 0, 1), atol=1e-4)


@pytest.mark.parametrize("method", [TvDenoise, NlmDenoise])
def test_what_has_no_noise_stays(method: type[TvDenoise | NlmDenoise]) -> None:
    flat = torch.full((1, 3, 32, 32), 0.3)
    torch.testing.assert_close(restore(method(), Degraded(flat)), flat, atol=1e-6, rtol=0)


@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_noise_level_of_noise(sigma: float, channels: int) -> None:
    ramp = np.add.outer(np.linspace(0, 1, 200), np.linspace(0, 1, 220))[:, :, None]
    pixels = ramp + np.random.default_rng(0).normal(0, sigma, (200, 220, channels))
    assert noise_level(pixels) == pytest.approx(sigma, rel=0.03)


def test_the_noise_level_agrees_with_scikit_image(photo: Tensor) -> None:
    pytest.importorskip("pywt", reason="scikit-image's own estimate needs PyWavelets")
    pixels = noisy(photo, 0.04).image[0].permute(1, 2, 0).double().numpy()
    assert noise_level(pixels) == pytest.approx(skimage.estimate_sigma(pixels, channel_axis=-1, average_sigmas=True), rel=0.03)


# inpainting


def holes(shape: tuple[int, int], share: float = 0.2) -> Tensor:
    return (torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(2)) < share).float()


def test_inpainting_keeps_known_pixels_and_ignores_what_is_under_the_mask(photo: Tensor) -> None:
    sharp = photo[..., :60, :80]
    mask = holes((60, 80))
    black, white = (restore(BiharmonicInpaint(), Degraded(sharp * (1 - mask) + value * mask, mask=mask)) for value in (0, 1))
    known = (mask == 0).expand_as(sharp)
    assert torch.equal(black[known], sharp[known])
    assert torch.equal(black, white)
    assert psnr(black, sharp) > psnr(sharp * (1 - mask), sharp) + 12


def test_inpainting_continues_a_plane() -> None:
    """A linear function is biharmonic, so it is what a hole is filled with."""
    ramp = (torch.linspace(0.1, 0.5, 40)[:, None] + torch.linspace(0, 0.4, 50)).expand(1, 1, 40, 50)
    mask = torch.zeros(1, 1, 40, 50)
    mask[..., 15:25, 20:30] = 1
    torch.testing.assert_close(restore(BiharmonicInpaint(), Degraded(ramp * (1 - mask), mask=mask)), ramp, atol=1e-5, rtol=0)


def test_inpainting_with_nothing_or_everything_missing(photo: Tensor) -> None:
    sharp = photo[..., :20, :20]
    assert torch.equal(restore(BiharmonicInpaint(), Degraded(sharp, mask=torch.zeros(1, 1, 20, 20))), sharp)
    with pytest.raises(ImageError, match="no pixel to go by"):
        restore(BiharmonicInpaint(), Degraded(sharp, mask=torch.ones(1, 1, 20, 20)))


# all of them


def classical() -> list[Any]:
    return [part for part in rk.registry().of_kind("restorer") if part.part.target.startswith("restorekit.builtin.restorers:")]


@pytest.mark.parametrize("part", classical(), ids=lambda part: part.name)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_restored_image_by_image(part: Any, channels: int) -> None:
    restorer = rk.registry().create("restorer", part.name, **part.part.example)
    rng = torch.Generator().manual_seed(4)
    images = torch.rand(2, channels, 21, 34, generator=rng)
    masks = (torch.rand(2, 1, 21, 34, generator=rng) < 0.1).float()
    psfs = torch.rand(2, 5, 7, generator=rng)
    psfs /= psfs.sum((1, 2), keepdim=True)
    before = images.clone()
    together = restore(restorer, Degraded(images, mask=masks, params={"psf": psfs}))
    singly = [restore(restorer, Degraded(images[n : n + 1], mask=masks[n : n + 1], params={"psf": psfs[n : n + 1]})) for n in range(2)]
    torch.testing.assert_close(together, torch.cat(singly))
    assert together.shape == images.shape
    assert torch.equal(images, before)


@pytest.mark.parametrize("part", classical(), ids=lambda part: part.name)
def test_black_white_and_tiny_images(part: Any) -> None:
    restorer = rk.registry().create("restorer", part.name, **part.part.example)
    for image in (torch.zeros(1, 3, 8, 9), torch.ones(1, 3, 8, 9), torch.rand(1, 1, 3, 3, generator=torch.Generator().manual_seed(0))):
        mask = torch.zeros_like(image[:, :1])
        mask[..., 1, 1] = 1
        restored = restore(restorer, Degraded(image, mask=mask, params={"psf": torch.full((1, 3, 3), 1 / 9)}))
        assert restored.shape == image.shape


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("core/wiener", {"balance": 0.0}),
        ("core/unsupervised-wiener", {"seed": -1}),
        ("core/richardson-lucy", {"iterations": 0}),
        ("core/tv-denoise", {"weight": -0.1}),
        ("core/nlm-denoise", {"sigma": 0.0}),
        ("core/nlm-denoise", {"patch_size": 0}),
    ],
)
def test_options_have_bounds(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        rk.registry().create("restorer", name, **options)


@pytest.mark.parametrize("name", ["core/wiener", "core/unsupervised-wiener", "core/tuned-wiener", "core/richardson-lucy"])
def test_without_a_psf_the_message_says_how_to_give_it(name: str) -> None:
    with pytest.raises(ImageError, match="--psf FILE"):
        restore(rk.registry().create("restorer", name), Degraded(torch.rand(1, 3, 16, 16)))
