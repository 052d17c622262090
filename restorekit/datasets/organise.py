"""Pairs from one layout into another."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from restorekit import files, photos
from restorekit.datasets import layouts
from restorekit.datasets.layouts import Entry, Listing
from restorekit.errors import ImageError, UserError
from restorekit.photos import Photo

if TYPE_CHECKING:
    from torch import Tensor

Conversion = Literal["gopro-to-ab", "gopro-to-pairs", "pairs-to-ab", "ab-to-pairs"]

CONVERSIONS: tuple[str, ...] = get_args(Conversion)

SHARP, DEGRADED = "sharp", "degraded"
"""The two folders of pairs that are written."""


@dataclass(frozen=True)
class Job:
    """One pair and the files that become of it: one for both sides, or one for each, the sharp one first."""

    entry: Entry
    targets: tuple[Path, ...]


@dataclass(frozen=True)
class Plan:
    """What is to be written where.

    Attributes:
        listing: the pairs that were found, and what has no counterpart.
        jobs: one for each pair.
    """

    listing: Listing
    jobs: tuple[Job, ...]


def plan(
    source: Path,
    target: Path,
    conversion: Conversion,
    *,
    degraded: Path | None = None,
    blur_folder: str = "blur",
    sharp_half: Literal["left", "right"] = "right",
) -> Plan:
    """Find the pairs of a folder and name the files that are to be written.

    Names are kept, with the folders that they are in: pairs side by side go to ``target/NAME.png``, degraded left and sharp right;
    two folders are ``target/sharp`` and ``target/degraded``.

    Args:
        source: what to read; the sharp side of two folders.
        target: where to write.
        conversion: from which layout to which.
        degraded: the other side of two folders.
        blur_folder: of the layout ``gopro``.
        sharp_half: of the layout ``ab``.

    Raises:
        UserError: no pairs, or folders that lie in one another.
    """
    before, _, after = conversion.partition("-to-")
    if (before == "pairs") != (degraded is not None):
        raise UserError(
            f"{conversion}: " + ("give the degraded pictures with --degraded DIR" if degraded is None else "takes no --degraded")
        )
    for folder in (source, *([degraded] if degraded is not None else [])):
        inside, around = Path(os.path.realpath(target)), Path(os.path.realpath(folder))
        if inside == around or around in inside.parents or inside in around.parents:
            raise UserError(f"{target}: lies in {folder}, or the other way round; choose a folder beside it")
    layout: Literal["auto", "ab", "gopro"] = "ab" if before == "ab" else "gopro" if before == "gopro" else "auto"
    listing = layouts.find(source, degraded=degraded, layout=layout, blur_folder=blur_folder, sharp_half=sharp_half)
    return Plan(listing, tuple(Job(entry, _targets(entry, target, after)) for entry in listing.entries))


def write(job: Job, *, copy: bool = False) -> bool:
    """Write the files of one pair that are not there yet.

    A picture that only gets another place is linked (a hard link) where the file system can, otherwise copied. Halves of
    pictures and pictures side by side are written as PNG, which loses nothing.

    Args:
        job: of a `Plan`.
        copy: never link.

    Returns:
        Whether there was anything to write.

    Raises:
        ImageError: files that cannot be read, or sides of different sizes.
        UserError: files that cannot be written.
    """
    entry = job.entry
    if all(target.exists() for target in job.targets):
        return False
    assert entry.degraded is not None
    if len(job.targets) == 1:
        _write_side_by_side(entry.sharp, entry.degraded, job.targets[0])
    elif entry.half:
        _write_halves(entry, *job.targets)
    else:
        for source, target in zip((entry.sharp, entry.degraded), job.targets, strict=True):
            _place(source, target, copy)
    return True


def _targets(entry: Entry, folder: Path, after: str) -> tuple[Path, ...]:
    # Not with_suffix(): a name such as 000.12 has a dot of its own.
    if after == "ab":
        return (folder / f"{entry.name}.png",)
    assert entry.degraded is not None
    suffixes = (".png", ".png") if entry.half else (entry.sharp.suffix, entry.degraded.suffix)
    return tuple(folder / side / f"{entry.name}{suffix}" for side, suffix in zip((SHARP, DEGRADED), suffixes, strict=True))


def _write_side_by_side(sharp: Path, degraded: Path, target: Path) -> None:
    right, left = photos.read(sharp), photos.read(degraded)
    one, other = right.image, left.image
    if one.shape[2:] != other.shape[2:]:
        sizes = [f"{image.shape[3]}×{image.shape[2]}" for image in (one, other)]
        raise ImageError(f"{sharp}: {sizes[0]}, but {degraded}: {sizes[1]}")
    channels = max(one.shape[1], other.shape[1])
    both = _joined(other.expand(-1, channels, -1, -1), one.expand(-1, channels, -1, -1))
    photos.write(target, both, like=Photo(both, bits=max(right.bits, left.bits), icc=right.icc if right.icc == left.icc else b""))


def _joined(left: Tensor, right: Tensor) -> Tensor:
    import torch

    return torch.cat([left, right], 3)


def _write_halves(entry: Entry, sharp: Path, degraded: Path) -> None:
    photo = photos.read(entry.sharp)
    if photo.image.shape[3] % 2:
        raise ImageError(f"{entry.sharp}: {photo.image.shape[3]} pixels wide, which two pictures side by side cannot be")
    left, right = photo.image.chunk(2, 3)
    sides = (left, right) if entry.half == "left" else (right, left)
    for target, image in zip((sharp, degraded), sides, strict=True):
        if target.exists():
            continue
        photos.write(target, image, like=Photo(image, bits=photo.bits, icc=photo.icc))


def _place(source: Path, target: Path, copy: bool) -> None:
    if target.exists():
        return
    if not copy:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(os.path.realpath(source), target)
        except OSError:  # another file system, or one without links
            pass
        else:
            return
    files.write(target, files.content(source))
