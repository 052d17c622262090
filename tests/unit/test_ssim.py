"""SSIM under each of its rulers against scikit-image, scipy and torchmetrics, and the tiles against the definition."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
import torchmetrics.functional.image as tm
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.color import rgb2ycbcr
from skimage.metrics import structural_similarity as by_skimage

from restorekit.builtin import ssim, ssim_tiles
from restorekit.builtin.ssim import MsSsim, Ssim, SsimMatlab3d, SsimY, structural_similarity
from restorekit.errors import ConfigError, ImageError
from restorekit.interfaces import Metric
from restorekit.registries import Registry

Picture = np.ndarray[Any, Any]

FLOAT32 = 1e-5
"""What filters in float32 may lose on the worst of pictures; on photographs they lose less than 1e-6."""


def as_tensor(picture: Picture) -> torch.Tensor:
    return torch.from_numpy(np.atleast_3d(picture)).permute(2, 0, 1)[None].float() / 255


def canonical(first: Picture, second: Picture) -> float:
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return float(by_skimage(first, second, channel_axis=2 if first.ndim == 3 else None, **options))


def volume(first: Picture, second: Picture) -> float:
    """The formula of the paper with scipy's filters in float64, colour as the third dimension."""

    def blurred(array: Picture) -> Picture:
        return scipy.ndimage.gaussian_filter(array, 1.5, radius=5, mode="nearest")

    a, b = first.astype(np.float64), second.astype(np.float64)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    m1, m2 = blurred(a), blurred(b)
    v1, v2, v12 = blurred(a * a) - m1 * m1, blurred(b * b) - m2 * m2, blurred(a * b) - m1 * m2
    return float(np.mean((2 * m1 * m2 + c1) * (2 * v12 + c2) / ((m1 * m1 + m2 * m2 + c1) * (v1 + v2 + c2))))


def y_of(picture: Picture) -> Picture:
    return np.asarray(rgb2ycbcr(np.repeat(picture, 4 - picture.shape[2], 2)[..., :3])[..., 0])


@contextlib.contextmanager
def without_tiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(ssim, "available", lambda: False)
        yield


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Picture, Picture]:
    """Two 8-bit pictures of one shape, of kinds whose variances cancel worst among them; some reach over several tiles."""
    sides = st.one_of(
        st.tuples(st.integers(11, 40), st.integers(11, 40)), st.sampled_from([(190, 181), (171, 490), (331, 140), (138, 491)])
    )
    shape = (*draw(sides), draw(st.sampled_from([1, 3])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def picture() -> Picture:
        kind = draw(st.sampled_from(["noise", "flat", "halves", "faint", "hatched"]))
        result = rng.integers(0, 256, shape) if kind == "noise" else np.full(shape, draw(st.sampled_from([0, 1, 128, 254, 255])))
        if kind in ("halves", "hatched"):
            result[:, shape[1] // 2 :] = 255 - result[0, 0, 0]
        if kind in ("faint", "hatched"):
            result = np.clip(result + rng.integers(-8, 9, shape), 0, 255)
        return result.astype(np.uint8)

    return picture(), picture()


@settings(deadline=None, max_examples=40)
@given(pictures())
def test_every_ruler_equals_its_reference(pair: tuple[Picture, Picture]) -> None:
    first, second = pair
    a, b = as_tensor(first), as_tensor(second)
    for metric, wanted in (
        (Ssim(), canonical(first, second)),
        (SsimY(), canonical(y_of(first), y_of(second))),
        (SsimMatlab3d(), volume(first, second)),
    ):
        found = metric(a, b).item()
        assert found == pytest.approx(wanted, abs=FLOAT32), type(metric).__name__
        assert -1 <= found <= 1
        assert metric(a, a).item() == 1


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_photographs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sharp = getattr(data, name)()
    noisy = np.clip(sharp + np.random.default_rng(0).normal(0, 8, sharp.shape), 0, 255).round().astype(np.uint8)
    wanted = canonical(noisy, sharp)
    assert Ssim()(as_tensor(noisy), as_tensor(sharp)).item() == pytest.approx(wanted, abs=3e-7)
    with without_tiles(monkeypatch):
        assert Ssim()(as_tensor(noisy), as_tensor(sharp)).item() == pytest.approx(wanted, abs=1e-12)


def test_it_is_what_torchmetrics_makes_of_the_valid_area() -> None:
    sharp = data.chelsea()
    noisy = np.clip(sharp + np.random.default_rng(0).normal(0, 8, sharp.shape), 0, 255).round().astype(np.uint8)
    a, b = (as_tensor(picture) for picture in (noisy, sharp))
    theirs, whole = tm.structural_similarity_index_measure(255 * a, 255 * b, data_range=255.0, return_full_image=True)
    assert Ssim()(a, b).item() == pytest.approx(float(whole[..., 5:-5, 5:-5].mean()), abs=1e-6)
    assert abs(float(theirs) - Ssim()(a, b).item()) > 1e-3, "it counts the mirrored border; the documentation says so"


@pytest.mark.parametrize("metric", [Ssim(), SsimY(), SsimMatlab3d(), MsSsim(scales=2)], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("shape", [(2, 3, 33, 44), (1, 1, 171, 500), (1, 3, 330, 491)], ids=str)
def test_tiles_equal_the_definition(metric: Metric, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = torch.Generator().manual_seed(0)
    target = torch.rand(shape, generator=rng)
    restored = target + 0.1 * torch.randn(shape, generator=rng)
    tiled = metric(restored, target)
    monkeypatch.setattr(ssim_tiles, "BATCH", 1)
    assert torch.equal(metric(restored, target), tiled), "however many tiles are worked on at once"
    with without_tiles(monkeypatch):
        torch.testing.assert_close(metric(restored, target), tiled, rtol=0, atol=1e-7)


def test_pictures_that_float32_would_get_wrong_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Black and white halves against grey: the variances of flat areas far from the mean level are rounding errors."""
    levels = torch.zeros(1, 1, 200, 300)
    levels[..., 150:] = 255
    grey = torch.full_like(levels, 127)
    assert ssim_tiles.tiled_means(levels[0], grey[0], ssim._as_is, data_range=255)[1] > ssim.DOUBT
    found = Ssim()(levels / 255, grey / 255)
    with without_tiles(monkeypatch):
        assert torch.equal(Ssim()(levels / 255, grey / 255), found)
    photo = as_tensor(data.chelsea()) * 255
    assert ssim_tiles.tiled_means(photo[0], 0.8 * photo[0], ssim._as_is, data_range=255)[1] < ssim.DOUBT


def test_where_convolutions_round_the_definition_is_computed() -> None:
    assert ssim_tiles.available()
    for place, name, value in ((torch.backends.mkldnn.conv, "fp32_precision", "bf16"), (torch.backends.mkldnn, "enabled", False)):
        before = getattr(place, name)
        try:
            setattr(place, name, value)
            assert not ssim_tiles.available()
        finally:
            setattr(place, name, before)
        assert ssim_tiles.available()


def test_the_number_of_threads_does_not_matter() -> None:
    rng = torch.Generator().manual_seed(0)
    restored, target = torch.rand(2, 1, 3, 330, 490, generator=rng)
    threads, scores = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            scores.append([metric(restored, target).item() for metric in (Ssim(), SsimY(), SsimMatlab3d(), MsSsim())])
    finally:
        torch.set_num_threads(threads)
    assert scores[0] == scores[1] == scores[2]


def test_clipped_and_rounded_first() -> None:
    target = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255
    assert Ssim()(target + 0.4 / 255, target).item() == 1
    assert Ssim()((target - 0.5) * 3 + 0.5, target) == Ssim()(((target - 0.5) * 3 + 0.5).clamp(0, 1), target)


def test_colour_as_a_third_dimension_flatters() -> None:
    sharp = data.astronaut()[:200, :200]
    noisy = np.clip(sharp + np.random.default_rng(0).normal(0, 12, sharp.shape), 0, 255).round().astype(np.uint8)
    a, b = as_tensor(noisy), as_tensor(sharp)
    assert SsimMatlab3d()(a, b) > Ssim()(a, b) + 0.02


@pytest.mark.parametrize("shape", [(176, 192), (161, 161), (163, 190)], ids=str)
def test_ms_ssim_equals_the_authors_recipe(shape: tuple[int, int]) -> None:
    """scikit-image's maps and scipy's filters, put together as Wang's code does."""
    rng = np.random.default_rng(0)
    sharp = data.chelsea()[: shape[0], : shape[1], 1]
    noisy = np.clip(sharp + rng.normal(0, 20, sharp.shape), 0, 255).round().astype(np.uint8)
    a, b, wanted = noisy.astype(np.float64), sharp.astype(np.float64), 1.0
    c2 = (0.03 * 255) ** 2
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333), start=1):
        if scale == 5:
            wanted *= canonical(a, b) ** weight
            break

        def blurred(array: Picture) -> Picture:
            return scipy.ndimage.gaussian_filter(array, 1.5, radius=5)[5:-5, 5:-5]

        v1, v2, v12 = (blurred(p * q) - blurred(p) * blurred(q) for p, q in ((a, a), (b, b), (a, b)))
        wanted *= np.mean((2 * v12 + c2) / (v1 + v2 + c2)) ** weight
        a, b = (scipy.ndimage.uniform_filter(array, 2, origin=-1, mode="reflect")[::2, ::2] for array in (a, b))
    assert MsSsim()(as_tensor(noisy), as_tensor(sharp)).item() == pytest.approx(wanted, abs=FLOAT32)


def test_ms_ssim_is_near_torchmetrics_where_sizes_halve_evenly() -> None:
    """Near, because at the coarsest scale torchmetrics counts the mirrored border."""
    sharp = data.chelsea()[:256, :304]
    noisy = np.clip(sharp + np.random.default_rng(0).normal(0, 20, sharp.shape), 0, 255).round().astype(np.uint8)
    a, b = as_tensor(noisy), as_tensor(sharp)
    # Channel by channel, because it averages over channels before it multiplies the scales.
    theirs = [tm.multiscale_structural_similarity_index_measure(255 * a[:, [c]], 255 * b[:, [c]], data_range=255.0) for c in range(3)]
    assert MsSsim()(a, b).item() == pytest.approx(float(torch.stack(theirs).mean()), abs=1e-4)


def test_one_scale_is_ssim() -> None:
    rng = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 30, 30, generator=rng)
    restored = target + 0.1 * torch.randn(target.shape, generator=rng)
    torch.testing.assert_close(MsSsim(scales=1)(restored, target), Ssim()(restored, target), rtol=0, atol=1e-12)


def test_inverted_pictures_do_not_break_ms_ssim() -> None:
    target = torch.rand(1, 3, 170, 170, generator=torch.Generator().manual_seed(0))
    assert MsSsim()(1 - target, target).item() == 0


@pytest.mark.parametrize("scales", [0, 6])
def test_number_of_scales(scales: int, request: pytest.FixtureRequest) -> None:
    from restorekit import registry

    found: Registry = registry()
    with pytest.raises(ConfigError, match="scales"):
        found.create("metric", "core/ms-ssim", scales=scales)


def test_images_smaller_than_the_window() -> None:
    small = torch.zeros(1, 3, 10, 30)
    for metric in (Ssim(), SsimY()):
        with pytest.raises(ImageError, match=r"30×10.*at least 11×11"):
            metric(small, small)
    with pytest.raises(ImageError, match=r"30×10.*5 scales.*at least 161×161.*scales lower"):
        MsSsim()(small, small)
    assert SsimMatlab3d()(small, small).item() == 1, "its window goes on past the border"


def test_the_differentiable_form_agrees_with_the_score() -> None:
    rng = torch.Generator().manual_seed(0)
    first, second = (torch.randint(0, 256, (2, 3, 40, 40), generator=rng).double() for _ in range(2))
    loss = structural_similarity(first.requires_grad_(), second, data_range=255)
    loss.sum().backward()
    assert first.grad is not None
    torch.testing.assert_close(loss.detach(), Ssim()(first.detach() / 255, second / 255), rtol=0, atol=FLOAT32)
