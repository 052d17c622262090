"""Holes filled with texture."""

from __future__ import annotations

import pytest
import torch
from restorekit_style.fill import TextureFill, smoothly_filled
from torch import Tensor

import restorekit as rk
from restorekit.images import Degraded

FILTERS = {"part": "style/random-filters", "scales": 2, "channels": 24, "side": 3}


def stripes() -> tuple[Tensor, Tensor]:
    """Stripes 4 pixels wide, and a hole in them."""
    columns = (torch.arange(64) // 4 % 2).float()
    image = (0.2 + 0.6 * columns).expand(1, 3, 56, 64).clone()
    mask = torch.zeros(1, 1, 56, 64)
    mask[..., 20:36, 24:40] = 1
    return image, mask


def filler(**options: object) -> TextureFill:
    made = rk.registry().create("restorer", "style/texture-fill", features=FILTERS, precision="fp32", **options)
    assert isinstance(made, TextureFill)
    return made


def test_it_makes_texture_where_smooth_filling_makes_none() -> None:
    image, mask = stripes()
    damaged = image * (1 - mask)
    filled = filler(steps=60, tv_weight=0.0).restore(Degraded(damaged, mask))
    smooth = smoothly_filled(damaged, mask)
    inside = (..., slice(20, 36), slice(24, 40))
    assert torch.equal(filled[mask.expand_as(image) == 0], damaged[mask.expand_as(image) == 0])
    assert filled[inside].std() > 2 * smooth[inside].std()
    assert filled[inside].mean().item() == pytest.approx(0.5, abs=0.12)


def test_smooth_filling_keeps_what_is_known_and_stays_within_it() -> None:
    image, mask = stripes()
    smooth = smoothly_filled(image * (1 - mask), mask)
    assert torch.equal(smooth[..., :20, :], image[..., :20, :])
    assert smooth.min() >= 0.2 - 1e-6
    assert smooth.max() <= 0.8 + 1e-6


def test_whole_and_empty_masks() -> None:
    image, mask = stripes()
    assert torch.equal(filler(steps=1).restore(Degraded(image, torch.zeros_like(mask))), image)
    with pytest.raises(rk.UserError, match="covers the whole picture"):
        filler(steps=1).restore(Degraded(image, torch.ones_like(mask)))
