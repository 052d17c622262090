"""PNG and TIFF files with 16 bits per channel, of which Pillow reads only the upper 8 where they have colour."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from restorekit.errors import ImageError

Pixels = npt.NDArray[np.uint16]

LOWER_HALF = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
"""Pillow keeps one byte of two; told the opposite byte order it keeps the other one."""

BITS_PER_SAMPLE = 258
PLANES = 284
SEPARATE = 2

XMP = 700
LONG = 4
DIRECTORIES = (0x8769, 0x8825)
"""Tags whose value is where a directory of EXIF begins: the camera's, and of the place."""

PNG_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}
PNG_UP_FILTER = 2
METRES_PER_INCH = 0.0254


def layout(opened: Image.Image) -> str:
    """How a file that was opened and not yet loaded stores 16-bit pixels: Pillow's raw mode, or empty for fewer bits.

    Raises:
        ImageError: 16 bits in a layout that is not read.
    """
    if not isinstance(opened, (PngImageFile, TiffImageFile)) or not opened.tile:
        return ""
    raw = _raw(opened.tile[0].args)
    if opened.mode.startswith("I;16") or (opened.mode == "I" and opened.format == "PNG"):
        return raw
    if isinstance(opened, TiffImageFile) and opened.tag_v2.get(PLANES) == SEPARATE and 16 in opened.tag_v2.get(BITS_PER_SAMPLE, ()):
        raise ImageError("16 bits with one plane per colour are not read; save it interleaved")
    return raw if raw[:-1] in ("RGB;16", "RGBA;16", "LA;16") else ""


def decode(data: bytes, raw: str) -> Pixels:
    """The pixels of a file with that `layout`: ``(H, W)``, or ``(H, W, C)`` with C from 2 to 4."""
    if not raw.startswith(("RGB", "LA")):
        return _pixels(data, None).astype(np.uint16)
    if raw.startswith("LA"):  # two big-endian words, read as four bytes
        return np.ascontiguousarray(_pixels(data, "RGBA")).view(">u2").astype(np.uint16)
    pixels: Pixels = _pixels(data, raw).astype(np.uint16) * np.uint16(256)
    pixels |= _pixels(data, raw[:-1] + LOWER_HALF[raw[-1]])
    return pixels


def _raw(args: Any) -> str:
    return str(args if isinstance(args, str) else args[0])


def _pixels(data: bytes, raw: str | None) -> npt.NDArray[Any]:
    with Image.open(io.BytesIO(data), formats=("PNG", "TIFF")) as opened:
        if raw is not None and isinstance(opened, ImageFile):
            opened.tile = [tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw) for tile in opened.tile]
        return np.asarray(opened)


def encode_png(pixels: Pixels, *, icc: bytes = b"", exif: bytes = b"", xmp: bytes = b"", dpi: tuple[float, float] | None = None) -> bytes:
    """A PNG file of ``(H, W, C)`` 16-bit pixels: grey, grey and alpha, RGB, or RGB and alpha.

    Layout: PNG specification, third edition, W3C 2025.
    """
    height, width, channels = pixels.shape
    rows = np.frombuffer(pixels.astype(">u2").tobytes(), np.uint8).reshape(height, -1)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = PNG_UP_FILTER
    filtered[0, 1:] = rows[0]
    filtered[1:, 1:] = rows[1:] - rows[:-1]
    chunks = [_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, PNG_COLOUR[channels], 0, 0, 0))]
    if icc:
        chunks.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))
    if dpi is not None:
        chunks.append(_chunk(b"pHYs", struct.pack(">IIB", *(round(v / METRES_PER_INCH) for v in dpi), 1)))
    if exif:
        chunks.append(_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")))
    if xmp:
        chunks.append(_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
    chunks += [_chunk(b"IDAT", zlib.compress(filtered.tobytes())), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def encode_tiff(pixels: Pixels, *, icc: bytes = b"", exif: bytes = b"", xmp: bytes = b"", dpi: tuple[float, float] | None = None) -> bytes:
    """A TIFF file of ``(H, W, C)`` 16-bit pixels, losslessly compressed, as `encode_png`."""
    import tifffile

    channels = pixels.shape[2]
    described = Image.Exif()
    if exif:
        described.load(exif)
    tags: list[tuple[Any, ...]] = [(tag, "s", 0, value.encode(), True) for tag, value in described.items() if isinstance(value, str)]
    tags += [(XMP, "B", len(xmp), xmp, True)] if xmp else []
    directories = {ifd: inside for ifd in DIRECTORIES if (inside := described.get_ifd(ifd))}
    tags += [(ifd - 1, "I", 1, 0, True) for ifd in directories]  # tifffile takes no tag of a directory; renamed below
    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        pixels[:, :, 0] if channels == 1 else pixels,
        byteorder="<",
        photometric="rgb" if channels >= 3 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        iccprofile=icc or None,
        resolution=dpi,
        resolutionunit="INCH" if dpi else None,
        metadata=None,
        software=False,
        extratags=tags,
    )
    for ifd, inside in directories.items():
        _append_directory(stream, ifd, inside)
    return stream.getvalue()


def _append_directory(stream: io.BytesIO, ifd: int, inside: dict[int, Any]) -> None:
    """Write a directory of EXIF at the end of a little-endian TIFF file and its place into the tag that waits for it."""
    import tifffile

    place = stream.seek(0, io.SEEK_END)
    place += place % 2
    directory = ImageFileDirectory_v2(b"II*\0\0\0\0\0", group=ifd)
    for tag, value in inside.items():
        directory[tag] = value
    stream.seek(0)
    with tifffile.TiffFile(stream) as opened:
        entry = opened.pages.first.tags[ifd - 1].offset
    stream.seek(place)
    stream.write(directory.tobytes(place))
    stream.seek(entry)
    stream.write(struct.pack("<HHII", ifd, LONG, 1, place))
