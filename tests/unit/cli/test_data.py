"""``data check`` and ``data organise``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import skimage.data
from PIL import Image

from restorekit.cli import data
from restorekit.datasets.organise import Conversion

Run = Callable[..., Any]
"""The fixture `run`: arguments in, exit code and both streams out."""

CAT = skimage.data.chelsea()


@pytest.fixture
def gopro(tmp_path: Path) -> Path:
    for scene in ("train/S1", "train/S2", "test/S3"):
        for number, kind in enumerate(("sharp", "blur")):
            folder = tmp_path / "gopro" / scene / kind
            folder.mkdir(parents=True)
            Image.fromarray(CAT[int(scene[-1]) * 20 :] // (1 + number)).save(folder / "1.png")
    return tmp_path / "gopro"


def test_a_sound_set_has_nothing_to_fix(run: Run, gopro: Path) -> None:
    shown = run("data", "check", gopro / "train", "--val", gopro / "test")
    assert shown.code == 0, shown.err
    for words in (
        "2 pairs in scenes",
        "1 pairs in scenes",
        "451×280: 1",
        "RGB, 8 bits: 2",
        "kept in memory",
        "median 0.0 px",
        "nothing to fix",
    ):
        assert words in shown.out


def test_everything_that_is_wrong_is_listed(run: Run, gopro: Path) -> None:
    (gopro / "train/S1/sharp/2.png").write_bytes(b"x")
    (gopro / "train/S1/blur/2.png").write_bytes(b"x")
    (gopro / "train/S2/sharp/9.png").write_bytes((gopro / "train/S2/sharp/1.png").read_bytes())
    for kind in ("sharp", "blur"):
        (gopro / f"test/S3/{kind}/7.png").write_bytes((gopro / f"train/S1/{kind}/1.png").read_bytes())
    shown = run("data", "check", gopro / "train", "--val", gopro / "test")
    assert shown.code == 2
    text = " ".join(shown.out.split())
    for words in ("unmatched", "S2/sharp/9.png: no picture of this name", "unreadable", "seen", "3 to fix"):
        assert words in text
    report = run("data", "check", gopro / "train", "--val", gopro / "test", "--json")
    assert report.code == 2
    assert report.json["to_fix"] == 3
    assert report.json["train"]["pairs"] == 2
    assert report.json["train"]["layout"] == "gopro"
    assert [finding["kind"] for finding in report.json["train"]["findings"]] == ["unmatched", "unreadable"]
    assert report.json["validation"]["sizes"] == {"451×240": 1, "451×280": 1}
    assert report.json["validation"]["apart"]["largest"] == 0
    assert len(report.json["seen"]) == 1


def test_single_photographs_as_json(run: Run, photo: Path) -> None:
    report = run("data", "check", photo.parent, "--crop", "95", "--json")
    assert report.code == 0, "a note is nothing to fix"
    assert report.json == {
        "train": {
            "folder": str(photo.parent),
            "layout": "sharp",
            "photographs": 1,
            "sizes": {"100×90": 1},
            "colours": {"RGB, 8 bits": 1},
            "mebibytes": 1,
            "apart": None,
            "findings": [{"kind": "small", "message": f"{photo}: 100×90, left out with data.crop=95", "serious": False}],
        },
        "validation": None,
        "seen": [],
        "to_fix": 0,
    }


def test_two_folders(run: Run, gopro: Path) -> None:
    sides = (gopro / "train/S1/sharp", "--degraded", gopro / "train/S1/blur")
    assert "1 pairs in two folders" in run("data", "check", *sides).out
    validation = ("--val", gopro / "test/S3/sharp", "--val-degraded", gopro / "test/S3/blur")
    assert run("data", "check", *sides, *validation, "--json").json["validation"]["layout"] == "pairs"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "{gopro}"], ["holds train and test", "--val"]),
        (["check", "{gopro}/nothing"], ["no such folder"]),
        (["check", "{gopro}/train", "--blur-folder", "blurr"], ["no pairs in folders sharp and blurr", "there is blur"]),
        (["check", "{gopro}/train", "--val-degraded", "x"], ["--val-degraded", "--val"]),
        (["check", "{gopro}/train", "--layout", "goprp"], ["goprp", "gopro"]),
        (["organise", "{gopro}", "out"], ["--layout"]),
        (["organise", "{gopro}", "{gopro}/out", "--layout", "gopro-to-ab"], ["lies in"]),
        (["organise", "{gopro}", "out", "--layout", "pairs-to-ab"], ["--degraded DIR"]),
        (["organis"], ["'organis'", "Did you mean organise"]),
    ],
)
def test_mistakes(arguments: list[str], words: list[str], run: Run, gopro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = run("data", *(argument.format(gopro=gopro) for argument in arguments))
    assert (shown.code, shown.out) == (2, "")
    for word in words:
        assert word in shown.err
    assert not (tmp_path / "out").exists()


def test_an_empty_folder(run: Run, tmp_path: Path) -> None:
    shown = run("data", "check", tmp_path)
    assert shown.code == 2
    assert "no images in this folder" in shown.err


def test_organise_says_how_to_go_on(run: Run, gopro: Path, tmp_path: Path) -> None:
    out = tmp_path / "ab"
    shown = run("data", "organise", gopro, out, "--layout", "gopro-to-ab")
    assert shown.code == 0, shown.err
    assert shown.out.splitlines() == [f"{out}: 3 pairs written", f"Use it: restorekit train RECIPE --data {out}/train --val {out}/test"]
    again = run("data", "organise", gopro, out, "--layout", "gopro-to-ab", "--json")
    assert again.json == {
        "target": str(out),
        "layout": "gopro-to-ab",
        "written": 0,
        "there": 3,
        "left_out": [],
        "use": f"restorekit train RECIPE --data {out}/train --val {out}/test",
    }
    pairs = tmp_path / "pairs"
    use = run("data", "organise", out, pairs, "--layout", "ab-to-pairs", "--json").json["use"]
    assert use == (
        f"restorekit train RECIPE --data {pairs}/sharp/train --set data.degraded={pairs}/degraded/train "
        f"--val {pairs}/sharp/test --set data.validation_degraded={pairs}/degraded/test"
    )
    assert run("data", "check", out / "train", "--val", out / "test").code == 0


def test_organise_lists_what_it_leaves_out(run: Run, gopro: Path, tmp_path: Path) -> None:
    (gopro / "train/S1/blur/1.png").write_bytes(b"x")
    (gopro / "train/S2/blur/3.png").write_bytes((gopro / "train/S2/blur/1.png").read_bytes())
    shown = run("data", "organise", gopro, tmp_path / "ab", "--layout", "gopro-to-ab")
    assert shown.code == 2
    assert shown.out.startswith(f"{tmp_path}/ab: 2 pairs written\n")
    assert "error: 2 left out:" in shown.err
    assert "blur/1.png: not an image" in shown.err
    assert "blur/3.png: no picture of this name" in shown.err
    assert len(run("data", "organise", gopro, tmp_path / "ab", "--layout", "gopro-to-ab", "--json").json["left_out"]) == 2


def test_the_conversions_offered_are_those_there_are() -> None:
    assert get_args(Conversion) == data.CONVERSIONS
