"""Checks of PSF estimators."""

from __future__ import annotations

import torch
from torch import Tensor

from restorekit.conformance.probes import photo
from restorekit.conformance.subject import Check, Failed, Subject
from restorekit.interfaces import Estimator

HALF_A_PIXEL = 0.5


def _blurred(n: int = 2, channels: int = 3) -> Tensor:
    return photo(n, 96, 120, channels)


def psf_is_as_declared(subject: Subject) -> None:
    """One float32 PSF per image of the declared odd size, for colour, grey, small and oblong images."""
    estimator: Estimator = subject.build()
    size = getattr(estimator, "size", None)
    if not isinstance(size, int) or size % 2 == 0:
        raise Failed(f"size is {size!r}", "set self.size to an odd whole number in the constructor")
    for image in (_blurred(), _blurred(1, 1), photo(1, 33, 70)):
        made = estimator(image)
        if tuple(made.shape) != (len(image), size, size) or made.dtype != torch.float32:
            raise Failed(
                f"{tuple(made.shape)}, {made.dtype} for {tuple(image.shape)}; expected {(len(image), size, size)}, float32",
                "pad the PSF to size in the end",
            )
        if made.requires_grad:
            raise Failed("it carries a gradient", "estimate under torch.no_grad()")


def psf_spreads_light(subject: Subject) -> None:
    """No entry of the PSF is negative, and they sum to 1: it moves light and makes none."""
    estimator: Estimator = subject.build()
    made = estimator(_blurred())
    if not made.isfinite().all() or float(made.min()) < 0:
        raise Failed(f"entries from {float(made.min()):.3g}", "clamp at 0")
    total = made.sum(dim=(1, 2))
    if not torch.allclose(total, torch.ones_like(total), atol=1e-4):
        raise Failed(f"sums {total.tolist()}", "divide by the sum")


def flat_image_has_a_psf(subject: Subject) -> None:
    """A black, a grey and a white image give a PSF too, although they say nothing about it."""
    estimator: Estimator = subject.build()
    made = estimator(torch.tensor([0.0, 0.5, 1.0])[:, None, None, None].expand(3, 3, 64, 64).contiguous())
    if not made.isfinite().all() or not torch.allclose(made.sum(dim=(1, 2)), torch.ones(3), atol=1e-4):
        raise Failed("entries that are not finite or do not sum to 1", "return one bright pixel in the middle where nothing is found")


def psf_is_centred(subject: Subject) -> None:
    """The centroid is the middle within half a pixel, so that deconvolving moves nothing."""
    estimator: Estimator = subject.build()
    made = estimator(_blurred())
    steps = torch.arange(made.shape[-1], dtype=made.dtype) - made.shape[-1] // 2
    for name, offset in (("rows", made.sum(2) @ steps), ("columns", made.sum(1) @ steps)):
        if float(offset.abs().max()) > HALF_A_PIXEL:
            raise Failed(f"off the middle by {offset.tolist()} {name}", "shift the PSF by its centroid")


def alone_as_in_a_batch(subject: Subject) -> None:
    """An image has the same PSF alone and in a batch, and the same again."""
    estimator: Estimator = subject.build()
    images = _blurred()
    together, again = estimator(images), estimator(images)
    if not torch.equal(together, again):
        raise Failed("a second call differs", "draw from a generator of your own with a fixed seed")
    if not torch.allclose(together[1:], estimator(images[1:]), atol=1e-4):
        raise Failed("the second image's PSF depends on the first", "estimate one image at a time")


def input_is_not_modified(subject: Subject) -> None:
    """The image is left as it was."""
    estimator: Estimator = subject.build()
    images = _blurred()
    estimator(images)
    if not torch.equal(images, _blurred()):
        raise Failed("it changed", "copy before operations in place")


ESTIMATOR: tuple[Check, ...] = (
    psf_is_as_declared,
    psf_spreads_light,
    psf_is_centred,
    flat_image_has_a_psf,
    alone_as_in_a_batch,
    input_is_not_modified,
)
