"""Images of any size through a network: whole where memory has room for it, and else in tiles, so that memory follows the tile."""

from __future__ import annotations

import contextlib
import contextvars
import copy
import math
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from restorekit import memory
from restorekit.images import finest, floats, pad_reflect, whole_numbers

if TYPE_CHECKING:
    from restorekit.interfaces import Generator

OVERLAP = 64
"""Pixels that tiles of a network share that is not local; a quarter of a tile where that is less."""

SMALLEST_TILE = 64
"""Pixels below which tiles are not made smaller, however little memory there is."""

BAND = 2 * 4
"""Bytes for each value of the row of tiles that is worked on: their sum, and what it becomes before it is part of the result."""


Told = Callable[[int, int], None]
"""Is told after each tile how many are done and how many there are."""

_told: contextvars.ContextVar[Told | None] = contextvars.ContextVar("told of tiles", default=None)


@contextlib.contextmanager
def telling(told: Told | None) -> Iterator[None]:
    """Tell of each tile that is done while the block runs; a picture taken as a whole is one."""
    before = _told.set(told)
    try:
        yield
    finally:
        _told.reset(before)


def _tell(done: int, tiles: int) -> None:
    told = _told.get()
    if told is not None:
        told(done, tiles)


PARTS = (
    "this network looks at a picture as a whole, and memory has room for parts of it only, whose results differ from that; "
    "give it more with --memory, or make the picture smaller"
)


class Tiling:
    """How a network works on images of any size. What that needs to know of the network is measured when first needed.

    Args:
        network: which takes and makes images.
        run: what it makes of ``(N, C, H, W)`` in [0, 1], whose sizes fit its size rule, and of what it is conditioned on.
    """

    def __init__(self, network: Generator, run: Callable[[Tensor, Tensor | None], Tensor]) -> None:
        self.network, self.run = network, run
        self.measured = run  # in whose stead something else is looked at where its memory is not torch's
        self._reach: int | None = None
        self._bytes_per_pixel: int | None = None

    def restore(self, image: Tensor, given: Tensor | None = None, *, tile: int | None = None) -> Tensor:
        """What the network makes of an image, clamped to [0, 1]; for a grey one the mean of its channels.

        Args:
            image: ``(N, C, H, W)`` in [0, 1], or whole numbers (`images.LEVELS`), with the network's channels or one.
            given: what the network is conditioned on.
            tile: side of the tiles in pixels, which only `memory.limited` makes smaller; None takes the whole where memory allows.

        Returns:
            ``(N, C, scale·H, scale·W)`` of the image's type.
        """
        size = self.network.size
        longest = max(side + more for side, more in zip(image.shape[-2:], size.padding(*image.shape[-2:]), strict=True))
        if size.fixed is not None:
            return self._assembled(image, given, longest)
        side = min(tile or longest, longest)
        if tile is None or memory.is_limited():  # tiles that were asked for do not depend on what else the machine does
            side = self._side(image, given, side)
        if tile is None and side < longest and not self.network.local:
            warnings.warn(PARTS, stacklevel=2)
        while True:
            try:
                return self._assembled(image, given, side)
            except (MemoryError, RuntimeError) as fault:
                if not memory.ran_out(fault) or side <= max(SMALLEST_TILE, size.minimum):
                    raise
            side //= 2

    def _assembled(self, image: Tensor, given: Tensor | None, side: int) -> Tensor:
        scale = self.network.scale
        height, width = (scale * length for length in image.shape[-2:])
        grey = image.shape[1] < self.network.channels
        whole: Tensor | None = None
        row = 0
        for band in self._bands(image, given, side):
            band = band[..., : height - row, :width]
            if grey:
                band = band.clamp(0, 1).mean(1, keepdim=True)
            made = band.clamp(0, 1) if image.is_floating_point() else whole_numbers(band, image.dtype)
            if made.shape[2] == height:
                return made
            if whole is None:
                layout = torch.contiguous_format if image.is_floating_point() else torch.channels_last
                shape = (*made.shape[:2], height, width)
                whole = torch.empty(shape, dtype=made.dtype, device=made.device, memory_format=layout)
            whole[..., row : row + made.shape[2], :] = made
            row += made.shape[2]
        assert whole is not None
        return whole

    def _bands(self, image: Tensor, given: Tensor | None, side: int) -> Iterator[Tensor]:
        network, size = self.network, self.network.size
        height, width = image.shape[-2:]
        bottom, right = size.padding(height, width)
        image = image.expand(-1, network.channels, -1, -1)
        if side >= max(height + bottom, width + right):
            whole = self.run(pad_reflect(floats(image), bottom, right), given)
            _tell(1, 1)
            yield whole
            return
        overlap, margin = self._overlap()
        if network.local:
            side = max(side, overlap + size.multiple_of)
        side = max(side, size.minimum)
        side += -side % size.multiple_of
        yield from bands(
            lambda rows, columns: self.run(_part(image, rows, columns, bottom, right), given),
            height + bottom,
            width + right,
            side=side,
            overlap=overlap if network.local else min(overlap, side // 4),
            margin=margin,
            scale=network.scale,
            multiple_of=size.multiple_of,
        )

    def _overlap(self) -> tuple[int, int | None]:
        """Pixels that tiles share, and how many of them at each side are thrown away; of a network that is not local a quarter."""
        network, size = self.network, self.network.size
        if not network.local:
            return OVERLAP, None
        if self._reach is None:
            probe = copy.deepcopy(network).float().cpu()
            found = memory.reach(
                lambda image: finest(probe(image)),
                channels=network.channels,
                scale=network.scale,
                multiple_of=size.multiple_of,
                minimum=size.minimum,
            )
            self._reach = OVERLAP // 2 if found is None else found + size.multiple_of
        return 2 * self._reach, self._reach

    def _side(self, image: Tensor, given: Tensor | None, most: int) -> int:
        """Side of the tiles: `most`, or the largest below that memory has room for."""
        network, size = self.network, self.network.size
        n, _, height, width = image.shape
        values = n * network.channels * network.scale**2
        result = image.element_size() * values * height * width

        def fits(taken: int, left: float) -> bool:
            rows = 0 if most >= max(height, width) else min(most, height)
            return taken * n * min(most, height) * min(most, width) + BAND * values * width * rows <= left

        left = memory.room(image.device, result)
        if fits(memory.LAVISH, left) or (left > 0 and n * min(most, height) * min(most, width) <= memory.PROBE**2):
            return most
        if self._bytes_per_pixel is None:
            side = max(memory.PROBE, size.minimum)
            part = floats(image[..., :side, :side].expand(-1, network.channels, -1, -1))
            part = pad_reflect(part, *size.padding(*part.shape[-2:]))
            try:
                taken = memory.peak(lambda: self.measured(part, given))
            except (MemoryError, RuntimeError) as fault:
                if memory.ran_out(fault):
                    return min(most, SMALLEST_TILE)
                raise
            self._bytes_per_pixel = math.ceil(memory.WORKSPACE * taken / part[:, 0].numel())
        left = memory.room(image.device, result)  # again: the first use of a kernel takes some for good
        if fits(self._bytes_per_pixel, left):
            return most
        overlap, _ = self._overlap()
        smallest = max(SMALLEST_TILE, size.minimum, overlap + size.multiple_of if network.local else 0)
        area, row = n * self._bytes_per_pixel, BAND * values * width  # what a tile takes is area · side² + row · side
        left = max(0, memory.room(image.device, result, least=area * smallest**2 + row * smallest))
        return min(most, max(smallest, int((math.sqrt(row**2 + 4 * area * left) - row) / (2 * area))))


def bands(
    restore: Callable[[slice, slice], Tensor],
    height: int,
    width: int,
    *,
    side: int,
    overlap: int,
    margin: int | None = None,
    scale: int = 1,
    multiple_of: int = 1,
) -> Iterator[Tensor]:
    """Restore an image in overlapping tiles whose results fade into each other, and give it band by band, from the top.

    Of each overlap the outer `margin` of a tile's result is thrown away and what lies between the margins of two tiles is faded,
    so that a network whose receptive field reaches no further than `margin` gives what it gives for the whole image. What any
    other network gives is, pixel by pixel, a mean of what it gives for the tiles around: nowhere further from the result for the
    whole than the worst of these, and where neighbouring tiles differ by d, a step between pixels of at most d over the width
    of the fade more than within a tile.

    Args:
        restore: takes rows and columns of the image, h and w of them, and gives ``(N, C, scale·h, scale·w)``.
        height: of the image, a multiple of `multiple_of`.
        width: likewise.
        side: height and width of a tile, a multiple of `multiple_of`; smaller only where the image is.
        overlap: pixels that neighbours share at least.
        margin: pixels at each side of a tile that are thrown away, half of the overlap at most; a quarter if None.
        scale: height of the output over height of the input.
        multiple_of: tiles begin at multiples of this, so that a network that shrinks its maps sees the same grid as in the whole image.

    Yields:
        ``(N, C, rows, scale·W)``, together the whole; each is overwritten by the next.

    Raises:
        ValueError: the overlap leaves nothing of a tile, or the margins are wider than it.
    """
    step = (side - overlap) // multiple_of * multiple_of
    if step < 1:
        raise ValueError(f"tiles of {side} px that overlap by {overlap} px: make them larger")
    margin = overlap // 4 if margin is None else margin
    if 2 * margin > overlap:
        raise ValueError(f"margins of {margin} px in an overlap of {overlap} px: make it twice as wide at least")
    down, right = min(side, height), min(side, width)
    rows = _windows(height, down, step, overlap=overlap, margin=margin, scale=scale)
    columns = _windows(width, right, step, overlap=overlap, margin=margin, scale=scale)
    total: Tensor | None = None
    done = 0
    for (top, row), following in zip(rows.items(), [*list(rows)[1:], height], strict=True):
        for left, column in columns.items():
            made = restore(slice(top, top + down), slice(left, left + right))
            if total is None:
                total = made.new_zeros(*made.shape[:2], down * scale, width * scale)
            total[..., left * scale : (left + right) * scale] += (row[:, None] * column).to(made) * made
            done += 1
            _tell(done, len(rows) * len(columns))
        assert total is not None
        ready = (following - top) * scale
        yield total[..., :ready, :]
        kept = total[..., ready:, :].clone()
        total.zero_()
        total[..., : kept.shape[2], :] = kept


def _windows(length: int, side: int, step: int, *, overlap: int, margin: int, scale: int) -> dict[int, Tensor]:
    """How much each row or column of each tile's result counts, by the tile's first pixel; for a pixel they sum to 1."""
    found: dict[int, Tensor] = {}
    total = torch.zeros(length * scale, dtype=torch.float64)
    for start in (*range(0, length - side, step), length - side):
        window = torch.ones(side * scale, dtype=torch.float64)
        faded = (overlap - 2 * margin) * scale
        ramp = torch.cat([torch.zeros(margin * scale), (torch.arange(faded) + 1) / (faded + 1)])
        if start > 0:
            window[: len(ramp)] = ramp
        if start + side < length:
            window[side * scale - len(ramp) :] *= ramp.flip(0)
        found[start] = window
        total[start * scale : (start + side) * scale] += window
    return {start: window / total[start * scale : (start + side) * scale] for start, window in found.items()}


def _part(image: Tensor, rows: slice, columns: slice, bottom: int, right: int) -> Tensor:
    """Rows and columns of ``pad_reflect(floats(image), bottom, right)``, without making all of that."""
    height, width = image.shape[-2:]
    above, before = min(rows.start, bottom), min(columns.start, right)  # what is mirrored may lie outside
    part = floats(image[..., rows.start - above : rows.stop, columns.start - before : columns.stop])
    return pad_reflect(part, max(0, rows.stop - height), max(0, columns.stop - width))[..., above:, before:]
