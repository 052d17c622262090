"""Methods with one fault each, tiny photographs and suites over them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor

from restorekit import discovery
from restorekit.hooks import Part
from restorekit.images import Degraded
from restorekit.interfaces import Metric, Restorer
from restorekit.registries import PluginInfo, RegisteredPart, Registry

WriteSuite = Callable[..., str]


class Smooth(Restorer):
    """A 3×3 mean."""

    calls = 0

    def restore(self, degraded: Degraded) -> Tensor:
        Smooth.calls += 1
        padded = torch.nn.functional.pad(degraded.image, (1, 1, 1, 1), mode="replicate")
        return torch.nn.functional.avg_pool2d(padded, 3, 1)


class Oracle(Restorer):
    """Takes the noise away that it is told."""

    uses = frozenset({"noise", "sigma"})

    def restore(self, degraded: Degraded) -> Tensor:
        sigma = degraded.need("sigma").view(-1, 1, 1, 1)
        return (degraded.image - sigma * degraded.need("noise")).clamp(0, 1)


class Random(Restorer):
    def restore(self, degraded: Degraded) -> Tensor:
        return torch.rand_like(degraded.image)


class Spoiler(Restorer):
    """Writes into its input."""

    def restore(self, degraded: Degraded) -> Tensor:
        return degraded.image.mul_(0.9)


class NotANumber(Restorer):
    def restore(self, degraded: Degraded) -> Tensor:
        return torch.full_like(degraded.image, torch.nan)


class Half(Restorer):
    def restore(self, degraded: Degraded) -> Tensor:
        return degraded.image[..., ::2, ::2]


class Grey(Restorer):
    def restore(self, degraded: Degraded) -> Tensor:
        return degraded.image.mean(1, keepdim=True)


class Levels(Restorer):
    """From 0 to 255."""

    def restore(self, degraded: Degraded) -> Tensor:
        return degraded.image * 255


class Bytes(Restorer):
    def restore(self, degraded: Degraded) -> Tensor:
        return degraded.image.mul(255).byte()


class Landscape(Restorer):
    """Breaks down on pictures that are not square."""

    def restore(self, degraded: Degraded) -> Tensor:
        if degraded.image.shape[-1] != degraded.image.shape[-2]:
            raise RuntimeError("square | pictures\nonly")
        return degraded.image


class Homesick(Restorer):
    """Fits no device."""

    def restore(self, degraded: Degraded) -> Tensor:
        return degraded.image

    def to(self, device: torch.device | str) -> Self:
        raise torch.OutOfMemoryError("no room")


class Filler(Restorer):
    """Fills what is missing with grey."""

    uses = frozenset({"mask"})

    def restore(self, degraded: Degraded) -> Tensor:
        mask = degraded.need("mask")
        return degraded.image * (1 - mask) + 0.5 * mask


class AbsoluteError(Metric):
    higher_is_better = False

    def forward(self, restored: Tensor, target: Tensor | None = None) -> Tensor:
        assert target is not None
        return (restored - target).abs().mean((1, 2, 3))


RESTORERS = (Smooth, Oracle, Random, Spoiler, NotANumber, Half, Grey, Levels, Bytes, Landscape, Homesick, Filler)


@pytest.fixture(scope="session")
def registry() -> Registry:
    found = discovery.registry()
    records = [Part("restorer", c.__name__.lower(), f"{__name__}:{c.__name__}", paper="none", licence="MIT") for c in RESTORERS]
    records.append(Part("metric", "error", f"{__name__}:AbsoluteError"))
    records.append(Part("generator", "box", "restorekit.builtin.network:Box", paper="the box paper", licence="the box licence"))
    return Registry(
        [*found.parts, *(RegisteredPart(record, "test", "test-plugin", "1.0", 1) for record in records)],
        [*found.plugins, PluginInfo("test", "test-plugin", "1.0", 1, len(records))],
        found.problems,
    )


@pytest.fixture
def calls() -> Callable[[], int]:
    """How often ``test/smooth`` has been called since the test began."""
    before = Smooth.calls
    return lambda: Smooth.calls - before


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    Image.fromarray(skimage.data.astronaut()[:64, 180:244]).save(folder / "face.png")
    Image.fromarray(skimage.data.coffee()[100:156, 200:272]).save(folder / "cup.png")
    return folder


@pytest.fixture
def write_suite(photographs: Path) -> WriteSuite:
    def write(path: Path, **changes: Any) -> str:
        content: dict[str, Any] = {
            "suite": 1,
            "data": {"images": str(photographs)},
            "degradations": {
                "weak": {"part": "core/gaussian-noise", "sigma": 0.05},
                "strong": {"part": "core/gaussian-noise", "sigma": 0.2},
            },
            "metrics": ["core/psnr", "core/ssim"],
            **changes,
        }
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))  # JSON is YAML
        return str(path)

    return write


@pytest.fixture
def suite(tmp_path: Path, write_suite: WriteSuite) -> str:
    return write_suite(tmp_path / "tiny.yaml")


@pytest.fixture
def means() -> Callable[[str, str], dict[str, list[str]]]:
    """Cells of the table under a heading of a Markdown page, by method."""

    def read(page: str, heading: str) -> dict[str, list[str]]:
        section = page.split(f"## {heading}\n")[1].split("## ")[0]
        lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if line.startswith("|")]
        column = lines[0].index("method")
        return {line[column]: line for line in lines[2:]}

    return read
