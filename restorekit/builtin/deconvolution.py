"""Non-blind deconvolution as scikit-image does it, with borders as a camera makes them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge, Gt
from scipy.fft import next_fast_len
from skimage import restoration
from torch import Tensor

from restorekit.builtin.convolution import transfer
from restorekit.images import Degraded
from restorekit.interfaces import Restorer

Plane = npt.NDArray[np.float64]

Framed = tuple[Plane, tuple[slice, slice]]
"""A channel with a frame around it, and where the channel lies in that."""

skimage: Any = restoration
"""scikit-image's functions have no type annotations."""

LEAST = 1e-6
"""Light below which a predicted value is rounding of the Fourier transform."""

BURN_IN = 15
"""First draws of the Gibbs sampler that are left out; scikit-image's own default."""


def planewise(image: Tensor, treat: Callable[[Plane, int], npt.NDArray[Any]]) -> Tensor:
    """Apply `treat` in float64 to every channel; it also gets the number of the image in the batch."""
    planes = image.detach().double().cpu().numpy()
    treated = np.stack([[treat(plane, n) for plane in one] for n, one in enumerate(planes)])
    return torch.from_numpy(treated).to(image)


def periodic_frame(plane: Plane, psf: Plane) -> Framed:
    """For methods that take an image for periodic: mirror images of opposite edges that pass into each other.

    One PSF size is added to height and width. Without the smooth passage Wiener deconvolution loses
    up to 4 dB on large kernels; without a frame it gains 0.6 dB where it gains 4.3 with one.

    Args:
        plane: ``(H, W)``.
        psf: ``(h, w)``.
    """
    inside = []
    for axis, (size, reach) in enumerate(zip(plane.shape, psf.shape, strict=True)):
        width = next_fast_len(size + max(2, reach), real=True) - size
        before, after = (
            _mirrored(plane, axis, width, 0).take(range(width), axis),
            _mirrored(plane, axis, 0, width).take(range(-width, 0), axis),
        )
        passing = np.expand_dims(_rise(width), 1 - axis)
        plane = np.roll(np.concatenate([plane, (1 - passing) * after + passing * before], axis), width // 2, axis)
        inside.append(slice(width // 2, width // 2 + size))
    return plane, (inside[0], inside[1])


def fading_frame(plane: Plane, psf: Plane) -> Framed:
    """For methods that take an image for surrounded by black: a mirror image that fades to black on every side.

    Two PSF sizes are added on each side. Behind a frame that ends abruptly, Richardson-Lucy gets the
    border of a grey area of 0.4 wrong by up to 0.22 where this one leaves 0.03, and loses up to 2 dB
    on large kernels.
    """
    inside = []
    for axis, (size, reach) in enumerate(zip(plane.shape, psf.shape, strict=True)):
        before = 2 * reach
        after = next_fast_len(size + 2 * before, real=True) - size - before
        window = np.concatenate([_rise(before), np.ones(size), _rise(after)[::-1]])
        plane = _mirrored(plane, axis, before, after) * np.expand_dims(window, 1 - axis)
        inside.append(slice(before, before + size))
    return plane, (inside[0], inside[1])


def _mirrored(plane: Plane, axis: int, before: int, after: int) -> Plane:
    return np.pad(plane, [(before, after) if axis == n else (0, 0) for n in (0, 1)], mode="symmetric")


def _rise(length: int) -> Plane:
    """From almost 0 to almost 1 along half a cosine."""
    return 0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / length)


class Deconvolution(Restorer):
    """What the methods that know the PSF share: the frame, channel by channel, nothing clipped before cropping.

    Declarations:
        frame: puts around a channel what the method takes for granted beyond the border.
    """

    uses = frozenset({"psf"})
    frame: Callable[[Plane, Plane], Framed] = staticmethod(periodic_frame)

    def restore(self, degraded: Degraded) -> Tensor:
        """The sharpened image, same shape; reads ``params['psf']`` ``(N, h, w)``, odd sizes, sum 1."""
        psfs = degraded.need("psf").double().cpu().numpy()

        def treat(plane: Plane, n: int) -> Plane:
            wide, inside = self.frame(plane, psfs[n])
            sharp: Plane = self.deconvolve(wide, psfs[n])[inside]
            return sharp

        return planewise(degraded.image, treat).clamp(0, 1)

    @abstractmethod
    def deconvolve(self, plane: Plane, psf: Plane) -> Plane:
        """One channel, sharpened and not clipped."""


class Wiener(Deconvolution):
    """Wiener deconvolution with a Laplacian prior: the quickest, and as good as `balance` fits the noise.

    Paper: Wiener, 1949; with this prior Orieux, Giovannelli & Rodet, JOSA A 2010.

    Args:
        balance: weight of smoothness against fidelity; grows with the square of the noise. The default
            is about the best for photographs with σ 0.01 (of 1).
    """

    def __init__(self, *, balance: Annotated[float, Gt(0)] = 0.007) -> None:
        self.balance = balance

    def deconvolve(self, plane: Plane, psf: Plane) -> Plane:
        """One channel, sharpened and not clipped."""
        sharp: Plane = skimage.wiener(plane, psf, self.balance, clip=False)
        return sharp


class UnsupervisedWiener(Deconvolution):
    """Wiener deconvolution that estimates noise and smoothness from the image by Gibbs sampling.

    The filter is applied with the means of the sampled precisions rather than averaged over the
    sampled images, which carry the sampler's own noise: a gain of 4.1 instead of 3.9 dB.

    Paper: Orieux, Giovannelli & Rodet, JOSA A 2010, doi:10.1364/JOSAA.27.001593.

    Args:
        iterations: most draws of the sampler; it stops earlier once the mean settles.
        seed: of the sampler.
    """

    def __init__(self, *, iterations: Annotated[int, Ge(20)] = 200, seed: Annotated[int, Ge(0)] = 0) -> None:
        self.iterations = iterations
        self.seed = seed

    def deconvolve(self, plane: Plane, psf: Plane) -> Plane:
        """One channel, sharpened and not clipped."""
        limits = {"max_num_iter": self.iterations, "burnin": BURN_IN}
        _, chains = skimage.unsupervised_wiener(plane, psf, user_params=limits, clip=False, rng=np.random.default_rng(self.seed))
        balance = np.mean(chains["prior"][BURN_IN:]) / np.mean(chains["noise"][BURN_IN:])
        sharp: Plane = skimage.wiener(plane, psf, balance, clip=False)
        return sharp


class RichardsonLucy(Deconvolution):
    """Richardson-Lucy deconvolution, the likeliest image under Poisson noise; never negative.

    Paper: Richardson, JOSA 1972, doi:10.1364/JOSA.62.000055; Lucy, AJ 1974.

    Args:
        iterations: more sharpen further and amplify the noise further.
        floor: predicted values below this are left out of the update, against division by almost
            nothing in black areas; 0 leaves out none.
    """

    frame = staticmethod(fading_frame)

    def __init__(self, *, iterations: Annotated[int, Ge(1)] = 30, floor: Annotated[float, Ge(0)] = 0.0) -> None:
        self.iterations = iterations
        self.floor = floor

    def deconvolve(self, plane: Plane, psf: Plane) -> Plane:
        """One channel, sharpened and not clipped.

        The same as scikit-image's function to 1e-5, in a third of its time: the PSF is transformed once, and float32 will do.
        """
        blurred = torch.from_numpy(plane).float()
        (high, wide), (height, width) = psf.shape, plane.shape
        size = (next_fast_len(height + high - 1, real=True), next_fast_len(width + wide - 1, real=True))  # black around, nothing wraps
        spread = transfer(torch.from_numpy(psf).float()[None], size)[0]
        gather = spread.conj().resolve_conj()

        def convolved(image: Tensor, response: Tensor) -> Tensor:
            whole: Tensor = torch.fft.irfft2(torch.fft.rfft2(image, s=size).mul_(response), s=size)
            return whole[:height, :width]

        sharp = torch.full_like(blurred, 0.5)
        for _ in range(self.iterations):
            predicted = convolved(sharp, spread)
            ratio = (blurred / predicted.clamp(min=LEAST)).masked_fill_(predicted < self.floor, 0)
            sharp *= convolved(ratio, gather)
        return sharp.double().numpy()
