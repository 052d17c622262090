"""Whether the two sides of a pair lie on one another."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]

SIDE = 512
"""Rows and columns from the middle of a picture that are compared."""

SMALLEST = 128
"""Below this side the measure is not to be trusted: detail is too fine, and structure too coarse, for what remains."""

FINE, COARSE = 8.0, 32.0
"""Standard deviations in pixels between which structure counts.

Blur keeps the phase of coarse structure, which moves with the centroid of its PSF, and scrambles that of fine detail, where the
correlation peaks wherever the camera stayed longest. On 60 photographs of bsd400 with centred camera shake of 22 px, plain phase
correlation puts 97 % of the pairs more than 1 px apart, median 4.0; this one none, median 0.1, and it finds all that are moved by 2 px.
"""


def shift(sharp: Plane, degraded: Plane) -> float | None:
    """How many pixels the sides of a pair lie apart.

    Args:
        sharp: ``(H, W)``.
        degraded: of the same size.

    Returns:
        Length of the shift with the best correlation, to a tenth of a pixel; None for pictures too small or too flat to tell.
    """
    from scipy import fft
    from skimage.registration import phase_cross_correlation

    if min(sharp.shape) < SMALLEST:
        return None
    first, second = _middle(sharp), _middle(degraded)
    window, band = _weights(first.shape)
    spectra = [fft.fft2((plane - plane.mean()) * window) * band for plane in (first, second)]
    if min(float(np.abs(spectrum).max()) for spectrum in spectra) < 1e-3:
        return None
    # The band is the weighting; whitening on top would raise the noise at its edges.
    found = phase_cross_correlation(*spectra, upsample_factor=10, normalization=None, space="fourier")  # type: ignore[no-untyped-call]
    return float(np.hypot(*found[0]))


def _middle(plane: Plane) -> Plane:
    top, left = (max(0, (side - SIDE) // 2) for side in plane.shape)
    return plane[top : top + SIDE, left : left + SIDE]


@functools.lru_cache(maxsize=8)
def _weights(shape: tuple[int, int]) -> tuple[Plane, Plane]:
    """A Hann window, and the transfer function of a difference of Gaussians."""
    rows, columns = (2 * np.pi * np.fft.fftfreq(side) for side in shape)
    power = rows[:, None] ** 2 + columns[None] ** 2
    band = np.exp(-power * FINE**2 / 2) - np.exp(-power * COARSE**2 / 2)
    return np.outer(np.hanning(shape[0]), np.hanning(shape[1])).astype(np.float32), band.astype(np.float32)
