from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from restorekit import bench, photos
from restorekit.bench import outside, results
from restorekit.bench.contenders import contenders
from restorekit.errors import ConfigError, UserError
from restorekit.registries import RegisteredPart, Registry


def test_a_folder_of_pictures_scores_what_its_pictures_are(tmp_path: Path, suite: str, registry: Registry) -> None:
    outside.write_inputs(suite, tmp_path / "damaged", registry=registry)
    theirs = tmp_path / "their-program"
    for file in (tmp_path / "damaged").rglob("*.png"):  # the other program smooths, and writes another format
        target = theirs / file.relative_to(tmp_path / "damaged").with_suffix(".bmp")
        image = photos.read(file).image
        padded = torch.nn.functional.pad(image, (1, 1, 1, 1), mode="replicate")
        photos.write(target, torch.nn.functional.avg_pool2d(padded, 3, 1))
    out = bench.run_suite(suite, [str(theirs), "test/smooth"], tmp_path / "out", registry=registry).parent
    values = {(row["method"], row["image"], row["degradation"], row["metric"]): row["value"] for row in bench.rows(out)}
    for (method, *place), value in values.items():
        if method == "their-program":  # rounded to 8 bits on the way in
            assert value == pytest.approx(values["test/smooth", *place], abs=0.02)
    entry = results.manifest(out)["methods"]["their-program"]
    assert (entry["blind"], entry["licence"], entry["seconds"]) == (None, "not stated", None)
    assert "| ? |" in bench.leaderboard(out)
    fingerprint = entry["fingerprint"]
    next(theirs.rglob("*.bmp")).write_bytes(max(theirs.rglob("*.bmp")).read_bytes())
    bench.run_suite(suite, [str(theirs)], out, registry=registry)
    assert results.manifest(out)["methods"]["their-program"]["fingerprint"] != fingerprint


def test_a_yaml_file_says_what_a_folder_of_pictures_is(tmp_path: Path, suite: str, photographs: Path, registry: Registry) -> None:
    for degradation in ("weak", "strong"):
        shutil.copytree(photographs, tmp_path / "pictures" / degradation)
    (tmp_path / "pictures" / "weak" / "cup.png").unlink()
    Image.new("RGB", (10, 10)).save(tmp_path / "pictures" / "weak" / "cup.png")
    (tmp_path / "pictures" / "strong" / "face.png").unlink()
    file = tmp_path / "theirs.yaml"
    file.write_text("pictures: pictures\nuses: [sigma]\npaper: Them, 2020\nlicence: MIT\nparameters: 12\n")
    out = bench.run_suite(suite, [str(file)], tmp_path / "out", registry=registry).parent
    entry = results.manifest(out)["methods"]["theirs"]
    assert (entry["blind"], entry["uses"], entry["paper"], entry["licence"]) == (False, ["sigma"], "Them, 2020", "MIT")
    assert entry["network"]["parameters"] == 12
    rows = {(r["image"], r["degradation"]): r for r in bench.rows(out) if (r["method"], r["metric"]) == ("theirs", "core/psnr")}
    assert rows["face.png", "weak"]["value"] == "inf"
    assert "10×10" in rows["cup.png", "weak"]["reason"]
    assert "no picture strong/face" in rows["face.png", "strong"]["reason"]
    file.write_text("pictures: pictures\nblnd: yes\n")
    with pytest.raises(ConfigError, match=r"blnd: not an option of a folder of pictures\. Did you mean blind"):
        bench.run_suite(suite, [str(file)], tmp_path / "out", registry=registry)
    file.write_text("pictures: picturs\n")
    with pytest.raises(UserError, match="Did you mean pictures"):
        bench.run_suite(suite, [str(file)], tmp_path / "out", registry=registry)
    shutil.copy(photographs / "cup.png", tmp_path / "pictures" / "weak" / "cup.jpg")
    with pytest.raises(UserError, match=r"could both be the result for weak/cup"):
        bench.run_suite(suite, [str(tmp_path / "pictures")], tmp_path / "out", registry=registry)


def test_one_damage_needs_no_folder_and_grey_may_be_saved_in_colour(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in" / "a.png")
    degradations = "{jpeg: {part: core/jpeg, quality: 50}}"
    (tmp_path / "s.yaml").write_text(f"suite: 1\ndata: {{images: in}}\ndegradations: {degradations}\nmetrics: [core/psnr]\n")
    (tmp_path / "theirs").mkdir()
    Image.fromarray(pixels).convert("RGB").save(tmp_path / "theirs" / "a.png")
    out = bench.run_suite(str(tmp_path / "s.yaml"), [str(tmp_path / "theirs")], tmp_path / "out", registry=registry).parent
    assert [row["value"] for row in bench.rows(out) if row["method"] == "theirs"] == ["inf"]


def test_a_function_in_a_file_is_a_method(tmp_path: Path, suite: str, registry: Registry) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def half(image):\n    return image / 2\nnumber = 3\ndef _hidden(image):\n    return image\n")
    out = bench.run_suite(suite, [f"{file}:half"], tmp_path / "out", registry=registry).parent
    entry = results.manifest(out)["methods"]["half"]
    assert (entry["part"], entry["blind"], entry["uses"]) == ("Python function", True, [])
    before = [row for row in bench.rows(out) if row["method"] == "half"]
    assert {row["status"] for row in before} == {"ok"}
    file.write_text(file.read_text().replace("/ 2", "/ 4"))
    bench.run_suite(suite, [f"{file}:half"], out, registry=registry)
    assert [row for row in bench.rows(out) if row["method"] == "half"] != before
    for name, words in (("mine.py:halv", "there are: half"), ("mine.py:number", "no function number"), ("no.py:f", "no such file")):
        with pytest.raises(UserError, match=words):
            bench.run_suite(suite, [f"{tmp_path}/{name}"], out, registry=registry)
    file.write_text("import nothing_of_this_name\n")
    with pytest.raises(UserError, match="cannot be imported: ModuleNotFoundError"):
        bench.run_suite(suite, [f"{file}:half"], out, registry=registry)


def test_a_function_that_returns_something_else(tmp_path: Path, suite: str, registry: Registry) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def array(image):\n    return image.numpy()\ndef nothing(image):\n    pass\n")
    out = bench.run_suite(suite, [f"{file}:array", f"{file}:nothing"], tmp_path / "out", registry=registry).parent
    reasons = {row["method"]: row["reason"] for row in bench.rows(out) if row["status"] == "failed"}
    assert "array returned ndarray; expected a tensor" in reasons["array"]
    assert "nothing returned NoneType" in reasons["nothing"]


def test_two_methods_of_one_name_are_refused(tmp_path: Path, suite: str, registry: Registry) -> None:
    for folder, part in (("a", "test/smooth"), ("b", "test/random")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.yaml").write_text(f"part: {part}\n")
    with pytest.raises(UserError, match="two methods would be called mine"):
        bench.run_suite(suite, [str(tmp_path / f / "mine.yaml") for f in ("a", "b")], tmp_path / "out", registry=registry)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("method", "words"),
    [("core/wienr", "Did you mean core/wiener"), ("nothing.safetensors", "no such model file"), ("test/box", "generator")],
)
def test_methods_that_are_none(tmp_path: Path, suite: str, method: str, words: str, registry: Registry) -> None:
    with pytest.raises(UserError, match=words):
        bench.run_suite(suite, [method], tmp_path / "out", registry=registry)
    assert not (tmp_path / "out").exists()


def test_a_method_is_another_when_a_part_within_it_is_written_anew(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "blind.yaml"
    file.write_text("part: core/blind\npsf: {part: core/l0, size: 9}\nrestorer: {part: core/wiener}\n")

    def source() -> str:
        return contenders([str(file)], registry=registry, single=True)[-1].identity(registry)["source"]

    before, own, changed = source(), RegisteredPart.source, tmp_path / "changed.py"
    changed.write_text("# written anew")
    for name in ("core/blind", "core/l0", "core/wiener"):
        with monkeypatch.context() as patch:
            patch.setattr(RegisteredPart, "source", lambda part, name=name: changed if part.name == name else own(part))
            assert source() != before, name
    assert source() == before
