"""The page served by its own process, as a person would start it, and a browser before it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

HOSTILE_NAME = "<img src=x onerror=window.hurt=1>{{value}}${window.hurt=2}.jpg"
HOSTILE_TEXT = "<script>window.hurt=3</script><img src=x onerror=window.hurt=4>{{7*7}}${7*7}"


@dataclass(frozen=True)
class Server:
    """The page's process.

    Attributes:
        address: of the page, without a slash at its end.
        said: lines that it printed on stderr so far.
    """

    address: str
    said: list[str]


def started(folder: Path, *options: str) -> Iterator[Server]:
    """A server whose temporary files are in `folder`, from which they go when it ends."""
    command = [sys.executable, "-m", "restorekit", "ui", "--port", "0", "--device", "cpu", "--json", *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        reader = threading.Thread(target=said.extend, args=(process.stderr,))
        reader.start()
        line = process.stdout.readline()
        try:
            assert line.startswith('{"address": "http://127.0.0.1:'), (line, said)
            yield Server(json.loads(line)["address"].rstrip("/"), said)
        finally:
            process.terminate()
            code = process.wait()
            reader.join()
        assert (code, list(folder.glob("restorekit-ui-*"))) == (0, [])


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("gradio", reason="needs Gradio: pip install 'restorekit[ui]'")
    yield from started(tmp_path_factory.mktemp("server"), "--max-size", "1M", "--max-pixels", "1000000", "--rate", "1000")


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    pytest.importorskip("gradio", reason="needs Gradio: pip install 'restorekit[ui]'")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs a browser: apt-get install chromium, or name one in the environment variable CHROMIUM")
    with playwright.sync_playwright() as started_:
        opened = started_.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Files as a person has them."""
    folder = tmp_path / "given"
    folder.mkdir()
    cat = Image.fromarray(skimage.data.chelsea()[60:124, 120:200])
    tags = Image.Exif()
    tags[0x010E], tags[0x0110] = HOSTILE_TEXT, "<b>camera</b>"
    cat.save(folder / "cat.png", exif=tags, dpi=(300, 300))
    cat.save(folder / "cat.jpg", exif=tags, quality=80)
    cat.putalpha(Image.linear_gradient("L").resize(cat.size))
    cat.save(folder / "cat.webp", lossless=True)
    cat = cat.convert("L")
    cat.save(folder / "grey.tif")
    Image.fromarray(np.asarray(cat, np.uint16) * 257).save(folder / "deep.png")
    Image.fromarray(np.pad(np.full((8, 8), 255, np.uint8), ((20, 36), (30, 42)))).save(folder / "hole.png")
    np.save(folder / "psf.npy", np.full((3, 3), 1 / 9, np.float32))
    shutil.copy(folder / "cat.jpg", folder / HOSTILE_NAME)
    Image.fromarray(skimage.data.coffee()[100:164, 200:280]).save(folder / "cup.png")
    return folder
