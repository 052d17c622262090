"""Blind estimation of the point-spread function with a sparse-gradient prior."""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Lt
from scipy.fft import next_fast_len
from torch import Tensor

from restorekit.builtin.convolution import mirror, transfer
from restorekit.interfaces import Estimator

COARSEST = 5
"""Size of the PSF on the coarsest scale, where almost any blur is a spot and cannot be mistaken."""

SCALE = math.sqrt(0.5)
"""From one scale to the next coarser one: a PSF found on one is close enough to start from on the next."""

GROWTH = 4.0
"""Factor by which the splitting weight grows. 2, the usual value, takes twice the time and ends in poor PSFs more often."""

RELAXED = 1e5
"""Splitting weight at which the sharp image and its sparse gradients agree."""

FAINT = 0.05
"""Share of the brightest entry below which an entry of a PSF counts as noise."""

SPECK = 0.05
"""Share of the light below which a connected part of a PSF counts as noise. With 0.1 the faint tails of uneven shake went, and with
them the centroid; with 0.03 more noise stays than tails."""


class L0Estimator(Estimator):
    """PSF of a shaken camera, by alternating between a sharp image of few edges and the PSF, from coarse to fine.

    On each scale the image is first sharpened with the present PSF under a prior that counts non-zero
    gradients, solved by half-quadratic splitting; then the PSF is fitted by least squares between the
    gradients of that image and of the blurred one. Faint entries and specks are removed and the PSF is
    moved to its centroid. Everything is a handful of Fourier transforms: half a second for a photograph of
    481×321 on one core. It needs edges: little texture, or only texture, can mislead it.

    Papers: Xu, Zheng & Jia, "Unnatural L0 sparse representation for natural image deblurring", CVPR
    2013; alternation and scales after Cho & Lee, "Fast motion deblurring", SIGGRAPH Asia 2009.

    Args:
        size: of the PSF in pixels, odd; the longest blur that it can find. Images narrower than three times
            this are searched for a shorter one.
        sparsity: weight of the gradient count against the squared error of the blurred image.
        smoothness: weight of the PSF's squared norm, for an image of 481×321 pixels. Below the default more searches
            go astray on the coarse scales; above it the PSFs of light blur come out too wide.
        rounds: alternations on each scale.
        window: height and width of the part that is looked at, the one with the strongest gradients; larger
            images cost no more.
    """

    def __init__(
        self,
        *,
        size: Annotated[int, Ge(5), Lt(256)] = 31,
        sparsity: Annotated[float, Gt(0)] = 4e-3,
        smoothness: Annotated[float, Gt(0)] = 32.0,
        rounds: Annotated[int, Ge(1)] = 5,
        window: Annotated[int, Ge(64)] = 512,
    ) -> None:
        super().__init__()
        if size % 2 == 0:
            raise ValueError(f"size: {size} is even; a PSF has a middle pixel, so give an odd size")
        self.size, self.sparsity, self.smoothness = size, sparsity, smoothness
        self.rounds, self.window = rounds, window

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Estimate ``(N, size, size)`` from ``(N, C, H, W)``."""
        # Fourier transforms need float32, whatever the networks around them run in.
        with torch.autocast(image.device.type, enabled=False):
            blurred = self._cut(image.float().mean(dim=1))
            # On a CPU one by one, so that what an image is made into stays in the cache.
            parts = torch.split(blurred, 1) if blurred.device.type == "cpu" else [blurred]
            psf = torch.cat([self._search(part) for part in parts])
            return F.pad(psf, ((self.size - psf.shape[-1]) // 2,) * 4)

    def _search(self, blurred: Tensor) -> Tensor:
        """From the coarsest scale to the finest, ``(N, H, W)`` to ``(N, s, s)``."""
        longest = min(self.size, max(COARSEST, min(blurred.shape[-2:]) // 3 | 1))
        scales = [1.0]
        while longest * scales[-1] * SCALE >= COARSEST:
            scales.append(scales[-1] * SCALE)
        psf = blurred.new_zeros(len(blurred), COARSEST, COARSEST)
        psf[:, COARSEST // 2, COARSEST // 2] = 0.5  # a small push along one axis, since a perfect dot would stay one
        psf[:, COARSEST // 2, COARSEST // 2 - 1 : COARSEST // 2 + 2 : 2] = 0.25
        for scale in reversed(scales):
            height, width = (max(2, round(side * scale)) for side in blurred.shape[-2:])
            small = F.interpolate(blurred[:, None], size=(height, width), mode="bilinear", antialias=True, align_corners=False)[:, 0]
            psf = self._on_scale(small, psf, math.ceil(longest * scale) | 1)
        return psf

    def _cut(self, grey: Tensor) -> Tensor:
        """The part of each image, ``(N, h, w)``, with the strongest gradients."""
        height, width = (min(side, self.window) for side in grey.shape[-2:])
        if (height, width) == tuple(grey.shape[-2:]):
            return grey
        energy = (grey[:, 1:, 1:] - grey[:, :-1, 1:]).abs() + (grey[:, 1:, 1:] - grey[:, 1:, :-1]).abs()
        table = F.pad(energy.double().cumsum(1).cumsum(2), (1, 0, 1, 0))  # summed-area table
        rows, columns = grey.shape[-2] - height + 1, grey.shape[-1] - width + 1
        upper, lower = table[:, :rows], table[:, height - 1 :]
        total = lower[..., width - 1 :] - lower[..., :columns] - upper[..., width - 1 :] + upper[..., :columns]
        best = total.flatten(1).argmax(1).tolist()
        corners = [divmod(place, total.shape[2]) for place in best]
        return torch.stack([one[top : top + height, left : left + width] for one, (top, left) in zip(grey, corners, strict=True)])

    def _on_scale(self, blurred: Tensor, psf: Tensor, size: int) -> Tensor:
        height, width = blurred.shape[-2:]
        psf = F.interpolate(psf[:, None], size=(size, size), mode="bilinear", align_corners=True)[:, 0]
        psf = psf / psf.sum(dim=(1, 2), keepdim=True)
        framed = _framed(blurred, size)
        inside = (slice(None), slice(size, size + height), slice(size, size + width))
        fit = _PsfFit(blurred, self.smoothness)
        sparsity = self.sparsity
        for _ in range(self.rounds):
            psf = _tidy(fit(sparse_deconvolution(framed, psf, sparsity)[inside], size))
            sparsity = max(sparsity / 1.1, 1e-4)  # details come back once the coarse edges have settled
        return psf


def sparse_deconvolution(blurred: Tensor, psf: Tensor, sparsity: float) -> Tensor:
    """The image of few edges that, convolved with its PSF, is near the blurred one; borders wrap around.

    Minimises ``|psf * x - blurred|² + sparsity · (number of pixels with a gradient)``.

    Args:
        blurred: ``(N, H, W)``.
        psf: ``(N, s, s)``.
        sparsity: as in `L0Estimator`.

    Returns:
        ``(N, H, W)``.
    """
    height, width = blurred.shape[-2:]
    spread = transfer(psf, (height, width))
    explained = spread.conj() * torch.fft.rfft2(blurred)
    # Each value twice, for the real and the imaginary part: torch divides complex numbers by complex ones only, ten times slower.
    power, edges = (both.repeat_interleave(2, -1) for both in (_power(spread), _laplacian(height, width, blurred.device)))
    sharp, weight = blurred, 2 * sparsity
    across, along, edge, divergence = (torch.empty_like(blurred) for _ in range(4))
    while weight < RELAXED:
        _difference(sharp, across, 2)
        _difference(sharp, along, 1)
        torch.mul(across, across, out=edge).addcmul_(along, along)
        torch.ge(edge, sparsity / weight, out=edge)
        across.mul_(edge)
        along.mul_(edge)
        # Their adjoint is taken here, so that one transform serves for both directions.
        torch.sub(across[..., :-1], across[..., 1:], out=divergence[..., 1:])
        torch.sub(across[..., -1:], across[..., :1], out=divergence[..., :1])
        divergence[:, 1:] += along[:, :-1]
        divergence[:, :1] += along[:, -1:]
        divergence -= along
        wanted = torch.add(explained, torch.fft.rfft2(divergence), alpha=weight)
        torch.view_as_real(wanted).flatten(-2).div_(torch.add(power, edges, alpha=weight))
        sharp = torch.fft.irfft2(wanted, s=(height, width))
        weight *= GROWTH
    return sharp


def _difference(image: Tensor, out: Tensor, dim: int) -> None:
    """Into `out` the differences of `image` ``(N, H, W)`` to the next neighbour along `dim`; the last one's is the first."""
    length = image.shape[dim]
    torch.sub(image.narrow(dim, 1, length - 1), image.narrow(dim, 0, length - 1), out=out.narrow(dim, 0, length - 1))
    torch.sub(image.narrow(dim, 0, 1), image.narrow(dim, length - 1, 1), out=out.narrow(dim, length - 1, 1))


class _PsfFit:
    """Least squares between the gradients of a sharp and of the blurred image, ``(N, H, W)``."""

    def __init__(self, blurred: Tensor, smoothness: float) -> None:
        self.shape = blurred.shape[-2:]
        self.window = _rise(self.shape[0], blurred.device)[:, None] * _rise(self.shape[1], blurred.device)
        self.penalty = smoothness * self.shape[0] * self.shape[1] / (481 * 321)
        self.blurred = self._spectra(blurred)

    def _spectra(self, image: Tensor) -> Tensor:
        across = F.pad(image[..., 1:] - image[..., :-1], (0, 1))
        along = F.pad(image[..., 1:, :] - image[..., :-1, :], (0, 0, 0, 1))
        spectra: Tensor = torch.fft.rfft2(torch.stack((across, along), dim=1) * self.window)
        return spectra

    def __call__(self, sharp: Tensor, size: int) -> Tensor:
        spectra = self._spectra(sharp)
        fitted = (spectra.conj() * self.blurred).sum(1) / (_power(spectra).sum(1) + self.penalty)
        radius = size // 2
        psf: Tensor = torch.roll(torch.fft.irfft2(fitted, s=self.shape), (radius, radius), (1, 2))
        return psf[:, :size, :size]


def _tidy(psf: Tensor) -> Tensor:
    """PSFs without negative, faint and stray entries, moved to their centroid, sum 1."""
    psf = torch.where(psf < FAINT * psf.amax((1, 2), keepdim=True), 0, psf).clamp(min=0)
    connected = _connected(psf > 0)
    light = torch.zeros(len(psf), psf[0].numel() + 1, device=psf.device).scatter_add_(1, connected.flatten(1), psf.flatten(1))
    bright = light >= SPECK * psf.sum((1, 2))[:, None]
    psf = psf * bright.gather(1, connected.flatten(1)).view_as(psf)
    middle = psf.shape[-1] // 2
    dark = psf.sum((1, 2)) <= 0  # nothing fits: no blur rather than no light
    psf[:, middle, middle] += dark
    return _centred(psf / psf.sum((1, 2), keepdim=True))


def _connected(mask: Tensor) -> Tensor:
    """Numbers ``(N, H, W)`` that the true entries of `mask` share with those they hang together with, corners included; 0 elsewhere."""
    own = torch.arange(1, mask[0].numel() + 1, device=mask.device, dtype=torch.float32).view(1, *mask.shape[1:]) * mask
    while True:
        # the largest number around, then the number that the entry of that number has by now, which halves the way there
        near = F.max_pool2d(own, 3, 1, 1) * mask
        known = F.pad(near.flatten(1), (1, 0))
        far = known.gather(1, near.flatten(1).long()).view_as(own)
        if torch.equal(far, own):
            return own.long()
        own = far


def _centred(psf: Tensor) -> Tensor:
    """`psf` ``(N, s, s)`` moved by a share of a pixel and more, bilinearly, so that its centroid is its middle; sum 1."""
    size = psf.shape[-1]
    place = torch.arange(size, device=psf.device, dtype=psf.dtype)
    shift = torch.stack([(psf.sum(dim) * place).sum(1) for dim in (2, 1)], dim=1) - size // 2
    rows, columns = ((1 - (place[None, :, None] + by[:, None, None] - place).abs()).clamp(min=0) for by in shift.unbind(1))
    moved = rows @ psf @ columns.mT
    return moved / moved.sum((1, 2), keepdim=True)


def _framed(image: Tensor, radius: int) -> Tensor:
    """`image` in a mirrored frame of at least `radius`, of a size whose Fourier transform is fast."""
    height, width = image.shape[-2:]
    bottom, right = (next_fast_len(side + 2 * radius, real=True) - side - radius for side in (height, width))
    return mirror(image, (radius, bottom, radius, right))


def _laplacian(height: int, width: int, device: torch.device) -> Tensor:
    """Squared transfer functions of the differences to the right and to the lower neighbour, added up."""
    down, across = torch.fft.fftfreq(height, device=device), torch.fft.rfftfreq(width, device=device)
    laplacian: Tensor = 4 - 2 * torch.cos(2 * math.pi * down)[:, None] - 2 * torch.cos(2 * math.pi * across)
    return laplacian


def _power(spectrum: Tensor) -> Tensor:
    power: Tensor = torch.view_as_real(spectrum).square().sum(-1)
    return power


def _rise(length: int, device: torch.device) -> Tensor:
    """A window that rises over 16 pixels at each end: what lies outside the image must not look like an edge."""
    steps = min(16, length // 4)
    distance = torch.arange(length, device=device)
    distance = torch.minimum(distance, length - 1 - distance)
    return 0.5 - 0.5 * torch.cos(math.pi * ((distance + 0.5) / max(steps, 1)).clamp(max=1))
