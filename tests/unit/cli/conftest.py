"""The command line run in this process, over the installed parts and some made for its tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import skimage.data
import torch
from annotated_types import Gt
from PIL import Image
from torch import Tensor

from restorekit import discovery
from restorekit.cli import main
from restorekit.hooks import Part
from restorekit.images import Degraded
from restorekit.interfaces import Restorer
from restorekit.registries import PluginInfo, PluginProblem, RegisteredPart, Registry


class Negative(Restorer):
    """Shows the negative.

    Args:
        strength: share of the negative
            in the result, in one line of two.
    """

    def __init__(self, *, strength: Annotated[float, Gt(0)] = 1.0) -> None:
        self.strength = strength

    def restore(self, degraded: Degraded) -> Tensor:
        print("noise on standard output")
        return (1 - self.strength) * degraded.image + self.strength * (1 - degraded.image)


class Random(Restorer):
    def restore(self, degraded: Degraded) -> Tensor:
        return torch.rand_like(degraded.image)


class Double(Restorer):
    scale = 2

    def restore(self, degraded: Degraded) -> Tensor:
        return degraded.image.repeat_interleave(2, -1).repeat_interleave(2, -2)


class Guided(Restorer):
    """The reference's mean where the mask is white, and the PSF's peak elsewhere."""

    uses = frozenset({"psf", "mask", "reference"})

    def restore(self, degraded: Degraded) -> Tensor:
        mask = degraded.need("mask")
        return mask * degraded.need("reference").mean() + (1 - mask) * degraded.need("psf").amax() * torch.ones_like(degraded.image)


class Faulty(Restorer):
    def restore(self, degraded: Degraded) -> Tensor:
        raise ZeroDivisionError("a fault\nof two lines")


class Interrupted(Restorer):
    def restore(self, degraded: Degraded) -> Tensor:
        raise KeyboardInterrupt


def part(target: type, name: str, **more: str) -> RegisteredPart:
    record = Part("restorer", name, f"{__name__}:{target.__name__}", summary=f"does {name}", paper="textbook", licence="MIT", **more)
    return RegisteredPart(record, "test", "restorekit-test", "1.2", 1)


PARTS = (
    part(Negative, "negative", default_for="restore", renamed_from="inverse"),
    part(Random, "random"),
    part(Double, "double"),
    part(Guided, "guided"),
    part(Faulty, "faulty"),
    part(Interrupted, "interrupted"),
)


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Outcome]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The installed parts without their default method, and those of this file."""
    installed = discovery.registry()
    found = Registry(
        [*(p for p in installed.parts if not p.part.default_for), *PARTS],
        [*installed.plugins, PluginInfo("test", "restorekit-test", "1.2", 1, len(PARTS))],
        [PluginProblem("sick", "restorekit-sick", "0.3", "import", "importing sick failed: ModuleNotFoundError: No module named 'x'.")],
    )
    monkeypatch.setattr(discovery, "registry", lambda: found)
    return found


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], registry: Registry) -> Run:
    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return Outcome(code, shown.out, shown.err)

    return call


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "cat.png"
    path.parent.mkdir()
    Image.fromarray(skimage.data.chelsea()[60:150, 120:220]).save(path)
    return path
