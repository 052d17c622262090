"""Circumstances that work against `restore` and `degrade`: a clear message for each picture, the others done, nothing half-written."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from restorekit import files, photos
from restorekit.cli import main
from restorekit.errors import ImageError


def picture() -> Image.Image:
    return Image.frombytes("RGB", (24, 16), random.Random(0).randbytes(24 * 16 * 3))


def bomb() -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def command(doing: str, source: Path, out: Path) -> list[str]:
    if doing == "restore":
        return ["restore", str(source), "-o", str(out), "--with", "core/identity", "--device", "cpu"]
    return ["degrade", str(source), str(out), "--with", "core/gaussian-noise", "--save-params", str(out.parent / "params")]


@contextlib.contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """A small one of its own."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=False)


@pytest.mark.parametrize("doing", ["restore", "degrade"])
def test_a_folder_of_everything_strange(doing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "deep").mkdir(parents=True)
    good = ["plain.png", "with space.png", "new\nline.png", "🐈.png", "-dash.png", "deep/[1].png", os.fsdecode(b"\xff.png")]
    for name in good:
        picture().save(source / name)
    picture().save(source / "really a png.jpg", "PNG")
    (source / "deep" / "loop").symlink_to(source)
    (source / "itself.png").symlink_to(source / "itself.png")
    (source / "ze\nro 🐈.png").write_bytes(b"")
    (source / os.fsdecode(b"\xfe zero.png")).write_bytes(b"")
    (source / "bomb.png").write_bytes(bomb())
    (source / "cut.png").write_bytes((source / "plain.png").read_bytes()[:200])
    (source / "text.png").write_text("no picture")
    os.mkfifo(source / "pipe.png")
    bad = ["bomb.png", "cut.png", "itself.png", "pipe.png", "text.png", "ze\nro 🐈.png", os.fsdecode(b"\xfe zero.png")]
    assert main([*command(doing, source, out), "--json"]) == 2
    shown = capsys.readouterr()
    rows = {str(Path(row["input"]).relative_to(source)): row for row in map(json.loads, shown.out.splitlines())}
    assert {name for name, row in rows.items() if "error" in row} == set(bad)
    assert {name for name, row in rows.items() if "error" not in row} == {*good, "really a png.jpg"}
    assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} == {*good, "really a png.jpg"}
    assert Image.open(out / "really a png.jpg").format == "JPEG"
    assert f"{len(bad)} of {len(rows)} pictures failed" in shown.err
    assert "Traceback" not in shown.err
    assert {p.name for p in tmp_path.iterdir()} <= {"in", "out", "params"}
    assert "itself.png: a link that leads nowhere" in rows["itself.png"]["error"]
    assert all(row["error"].count("/in/") == 1 for name, row in rows.items() if name in bad and name != "itself.png")


@pytest.mark.parametrize("doing", ["restore", "degrade"])
def test_a_read_only_folder_is_said_before_the_work(doing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture().save(tmp_path / "a.png")
    with contextlib.ExitStack() as stack:
        out = tmp_path / "out"
        if os.geteuid() == 0:  # who writes into read-only folders
            stack.enter_context(disk(out, "ro"))
        else:
            out.mkdir(mode=0o500)
        assert main(command(doing, tmp_path / "a.png", out)) == 2
        assert f"{out}: no permission to write here; choose another" in capsys.readouterr().err
        assert list(out.iterdir()) == []


@pytest.mark.parametrize("doing", ["restore", "degrade"])
def test_a_disk_that_is_full_costs_the_pictures_that_do_not_fit(doing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two of three large ones fit, and the small one after them."""
    source = tmp_path / "in"
    source.mkdir()
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        Image.frombytes("RGB", (200, 160), random.Random(number).randbytes(200 * 160 * 3)).save(source / name)
    picture().save(source / "d.png")
    with disk(tmp_path / "out", "size=240k") as out:
        assert main([*command(doing, source, out), "--json"]) == 2
        shown = capsys.readouterr()
        rows = [json.loads(line) for line in shown.out.splitlines()]
        assert [("error" in row) for row in rows] == [False, False, True, False]
        assert "c.png: cannot be written: No space left on device" in rows[2]["error"]
        assert "1 of 4 pictures failed" in shown.err
        assert sorted(p.name for p in out.iterdir() if p.is_file()) == ["a.png", "b.png", "d.png"]
        for name in ("a.png", "b.png", "d.png"):
            Image.open(out / name).load()


@pytest.mark.parametrize("doing", ["restore", "degrade"])
@pytest.mark.parametrize("becomes", ["gone", "cut", "a folder"])
def test_a_file_that_becomes_another_after_it_was_found(
    becomes: str, doing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        picture().save(source / name)
    read = photos.read

    def late(path: Path, **options: bool) -> photos.Photo:
        if path.name == "b.png":
            data = path.read_bytes()
            path.unlink()
            if becomes == "cut":
                path.write_bytes(data[: len(data) // 2])
            elif becomes == "a folder":
                path.mkdir()
        return read(path, **options)

    monkeypatch.setattr(photos, "read", late)
    assert main(command(doing, source, tmp_path / "out")) == 2
    shown = capsys.readouterr()
    words = {"gone": "no such file", "cut": "damaged or incomplete", "a folder": "a folder, expected a file"}[becomes]
    assert f"{source / 'b.png'}: {words}" in shown.err
    assert "1 of 3 pictures failed" in shown.err
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.is_file()) == ["a.png", "c.png"]


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
