"""`core/psnr` and `core/ssim` against scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from restorekit.builtin.metrics import Psnr, Ssim
from restorekit.errors import ImageError


def as_tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255


def ssim_by_skimage(first: np.ndarray, second: np.ndarray) -> float:
    return float(
        structural_similarity(first, second, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2)
    )


@st.composite
def pictures(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two 8-bit pictures of one shape: noise, flat, or in two flat halves, where variances cancel worst."""
    shape = (draw(st.integers(11, 40)), draw(st.integers(11, 40)), draw(st.sampled_from([1, 3])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def picture() -> np.ndarray:
        kind = draw(st.sampled_from(["noise", "flat", "halves", "faint"]))
        result = rng.integers(0, 256, shape) if kind == "noise" else np.full(shape, draw(st.sampled_from([0, 1, 128, 254, 255])))
        if kind == "halves":
            result[shape[0] // 2 :] = 255 - result[0, 0, 0]
        if kind == "faint":
            result = np.clip(result + rng.integers(-1, 2, shape), 0, 255)
        return result.astype(np.uint8)

    return picture(), picture()


@settings(deadline=None, max_examples=60)
@given(pictures())
def test_ssim_equals_scikit_image(pair: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = pair
    assert Ssim()(as_tensor(first), as_tensor(second)).item() == pytest.approx(ssim_by_skimage(first, second), abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(pictures())
def test_psnr_equals_scikit_image(pair: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = pair
    score = Psnr()(as_tensor(first), as_tensor(second)).item()
    if np.array_equal(first, second):
        assert score == math.inf
    else:
        assert score == pytest.approx(peak_signal_noise_ratio(second, first, data_range=255), abs=1e-9)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_photographs(name: str) -> None:
    sharp = getattr(data, name)()
    noisy = np.clip(sharp + np.random.default_rng(0).normal(0, 8, sharp.shape), 0, 255).round().astype(np.uint8)
    assert Ssim()(as_tensor(noisy), as_tensor(sharp)).item() == pytest.approx(ssim_by_skimage(noisy, sharp), abs=1e-9)
    assert Psnr()(as_tensor(noisy), as_tensor(sharp)).item() == pytest.approx(peak_signal_noise_ratio(sharp, noisy), abs=1e-9)


def test_clipped_and_rounded_not_truncated() -> None:
    target = torch.full((1, 3, 16, 16), 100 / 255)
    assert Psnr()(target + 0.4 / 255, target).item() == math.inf
    assert Psnr()(target - 0.4 / 255, target).item() == math.inf, "truncation would take this to level 99"
    assert Psnr()(target + 0.6 / 255, target).item() == pytest.approx(20 * math.log10(255))
    assert Psnr()(torch.full_like(target, 1.7), torch.ones_like(target)).item() == math.inf
    assert Psnr()(torch.full_like(target, -3.0), torch.ones_like(target)).item() == pytest.approx(0)
    assert Ssim()(target + 0.4 / 255, target).item() == 1


@pytest.mark.parametrize("metric", [Psnr(), Ssim()])
def test_one_score_per_image(metric: Psnr | Ssim) -> None:
    rng = torch.Generator().manual_seed(0)
    target = torch.rand(3, 3, 20, 23, generator=rng)
    restored = target + torch.tensor([0.01, 0.05, 0.2]).view(3, 1, 1, 1) * torch.randn(target.shape, generator=rng)
    scores = metric(restored, target)
    assert scores.shape == (3,)
    assert scores.dtype == torch.float64
    assert torch.equal(scores, torch.cat([metric(r[None], t[None]) for r, t in zip(restored, target, strict=True)]))
    assert (scores.diff() < 0).all(), "more noise scores lower"


@pytest.mark.parametrize("metric", [Psnr(), Ssim()])
def test_precision_of_the_surroundings_does_not_matter(metric: Psnr | Ssim) -> None:
    rng = torch.Generator().manual_seed(0)
    restored, target = torch.rand(2, 1, 3, 24, 24, generator=rng)
    wanted = metric(restored, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(metric(restored, target), wanted)
    assert torch.equal(metric(restored.double(), target), wanted)
    assert torch.equal(metric(restored.bfloat16(), target), metric(restored.bfloat16().float(), target))


@pytest.mark.parametrize("metric", [Psnr(), Ssim()])
def test_failed_restoration_does_not_score(metric: Psnr | Ssim) -> None:
    target = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert metric(torch.full_like(target, math.nan), target).isnan().all()


@pytest.mark.parametrize("metric", [Psnr(), Ssim()])
@pytest.mark.parametrize(
    ("restored", "target", "words"),
    [
        (torch.zeros(1, 3, 16, 16), None, "pass target"),
        (torch.zeros(2, 3, 16, 16), torch.zeros(1, 3, 16, 16), "one shape"),
        (torch.zeros(3, 16, 16), torch.zeros(3, 16, 16), r"\(N, C, H, W\)"),
        (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), torch.zeros(1, 3, 16, 16, dtype=torch.uint8), "divide by 255"),
    ],
)
def test_what_cannot_be_scored(metric: Psnr | Ssim, restored: torch.Tensor, target: torch.Tensor | None, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        metric(restored, target)


def test_image_smaller_than_the_window() -> None:
    small = torch.zeros(1, 3, 10, 30)
    with pytest.raises(ImageError, match=r"30×10.*at least 11×11"):
        Ssim()(small, small)
