from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from restorekit import bench, devices, seeding
from restorekit.bench import results
from restorekit.bench.inputs import Inputs
from restorekit.bench.job import Job
from restorekit.bench.run import run
from restorekit.bench.suite import load
from restorekit.errors import UserError
from restorekit.images import Degraded
from restorekit.modelfile import Model
from restorekit.recipes import recipe
from restorekit.registries import Registry

Means = Callable[[str, str], dict[str, list[str]]]
WriteSuite = Callable[..., str]


def test_means_are_those_of_scikit_image(tmp_path: Path, suite: str, photographs: Path, registry: Registry, means: Means) -> None:
    page = bench.run_suite(suite, ["test/smooth"], tmp_path / "out", device="cpu", registry=registry)
    smooth = registry.create("restorer", "test/smooth")
    expected: dict[str, dict[str, list[tuple[float, float]]]] = {"core/identity": {}, "test/smooth": {}}
    for degradation, sigma in (("weak", 0.05), ("strong", 0.2)):
        for file in photographs.iterdir():
            target = np.asarray(Image.open(file))
            sharp = torch.from_numpy(target / 255.0).permute(2, 0, 1)[None].float()
            rng = torch.Generator().manual_seed(seeding.derive("tiny", file.name, degradation))
            noise = registry.create("degradation", "core/gaussian-noise", sigma=sigma).sample(1, sharp.shape[1:], rng)["noise"]
            noisy = (sharp + sigma * noise).clamp(0, 1)
            for method in expected:
                restored = noisy if method == "core/identity" else smooth.restore(Degraded(noisy))
                levels = np.rint(restored[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
                ssim = structural_similarity(
                    target, levels, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
                )
                psnr = peak_signal_noise_ratio(target, levels, data_range=255)
                expected[method].setdefault(degradation, []).append((psnr, ssim))

    text = page.read_text()
    overall = means(text, "All degradations")
    for column, heading, place in ((0, "core/psnr in dB ↑", 3), (1, "core/ssim ↑", 6)):
        digits = 2 if column == 0 else 4
        by_degradation = means(text, f"{heading} by degradation")
        for method, found in expected.items():
            for i, degradation in enumerate(("weak", "strong")):
                mean = np.mean([scores[column] for scores in found[degradation]])
                shown = by_degradation[method][1 + i].split()[0]
                assert float(shown) == pytest.approx(mean, abs=0.51 * 10**-digits), (method, degradation)
            mean = np.mean([scores[column] for both in found.values() for scores in both])
            assert float(overall[method][place].split()[0]) == pytest.approx(mean, abs=0.51 * 10**-digits)
        gain = np.mean([np.array(expected["test/smooth"][d])[:, column] for d in ("weak", "strong")]) - np.mean(
            [np.array(expected["core/identity"][d])[:, column] for d in ("weak", "strong")]
        )
        assert float(overall["test/smooth"][place + 1].split()[0]) == pytest.approx(gain, abs=0.51 * 10**-digits)
    for row in bench.rows(tmp_path / "out"):
        scores = expected[row["method"]][row["degradation"]]
        assert min(abs(row["value"] - score[row["metric"] == "core/ssim"]) for score in scores) < 1e-4


def test_every_score_is_a_row_and_identity_is_measured_first(tmp_path: Path, suite: str, registry: Registry) -> None:
    bench.run_suite(suite, ["smooth", "test/smooth", "test/oracle"], tmp_path / "out", registry=registry)
    found = bench.rows(tmp_path / "out")
    assert len(found) == 3 * 2 * 2 * 2
    assert list(dict.fromkeys(row["method"] for row in found)) == ["core/identity", "test/smooth", "test/oracle"]
    assert all(row.keys() == results.ROW_KEYS.keys() and row["status"] == "ok" and row["seconds"] > 0 for row in found)
    about = results.manifest(tmp_path / "out")
    assert about.keys() == set(results.MANIFEST_KEYS)
    assert all(entry.keys() == set(results.METHOD_KEYS) for entry in about["methods"].values())
    assert {name: (entry["blind"], entry["uses"]) for name, entry in about["methods"].items()} == {
        "core/identity": (True, []),
        "test/smooth": (True, []),
        "test/oracle": (False, ["noise", "sigma"]),
    }
    smooth = about["methods"]["test/smooth"]
    assert [machine["versions"]["torch"] for machine in smooth["environments"]] == [torch.__version__.partition("+")[0]]
    assert smooth["threads"] == 1
    assert all(entry["seconds"]["images"] == 4 and entry["warm_up_seconds"] > 0 for entry in about["methods"].values())
    assert set(about["inputs"]) == {f"{d}/{name}.png" for d in ("weak", "strong") for name in ("face", "cup")}
    assert about["gives"] == {"weak": ["noise", "sigma"], "strong": ["noise", "sigma"]}


def test_the_first_metric_sorts_in_its_own_direction(tmp_path: Path, write_suite: WriteSuite, registry: Registry, means: Means) -> None:
    names = ["test/random", "test/oracle", "test/smooth"]
    for metrics in (["test/error", "core/psnr"], ["core/psnr", "test/error"]):
        suite = write_suite(tmp_path / "sorted.yaml", metrics=metrics)
        page = bench.run_suite(suite, names, tmp_path / metrics[0].replace("/", "-"), registry=registry).read_text()
        assert list(means(page, "All degradations")) == ["test/oracle", "test/smooth", "core/identity", "test/random"]
        assert "test/error ↓" in page
        assert "core/psnr in dB ↑" in page


def test_failures_are_rows_with_a_reason_and_have_no_rank(tmp_path: Path, suite: str, registry: Registry, means: Means) -> None:
    broken = ["test/notanumber", "test/half", "test/grey", "test/levels", "test/bytes"]
    out = tmp_path / "out"
    page = bench.run_suite(suite, [*broken, "core/wiener", "test/landscape", "test/homesick"], out, registry=registry).read_text()
    missed = {row["method"]: (row["status"], row["reason"]) for row in bench.rows(out) if row["status"] != "ok"}
    assert missed["core/wiener"] == ("not applicable", "needs the psf, which this damage does not come with")
    for method, words in (
        ("test/notanumber", "not finite"),
        ("test/half", "returned shape"),
        ("test/grey", "with 1 channels"),
        ("test/levels", "expected [0, 1]"),
        ("test/bytes", "expected floats in [0, 1], got torch.uint8"),
        ("test/homesick", "OutOfMemoryError: no room"),
        ("test/landscape", "RuntimeError: square | pictures only"),
    ):
        assert missed[method][0] == "failed"
        assert words in missed[method][1], method
    overall, weak = means(page, "All degradations"), means(page, "core/psnr in dB ↑ by degradation")
    for method in broken:
        assert overall[method][0] == overall[method][3] == weak[method][1] == "–"
        assert overall[method][-2] == "4 of 4"
    assert overall["core/wiener"][3] == weak["core/wiener"][1] == "n/a"
    assert overall["core/wiener"][-2] == "0 of 4"
    assert "needs the psf" in page.split("## Not applicable")[1].split("## ")[0]
    # One image of two fails: that method is not ranked, and the others keep their images.
    assert overall["test/landscape"][-2] == "2 of 4"
    assert overall["test/landscape"][0] == overall["test/landscape"][3] == "–"
    assert weak["test/landscape"][1] == "– (+0.00 on 1 images)"
    assert overall["core/identity"][0] == "1"
    assert "Compared, of 4 images × degradations: 4." in page
    scores = [row["value"] for row in bench.rows(out) if (row["method"], row["metric"]) == ("core/identity", "core/psnr")]
    assert float(overall["core/identity"][3].split()[0]) == pytest.approx(np.mean(scores), abs=0.0051)
    assert "square \\| pictures only" in page
    assert results.manifest(out)["methods"]["core/wiener"]["seconds"] is None


def test_a_method_without_a_degradation_is_shown_but_not_ranked(
    tmp_path: Path, write_suite: WriteSuite, registry: Registry, means: Means
) -> None:
    degradations = {
        "blur": {"part": "core/gaussian-blur", "sigma": 1.0},
        "noise": {"part": "core/gaussian-noise", "sigma": 0.01},
        "holes": {"part": "core/mask", "shape": "boxes"},
    }
    suite = write_suite(tmp_path / "mixed.yaml", degradations=degradations)
    page = bench.run_suite(suite, ["core/wiener", "test/filler", "test/smooth"], tmp_path / "out", registry=registry).read_text()
    overall, columns = means(page, "All degradations"), means(page, "core/psnr in dB ↑ by degradation")
    assert list(overall)[-2:] == ["core/wiener", "test/filler"]
    assert overall["core/wiener"][0] == "–"
    assert overall["core/wiener"][2] == "no: psf"
    assert {overall["core/identity"][0], overall["test/smooth"][0]} == {"1", "2"}
    assert [columns["core/wiener"][i] for i in (2, 3)] == ["n/a", "n/a"]
    assert [columns["test/filler"][i] for i in (1, 2)] == ["n/a", "n/a"]
    assert float(columns["core/wiener"][1].split()[0]) > 20
    assert "blur: psf" in page
    assert "holes: mask" in page


def test_infinite_scores_leave_an_image_out_for_everybody(
    tmp_path: Path, write_suite: WriteSuite, registry: Registry, means: Means
) -> None:
    none, some = ({"part": "core/gaussian-noise", "sigma": sigma} for sigma in (0.0, 0.1))
    suite = write_suite(tmp_path / "s.yaml", degradations={"none": none, "some": some})
    page = bench.run_suite(suite, ["test/smooth"], tmp_path / "out", registry=registry).read_text()
    for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    psnr = {
        (row["method"], row["degradation"], row["image"]): float(row["value"])
        for row in bench.rows(tmp_path / "out")
        if row["metric"] == "core/psnr"
    }
    assert sum(np.isinf(list(psnr.values()))) == 2
    overall, columns = means(page, "All degradations"), means(page, "core/psnr in dB ↑ by degradation")
    for method in ("core/identity", "test/smooth"):  # the same two images for both, although one is finite on all four
        mean = np.mean([value for (name, degradation, _), value in psnr.items() if (name, degradation) == (method, "some")])
        assert float(overall[method][3].split()[0]) == pytest.approx(mean, abs=0.0051)
    ssim = {
        (row["method"], row["degradation"], row["image"]): row["value"]
        for row in bench.rows(tmp_path / "out")
        if row["metric"] == "core/ssim"
    }
    for method in ("core/identity", "test/smooth"):  # SSIM is finite everywhere, and still about the images that PSNR is about
        mean = np.mean([value for (name, degradation, _), value in ssim.items() if (name, degradation) == (method, "some")])
        assert float(overall[method][6].split()[0]) == pytest.approx(mean, abs=0.000051)
    assert "Compared, of 4 images × degradations: 2. Left out because a score is infinite there: 2 of none." in page
    assert columns["core/identity"][1] == "inf (2 inf)"
    mean = np.mean([value for (name, degradation, _), value in psnr.items() if (name, degradation) == ("test/smooth", "none")])
    assert float(columns["test/smooth"][1].split()[0]) == pytest.approx(mean, abs=0.0051)


def test_a_second_run_keeps_what_is_there_and_adds_the_new(
    tmp_path: Path, suite: str, registry: Registry, means: Means, calls: Callable[[], int]
) -> None:
    out = tmp_path / "out"
    bench.run_suite(suite, ["test/smooth"], out, registry=registry)
    assert calls() == 5  # four images and a warm-up
    before = bench.rows(out)
    page = bench.run_suite(suite, ["test/smooth", "test/oracle"], out, registry=registry)
    assert calls() == 5
    after = bench.rows(out)
    assert after[: len(before)] == before  # seconds too: nothing was measured again
    assert {row["method"] for row in after[len(before) :]} == {"test/oracle"}
    assert set(means(page.read_text(), "All degradations")) == {"core/identity", "test/smooth", "test/oracle"}
    first = page.read_bytes()
    bench.run_suite(suite, ["test/oracle"], out, registry=registry)
    assert page.read_bytes() == first
    assert bench.leaderboard(out).encode() == first


def test_single_restorations_are_kept_and_only_the_missing_are_made(
    tmp_path: Path, suite: str, registry: Registry, calls: Callable[[], int]
) -> None:
    out = tmp_path / "out"
    bench.run_suite(suite, ["test/smooth"], out, registry=registry)
    before, done = bench.rows(out), calls()
    for name in ("rows.jsonl", "manifest.json"):  # as if the run had been killed before it wrote its results
        (out / name).unlink()
    records = sorted((out / "cells").iterdir(), key=lambda file: file.read_text())
    lost = [file for file in records if json.loads(file.read_text())["method"] == "test/smooth"][:1]
    lost[0].unlink()
    bench.run_suite(suite, ["test/smooth"], out, registry=registry)
    assert calls() == done + 2  # the one that was lost, and a warm-up

    def scores(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{key: value for key, value in row.items() if key not in results.MEASURED} for row in rows]

    assert scores(bench.rows(out)) == scores(before)
    kept = [row for row in bench.rows(out) if row in before]
    assert len(kept) == len(before) - 2


def test_a_damaged_record_is_named(tmp_path: Path, suite: str, registry: Registry) -> None:
    out = tmp_path / "out"
    bench.run_suite(suite, [], out, registry=registry)
    for name in ("rows.jsonl", "manifest.json"):
        (out / name).unlink()
    record = next((out / "cells").iterdir())
    record.write_bytes(record.read_bytes()[:50])
    with pytest.raises(UserError, match=rf"{record.name}: damaged.*Delete this file"):
        bench.run_suite(suite, [], out, registry=registry)


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path, suite: str) -> None:
    out, mine, spared = tmp_path / "out", tmp_path / "mine.py", tmp_path / "spared"
    calls = tmp_path / "calls"
    mine.write_text(
        "import os, signal\n"
        "def mortal(image):\n"
        f"    with open({str(calls)!r}, 'a+') as file:\n"
        "        file.write('.')\n"
        "        file.flush()\n"
        "        file.seek(0)\n"
        f"        if len(file.read()) == 4 and not os.path.exists({str(spared)!r}):\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return image\n"
    )
    # A fresh interpreter: a fork of this process would hang in torch, whose threads it does not have.
    command = ["bench", "run", suite, "--method", f"{mine}:mortal", "--device", "cpu", "--out", str(out)]
    died = subprocess.run([sys.executable, "-m", "restorekit", *command], capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert sum(1 for _ in out.glob("cells/*.json")) == 4 + 2  # doing nothing; a warm-up and two images, and death in the third
    assert not (out / "rows.jsonl").exists()
    spared.touch()
    calls.unlink()
    run(Job(suite=suite, methods=(f"{mine}:mortal",), out=out, device="cpu"))
    assert len(calls.read_text()) == 2 + 1  # those that were missing, and a warm-up
    assert {(row["method"], row["status"]) for row in bench.rows(out)} == {("core/identity", "ok"), ("mortal", "ok")}


def test_failures_are_measured_again_on_request_only(tmp_path: Path, suite: str, registry: Registry) -> None:
    mine = tmp_path / "mine.py"
    ready = str(tmp_path / "ready")
    mine.write_text(f"import os\ndef moody(image):\n    if not os.path.exists({ready!r}): raise OSError('no')\n    return image\n")
    job = {"suite": suite, "methods": (f"{mine}:moody",), "out": tmp_path / "out", "registry": registry}
    run(Job(**job))
    (tmp_path / "ready").touch()
    run(Job(**job))
    assert {row["reason"] for row in bench.rows(tmp_path / "out") if row["method"] == "moody"} == {"OSError: no"}
    run(Job(**job, retry=True))
    assert {row["status"] for row in bench.rows(tmp_path / "out")} == {"ok"}


def test_scores_do_not_depend_on_the_company_or_the_global_random_state(tmp_path: Path, suite: str, registry: Registry) -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    threads = torch.get_num_threads()
    bench.run_suite(suite, ["test/random"], tmp_path / "alone", registry=registry)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    torch.manual_seed(4)
    bench.run_suite(suite, ["test/spoiler", "test/smooth", "test/random"], tmp_path / "together", registry=registry)

    def scores(name: str) -> dict[Any, Any]:
        return {
            (row["method"], row["image"], row["degradation"], row["metric"]): row["value"]
            for row in bench.rows(tmp_path / name)
            if row["method"] in ("core/identity", "test/random")
        }

    assert scores("alone") == scores("together")
    assert results.manifest(tmp_path / "alone")["inputs"] == results.manifest(tmp_path / "together")["inputs"]


def test_the_spoilt_input_of_a_timing_call_is_not_scored(tmp_path: Path, suite: str, registry: Registry) -> None:
    bench.run_suite(suite, ["test/spoiler"], tmp_path / "out", registry=registry)
    inputs = Inputs(load(suite, registry=registry), tmp_path / "inputs")
    ssim = registry.create("metric", "core/ssim")
    found = {
        (r["image"], r["degradation"]): r["value"]
        for r in bench.rows(tmp_path / "out")
        if (r["method"], r["metric"]) == ("test/spoiler", "core/ssim")
    }
    for cell in inputs.cells:
        pair = inputs.pair(cell)
        expected = float(ssim(pair.degraded.image * 0.9, next(pair.targets())))
        assert found[cell.image, cell.degradation] == pytest.approx(expected, abs=1e-6)


def test_another_protocol_is_refused_and_nothing_is_lost(
    tmp_path: Path, suite: str, photographs: Path, registry: Registry, write_suite: WriteSuite
) -> None:
    out = tmp_path / "out"
    bench.run_suite(suite, [], out, registry=registry)
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    write_suite(Path(suite), metrics=["core/psnr"])
    with pytest.raises(UserError, match=r"(?s)another --out. What differs:\n  metrics.core/ssim: .* and absent"):
        bench.run_suite(suite, ["test/smooth"], out, registry=registry)
    write_suite(Path(suite), data={"images": str(photographs), "crop": 32})
    with pytest.raises(UserError, match=r"(?s)data.crop: absent and 32\n  targets: 2 different: "):
        bench.run_suite(suite, ["test/smooth"], out, registry=registry)
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before


def test_the_protocol_follows_content_and_not_places_or_spelling(tmp_path: Path, suite: str, photographs: Path, registry: Registry) -> None:
    bench.run_suite(suite, [], tmp_path / "one", registry=registry)
    moved = tmp_path / "elsewhere"
    shutil.copytree(photographs, moved / "pictures")
    (moved / "tiny.yaml").write_text(
        "# the same suite\nmetrics: [psnr, {part: core/ssim}]\nsuite: 1\ndata: {crop: null, images: pictures}\n"
        "degradations:\n  weak: {sigma: 0.05, part: core/gaussian-noise}\n  strong: {part: gaussian-noise, sigma: 0.2}\n"
    )
    bench.run_suite(str(moved / "tiny.yaml"), [], tmp_path / "two", registry=registry)
    one, two = (results.manifest(tmp_path / name) for name in ("one", "two"))
    assert one["protocol"] == two["protocol"]
    assert one["inputs"] == two["inputs"]
    picture = moved / "pictures" / "cup.png"
    pixels = np.asarray(Image.open(picture)).copy()
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(picture)
    bench.run_suite(str(moved / "tiny.yaml"), [], tmp_path / "three", registry=registry)
    assert results.manifest(tmp_path / "three")["protocol"] != one["protocol"]


def test_damaged_images_that_come_out_otherwise_are_refused(tmp_path: Path, suite: str, registry: Registry) -> None:
    out = tmp_path / "out"
    bench.run_suite(suite, [], out, registry=registry)
    about = results.manifest(out)
    about["inputs"]["weak/cup.png"] = "0" * 64
    (out / "manifest.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="differ from those made now in their last bits"):
        bench.run_suite(suite, ["test/smooth"], out, registry=registry)


def test_a_model_file_is_described_and_measured_again_when_it_changes(tmp_path: Path, suite: str, registry: Registry, means: Means) -> None:
    from restorekit.builtin.network import Box

    # The file's network, test/box, is in this registry only: nothing is looked up among the installed parts.
    box, file, out = Box(), tmp_path / "mine.safetensors", tmp_path / "out"
    made = recipe({"recipe": 1, "generator": {"part": "test/box"}, "losses": ["core/l1"]}).check(registry)
    Model(box, made).save(file)
    page = bench.run_suite(suite, [str(file)], out, registry=registry).read_text()
    entry = results.manifest(out)["methods"]["mine"]
    assert entry["network"]["part"] == "test/box"
    assert entry["network"]["parameters"] == 1
    assert entry["options"]["file"]["file"] == "mine.safetensors"
    assert (entry["paper"], entry["licence"]) == ("the box paper", "the box licence")
    assert means(page, "All degradations")["mine"][-1] == "the box licence"
    before = bench.rows(out)
    box.factor.data.fill_(0.5)
    Model(box, made).save(file)
    bench.run_suite(suite, [str(file)], out, registry=registry)
    after = bench.rows(out)
    kept = [row for row in before if row["method"] == "core/identity"]
    assert [row for row in after if row["method"] == "core/identity"] == kept
    assert [r["value"] for r in after if r["method"] == "mine"] != [r["value"] for r in before if r["method"] == "mine"]


def test_out_that_is_a_file_and_a_device_that_is_not_there(tmp_path: Path, suite: str, registry: Registry) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="a file; --out needs a folder"):
        bench.run_suite(suite, [], tmp_path / "file", registry=registry)
    with pytest.raises(UserError, match="cannot be written"):
        bench.run_suite(suite, [], tmp_path / "file" / "below", registry=registry)
    with pytest.raises(UserError, match="--device gpu"):
        bench.run_suite(suite, [], tmp_path / "out", device="gpu", registry=registry)


def test_progress_stays_off_the_standard_output(tmp_path: Path, suite: str, registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    bench.run_suite(suite, ["test/smooth"], tmp_path / "out", progress=True, registry=registry)
    assert capsys.readouterr().out == ""


def test_a_limit_takes_the_first_pictures_and_is_part_of_the_protocol(tmp_path: Path, suite: str, registry: Registry) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    bench.run_suite(suite, [], whole, registry=registry)
    page = bench.run_suite(suite, [], part, limit=1, registry=registry).read_text()
    assert "the first 1 images" in page
    rows = {results.key(row): row["value"] for row in bench.rows(whole)}
    few = {results.key(row): row["value"] for row in bench.rows(part)}
    assert few.items() < rows.items()
    assert results.manifest(whole)["protocol"] != results.manifest(part)["protocol"]


def test_damaged_images_are_stored_once_and_go_with_the_run(tmp_path: Path, suite: str, registry: Registry) -> None:
    out = tmp_path / "out"
    run(Job(suite=suite, methods=("test/smooth",), out=out, keep_inputs=True, registry=registry))
    stored = {file.name: file.stat().st_mtime_ns for file in (out / "inputs").iterdir()}
    assert len(stored) == 4
    run(Job(suite=suite, methods=("test/random",), out=out, keep_inputs=True, registry=registry))
    assert {file.name: file.stat().st_mtime_ns for file in (out / "inputs").iterdir()} == stored
    run(Job(suite=suite, methods=("test/oracle",), out=out, registry=registry))
    assert not (out / "inputs").exists()


def test_seeds_damage_each_photograph_several_times(tmp_path: Path, write_suite: WriteSuite, registry: Registry) -> None:
    once = bench.run_suite(write_suite(tmp_path / "s.yaml"), [], tmp_path / "once", registry=registry).parent
    thrice = bench.run_suite(write_suite(tmp_path / "s.yaml", seeds=3), [], tmp_path / "thrice", registry=registry).parent
    values = {results.key(row): row["value"] for row in bench.rows(thrice)}
    assert len(set(values.values())) == len(values) == 3 * len(bench.rows(once))
    assert {results.key(row): row["value"] for row in bench.rows(once)}.items() < values.items()
    assert "× 3 draws" in bench.leaderboard(thrice)


@pytest.mark.parametrize(("device", "options", "words"), [("cuda", {"devices": 3}, "has 2 of cuda"), ("mps", {"isolate": True}, "on mps")])
def test_processes_that_have_no_device(
    tmp_path: Path, suite: str, device: str, options: dict[str, Any], words: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "pick", lambda name: torch.device(device))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=words):
        run(Job(suite=suite, methods=(), out=tmp_path / "out", registry=registry, **options))
    assert not (tmp_path / "out").exists()
