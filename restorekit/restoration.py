"""Running a restorer: what it may see, what it must return, and where."""

from __future__ import annotations

import torch
from torch import Tensor

from restorekit.errors import ImageError
from restorekit.images import Degraded, check_image
from restorekit.interfaces import Restorer

PSF_SUM_TOLERANCE = 0.01


def restore(restorer: Restorer, degraded: Degraded, *, name: str = "") -> Tensor:
    """Restore an image with everything removed that `restorer` does not declare in ``uses``.

    Gradients are left as they are, because some restorers optimise; the result carries none.

    Args:
        restorer: the method.
        degraded: the image ``(N, C, H, W)`` in [0, 1] and what is known of its damage.
        name: how messages call the method.

    Returns:
        ``(N, C', scale·H, scale·W)`` in [0, 1], of the image's type and on its device.

    Raises:
        ImageError: input out of range, something missing that the method needs, a mask or PSF that
            does not fit the image, or a result of the wrong size or with values that are not finite.
    """
    name = name or type(restorer).__name__
    check_image(degraded.image)
    seen = degraded.only(restorer.uses)
    if seen.mask is not None:
        _check_mask(seen.mask, degraded.image)
    if seen.reference is not None:
        check_image(seen.reference, what="reference")
    for other in seen.references:
        check_image(other, what="reference")
    if "psf" in seen.params:
        _check_psf(seen.params["psf"], degraded.image)
    restored = restorer.restore(seen)
    n, _, h, w = degraded.image.shape
    height, width = h * restorer.scale, w * restorer.scale
    if restored.ndim != 4 or (restored.shape[0], *restored.shape[-2:]) != (n, height, width):
        raise ImageError(f"{name} returned shape {tuple(restored.shape)}; expected {n} image(s) of {width}×{height}")
    if not torch.isfinite(restored).all():
        raise ImageError(f"{name} returned values that are not finite")
    return restored.detach().to(degraded.image).clamp(0, 1)


def _check_mask(mask: Tensor, image: Tensor) -> None:
    check_image(mask, channels=1, what="mask")
    (h, w), (mask_h, mask_w) = image.shape[-2:], mask.shape[-2:]
    if (mask_h, mask_w) != (h, w):
        raise ImageError(f"the mask is {mask_w}×{mask_h}, the image {w}×{h}; make them the same size")
    if mask.shape[0] != image.shape[0]:
        raise ImageError(f"{mask.shape[0]} mask(s) for {image.shape[0]} image(s); give one each")


def _check_psf(psf: Tensor, image: Tensor) -> None:
    n, h, w = image.shape[0], *image.shape[-2:]
    if psf.ndim != 3 or psf.shape[0] != n:
        raise ImageError(f"psf: expected ({n}, h, w), one for each image, got {tuple(psf.shape)}")
    height, width = psf.shape[-2:]
    if height > h or width > w:
        raise ImageError(f"the PSF is {width}×{height} and the image only {w}×{h}; crop the PSF or take a larger image")
    if height % 2 == 0 or width % 2 == 0:
        raise ImageError(f"the PSF is {width}×{height}; odd sizes have a centre: add a row or column of zeros")
    sums = psf.double().sum((1, 2))
    if not torch.isfinite(psf).all() or psf.min() < 0 or (sums - 1).abs().max() > PSF_SUM_TOLERANCE:
        raise ImageError(
            f"a PSF is not negative and sums to 1; this one reaches from {float(psf.min()):.4g} to {float(psf.max()):.4g} "
            f"and sums to {float(sums[(sums - 1).abs().argmax()]):.4g}"
        )
