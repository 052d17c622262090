"""Blur by one point-spread function per image."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Interval
from kornia.filters import fft_conv, filter2d
from torch import Tensor

from restorekit.builtin import psf as psfs
from restorekit.builtin.ranges import bounds, draw
from restorekit.images import Degraded
from restorekit.interfaces import Degradation

Positive = Annotated[float, Ge(0)]
Length = Annotated[float, Interval(ge=0, le=256)]
Sigma = Annotated[float, Interval(ge=0, le=50)]


DIRECT_UP_TO = 27
"""Size of PSF up to which filtering in space beats the FFT.

Milliseconds for 16 images 3×256×256, one thread: 70 and 121 at size 21, 89 and 86 at 25, 133 and 67 at
31, 375 and 78 at 45. Plain grouped convolution in torch takes as long as kornia's filter2d, 70 and 364.
"""


def mirror(image: Tensor, radius: int) -> Tensor:
    """`image` with `radius` more pixels on each side, mirrored about the edge pixel, again and again where it is small."""
    for dim, sides in ((-2, (0, 0, 1, 1)), (-1, (1, 1, 0, 0))):
        missing = radius
        while missing:
            size = image.shape[dim]
            width = missing if size == 1 else min(missing, size - 1)
            image = F.pad(image, [side * width for side in sides], mode="replicate" if size == 1 else "reflect")
            missing -= width
    return image


def convolve(image: Tensor, psf: Tensor) -> Tensor:
    """True convolution of each image with its own PSF, borders mirrored.

    Args:
        image: ``(N, C, H, W)``, of any size.
        psf: ``(N, h, w)``, square, of odd size.

    Returns:
        ``(N, C, H, W)``.
    """
    psf = psfs.trim(psf).to(image)
    filtering = filter2d if psf.shape[-1] <= DIRECT_UP_TO else fft_conv
    return filtering(mirror(image, psf.shape[-1] // 2), psf, padding="valid", behaviour="conv")


class Blur(Degradation):
    """What the blurs share: a PSF per image, drawn by the subclass and recorded as ``psf`` ``(N, h, w)``."""

    params = ("psf",)

    @abstractmethod
    def draw_psf(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw `n` PSFs."""

    def sample(self, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> dict[str, Tensor]:
        """Draw one PSF per image; the images' shape does not matter."""
        return {"psf": self.draw_psf(n, rng)}

    def apply(self, image: Tensor, params: Mapping[str, Tensor]) -> Degraded:
        """Convolve each image with its PSF, borders mirrored."""
        psf = params["psf"].to(image.device)
        return Degraded(convolve(image, psf).clamp(0, 1), params={"psf": psf})


class CameraShake(Blur):
    """Blur by a random smooth trajectory of the camera, one per image.

    Paper: after Boracchi & Foi, "Modeling the performance of image restoration from motion blur", IEEE TIP 2012.

    Args:
        length: length of the path in pixels; 0 leaves the image as it is.
        curvature: standard deviation, in radians, of the change of heading over the exposure; 0 draws straight lines.
        jerk: expected number of sudden reversals during the exposure.
    """

    def __init__(
        self,
        *,
        length: Length | tuple[Length, Length] = (5.0, 22.0),
        curvature: Positive | tuple[Positive, Positive] = (0.5, 6.0),
        jerk: Positive | tuple[Positive, Positive] = (0.0, 3.0),
    ) -> None:
        self.length = bounds(length, "length")
        self.curvature = bounds(curvature, "curvature")
        self.jerk = bounds(jerk, "jerk")
        self.margin = psfs.radius_for(self.length[1])

    def draw_psf(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw `n` trajectories and rasterise them to ``(n, h, w)``; the size follows from the longest length."""
        length, curvature, jerk = (draw(limits, n, rng) for limits in (self.length, self.curvature, self.jerk))
        points = max(64, 8 * self.margin)  # an eighth of a pixel apart: no beads on the string
        return psfs.splat(psfs.trajectories(length, curvature, jerk, points, rng), self.margin)


class MotionBlur(Blur):
    """Blur along a straight line: the camera or the scene moved evenly.

    Args:
        length: length of the line in pixels; up to 1 leaves the image as it is.
        angle: direction in degrees, counter-clockwise from the horizontal.
    """

    def __init__(self, *, length: Length | tuple[Length, Length] = (5.0, 15.0), angle: float | tuple[float, float] = (0.0, 180.0)) -> None:
        self.length = bounds(length, "length")
        self.angle = bounds(angle, "angle")
        self.margin = max(math.ceil((self.length[1] - 1) / 2), 0)

    def draw_psf(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw `n` lines ``(n, h, w)``; the size follows from the longest length."""
        length, angle = (draw(limits, n, rng) for limits in (self.length, self.angle))
        return psfs.lines(length, angle, self.margin)


class GaussianBlur(Blur):
    """Blur by a Gaussian, cut off at four standard deviations of the widest.

    Args:
        sigma: standard deviation in pixels; 0 leaves the image as it is.
    """

    def __init__(self, *, sigma: Sigma | tuple[Sigma, Sigma] = (0.5, 3.0)) -> None:
        self.sigma = bounds(sigma, "sigma")
        self.margin = math.ceil(4 * self.sigma[1])

    def draw_psf(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw `n` Gaussians ``(n, h, w)``; the size follows from the largest sigma."""
        return psfs.gaussians(draw(self.sigma, n, rng), self.margin)
