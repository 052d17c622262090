"""Methods that iterate, on the command line: every k-th picture, an animation, several references, and Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from restorekit import discovery
from restorekit.hooks import Part
from restorekit.images import Degraded
from restorekit.interfaces import Iteration, Restorer
from restorekit.registries import RegisteredPart, Registry

Run = Callable[..., Any]


class Fading(Restorer):
    """Fades to the mean of its references in ten steps; sends itself Ctrl-C after `interrupt_at` of them."""

    uses = frozenset({"reference", "references"})
    iterative = True
    interrupt_at = 0

    def restore(self, degraded: Degraded) -> Tensor:
        goal = torch.stack([reference.mean() for reference in (degraded.need("reference"), *degraded.references)]).mean()
        made = degraded.image
        for step in range(1, 11):
            made = torch.lerp(degraded.image, goal.expand_as(degraded.image), step / 10)
            if step == self.interrupt_at:
                signal.raise_signal(signal.SIGINT)
            if not self.report(Iteration(step, 10, {"distance": 1 - step / 10}, lambda now=made: now)):  # type: ignore[misc]
                break
        return made


@pytest.fixture
def registry(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Registry:
    record = Part("restorer", "fading", f"{__name__}:Fading", summary="fades", paper="textbook", licence="MIT")
    found = Registry([*registry.parts, RegisteredPart(record, "test", "restorekit-test", "1.2", 1)], registry.plugins, registry.problems)
    monkeypatch.setattr(discovery, "registry", lambda: found)
    monkeypatch.setattr(Fading, "interrupt_at", 0)
    return found


@pytest.fixture
def greys(tmp_path: Path) -> list[Path]:
    paths = []
    for level in (255, 0):
        paths.append(tmp_path / f"{level}.png")
        Image.new("L", (9, 7), level).save(paths[-1])
    return paths


def pixels(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(Image.open(path))


def test_every_kth_picture_is_written_beside_the_result(run: Run, photo: Path, greys: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out" / "o.png"
    shown = run("restore", photo, "-o", out, "--with", "test/fading", "--reference", greys[0], "--save-every", 4)
    assert shown.code == 0, shown.err
    assert sorted(file.name for file in out.parent.iterdir()) == ["o-04.png", "o-08.png", "o.png"]
    assert (pixels(out) == 255).all()
    before = pixels(photo).astype(float)
    assert np.abs(pixels(out.with_name("o-04.png")) - (0.6 * before + 0.4 * 255)).max() <= 1


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animation_ends_in_the_result(run: Run, photo: Path, greys: list[Path], tmp_path: Path, suffix: str) -> None:
    way = tmp_path / f"way{suffix}"
    arguments = ("restore", photo, "-o", tmp_path / "o.png", "--with", "test/fading", "--reference", greys[0])
    assert run(*arguments, "--animation", way, "--save-every", 5).code == 0
    with Image.open(way) as opened:
        assert opened.n_frames >= 3
        opened.seek(opened.n_frames - 1)
        assert np.asarray(opened.convert("RGB")).mean() > 250


def test_several_references(run: Run, photo: Path, greys: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "o.png"
    both = [word for path in greys for word in ("--reference", path)]
    assert run("restore", photo, "-o", out, "--with", "test/fading", *both).code == 0
    assert np.abs(pixels(out).astype(int) - 127).max() <= 1
    shown = run("restore", photo, "-o", out, "--with", "test/guided", "--overwrite", *both)
    assert shown.code == 2
    assert "--reference: 2 given, and test/guided reads one" in shown.err


def test_ctrl_c_keeps_the_picture_so_far_and_stops(
    run: Run, photo: Path, greys: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fading, "interrupt_at", 5)
    before = signal.getsignal(signal.SIGINT)
    for name in ("a.png", "b.png"):
        (photo.parent / name).write_bytes(photo.read_bytes())
    shown = run("restore", photo.parent, "-o", tmp_path / "out", "--with", "test/fading", "--reference", greys[0])
    assert shown.code == 130
    assert shown.out.endswith(" s, stopped after 5 of 10 steps\n")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a.png"]
    half = 0.5 * pixels(photo).astype(float) + 0.5 * 255
    assert np.abs(pixels(tmp_path / "out" / "a.png") - half).max() <= 1
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--with", "test/negative", "--save-every", 3), "--save-every 3: test/negative does not work step by step"),
        (("--with", "test/negative", "--animation", "way.gif"), "--animation way.gif: test/negative does not work step by step"),
        (("--with", "test/fading", "--animation", "way.mp4"), "--animation way.mp4: not a format of animations; use one of .gif"),
        (("--with", "test/fading", "--save-every", 0), "--save-every"),
        (("--with", "test/fading"), "needs the reference: pass --reference FILE"),
        (("--with", "test/fading", "--reference", "no-such.png"), "no-such.png: no such file"),
    ],
)
def test_refused_before_anything_is_done(run: Run, photo: Path, tmp_path: Path, arguments: tuple[Any, ...], message: str) -> None:
    out = tmp_path / "out" / "o.png"
    shown = run("restore", photo, "-o", out, *arguments)
    assert shown.code == 2
    assert message in shown.err
    assert not out.exists()


def test_one_animation_for_several_pictures_is_refused(run: Run, photo: Path, greys: list[Path], tmp_path: Path) -> None:
    arguments = (photo, greys[1], "-o", tmp_path / "out", "--with", "test/fading", "--reference", greys[0])
    shown = run("restore", *arguments, "--animation", tmp_path / "way.gif")
    assert shown.code == 2
    assert "one file for 2 pictures" in shown.err
