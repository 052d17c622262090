"""PSNR under its three rulers against scikit-image, and what holds for every metric of core."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio

from restorekit import registry
from restorekit.builtin.metrics import Psnr, PsnrFloat, PsnrY, luma
from restorekit.errors import ImageError
from restorekit.interfaces import Metric

METRICS = [part.name for part in registry().of_kind("metric") if part.namespace == "core"]
"""Every metric of core; those that come later are tested too."""


def make(name: str) -> Metric:
    example = registry().find("metric", name).part.example
    assert not isinstance(example, str)
    metric = registry().create("metric", name, **example)
    assert isinstance(metric, Metric)
    return metric


def as_tensor(picture: np.ndarray[Any, Any]) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255


@st.composite
def pictures(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Two 8-bit pictures of one shape: noise, flat, or in two flat halves, where variances cancel worst."""
    shape = (draw(st.integers(11, 40)), draw(st.integers(11, 40)), draw(st.sampled_from([1, 3])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def picture() -> np.ndarray[Any, Any]:
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
def test_psnr_equals_scikit_image(pair: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]) -> None:
    first, second = pair
    scores = [metric(as_tensor(first), as_tensor(second)).item() for metric in (Psnr(), PsnrFloat(), PsnrY())]
    if np.array_equal(first, second):
        assert scores == [math.inf] * 3
        return
    assert scores[0] == pytest.approx(peak_signal_noise_ratio(second, first, data_range=255), abs=1e-9)
    floats = [as_tensor(picture).double().numpy() for picture in (second, first)]
    assert scores[1] == pytest.approx(peak_signal_noise_ratio(*floats, data_range=1), abs=1e-9)
    y = [rgb2ycbcr(np.repeat(picture, 4 - picture.shape[2], 2)[..., :3])[..., 0] for picture in (second, first)]
    assert scores[2] == pytest.approx(peak_signal_noise_ratio(*y, data_range=255), abs=1e-6)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_photographs(name: str) -> None:
    sharp = getattr(data, name)()
    noisy = np.clip(sharp + np.random.default_rng(0).normal(0, 8, sharp.shape), 0, 255).round().astype(np.uint8)
    assert Psnr()(as_tensor(noisy), as_tensor(sharp)).item() == pytest.approx(peak_signal_noise_ratio(sharp, noisy), abs=1e-9)


def test_luma_is_that_of_the_standard() -> None:
    colours = torch.tensor([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]).float().view(5, 3, 1, 1)
    assert luma(colours).flatten().tolist() == pytest.approx([16, 235, 81.481, 144.553, 40.966], abs=1e-12)
    levels = torch.arange(256.0).view(256, 1, 1, 1)
    torch.testing.assert_close(luma(levels), luma(levels.expand(-1, 3, -1, -1)), rtol=0, atol=1e-12)
    with pytest.raises(ImageError, match="1 or 3"):
        luma(torch.zeros(1, 4, 2, 2))


def test_clipped_and_rounded_not_truncated() -> None:
    target = torch.full((1, 3, 16, 16), 100 / 255)
    assert Psnr()(target + 0.4 / 255, target).item() == math.inf
    assert Psnr()(target - 0.4 / 255, target).item() == math.inf, "truncation would take this to level 99"
    assert Psnr()(target + 0.6 / 255, target).item() == pytest.approx(20 * math.log10(255))
    assert Psnr()(torch.full_like(target, 1.7), torch.ones_like(target)).item() == math.inf
    assert Psnr()(torch.full_like(target, -3.0), torch.ones_like(target)).item() == pytest.approx(0)


def test_float_is_neither_clipped_nor_rounded() -> None:
    target = torch.ones(1, 3, 4, 4)
    assert PsnrFloat()(target + 2**-10, target).item() == pytest.approx(-20 * math.log10(2**-10))
    assert PsnrFloat()(target + 4, target).item() == pytest.approx(-20 * math.log10(4))
    assert PsnrFloat()(target.double() + 1e-12, target).item() == pytest.approx(240, abs=1e-2)


def test_luma_is_taken_of_rounded_pictures() -> None:
    target = torch.full((1, 3, 4, 4), 100 / 255)
    assert PsnrY()(target + 0.4 / 255, target).item() == math.inf
    assert PsnrY()(target + 0.6 / 255, target).item() == pytest.approx(20 * math.log10(255 * 255 / 219))


def reference(metric: Metric, target: torch.Tensor) -> torch.Tensor | None:
    return target if metric.needs_target else None


@pytest.mark.parametrize("name", METRICS)
def test_an_image_scores_alone_as_in_a_batch_to_the_bit(name: str) -> None:
    if name == "core/lpips":
        pytest.skip("a network's convolutions round differently for another size of batch")
    metric = make(name)
    rng = torch.Generator().manual_seed(0)
    target = torch.rand(3, 3, 50, 60, generator=rng)
    restored = target + torch.tensor([0.01, 0.05, 0.2]).view(3, 1, 1, 1) * torch.randn(target.shape, generator=rng)
    scores = metric(restored, reference(metric, target))
    assert scores.shape == (3,)
    assert scores.dtype == torch.float64
    alone = [metric(r[None], reference(metric, t[None])) for r, t in zip(restored, target, strict=True)]
    assert torch.equal(scores, torch.cat(alone))
    if metric.needs_target:
        assert ((scores.diff() < 0) == metric.higher_is_better).all(), "more noise scores worse"


@pytest.mark.parametrize("name", METRICS)
def test_precision_of_the_surroundings_does_not_matter(name: str) -> None:
    metric = make(name)
    rng = torch.Generator().manual_seed(0)
    restored, target = torch.rand(2, 1, 3, 48, 48, generator=rng)
    target_given = reference(metric, target)
    wanted = metric(restored, target_given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(metric(restored, target_given), wanted)
    assert torch.allclose(metric(restored.double(), target_given), wanted, rtol=1e-12)
    assert torch.equal(metric(restored.bfloat16(), target_given), metric(restored.bfloat16().float(), target_given))


@pytest.mark.parametrize("name", METRICS)
def test_failed_restoration_does_not_score(name: str) -> None:
    metric = make(name)
    target = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    restored = target.clone()
    restored[0, 1, 40, 40] = math.nan
    assert metric(restored, reference(metric, target)).isnan().all()


@pytest.mark.parametrize("name", METRICS)
def test_what_cannot_be_scored(name: str) -> None:
    metric = make(name)
    good, levels = torch.zeros(1, 3, 48, 48), torch.zeros(1, 3, 48, 48, dtype=torch.uint8)
    with pytest.raises(ImageError, match="divide by 255"):
        metric(levels, reference(metric, levels))
    with pytest.raises(ImageError, match=r"\(N, (C|1 or 3), H, W\)"):
        metric(good[0], reference(metric, good[0]))
    if metric.needs_target:
        with pytest.raises(ImageError, match="pass target"):
            metric(good)
        with pytest.raises(ImageError, match="one shape"):
            metric(good, good[..., 1:])
        with pytest.raises(ImageError, match="one shape"):
            metric(good.expand(2, -1, -1, -1), good)


@pytest.mark.parametrize("name", METRICS)
def test_scores_on_cuda_equal_those_of_the_processor(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    metric = make(name)
    rng = torch.Generator().manual_seed(0)
    restored, target = torch.rand(2, 2, 3, 170, 190, generator=rng)
    wanted = metric(restored, reference(metric, target))
    metric = metric.cuda()
    found = metric(restored.cuda(), reference(metric, target.cuda()))
    assert found.device.type == "cuda"
    torch.testing.assert_close(found.cpu(), wanted, rtol=1e-5, atol=1e-6)
