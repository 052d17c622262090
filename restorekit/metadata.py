"""What a picture's file says beside its pixels: which of it is about the photograph, and how each format takes it."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from PIL import Image, JpegImagePlugin, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

if TYPE_CHECKING:
    from restorekit.photos import Photo

ORIENTATION = 0x0112
EXIF_IFD = 0x8769
GPS_IFD = 0x8825
XMP_TAG = 700
SUBFILE, REDUCED_OR_MASK = 254, 0b101
"""TIFF tag of what a page is, and its bits for a preview and for a mask of another page."""

DESCRIPTIVE = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
"""EXIF tags of the photograph: description, make, model, software, date, artist, copyright. The rest describes the file."""

OFFSETS = (0xA005, 0x927C)
"""EXIF entries that point into the old file and mean nothing in a new one: interoperability, maker note."""

ACROSS, DOWN, UNIT, INCH = 0x011A, 0x011B, 0x0128, 2
"""EXIF tags of the resolution, for formats without a field of their own."""

MOST_DPI = 65535
"""What JPEG has room for; more is damage."""

LEAST_DPI = 4
"""Dots per inch; TIFF files that know of no resolution say one, per inch or per centimetre."""

JPEG_SEGMENT = 65000
"""Bytes that one segment of a JPEG file holds, less what its heading may take; EXIF and XMP get one each."""

XMP_ORIENTATION = re.compile(rb"(<tiff:Orientation>\s*|tiff:Orientation\s*=\s*[\"'])[2-8]")

SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 90},
    "HEIF": {"quality": 90},
}
"""What files are written with where the input says nothing better."""


def orientation(opened: Image.Image) -> int:
    """EXIF's orientation, 1 where there is none."""
    try:
        value = opened.getexif().get(ORIENTATION, 1)
    except Exception:  # a damaged description must not cost the picture
        return 1
    return value if value in range(1, 9) else 1


def exif(opened: Image.Image) -> bytes:
    """What EXIF says of the photograph, without what it says of the file."""
    try:
        there = opened.getexif()
        kept = Image.Exif()
        for tag in DESCRIPTIVE:
            if tag in there:
                kept[tag] = there[tag]
        for ifd in (EXIF_IFD, GPS_IFD):
            inside = {tag: value for tag, value in there.get_ifd(ifd).items() if tag not in OFFSETS}
            if inside:
                kept[ifd] = inside
        return kept.tobytes() if len(kept) else b""
    except Exception:  # a damaged description must not cost the picture
        return b""


def xmp(opened: Image.Image) -> bytes:
    """The XMP packet, with an orientation of 1, because the pixels are upright."""
    found = opened.info.get("xmp") or b""
    packet = found.encode() if isinstance(found, str) else found
    return XMP_ORIENTATION.sub(rb"\g<1>1", packet) if isinstance(packet, bytes) else b""


def dpi(opened: Image.Image) -> tuple[float, float] | None:
    """Dots per inch as stored, before the picture is turned."""
    try:
        value = opened.info.get("dpi")
        if value is None:
            tags = opened.getexif()
            value = (tags[ACROSS], tags[DOWN]) if tags.get(UNIT, INCH) == INCH else (tags[ACROSS] * 2.54, tags[DOWN] * 2.54)
        across, down = (float(v) for v in value)
    except Exception:  # missing, or a damaged description, which must not cost the picture
        return None
    return (across, down) if LEAST_DPI <= across <= MOST_DPI and LEAST_DPI <= down <= MOST_DPI else None


def jpeg(opened: Image.Image) -> dict[str, Any]:
    """Options with which Pillow writes a JPEG file of the quality and the subsampling of `opened`; empty where it cannot."""
    if not isinstance(opened, JpegImagePlugin.JpegImageFile) or opened.mode not in ("L", "RGB"):
        return {}
    sampling = JpegImagePlugin.get_sampling(opened) if opened.mode == "RGB" else 0
    tables = {number: [min(max(int(v), 1), 255) for v in table] for number, table in opened.quantization.items()}
    if sampling < 0 or not tables or set(tables) != set(range(len(tables))):
        return {}
    return {"qtables": tables, "subsampling": sampling}


def frames(opened: Image.Image) -> int:
    """Frames or pages that are pictures of their own: not a preview inside, nor the second picture of a camera's MPO."""
    if opened.format == "MPO":
        return 1
    count = int(getattr(opened, "n_frames", 1))
    if count == 1 or not isinstance(opened, TiffImagePlugin.TiffImageFile):
        return count
    pictures = 0
    for page in range(count):
        opened.seek(page)
        pictures += not int(opened.tag_v2.get(SUBFILE, 0)) & REDUCED_OR_MASK
    opened.seek(0)
    return max(1, pictures)


def options(form: str, like: Photo, *, icc: bytes, channels: int, quality: int | None) -> dict[str, Any]:
    """What Pillow is to write beside the pixels, and how well.

    Args:
        form: the format.
        like: the photograph that the result was made from.
        icc: colour profile of the result.
        channels: colours of the result, without alpha.
        quality: 1 to 100, for formats that lose something; None for that of a JPEG input, or a high one.
    """
    described: bytes | Image.Exif
    found = dict(SAVE_OPTIONS.get(form, {}))
    if quality is not None and found:
        found["quality"] = quality
    elif form == "JPEG" and like.jpeg and channels == like.image.shape[1]:
        found = dict(like.jpeg)
    if form == "TIFF":  # where XMP is one tag of the EXIF block
        tags = _tags(like.exif)
        if like.xmp:
            tags[XMP_TAG] = like.xmp
        described = tags
    elif like.dpi is not None and form in ("WEBP", "AVIF", "HEIF"):
        tags = _tags(like.exif)
        tags[ACROSS], tags[DOWN], tags[UNIT] = (*like.dpi, INCH)
        described = tags.tobytes()
    else:
        described = like.exif
    if like.dpi is not None and form not in ("WEBP", "AVIF", "HEIF"):
        found["dpi"] = like.dpi
    if form == "BMP":
        return found
    longest = JPEG_SEGMENT if form == "JPEG" else math.inf
    if described and len(described) <= longest:
        found["exif"] = described
    if icc:
        found["icc_profile"] = icc
    if form == "PNG" and like.xmp:
        found["pnginfo"] = PngInfo()
        found["pnginfo"].add_itxt("XML:com.adobe.xmp", like.xmp.decode("utf-8", "replace"))
    elif form != "TIFF" and like.xmp and len(like.xmp) <= longest:
        found["xmp"] = like.xmp
    return found


def _tags(described: bytes) -> Image.Exif:
    tags = Image.Exif()
    if described:
        tags.load(described)
    return tags
