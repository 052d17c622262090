from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from restorekit import bench, files
from restorekit.bench import dataset
from restorekit.bench.dataset import SuiteData
from restorekit.bench.suite import load
from restorekit.errors import UserError
from restorekit.recipes import load_yaml
from restorekit.registries import Registry

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data"
WriteSuite = Callable[..., str]


def picture(path: Path, blur: int = 0, shift: int = 0) -> None:
    """A detail of a photograph, blurred along the rows and moved."""
    pixels = skimage.data.coffee()[100 : 100 + 64, 200 + shift : 200 + shift + 72].astype(float)
    if blur:
        pixels = np.mean([np.roll(pixels, i, 1) for i in range(-blur, blur + 1)], 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.round().astype(np.uint8)).save(path)


def test_missing_extra_and_changed_pictures_are_all_named(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    for name in ("a", "b", "c", "sub/d"):
        picture(folder / f"{name}.png", shift=len(name) + ord(name[0]) % 7)
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.png"))]
    (tmp_path / "list.sha256").write_text("".join(f"{files.sha256(folder / name)}  {name}\n" for name in names))
    data = SuiteData(images="pictures", checksums="list.sha256", count=4)
    assert list(dataset.find(data, folder, tmp_path)) == names
    (folder / "a.png").unlink()
    picture(folder / "b.png", shift=30)
    picture(folder / "new.png")
    with pytest.raises(UserError) as caught:
        dataset.find(data, folder, tmp_path)
    assert str(caught.value).splitlines() == [
        f"{folder}: a.png is missing",
        f"{folder}: new.png is not of the data set",
        f"{folder}: b.png is not the right file: its SHA-256 differs",
    ]


@pytest.mark.parametrize("text", ["abc a.png\n", "0" * 64 + "\n"])
def test_a_list_of_checksums_that_is_none(tmp_path: Path, text: str) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "list").write_text(text)
    with pytest.raises(UserError, match="64 hexadecimal digits"):
        dataset.find(SuiteData(images=".", checksums="list"), tmp_path, tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        dataset.find(SuiteData(images=".", checksums="other"), tmp_path, tmp_path)


def test_the_data_folder_is_given_or_in_the_environment(tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTOREKIT_DATA", str(tmp_path / "there"))
    assert load("core/gopro", registry=registry).folder == tmp_path / "there" / "GOPRO_Large"
    assert load("core/gopro", registry=registry, data=tmp_path).folder == tmp_path / "GOPRO_Large"
    with pytest.raises(UserError, match=r"(?s)GOPRO_Large: no such folder.*--data DIR.*RESTOREKIT_DATA.*Nah, Kim & Lee, CVPR 2017"):
        bench.run_suite("core/gopro", [], tmp_path / "out", data=tmp_path, registry=registry)
    monkeypatch.delenv("RESTOREKIT_DATA")
    assert load("core/cbsd68-shake", registry=registry).folder == DATA / "cbsd68"


@pytest.mark.parametrize("name", ["cbsd68-shake", "set14-levin"])
def test_the_data_sets_that_are_here_are_the_right_ones(name: str, registry: Registry) -> None:
    if not DATA.is_dir():
        pytest.skip(f"needs the data sets in {DATA}")
    assert len(load(f"core/{name}", registry=registry).sources()) == {"cbsd68-shake": 68, "set14-levin": 14}[name]


def gopro(folder: Path, blur: str) -> None:
    for scene, frame in (("GOPR0384_11_00", "000001"), ("GOPR0384_11_05", "004001")):
        picture(folder / "GOPRO_Large" / "test" / scene / blur / f"{frame}.png", blur=3)
        picture(folder / "GOPRO_Large" / "test" / scene / "sharp" / f"{frame}.png")
    picture(folder / "GOPRO_Large" / "train" / "GOPR0372_07_00" / blur / "000047.png", blur=3)


def hide(folder: Path) -> None:
    for kind, name in (("test-close-ups", "1fromGOPR0950"), ("test-long-shot", "2fromGOPR1087")):
        picture(folder / "HIDE_dataset" / "test" / kind / f"{name}.png", blur=2)
        picture(folder / "HIDE_dataset" / "GT" / f"{name}.png")
    picture(folder / "HIDE_dataset" / "GT" / "of-the-training-set.png")


def realblur(folder: Path, letter: str) -> None:
    lines = []
    for scene in ("scene001", "scene002"):
        pair = [f"RealBlur-{letter}_ref/{scene}/{kind}/{kind}_1.png" for kind in ("gt", "blur")]
        picture(folder / "RealBlur" / pair[0])
        picture(folder / "RealBlur" / pair[1], blur=1, shift=1)
        lines.append(" ".join(pair))
    (folder / "RealBlur" / f"RealBlur_{letter}_test_list.txt").write_text("\n".join(lines) + "\n")


def kohler(folder: Path) -> None:
    for image, kernel in ((1, 1), (1, 12)):
        picture(folder / "Kohler" / f"Blurry{image}_{kernel}.png", blur=2, shift=2)
        for frame in range(1, 4):
            picture(folder / "Kohler" / f"Image{image}" / f"Kernel{kernel}" / f"GroundTruth{image}_{kernel}_{frame}.png", shift=frame)


LAYOUTS: dict[str, tuple[Callable[[Path], None], dict[str, int]]] = {
    "gopro": (lambda folder: gopro(folder, "blur"), {"count": 1111}),
    "gopro-gamma": (lambda folder: gopro(folder, "blur_gamma"), {"count": 1111}),
    "hide": (hide, {"count": 2025}),
    "realblur-j": (lambda folder: realblur(folder, "J"), {"count": 980}),
    "realblur-r": (lambda folder: realblur(folder, "R"), {"count": 980}),
    "kohler": (kohler, {"count": 48, "targets": 9547}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_data_set_that_is_not_whole_is_refused_with_its_numbers(name: str, tmp_path: Path, registry: Registry) -> None:
    make, numbers = LAYOUTS[name]
    make(tmp_path)
    with pytest.raises(UserError) as caught:
        load(f"core/{name}", registry=registry, data=tmp_path).sources()
    for number in numbers.values():
        assert f"the data set has {number}" in str(caught.value)
    assert "2 pictures" in str(caught.value)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_data_set_of_the_right_layout_is_scored(name: str, tmp_path: Path, registry: Registry) -> None:
    if name.startswith("realblur"):
        pytest.importorskip("cv2", reason="aligning by homography needs OpenCV: pip install 'restorekit[align]'")
    make, numbers = LAYOUTS[name]
    make(tmp_path)
    shipped = load_yaml(load(f"core/{name}", registry=registry).beside / f"{name}.yaml")
    small: dict[str, Any] = {"count": 2, **({"targets": 6} if "targets" in numbers else {})}
    file = tmp_path / f"{name}.yaml"
    import json

    file.write_text(json.dumps({**shipped, "data": {**shipped["data"], **small}}))
    page = bench.run_suite(str(file), ["core/tv-denoise"], tmp_path / "out", data=tmp_path, registry=registry)
    rows = bench.rows(page.parent)
    assert {row["status"] for row in rows} == {"ok"}, rows
    assert {row["degradation"] for row in rows} == {"as-given"}
    assert len({row["image"] for row in rows}) == 2
    assert "## All degradations" not in page.read_text()
    psnr = [row["value"] for row in rows if (row["method"], row["metric"]) == ("core/identity", "core/psnr")]
    assert all(20 < value < 40 for value in psnr), psnr


def test_a_target_that_is_missing_or_of_another_size_is_named(tmp_path: Path, registry: Registry) -> None:
    hide(tmp_path)
    (tmp_path / "HIDE_dataset" / "GT" / "1fromGOPR0950.png").unlink()
    with pytest.raises(UserError, match=r"GT/1fromGOPR0950.png, the target of test/test-close-ups/1fromGOPR0950.png, is missing"):
        load("core/hide", registry=registry, data=tmp_path).sources()
    realblur(tmp_path, "J")
    (tmp_path / "RealBlur" / "RealBlur-J_ref" / "scene002" / "gt" / "gt_1.png").unlink()
    with pytest.raises(UserError, match=r"scene002/gt/gt_1.png is missing"):
        load("core/realblur-j", registry=registry, data=tmp_path).sources()
    (tmp_path / "RealBlur" / "RealBlur_J_test_list.txt").unlink()
    with pytest.raises(UserError, match=r"RealBlur_J_test_list.txt, the list of pairs, is missing"):
        load("core/realblur-j", registry=registry, data=tmp_path).sources()


def test_pairs_of_different_sizes_are_refused(tmp_path: Path, registry: Registry, write_suite: WriteSuite) -> None:
    picture(tmp_path / "in" / "a.png")
    Image.new("RGB", (40, 40)).save(tmp_path / "a-sharp.png")
    data = {"images": ".", "input": "in/{name}.png", "target": "{name}-sharp.png"}
    with pytest.raises(UserError, match=r"a-sharp.png: 40×40, and the damaged picture a.png has 72×64"):
        bench.run_suite(write_suite(tmp_path / "s.yaml", data=data, degradations=None), [], tmp_path / "out", registry=registry)
    (tmp_path / "a-sharp.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"a-sharp.png: not an image"):
        bench.run_suite(write_suite(tmp_path / "s.yaml", data=data, degradations=None), [], tmp_path / "out", registry=registry)
    assert not (tmp_path / "out").exists()


def test_of_several_targets_the_best_counts(tmp_path: Path, registry: Registry, write_suite: WriteSuite) -> None:
    for frame in range(4):
        picture(tmp_path / f"sharp-7-{frame}.png", shift=frame)
    picture(tmp_path / "blurred-7.png", shift=2)
    data = {"images": ".", "input": "blurred-{n}.png", "target": "sharp-{n}-{frame}.png"}
    suite = write_suite(tmp_path / "s.yaml", data=data, degradations=None, metrics=["core/psnr", "test/error"])
    out = bench.run_suite(suite, [], tmp_path / "out", registry=registry).parent
    assert {row["metric"]: row["value"] for row in bench.rows(out)} == {"core/psnr": "inf", "test/error": 0.0}


def test_a_pattern_repeats_its_fields_and_takes_no_other_files(tmp_path: Path) -> None:
    for name in ("a/a-1", "a/b-1", "a[1]/a[1]-2"):
        picture(tmp_path / f"{name}.png")
        picture(tmp_path / "sharp" / f"{name}-x.png")
    data = SuiteData(images=".", input="{scene}/{scene}-{n}.png", target="sharp/{scene}/{scene}-{n}-{kind}.png")
    found = dataset.find(data, tmp_path, tmp_path)
    assert {name: [path.name for path in source.targets] for name, source in found.items()} == {
        "a/a-1.png": ["a-1-x.png"],
        "a[1]/a[1]-2.png": ["a[1]-2-x.png"],
    }
