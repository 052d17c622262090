"""What core/camera-shake draws and does by default, as it was when models were trained with it; see camera_shake/README.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch

import restorekit as rk

NUMBERS = Path(__file__).parent / "camera_shake" / "numbers.npz"
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "short": {"length": [3.0, 8.0]},
    "long": {"length": 45.0, "curvature": 0.1, "jerk": 0.0},
}


@pytest.fixture(scope="module")
def numbers() -> dict[str, np.ndarray]:
    with np.load(NUMBERS) as stored:
        return dict(stored)


@pytest.mark.parametrize("name", CASES)
def test_the_default_draw_and_blur_are_what_they_were(name: str, numbers: dict[str, np.ndarray]) -> None:
    part = rk.registry().create("degradation", "core/camera-shake", **CASES[name])
    rng = torch.Generator().manual_seed(5)
    params = part.sample(2, (3, 32, 32), rng)
    assert set(params) == {"psf"}
    np.testing.assert_allclose(params["psf"], numbers[f"{name}.psf"], atol=1e-7, rtol=0)
    assert torch.rand(1, generator=rng).numpy() == numbers[f"{name}.next"], "the generator was used for something else too"
    image = torch.from_numpy(skimage.data.astronaut()[216:248, 196:228]).permute(2, 0, 1)[None].float() / 255
    blurred = part.apply(image.repeat(2, 1, 1, 1), params).image
    np.testing.assert_allclose(blurred, numbers[f"{name}.blurred"], atol=2e-6, rtol=0)
