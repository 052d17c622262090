"""Structural similarity under the rulers that papers use: they differ by more than the methods that they rank."""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from torch import Tensor

from restorekit.builtin.metrics import check_pair, luma, to_uint8_levels
from restorekit.builtin.ssim_tiles import REACH, WINDOW, Prepare, available, tiled_means, window
from restorekit.errors import ImageError
from restorekit.interfaces import Metric

LEVELS = 255
"""Data range of 8-bit pictures."""

SMALL = 1 << 15
"""Pixels below which float64 is fast enough, and too few are looked at to know what rounding does."""

DOUBT = 3e-6
"""What float32 may have done to a score at most; the estimate is above 2e-6 for no photograph of CBSD68."""

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of MS-SSIM, from the finest scale to the coarsest."""


def _blur(image: Tensor) -> Tensor:
    """Filter the last two dimensions with the Gaussian window; only the valid area remains.

    Sums of shifted views: nine times faster on a CPU than a convolution of one channel, and out of reach of
    the settings that let convolutions and matrix products round to bfloat16 or TF32.
    """
    weights = window()
    for dimension in (-1, -2):
        valid = image.shape[dimension] - REACH
        blurred = image.narrow(dimension, 0, valid) * weights[0]
        for i, weight in enumerate(weights[1:], start=1):
            blurred.add_(image.narrow(dimension, i, valid), alpha=weight)
        image = blurred
    return image


def _maps(first: Tensor, second: Tensor, data_range: float, mix: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Maps of the two factors of SSIM: luminance, and contrast with structure.

    Raises:
        ImageError: the images are smaller than the window.
    """
    height, width = first.shape[-2:]
    if min(height, width) < WINDOW:
        raise ImageError(f"image is {width}×{height}; SSIM needs at least {WINDOW}×{WINDOW} pixels, the size of its window")

    def blurred(image: Tensor) -> Tensor:
        image = _blur(image)
        return image if mix is None else torch.einsum("ij,...jhw->...ihw", mix.to(image), image)

    # Sum and difference instead of the images themselves: four maps to filter rather than five, and small
    # differences do not drown in the rounding of large squares. Centring the sum serves the same end.
    shift = data_range
    total, difference = first + second - shift, first - second
    mean_total, mean_difference = blurred(total), blurred(difference)
    var_total = blurred(total**2) - mean_total**2
    var_difference = blurred(difference**2) - mean_difference**2
    square_total, square_difference = (mean_total + shift) ** 2, mean_difference**2
    c1, c2 = 2 * (0.01 * data_range) ** 2, 2 * (0.03 * data_range) ** 2
    luminance = (square_total - square_difference + c1) / (square_total + square_difference + c1)
    structure = (var_total - var_difference + c2) / (var_total + var_difference + c2)
    return luminance, structure


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
    luminance, structure = _maps(first, second, data_range)
    return (luminance * structure).mean(dim=(1, 2, 3))


def means(
    first: Tensor, second: Tensor, prepare: Prepare = to_uint8_levels, *, mix: Tensor | None = None, luminance: bool = True
) -> Tensor:
    """Mean SSIM of images, channel by channel, with data range 255.

    In float32 by `restorekit.builtin.ssim_tiles` where that can be had and is exact enough, else in float64.

    Args:
        first: ``(N, C, H, W)``.
        second: likewise.
        prepare: turns one of them, ``(C, H, W)``, into what is compared, from 0 to 255.
        mix: ``(C, C)`` with rows that sum to 1: what the filter does across channels; null for nothing.
        luminance: whether SSIM has its factor for luminance, or only that for contrast and structure.

    Returns:
        ``(N, C)`` float64.

    Raises:
        ImageError: the images are smaller than the window.
    """
    tiled = first.device.type == "cpu" and math.prod(first.shape[-2:]) >= SMALL and min(first.shape[-2:]) >= WINDOW and available()
    found = []
    for a, b in zip(first, second, strict=True):  # one by one, because the maps of a batch do not fit a processor's cache
        if tiled:
            score, doubt = tiled_means(a, b, prepare, data_range=LEVELS, mix=mix, luminance=luminance)
            if not doubt > DOUBT:  # NaN is no reason to try again
                found.append(score.clamp(-1, 1))  # rounding may lead past 1 in the eighth digit
                continue
        light, structure = _maps(prepare(a).double(), prepare(b).double(), LEVELS, mix)
        found.append((light * structure if luminance else structure).mean((-2, -1)))
    return torch.stack(found)


def _as_is(levels: Tensor, *, out: Tensor | None = None) -> Tensor:
    return levels if out is None else out.copy_(levels)


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
        return means(restored, target).mean(1)


class SsimY(Metric):
    """Structural similarity of the luma of 8-bit RGB.

    After the same clipping and rounding as `Psnr`; luma of BT.601 in studio range, not rounded, data range 255, window
    and covariance as in `structural_similarity`.
    """

    higher_is_better = True
    bounds = (-1.0, 1.0)

    @torch.no_grad()
    def forward(self, restored: Tensor, target: Tensor | None = None) -> Tensor:
        """Scores ``(N,)`` in float64 of images ``(N, 1 or 3, H, W)`` in [0, 1].

        Raises:
            ImageError: the target is missing or of another shape, the images are smaller than the window, or they have
                neither 1 nor 3 channels.
        """
        target = check_pair(restored, target)
        first, second = (luma(to_uint8_levels(image)).float() for image in (restored, target))
        return means(first, second, _as_is).mean(1)


class SsimMatlab3d(Metric):
    """What MATLAB's ``ssim`` gives for RGB pictures: colour is taken for the third dimension of a volume.

    A Gaussian window of 11×11×11, σ 1.5, on 8-bit RGB continued by its outermost values in all three
    directions; population covariance, data range 255, mean over all pixels and channels. The papers of
    MPRNet, HINet and NAFNet score GoPro with it; it lies 0.02 to 0.15 above `Ssim`.
    """

    higher_is_better = True
    bounds = (-1.0, 1.0)

    @torch.no_grad()
    def forward(self, restored: Tensor, target: Tensor | None = None) -> Tensor:
        """Scores ``(N,)`` in float64 of images ``(N, C, H, W)`` in [0, 1].

        Raises:
            ImageError: the target is missing or of another shape.
        """
        target = check_pair(restored, target)
        margin = WINDOW // 2
        first, second = (F.pad(to_uint8_levels(image), (margin,) * 4, mode="replicate") for image in (restored, target))
        return means(first, second, _as_is, mix=_across_channels(restored.shape[1])).mean(1)


def _across_channels(channels: int) -> Tensor:
    """The Gaussian window over channels that continue as the outermost one: ``(C, C)``."""
    mix = torch.zeros(channels, channels, dtype=torch.float64)
    for channel in range(channels):
        for offset, weight in enumerate(window(), start=-(WINDOW // 2)):
            mix[channel, min(max(channel + offset, 0), channels - 1)] += weight
    return mix


class MsSsim(Metric):
    """Structural similarity at several scales, of 8-bit RGB.

    After the same clipping and rounding as `Psnr`. Contrast and structure at each scale and luminance at
    the coarsest are means over `structural_similarity`'s maps of one channel; they are raised to the
    paper's exponents and multiplied, and the mean is over channels. Between scales the picture is halved
    by the mean of 2×2 pixels; a size that is odd repeats its last row or column, as in the authors' code.
    Negative means count as 0. Wang, Simoncelli & Bovik, Asilomar 2003, doi:10.1109/ACSSC.2003.1292216.

    Args:
        scales: 5 as in the paper. Fewer let smaller pictures through; their exponents are the paper's first ones,
            scaled so that they sum to 1.
    """

    higher_is_better = True
    bounds = (0.0, 1.0)

    def __init__(self, *, scales: Annotated[int, Ge(1), Le(5)] = 5) -> None:
        super().__init__()
        self.scales = scales
        total = sum(SCALE_WEIGHTS[:scales])
        self.exponents = tuple(weight / total if scales < len(SCALE_WEIGHTS) else weight for weight in SCALE_WEIGHTS[:scales])

    @torch.no_grad()
    def forward(self, restored: Tensor, target: Tensor | None = None) -> Tensor:
        """Scores ``(N,)`` in float64 of images ``(N, C, H, W)`` in [0, 1].

        Raises:
            ImageError: the target is missing or of another shape, or the images are too small for this many scales.
        """
        target = check_pair(restored, target)
        height, width = restored.shape[-2:]
        smallest = REACH * 2 ** (self.scales - 1) + 1
        if min(height, width) < smallest:
            raise ImageError(
                f"image is {width}×{height}; MS-SSIM with {self.scales} scales needs at least {smallest}×{smallest} pixels. "
                "Set the option scales lower"
            )
        pair = to_uint8_levels(restored), to_uint8_levels(target)
        score = torch.ones(restored.shape[:2], dtype=torch.float64, device=pair[0].device)
        for scale, exponent in enumerate(self.exponents, start=1):
            score = score * means(*pair, _as_is, luminance=scale == self.scales).clamp(min=0) ** exponent
            pair = _halved(pair[0]), _halved(pair[1])
        return score.mean(1)


def _halved(levels: Tensor) -> Tensor:
    height, width = levels.shape[-2:]
    return F.avg_pool2d(F.pad(levels, (0, width % 2, 0, height % 2), mode="replicate"), 2)
