"""Frames of video as RGB in [0, 1] and back: matrix, range, depth, and chroma of less resolution.

Done here rather than by libswscale, whose 16-bit RGB ends at 65280 and whose 8-bit RGB rounds twice: a frame that is read and written
unchanged keeps its luma to the last bit, save for colours that RGB does not have.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restorekit.errors import ImageError

BT601, BT709, UNSPECIFIED = 6, 1, 2
"""Matrices by their numbers in ITU-T H.273, as FFmpeg has them."""

WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
"""Of red and blue in luma, by matrix (ITU-T H.273, table 4)."""

LIMITED, FULL = 1, 2
"""Ranges by FFmpeg's numbers; 0 is unspecified."""

HD_LINES = 720
"""From so many lines up a clip that names no matrix is taken for BT.709, as players do; below for BT.601."""


@dataclass(frozen=True)
class Layout:
    """How pixels lie in memory: plane by plane.

    Attributes:
        kind: ``yuv``, ``rgb`` or ``gray``.
        bits: per value.
        columns: columns of luma for each of chroma.
        rows: the same for rows.
    """

    kind: str
    bits: int = 8
    columns: int = 1
    rows: int = 1

    @property
    def name(self) -> str:
        """FFmpeg's name of the pixel format."""
        chroma = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (4, 1): "411", (4, 4): "410", (1, 2): "440"}
        stem = {"yuv": f"yuv{chroma.get((self.columns, self.rows), '')}p", "rgb": "gbrp", "gray": "gray"}[self.kind]
        return stem if self.bits == 8 else f"{stem}{self.bits}le"

    def fits(self, height: int, width: int) -> bool:
        """Whether `height` and `width` are whole numbers of chroma's."""
        return height % self.rows == 0 and width % self.columns == 0


@dataclass(frozen=True)
class Colours:
    """What values mean.

    Attributes:
        matrix: one of `WEIGHTS`, or `UNSPECIFIED`.
        full: whether they fill the whole range, rather than 16 to 235 (240 for chroma) of 8 bits.
    """

    matrix: int
    full: bool

    def weights(self, lines: int) -> tuple[float, float]:
        """Of red and blue in luma, for frames of so many lines."""
        matrix = self.matrix if self.matrix != UNSPECIFIED else BT709 if lines >= HD_LINES else BT601
        if matrix not in WEIGHTS:
            raise ImageError(f"colour matrix {matrix} of ITU-T H.273, which is not known here; convert the clip to BT.709 first")
        return WEIGHTS[matrix]


def layout(form: Any) -> Layout:
    """The layout nearest to an `av.VideoFormat`, of as many bits and as much chroma; transparency is left out."""
    name = form.name
    if name.startswith("xyz") or form.is_bayer:
        raise ImageError(f"pixel format {name}, which is not known here; convert the clip to yuv420p first")
    if form.is_rgb or form.has_palette:
        return Layout("rgb", 8 if form.has_palette else max(8, max(part.bits for part in form.components)))
    bits = max(8, form.components[0].bits)
    if len(form.components) < 3:
        return Layout("gray", bits)
    return Layout("yuv", bits, 16 // form.chroma_width(16), 16 // form.chroma_height(16))


def colours(frame: Any) -> Colours:
    """What the values of an `av.VideoFrame` mean. Grey is full range where nothing is said, as FFmpeg has it."""
    grey = layout(frame.format).kind == "gray"
    full = frame.color_range == FULL or frame.format.name.startswith("yuvj") or (grey and frame.color_range != LIMITED)
    return Colours(frame.colorspace if frame.colorspace != 3 else UNSPECIFIED, full)  # 3 is reserved


def nearest(wanted: Layout, names: Collection[str], *, height: int, width: int, even: bool) -> Layout:
    """The layout that an encoder takes and that loses least.

    Args:
        wanted: what would be best, of the kind ``yuv``.
        names: of the pixel formats that the encoder takes.
        height: of the frames.
        width: of the frames.
        even: whether the encoder takes only sizes that are whole numbers of chroma's.

    Raises:
        ImageError: there is none.
    """
    depths = [*range(wanted.bits, 17), *range(wanted.bits - 1, 7, -1)]
    coarse = [(wanted.columns, wanted.rows), (2, 1), (1, 1), (2, 2)]
    for bits in depths:
        for found in (Layout("yuv", bits, columns, rows) for columns, rows in coarse):
            finer = found.columns <= wanted.columns and found.rows <= wanted.rows
            if found.name in names and (finer or found == Layout("yuv", bits, 2, 2)) and (found.fits(height, width) or not even):
                return found
    raise ImageError(f"no pixel format of the encoder takes frames of {width}×{height}")


def decode(frame: Any) -> Tensor:
    """An `av.VideoFrame` as ``(1, C, H, W)`` float32 in [0, 1]; C is 3, or 1 for grey."""
    there = layout(frame.format)
    meaning = colours(frame)
    if frame.format.name.replace("yuvj", "yuv") != there.name:
        frame = frame.reformat(format=there.name)
    planes = [_values(plane, there.bits) for plane in frame.planes[: 1 if there.kind == "gray" else 3]]
    top = 2**there.bits - 1
    if there.kind == "rgb":
        green, blue, red = planes
        found: Tensor = torch.stack([red, green, blue])[None] / top
        return found
    low, span, chroma_span = _range(there.bits, meaning.full)
    luma = (planes[0] - low) / span
    if there.kind == "gray":
        return luma.clamp(0, 1)[None, None]
    height, width = luma.shape
    blue, red = (_finer((plane - 2 ** (there.bits - 1)) / chroma_span, there, height, width) for plane in planes[1:])
    of_red, of_blue = meaning.weights(height)
    r, b = luma + 2 * (1 - of_red) * red, luma + 2 * (1 - of_blue) * blue
    g = (luma - of_red * r - of_blue * b) / (1 - of_red - of_blue)
    return torch.stack([r, g, b])[None].clamp(0, 1)


def encode(image: Tensor, wanted: Layout, meaning: Colours) -> Any:
    """``(1, C, H, W)`` in [0, 1] as an `av.VideoFrame`.

    Args:
        image: C of 1 or 3.
        wanted: of the kind ``yuv``, with at most two columns and rows of luma for each of chroma.
        meaning: matrix and range.
    """
    import av

    height, width = image.shape[-2:]
    low, span, chroma_span = _range(wanted.bits, meaning.full)
    of_red, of_blue = meaning.weights(height)
    r, g, b = image[0].expand(3, -1, -1)
    luma = r if image.shape[1] == 1 else of_red * r + (1 - of_red - of_blue) * g + of_blue * b
    planes = [luma * span + low]
    for channel, weight in ((b, of_blue), (r, of_red)):
        chroma = _coarser((channel - luma) / (2 * (1 - weight)), wanted)
        planes.append(chroma * chroma_span + 2 ** (wanted.bits - 1))
    frame = av.VideoFrame(width, height, wanted.name)
    for plane, values in zip(frame.planes, planes, strict=True):
        _fill(plane, values, wanted.bits)
    return frame


def _range(bits: int, full: bool) -> tuple[int, int, int]:
    """The value of black, how far white is above it, and how far chroma reaches."""
    return (0, 2**bits - 1, 2**bits - 1) if full else (16 << (bits - 8), 219 << (bits - 8), 224 << (bits - 8))


def _values(plane: Any, bits: int) -> Tensor:
    kind = np.dtype(np.uint8 if bits == 8 else "<u2")
    rows = np.frombuffer(plane, kind).reshape(plane.height, plane.line_size // kind.itemsize)
    return torch.from_numpy(rows[:, : plane.width].astype(np.float32))


def _fill(plane: Any, values: Tensor, bits: int) -> None:
    kind = np.dtype(np.uint8 if bits == 8 else "<u2")
    rows = np.zeros((plane.height, plane.line_size // kind.itemsize), kind)
    rows[:, : plane.width] = values.round().clamp(0, 2**bits - 1).numpy()
    plane.update(rows.tobytes())


def _finer(chroma: Tensor, there: Layout, height: int, width: int) -> Tensor:
    """Chroma at every pixel. Its columns lie on luma's, its rows between: the siting of MPEG-2 and of H.264 where nothing is said."""
    chroma = _between(chroma, there.columns, width, shift=0.0)
    return _between(chroma.T, there.rows, height, shift=(there.rows - 1) / 2).T


def _between(rows: Tensor, factor: int, size: int, *, shift: float) -> Tensor:
    if factor == 1:
        return rows
    last = rows.shape[1] - 1
    place = ((torch.arange(size) - shift) / factor).clamp(0, last)
    before = place.floor().long()
    return torch.lerp(rows[:, before], rows[:, (before + 1).clamp(max=last)], place - before)


def _coarser(chroma: Tensor, wanted: Layout) -> Tensor:
    """The opposite of `_finer`, smoothed where columns are left out."""
    if wanted.columns == 2:
        around = F.pad(chroma[None], (1, 1), mode="replicate")[0]
        chroma = ((around[:, :-2] + around[:, 2:]) / 4 + chroma / 2)[:, ::2]
    if wanted.rows == 2:
        around = chroma if chroma.shape[0] % 2 == 0 else torch.cat([chroma, chroma[-1:]])
        chroma = (around[::2] + around[1::2]) / 2
    return chroma
