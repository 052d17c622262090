"""Running a restorer: what it may see, what it must return, and where."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from restorekit import memory
from restorekit.errors import ImageError
from restorekit.images import Degraded, check_image, floats, whole_numbers
from restorekit.interfaces import Restorer

PSF_SUM_TOLERANCE = 0.01

SUMMED = 3
"""Pictures of floats beside the image that an ensemble has at once: one turned, what is made of it, and the sum."""


def restore(restorer: Restorer, degraded: Degraded, *, name: str = "") -> Tensor:
    """Restore an image with everything removed that `restorer` does not declare in ``uses``.

    Gradients are left as they are, because some restorers optimise; the result carries none.

    Args:
        restorer: the method.
        degraded: the image ``(N, C, H, W)`` in [0, 1], or for a `tiled` restorer whole numbers, and what is known of its damage.
        name: how messages call the method.

    Returns:
        ``(N, C', scale·H, scale·W)`` in [0, 1], of the image's type and on its device; whole numbers are rounded.

    Raises:
        ImageError: input out of range, something missing that the method needs, a mask or PSF that
            does not fit the image, or a result of the wrong size or with values that are not finite.
    """
    name = name or type(restorer).__name__
    check_image(degraded.image, whole_numbers=restorer.tiled)
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
    # A method that writes into its input may do so again in the next call.
    shared = restored.untyped_storage().data_ptr() == degraded.image.untyped_storage().data_ptr()
    if not degraded.image.is_floating_point():
        rounded = whole_numbers(restored.detach().to(degraded.image.device), degraded.image.dtype)
        return rounded.clone() if shared else rounded
    restored = restored.detach().to(degraded.image)
    low, high = restored.aminmax()  # NaN if any is; `isfinite` takes as much memory again as the picture
    if not (low.isfinite() and high.isfinite()):
        raise ImageError(f"{name} returned values that are not finite")
    return restored.clamp(0, 1) if shared or low < 0 or high > 1 else restored  # a copy of a large picture only where it is needed


def self_ensemble(restorer: Restorer, degraded: Degraded, *, name: str = "") -> Tensor:
    """The mean of what `restorer` makes of the image in its eight orientations: mirrored and turned, restored, turned back.

    The mask and the PSF are turned with the image; references stay as they are. Otherwise as `restore`, and of floats always.

    Timofte, Rothe and Van Gool, "Seven ways to improve example-based single image super resolution", CVPR 2016.
    """
    degraded = replace(degraded, image=floats(degraded.image))
    # Said before the first of eight and not in the second.
    memory.room(degraded.image.device, SUMMED * 4 * degraded.image.numel() * restorer.scale**2, least=0)
    total: Tensor | None = None
    for turns in range(4):
        for mirror in (False, True):
            made = _turned(restore(restorer, _orientation(degraded, turns, mirror), name=name), -turns, mirror, back=True)
            total = made.clone() if total is None else total.add_(made)
    assert total is not None
    return total.div_(8)


def blend(image: Tensor, restored: Tensor, strength: float) -> Tensor:
    """`restored` at `strength` 1, `image` at 0 and a mixture between; `image` is resized where the method enlarges.

    Args:
        image: ``(N, C, H, W)`` in [0, 1].
        restored: what a method made of it, which is overwritten: a large picture is not in memory once more.
        strength: from 0 to 1.
    """
    if strength == 1:
        return restored
    if image.shape[-2:] != restored.shape[-2:]:
        image = F.interpolate(image, restored.shape[-2:], mode="bicubic", antialias=True).clamp(0, 1)
    return torch.lerp(image.expand_as(restored), restored, strength, out=restored)


def _orientation(degraded: Degraded, turns: int, mirror: bool) -> Degraded:
    params = {key: _turned(value, turns, mirror) if key == "psf" else value for key, value in degraded.params.items()}
    mask = None if degraded.mask is None else _turned(degraded.mask, turns, mirror)
    return replace(degraded, image=_turned(degraded.image, turns, mirror), mask=mask, params=params)


def _turned(image: Tensor, turns: int, mirror: bool, *, back: bool = False) -> Tensor:
    """Mirrored, then turned by quarters; with `back` turned first, which undoes it where `turns` has the other sign."""
    if mirror and not back:
        image = image.flip(-1)
    image = image.rot90(turns, (-2, -1))
    return image.flip(-1) if mirror and back else image


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
