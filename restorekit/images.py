"""What an image is at every public boundary: ``(N, C, H, W)`` float tensors, RGB or grey, in [0, 1]."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from restorekit.errors import ImageError

HOW_TO_GIVE = {
    "psf": "pass the blur kernel with --psf FILE, or degraded.params['psf'] of shape (N, h, w) in Python",
    "mask": "pass the damaged area with --mask FILE (white = missing), or Degraded(mask=...) in Python",
    "reference": "pass --reference FILE, or Degraded(reference=...) in Python",
}


LEVELS = {torch.uint8: 255, torch.uint16: 65535}
"""Types of whole numbers as files have them, and which stands for 1. Large pictures are kept as these until they are worked on."""

ROWS = 32
"""Of an image that are rounded at a time, because they are doubles in between."""


@dataclass(frozen=True)
class Degraded:
    """A damaged image and what is known of the damage.

    Attributes:
        image: ``(N, C, H, W)`` in [0, 1]; for restorers that declare `tiled` it may be one of whole numbers (`LEVELS`).
        mask: ``(N, 1, H, W)``, 1 where the image is missing, or None.
        params: the degradation's parameters by name, first dimension N: ``psf`` ``(N, h, w)``,
            ``sigma`` ``(N,)`` and so on.
        reference: an image that guides the restoration, such as a style, or None.
        references: further ones, of any sizes, for methods that read several and declare ``references``.
    """

    image: Tensor
    mask: Tensor | None = None
    params: Mapping[str, Tensor] = field(default_factory=dict)
    reference: Tensor | None = None
    references: tuple[Tensor, ...] = ()

    def need(self, name: str) -> Tensor:
        """The mask, the reference or the parameter `name`; an `ImageError` that says how to give it if absent."""
        value = getattr(self, name) if name in ("mask", "reference") else self.params.get(name)
        if value is None:
            hint = HOW_TO_GIVE.get(name, f"degraded.params['{name}'] is not there")
            raise ImageError(f"this method needs the {name}: {hint}")
        return value

    def only(self, names: Iterable[str]) -> Degraded:
        """A copy in which everything but the image and the fields or parameters `names` is removed."""
        keep = set(names)
        return replace(
            self,
            mask=self.mask if "mask" in keep else None,
            reference=self.reference if "reference" in keep else None,
            references=self.references if "references" in keep else (),
            params={k: v for k, v in self.params.items() if k in keep},
        )

    def to(self, device: torch.device | str) -> Degraded:
        """A copy with every tensor on `device`."""
        return Degraded(
            image=self.image.to(device),
            mask=None if self.mask is None else self.mask.to(device),
            params={k: v.to(device) for k, v in self.params.items()},
            reference=None if self.reference is None else self.reference.to(device),
            references=tuple(reference.to(device) for reference in self.references),
        )


@dataclass(frozen=True)
class SizeRule:
    """Image sizes that a network takes.

    Attributes:
        minimum: smallest height and width.
        multiple_of: height and width must be a multiple of this.
        fixed: the one ``(height, width)`` accepted, or None.
    """

    minimum: int = 1
    multiple_of: int = 1
    fixed: tuple[int, int] | None = None

    def padding(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns to add at the bottom and right so that the size is a legal multiple.

        Raises:
            ImageError: the image is smaller than `minimum`, or not of the `fixed` size.
        """
        if self.fixed is not None:
            if (height, width) != self.fixed:
                raise ImageError(f"image is {width}×{height}; this network takes exactly {self.fixed[1]}×{self.fixed[0]}")
            return 0, 0
        if min(height, width) < self.minimum:
            raise ImageError(f"image is {width}×{height}; this network needs at least {self.minimum}×{self.minimum} pixels")
        return -height % self.multiple_of, -width % self.multiple_of


def check_image(image: Tensor, *, channels: int | None = None, what: str = "image", whole_numbers: bool = False) -> None:
    """Raise an `ImageError` unless `image` is a finite float ``(N, C, H, W)`` tensor within [0, 1], or `whole_numbers` may be and are."""
    if not isinstance(image, Tensor) or image.ndim != 4 or 0 in image.shape:
        shape = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise ImageError(f"{what}: expected a tensor (N, C, H, W), got {shape}")
    if not image.is_floating_point() and not (whole_numbers and image.dtype in LEVELS):
        raise ImageError(f"{what}: expected floats in [0, 1], got {image.dtype}; divide by 255 first")
    if channels is not None and image.shape[1] != channels:
        raise ImageError(f"{what}: expected {channels} channels, got {image.shape[1]}")
    if not image.is_floating_point():
        return
    low, high = (float(v) for v in image.aminmax())
    if not (low >= -1e-4 and high <= 1 + 1e-4):  # also false for NaN
        raise ImageError(f"{what}: values reach from {low:.4g} to {high:.4g}; expected [0, 1]")


def finest(image: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The last of a tuple of images, coarse to fine, as networks make and judge them while training; an image as it is."""
    return image[-1] if isinstance(image, tuple) else image


def pad_reflect(image: Tensor, bottom: int, right: int) -> Tensor:
    """`image` with rows and columns mirrored at the bottom and right; repeats the edge where it is too small to mirror."""
    if not bottom and not right:
        return image
    mirrored = bottom < image.shape[-2] and right < image.shape[-1]
    return F.pad(image, (0, right, 0, bottom), mode="reflect" if mirrored else "replicate")


def floats(image: Tensor) -> Tensor:
    """An image in [0, 1]: a new one of one of whole numbers (`LEVELS`), and one of floats as it is."""
    if image.is_floating_point():
        return image
    top = torch.tensor(LEVELS[image.dtype], dtype=torch.float32, device=image.device)  # by a number a GPU divides less exactly
    return image.to(torch.float32, memory_format=torch.contiguous_format).div_(top)


def whole_numbers(image: Tensor, dtype: torch.dtype) -> Tensor:
    """An image as whole numbers of the type `dtype`, a key of `LEVELS`: clamped to [0, 1] and rounded, in the order of files in memory.

    Args:
        image: ``(N, C, H, W)``, floats or whole numbers; those of `dtype` are given back as they are.
        dtype: the type.

    Raises:
        ImageError: there are values that are not finite.
    """
    if image.dtype == dtype:
        return image
    top = LEVELS[dtype]
    made = torch.empty(image.shape, dtype=dtype, device=image.device, memory_format=torch.channels_last)
    for start in range(0, image.shape[2], ROWS):
        rows = floats(image[:, :, start : start + ROWS])
        rows = (rows.cpu() if rows.device.type == "mps" else rows).double()  # of which Apple's GPUs have none
        if not all(bound.isfinite() for bound in rows.aminmax()):
            raise ImageError("the result has values that are not finite")
        made[:, :, start : start + ROWS] = rows.clamp(0, 1).mul_(top).round_().to(dtype)
    return made
