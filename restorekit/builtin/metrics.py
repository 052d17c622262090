"""Scores of restored images, exactly as the benchmark protocol pins them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from restorekit.errors import ImageError
from restorekit.interfaces import Metric

WINDOW = 11
"""Width of the Gaussian window of SSIM, in pixels."""
SIGMA = 1.5
"""Its standard deviation, in pixels."""


def to_uint8_levels(image: Tensor) -> Tensor:
    """`image` in [0, 1], clipped and rounded to the 256 levels of an 8-bit picture, as floats from 0 to 255.

    NaN stays NaN, so that a failed restoration shows in its score. What comes from a device without
    float64 (mps) goes to the CPU, because scores are accumulated in float64.
    """
    if not image.is_floating_point():
        raise ImageError(f"expected floats in [0, 1], got {image.dtype}; divide by 255 first")
    levels = (image.float().clamp(0, 1) * 255).round()
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


def _window() -> list[float]:
    weights = [math.exp(-((i - WINDOW // 2) ** 2) / (2 * SIGMA**2)) for i in range(WINDOW)]
    return [weight / sum(weights) for weight in weights]


def _blur(image: Tensor) -> Tensor:
    """Filter the last two dimensions with the Gaussian window; only the valid area remains.

    Sums of shifted views: nine times faster on a CPU than a convolution of one channel, and out of reach of
    the settings that let convolutions and matrix products round to bfloat16 or TF32.
    """
    weights = _window()
    for dimension in (-1, -2):
        valid = image.shape[dimension] - WINDOW + 1
        blurred = image.narrow(dimension, 0, valid) * weights[0]
        for i, weight in enumerate(weights[1:], start=1):
            blurred.add_(image.narrow(dimension, i, valid), alpha=weight)
        image = blurred
    return image


def structural_similarity(first: Tensor, second: Tensor, *, data_range: float) -> Tensor:
    """Mean SSIM of each pair of images; differentiable.

    Gaussian window of 11 pixels and σ 1.5, population covariance, valid area, mean over channels.
    Wang et al., IEEE TIP 2004, doi:10.1109/TIP.2003.819861.

    Args:
        first: ``(N, C, H, W)``, float32 or float64.
        second: likewise.
        data_range: width of the interval that the values come from.

    Returns:
        ``(N,)``.

    Raises:
        ImageError: the images are smaller than the window.
    """
    height, width = first.shape[-2:]
    if min(height, width) < WINDOW:
        raise ImageError(f"image is {width}×{height}; SSIM needs at least {WINDOW}×{WINDOW} pixels, the size of its window")
    # Sum and difference instead of the images themselves: four maps to filter rather than five, and small
    # differences do not drown in the rounding of large squares. Centring the sum serves the same end.
    shift = data_range
    total, difference = first + second - shift, first - second
    mean_total, mean_difference = _blur(total), _blur(difference)
    var_total = _blur(total**2) - mean_total**2
    var_difference = _blur(difference**2) - mean_difference**2
    square_total, square_difference = (mean_total + shift) ** 2, mean_difference**2
    c1, c2 = 2 * (0.01 * data_range) ** 2, 2 * (0.03 * data_range) ** 2
    luminance = (square_total - square_difference + c1) / (square_total + square_difference + c1)
    structure = (var_total - var_difference + c2) / (var_total + var_difference + c2)
    return (luminance * structure).mean(dim=(1, 2, 3))


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
        difference = to_uint8_levels(restored) - to_uint8_levels(target)
        error = (difference**2).mean(dim=(1, 2, 3), dtype=torch.float64)
        return 10 * torch.log10(255**2 / error)


class Ssim(Metric):
    """Structural similarity of 8-bit RGB.

    After the same clipping and rounding as `Psnr`; window and covariance as in `structural_similarity`,
    data range 255.
    """

    higher_is_better = True
    bounds = (-1.0, 1.0)

    @torch.no_grad()
    def forward(self, restored: Tensor, target: Tensor | None = None) -> Tensor:
        """Scores ``(N,)`` in float64 of images ``(N, C, H, W)`` in [0, 1].

        Raises:
            ImageError: the target is missing or of another shape, or the images are smaller than the window.
        """
        target = check_pair(restored, target)
        first, second = to_uint8_levels(restored).flatten(0, 1), to_uint8_levels(target).flatten(0, 1)
        # One channel at a time, because the float64 maps of a whole photograph do not fit a processor's cache.
        planes = [
            structural_similarity(a[None, None].double(), b[None, None].double(), data_range=255)
            for a, b in zip(first, second, strict=True)
        ]
        return torch.cat(planes).view(restored.shape[:2]).mean(1)
