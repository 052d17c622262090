"""SSIM on a processor, several times faster than filtering whole planes in float64.

The two passes of the Gaussian filter are convolutions of oneDNN in float32: a depthwise one down the
columns, whose channels are neighbouring pixels of a row, and a dense one along the rows, which maps
blocks of pixels to blocks. Both work on pictures as they lie in memory; nothing is transposed. A
picture is cut into tiles, and each tile's mean level is taken off before anything is squared: variances
do not change, and SSIM of photographs loses less than 1e-6 to float32.

Where it could lose more, which takes large flat areas of black and white, `tiled_means` says so.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 11
"""Width of the Gaussian window of SSIM, in pixels."""
SIGMA = 1.5
"""Its standard deviation, in pixels."""
REACH = WINDOW - 1

TILE = (160, 480)
"""Height and width of a tile at most. Smaller ones overlap more, larger ones lose digits."""

BLOCK = 16 if "AVX512" in torch.backends.cpu.get_cpu_capability() else 8
"""Pixels that are channels to oneDNN: the floats in one register. With AVX-512, blocks of 8 take a quarter longer."""

OVERHANG = -(-REACH // BLOCK) * BLOCK
"""Pixels that a row of blocks needs beyond those of its results."""

BATCH = 1 << 20
"""Pixels that are worked on at once, 48 bytes each, so that memory stays bounded for large pictures."""

KEPT = 1 << 24
"""Bytes that a thread keeps for the next picture. Memory fresh from the system costs as much time as all that is done with it."""

SPARSE = 16
"""The mean level of a tile, and the doubt about its score, are taken of every 16th pixel of every 16th row."""

ROUNDING = 2.0**-24
"""Relative error with which a constant leaves the filter."""


def window() -> list[float]:
    """The weights of the Gaussian window; their sum is 1."""
    weights = [math.exp(-((i - WINDOW // 2) ** 2) / (2 * SIGMA**2)) for i in range(WINDOW)]
    return [weight / sum(weights) for weight in weights]


def available() -> bool:
    """Whether this process has oneDNN and lets it compute in full float32."""
    places = (torch.backends, torch.backends.mkldnn, getattr(torch.backends.mkldnn, "conv", None))
    rounds = any(getattr(place, "fp32_precision", "none") not in ("none", "ieee") for place in places)
    present: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return present and bool(torch.backends.mkldnn.enabled) and not rounds


Prepare = Callable[..., Tensor]
"""``prepare(image, out=view)`` writes what is compared of an image into float32 memory of its shape."""


class _Memory(threading.local):
    """Float32 memory by name, kept from picture to picture, of each thread its own."""

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """A tensor of `shape` with anything in it, valid until the same name is taken again."""
        size = math.prod(shape)
        if name not in self._kept or self._kept[name].numel() < size:
            fresh = torch.empty(size)
            if fresh.nbytes > KEPT:
                return fresh.view(shape)
            self._kept[name] = fresh
        return self._kept[name][:size].view(shape)


_memory = _Memory()


@torch.no_grad()
def tiled_means(
    first: Tensor, second: Tensor, prepare: Prepare, *, data_range: float, mix: Tensor | None = None, luminance: bool = True
) -> tuple[Tensor, float]:
    """Means of SSIM over the valid area, channel by channel.

    Args:
        first: ``(C, H, W)``, at least 11×11.
        second: likewise.
        prepare: turns them into what is compared.
        data_range: width of the interval that those values come from.
        mix: ``(C, C)`` with rows that sum to 1: what the filter does across channels; null for nothing.
        luminance: whether SSIM has its factor for luminance, or only that for contrast and structure.

    Returns:
        ``(C,)`` float64, and an estimate of what rounding may have done to it, were all of its errors of one sign.
    """
    channels, height, width = first.shape
    down, across = height - REACH, width - REACH
    high, wide = _even_share(down, TILE[0]), -(-_even_share(across, TILE[1]) // BLOCK) * BLOCK
    rows, columns = -(-down // high), -(-across // wide)
    frame = _memory.take("frame", 2, channels, rows * high + REACH, columns * wide + OVERHANG)
    frame[..., height:, :] = 0
    frame[..., width:] = 0
    prepare(first, out=frame[0, :, :height, :width])
    prepare(second, out=frame[1, :, :height, :width])
    tiles = frame.unfold(2, high + REACH, high).unfold(3, wide + OVERHANG, wide)
    step = max(1, BATCH // (channels * columns * high * wide))
    found, doubts = [], []
    for top in range(0, rows, step):
        maps = _moments(*tiles[:, :, top : top + step], contrast=2 * (0.03 * data_range) ** 2, mix=mix)
        doubts.append(_doubt(maps))
        found.append(_sums_of_rows(_similarity(*maps, data_range, luminance), last=across - (columns - 1) * wide))
    # Rows of pixels in order, without those that only fill up the last tiles.
    return torch.cat(found, 1)[:, :down].sum(1) / (down * across), sum(doubts) / len(doubts)


def _even_share(length: int, most: int) -> int:
    """The least that is enough for `length` in as few pieces as `most` allows."""
    return -(-length // -(-length // most))


Moments = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""Of sum and difference of two pictures less their mean levels: both means, both mean squares; and these levels."""


def _moments(first: Tensor, second: Tensor, *, contrast: float, mix: Tensor | None) -> Moments:
    """What the window sees of tiles ``(C, rows, columns, h, w)``, valid area; `contrast` is added to the mean squares of the sum."""
    own = (-2, -1) if mix is None else (0, -2, -1)  # channels that are mixed must have had the same taken off
    levels = [tile[..., ::SPARSE, ::SPARSE].mean(own, keepdim=True).round_() for tile in (first, second)]
    level_total, level_difference = levels[0] + levels[1], levels[0] - levels[1]
    maps = _memory.take("maps", 4, *first.shape)
    total, difference, square_total, square_difference = maps
    torch.add(first, second, out=total).sub_(level_total)
    torch.sub(first, second, out=difference)
    if level_difference.any():  # nearly always 0, and the passes that this saves are a tenth of all
        difference.sub_(level_difference)
    torch.addcmul(torch.tensor(contrast), total, total, out=square_total)  # a constant passes the filter, whose weights sum to 1
    torch.mul(difference, difference, out=square_difference)
    total, difference, square_total, square_difference = _mixed(_blurred(maps), mix)
    return total, difference, square_total, square_difference, level_total, level_difference


def _doubt(moments: Moments) -> float:
    """How much SSIM changes where each mean square is off by its rounding: mean over some pixels."""
    total, difference, square_total, square_difference = (values[..., ::SPARSE, ::SPARSE].double() for values in moments[:4])
    var_total, var_difference = square_total - total**2, (square_difference - difference**2).clamp(min=0)
    change = 2 * (var_difference * total**2 + var_total * difference**2) / (var_total + var_difference) ** 2
    return ROUNDING * float(change.mean())


def _similarity(
    total: Tensor,
    difference: Tensor,
    square_total: Tensor,
    square_difference: Tensor,
    level_total: Tensor,
    level_difference: Tensor,
    data_range: float,
    luminance: bool,
) -> Tensor:
    """The map of SSIM. Works in the memory of its arguments: a fresh map costs more than what is done with it."""
    var_total = square_total.addcmul_(total, total, value=-1)
    var_difference = square_difference.addcmul_(difference, difference, value=-1)
    # (a - b) / (a + b) is computed as (2 a - (a + b)) / (a + b), which needs no third map.
    denominator = var_difference.add_(var_total)
    numerator = torch.add(denominator, var_total, alpha=-2, out=var_total)
    if not luminance:
        return numerator.div_(denominator).neg_()
    square = torch.addcmul(torch.tensor(2 * (0.01 * data_range) ** 2), total.add_(level_total), total, out=total)
    if level_difference.any():
        difference.add_(level_difference)
    other = difference.square_().add_(square)
    numerator.mul_(torch.add(other, square, alpha=-2, out=square))
    return numerator.div_(denominator.mul_(other))  # two factors with a wrong sign


def _sums_of_rows(tiles: Tensor, last: int) -> Tensor:
    """``(C, rows of pixels)`` float64; of the last column of tiles only `last` pixels count.

    A row is summed by one thread, so that the number of threads does not change the score.
    """
    sums = tiles[:, :, :-1].sum(-1).sum(2, dtype=torch.float64) + tiles[:, :, -1, :, :last].sum(-1)
    return sums.flatten(1)


def _blurred(maps: Tensor) -> Tensor:
    """`maps` ``(4, C, rows, columns, h, w)`` after the Gaussian filter, valid area."""
    vertical, horizontal = _kernels()
    *outer, high, wide = maps.shape
    pixels = maps.view(-1, high, wide // BLOCK, BLOCK).permute(0, 3, 1, 2)
    with torch.autocast("cpu", enabled=False):
        pixels = F.conv2d(F.conv2d(pixels, vertical, groups=BLOCK), horizontal)
    return pixels.permute(0, 2, 3, 1).reshape(*outer, high - REACH, wide - OVERHANG)


def _mixed(maps: Tensor, mix: Tensor | None) -> Tensor:
    if mix is None:
        return maps
    mixed = torch.zeros_like(maps)
    for i, j in ((i, j) for i in range(len(mix)) for j in range(len(mix))):
        mixed[:, i].add_(maps[:, j], alpha=float(mix[i, j]))
    return mixed


@functools.cache
def _kernels() -> tuple[Tensor, Tensor]:
    """Weights of the two convolutions: down the columns, and along the rows from blocks to blocks."""
    weights = torch.tensor(window(), dtype=torch.float64)
    along = torch.zeros(BLOCK, BLOCK, 1, 1 + OVERHANG // BLOCK, dtype=torch.float64)
    for i in range(BLOCK):
        for j, weight in enumerate(weights):
            along[i, (i + j) % BLOCK, 0, (i + j) // BLOCK] = weight
    down = weights.view(1, 1, WINDOW, 1).expand(BLOCK, 1, WINDOW, 1)
    return down.float().contiguous(memory_format=torch.channels_last), along.float().contiguous(memory_format=torch.channels_last)
