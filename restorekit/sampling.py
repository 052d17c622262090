"""Pictures from models that make them of latent vectors: drawing, interpolating, truncating, and laying them out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restorekit import files, seeding
from restorekit.errors import UserError
from restorekit.images import finest
from restorekit.modelfile import Model

GAP = 2
"""Pixels between pictures on a sheet."""

SMALL = 256
"""A sheet's shorter side is brought to at least this many pixels, by whole factors of at most 4."""

AT_ONCE = 64
"""Pictures that are made at the same time."""


def check_latent(model: Model, what: str) -> None:
    """Raise a `UserError` unless the model makes pictures from latent vectors."""
    if model.generator.consumes != "latent":
        part = model.recipe.content["generator"]["part"]
        raise UserError(
            f"{what}: {part} restores pictures and makes none from latent vectors. To restore one: restorekit restore photo.jpg -o "
            f"restored.jpg --with {what}. Models that make pictures: restorekit train dcgan/faces28"
        )


def draw(model: Model, numbers: list[int], seed: int) -> Tensor:
    """Latent vectors ``(n, Z)`` of the pictures of these numbers; each follows from the seed and its own number."""
    length = model.generator.latent
    return torch.stack([torch.randn(length, generator=seeding.generator("sample", seed, number)) for number in numbers])


def read_latents(path: Path, model: Model) -> Tensor:
    """Latent vectors ``(n, Z)`` from a ``.npy`` file.

    Raises:
        UserError: it cannot be read, or its vectors are not of the model's length.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as fault:
        raise UserError(
            files.missing(path) if not path.exists() else f"{path}: expected an array of numbers, as numpy.save writes (.npy)"
        ) from fault
    array = np.atleast_2d(array)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise UserError(f"{path}: expected numbers (n, Z), one latent vector a row, got {array.dtype} {array.shape}")
    latents = torch.from_numpy(array.astype(np.float32))
    try:
        check_length(latents, model)
    except UserError as fault:
        raise UserError(f"{path}: {fault}") from fault
    return latents


def check_length(latents: Tensor, model: Model) -> None:
    """Raise a `UserError` unless there are latent vectors ``(n, Z)``, finite and of the model's length."""
    length = model.generator.latent
    if latents.ndim != 2 or latents.shape[1] != length:
        raise UserError(f"latent vectors of {latents.shape[-1]} numbers; {model.recipe.content['generator']['part']} takes {length}")
    if not len(latents):
        raise UserError("no latent vectors; expected at least one row")
    if not latents.isfinite().all():
        raise UserError("latent vectors hold values that are not finite")


def labels(model: Model, count: int, chosen: int | None) -> Tensor | None:
    """Class labels ``(count,)``: the chosen one, or each in turn; None for a model without classes.

    Raises:
        UserError: a label for a model without classes, or one that it does not have.
    """
    classes = model.generator.classes
    part = model.recipe.content["generator"]["part"]
    if chosen is None:
        return torch.arange(count) % classes if classes else None
    if not classes:
        raise UserError(f"--class {chosen}: {part} was trained without class labels; leave --class out")
    if not 0 <= chosen < classes:
        raise UserError(f"--class {chosen}: {part} knows the classes 0 to {classes - 1}")
    return torch.full((count,), chosen)


def shared_label(model: Model, numbers: Sequence[int]) -> int | None:
    """The class that the pictures of these numbers have where `labels` chooses; None for a model without classes.

    Raises:
        UserError: they are of several.
    """
    classes = model.generator.classes
    if not classes:
        return None
    own = {number: (number - 1) % classes for number in numbers}
    if len(set(own.values())) > 1:
        said = ", ".join(f"picture {number} is of class {label}" for number, label in own.items())
        raise UserError(f"--interpolate: {said}. Choose the class of all, such as --class {own[numbers[0]]}, or two pictures of one")
    return own[numbers[0]]


def between(first: Tensor, last: Tensor, steps: int) -> Tensor:
    """`steps` vectors from one latent vector ``(Z,)`` to another on the great circle, their lengths in between too.

    On a straight line they would get shorter than any that the generator has been trained with.
    White, 2016, arXiv:1609.04468.
    """
    lengths = first.norm(), last.norm()
    angle = torch.acos(torch.clamp(first @ last / (lengths[0] * lengths[1]), -1, 1))
    share = torch.linspace(0, 1, steps)[:, None]
    if float(angle.sin()) < 1e-4:
        return first + share * (last - first)
    direction = (torch.sin((1 - share) * angle) * first / lengths[0] + torch.sin(share * angle) * last / lengths[1]) / torch.sin(angle)
    found: Tensor = direction * ((1 - share) * lengths[0] + share * lengths[1])
    return found


@torch.no_grad()
def make(model: Model, latents: Tensor, given: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
    """Pictures ``(n, C, H, W)`` in [0, 1].

    Args:
        model: makes pictures from latent vectors.
        latents: ``(n, Z)``.
        given: class labels ``(n,)``, or None.
        truncation: how far the codes are from their mean, 1 as they come; less makes pictures that are more alike and
            often better (Karras et al., CVPR 2019, arXiv:1812.04948, appendix B).

    Raises:
        UserError: latent vectors of another length.
    """
    check_length(latents, model)
    generator, made = model.generator, []
    for start in range(0, len(latents), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        given_here = None if given is None else given[some].to(model.device)
        codes = generator.code(latents[some].to(model.device), given_here)
        centre = generator.centre()
        images = generator.decode(centre + truncation * (codes - centre), given_here)
        made.append(finest(images).float().clamp(0, 1).cpu())
    return torch.cat(made)


def sheet(images: Tensor, columns: int | None = None) -> Tensor:
    """Pictures ``(n, C, H, W)`` in rows, white between them, as one ``(1, C, H', W')``; small ones are enlarged.

    Args:
        images: at least one.
        columns: pictures in a row; as many as there are rows, if None.
    """
    n, channels, height, width = images.shape
    columns = min(n, columns or math.ceil(math.sqrt(n)))
    rows = math.ceil(n / columns)
    whole = images.new_ones(1, channels, rows * (height + GAP) - GAP, columns * (width + GAP) - GAP)
    for i, image in enumerate(images):
        top, left = i // columns * (height + GAP), i % columns * (width + GAP)
        whole[0, :, top : top + height, left : left + width] = image
    factor = min(4, math.ceil(SMALL / min(whole.shape[-2:])))
    return F.interpolate(whole, scale_factor=factor, mode="nearest") if factor > 1 else whole


def beside(left: Tensor, right: Tensor) -> Tensor:
    """Two sheets of one size with a wide gap."""
    return torch.cat([left, left.new_ones(*left.shape[:3], 8 * GAP), right], 3)


def below(upper: Tensor, lower: Tensor) -> Tensor:
    """Two sheets of one size, one above the other."""
    return torch.cat([upper, upper.new_ones(*upper.shape[:2], 4 * GAP, upper.shape[3]), lower], 2)
