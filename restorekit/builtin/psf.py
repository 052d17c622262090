"""Point-spread functions: random trajectories of a shaken camera, straight lines, disks and Gaussians.

A PSF here is an ``(N, h, w)`` float32 tensor of odd size that sums to 1, has no negative entry and has
its centroid at the middle, so that blurring with it moves nothing.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from kornia.filters import filter2d, get_gaussian_kernel2d, get_motion_kernel2d
from torch import Tensor

INERTIA = 0.12
"""Correlation time of the turn rate and of the speed, as a share of the exposure."""

SWING = 0.02
"""Time that the camera takes to follow a reversal, as a share of the exposure: it slows down and leaves a bright spot."""

FINENESS = 4
"""Steps a pixel in which the edge of a disk is drawn."""

UNSTEADINESS = 0.8
"""Standard deviation of the logarithm of the speed: what makes parts of a real PSF brighter than others."""


def radius_for(length: float) -> int:
    """Half the size of a PSF that holds every path of this length in pixels, whatever its shape.

    A point of the path is at most `length` from the centroid, and is spread over the next whole pixel.
    """
    return math.ceil(length)


def trajectories(length: Tensor, curvature: Tensor, jerk: Tensor, points: int, rng: torch.Generator) -> Tensor:
    """Random paths of the camera during an exposure, one per sample.

    The heading is an integrated turn rate with inertia, plus sudden reversals; the speed varies
    smoothly about its mean. Both are functions of the share of the exposure that has passed, so
    that their look does not depend on the number of points.

    Args:
        length: ``(N,)`` path lengths in pixels.
        curvature: ``(N,)`` standard deviations, in radians, of the change of heading over the exposure.
        jerk: ``(N,)`` expected numbers of sudden reversals during the exposure.
        points: positions per path, at equal intervals of time; at least 2.
        rng: CPU generator.

    Returns:
        ``(N, points, 2)`` float64 positions (y, x) in pixels, their mean at 0.

    Paper: after Boracchi & Foi, "Modeling the performance of image restoration from motion blur", IEEE TIP 2012.
    """
    n, steps = len(length), points - 1
    turns, speeds, swing = _smoothing(steps)
    start, chance, angle = (torch.rand(n, k, dtype=torch.float64, generator=rng) for k in (1, steps, steps))
    turning, pushing = (torch.randn(n, steps, dtype=torch.float64, generator=rng) for _ in range(2))
    reversal = torch.where(chance < jerk.double()[:, None] / steps, math.pi * (0.5 + angle), 0.0)
    heading = 2 * math.pi * start + curvature.double()[:, None] * (turning @ turns) + reversal.cumsum(dim=1)
    speed = (UNSTEADINESS * (pushing @ speeds)).exp()
    velocity = speed[..., None] * torch.stack((heading.sin(), heading.cos()), dim=-1)
    velocity = torch.einsum("nsd,st->ntd", velocity, swing)
    path = (velocity * (length.double() / velocity.norm(dim=-1).sum(dim=1))[:, None, None]).cumsum(dim=1)
    path = torch.cat((torch.zeros(n, 1, 2, dtype=torch.float64), path), dim=1)
    return path - path.mean(dim=1, keepdim=True)


@functools.lru_cache(maxsize=8)  # as many megabytes each for the longest paths
def _smoothing(steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices ``(steps, steps)``, applied from the right: noise to a heading, noise to a speed, velocity to what inertia makes of it."""
    smooth = _inertial(steps, INERTIA)
    turns = smooth.cumsum(dim=1)
    swing = _inertial(steps, SWING)
    return turns / turns[:, -1].norm(), smooth / smooth[:, -1].norm(), swing / swing.sum(dim=0)


def _inertial(steps: int, memory: float) -> Tensor:
    """Matrix ``(steps, steps)`` that, applied from the right, gives a series exponential memory: a share of the exposure."""
    time = torch.arange(steps, dtype=torch.float64) / (memory * steps)
    return (time[:, None] - time[None]).exp().triu()


def sways(length: Tensor, points: int, rng: torch.Generator) -> Tensor:
    """Random ways back and forth, one per sample, with the inertia of a camera's speed.

    Args:
        length: ``(N,)`` total lengths of the way.
        points: positions per way, at equal intervals of time; at least 2.
        rng: CPU generator.

    Returns:
        ``(N, points)`` float64 positions, their mean at 0.
    """
    _, speeds, _ = _smoothing(points - 1)
    speed = torch.randn(len(length), points - 1, dtype=torch.float64, generator=rng) @ speeds
    way = (speed * (length.double() / speed.abs().sum(dim=1))[:, None]).cumsum(dim=1)
    way = torch.cat((torch.zeros(len(length), 1, dtype=torch.float64), way), dim=1)
    return way - way.mean(dim=1, keepdim=True)


def splat(path: Tensor, *reach: int) -> Tensor:
    """Rasterise paths: each point spreads its share of the light linearly over its neighbours, which keeps the centroid.

    Args:
        path: ``(N, points, D)`` positions, such as (y, x), in pixels from the middle.
        reach: for each of the D dimensions the largest distance from the middle, or one for all.

    Returns:
        ``(N, 2·reach + 1, …)`` with D dimensions beside the first; PSFs ``(N, h, w)`` for positions (y, x).
    """
    n, points, dimensions = path.shape
    radii = reach * dimensions if len(reach) == 1 else reach
    sizes = [2 * radius + 1 for radius in radii]
    corner = path.floor()
    fraction = path - corner
    corner = corner.long() + torch.tensor(radii)
    psf = torch.zeros(n, math.prod(sizes), dtype=path.dtype)
    for neighbour in itertools.product((0, 1), repeat=dimensions):
        weight, index = torch.ones((), dtype=path.dtype), torch.zeros((), dtype=torch.long)
        for d, step in enumerate(neighbour):
            weight = weight * (fraction[..., d] if step else 1 - fraction[..., d])
            # a point exactly on the last row or column gives its outer neighbour no weight
            index = index * sizes[d] + (corner[..., d] + step).clamp(max=sizes[d] - 1)
        psf.scatter_add_(1, index, weight / points)
    return psf.view(n, *sizes).float()


def lines(length: Tensor, angle: Tensor, radius: int) -> Tensor:
    """Straight lines of equal brightness.

    kornia draws lines of odd whole length; any other is the mixture of its two neighbours that gives
    the pixels inside the line 1/length each and its two ends the rest.

    Args:
        length: ``(N,)`` lengths in pixels; up to 1 is no blur.
        angle: ``(N,)`` degrees, counter-clockwise from the horizontal.
        radius: half the size of the result; at least (length - 1) / 2.

    Returns:
        PSFs ``(N, 2·radius + 1, 2·radius + 1)``.
    """
    shorter = (2 * ((length - 1) / 2).ceil() - 1).clamp(min=1)
    share = ((shorter + 2) * (length - shorter) / (2 * length.clamp(min=1))).clamp(0, 1)
    psf = torch.zeros(len(length), 2 * radius + 1, 2 * radius + 1)
    for size in range(1, 2 * radius + 2, 2):
        weight = torch.where(shorter == size, 1 - share, 0.0) + torch.where(shorter + 2 == size, share, 0.0)
        chosen = weight > 0
        if not chosen.any():
            continue
        # "nearest", kornia's default, would change the number of pixels in the line with its angle
        turned = angle[chosen]
        line = get_motion_kernel2d(size, turned, torch.zeros_like(turned), mode="bilinear") if size > 1 else torch.ones(1, 1, 1)
        inner = slice(radius - size // 2, radius + size // 2 + 1)
        psf[chosen, inner, inner] += weight[chosen, None, None] * line
    return psf


def gaussians(sigma: Tensor, radius: int) -> Tensor:
    """Gaussians ``(N, 2·radius + 1, 2·radius + 1)`` of standard deviations ``(N,)`` in pixels; 0 is no blur."""
    size = 2 * radius + 1
    return get_gaussian_kernel2d((size, size), sigma.clamp(min=1e-3)[:, None].expand(-1, 2))


def disks(radius: Tensor, reach: int) -> Tensor:
    """Disks of equal brightness: a pixel on the edge gets the share of its area that lies inside.

    Args:
        radius: ``(N,)`` radii in pixels; up to 0.5 is no blur.
        reach: half the size of the result; at least radius - 0.5.

    Returns:
        PSFs ``(N, 2·reach + 1, 2·reach + 1)``.
    """
    size = 2 * reach + 1
    offset = (torch.arange(FINENESS * size, dtype=torch.float64) + 0.5) / FINENESS - size / 2
    distance = torch.hypot(offset[:, None], offset)
    # the finer grid has soft edges too, so that the areas change smoothly with the radius
    fine = ((radius.double().clamp(min=0.25)[:, None, None] - distance) * FINENESS + 0.5).clamp(0, 1)
    psf = F.avg_pool2d(fine, FINENESS)
    return (psf / psf.sum(dim=(1, 2), keepdim=True)).float()


def trim(psf: Tensor) -> Tensor:
    """`psf` without the outer frame in which every PSF of the batch is zero; at least 1×1."""
    used = (psf != 0).any(dim=0)
    radius = psf.shape[-1] // 2
    offset = (torch.arange(psf.shape[-1], device=psf.device) - radius).abs()
    reach = int(torch.maximum(offset[:, None], offset[None])[used].amax()) if bool(used.any()) else 0
    cut = radius - reach
    return psf[:, cut : psf.shape[-2] - cut, cut : psf.shape[-1] - cut]


def compose(psfs: Sequence[Tensor]) -> Tensor:
    """The PSF of several blurs in a row: the convolution of `psfs`, each ``(N, h, w)``, without loss."""
    total = psfs[0]
    for psf in psfs[1:]:
        reach = psf.shape[-1] // 2 * 2  # full convolution: the result grows by twice the second radius
        total = filter2d(F.pad(total, (reach,) * 4)[:, None], psf, padding="valid", behaviour="conv")[:, 0]
    return total
