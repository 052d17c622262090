"""Reference pictures beside training patches: which goes with which, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from restorekit.builtin.network import Box
from restorekit.engine.references import read_references
from restorekit.engine.sources import Sources, open_sources
from restorekit.errors import TrainingError
from restorekit.interfaces import Degradation
from restorekit.registries import Registry
from restorekit.settings import DataSettings


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    for name, level, size in (("a", 40, (30, 50)), ("b", 120, (64, 20)), ("c", 200, (10, 10))):
        Image.new("L", size, level).save(tmp_path / f"{name}.png")
    return [str(tmp_path / f"{name}.png") for name in "abc"]


def opened(settings: DataSettings, *, classes: int = 0, share: tuple[int, int] = (0, 1)) -> Sources:
    import restorekit as rk

    registry: Registry = rk.registry()
    noise: Degradation = registry.create("degradation", "core/gaussian-noise", sigma=0.0)
    generator = Box()
    generator.classes = classes
    return open_sources(settings, generator=generator, degradation=noise, seed=0, device=torch.device("cpu"), share=share)


SETTINGS = DataSettings(train="bundled", crop=16, batch=6, holdout=0.3, validation_images=2, workers=0)


def test_every_patch_gets_one_and_its_number(pictures: list[str]) -> None:
    settings = replace(SETTINGS, reference=tuple(pictures), reference_side=8)
    sources = opened(settings, classes=3)
    seen = set()
    for step in range(4):
        batch = sources.patches.batch(step)
        reference = batch.degraded.reference
        assert reference is not None
        assert batch.labels is not None
        assert reference.shape == (6, 3, 8, 8)
        levels = torch.tensor([40, 120, 200])[batch.labels] / 255
        torch.testing.assert_close(reference.mean((1, 2, 3)), levels, atol=1e-3, rtol=0)
        seen |= set(batch.labels.tolist())
    assert seen == {0, 1, 2}
    assert [pair.labels.tolist() for pair in sources.pairs if pair.labels is not None] == [[0], [1]]


def test_shares_of_a_batch_have_what_the_whole_has(pictures: list[str]) -> None:
    settings = replace(SETTINGS, reference=tuple(pictures))
    whole = opened(settings).patches.batch(3).degraded.reference
    parts = [opened(settings, share=(rank, 2)).patches.batch(3).degraded.reference for rank in range(2)]
    assert whole is not None
    assert torch.equal(torch.cat([part for part in parts if part is not None]), whole)


def test_a_folder_a_file_and_nothing(pictures: list[str]) -> None:
    folder = read_references(replace(SETTINGS, reference=str(Path(pictures[0]).parent)), 0)
    single = read_references(replace(SETTINGS, reference=pictures[1]), 0)
    assert folder is not None
    assert single is not None
    assert folder.pictures.shape == (3, 3, 16, 16)
    assert torch.equal(single.pictures, folder.pictures[1:2])
    assert read_references(SETTINGS, 0) is None
    assert opened(replace(SETTINGS, reference=pictures[1])).patches.batch(0).labels is None


def test_what_is_refused(pictures: list[str], tmp_path: Path) -> None:
    (tmp_path / "d.png").write_bytes(b"no picture")
    for reference, classes, message in (
        (str(tmp_path / "e.png"), 0, r"data\.reference: .*e\.png: no such file"),
        (str(tmp_path / "d.png"), 0, r"data\.reference: .*d\.png: not an image"),
        (tuple(pictures), 2, r"generator\.classes: 2, and data\.reference names 3 picture"),
    ):
        with pytest.raises(TrainingError, match=message):
            opened(replace(SETTINGS, reference=reference), classes=classes)
