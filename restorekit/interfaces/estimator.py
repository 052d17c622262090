"""What finds out from a photograph alone how it was blurred."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Estimator(nn.Module, ABC):
    """Estimates the point-spread function of a blurred image.

    Blind deconvolution is an estimator and something non-blind that uses what it found, such as a
    restorer that declares ``psf`` in `uses`, or a generator with an estimator inside.

    Declarations:
        size: height and width of the PSFs that it returns, odd.
    """

    size: int

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Estimate one PSF per image.

        Args:
            image: blurred, ``(N, C, H, W)`` in [0, 1].

        Returns:
            ``(N, size, size)`` float32: no negative entry, sum 1, centroid at the middle within half a
            pixel, so that deconvolving with it moves nothing. One bright pixel in the middle means that
            no blur was found. It carries no gradient to the image.
        """
