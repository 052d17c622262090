"""Photographs in, photographs out: formats, orientation, colour profile, transparency, 16 bits, whole files only."""

from __future__ import annotations

import functools
import importlib.util
import io
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from restorekit import deepfiles, files, metadata
from restorekit.errors import ImageError, UserError, did_you_mean
from restorekit.images import floats, whole_numbers

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    **({".avif": "AVIF"} if importlib.util.find_spec("PIL._avif") else {}),
    **({".heic": "HEIF", ".heif": "HEIF"} if importlib.util.find_spec("pillow_heif") else {}),
}
"""What is read and written, by suffix. Reading goes by the content, writing by the suffix. AVIF and HEIC where Pillow has them."""

SUFFIXES = tuple(FORMATS)

BUNDLED = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "motorcycle_left", "rocket")
"""Photographs, as opposed to diagrams and test patterns, among the data inside scikit-image's wheels."""

BEGINNINGS = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*")
"""Of files in the commonest formats."""

DENSEST = {"raw": 8, "packbits": 512, "jpeg": 512, "tiff_lzw": 11_000, "tiff_deflate": 8300, "tiff_adobe_deflate": 8300}
"""Pixels of one bit that a byte of a TIFF can hold, by compression: Pillow takes memory for all that a damaged one claims."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Photo:
    """A photograph and what is needed to write it back as it came.

    Attributes:
        image: ``(1, C, H, W)``, upright, float32 in [0, 1] or whole numbers as in the file (`images.LEVELS`); C is 3 (RGB) or 1 (grey).
        alpha: opacity ``(1, 1, H, W)``, likewise, or None.
        bits: 8 or 16 per channel in the file.
        exif: EXIF block without the orientation, which has been applied; empty for none.
        icc: colour profile of `image`; empty for none.
        xmp: XMP packet, whose orientation is 1; empty for none.
        dpi: dots per inch, horizontally and vertically, or None.
        format: the file's format, one of the values of `FORMATS`.
        jpeg: how a JPEG file was compressed, as Pillow's options; empty for other formats.
        frames: pages or frames in the file, of which this is the first.
    """

    image: Tensor
    alpha: Tensor | None = None
    bits: int = 8
    exif: bytes = b""
    icc: bytes = b""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None
    format: str = ""
    jpeg: Mapping[str, Any] = field(default_factory=dict)
    frames: int = 1

    def stripped(self) -> Photo:
        """The same without what is said of it: EXIF, XMP and resolution. The colours need their profile, which stays."""
        return replace(self, exif=b"", xmp=b"", dpi=None)


def read(path: str | Path, *, whole_numbers: bool = False) -> Photo:
    """Read a photograph, upright and whole.

    Grey stays grey; palettes, CMYK and YCbCr become RGB; of several pages or frames the first is read.

    Args:
        path: the file.
        whole_numbers: leave the pixels uint8 or uint16 as they are in the file, for large pictures.

    Raises:
        ImageError: missing, a folder, empty, no image of a known format, truncated, damaged, or with
            more pixels than Pillow takes for an honest picture.
    """
    path = Path(path)
    data = files.content(path)
    try:
        _open(data).verify()
        with _open(data) as opened:
            photo = _photo(opened, data)
    except ImageError as fault:
        raise ImageError(f"{path}: {fault}") from fault
    except UnidentifiedImageError as fault:
        if data.startswith(BEGINNINGS):
            raise ImageError(f"{path}: damaged or incomplete image: it begins as one, and its size or colours cannot be read") from fault
        raise ImageError(f"{path}: not an image that can be read here; formats: {', '.join(dict.fromkeys(FORMATS.values()))}") from fault
    except Image.DecompressionBombError as fault:
        raise ImageError(f"{path}: too large for a picture: {fault} Cut it into parts") from fault
    except Exception as fault:  # decoders raise whatever comes to them on damaged files
        raise ImageError(f"{path}: damaged or incomplete image: {fault or type(fault).__name__}") from fault
    if whole_numbers:
        return photo
    return replace(photo, image=floats(photo.image), alpha=None if photo.alpha is None else floats(photo.alpha))


def size(path: str | Path) -> tuple[int, int]:
    """Width and height as the beginning of the file tells them, before any pixel takes memory.

    Raises:
        ImageError: missing, a folder, empty, or no image of a known format.
    """
    path = Path(path)
    data = files.content(path)
    try:
        with _open(data) as opened:
            return opened.size
    except Exception as fault:  # decoders raise whatever comes to them on damaged files
        raise ImageError(f"{path}: not an image that can be read here: {fault or type(fault).__name__}") from fault


def write(path: str | Path, image: Tensor, *, like: Photo | None = None, quality: int | None = None) -> Path:
    """Write a photograph in the format of the suffix, whole or not at all.

    Values are clamped to [0, 1] and rounded. A JPEG made from a JPEG gets its quantisation tables and subsampling;
    otherwise JPEG and WebP are written at quality 95, AVIF and HEIC at 90, JPEG without chroma subsampling; TIFF without loss.

    Args:
        path: where to; missing folders are made.
        image: ``(1, C, H, W)``, C of 1 or 3, floats or whole numbers.
        like: the photograph that it was made from. Its EXIF, XMP, colour profile, resolution, transparency
            and 16 bits are kept as far as the format allows; transparency is resized where sizes differ.
        quality: 1 to 100, for formats that lose something.

    Returns:
        `path`.

    Raises:
        ImageError: `image` has another shape or values that are not finite.
        UserError: unknown suffix, or the file cannot be written.
    """
    path = Path(path)
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise UserError(f"{path}: {path.suffix or 'no suffix'} is no image format that can be written; use one of {' '.join(SUFFIXES)}")
    if image.ndim != 4 or image.shape[0] != 1 or image.shape[1] not in (1, 3) or 0 in image.shape:
        raise ImageError(f"{path}: expected one image (1, C, H, W) with 1 or 3 channels, got {tuple(image.shape)}")
    like = like or Photo(image)
    icc = like.icc if like.image.shape[1] == image.shape[1] else b""
    deep = like.bits == 16 and form in ("PNG", "TIFF")
    try:
        pixels = whole_numbers(image.detach().cpu(), torch.uint16 if deep else torch.uint8)
    except ImageError as fault:
        raise ImageError(f"{path}: {fault}") from fault
    if like.alpha is not None and form in ("PNG", "WEBP", "TIFF"):
        alpha = like.alpha
        if alpha.shape[-2:] != image.shape[-2:]:
            alpha = F.interpolate(floats(alpha), image.shape[-2:], mode="bilinear", antialias=True)
        pixels = torch.cat([pixels, whole_numbers(alpha, pixels.dtype)], 1)
    try:
        data = _encoded(pixels[0].permute(1, 2, 0).numpy(), form, like, icc, quality)
    except (OSError, ValueError, SystemError) as fault:
        raise UserError(f"{path}: this picture cannot be stored as {form}: {fault}") from fault
    files.write(path, data)
    return path


def find(paths: Iterable[str | Path], suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """The files among `paths` as given, and for each folder the images inside it, at any depth, sorted.

    Hidden files are left out of folders, linked folders are followed once.

    Args:
        paths: files and folders.
        suffixes: of what is looked for in folders, in small letters.

    Raises:
        UserError: a path that does not exist, or a folder without images.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = _walk(path, suffixes)
            if not inside:
                raise UserError(f"{path}: no images in this folder; looked for {' '.join(suffixes)}")
            found |= dict.fromkeys(inside)
        elif path.exists():
            found[path] = None
        else:
            raise UserError(files.missing(path))
    return list(found)


def bundled() -> dict[str, Path]:
    """The natural photographs inside the installed scikit-image, by name; nothing is downloaded."""
    spec = importlib.util.find_spec("skimage")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    data = [file for folder in folders for file in (Path(folder) / "data").glob("*.*")]
    photographs = {file.stem: file for file in sorted(data) if file.suffix in FORMATS}
    return {name: photographs[name] for name in BUNDLED if name in photographs}


def bundled_photo(name: str) -> Photo:
    """Read one of `bundled`.

    Raises:
        UserError: it is not among them.
    """
    there = bundled()
    if name not in there:
        known = ", ".join(there) or "none; reinstall scikit-image"
        raise UserError(f"no photograph {name!r} inside the installed scikit-image.{did_you_mean(name, there)} There are: {known}")
    return read(there[name])


def read_mask(path: str | Path, size: tuple[int, int] | None = None) -> Tensor:
    """Read a damaged area: white (half of full brightness or more) is missing.

    Args:
        path: an image file.
        size: height and width that it must have.

    Returns:
        ``(1, 1, H, W)``, 1 where missing and 0 elsewhere.

    Raises:
        ImageError: unreadable, of another size, or grey where it should be white.
    """
    brightness = read(path).image.mean(1, keepdim=True)
    mask = (brightness >= 0.5).float()
    if not mask.any() and brightness.any():
        most = round(255 * float(brightness.max()))
        raise ImageError(
            f"{path}: marks nothing: pixels are missing where the mean of red, green and blue is 128 of 255 or more, and the brightest "
            f"has {most}; draw what is missing in white"
        )
    height, width = mask.shape[-2:]
    if size is not None and (height, width) != tuple(size):
        raise ImageError(f"{path}: the mask is {width}×{height}, the image {size[1]}×{size[0]}; make them the same size")
    return mask


def read_psf(path: str | Path) -> Tensor:
    """Read a blur kernel (PSF) from ``.npy``, ``.npz`` with one array, or an image file.

    Returns:
        ``(1, h, w)`` float32 with odd h and w and sum 1. An even size gets a row or column of zeros at
        its end, so that the centre, element ``n // 2``, stays the centre.

    Raises:
        ImageError: unreadable, not two-dimensional, negative, not finite or zero everywhere.
    """
    path = Path(path)
    array = _array(path) if path.suffix.lower() in (".npy", ".npz") else read(path).image[0].mean(0).numpy()
    kernel = array[0] if array.ndim == 3 and array.shape[0] == 1 else array
    if kernel.ndim != 2 or kernel.size == 0 or kernel.dtype.kind not in "buif":
        raise ImageError(f"{path}: a PSF is a table of real numbers (h, w); this is {array.dtype} of shape {array.shape}")
    kernel = kernel.astype(np.float64)
    if not np.isfinite(kernel).all() or kernel.min() < 0 or kernel.sum() <= 0:
        raise ImageError(
            f"{path}: a PSF has no negative or infinite values and is not zero everywhere; "
            f"this one reaches from {kernel.min():.4g} to {kernel.max():.4g}"
        )
    kernel = np.pad(kernel, [(0, 1 - n % 2) for n in kernel.shape])
    return torch.from_numpy((kernel / kernel.sum()).astype(np.float32))[None]


def write_psf(path: str | Path, psf: Tensor) -> Path:
    """Write a blur kernel ``(h, w)`` or ``(1, h, w)`` as a float32 ``.npy`` file, which loses nothing.

    Raises:
        ImageError: `psf` has another shape.
        UserError: another suffix, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".npy":
        raise UserError(f"{path}: a PSF is written as .npy; try {path.with_suffix('.npy')}")
    kernel = psf[0] if psf.ndim == 3 and psf.shape[0] == 1 else psf
    if kernel.ndim != 2:
        raise ImageError(f"{path}: expected one PSF (h, w), got {tuple(psf.shape)}")
    stream = io.BytesIO()
    np.save(stream, kernel.detach().float().cpu().numpy(), allow_pickle=False)
    files.write(path, stream.getvalue())
    return path


@functools.cache
def _teach_pillow_heif() -> None:
    if "HEIF" in FORMATS.values():
        importlib.import_module("pillow_heif").register_heif_opener()


def _open(data: bytes) -> Image.Image:
    _teach_pillow_heif()
    return Image.open(io.BytesIO(data), formats=tuple(dict.fromkeys(FORMATS.values())))


def _photo(opened: Image.Image, data: bytes) -> Photo:
    frames, compression = metadata.frames(opened), metadata.jpeg(opened)
    deep = deepfiles.layout(opened)
    # Of rows that a TIFF has no strips for Pillow would make black ones, gigabytes of them from a damaged height.
    parts = getattr(opened, "tile", [])
    stored = sum((right - left) * (lower - upper) for _, (left, upper, right, lower), *_ in parts)
    if opened.format == "TIFF" and stored < opened.width * opened.height:
        raise ImageError(f"damaged or incomplete image: {opened.width}×{opened.height} pixels, of which {stored} are there")
    most = DENSEST.get(str(opened.info.get("compression"))) if opened.format == "TIFF" else None
    if most is not None and stored > most * len(data):
        raise ImageError(f"damaged or incomplete image: {opened.width}×{opened.height} pixels cannot be in {len(data)} bytes")
    turned = metadata.orientation(opened) >= 5
    opened.load()
    orientation = metadata.orientation(opened)  # 1 where Pillow has turned the picture while loading
    pixels = _upright(deepfiles.decode(data, deep) if deep else _shallow(opened), orientation)
    colours = pixels.shape[2] - 1 + pixels.shape[2] % 2
    own_colours = opened.mode not in ("CMYK", "YCbCr", "LAB", "HSV")
    dpi = metadata.dpi(opened)
    return Photo(
        image=_tensor(pixels[:, :, :colours]),
        alpha=_tensor(pixels[:, :, colours:]) if pixels.shape[2] > colours else None,
        bits=16 if deep else 8,
        exif=metadata.exif(opened),
        icc=(opened.info.get("icc_profile") or b"") if own_colours else b"",
        xmp=metadata.xmp(opened),
        dpi=dpi[::-1] if dpi and (turned or orientation >= 5) else dpi,
        format="JPEG" if opened.format == "MPO" else opened.format or "",
        jpeg=compression,
        frames=frames,
    )


def _shallow(opened: Image.Image) -> Array:
    mode = opened.mode
    if mode.startswith("I") or mode == "F":
        raise ImageError("32 bits per channel; save it with 8 or 16")
    see_through = "transparency" in opened.info or mode in ("LA", "La", "PA", "RGBA", "RGBa")
    wanted = ("L" if mode in ("1", "L", "LA", "La") else "RGB") + ("A" if see_through else "")
    return np.asarray(opened if mode == wanted else opened.convert(wanted))


def _upright(pixels: Array, orientation: int) -> Array:
    pixels = np.atleast_3d(pixels)
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::rows, ::columns]


def _tensor(pixels: Array) -> Tensor:
    """``(1, C, H, W)`` from ``(H, W, C)``, with memory of its own in the order of `pixels`."""
    return torch.from_numpy(np.array(pixels, order="C")).permute(2, 0, 1)[None]


def _encoded(pixels: Array, form: str, like: Photo, icc: bytes, quality: int | None) -> bytes:
    """The file with the pixels ``(H, W, C)``."""
    if pixels.dtype == np.uint16:
        encode = deepfiles.encode_png if form == "PNG" else deepfiles.encode_tiff
        return encode(pixels, icc=icc, exif=like.exif, xmp=like.xmp, dpi=like.dpi)
    _teach_pillow_heif()
    colours = pixels.shape[2] - 1 + pixels.shape[2] % 2
    options = metadata.options(form, like, icc=icc, channels=colours, quality=quality)
    stream = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(stream, form, **options)
    return stream.getvalue()


def _walk(folder: Path, suffixes: Collection[str]) -> list[Path]:
    seen: set[str] = set()
    found = []
    for here, inside, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        inside[:] = sorted(name for name in inside if not name.startswith(".")) if real not in seen else []
        if real not in seen:
            found += [Path(here, name) for name in names if not name.startswith(".") and Path(name).suffix.lower() in suffixes]
        seen.add(real)
    return sorted(found)


def _array(path: Path) -> Array:
    data = files.content(path)
    try:
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        if len(loaded.files) == 1:
            return np.asarray(loaded[loaded.files[0]])
        names = ", ".join(loaded.files)
    except Exception as fault:  # numpy and zipfile raise whatever comes to them on damaged files
        raise ImageError(f"{path}: not a whole NumPy file: {fault}") from fault
    raise ImageError(f"{path}: holds {len(loaded.files)} arrays ({names}); a PSF file holds one. Save the one you want as .npy")
