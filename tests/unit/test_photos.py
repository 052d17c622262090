"""Photographs, masks and kernels in and out of files."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, JpegImagePlugin

from restorekit import deepfiles, images, photos
from restorekit.errors import ImageError, UserError

rng = np.random.default_rng(7)
RGB = rng.integers(0, 256, (13, 17, 3), np.uint8)
RGB16 = rng.integers(0, 65536, (13, 17, 3), np.uint16)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = sorted({suffix for suffix, form in photos.FORMATS.items() if form in ("PNG", "BMP", "TIFF")})


def saved(folder: Path, pixels: np.ndarray, name: str = "in.png", mode: str | None = None, **options: object) -> Path:
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(folder / name, **options)
    return folder / name


def pixels(photo: photos.Photo, top: int = 255) -> np.ndarray:
    return (photo.image[0].permute(1, 2, 0).double() * top).round().numpy()


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.suffix == ".part" or p.name.startswith(".")]


# reading


def test_reading_in_threads_loses_no_warning(tmp_path: Path) -> None:
    paths = [saved(tmp_path, RGB, f"{i}.png") for i in range(8)]
    interval = sys.getswitchinterval()

    def read_and_warn() -> None:
        with ThreadPoolExecutor(4) as readers:
            list(readers.map(photos.read, paths))
        warnings.warn("somebody else's", UserWarning, stacklevel=1)

    try:
        sys.setswitchinterval(1e-5)
        for _ in range(30):
            with pytest.warns(UserWarning, match="somebody else's"):
                read_and_warn()
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("suffix", photos.SUFFIXES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_suffix_reads_back_what_was_written(tmp_path: Path, suffix: str, channels: int) -> None:
    smooth = torch.linspace(0.1, 0.9, 32).expand(1, channels, 24, 32)
    path = photos.write(tmp_path / f"out{suffix.upper()}", smooth)
    photo = photos.read(path)
    lossless = suffix in LOSSLESS
    expected = 3 if suffix == ".webp" else channels  # WebP has no grey
    assert photo.image.shape == (1, expected, 24, 32)
    assert photo.image.dtype == torch.float32
    assert (photo.image - smooth).abs().max() <= (0.5 / 255 + 1e-6 if lossless else 0.02)
    assert photo.format == photos.FORMATS[suffix]
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_eight_bits_survive_a_lossless_round_trip(tmp_path: Path, suffix: str) -> None:
    first = photos.read(saved(tmp_path, RGB))
    again = photos.read(photos.write(tmp_path / f"out{suffix}", first.image, like=first))
    np.testing.assert_array_equal(pixels(first), RGB)
    np.testing.assert_array_equal(pixels(again), RGB)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("alpha", [False, True])
def test_whole_numbers_are_those_of_the_file_and_are_written_as_floats_are(tmp_path: Path, suffix: str, bits: int, alpha: bool) -> None:
    colour = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    like = photos.Photo(colour, bits=bits, alpha=colour[:, :1] if alpha else None)
    path = photos.write(tmp_path / "a.png", colour, like=like)
    levels, plain = photos.read(path, whole_numbers=True), photos.read(path)
    assert levels.image.dtype == (torch.uint16 if bits == 16 else torch.uint8)
    assert torch.equal(images.floats(levels.image), plain.image)
    assert (levels.alpha is not None) == (plain.alpha is not None) == alpha
    first = photos.write(tmp_path / f"b{suffix}", levels.image, like=levels)
    second = photos.write(tmp_path / f"c{suffix}", plain.image, like=plain)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("mode", "channels", "alpha"),
    [("1", 1, False), ("L", 1, False), ("LA", 1, True), ("P", 3, False), ("RGB", 3, False), ("RGBA", 3, True)],
)
def test_modes_agree_with_pillow(tmp_path: Path, mode: str, channels: int, alpha: bool) -> None:
    path = saved(tmp_path, RGB, mode=mode)
    photo = photos.read(path)
    with Image.open(path) as opened:
        reference = np.asarray(opened.convert("L" if channels == 1 else "RGB"))
    assert photo.image.shape[1] == channels
    np.testing.assert_array_equal(pixels(photo).squeeze(), reference)
    assert (photo.alpha is not None) == alpha
    assert photo.bits == 8


def test_a_palette_with_a_transparent_colour_has_alpha(tmp_path: Path) -> None:
    photo = photos.read(saved(tmp_path, RGB, mode="P", transparency=3))
    assert photo.alpha is not None
    assert photo.alpha.shape == (1, 1, 13, 17)
    assert set(photo.alpha.unique().tolist()) <= {0.0, 1.0}


def test_cmyk_becomes_rgb_without_the_cmyk_profile(tmp_path: Path) -> None:
    path = saved(tmp_path, np.full((16, 16, 3), (200, 40, 90), np.uint8), "in.jpg", mode="CMYK", icc_profile=PROFILE, quality=100)
    photo = photos.read(path)
    assert photo.icc == b""
    assert np.abs(pixels(photo)[8, 8] - (200, 40, 90)).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_orientation_is_applied_once(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    smooth = np.linspace((10, 200, 30), (240, 20, 160), 16 * 24).reshape(16, 24, 3).astype(np.uint8)
    path = saved(tmp_path, smooth, f"in{suffix}", exif=exif, dpi=(100, 200))
    with Image.open(path) as opened:
        reference = np.asarray(ImageOps.exif_transpose(opened))
    photo = photos.read(path)
    np.testing.assert_array_equal(pixels(photo), reference)
    if photo.dpi is not None:
        np.testing.assert_allclose(photo.dpi, (200, 100) if orientation >= 5 else (100, 200), rtol=0.01)
    again = photos.write(tmp_path / "again.png", photo.image, like=photo)
    np.testing.assert_array_equal(pixels(photos.read(again)), reference)
    with Image.open(again) as opened:
        assert opened.getexif().get(0x0112, 1) == 1
        assert opened.getexif()[0x010F] == "Maker"


# 16 bits


def deep_files(folder: Path) -> dict[str, tuple[Path, np.ndarray]]:
    """Files with 16 bits per channel that other programs wrote, and their pixels."""
    grey = RGB16[:, :, 0]
    alpha = np.dstack([RGB16, RGB16[:, :, :1]])
    Image.fromarray(grey).save(folder / "grey.png")
    Image.fromarray(grey).save(folder / "grey.tif")
    tifffile.imwrite(folder / "rgb.tif", RGB16, photometric="rgb")
    tifffile.imwrite(folder / "big.tif", RGB16, photometric="rgb", byteorder=">")
    tifffile.imwrite(folder / "zip.tif", RGB16, photometric="rgb", compression="zlib", predictor=True)
    tifffile.imwrite(folder / "bigzip.tif", RGB16, photometric="rgb", compression="zlib", byteorder=">")
    tifffile.imwrite(folder / "tiles.tif", RGB16, photometric="rgb", compression="zlib", tile=(16, 16))
    tifffile.imwrite(folder / "rgba.tif", alpha, photometric="rgb", extrasamples=["unassalpha"])
    return {
        "grey.png": (folder / "grey.png", grey),
        "grey.tif": (folder / "grey.tif", grey),
        **{name: (folder / name, RGB16) for name in ("rgb.tif", "big.tif", "zip.tif", "bigzip.tif", "tiles.tif")},
        "rgba.tif": (folder / "rgba.tif", alpha),
    }


def whole(photo: photos.Photo) -> np.ndarray:
    image = photo.image if photo.alpha is None else torch.cat([photo.image, photo.alpha], 1)
    return (image[0].permute(1, 2, 0).double() * 65535).round().numpy().squeeze()


def test_sixteen_bits_are_read_whole(tmp_path: Path) -> None:
    for name, (path, expected) in deep_files(tmp_path).items():
        photo = photos.read(path)
        assert photo.bits == 16, name
        np.testing.assert_array_equal(whole(photo), expected, err_msg=name)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_written_whole(tmp_path: Path, suffix: str) -> None:
    for name, (path, expected) in deep_files(tmp_path).items():
        photo = photos.read(path)
        out = photos.write(tmp_path / f"out-{name}{suffix}", photo.image, like=photo)
        np.testing.assert_array_equal(whole(photos.read(out)), expected, err_msg=name)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp"])
def test_sixteen_bits_become_eight_where_the_format_has_no_more(tmp_path: Path, suffix: str) -> None:
    photo = photos.read(deep_files(tmp_path)["rgb.tif"][0])
    assert photos.read(photos.write(tmp_path / f"out{suffix}", photo.image, like=photo)).bits == 8


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_our_sixteen_bit_png_is_read_by_another_decoder(tmp_path: Path, channels: int) -> None:
    kornia_io = pytest.importorskip("kornia_rs").io
    deep = rng.integers(0, 65536, (9, 11, channels), np.uint16)
    path = tmp_path / "deep.png"
    path.write_bytes(deepfiles.encode_png(deep, icc=PROFILE, dpi=(300, 150)))
    decoded = kornia_io.read_image_png_u16(str(path), {1: "mono", 3: "rgb", 4: "rgba"}[channels])
    np.testing.assert_array_equal(decoded.reshape(deep.shape), deep)
    with Image.open(path) as opened:
        opened.verify()
    with Image.open(path) as opened:
        assert opened.info["icc_profile"] == PROFILE
        np.testing.assert_allclose(opened.info["dpi"], (300, 150), rtol=1e-3)


def test_sixteen_bit_colour_png_of_another_encoder(tmp_path: Path) -> None:
    kornia_io = pytest.importorskip("kornia_rs").io
    kornia_io.write_image_png_u16(str(tmp_path / "in.png"), RGB16, "rgb")
    np.testing.assert_array_equal(whole(photos.read(tmp_path / "in.png")), RGB16)


def test_sixteen_bit_grey_with_alpha(tmp_path: Path) -> None:
    deep = RGB16[:, :, :2]
    path = tmp_path / "in.png"
    path.write_bytes(deepfiles.encode_png(deep))
    photo = photos.read(path)
    assert photo.image.shape[1] == 1
    np.testing.assert_array_equal(whole(photo), deep)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_sixteen_bit_planes_are_refused_rather_than_misread(tmp_path: Path, compression: str | None) -> None:
    planes = np.moveaxis(RGB16, 2, 0)
    tifffile.imwrite(tmp_path / "in.tif", planes, photometric="rgb", planarconfig="separate", compression=compression)
    with pytest.raises(ImageError, match="interleaved"):
        photos.read(tmp_path / "in.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_orientation_of_deep_files(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"deep{suffix}"
    if suffix == ".png":
        path.write_bytes(deepfiles.encode_png(RGB16, exif=exif.tobytes()))
    else:
        tifffile.imwrite(path, RGB16, photometric="rgb", compression="zlib", extratags=[(0x0112, 3, 1, orientation, True)])
    upper = saved(tmp_path, (RGB16 >> 8).astype(np.uint8), "upper.png", exif=exif)
    np.testing.assert_array_equal(whole(photos.read(path)).astype(np.uint16) >> 8, pixels(photos.read(upper)))


# what is kept


PACKET = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:Description tiff:Orientation='6' xmp:Rating='4'/></x:xmpmeta>"


@pytest.mark.parametrize("suffix", sorted({form: suffix for suffix, form in photos.FORMATS.items() if form != "BMP"}.values()))
@pytest.mark.parametrize("bits", [8, 16])
def test_profile_exif_and_resolution_are_kept(tmp_path: Path, suffix: str, bits: int) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x8769] = {0x829A: 0.01, 0x927C: b"private", 0x9003: "2020:01:02 03:04:05"}
    exif[0x8825] = {1: "N"}
    path = saved(tmp_path, RGB, "in.jpg", exif=exif, icc_profile=PROFILE, dpi=(300, 300), xmp=PACKET)
    photo = photos.read(path)
    photo = photos.Photo(**{**photo.__dict__, "bits": bits})
    again = photos.read(photos.write(tmp_path / f"out{suffix}", photo.image, like=photo))
    assert again.icc == PROFILE
    np.testing.assert_allclose(again.dpi, (300, 300), rtol=1e-3)
    kept = Image.Exif()
    kept.load(again.exif)
    assert kept[0x010F] == "Maker"
    assert kept.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"
    assert 0x927C not in kept.get_ifd(0x8769)
    assert kept.get_ifd(0x8825)[1] == "N"
    assert again.xmp.replace(b'"', b"'") == PACKET.replace(b"Orientation='6'", b"Orientation='1'")
    bare = photos.read(photos.write(tmp_path / f"bare{suffix}", photo.image, like=photo.stripped()))
    assert (bare.exif, bare.xmp, bare.dpi, bare.icc) == (b"", b"", None, PROFILE)


@pytest.mark.parametrize(("quality", "subsampling"), [(40, 2), (75, 1), (90, 0)])
def test_a_jpeg_keeps_its_quality_and_subsampling(tmp_path: Path, quality: int, subsampling: int) -> None:
    path = saved(tmp_path, RGB, "in.jpg", quality=quality, subsampling=subsampling)
    photo = photos.read(path)
    with Image.open(path) as before, Image.open(photos.write(tmp_path / "out.jpg", photo.image, like=photo)) as after:
        assert after.quantization == before.quantization
        assert JpegImagePlugin.get_sampling(after) == subsampling
    coarse = photos.write(tmp_path / "coarse.jpg", photo.image, like=photo, quality=5)
    with Image.open(coarse) as opened, Image.open(saved(tmp_path, RGB, "five.jpg", quality=5)) as reference:
        assert opened.quantization == reference.quantization
    grey = photos.write(tmp_path / "grey.jpg", photo.image[:, :1], like=photo)
    assert photos.read(grey).image.shape[1] == 1


def test_descriptions_too_long_for_a_jpeg_cost_only_themselves(tmp_path: Path) -> None:
    photo = photos.read(saved(tmp_path, RGB))
    long = photos.Photo(**{**photo.__dict__, "xmp": b"x" * 70000, "exif": b"Exif\0\0" + b"x" * 70000, "icc": PROFILE})
    assert photos.read(photos.write(tmp_path / "out.jpg", photo.image, like=long)).icc == PROFILE


@pytest.mark.parametrize("suffix", [".tif", ".webp", ".png", ".avif"])
def test_frames_are_counted(tmp_path: Path, suffix: str) -> None:
    if suffix not in photos.FORMATS:
        pytest.skip(f"this Pillow has no {suffix}")
    others = [Image.fromarray(RGB[::-1].copy()), Image.fromarray(RGB[:, ::-1].copy())]
    assert photos.read(saved(tmp_path, RGB, f"three{suffix}", save_all=True, append_images=others)).frames == 3
    assert photos.read(saved(tmp_path, RGB, f"one{suffix}")).frames == 1


def test_previews_and_the_second_picture_of_a_camera_are_no_frames(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "preview.tif") as file:
        file.write(RGB, photometric="rgb")
        file.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)
    assert photos.read(tmp_path / "preview.tif").frames == 1
    path = saved(tmp_path, RGB, "two.mpo", save_all=True, append_images=[Image.fromarray(RGB)])
    assert photos.read(path.rename(tmp_path / "two.jpg")).frames == 1


def test_alpha_follows_the_size_of_the_result(tmp_path: Path) -> None:
    photo = photos.read(saved(tmp_path, RGB, mode="RGBA"))
    larger = torch.rand(1, 3, 26, 34)
    for suffix in (".png", ".webp", ".tif"):
        again = photos.read(photos.write(tmp_path / f"out{suffix}", larger, like=photo))
        assert again.image.shape[-2:] == (26, 34)
        if suffix != ".webp":  # drops a channel that is opaque everywhere
            assert again.alpha is not None
            assert again.alpha.min() == 1
    assert photos.read(photos.write(tmp_path / "out.jpg", larger, like=photo)).alpha is None


def test_a_profile_of_another_colour_model_is_left_out(tmp_path: Path) -> None:
    photo = photos.read(saved(tmp_path, RGB, icc_profile=PROFILE))
    assert photos.read(photos.write(tmp_path / "grey.png", photo.image[:, :1], like=photo)).icc == b""


def test_a_resolution_out_of_this_world_is_left_out(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.tif", dpi=(10**9, 10**9))
    read = photos.read(tmp_path / "a.tif")
    assert read.dpi is None
    for suffix in (".png", ".jpg", ".bmp", ".tif"):
        photos.write(tmp_path / f"b{suffix}", read.image, like=read)


def test_damaged_exif_costs_only_the_exif(tmp_path: Path) -> None:
    path = saved(tmp_path, RGB, "in.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff broken")
    photo = photos.read(path)
    assert photo.image.shape == (1, 3, 13, 17)


# bad input


def unreadable(folder: Path) -> dict[str, Path]:
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("this is no picture")
    (folder / "sub").mkdir()
    whole_file = saved(folder, RGB, "whole.png").read_bytes()
    (folder / "crc.png").write_bytes(whole_file[:60] + bytes([whole_file[60] ^ 1]) + whole_file[61:])
    Image.fromarray(rng.random((8, 8), np.float32)).save(folder / "float.tif")
    header = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    (folder / "bomb.png").write_bytes(header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b""))
    return {p.name: p for p in (*folder.glob("*.png"), folder / "float.tif", folder / "sub") if p.name != "whole.png"} | {
        "missing": folder / "whole.pgn",
        "nowhere": folder / "no" / "file.png",
    }


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def test_unusable_files_are_named(tmp_path: Path) -> None:
    for name, path in unreadable(tmp_path).items():
        with pytest.raises(ImageError) as caught:
            photos.read(path)
        assert str(path) in str(caught.value), name
        assert "\n" not in str(caught.value), name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty.png", "0 bytes"),
        ("text.png", "not an image"),
        ("sub", "folder"),
        ("bomb.png", "too large"),
        ("missing", "Did you mean whole.png"),
        ("float.tif", "32 bits"),
        ("crc.png", "damaged"),
    ],
)
def test_messages_say_what_is_wrong(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        photos.read(unreadable(tmp_path)[name])


@pytest.mark.parametrize("suffix", photos.SUFFIXES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.98])
def test_a_truncated_file_is_never_half_read(tmp_path: Path, suffix: str, share: float) -> None:
    path = photos.write(tmp_path / f"whole{suffix}", torch.from_numpy(rng.random((1, 3, 48, 64), np.float32)))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImageError, match="whole"):
        photos.read(path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_deep_file_is_never_half_read(tmp_path: Path, suffix: str, share: float) -> None:
    image = torch.from_numpy(rng.random((1, 3, 48, 64), np.float32))
    path = photos.write(tmp_path / f"whole{suffix}", image, like=photos.Photo(image, bits=16))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImageError, match="whole"):
        photos.read(path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_bytes_give_a_picture_or_an_image_error(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    form = data.draw(st.sampled_from(sorted(set(photos.FORMATS.values()))))
    stream = io.BytesIO()
    Image.fromarray(RGB).save(stream, form)
    damaged = bytearray(stream.getvalue())
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(damaged) - 1), st.integers(0, 255)), min_size=1, max_size=6)):
        damaged[at] = value
    path = tmp_path_factory.mktemp("damaged") / "x.png"
    path.write_bytes(damaged)
    try:
        image = photos.read(path).image
    except ImageError as fault:
        message = str(fault)
        assert str(path) in message
    else:
        assert 0 <= image.min() <= image.max() <= 1


# writing


def test_values_are_clamped_and_rounded(tmp_path: Path) -> None:
    values = torch.tensor([-0.5, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 1.5]).view(1, 1, 1, 6)
    again = photos.read(photos.write(tmp_path / "out.png", values))
    assert pixels(again).ravel().tolist() == [0, 0, 0, 1, 255, 255]


def test_an_unknown_suffix_lists_those_there_are(tmp_path: Path) -> None:
    for name in ("out.gif", "out"):
        with pytest.raises(UserError) as caught:
            photos.write(tmp_path / name, torch.zeros(1, 3, 4, 4))
        assert all(suffix in str(caught.value) for suffix in photos.SUFFIXES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "image", [torch.zeros(3, 4, 4), torch.zeros(2, 3, 4, 4), torch.zeros(1, 2, 4, 4), torch.full((1, 3, 4, 4), torch.nan)]
)
def test_what_is_no_image_is_not_written(tmp_path: Path, image: torch.Tensor) -> None:
    with pytest.raises(ImageError):
        photos.write(tmp_path / "out.png", image)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = photos.write(tmp_path / "out.png", torch.zeros(1, 3, 4, 4))
    before = path.read_bytes()

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as stream:
            stream.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"out\.png: cannot be written: No space left"):
        photos.write(path, torch.ones(1, 3, 4, 4))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["out.png"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    for place in (tmp_path / "file" / "out.png", tmp_path / "folder.png", Path("/proc/out.png")):
        with pytest.raises(UserError) as caught:
            photos.write(place, torch.zeros(1, 3, 4, 4))
        assert str(place) in str(caught.value)
    assert leftovers(tmp_path) == []


def test_a_picture_too_large_for_the_format(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="WEBP"):
        photos.write(tmp_path / "out.webp", torch.zeros(1, 1, 1, 17000))
    assert list(tmp_path.iterdir()) == []


def test_missing_folders_are_made(tmp_path: Path) -> None:
    assert photos.write(tmp_path / "a" / "b" / "out.png", torch.zeros(1, 1, 4, 4)).is_file()


# finding


def test_find_takes_files_as_given_and_searches_folders(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "b/1.jpg", "a/x.tif", "b/notes.txt", "b/.hidden.png", "odd.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    found = photos.find([tmp_path / "odd.gif", tmp_path])
    assert [p.relative_to(tmp_path).as_posix() for p in found] == ["odd.gif", "a/x.tif", "b/1.jpg", "b/2.PNG"]


def test_find_reports_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"x")
    with pytest.raises(UserError, match=r"Did you mean picture\.png"):
        photos.find([tmp_path / "pictur.png"])
    (tmp_path / "bare").mkdir()
    with pytest.raises(UserError, match="no images in this folder"):
        photos.find([tmp_path / "bare"])


# the photographs inside scikit-image


def test_bundled_photographs_agree_with_scikit_image() -> None:
    there = photos.bundled()
    assert {"astronaut", "camera", "chelsea", "coffee"} <= set(there)
    for name in ("astronaut", "camera", "chelsea", "coffee"):
        np.testing.assert_array_equal(pixels(photos.bundled_photo(name)).squeeze(), getattr(skimage.data, name)())


def test_a_photograph_that_is_not_bundled() -> None:
    with pytest.raises(UserError, match="Did you mean astronaut"):
        photos.bundled_photo("astronout")


def test_importing_photos_is_light() -> None:
    code = "import sys, restorekit.photos as p; p.bundled(); print(sorted({'skimage','scipy','torchvision','tifffile'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


# masks and kernels


def test_a_mask_is_white_where_missing(tmp_path: Path) -> None:
    hole = np.zeros((13, 17), np.uint8)
    hole[3:5, 4:9] = 255
    hole[0, 0] = 100
    mask = photos.read_mask(saved(tmp_path, hole), (13, 17))
    assert mask.shape == (1, 1, 13, 17)
    assert mask.sum() == 10
    assert mask[0, 0, 3:5, 4:9].min() == 1
    with pytest.raises(ImageError, match="17×13, the image 20×10"):
        photos.read_mask(tmp_path / "in.png", (10, 20))


def test_a_mask_in_grey_is_refused_and_a_black_one_is_empty(tmp_path: Path) -> None:
    assert not photos.read_mask(saved(tmp_path, np.zeros((5, 6), np.uint8))).any()
    red = np.zeros((5, 6, 3), np.uint8)
    red[2:4, 2:4, 0] = 255
    with pytest.raises(ImageError, match="the brightest has 85; draw what is missing in white"):
        photos.read_mask(saved(tmp_path, red))


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (4, 6), (1, 5, 4)])
def test_a_kernel_is_normalised_odd_and_keeps_its_centre(tmp_path: Path, shape: tuple[int, ...]) -> None:
    kernel = rng.random(shape)
    np.save(tmp_path / "psf.npy", kernel)
    psf = photos.read_psf(tmp_path / "psf.npy")
    flat = kernel.reshape(shape[-2:])
    assert psf.shape[0] == 1
    assert all(n % 2 == 1 for n in psf.shape[1:])
    assert abs(float(psf.double().sum()) - 1) < 1e-6
    h, w = flat.shape
    np.testing.assert_allclose(psf[0, :h, :w], flat / flat.sum(), rtol=1e-6)
    assert (psf.shape[1] // 2, psf.shape[2] // 2) == (h // 2, w // 2)


def test_kernels_from_npz_and_pictures_agree(tmp_path: Path) -> None:
    kernel = rng.integers(0, 256, (5, 5), np.uint8)
    np.savez(tmp_path / "psf.npz", psf=kernel)
    torch.testing.assert_close(photos.read_psf(tmp_path / "psf.npz"), photos.read_psf(saved(tmp_path, kernel)), atol=1e-7, rtol=0)


def test_a_written_kernel_reads_back_the_same(tmp_path: Path) -> None:
    psf = torch.rand(1, 5, 7)
    psf /= psf.sum()
    torch.testing.assert_close(photos.read_psf(photos.write_psf(tmp_path / "a.npy", psf)), psf)
    with pytest.raises(UserError, match=r"a\.npy"):
        photos.write_psf(tmp_path / "a.png", psf)
    with pytest.raises(ImageError):
        photos.write_psf(tmp_path / "b.npy", torch.rand(2, 3, 3))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.array([[1.0, -1.0]]), "negative"),
        (np.array([[np.nan]]), "negative or infinite"),
        (np.zeros((3, 3)), "zero everywhere"),
        (np.ones(3), "shape"),
        (np.ones((2, 3, 3)), "shape"),
        (np.ones((2, 2), complex), "complex"),
        (np.array([["a"]]), "real numbers"),
    ],
)
def test_what_is_no_kernel(tmp_path: Path, content: np.ndarray, words: str) -> None:
    np.save(tmp_path / "psf.npy", content)
    with pytest.raises(ImageError, match=words):
        photos.read_psf(tmp_path / "psf.npy")


def test_kernel_files_that_cannot_be_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", k1=np.ones((3, 3)), k2=np.ones((3, 3)))
    with pytest.raises(ImageError, match="k1, k2"):
        photos.read_psf(tmp_path / "two.npz")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "text.npz").write_text("nothing")
    np.save(tmp_path / "cut.npy", np.ones((9, 9)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:200])
    for name in ("objects.npy", "text.npz", "cut.npy", "absent.npy"):
        with pytest.raises(ImageError, match=name):
            photos.read_psf(tmp_path / name)
