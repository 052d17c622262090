"""Photographs and pairs as uint8 arrays: all of them kept in memory, or read from their files when asked for."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from restorekit import metadata, photos, seeding
from restorekit.datasets.layouts import Entry, Listing
from restorekit.errors import ImageError, TrainingError

if TYPE_CHECKING:
    from torch import Tensor

Pixels = npt.NDArray[np.uint8]

STEP = 32
"""Of which a crop that is recommended is a multiple."""

READERS = 8
"""Most files that are decoded at the same time."""


@dataclass(frozen=True)
class Sample:
    """A sharp photograph ``(H, W, C)`` and its degraded counterpart ``(H / scale, W / scale, C)``, or None."""

    sharp: Pixels
    degraded: Pixels | None = None


Damage = Callable[[str, Pixels], Sample]
"""Makes a pair from a photograph's name and pixels."""


class Photographs:
    """The usable photographs or pairs of a listing.

    Only the files' headers are read here; what they say decides which files are used, so that it does not depend on
    what is kept in memory.

    Args:
        listing: which files.
        channels: 1 or 3; grey becomes three equal channels, and colour the luma of BT.601.
        smallest: photographs with a side below this are left out.
        scale: height of a sharp picture over that of its degraded counterpart.

    Attributes:
        left_out: a message for each file that is not used.
        unreadable: messages of files whose header was sound and whose content is not, by index; it grows as files are read.
        classes: names of the classes, which are the folders right inside the one given, of parts of the whole the same.

    Raises:
        TrainingError: no usable photograph.
    """

    def __init__(self, listing: Listing, *, channels: int, smallest: int, scale: int = 1) -> None:
        self.listing, self.channels, self.scale = listing, channels, scale
        self.left_out = list(listing.unmatched)
        self.unreadable: dict[int, str] = {}
        self.damage: Damage | None = None
        self._kept: list[Sample | None] = []
        self._entries: list[Entry] = []
        self._sizes: list[tuple[int, int]] = []
        largest = 0
        for entry in listing.entries:
            try:
                height, width = header_size(entry, scale)
                if min(height, width) < smallest:
                    largest = max(largest, min(height, width))
                    raise ImageError(f"{entry.sharp}: {width}×{height}, smaller than the {smallest} pixels that data.crop needs")
            except ImageError as fault:
                self.left_out.append(str(fault))
                continue
            self._entries.append(entry)
            self._sizes.append((height, width))
        if not self._entries:
            crop = largest // STEP * STEP  # such as networks take
            hint = f". --set data.crop={crop} takes the largest" if crop else ""
            raise TrainingError(f"{listing.folder}: no usable image: {_first(self.left_out) or 'no image files in it'}{hint}")
        self.classes = sorted({name.partition("/")[0] for name in self.names if "/" in name})

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def paired(self) -> bool:
        """Whether `read` gives pairs."""
        return self.listing.paired or self.damage is not None

    @property
    def names(self) -> list[str]:
        """The photographs' names, in order."""
        return [entry.name for entry in self._entries]

    @property
    def failures(self) -> dict[str, str]:
        """`unreadable` by name."""
        return {self._entries[index].name: message for index, message in self.unreadable.items()}

    def label(self, index: int) -> int:
        """Number of the photograph's class within `classes`; it must lie in a folder."""
        return self._labels[index]

    @functools.cached_property
    def _labels(self) -> list[int]:
        number = {name: i for i, name in enumerate(self.classes)}
        return [number[name.partition("/")[0]] for name in self.names]

    @property
    def files(self) -> set[Path]:
        """The files of the sharp photographs, links resolved; a part of a file counts as one below it."""

        def whole(entry: Entry) -> bool:
            return entry.item is None and entry.rows is None

        real = {entry: Path(os.path.realpath(entry.sharp)) for entry in self._entries}
        return {path if whole(entry) else path / f"{entry.item} {entry.rows}" for entry, path in real.items()}

    @property
    def mebibytes(self) -> int:
        """What `keep` would need."""
        pixels = sum(height * width for height, width in self._sizes)
        return -(-pixels * self.channels * (2 if self.paired else 1) // 2**20)

    def split(self, share: float, seed: int) -> tuple[Photographs, Photographs]:
        """Two sets, the second with `share` of the photographs, chosen by `seed`; at least one each."""
        if len(self) < 2:
            why = _first(self.left_out)
            raise TrainingError(f"only one usable image: give at least two, or a folder for data.validation{f' ({why})' if why else ''}")
        import torch

        order = torch.randperm(len(self), generator=seeding.generator(seed, "holdout")).tolist()
        count = min(len(self) - 1, max(1, round(share * len(self))))
        return self._pick(sorted(order[count:])), self._pick(sorted(order[:count]))

    def sharp_sides(self) -> Photographs:
        """The sharp sides of these pairs; what is kept is shared."""
        chosen = self._pick(range(len(self)))
        chosen.listing = self.listing.sharp_sides()
        chosen._entries = [entry.alone() for entry in self._entries]
        chosen._kept = [None if sample is None else Sample(sample.sharp) for sample in self._kept]
        chosen.unreadable = dict(self.unreadable)
        return chosen

    def damaged_by(self, damage: Damage) -> Photographs:
        """Pairs of these photographs and what `damage` makes of them; nothing is kept yet."""
        chosen = self._pick(range(len(self)))
        chosen.damage = damage
        chosen.unreadable = dict(self.unreadable)
        return chosen

    def keep(self, memory: int) -> int:
        """Decode all photographs and keep them, if they fit into `memory` MiB.

        Returns:
            The MiB that are taken.

        Raises:
            TrainingError: none of them can be read.
        """
        if self._kept or self.mebibytes > memory:
            return 0
        with ThreadPoolExecutor(min(READERS, os.cpu_count() or 1)) as readers:
            self._kept = list(readers.map(self._readable, range(len(self))))
        if len(self.unreadable) == len(self):
            raise TrainingError(f"{self.listing.folder}: no usable image: {_first(self.unreadable.values())}")
        return self.mebibytes

    def read(self, index: int) -> Sample:
        """One photograph or pair.

        Raises:
            ImageError: its files are damaged or have changed; `unreadable` has the message from then on.
        """
        if index in self.unreadable:
            raise ImageError(self.unreadable[index])
        kept = self._kept[index] if self._kept else None
        if kept is not None:
            return kept
        try:
            return self._decoded(index)
        except ImageError as fault:
            self.unreadable[index] = str(fault)
            raise

    def _readable(self, index: int) -> Sample | None:
        try:
            return self.read(index)
        except ImageError:
            return None

    def _decoded(self, index: int) -> Sample:
        entry, size = self._entries[index], self._sizes[index]
        sample = decode(entry, self.channels)
        if sample.sharp.shape[:2] != size:
            height, width = sample.sharp.shape[:2]
            raise ImageError(f"{entry.sharp}: has become {width}×{height}; it was {size[1]}×{size[0]} when training started")
        return self.damage(entry.name, sample.sharp) if self.damage and sample.degraded is None else sample

    def _pick(self, indices: Sequence[int]) -> Photographs:
        chosen = object.__new__(Photographs)
        chosen.listing, chosen.channels, chosen.scale, chosen.damage = self.listing, self.channels, self.scale, self.damage
        chosen.classes = self.classes
        chosen.left_out, chosen.unreadable, chosen._kept = [], {}, []
        chosen._entries = [self._entries[i] for i in indices]
        chosen._sizes = [self._sizes[i] for i in indices]
        return chosen


def header_size(entry: Entry, scale: int = 1) -> tuple[int, int]:
    """Height and width of the sharp photograph, from the headers of the files.

    Raises:
        ImageError: an unreadable header, an odd width of two halves, or a pair of different sizes.
    """
    if entry.item is not None:
        size = _items(entry.sharp).shape[1:3]
        return size[0], size[1]
    height, width = _upright_size(entry.sharp)
    if entry.rows is not None:
        return len(range(height)[slice(*entry.rows)]), width
    if entry.half:
        if width % 2:
            raise ImageError(f"{entry.sharp}: {width} pixels wide, which two pictures side by side cannot be")
        return height, width // 2
    if entry.degraded is not None:
        other = _upright_size(entry.degraded)
        if (height, width) != (other[0] * scale, other[1] * scale):
            times = f", and must be {scale} times as large" if scale > 1 else ""
            raise ImageError(f"{entry.sharp}: {width}×{height}, but {entry.degraded}: {other[1]}×{other[0]}{times}")
    return height, width


def decode(entry: Entry, channels: int) -> Sample:
    """Read a photograph or pair; the sides of a pair need not have been checked by `header_size`.

    Raises:
        ImageError: damaged files, or an odd width of two halves.
    """
    if entry.item is None:
        image = photos.read(entry.sharp).image
    else:
        import torch

        image = torch.from_numpy(_items(entry.sharp)[entry.item]).float()[None, None]
    if entry.rows is not None:
        image = image[:, :, slice(*entry.rows)]
    if not entry.half:
        degraded = None if entry.degraded is None else _as_pixels(photos.read(entry.degraded).image, channels)
        return Sample(_as_pixels(image, channels), degraded)
    middle, odd = divmod(image.shape[3], 2)
    if odd:
        raise ImageError(f"{entry.sharp}: {image.shape[3]} pixels wide, which two pictures side by side cannot be")
    sharp, other = (image[..., :middle], image[..., middle:])[:: 1 if entry.half == "left" else -1]
    return Sample(_as_pixels(sharp, channels), None if entry.degraded is None else _as_pixels(other, channels))


@functools.lru_cache(maxsize=2)
def _items(path: Path) -> npt.NDArray[np.floating[Any]]:
    """Grey pictures ``(n, height, width)`` in [0, 1]."""
    try:
        array: npt.NDArray[np.floating[Any]] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as fault:
        raise ImageError(f"{path}: cannot be read: {fault}. Reinstall scikit-image") from fault
    return array


def _as_pixels(image: Tensor, channels: int) -> Pixels:
    if image.shape[1] != channels:
        image = image.expand(-1, 3, -1, -1) if channels == 3 else _grey(image)
    pixels: Pixels = image[0].permute(1, 2, 0).mul(255).round().byte().contiguous().numpy()
    return pixels


def _grey(image: Tensor) -> Tensor:
    red, green, blue = image.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


def _upright_size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path, formats=tuple(dict.fromkeys(photos.FORMATS.values()))) as opened:
            # Some releases of Pillow turn the size of a TIFF when they open it; its tags are as they were written.
            width, height = (opened.tag_v2[256], opened.tag_v2[257]) if isinstance(opened, TiffImageFile) else opened.size
            turned = _turned(opened)
    except Exception:  # whatever is wrong with the file, reading it whole words the message
        size = photos.read(path).image.shape[-2:]
        return size[0], size[1]
    return (width, height) if turned else (height, width)


def _turned(opened: Image.Image) -> bool:
    if opened.format == "PNG" and "exif" not in opened.info:
        return False  # Pillow would decode the whole picture to look behind it
    try:
        orientation: Any = opened.getexif().get(metadata.ORIENTATION, 1)
    except Exception:  # a damaged description must not cost the picture
        return False
    return orientation in (5, 6, 7, 8)


def _first(messages: Iterable[str], count: int = 3) -> str:
    return "; ".join(list(messages)[:count])
