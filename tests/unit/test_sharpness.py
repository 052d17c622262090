"""Scores without a reference, against scipy and scikit-image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
from skimage import data
from skimage.color import rgb2ycbcr
from skimage.measure import blur_effect

from restorekit.builtin.sharpness import BlurEffect, Sharpness
from restorekit.errors import ImageError

Picture = np.ndarray[Any, Any]
PHOTOS = {name: getattr(data, name)()[:150, :180] for name in ("astronaut", "chelsea", "coffee", "camera")}


def as_tensor(picture: Picture) -> torch.Tensor:
    return torch.from_numpy(np.atleast_3d(picture)).permute(2, 0, 1)[None].float() / 255


def blurred(picture: Picture, sigma: float) -> Picture:
    return np.asarray(scipy.ndimage.gaussian_filter(picture, sigma, axes=(0, 1)))


@pytest.mark.parametrize("name", PHOTOS)
def test_sharpness_equals_scipy(name: str) -> None:
    picture = PHOTOS[name]
    y = rgb2ycbcr(picture)[..., 0] if picture.ndim == 3 else 16 + 219 / 255 * picture.astype(np.float64)
    wanted = scipy.ndimage.laplace(y)[1:-1, 1:-1].var()
    assert Sharpness()(as_tensor(picture)).item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("name", PHOTOS)
def test_blur_effect_is_that_of_scikit_image(name: str) -> None:
    picture = PHOTOS[name]
    wanted = blur_effect(picture, channel_axis=2 if picture.ndim == 3 else None)
    assert BlurEffect()(as_tensor(picture)).item() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("name", PHOTOS)
def test_blur_scores_worse(name: str) -> None:
    series = torch.cat([as_tensor(blurred(PHOTOS[name], sigma)) for sigma in (0.0, 1.0, 2.0, 4.0)])
    assert (Sharpness()(series).diff() < 0).all()
    assert (BlurEffect()(series).diff() > 0).all()


def test_a_flat_picture_is_not_sharp() -> None:
    flat = torch.full((1, 3, 20, 20), 0.4)
    assert Sharpness()(flat).item() == 0
    assert BlurEffect()(flat).item() == 1


def test_a_reference_is_ignored() -> None:
    image = as_tensor(PHOTOS["chelsea"])
    for metric in (Sharpness(), BlurEffect()):
        assert not metric.needs_target
        assert torch.equal(metric(image, torch.zeros_like(image)), metric(image))


@pytest.mark.parametrize("metric", [Sharpness(), BlurEffect()], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("shape", [(1, 3, 2, 9), (1, 2, 20, 20), (3, 20, 20)], ids=str)
def test_what_cannot_be_scored(metric: Sharpness | BlurEffect, shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match=r"images \(N, 1 or 3, H, W\) of at least"):
        metric(torch.zeros(shape))
