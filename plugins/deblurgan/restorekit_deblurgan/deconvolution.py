"""Wiener deconvolution of whole batches, as input for a network."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def deconvolve(image: Tensor, psf: Tensor, strengths: tuple[float, ...]) -> list[Tensor]:
    """Wiener filters of several strengths, and what the first result leaves unexplained.

    Args:
        image: ``(N, C, H, W)``; beyond its borders it is taken as mirrored.
        psf: ``(N, s, s)``.
        strengths: regularisation of each filter.

    Returns:
        One image for each strength, and `image` minus the first of them blurred with `psf`.
    """
    from scipy.fft import next_fast_len  # a network without an estimator starts faster without scipy

    height, width = image.shape[-2:]
    radius = psf.shape[-1] // 2
    # Mirrored a little further than the PSF reaches, as far as the image goes, so that ripples from the seam stay outside.
    sides = [min(2 * radius, side - 1) for side in (height, width)]
    tall, wide = (next_fast_len(side + 2 * more, real=True) for side, more in zip((height, width), sides, strict=True))
    beyond = [min(total - side - more, side - 1) for total, side, more in zip((tall, wide), (height, width), sides, strict=True)]
    framed = F.pad(image, (sides[1], beyond[1], sides[0], beyond[0]), mode="reflect")
    inside = (..., slice(sides[0], sides[0] + height), slice(sides[1], sides[1] + width))
    tall, wide = framed.shape[-2:]
    centred = torch.roll(F.pad(psf, (0, wide - psf.shape[-1], 0, tall - psf.shape[-2])), (-radius, -radius), (1, 2))
    transfer = torch.fft.rfft2(centred)[:, None]
    spectrum = torch.fft.rfft2(framed)
    power = transfer.real.square() + transfer.imag.square()
    rough = _laplacian_power(tall, wide, image.device) + 0.01
    results = [transfer.conj() * spectrum / (power + strength * rough) for strength in strengths]
    blurred_again = torch.fft.irfft2(transfer * results[0], s=(tall, wide))[inside]
    return [torch.fft.irfft2(result, s=(tall, wide))[inside] for result in results] + [image - blurred_again]


def _laplacian_power(height: int, width: int, device: torch.device) -> Tensor:
    down, across = torch.fft.fftfreq(height, device=device), torch.fft.rfftfreq(width, device=device)
    return (4 - 2 * torch.cos(2 * math.pi * down)[:, None] - 2 * torch.cos(2 * math.pi * across)).square()
