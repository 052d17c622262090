"""The pairs that a suite is made of: each photograph damaged in each way once, the same for every method."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from restorekit import photos, seeding
from restorekit.bench.suite import Suite
from restorekit.errors import ImageError, UserError
from restorekit.images import Degraded
from restorekit.interfaces import Degradation

SMALLEST = 16
"""Smallest height and width of a target, in pixels."""

PARAM = "param."


@dataclass(frozen=True)
class Cell:
    """One photograph damaged in one way.

    Attributes:
        image: name of the photograph.
        degradation: the suite's name for the damage.
    """

    image: str
    degradation: str


class Inputs:
    """Every cell of a suite, made once and kept in files, because a data set need not fit the memory.

    Attributes:
        cells: in the order of photographs, then degradations.
        targets: SHA-256 of each target's 8-bit pixels and shape, by image.
        digests: SHA-256 of each damaged image, its mask and its parameters, by ``degradation/image``.
        seeds: what each cell's damage was drawn from, likewise.
    """

    def __init__(self, suite: Suite, folder: Path) -> None:
        self._folder = folder
        self.cells: list[Cell] = []
        self.targets: dict[str, str] = {}
        self.digests: dict[str, str] = {}
        self.seeds: dict[str, int] = {}
        margin = max(_margin(degradation) for degradation in suite.degradations.values())
        faults = []
        for name, path in _photographs(suite).items():
            try:
                photograph = _reduced(photos.read(path).image, suite.data.longest_side)
                area = _target_area(photograph, margin, suite.data.crop, path)
            except ImageError as fault:
                faults.append(str(fault))
            if not faults:  # after a fault the others are only looked for
                self._add(suite, name, photograph, *area)
        if faults:
            raise ImageError("\n".join(faults))

    def _add(self, suite: Suite, name: str, photograph: Tensor, rows: slice, columns: slice) -> None:
        target = photograph[..., rows, columns]
        self.targets[name] = _digest({"target": target})
        for key, degradation in suite.degradations.items():
            label = f"{key}/{name}"
            self.seeds[label] = seeding.derive(suite.name, name, key)
            rng = torch.Generator().manual_seed(self.seeds[label])
            degraded = _damaged(photograph, rows, columns, degradation, rng)
            self.digests[label] = self._keep(len(self.cells), target, degraded)
            self.cells.append(Cell(name, key))

    def __iter__(self) -> Iterator[tuple[Cell, Tensor, Degraded]]:
        """Each cell with its target and its damaged image, both ``(1, C, H, W)`` in [0, 1]."""
        from safetensors.torch import load_file

        for index, cell in enumerate(self.cells):
            tensors = load_file(self._file(index))
            params = {name.removeprefix(PARAM): value for name, value in tensors.items() if name.startswith(PARAM)}
            yield cell, tensors["target"], Degraded(tensors["image"], tensors.get("mask"), params, tensors.get("reference"))

    def _file(self, index: int) -> Path:
        return self._folder / f"{index:06}.safetensors"

    def _keep(self, index: int, target: Tensor, degraded: Degraded) -> str:
        from safetensors.torch import save_file

        tensors = {"image": degraded.image, **{PARAM + name: value for name, value in degraded.params.items()}}
        tensors |= {name: value for name in ("mask", "reference") if (value := getattr(degraded, name)) is not None}
        tensors = {name: value.contiguous().clone() for name, value in tensors.items()}
        save_file({**tensors, "target": target.contiguous()}, self._file(index))
        return _digest(tensors)


def _photographs(suite: Suite) -> dict[str, Path]:
    if suite.folder is None:
        found = photos.bundled()
        if not found:
            raise UserError("the installed scikit-image brings no photographs: pip install --force-reinstall scikit-image")
        return found
    return {path.relative_to(suite.folder).as_posix(): path for path in photos.find([suite.folder])}


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
