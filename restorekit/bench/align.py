"""Alignment of a result with its target, for data sets whose sharp and blurred pictures were taken apart.

Where the camera stood a little elsewhere, or the light had changed, PSNR measures that and not the
restoration. The authors of these data sets say how to take it out before scoring.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from restorekit.errors import UserError

ITERATIONS = 100
BLUR = 5
"""Steps of the ECC algorithm and size of its Gaussian filter, as in RealBlur's evaluation."""

Pixels = npt.NDArray[Any]


def aligned(restored: Tensor, target: Tensor, how: str) -> tuple[Tensor, Tensor]:
    """`restored` brought onto `target`, and both cut to where they overlap.

    First the brightness is scaled by least squares. ``homography`` (RealBlur: Rim et al., ECCV 2020)
    then finds a homography by maximising the enhanced correlation coefficient (Evangelidis & Psarakis,
    PAMI 2008). ``shift`` (Köhler et al., ECCV 2012) finds a shift by whole pixels by cross-correlation.
    Both cut to a rectangle instead of masking, so that every metric can be used.

    Args:
        restored: ``(1, C, H, W)`` in [0, 1].
        target: likewise.
        how: ``homography`` or ``shift``.

    Raises:
        UserError: OpenCV, which ``homography`` needs, is not installed, or finds no alignment.
    """
    scaled = restored * (float((restored * target).double().sum()) / max(float(restored.double().square().sum()), 1e-12))
    return _by_homography(scaled, target) if how == "homography" else _by_shift(scaled, target)


def _by_shift(restored: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    spectra = [torch.fft.rfft2(image.double().mean(1)[0]) for image in (target, restored)]
    height, width = target.shape[-2:]
    correlation = torch.fft.irfft2(spectra[0] * spectra[1].conj(), s=(height, width))
    best = int(correlation.argmax())
    down, right = ((best // width + height // 2) % height - height // 2, (best % width + width // 2) % width - width // 2)
    if abs(down) > height // 2 - 8 or abs(right) > width // 2 - 8:
        raise UserError(f"no alignment: the result fits best when moved by {right}, {down} pixels")
    rows = slice(max(down, 0), height + min(down, 0))
    columns = slice(max(right, 0), width + min(right, 0))
    moved = restored.roll((down, right), (-2, -1))
    return moved[..., rows, columns].clamp(0, 1), target[..., rows, columns]


def _by_homography(restored: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    try:
        import cv2
    except ImportError as fault:
        raise UserError("this suite aligns results with OpenCV, which is not installed: pip install 'restorekit[align]'") from fault
    moving, fixed = (np.ascontiguousarray(image[0].permute(1, 2, 0).float().numpy()) for image in (restored, target))
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ITERATIONS, 0)
    start = np.eye(3, dtype=np.float32)
    try:
        everywhere = np.ones(fixed.shape[:2], np.uint8)
        _, warp = cv2.findTransformECC(_grey(fixed), _grey(moving), start, cv2.MOTION_HOMOGRAPHY, criteria, everywhere, BLUR)
    except cv2.error as fault:
        raise UserError("no alignment: the result has too little in common with the target for OpenCV to find a homography") from fault
    height, width = fixed.shape[:2]
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(moving, warp, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT).reshape(fixed.shape)
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    covered = cv2.warpPerspective(np.ones((height, width), np.uint8), warp, (width, height), flags=flags)
    rows, columns = _rectangle(covered > 0)
    result = torch.from_numpy(warped[rows, columns]).permute(2, 0, 1)[None].contiguous()
    return result.to(target).clamp(0, 1), target[..., rows, columns]


def _grey(pixels: Pixels) -> Pixels:
    """Luma of RGB (BT.601), as OpenCV computes it."""
    weights = np.array([0.299, 0.587, 0.114], np.float32) if pixels.shape[2] == 3 else np.ones(1, np.float32)
    return np.ascontiguousarray(pixels @ weights)


def _rectangle(covered: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of a rectangle all of which is `covered`: sides move in, the one that lacks most first."""
    top, bottom, left, right = 0, covered.shape[0], 0, covered.shape[1]
    while top < bottom and left < right:
        inside = covered[top:bottom, left:right]
        lacking = [1 - side.mean() for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1])]
        worst = int(np.argmax(lacking))
        if lacking[worst] == 0:
            return slice(top, bottom), slice(left, right)
        top, bottom, left, right = top + (worst == 0), bottom - (worst == 1), left + (worst == 2), right - (worst == 3)
    raise UserError("no alignment: the aligned result does not overlap the target")
