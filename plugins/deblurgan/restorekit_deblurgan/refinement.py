"""A better estimate of the point-spread function from what has been restored so far, inside a network."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EDGE = 0.06
"""Length of a gradient from which it takes part in the fit: fainter ones are texture, still blurred, which speaks for no blur."""

PENALTIES = (8.0, 64.0)
"""Weights of the squared norm of the fitted PSF, for an image of 481×321 pixels; what differs between the two fits is noise."""

RISE = 16
"""Pixels over which the fit fades in from the border, so that it is not taken for an edge."""


class Refinement(nn.Module):
    """Corrects a PSF by those that fit best between the edges of the restored and of the blurred image.

    The fits are least squares, one division of spectra each, and gradients pass through them into the
    network that made the restored image. A small network with the fits and the present PSF before it says
    what to change; untrained it changes nothing. After Schuler et al., "Learning to deblur", TPAMI 2016,
    arXiv:1406.7444, whose network also ends in such a quotient.

    Args:
        width: channels.
        depth: residual convolutions of 5×5, each weighed by its mean over the PSF.
    """

    def __init__(self, *, width: int = 32, depth: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1 + len(PENALTIES), width, 5, padding=2)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 5, padding=2) for _ in range(depth))
        self.weigh = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Conv2d(width, 1, 5, padding=2)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, psf: Tensor, restored: Tensor, blurred: Tensor) -> Tensor:
        """The PSF ``(N, s, s)``, sum 1, for the images ``(N, C, H, W)``; entries may be negative."""
        with torch.autocast(psf.device.type, enabled=False):
            maps = torch.stack((psf, *fits(restored.float(), blurred.float(), psf.shape[-1])), dim=1)
        peak = psf.amax((1, 2))[:, None, None, None]
        features = self.stem(maps / peak)
        for convolve, weigh in zip(self.body, self.weigh, strict=True):
            found = F.relu(convolve(features))
            features = features + found * torch.sigmoid(weigh(found.mean((2, 3))))[:, :, None, None]
        change = self.head(features).float()
        change = 0.1 * peak * (change - change.mean((2, 3), keepdim=True))
        corrected: Tensor = psf + change[:, 0]
        return corrected


def fits(restored: Tensor, blurred: Tensor, size: int) -> list[Tensor]:
    """PSFs ``(N, size, size)`` between the grey images' gradients, by ridge regression of each penalty."""
    height, width = restored.shape[-2:]
    window = _rise(height, restored.device)[:, None] * _rise(width, restored.device)
    spectra = functools.partial(torch.fft.rfft2, s=(height, width))
    sharp = _gradients(restored.mean(1))
    sharp = sharp * (sharp.detach().square().sum(1, keepdim=True) > EDGE**2)
    edges, given = spectra(sharp * window), spectra(_gradients(blurred.mean(1)) * window)
    shared = (edges.conj() * given).sum(1)
    power = torch.view_as_real(edges).square().sum((1, -1))
    share = height * width / (481 * 321)
    radius = size // 2
    fits = (torch.fft.irfft2(shared / (power + penalty * share), s=(height, width)) for penalty in PENALTIES)
    return [torch.roll(fit, (radius, radius), (1, 2))[:, :size, :size] for fit in fits]


def _gradients(grey: Tensor) -> Tensor:
    """Differences to the right and to the lower neighbour, ``(N, 2, H, W)`` from ``(N, H, W)``."""
    across = F.pad(grey[..., 1:] - grey[..., :-1], (0, 1))
    along = F.pad(grey[..., 1:, :] - grey[..., :-1, :], (0, 0, 0, 1))
    return torch.stack((across, along), dim=1)


def _rise(length: int, device: torch.device) -> Tensor:
    distance = torch.arange(length, device=device)
    distance = torch.minimum(distance, length - 1 - distance) + 0.5
    return 0.5 - 0.5 * torch.cos(torch.pi * (distance / min(RISE, length / 4)).clamp(max=1))
