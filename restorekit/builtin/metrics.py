"""What every score starts from, and PSNR, exactly as the benchmark protocol pins it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from restorekit.errors import ImageError
from restorekit.interfaces import Metric

LUMA = (65.481, 128.553, 24.966)
"""Weights of red, green and blue in the luma of BT.601, studio range: black is 16, white is 235."""

BLACK = 16.0


def to_uint8_levels(image: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`image` in [0, 1], clipped and rounded to the 256 levels of an 8-bit picture, as floats from 0 to 255.

    NaN stays NaN, so that a failed restoration shows in its score. What comes from a device without
    float64 (mps) goes to the CPU, because scores are accumulated in float64.

    Args:
        image: floats of any shape.
        out: where to put the levels, float32; new memory if None.
    """
    if not image.is_floating_point():
        raise ImageError(f"expected floats in [0, 1], got {image.dtype}; divide by 255 first")
    levels = torch.clamp(image.float(), 0, 1, out=out).mul_(255).round_()
    return levels.cpu() if levels.device.type == "mps" else levels


def check_pair(restored: Tensor, target: Tensor | None) -> Tensor:
    """`target`, known to be there and of the shape ``(N, C, H, W)`` of `restored`.

    Raises:
        ImageError: it is missing, or the shapes differ; nothing is broadcast.
    """
    if target is None:
        raise ImageError("this score compares with a sharp image: pass target")
    if restored.ndim != 4 or restored.shape != target.shape:
        raise ImageError(f"expected two images of one shape (N, C, H, W), got {tuple(restored.shape)} and {tuple(target.shape)}")
    return target


def luma(levels: Tensor) -> Tensor:
    """Y of BT.601, studio range (16 to 235), not rounded, in float64.

    Args:
        levels: ``(N, 3, H, W)`` RGB from 0 to 255, or ``(N, 1, H, W)`` grey, which counts as equal red,
            green and blue.

    Returns:
        ``(N, 1, H, W)``.

    Raises:
        ImageError: another number of channels.
    """
    if levels.ndim != 4 or levels.shape[1] not in (1, 3):
        raise ImageError(f"luma is of images (N, 1 or 3, H, W), got {tuple(levels.shape)}")
    weights = LUMA if levels.shape[1] == 3 else (sum(LUMA),)
    total = sum(weight * channel.double() for weight, channel in zip(weights, levels.unbind(1), strict=True))
    return (BLACK + torch.as_tensor(total) / 255).unsqueeze(1)


def _decibels(first: Tensor, second: Tensor, peak: float) -> Tensor:
    error = (first - second).square().mean(dim=(1, 2, 3), dtype=torch.float64)
    return 10 * torch.log10(peak**2 / error)


class Psnr(Metric):
    """Peak signal-to-noise ratio in dB of 8-bit RGB.

    Both images are clipped and rounded to 8 bits; the mean squared error is over the pixels and channels
    of each image, accumulated in float64. Identical images score infinity.
    """

    higher_is_better = True
    unit = "dB"
    bounds = (0.0, math.inf)

    @torch.no_grad()
    def forward(self, restored: Tensor, target: Tensor | None = None) -> Tensor:
        """Scores ``(N,)`` in float64 of images ``(N, C, H, W)`` in [0, 1].

        Raises:
            ImageError: the target is missing or of another shape.
        """
        target = check_pair(restored, target)
        return _decibels(to_uint8_levels(restored), to_uint8_levels(target), 255)


class PsnrFloat(Metric):
    """Peak signal-to-noise ratio in dB of the values as they are: neither clipped nor rounded.

    Shows what `Psnr` hides: errors below half a level, and values outside [0, 1]. The peak is 1; the mean
    squared error is over the pixels and channels of each image, in float64. Identical images score infinity.
    """

    higher_is_better = True
    unit = "dB"

    @torch.no_grad()
    def forward(self, restored: Tensor, target: Tensor | None = None) -> Tensor:
        """Scores ``(N,)`` in float64 of images ``(N, C, H, W)``.

        Raises:
            ImageError: the target is missing or of another shape, or the images hold integers.
        """
        target = check_pair(restored, target)
        for image in (restored, target):
            if not image.is_floating_point():
                raise ImageError(f"expected floats in [0, 1], got {image.dtype}; divide by 255 first")
        first, second = (image.cpu() if image.device.type == "mps" else image for image in (restored, target))
        return _decibels(first.double(), second.double(), 1)


class PsnrY(Metric):
    """Peak signal-to-noise ratio in dB of the luma of 8-bit RGB.

    After the same clipping and rounding as `Psnr`; luma of BT.601 in studio range, not rounded, peak 255. It lies 1.32 dB
    above the same ratio of luma in full range.
    """

    higher_is_better = True
    unit = "dB"
    bounds = (0.0, math.inf)

    @torch.no_grad()
    def forward(self, restored: Tensor, target: Tensor | None = None) -> Tensor:
        """Scores ``(N,)`` in float64 of images ``(N, 1 or 3, H, W)`` in [0, 1].

        Raises:
            ImageError: the target is missing or of another shape, or the images have neither 1 nor 3 channels.
        """
        target = check_pair(restored, target)
        return _decibels(luma(to_uint8_levels(restored)), luma(to_uint8_levels(target)), 255)
