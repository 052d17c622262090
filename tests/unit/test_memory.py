"""What large pictures take, measured on processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import restorekit as rk
from restorekit import config, discovery, photos

resource = pytest.importorskip("resource", reason="the peak of a process is told on Unix only")

RESTORES = """
import json, resource, sys
import torch
from restorekit import memory, photos, treatment
from restorekit.builtin.network import Box, Network
from restorekit.methods import Method

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

source, target, more = sys.argv[1:]
treated = treatment.Treatment(Method("box", "core/network", {}, Network(generator=Box())), torch.device("cpu"))
treated.apply(photos.Photo(torch.zeros(1, 3, 200, 200)), "small")
limit = peak() + int(more)
photo = treatment.read(source)
decoded = peak()
treated = treatment.Treatment(treated.method, treated.device, memory=limit)
photos.write(target, treated.apply(photo, "large"), like=photo)
print(json.dumps({"limit": limit, "decoded": decoded, "peak": peak()}))
"""


def enlarged(path: Path, megapixels: float) -> Path:
    """A photograph of so many pixels, made in steps, since filters of Pillow's look at the whole."""
    from PIL import Image

    with Image.open(photos.bundled()["coffee"]) as opened:
        width = round((megapixels * 1e6 * 1.5) ** 0.5)
        opened.convert("RGB").resize((width, round(width / 1.5)), Image.Resampling.BILINEAR).save(path, quality=90)
    return path


def test_a_limit_holds_that_the_picture_in_floats_would_exceed(tmp_path: Path) -> None:
    """Eight megapixels: input and result take 183 MiB in floats, and 23 each as they are in files."""
    source, target = enlarged(tmp_path / "large.jpg", 8), tmp_path / "out.png"
    made = subprocess.run(
        [sys.executable, "-c", RESTORES, str(source), str(target), str(170 << 20)], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    assert told["peak"] <= told["limit"], told
    assert photos.read(target).image.shape == photos.read(source).image.shape


RUNS = """
import resource, sys
from restorekit.cli import main
code = main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.parametrize("shipped", [False, True], ids=["a local network", "the shipped model"])
def test_fifty_megapixels_in_two_gigabytes(shipped: bool, tmp_path: Path) -> None:
    """The whole process, from the start of Python to the written JPEG."""
    source, target = enlarged(tmp_path / "large.jpg", 50.1), tmp_path / "out.jpg"
    options = []
    if not shipped:
        spec = {"part": "deblurgan/compact", "width": 8, "blocks": [0], "middle": 1, "attention": False}
        network = config.build_spec("generator", spec, registry=discovery.registry(), where="")
        options = ["--with", str(rk.Model(network, rk.recipe({"generator": spec})).save(tmp_path / "local.safetensors"))]
    made = subprocess.run(
        [sys.executable, "-c", RUNS, "restore", str(source), "-o", str(target), "--memory", "2G", "--device", "cpu", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert int(made.stderr.split("peak")[1]) < 2 << 30
    assert photos.read(target, whole_numbers=True).image.shape == photos.read(source, whole_numbers=True).image.shape
