"""Blurring and Wiener deconvolution of whole batches, inside a network."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


class Deconvolution:
    """Convolution with one PSF per image and its inverse, for images of one size; gradients pass through both.

    Beyond their borders images are taken as mirrored, a little further than the PSF reaches, as far as the
    image goes, so that ripples from the seam stay outside.

    Args:
        psf: ``(N, s, s)``, s odd.
        height: of the images.
        width: of the images.
    """

    def __init__(self, psf: Tensor, height: int, width: int) -> None:
        from scipy.fft import next_fast_len  # a network without an estimator starts faster without scipy

        size = psf.shape[-1]
        before = [min(2 * (size // 2), side - 1) for side in (height, width)]
        lengths = [next_fast_len(side + 2 * more, real=True) for side, more in zip((height, width), before, strict=True)]
        after = [min(length - side - more, side - 1) for length, side, more in zip(lengths, (height, width), before, strict=True)]
        self.shape = tuple(more + side + rest for more, side, rest in zip(before, (height, width), after, strict=True))
        self.frame = (before[1], after[1], before[0], after[0])
        self.inside = (..., slice(before[0], before[0] + height), slice(before[1], before[1] + width))
        tall, wide = self.shape
        centred = torch.roll(F.pad(psf, (0, wide - size, 0, tall - size)), (-(size // 2), -(size // 2)), (1, 2))
        self.transfer = torch.fft.rfft2(centred)[:, None]
        self.power = torch.view_as_real(self.transfer).square().sum(-1)
        self.rough = _laplacian_power(tall, wide, psf.device) + 0.01

    def blur(self, image: Tensor) -> Tensor:
        """`image` ``(N, C, H, W)`` convolved with the PSF."""
        return self._image(self.transfer * self._spectrum(image))

    def sharpen(self, image: Tensor, strengths: tuple[float, ...]) -> list[Tensor]:
        """The Wiener filter of each strength: its regularisation, on the squared Laplacian plus 1 %."""
        explained = self.transfer.conj() * self._spectrum(image)
        # Torch divides by complex numbers only, slower than it multiplies.
        return [self._image(explained * (self.power + strength * self.rough).reciprocal()) for strength in strengths]

    def _spectrum(self, image: Tensor) -> Tensor:
        spectrum: Tensor = torch.fft.rfft2(F.pad(image, self.frame, mode="reflect"))
        return spectrum

    def _image(self, spectrum: Tensor) -> Tensor:
        image: Tensor = torch.fft.irfft2(spectrum, s=self.shape)[self.inside]
        return image


def _laplacian_power(height: int, width: int, device: torch.device) -> Tensor:
    down, across = torch.fft.fftfreq(height, device=device), torch.fft.rfftfreq(width, device=device)
    return (4 - 2 * torch.cos(2 * math.pi * down)[:, None] - 2 * torch.cos(2 * math.pi * across)).square()
