"""Noise, exposure, compression and reduction."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge, Interval
from PIL import Image
from torch import Tensor

from restorekit.builtin.light import decode, encode
from restorekit.builtin.ranges import bounds, draw
from restorekit.errors import ImageError
from restorekit.images import Degraded, pad_reflect
from restorekit.interfaces import Degradation

Positive = Annotated[float, Ge(0)]
Quality = Annotated[int, Interval(ge=1, le=100)]
Photons = Annotated[float, Interval(gt=0, le=1e6)]
Stops = Annotated[float, Interval(ge=0, le=8)]

FEW = 5.0
"""Mean count below which Poisson's distribution is summed up, and above which a series in the normal one is as good."""

MOST = 40
"""Largest count that is summed up to; a mean of `FEW` exceeds it once in 10²² times."""

BLOCK = 16
"""Side of a block of chroma in pixels, and how far JPEG spreads anything: the sample beside a pixel, from which the decoder
interpolates its colour, may be in the next block, and is made of all of it."""


class GaussianNoise(Degradation):
    """Additive white Gaussian noise; the result is clipped to [0, 1].

    Records ``noise`` ``(N, C, H, W)``, the standard normal field, and ``sigma`` ``(N,)``.

    Args:
        sigma: standard deviation, of 1 (25 of 255 is 0.098).
    """

    params = ("noise", "sigma")

    def __init__(self, *, sigma: Positive | tuple[Positive, Positive] = 0.05) -> None:
        self.sigma = bounds(sigma, "sigma")

    def sample(self, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> dict[str, Tensor]:
        """Draw a level and a field of noise per image."""
        return {"sigma": draw(self.sigma, n, rng), "noise": torch.randn(n, *shape, generator=rng)}

    def apply(self, image: Tensor, params: Mapping[str, Tensor]) -> Degraded:
        """Add the field times the level."""
        noise, sigma = params["noise"].to(image), params["sigma"].to(image)
        noisy = (image + sigma.view(-1, 1, 1, 1) * noise).clamp(0, 1)
        return Degraded(noisy, params={"noise": noise, "sigma": sigma})


class PoissonNoise(Degradation):
    """Shot noise: each channel of each pixel counts photons, whose number varies about its mean by the mean's root.

    Records ``noise`` ``(N, C, H, W)``, a standard normal field, and ``photons`` ``(N,)``. A pixel's count is the
    quantile of Poisson's distribution at the probability of the normal one, so that one field gives
    the same picture but for a few counts wherever it is computed.

    Args:
        photons: mean count at white; fewer are noisier.
        light: ``linear`` counts linear light, as a sensor does, which is clipped at white and coded again;
            ``encoded`` takes the values of the file for light, as papers on Poisson noise mostly do.
    """

    params = ("noise", "photons")

    def __init__(
        self, *, photons: Photons | tuple[Photons, Photons] = (100.0, 1000.0), light: Literal["encoded", "linear"] = "linear"
    ) -> None:
        self.photons = bounds(photons, "photons")
        self.light = light

    def sample(self, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> dict[str, Tensor]:
        """Draw a count at white and a field of noise per image."""
        return {"photons": draw(self.photons, n, rng), "noise": torch.randn(n, *shape, generator=rng)}

    def apply(self, image: Tensor, params: Mapping[str, Tensor]) -> Degraded:
        """Count photons instead of light."""
        noise, photons = params["noise"].to(image), params["photons"].to(image)
        white = photons.view(-1, 1, 1, 1)
        light = decode(image) if self.light == "linear" else image
        # one by one, so that what is in between stays in the processor's cache
        seen = torch.stack([_poisson(mean, field) for mean, field in zip(light * white, noise, strict=True)]) / white
        noisy = encode(seen) if self.light == "linear" else seen.clamp(0, 1)
        return Degraded(noisy, params={"noise": noise, "photons": photons})


def _poisson(mean: Tensor, normal: Tensor) -> Tensor:
    """The quantiles of Poisson's distributions, of any means, at the probabilities of standard normal values.

    From a mean of `FEW` on, one count in 700 is off by one, at 50 one in 20 000, and beyond 10⁵ float32 rounds counts.

    Paper: the series is in Giles, "Algorithm 955: approximation of the inverse Poisson cumulative distribution
    function", ACM TOMS 2016.
    """
    many = mean.clamp(min=FEW)
    root, square = many.sqrt(), normal * normal
    count = many + root * normal + (2 + square) / 6 - normal * (2 + square) / (72 * root)
    count = (count + (square * (3 * square + 7) - 16) / (810 * many)).floor().clamp(min=0)
    few = (mean.flatten() < FEW).nonzero()[:, 0]
    summed = _summed_poisson(*(values.flatten().index_select(0, few) for values in (mean, normal)))
    return count.flatten().index_copy_(0, few, summed).view_as(count)


def _summed_poisson(mean: Tensor, normal: Tensor) -> Tensor:
    """`_poisson` by adding up the probabilities of 0, 1, 2 … until they reach the one asked for."""
    mean = mean.double()
    probability = (-mean).exp()
    missing = torch.special.ndtr(normal.double()) - probability
    count, left = torch.zeros_like(normal), torch.arange(len(mean), device=mean.device)
    for k in range(1, MOST + 1):
        short = (missing > 0).nonzero()[:, 0]  # ever fewer, after some rounds hardly any
        if not len(short):
            break
        missing, mean, probability, left = (values.index_select(0, short) for values in (missing, mean, probability, left))
        count.index_fill_(0, left, k)
        probability = probability * mean / k
        missing = missing - probability
    return count


class Saturation(Degradation):
    """Over-exposure: light is multiplied, and what exceeds white is lost.

    Each channel is clipped alone, in linear light, as on a sensor; colours of highlights shift as they do in photographs.

    Records ``stops`` ``(N,)``.

    Args:
        stops: how much longer the exposure is, as a power of two; 0 leaves the image as it is.
        pull_back: divide the clipped light by the same factor again, as raw converters do. The rest of the
            picture then stays as bright as the sharp one, and all that is to be restored are the highlights, which end at
            an even grey. Without, the whole picture is brighter and its highlights are white.
    """

    params = ("stops",)

    def __init__(self, *, stops: Stops | tuple[Stops, Stops] = (0.5, 2.0), pull_back: bool = True) -> None:
        self.stops = bounds(stops, "stops")
        self.pull_back = pull_back

    def sample(self, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> dict[str, Tensor]:
        """Draw an exposure per image."""
        return {"stops": draw(self.stops, n, rng)}

    def apply(self, image: Tensor, params: Mapping[str, Tensor]) -> Degraded:
        """Expose, clip and, where asked, darken again."""
        stops = params["stops"].to(image)
        gain = stops.exp2().view(-1, 1, 1, 1)
        light = (decode(image) * gain).clamp(max=1)
        return Degraded(encode(light / gain if self.pull_back else light), params={"stops": stops})


class Jpeg(Degradation):
    """JPEG compression with the chroma at half resolution, as cameras and browsers write it.

    Pillow does the coding rather than kornia, whose differentiable codec takes only sizes that are
    multiples of 16 and softens the rounding that the artefacts come from. No gradient passes.

    Records ``quality`` ``(N,)``.

    Paper: Wallace, "The JPEG still picture compression standard", CACM 1991.

    Args:
        quality: from 1, the worst, to 100, on the scale of the Independent JPEG Group.
    """

    params = ("quality",)
    spread = BLOCK

    def __init__(self, *, quality: Quality | tuple[Quality, Quality] = (20, 80)) -> None:
        low, high = bounds(quality, "quality")
        self.quality = int(low), int(high)

    def sample(self, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> dict[str, Tensor]:
        """Draw a quality per image."""
        low, high = self.quality
        return {"quality": torch.randint(low, high + 1, (n,), generator=rng)}

    def apply(self, image: Tensor, params: Mapping[str, Tensor]) -> Degraded:
        """Code and decode each image.

        Raises:
            ImageError: neither grey nor RGB.
        """
        if image.shape[1] not in (1, 3):
            raise ImageError(f"JPEG takes grey or RGB images; this one has {image.shape[1]} channels")
        pixels = (image.detach().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        coded = np.stack([_through_jpeg(one, quality) for one, quality in zip(pixels, params["quality"].tolist(), strict=True)])
        restored = torch.from_numpy(coded).permute(0, 3, 1, 2).to(image.device, image.dtype).contiguous() / 255
        return Degraded(restored, params={"quality": params["quality"].to(image.device)})


def _through_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Code and decode one ``(H, W, C)`` uint8 image."""
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file)).reshape(pixels.shape)


class Downscale(Degradation):
    """Reduction of the size by a whole factor, bicubic with anti-aliasing.

    Height and width are rounded up: an image that is no multiple of the factor is mirrored at the bottom
    and right first, so that pixel (i, j) of the result always stands for the block of the input
    that begins at (factor·i, factor·j).

    Args:
        factor: input height over output height.
    """

    def __init__(self, *, factor: Annotated[int, Ge(1)] = 2) -> None:
        self.scale = factor
        self.margin = 2 if factor > 1 else 0  # the bicubic kernel reaches two pixels of the result

    def sample(self, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> dict[str, Tensor]:
        """Nothing to draw."""
        return {}

    def apply(self, image: Tensor, params: Mapping[str, Tensor]) -> Degraded:
        """Reduce the images."""
        height, width = image.shape[-2:]
        whole = pad_reflect(image, -height % self.scale, -width % self.scale)
        size = whole.shape[-2] // self.scale, whole.shape[-1] // self.scale
        return Degraded(F.interpolate(whole, size, mode="bicubic", antialias=True).clamp(0, 1))
