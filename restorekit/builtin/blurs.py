"""Blur by one point-spread function per image."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Interval
from torch import Tensor

from restorekit.builtin import psf as psfs
from restorekit.builtin.convolution import convolve, convolve_turning
from restorekit.builtin.light import decode, encode, lift
from restorekit.builtin.ranges import bounds, draw
from restorekit.images import Degraded
from restorekit.interfaces import Degradation

Positive = Annotated[float, Ge(0)]
Length = Annotated[float, Interval(ge=0, le=256)]
Sigma = Annotated[float, Interval(ge=0, le=50)]
Turn = Annotated[float, Interval(ge=0, le=64)]
Radius = Annotated[float, Interval(ge=0, le=64)]
Factor = Annotated[float, Interval(ge=1, le=100)]
Threshold = Annotated[float, Interval(ge=0, lt=1)]
Light = Literal["encoded", "linear"]


class Blur(Degradation):
    """What the blurs share: a PSF per image, drawn by the subclass and recorded as ``psf`` ``(N, h, w)``."""

    params: tuple[str, ...] = ("psf",)

    @abstractmethod
    def draw_psf(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw `n` PSFs."""

    def sample(self, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> dict[str, Tensor]:
        """Draw one PSF per image; the images' shape does not matter."""
        return {"psf": self.draw_psf(n, rng)}

    def apply(self, image: Tensor, params: Mapping[str, Tensor]) -> Degraded:
        """Convolve each image with its PSF, borders mirrored."""
        psf = params["psf"].to(image.device)
        return Degraded(convolve(image, psf).clamp_(0, 1), params={"psf": psf})


class LensBlur(Blur):
    """A blur of the light on its way to the sensor, which may be computed as such.

    The PSF convolves linear light where `light` says so, and then it does not quite reproduce the blur of the
    coded values. Records ``highlights`` ``(N,)`` where there are any.

    Args:
        light: ``encoded`` convolves the values of the file, ``linear`` decodes the sRGB curve first and codes the result again.
        highlights: how many times brighter than white the light was that the photograph shows as white; 1 is off, and
            more needs linear light. It is blurred as bright as that and then clipped, which leaves the streaks and
            plateaus of real night shots. The sharp image stays as it is.
        threshold: value of a channel, of the file's 0 to 1, at which highlights set in; from here to white the factor rises
            from 1 in proportion. An even area above it comes out brighter, by 1 - threshold at most.
    """

    def __init__(self, *, light: Light, highlights: Factor | tuple[Factor, Factor], threshold: Threshold) -> None:
        self.light = light
        self.highlights = bounds(highlights, "highlights")
        self.threshold = threshold
        if self.highlights[1] > 1:
            if light != "linear":
                raise ValueError("highlights: only linear light can be brighter than white; add light: linear")
            self.params = (*self.params, "highlights")

    def sample(self, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> dict[str, Tensor]:
        """Draw a PSF and, where asked for, the brightness of the highlights per image."""
        return {**super().sample(n, shape, rng), **self.draw_highlights(n, rng)}

    def draw_highlights(self, n: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw `n` factors, or nothing where highlights are off."""
        return {"highlights": draw(self.highlights, n, rng)} if "highlights" in self.params else {}

    def apply(self, image: Tensor, params: Mapping[str, Tensor]) -> Degraded:
        """Blur each image, borders mirrored."""
        given = {name: params[name].to(image.device) for name in self.params}
        if self.light == "encoded":
            return Degraded(self.blur(image, given).clamp_(0, 1), params=given)
        light = decode(image)
        if "highlights" in given:
            light = lift(light, image, given["highlights"], self.threshold)
        return Degraded(encode(self.blur(light, given)), params=given)

    def blur(self, image: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """The blur itself, of coded values or of linear light that may exceed 1."""
        return convolve(image, params["psf"])


class CameraShake(LensBlur):
    """Blur by a random smooth trajectory of the camera, one per image.

    With rotation the blur differs from place to place: the camera also turns to and fro about its axis, and the
    PSF at (y, x) pixels from the middle of the image is the path plus angle · (-x, y). ``psf`` is then the one in
    the middle, ``motion`` ``(N, K, h, w)`` says how long the camera stayed at each of the angles ``angle`` ``(N, K)``
    in degrees and each shift; everywhere the PSF has its centroid at its centre.

    Paper: after Boracchi & Foi, "Modeling the performance of image restoration from motion blur", IEEE TIP 2012.

    Args:
        length: length of the path in pixels; 0 leaves the image as it is.
        curvature: standard deviation, in radians, of the change of heading over the exposure; 0 draws straight lines.
        jerk: expected number of sudden reversals during the exposure.
        rotation: length in pixels of the further way that the corners of the image go as the camera turns; 0 is off.
            A patch of a larger photograph sees little of it: 2 to 5 px are plenty for a patch of 256 px.
        light: ``encoded`` convolves the values of the file, ``linear`` decodes the sRGB curve first and codes the result again.
        highlights: how many times brighter than white the light was that the photograph shows as white, and that is clipped
            again after the blur; 1 is off, more needs linear light.
        threshold: value of a channel, of the file's 0 to 1, at which highlights set in.
    """

    def __init__(
        self,
        *,
        length: Length | tuple[Length, Length] = (5.0, 22.0),
        curvature: Positive | tuple[Positive, Positive] = (0.5, 6.0),
        jerk: Positive | tuple[Positive, Positive] = (0.0, 3.0),
        rotation: Turn | tuple[Turn, Turn] = 0.0,
        light: Light = "encoded",
        highlights: Factor | tuple[Factor, Factor] = 1.0,
        threshold: Threshold = 0.95,
    ) -> None:
        super().__init__(light=light, highlights=highlights, threshold=threshold)
        self.length = bounds(length, "length")
        self.curvature = bounds(curvature, "curvature")
        self.jerk = bounds(jerk, "jerk")
        self.rotation = bounds(rotation, "rotation")
        self.radius = psfs.radius_for(self.length[1])
        self.turns = math.ceil(self.rotation[1])
        self.margin = self.radius + self.turns
        self.points = max(64, 8 * self.margin)  # an eighth of a pixel apart: no beads on the string
        if self.turns:
            self.params = (*self.params, "motion", "angle")

    def draw_psf(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw `n` trajectories and rasterise them to ``(n, h, w)``; the size follows from the longest length."""
        return psfs.splat(self._paths(n, rng), self.radius)

    def _paths(self, n: int, rng: torch.Generator) -> Tensor:
        length, curvature, jerk = (draw(limits, n, rng) for limits in (self.length, self.curvature, self.jerk))
        return psfs.trajectories(length, curvature, jerk, self.points, rng)

    def sample(self, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> dict[str, Tensor]:
        """Draw a trajectory per image; what it turns by is in proportion to the distance of the corners of `shape`."""
        if not self.turns:
            return super().sample(n, shape, rng)
        path = self._paths(n, rng)
        sway = psfs.sways(draw(self.rotation, n, rng), self.points, rng)
        # one slice for every pixel that the corners go
        motion = psfs.splat(torch.cat((sway[..., None], path), dim=-1), self.turns, self.radius, self.radius)
        corner = max(math.hypot(shape[1] - 1, shape[2] - 1) / 2, 1.0)
        angle = torch.rad2deg(torch.arange(-self.turns, self.turns + 1) / corner).expand(n, -1).contiguous()
        return {"psf": motion.sum(dim=1), "motion": motion, "angle": angle, **self.draw_highlights(n, rng)}

    def blur(self, image: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Convolve each image with its PSF, or with those of each angle."""
        if not self.turns:
            return super().blur(image, params)
        return convolve_turning(image, params["motion"], params["angle"])


class Defocus(LensBlur):
    """Blur by a lens out of focus, a disk: what a round and fully open aperture makes of each point.

    Args:
        radius: radius of the disk in pixels; up to 0.5 leaves the image as it is.
        light: ``encoded`` convolves the values of the file, ``linear`` decodes the sRGB curve first and codes the result again.
        highlights: how many times brighter than white the light was that the photograph shows as white, and that is clipped
            again after the blur; 1 is off, more needs linear light.
        threshold: value of a channel, of the file's 0 to 1, at which highlights set in.
    """

    def __init__(
        self,
        *,
        radius: Radius | tuple[Radius, Radius] = (1.0, 5.0),
        light: Light = "encoded",
        highlights: Factor | tuple[Factor, Factor] = 1.0,
        threshold: Threshold = 0.95,
    ) -> None:
        super().__init__(light=light, highlights=highlights, threshold=threshold)
        self.radius = bounds(radius, "radius")
        self.margin = max(math.ceil(self.radius[1] - 0.5), 0)

    def draw_psf(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw `n` disks ``(n, h, w)``; the size follows from the largest radius."""
        return psfs.disks(draw(self.radius, n, rng), self.margin)


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
