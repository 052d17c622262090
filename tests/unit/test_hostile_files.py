"""Files that are damaged, changed or strange: a clear message for each, the others done, and nothing written elsewhere."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

import restorekit as rk
from restorekit import files, modelfile, photos, recipes
from restorekit.builtin.network import Box
from restorekit.cli import main
from restorekit.errors import ImageError, UserError

HANG_S = 10
IMAGES, OTHERS = 20_000, 5_000


def picture(seed: int = 0) -> Image.Image:
    return Image.frombytes("RGB", (24, 16), random.Random(seed).randbytes(24 * 16 * 3))


def bomb() -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def test_a_folder_of_everything_strange(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "deep").mkdir(parents=True)
    good = ["plain.png", "with space.png", "new\nline.png", "🐈.png", "-dash.png", "deep/[1].png"]
    for name in good:
        picture().save(source / name)
    picture().save(source / "really a png.jpg", "PNG")
    (source / "deep" / "loop").symlink_to(source)
    (source / "itself.png").symlink_to(source / "itself.png")
    (source / "zero.png").write_bytes(b"")
    (source / "bomb.png").write_bytes(bomb())
    (source / "cut.png").write_bytes((source / "plain.png").read_bytes()[:200])
    (source / "text.png").write_text("no picture")
    os.mkfifo(source / "pipe.png")
    bad = ["bomb.png", "cut.png", "itself.png", "pipe.png", "text.png", "zero.png"]
    assert main(["restore", str(source), "-o", str(out), "--with", "core/identity", "--json", "--device", "cpu"]) == 2
    shown = capsys.readouterr()
    rows = {str(Path(row["input"]).relative_to(source)): row for row in map(json.loads, shown.out.splitlines())}
    assert {name for name, row in rows.items() if "error" in row} == set(bad)
    assert {name for name, row in rows.items() if "error" not in row} == {*good, "really a png.jpg"}
    assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} == {*good, "really a png.jpg"}
    assert Image.open(out / "really a png.jpg").format == "JPEG"
    assert f"{len(bad)} of {len(rows)} pictures failed" in shown.err
    assert "Traceback" not in shown.err
    assert {p.name for p in tmp_path.iterdir()} == {"in", "out"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into read-only folders")
def test_a_read_only_folder_is_said_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture().save(tmp_path / "a.png")
    (tmp_path / "out").mkdir(mode=0o500)
    assert main(["restore", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--with", "core/identity"]) == 2
    assert "no permission to write here" in capsys.readouterr().err


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    picture().save(path)
    open_path = Path.open

    class Slow(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(-1 if size is None else size)
            with open_path(path, "ab") as other:
                other.write(b"more")
            return data

    monkeypatch.setattr(Path, "open", lambda self, mode="r": Slow(self, "rb"))
    with pytest.raises(ImageError, match="changed while it was read"):
        files.content(path)


def test_a_part_named_in_a_model_file_must_be_registered(tmp_path: Path) -> None:
    path = rk.Model(Box(), rk.recipe({"generator": {"part": "os:system"}})).save(tmp_path / "m.safetensors")
    with pytest.raises(UserError, match="os:system"):
        modelfile.load(path)


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


def survive(path: Path, data: bytes, use: Callable[[Path], object]) -> None:
    path.write_bytes(data)
    start = time.process_time()  # not the clock on the wall, which a loaded machine stretches
    with contextlib.suppress(UserError):
        use(path)
    assert time.process_time() - start < HANG_S
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def fuzz_images(folder: Path, count: int) -> None:
    forms = sorted(set(photos.FORMATS.values()) - {"HEIF"})
    modes = {"PNG": ("RGB", "P", "RGBA", "I;16"), "TIFF": ("RGB", "CMYK", "I;16"), "JPEG": ("RGB", "L", "CMYK")}
    cases = [(form, mode) for form in forms for mode in modes.get(form, ("RGB",))]
    for number, (form, mode) in enumerate(cases):
        stream = io.BytesIO()
        whole = Image.new("I;16", (24, 16), 40000) if mode == "I;16" else picture().convert(mode)
        whole.save(stream, form)
        for data in mutations(stream.getvalue(), -(-count // len(cases)), number):
            survive(folder / "x.png", data, photos.read)


def fuzz_models_and_recipes(folder: Path, count: int) -> None:
    whole = rk.Model(Box(), rk.recipe({"generator": {"part": "deblurgan/compact", "width": 8}})).save(folder / "m.safetensors")
    data = whole.read_bytes()
    for mutated in mutations(data, count // 2, 1):
        survive(whole, mutated, modelfile.load)
    whole.unlink()
    text = b"recipe: 1\ntask: deblur\ngenerator: {part: deblurgan/compact, width: 8}\nlosses: [{part: core/l1}]\n"
    for mutated in mutations(text, count // 2, 2):
        survive(folder / "r.yaml", mutated, recipes.load_yaml)


@pytest.mark.filterwarnings("ignore")
def test_a_few_damaged_files_of_every_kind(tmp_path: Path) -> None:
    fuzz_images(tmp_path, 40)
    (tmp_path / "x.png").unlink()
    fuzz_models_and_recipes(tmp_path, 20)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_many_damaged_pictures(tmp_path: Path) -> None:
    fuzz_images(tmp_path, IMAGES)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_many_damaged_models_and_recipes(tmp_path: Path) -> None:
    fuzz_models_and_recipes(tmp_path, OTHERS)


def test_the_limit_of_a_header_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes((modelfile.HEADER_LIMIT + 1).to_bytes(8, "little") + b"{}")
    with pytest.raises(UserError, match="no safetensors header"):
        modelfile.read_header(path)
