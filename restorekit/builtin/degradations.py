"""Noise, compression and reduction."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge, Interval
from PIL import Image
from torch import Tensor

from restorekit.builtin.ranges import bounds, draw
from restorekit.errors import ImageError
from restorekit.images import Degraded, pad_reflect
from restorekit.interfaces import Degradation

Positive = Annotated[float, Ge(0)]
Quality = Annotated[int, Interval(ge=1, le=100)]


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
