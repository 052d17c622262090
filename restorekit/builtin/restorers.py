"""Classical restorers, and the one that does nothing; the work is scikit-image's."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge, Gt
from scipy.ndimage import convolve1d
from torch import Tensor

from restorekit.builtin.deconvolution import Deconvolution, RichardsonLucy, UnsupervisedWiener, Wiener, skimage
from restorekit.errors import ImageError
from restorekit.images import Degraded
from restorekit.interfaces import Restorer

__all__ = [
    "BiharmonicInpaint",
    "Deconvolution",
    "Identity",
    "NlmDenoise",
    "RichardsonLucy",
    "TvDenoise",
    "UnsupervisedWiener",
    "Wiener",
    "noise_level",
]

Pixels = npt.NDArray[np.float32]

DB2_HIGH_PASS = np.array([1 - 3**0.5, 3**0.5 - 3, 3 + 3**0.5, -1 - 3**0.5]) / (4 * 2**0.5)
MEDIAN_OF_NORMAL = 0.6744897501960817
"""Median of the absolute value of a standard normal."""


def noise_level(pixels: npt.NDArray[np.floating]) -> float:
    """Standard deviation of white Gaussian noise in ``(H, W, C)``, mean over channels.

    The median of the finest diagonal wavelet coefficients (Daubechies 2), where photographs have
    little of their own; fine texture is taken for noise. The same as scikit-image's
    ``estimate_sigma``, which needs one more package.

    Paper: Donoho & Johnstone, Biometrika 1994, doi:10.1093/biomet/81.3.425.
    """
    detail = convolve1d(convolve1d(pixels, DB2_HIGH_PASS, axis=0), DB2_HIGH_PASS, axis=1)
    return float(np.median(np.abs(detail), axis=(0, 1)).mean() / MEDIAN_OF_NORMAL)


def _last(image: Tensor) -> Pixels:
    """``(N, H, W, C)`` float32 in NumPy."""
    pixels: Pixels = image.detach().float().cpu().permute(0, 2, 3, 1).numpy()
    return pixels


def _first(pixels: list[Pixels], like: Tensor) -> Tensor:
    """``(N, C, H, W)`` in [0, 1], type and device as `like`."""
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous().to(like).clamp(0, 1)


class Identity(Restorer):
    """Returns the image as it came: the row that every other method has to beat."""

    def restore(self, degraded: Degraded) -> Tensor:
        """A copy of the image."""
        return degraded.image.clone()


class TvDenoise(Restorer):
    """Total-variation denoising: flat areas and clean edges, fine texture goes.

    Paper: Chambolle, JMIV 2004, doi:10.1023/B:JMIV.0000011325.36760.1e.

    Args:
        weight: strength; None takes 0.65 of the estimated standard deviation of the noise.
        iterations: most steps of the solver.
    """

    def __init__(self, *, weight: Annotated[float, Gt(0)] | None = None, iterations: Annotated[int, Ge(1)] = 200) -> None:
        self.weight = weight
        self.iterations = iterations

    def restore(self, degraded: Degraded) -> Tensor:
        """The denoised image, same shape."""
        return _first([self._denoised(pixels) for pixels in _last(degraded.image)], degraded.image)

    def _denoised(self, pixels: Pixels) -> Pixels:
        weight = 0.65 * noise_level(pixels) if self.weight is None else self.weight
        if weight == 0:
            return pixels
        denoised: Pixels = skimage.denoise_tv_chambolle(pixels, weight, max_num_iter=self.iterations, channel_axis=-1)
        return denoised


class NlmDenoise(Restorer):
    """Non-local means: every pixel becomes a mean over patches that look like its own.

    Paper: Buades, Coll & Morel, CVPR 2005, doi:10.1109/CVPR.2005.38; quick version Darbon et al., ISBI 2008.

    Args:
        sigma: standard deviation of the noise, of 1; None estimates it from the image.
        strength: how unlike patches may be, in standard deviations of the noise.
        patch_size: side of a patch in pixels.
        search: how far similar patches are looked for, in pixels.
    """

    def __init__(
        self,
        *,
        sigma: Annotated[float, Gt(0)] | None = None,
        strength: Annotated[float, Gt(0)] = 0.6,
        patch_size: Annotated[int, Ge(1)] = 3,
        search: Annotated[int, Ge(1)] = 6,
    ) -> None:
        self.sigma = sigma
        self.strength = strength
        self.patch_size = patch_size
        self.search = search

    def restore(self, degraded: Degraded) -> Tensor:
        """The denoised image, same shape."""
        return _first([self._denoised(pixels) for pixels in _last(degraded.image)], degraded.image)

    def _denoised(self, pixels: Pixels) -> Pixels:
        sigma = noise_level(pixels) if self.sigma is None else self.sigma
        if sigma == 0:
            return pixels
        denoised: Pixels = skimage.denoise_nl_means(
            pixels, self.patch_size, self.search, h=self.strength * sigma, sigma=sigma, fast_mode=True, channel_axis=-1
        )
        return denoised.reshape(pixels.shape)  # scikit-image drops a single channel


class BiharmonicInpaint(Restorer):
    """Fills missing pixels with the smoothest surface that continues what is around them; known pixels stay.

    Made for small gaps; time grows quickly with the size of a hole.

    Paper: Damelin & Hoang, 2018, doi:10.1155/2018/3950312.
    """

    uses = frozenset({"mask"})

    def restore(self, degraded: Degraded) -> Tensor:
        """The filled image, same shape; reads ``mask`` ``(N, 1, H, W)``, 1 where missing.

        Raises:
            ImageError: no mask, or everything is missing.
        """
        missing = (degraded.need("mask")[:, 0] > 0.5).cpu().numpy()
        filled = []
        for pixels, hole in zip(_last(degraded.image), missing, strict=True):
            if hole.all():
                raise ImageError("the mask leaves no pixel to go by: 1 (white) means missing")
            known = np.where(hole[:, :, None], 0, pixels)
            filled.append(skimage.inpaint_biharmonic(known, hole, split_into_regions=True, channel_axis=-1) if hole.any() else pixels)
        return _first(filled, degraded.image)
