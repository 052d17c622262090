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


@dataclass(frozen=True)
class Degraded:
    """A damaged image and what is known of the damage.

    Attributes:
        image: ``(N, C, H, W)`` in [0, 1].
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


def check_image(image: Tensor, *, channels: int | None = None, what: str = "image") -> None:
    """Raise an `ImageError` unless `image` is a finite float ``(N, C, H, W)`` tensor within [0, 1]."""
    if not isinstance(image, Tensor) or image.ndim != 4 or 0 in image.shape:
        shape = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise ImageError(f"{what}: expected a tensor (N, C, H, W), got {shape}")
    if not image.is_floating_point():
        raise ImageError(f"{what}: expected floats in [0, 1], got {image.dtype}; divide by 255 first")
    if channels is not None and image.shape[1] != channels:
        raise ImageError(f"{what}: expected {channels} channels, got {image.shape[1]}")
    low, high = (float(v) for v in image.aminmax())
    if not (low >= -1e-4 and high <= 1 + 1e-4):  # also false for NaN
        raise ImageError(f"{what}: values reach from {low:.4g} to {high:.4g}; expected [0, 1]")


def pad_reflect(image: Tensor, bottom: int, right: int) -> Tensor:
    """`image` with rows and columns mirrored at the bottom and right; repeats the edge where it is too small to mirror."""
    if not bottom and not right:
        return image
    mirrored = bottom < image.shape[-2] and right < image.shape[-1]
    return F.pad(image, (0, right, 0, bottom), mode="reflect" if mirrored else "replicate")
