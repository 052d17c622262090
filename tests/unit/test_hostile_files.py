"""Files that are damaged, changed or strange: a clear message for each, the others done, and nothing written elsewhere."""

from __future__ import annotations

import io
import itertools
import random
import resource
import signal
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageCms

import restorekit as rk
from restorekit import modelfile, photos, treatment
from restorekit.builtin.network import Box
from restorekit.errors import ImageError, UserError

from .clip_files import write_clip

HANG_S = 10
IMAGES, OTHERS, CLIPS = 20_000, 5_000, 2_000
MEMORY_MB = 600
"""More than at the start."""


def picture(seed: int = 0) -> Image.Image:
    return Image.frombytes("RGB", (24, 16), random.Random(seed).randbytes(24 * 16 * 3))


def test_a_part_named_in_a_model_file_must_be_registered(tmp_path: Path) -> None:
    path = rk.Model(Box(), rk.recipe({"generator": {"part": "os:system"}})).save(tmp_path / "m.safetensors")
    with pytest.raises(UserError, match="os:system"):
        modelfile.load(path)


def test_a_tiff_must_have_all_its_rows(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.tif")
    data = (tmp_path / "a.tif").read_bytes()
    height = struct.pack("<HHII", 257, 4, 1, 16)
    assert data.count(height) == 1
    (tmp_path / "a.tif").write_bytes(data.replace(height, struct.pack("<HHII", 257, 4, 1, 3_000_000)))
    with pytest.raises(ImageError, match="24×3000000 pixels, of which 384 are there"):
        photos.read(tmp_path / "a.tif")


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}])
def test_what_begins_as_a_picture_is_called_damaged(options: dict[str, str], tmp_path: Path) -> None:
    picture().save(tmp_path / "a.tif", **options)
    data = (tmp_path / "a.tif").read_bytes()
    for length in (6, 8, len(data) // 2, len(data) - 4):
        (tmp_path / "a.tif").write_bytes(data[:length])
        with pytest.raises(ImageError, match=r"a\.tif: damaged or incomplete image"):
            photos.read(tmp_path / "a.tif")


def claiming(side: int, compression: int) -> bytes:
    """A grey TIFF of four bytes of pixels that says that it is so large."""
    rows = {256: side, 257: side, 258: 8, 259: compression, 262: 1, 273: 8, 277: 1, 278: side, 279: 4}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in rows.items())
    return struct.pack("<2sHI4s", b"II", 42, 12, bytes(4)) + struct.pack("<H", len(rows)) + entries + bytes(4)


def test_a_tiff_must_have_the_bytes_for_its_pixels(tmp_path: Path) -> None:
    for number, name in {1: "raw", 5: "tiff_lzw", 7: "jpeg", 8: "tiff_adobe_deflate", 32773: "packbits", 32946: "tiff_deflate"}.items():
        assert name in photos.DENSEST
        (tmp_path / "a.tif").write_bytes(claiming(13_000, number))
        with pytest.raises(ImageError, match="13000×13000 pixels cannot be in 126 bytes"):
            photos.read(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", list(photos.DENSEST))
@pytest.mark.parametrize("mode", ["1", "L"])
def test_the_smallest_tiff_that_there_can_be_is_read(compression: str, mode: str, tmp_path: Path) -> None:
    whole = Image.new(mode if compression != "jpeg" else "L", (3000, 2000))  # black, which nothing can be made smaller than
    whole.save(tmp_path / "a.tif", compression=compression, tiffinfo={278: 2000})
    assert photos.read(tmp_path / "a.tif", whole_numbers=True).image.shape == (1, 1, 2000, 3000)


# fuzzing: pytest -m slow tests/unit/test_hostile_files.py


def mutations(whole: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Bytes changed, cut, doubled, moved and overwritten by extremes, a few at a time."""
    draw = random.Random(seed)
    for _ in range(count):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 8)):
            at = draw.randrange(len(data))
            kind = draw.randrange(6)
            if kind < 2:
                data[at] = draw.randrange(256)
            elif kind == 2:
                data[at : at + 4] = draw.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff", b"\x00\x00\xff\xff"])
            elif kind == 3:
                del data[at : at + draw.randint(1, 40)]
            elif kind == 4:
                data[at:at] = data[at : at + draw.randint(1, 40)]
            else:
                data = data[: max(1, at)]
            data = data or bytearray(b"\0")
        yield bytes(data)


@dataclass
class Fuzz:
    """Gives damaged files to functions that may refuse them with a `UserError`, and must do nothing else to anybody.

    Attributes:
        folder: where the damaged file is put, and nothing else may be but `out`.
        tried: files so far.
        refused: of these.
        slowest: seconds of the processor that one has taken.
    """

    folder: Path
    tried: int = 0
    refused: int = 0
    slowest: float = 0.0

    def __post_init__(self) -> None:
        self.before = peak()
        (self.folder / "out").mkdir()
        (self.folder / "elsewhere").mkdir()

    def survive(self, name: str, data: bytes, use: Callable[[Path], object]) -> None:
        path = self.folder / name
        path.write_bytes(data)
        start = time.process_time()  # not the clock on the wall, which a loaded machine stretches
        signal.setitimer(signal.ITIMER_PROF, 2 * HANG_S)
        try:
            use(path)
        except UserError:
            self.refused += 1
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        took = time.process_time() - start
        self.tried, self.slowest = self.tried + 1, max(self.slowest, took)
        if took > HANG_S or peak() - self.before > MEMORY_MB:
            kept = self.folder / f"{self.tried}-{name}"
            path.rename(kept)
            pytest.fail(f"{kept}: {took:.1f} s, {peak() - self.before:.0f} MB more than at the start")
        path.unlink()

    def accept(self, name: str, data: bytes, use: Callable[[Path], object]) -> None:
        """The file without damage is not refused, so that damage gets as far as it can."""
        refused = self.refused
        self.survive(name, data, use)
        assert self.refused == refused

    def nothing_elsewhere(self, names: set[str]) -> None:
        """The working folder is empty, and results have the names that they should."""
        assert {path.name for path in self.folder.iterdir()} == {"out", "elsewhere"}
        assert list((self.folder / "elsewhere").iterdir()) == []
        assert {path.name for path in (self.folder / "out").iterdir()} <= names


def peak() -> float:
    """Most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.fixture
def fuzz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Fuzz]:
    def hangs(*_: object) -> None:
        raise TimeoutError(f"more than {2 * HANG_S} s of the processor")

    made = Fuzz(tmp_path)
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = signal.signal(signal.SIGPROF, hangs)
    yield made
    signal.signal(signal.SIGPROF, before)
    with capsys.disabled():
        more = f"{peak() - made.before:.0f} MB more than at the start"
        print(f"\n{made.tried} damaged files, {made.refused} refused, slowest {made.slowest:.2f} s, {more}")


def damaged_images(fuzz: Fuzz, count: int) -> None:
    """Read and, where that is possible, written again in turn in every format, with all that was kept of it."""
    suffixes = itertools.cycle(suffix for suffix, form in photos.FORMATS.items() if form != "HEIF")

    def again(path: Path) -> None:
        photo = treatment.read(path)
        photos.write(fuzz.folder / "out" / f"x{next(suffixes)}", photo.image, like=photo)

    cases = list(whole_images(fuzz.folder))
    for number, whole in enumerate(cases):
        fuzz.accept("x.png", whole, again)
        for data in mutations(whole, -(-count // len(cases)), number):
            fuzz.survive("x.png", data, again)
    fuzz.nothing_elsewhere({f"x{suffix}" for suffix in photos.FORMATS})


def whole_images(folder: Path) -> Iterator[bytes]:
    """One of every format, mode, depth and compression, with all the metadata that it can hold."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0132] = 6, "a camera", "2026:01:02 03:04:05"
    kept = {"exif": exif, "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), "dpi": (72, 72)}
    modes = {"PNG": ("RGB", "P", "RGBA", "I;16"), "TIFF": ("RGB", "CMYK", "I;16"), "JPEG": ("RGB", "L", "CMYK")}
    special: list[tuple[str, str, dict[str, object]]] = [
        ("JPEG", "RGB", {"progressive": True}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "RGB", {"compression": "jpeg"}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("PNG", "1", {}),
    ]
    plain = [(form, mode, {}) for form in sorted(set(photos.FORMATS.values()) - {"HEIF"}) for mode in modes.get(form, ("RGB",))]
    for form, mode, options in [*plain, *special]:
        stream = io.BytesIO()
        whole = Image.new("I;16", (24, 16), 40000) if mode == "I;16" else picture().convert(mode)
        whole.save(stream, form, **kept, **options)
        yield stream.getvalue()
    deep = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    like = photos.Photo(deep, deep[:, :1], bits=16, exif=exif.tobytes(), icc=kept["icc_profile"], xmp=b"<x:xmpmeta/>", dpi=(72, 72))
    for suffix in (".png", ".tif"):
        written = photos.write(folder / f"deep{suffix}", deep, like=like)
        yield written.read_bytes()
        written.unlink()


def damaged_models_and_recipes(fuzz: Fuzz, count: int) -> None:
    """Half of them model files, of which every second has its damage in the header, where the recipe is."""
    small = {"width": 8, "blocks": [1], "middle": 1}
    network = rk.registry().create("generator", "deblurgan/compact", **small)
    recipe = rk.recipe({"generator": {"part": "deblurgan/compact", **small}})
    data = rk.Model(network, recipe).save(fuzz.folder / "m.safetensors").read_bytes()
    fuzz.accept("m.safetensors", data, rk.load)
    start = 8 + int.from_bytes(data[:8], "little")
    for mutated in mutations(data, count // 4, 1):
        fuzz.survive("m.safetensors", mutated, rk.load)
    for header in mutations(data[8:start], count // 4, 3):
        fuzz.survive("m.safetensors", len(header).to_bytes(8, "little") + header + data[start:], rk.load)
    text = b"recipe: 1\ntask: deblur\ngenerator: {part: deblurgan/compact, width: 8}\nlosses: [{part: core/l1}]\n"
    fuzz.accept("r.yaml", text, lambda path: rk.recipe(path).check())
    for mutated in mutations(text, count // 2, 2):
        fuzz.survive("r.yaml", mutated, lambda path: rk.recipe(path).check())
    fuzz.nothing_elsewhere(set())


def damaged_clips(fuzz: Fuzz, count: int) -> None:
    pytest.importorskip("av")
    from restorekit import clips

    def again(path: Path) -> None:
        clips.convert(path, fuzz.folder / "out" / path.name, lambda image: image)

    cases = ((".mp4", "libx264"), (".mkv", "mpeg4"), (".webm", "libvpx-vp9"), (".avi", "mjpeg"))
    for number, (suffix, codec) in enumerate(cases):
        layout = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        sound = {".webm": "libopus", ".avi": None}.get(suffix, "aac")
        whole = write_clip(fuzz.folder / f"c{suffix}", codec=codec, layout=layout, times=(0, 1, 2), options={}, sound=sound)
        data = whole.read_bytes()
        fuzz.accept(f"c{suffix}", data, again)
        for mutated in mutations(data, -(-count // len(cases)), number):
            fuzz.survive(f"c{suffix}", mutated, again)
    fuzz.nothing_elsewhere({f"c{suffix}" for suffix, _ in cases})


@pytest.mark.filterwarnings("ignore")
def test_a_few_damaged_pictures(fuzz: Fuzz) -> None:
    damaged_images(fuzz, 60)


@pytest.mark.filterwarnings("ignore")
def test_a_few_damaged_models_and_recipes(fuzz: Fuzz) -> None:
    damaged_models_and_recipes(fuzz, 20)


def test_a_few_damaged_clips(fuzz: Fuzz) -> None:
    damaged_clips(fuzz, 12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_many_damaged_pictures(fuzz: Fuzz) -> None:
    damaged_images(fuzz, IMAGES)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_many_damaged_models_and_recipes(fuzz: Fuzz) -> None:
    damaged_models_and_recipes(fuzz, OTHERS)


@pytest.mark.slow
def test_many_damaged_clips(fuzz: Fuzz) -> None:
    damaged_clips(fuzz, CLIPS)


def test_the_limit_of_a_header_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes((modelfile.HEADER_LIMIT + 1).to_bytes(8, "little") + b"{}")
    with pytest.raises(UserError, match="no safetensors header"):
        modelfile.read_header(path)
