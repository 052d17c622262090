"""What a folder of photographs or pairs holds, and what is wrong with it: every file is read."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from restorekit import photos
from restorekit.datasets.layouts import Entry, Listing
from restorekit.datasets.registration import Plane, shift
from restorekit.errors import ImageError

if TYPE_CHECKING:
    from torch import Tensor

READERS = 4
"""Most pictures in memory at the same time."""

APART = 1.0
"""Pixels from which a pair is not registered."""

MOSTLY = 0.8
"""Share of pairs with the sharper side on the degraded one's place from which it is worth a note."""


@dataclass(frozen=True)
class Finding:
    """Something to know of a file.

    Attributes:
        kind: ``unmatched``, ``unreadable``, ``sizes``, ``unregistered``, ``seen``, ``duplicate``, ``small`` or ``sides``.
        message: with the files' names.
        serious: whether it must be put right before training.
    """

    kind: str
    message: str
    serious: bool


@dataclass(frozen=True)
class Look:
    """One photograph or pair that could be read.

    Attributes:
        entry: its files.
        height, width: of the sharp side.
        colours: such as ``RGB, 8 bits``.
        digest: of the pixels of the sharp side.
        apart: pixels between the sides; None for a photograph, or where it cannot be told.
        backward: whether the degraded side has more detail than the sharp one.
    """

    entry: Entry
    height: int
    width: int
    colours: str
    digest: str
    apart: float | None = None
    backward: bool = False


@dataclass(frozen=True)
class Survey:
    """What was found in a folder.

    Attributes:
        listing: its files.
        looks: the photographs or pairs that can be read and whose sizes agree.
        findings: everything to know, what must be fixed first.
    """

    listing: Listing
    looks: tuple[Look, ...]
    findings: tuple[Finding, ...]

    @property
    def sizes(self) -> Counter[str]:
        """How many photographs have which size, the most frequent first."""
        return Counter(f"{look.width}×{look.height}" for look in self.looks)

    @property
    def colours(self) -> Counter[str]:
        """How many photographs have which channels and depth."""
        return Counter(look.colours for look in self.looks)

    @property
    def shifts(self) -> list[float]:
        """Pixels between the sides of each pair that can be told, ascending."""
        return sorted(look.apart for look in self.looks if look.apart is not None)

    @property
    def mebibytes(self) -> int:
        """Memory for all of them in RGB, as ``data.memory`` counts it."""
        pixels = sum(look.height * look.width for look in self.looks)
        return -(-pixels * 3 * (2 if self.listing.paired else 1) // 2**20)


def survey(listing: Listing, *, crop: int, scale: int = 1, step: Callable[[str], None] = lambda name: None) -> Survey:
    """Read every file of a listing.

    Args:
        listing: of `restorekit.datasets.layouts.find`.
        crop: smaller photographs are noted.
        scale: height of a sharp picture over that of its counterpart.
        step: called with the name of each picture after it has been read.
    """
    looks: list[Look] = []
    found = [Finding("unmatched", message, True) for message in listing.unmatched]

    def one(entry: Entry) -> Look | Finding:
        try:
            return _look(entry, scale)
        except ImageError as fault:
            return Finding("unreadable", str(fault), True)

    with ThreadPoolExecutor(min(READERS, os.cpu_count() or 1)) as readers:
        for entry, result in zip(listing.entries, readers.map(one, listing.entries), strict=True):
            step(entry.name)
            if isinstance(result, Finding):
                found.append(result)
            else:
                looks.append(result)
    found += _notes(looks, crop)
    return Survey(listing, tuple(looks), tuple(sorted(found, key=lambda finding: not finding.serious)))


def seen(train: Survey, validation: Survey) -> list[Finding]:
    """Photographs of the validation that are trained on, by the pixels of their sharp sides."""
    known: dict[str, Look] = {}
    for look in train.looks:
        known.setdefault(look.digest, look)
    return [
        Finding("seen", f"{look.entry.sharp}: the same picture as {known[look.digest].entry.sharp}, which is trained on", True)
        for look in validation.looks
        if look.digest in known
    ]


def _look(entry: Entry, scale: int) -> Look | Finding:
    photo = photos.read(entry.sharp)
    sharp, degraded = photo.image, None
    if entry.half:
        if sharp.shape[3] % 2:
            return Finding("sizes", f"{entry.sharp}: {sharp.shape[3]} pixels wide, which two pictures side by side cannot be", True)
        left, right = sharp.chunk(2, 3)
        sharp, degraded = (left, right) if entry.half == "left" else (right, left)
    elif entry.degraded is not None:
        degraded = photos.read(entry.degraded).image
    height, width = sharp.shape[-2:]
    if degraded is not None and (height, width) != (degraded.shape[2] * scale, degraded.shape[3] * scale):
        words = f"{entry.sharp}: {width}×{height}, but {entry.degraded}: {degraded.shape[3]}×{degraded.shape[2]}"
        return Finding("sizes", words + (f", and must be {scale} times as large" if scale > 1 else ""), True)
    channels = ("grey" if sharp.shape[1] == 1 else "RGB") + ("" if photo.alpha is None else " with alpha")
    pixels = sharp.expand(-1, 3, -1, -1).mul(255).round().byte().numpy()
    digest = hashlib.blake2b(f"{height}×{width}".encode() + pixels.tobytes()).hexdigest()
    look = Look(entry, height, width, f"{channels}, {photo.bits} bits", digest)
    if degraded is None:
        return look
    one, other = _grey(sharp, scale), _grey(degraded)
    apart = shift(one, other)
    backward = _detail(other) > _detail(one)
    return Look(entry, height, width, look.colours, digest, None if apart is None else apart * scale, backward)


def _grey(image: Tensor, scale: int = 1) -> Plane:
    plane: Plane = image.mean((0, 1)).numpy()
    return plane if scale == 1 else np.asarray(Image.fromarray(plane).reduce(scale))


def _detail(plane: Plane) -> float:
    return float(np.abs(np.diff(plane, axis=0)).mean() + np.abs(np.diff(plane, axis=1)).mean())


def _notes(looks: Sequence[Look], crop: int) -> Iterable[Finding]:
    for look in looks:
        if look.apart is not None and look.apart > APART:
            yield Finding("unregistered", f"{look.entry.sharp}: its degraded side lies {look.apart:.1f} pixels off", True)
    for look in looks:
        if min(look.height, look.width) < crop:
            yield Finding("small", f"{look.entry.sharp}: {look.width}×{look.height}, left out with data.crop={crop}", False)
    same: dict[str, list[str]] = {}
    for look in looks:
        same.setdefault(look.digest, []).append(str(look.entry.sharp))
    yield from (Finding("duplicate", f"{', '.join(files)}: the same picture", False) for files in same.values() if len(files) > 1)
    pairs = [look for look in looks if look.entry.degraded is not None]
    backward = sum(look.backward for look in pairs)
    if pairs and backward >= MOSTLY * len(pairs):
        yield Finding(
            "sides",
            f"the degraded side has more detail than the sharp one in {backward} of {len(pairs)} pairs: noise, or the wrong side?",
            False,
        )
