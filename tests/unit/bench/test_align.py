from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import skimage.transform
import torch
from torch import Tensor

from restorekit.bench import align
from restorekit.errors import UserError


def photograph() -> np.ndarray:
    return skimage.data.astronaut()[40:200, 140:320] / 255.0


def tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float()


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * torch.log10((a - b).double().square().mean()))


@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, -5), (-7, 2)])
def test_a_shift_and_a_change_of_light_are_taken_out(down: int, right: int) -> None:
    whole = photograph()
    target = tensor(whole[20:120, 20:140])
    moved = tensor(0.8 * whole[20 - down : 120 - down, 20 - right : 140 - right])
    shown, sharp = align.aligned(moved, target, "shift")
    assert shown.shape == sharp.shape
    assert shown.shape[-2:] == (100 - abs(down), 120 - abs(right))
    assert psnr(shown, sharp) > 26  # the brightness is fitted before the shift is known, as the authors of the data set do
    if (down, right) != (0, 0):
        assert psnr(moved, target) < 22


def test_a_homography_is_taken_out() -> None:
    pytest.importorskip("cv2", reason="needs OpenCV: pip install 'restorekit[align]'")
    whole = photograph()
    turn = skimage.transform.ProjectiveTransform(np.array([[1.01, 0.015, -2.5], [-0.012, 0.995, 1.5], [2e-5, -1e-5, 1]]))
    moved = skimage.transform.warp(whole, turn, order=3, mode="reflect").clip(0, 1) * 0.9
    target = tensor(whole)
    shown, sharp = align.aligned(tensor(moved), target, "homography")
    assert shown.shape == sharp.shape
    assert min(shown.shape[-2:]) > 145  # the rectangle that both cover
    assert psnr(tensor(moved), target) < 23
    assert psnr(shown, sharp) > 33
    again, untouched = align.aligned(target, target, "homography")
    assert psnr(again, untouched) > 50


def test_grey_pictures_are_aligned() -> None:
    pytest.importorskip("cv2", reason="needs OpenCV: pip install 'restorekit[align]'")
    grey = tensor(photograph()[..., :1])
    shown, sharp = align.aligned(grey.roll(1, -1)[..., 2:-2], grey[..., 2:-2], "homography")
    assert shown.shape == sharp.shape == (1, 1, *sharp.shape[-2:])
    assert psnr(shown, sharp) > 30


def test_what_has_nothing_in_common_is_refused() -> None:
    pytest.importorskip("cv2", reason="needs OpenCV: pip install 'restorekit[align]'")
    with pytest.raises(UserError, match="no alignment"):
        align.aligned(torch.full((1, 3, 64, 64), 0.5), tensor(photograph()[:64, :64]), "homography")


def test_without_opencv_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cv2", None)
    image = tensor(photograph())
    with pytest.raises(UserError, match=r"pip install 'restorekit\[align\]'"):
        align.aligned(image, image, "homography")
    shown, sharp = align.aligned(image, image, "shift")
    assert torch.allclose(shown, sharp, atol=1e-6)
