"""``restorekit restore`` with clips of video."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from restorekit import encoders, treatment, yuv
from restorekit.photos import Photo

from ..clip_files import write_clip  # noqa: TID252

av = pytest.importorskip("av")

Run = Callable[..., Any]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4")


def pictures(path: Path) -> list[Tensor]:
    with av.open(str(path)) as read:
        return [yuv.decode(frame) for frame in read.decode(video=0)]


def test_each_frame_is_restored_as_a_photograph(run: Run, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    shown = run("restore", clip, "-o", out, "--with", "test/negative", "--device", "cpu", "--strength", "0.5", "--self-ensemble", "--json")
    assert shown.code == 0, shown.err
    (row,) = shown.lines
    assert {key: row[key] for key in ("output", "width", "height", "frames", "notes", "method")} == {
        "output": str(out),
        "width": 64,
        "height": 48,
        "frames": 6,
        "notes": [],
        "method": "test/negative",
    }
    for frame in pictures(out):
        assert (frame - 0.5).abs().mean() < 0.01  # half the picture, half its negative


def test_random_methods_draw_the_same_for_every_frame(run: Run, clip: Path, tmp_path: Path) -> None:
    for name in ("a.mkv", "b.mkv"):
        assert run("restore", clip, "-o", tmp_path / name, "--with", "test/random", "--quality", "100", "--device", "cpu").code == 0
    frames = pictures(tmp_path / "a.mkv")
    assert all((frame - frames[0]).abs().mean() < 0.05 for frame in frames)
    assert all(torch.equal(a, b) for a, b in zip(frames, pictures(tmp_path / "b.mkv"), strict=True))


def test_a_clip_among_pictures(run: Run, clip: Path, photo: Path, tmp_path: Path) -> None:
    clip.rename(photo.parent / "clip.mov")
    (photo.parent / "broken.mp4").write_text("no clip")
    shown = run("restore", photo.parent, "-o", tmp_path / "out", "--with", "test/double", "--device", "cpu", "--compare")
    assert shown.code == 2
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"cat.png", "cat-compared.png", "clip.mov", "clip-compared.png"}
    assert "1 of 3" in shown.err
    assert "broken.mp4: no clip that can be read here" in shown.err
    assert "clip.mov  128×96, 6 frames" in shown.out
    again = run("restore", photo.parent, "-o", tmp_path / "out", "--with", "test/double", "--device", "cpu", "--skip-existing")
    assert (again.code, "clip.mov" in again.out) == (2, False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--save-every", "3"], "--save-every 3: of pictures only"),
        (["--animation", "a.gif"], "--animation a.gif: of pictures only"),
        (["-o", "out.png"], "a picture cannot be made of a clip"),
        (["--format", "png", "-o", "folder"], "a picture cannot be made of a clip"),
        (["--format", "gif"], "--format gif: no format that can be written"),
    ],
)
def test_what_makes_no_sense_for_clips(
    options: list[str], words: str, run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = [] if "-o" in options else ["-o", "out.mp4"]
    shown = run("restore", clip, *out, "--with", "test/negative", *options)
    assert (shown.code, words in shown.err) == (2, True), shown.err
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_picture_does_not_become_a_clip_and_a_clip_is_not_degraded(run: Run, clip: Path, photo: Path, tmp_path: Path) -> None:
    assert "a clip cannot be made of a picture" in run("restore", photo, "-o", tmp_path / "a.mp4", "--with", "test/negative").err
    shown = run("degrade", clip, tmp_path / "a.mp4", "--with", "core/gaussian-noise")
    assert (shown.code, "clips are for restorekit restore" in shown.err) == (2, True)
    clip.rename(photo.parent / "clip.mp4")
    assert run("degrade", photo.parent, tmp_path / "out", "--with", "core/gaussian-noise").code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cat.png"]


def test_a_mask_of_another_size_and_clips_of_no_known_container(run: Run, clip: Path, photo: Path, tmp_path: Path) -> None:
    shown = run("restore", clip, "-o", tmp_path / "o.mp4", "--with", "core/biharmonic-inpaint", "--mask", photo, "--device", "cpu")
    assert (shown.code, "the mask is 100×90, the image 64×48" in shown.err) == (2, True)
    assert not (tmp_path / "o.mp4").exists()


def test_without_the_library(run: Run, clip: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "av" else there(name, *rest))
    shown = run("restore", clip, "-o", tmp_path / "o.mp4", "--with", "test/negative")
    assert (shown.code, encoders.INSTALL in shown.err) == (2, True)
    clip.rename(photo.parent / "clip.mp4")
    shown = run("restore", photo.parent, "-o", tmp_path / "out", "--with", "test/negative", "--device", "cpu")
    assert (shown.code, encoders.INSTALL in shown.err) == (2, True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cat.png"]


def test_interrupted(run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("restore", clip, "-o", tmp_path / "o.mp4", "--with", "test/interrupted").code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]

    def killed(self: treatment.Treatment, photo: Photo, name: str) -> Tensor:
        if any(path.name.endswith(".part") for path in tmp_path.iterdir()):  # from the second frame on
            os.kill(os.getpid(), signal.SIGTERM)
        return photo.image

    monkeypatch.setattr(treatment.Treatment, "apply", killed)
    assert run("restore", clip, "-o", tmp_path / "o.mp4", "--with", "test/negative").code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
