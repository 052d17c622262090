"""The pairs that a suite is made of: each photograph damaged in each way once, the same for every method."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from restorekit import files, photos, seeding
from restorekit.bench.dataset import Source
from restorekit.bench.suite import Suite
from restorekit.errors import ImageError
from restorekit.images import Degraded
from restorekit.interfaces import Degradation

SMALLEST = 16
"""Smallest height and width of a target, in pixels."""

PARAM = "param."
DIGEST = "digest"


@dataclass(frozen=True)
class Cell:
    """One photograph damaged in one way.

    Attributes:
        image: name of the photograph.
        degradation: the suite's name for the damage.
        draw: which of the suite's draws, from 0.
    """

    image: str
    degradation: str
    draw: int = 0

    @property
    def label(self) -> str:
        """``degradation/image``, and the draw where it is not the first."""
        return f"{self.degradation}/{self.image}" + (f"#{self.draw}" if self.draw else "")


@dataclass(frozen=True)
class Pair:
    """What a method gets and what its result is compared with.

    Attributes:
        degraded: the damaged image ``(1, C, H, W)`` in [0, 1] and what is known of the damage.
        digest: SHA-256 of all that.
    """

    degraded: Degraded
    digest: str
    _target: Tensor | None
    _files: tuple[Path, ...]
    _crop: int | None

    def targets(self) -> Iterator[Tensor]:
        """Sharp images ``(1, C, H, W)``; nearly always one. Read one after the other, because there may be hundreds."""
        if self._target is not None:
            yield self._target
        for path in self._files:
            yield _cropped(photos.read(path).image, self._crop)


class Inputs:
    """Every cell of a suite, made when it is first asked for and kept in files, because a data set need not fit the memory.

    Args:
        suite: what to make.
        folder: where the damaged images are kept; made when the first is kept.
        earlier: an earlier manifest of the same suite: what it says of unchanged files is taken from it.

    Attributes:
        cells: in the order of photographs, then degradations, then draws.
        files: SHA-256 of each photograph's file or files, by image.
        targets: SHA-256 of each target's 8-bit pixels and shape, by image; of the files where pictures are damaged already.
        seeds: what each cell's damage is drawn from, by label.

    Raises:
        UserError: pictures that are missing, changed, unreadable or too small, all of them named.
    """

    def __init__(self, suite: Suite, folder: Path, *, earlier: Mapping[str, Any] | None = None) -> None:
        self._suite, self._folder = suite, folder
        self._sources = suite.sources()
        self._margin = max((_margin(degradation) for degradation in suite.degradations.values() if degradation), default=0)
        self.files = {name: source.digest() for name, source in self._sources.items()}
        self.targets = self._targets(earlier)
        self.cells = [Cell(name, key, draw) for name in self._sources for key in suite.degradations for draw in range(suite.seeds)]
        self.seeds = {cell.label: _seed(suite, cell) for cell in self.cells} if not suite.data.paired else {}
        self._numbers = {cell: number for number, cell in enumerate(self.cells)}

    def pair(self, cell: Cell) -> Pair:
        """The damaged image of `cell` and its target."""
        source, degradation = self._sources[cell.image], self._suite.degradations[cell.degradation]
        if degradation is None:
            image = _cropped(photos.read(source.image).image, self._suite.data.crop)
            return Pair(Degraded(image), self.files[cell.image], None, source.targets, self._suite.data.crop)
        file = self._folder / f"{self._numbers[cell]:06}.safetensors"
        if not file.is_file():
            target, degraded = self._damaged(source, degradation, self.seeds[cell.label])
            _keep(file, target, degraded)
        return _kept(file)

    def _damaged(self, source: Source, degradation: Degradation, seed: int) -> tuple[Tensor, Degraded]:
        photograph, rows, columns = self._area(source)
        rng = torch.Generator().manual_seed(seed)
        return photograph[..., rows, columns], _damaged(photograph, rows, columns, degradation, rng)

    def _area(self, source: Source) -> tuple[Tensor, slice, slice]:
        """The photograph, and the rows and columns of its target."""
        photograph = _reduced(photos.read(source.image).image, self._suite.data.longest_side)
        return photograph, *_target_area(photograph, self._margin, self._suite.data.crop, source.image)

    def _targets(self, earlier: Mapping[str, Any] | None) -> dict[str, str]:
        known: Mapping[str, str] = {}
        if earlier is not None and earlier["content"]["data"] == self._suite.content["data"]:
            old = earlier["ingredients"]["targets"]
            known = {name: old[name] for name, digest in earlier["files"].items() if self.files.get(name) == digest}
        found, faults = {}, []
        for name, source in self._sources.items():
            try:
                found[name] = known.get(name) or (_same_size(source) if source.targets else self._pixels(source))
            except ImageError as fault:
                faults.append(str(fault))
        if faults:
            raise ImageError("\n".join(faults))
        return found

    def _pixels(self, source: Source) -> str:
        photograph, rows, columns = self._area(source)
        return _digest({"target": photograph[..., rows, columns]})


def _seed(suite: Suite, cell: Cell) -> int:
    return seeding.derive(suite.name, cell.image, cell.degradation, *([cell.draw] if cell.draw else []))


def _same_size(source: Source) -> str:
    """Digest of the targets' files, which must have the size of the damaged picture."""
    sizes = {path: _size(path) for path in (source.image, *source.targets)}
    wanted = sizes[source.image]
    for path, size in sizes.items():
        if size != wanted:
            raise ImageError(f"{path}: {size[0]}×{size[1]}, and the damaged picture {source.image.name} has {wanted[0]}×{wanted[1]}")
    return source.digest()


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as opened:
            return opened.size
    except OSError as fault:
        raise ImageError(f"{path}: not an image that can be read: {fault}") from fault


def _cropped(image: Tensor, crop: int | None) -> Tensor:
    """The middle of `image`, at most `crop` pixels high and wide."""
    for dimension in (-2, -1):
        size = image.shape[dimension]
        length = size if crop is None else min(size, crop)
        image = image.narrow(dimension, (size - length) // 2, length)
    return image


def _keep(file: Path, target: Tensor, degraded: Degraded) -> None:
    from safetensors.torch import save

    tensors = {"image": degraded.image, **{PARAM + name: value for name, value in degraded.params.items()}}
    tensors |= {name: value for name in ("mask", "reference") if (value := getattr(degraded, name)) is not None}
    tensors = {name: value.contiguous().clone() for name, value in tensors.items()}
    levels = target.mul(255).round().byte().contiguous()
    files.write(file, save({**tensors, "target": levels}, {DIGEST: _digest(tensors)}))


def _kept(file: Path) -> Pair:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        digest = opened.metadata()[DIGEST]
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
    params = {name.removeprefix(PARAM): value for name, value in tensors.items() if name.startswith(PARAM)}
    degraded = Degraded(tensors["image"], tensors.get("mask"), params, tensors.get("reference"))
    return Pair(degraded, digest, tensors["target"].float() / 255, (), None)


def _reduced(image: Tensor, longest: int | None) -> Tensor:
    """`image` at 8 bits, at most `longest` pixels long.

    Pillow reduces with integers, so that the same photograph gives the same target on every machine.
    """
    levels = image[0].mul(255).round().byte()
    height, width = levels.shape[-2:]
    if longest is not None and max(height, width) > longest:
        scale = longest / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        planes = [np.asarray(Image.fromarray(plane.numpy()).resize(size, Image.Resampling.LANCZOS)) for plane in levels]
        levels = torch.from_numpy(np.stack(planes))
    return levels[None].float() / 255


def _margin(degradation: Degradation) -> int:
    return degradation.margin * degradation.scale


def _target_area(photograph: Tensor, margin: int, crop: int | None, path: Path) -> tuple[slice, slice]:
    """Rows and columns of the target: in the middle, with `margin` of photograph left on every side."""
    limit = math.inf if crop is None else crop
    slices = []
    for size in photograph.shape[-2:]:
        length = int(min(size - 2 * margin, limit))
        if length < SMALLEST:
            height, width = photograph.shape[-2:]
            needed = SMALLEST + 2 * margin
            raise ImageError(f"{path}: {width}×{height} is too small for this suite, whose blurs need at least {needed}×{needed} pixels")
        start = (size - length) // 2
        slices.append(slice(start, start + length))
    return slices[0], slices[1]


def _damaged(photograph: Tensor, rows: slice, columns: slice, degradation: Degradation, rng: torch.Generator) -> Degraded:
    """The damaged target, blurred across its borders from the photograph around it."""
    margin, scale = _margin(degradation), degradation.scale
    wide = photograph[..., rows.start - margin : rows.stop + margin, columns.start - margin : columns.stop + margin]
    _, channels, height, width = wide.shape
    whole = degradation.apply(wide, degradation.sample(1, (channels, height, width), rng))
    size = whole.image.shape[-2:]
    height, width = (-(-(area.stop - area.start) // scale) for area in (rows, columns))
    start = degradation.margin

    def inside(value: Tensor) -> Tensor:
        # Maps of the image's size, such as a mask or a field of noise, are cut with it; a PSF is none.
        return value[..., start : start + height, start : start + width] if value.ndim == 4 and value.shape[-2:] == size else value

    return Degraded(
        image=inside(whole.image),
        mask=None if whole.mask is None else inside(whole.mask),
        params={name: inside(value) for name, value in whole.params.items()},
        reference=whole.reference,
    )


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and bytes; a target, whose values are 8-bit levels, as bytes."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        pixels = value.mul(255).round().byte() if name == "target" else value
        digest.update(f"{name} {pixels.dtype} {tuple(pixels.shape)}\n".encode())
        digest.update(pixels.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
