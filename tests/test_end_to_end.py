"""The installed command on real photographs, each step a process of its own as a user would start it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from restorekit import discovery
from restorekit.errors import UserError

COMMAND = Path(sys.executable).with_name("restorekit")

UNNEEDED = ("torchvision", "kornia", "timm", "skimage", "scipy", "lightning_fabric", "rich")


def run(*arguments: object, cwd: Path) -> str:
    """Standard output of a command that must succeed."""
    program = [COMMAND] if arguments[0] != "-m" else [sys.executable]
    done = subprocess.run([*program, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def psnr(path: Path, sharp: np.ndarray[Any, Any]) -> float:
    return float(peak_signal_noise_ratio(sharp, np.asarray(Image.open(path)), data_range=255))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs in a folder."""
    root = tmp_path_factory.mktemp("photographs")
    (root / "sharp").mkdir()
    Image.fromarray(skimage.data.astronaut()[:360, 40:440]).save(root / "sharp" / "astronaut.png")
    Image.fromarray(skimage.data.coffee()[20:380, 100:500]).save(root / "sharp" / "coffee.png")
    return root


@pytest.fixture(scope="module")
def blurred(folder: Path) -> Path:
    """Both blurred by one shake each, with the PSFs beside them."""
    shake = [
        "--with",
        "core/sequence",
        "--set",
        "steps=[{part: core/camera-shake, length: [9, 12]}, {part: core/gaussian-noise, sigma: 0.01}]",
    ]
    said = run("degrade", "sharp", "blurred", *shake, "--seed", 5, "--save-params", "drawn", "--json", cwd=folder)
    rows = [json.loads(line) for line in said.splitlines()]
    assert [row["output"] for row in rows] == ["blurred/astronaut.png", "blurred/coffee.png"]
    return folder / "blurred"


def test_a_known_blur_is_undone(folder: Path, blurred: Path) -> None:
    sharp = skimage.data.coffee()[20:380, 100:500]
    run("restore", "blurred/coffee.png", "-o", "known.png", "--with", "core/wiener", "--psf", "drawn/coffee.png/psf.npy", cwd=folder)
    assert psnr(folder / "known.png", sharp) > psnr(blurred / "coffee.png", sharp) + 1


def test_the_default_method_restores_a_folder(folder: Path, blurred: Path) -> None:
    _default_method()
    rows = [json.loads(line) for line in run("restore", "blurred", "-o", "restored", "--json", cwd=folder).splitlines()]
    assert len(rows) == 2
    gains = []
    for row in rows:
        sharp = np.asarray(Image.open(folder / "sharp" / Path(row["input"]).name))
        gains.append(psnr(folder / row["output"], sharp) - psnr(folder / row["input"], sharp))
    assert np.mean(gains) > 1


def test_the_demo_shows_what_it_says(tmp_path: Path) -> None:
    _default_method()
    table = run("-m", "restorekit.demo", cwd=tmp_path)
    assert "demo/before-after.png" in table
    scores = {
        line.split()[0]: line.replace("(dB)", "").split()[1:] for line in table.splitlines() if line.strip().startswith(("PSNR", "SSIM"))
    }
    before, after, gain = (float(value) for value in scores["PSNR"])
    sharp, restored = skimage.data.astronaut(), np.asarray(Image.open(tmp_path / "demo" / "restored.png"))
    assert after == pytest.approx(peak_signal_noise_ratio(sharp, restored, data_range=255), abs=0.006)
    measured = structural_similarity(
        sharp, restored, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert float(scores["SSIM"][1]) == pytest.approx(measured, abs=0.002)
    assert gain == pytest.approx(after - before, abs=0.011)
    assert gain > 1
    sheet = Image.open(tmp_path / "demo" / "before-after.png")
    assert sheet.width > 3 * 512
    assert sheet.height > 2 * 512


def test_the_demo_restores_ones_own_picture(folder: Path, blurred: Path, tmp_path: Path) -> None:
    picture = blurred / "coffee.png"
    printed = run("-m", "restorekit.demo", "--photo", picture, "--out", tmp_path / "mine", "--with", "core/tv-denoise", cwd=tmp_path)
    assert "PSNR" not in printed
    assert Image.open(tmp_path / "mine" / "restored.png").size == (400, 360)
    assert 2 * 400 < Image.open(tmp_path / "mine" / "before-after.png").width < 3 * 400


def test_train_then_look_then_restore(folder: Path, blurred: Path) -> None:
    recipe = {
        "recipe": 1,
        "task": "deblur",
        "degradation": {"part": "core/camera-shake", "length": [5.0, 9.0]},
        "generator": {"part": "deblurgan/compact", "width": 8, "blocks": [1], "middle": 1},
        "losses": ["core/l1"],
        "data": {"crop": 32, "batch": 2, "validation_images": 1},
        "train": {"steps": 3, "validate_every": 3, "checkpoint_every": 3, "precision": "fp32"},
    }
    (folder / "tiny.yaml").write_text(json.dumps(recipe))
    made = json.loads(run("train", "tiny.yaml", "--data", "sharp", "--val", "sharp", "--device", "cpu", "--json", cwd=folder))
    assert made["model"] == "runs/tiny/model.safetensors"
    about = json.loads(run("info", made["model"], "--json", cwd=folder))
    assert about["recipe"]["train"]["steps"] == 3
    assert about["recipe"]["data"]["train"] == "sharp"
    restore = ["restore", "blurred/coffee.png", "-o", "learnt.png", "--with", made["model"]]
    report = f"print(*[name for name in {UNNEEDED!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; from restorekit.cli import main; code = main({restore!r}); {report}; sys.exit(code)"],
        capture_output=True,
        text=True,
        cwd=folder,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "", "imported, though a network needs only torch"
    assert Image.open(folder / "learnt.png").size == (400, 360)


def _default_method() -> None:
    """Skip where no installed plugin has one, as with RESTOREKIT_PLUGINS=core."""
    try:
        discovery.registry().default_for("restore")
    except UserError as reason:
        pytest.skip(str(reason))
