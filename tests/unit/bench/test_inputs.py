from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch
from PIL import Image
from torch import Tensor

from restorekit import bench, photos
from restorekit.bench import outside
from restorekit.bench.inputs import Inputs
from restorekit.bench.suite import load
from restorekit.errors import UserError
from restorekit.hooks import Part
from restorekit.images import Degraded
from restorekit.interfaces import Degradation
from restorekit.registries import RegisteredPart, Registry

WriteSuite = Callable[..., str]


def test_blur_sees_the_photograph_around_the_target(tmp_path: Path, photographs: Path, registry: Registry, write_suite: WriteSuite) -> None:
    suite = write_suite(
        tmp_path / "shake.yaml",
        data={"images": str(photographs), "crop": 40},
        degradations={"shake": [{"part": "core/camera-shake", "length": [6.0, 9.0]}], "noise": {"part": "core/gaussian-noise"}},
    )
    inputs = Inputs(load(suite, registry=registry), tmp_path / "inputs")
    seen = 0
    for cell in inputs.cells:
        pair = inputs.pair(cell)
        target, degraded = next(pair.targets()), pair.degraded
        levels = np.asarray(Image.open(photographs / cell.image)) / 255.0
        height, width = target.shape[-2:]
        assert max(height, width) == 40
        top, left = ((levels.shape[i] - size) // 2 for i, size in enumerate((height, width)))
        np.testing.assert_allclose(target[0].permute(1, 2, 0), levels[top : top + height, left : left + width], atol=1e-6)
        assert degraded.image.shape == target.shape
        if cell.degradation == "noise":
            assert degraded.params["noise"].shape == target.shape
            continue
        psf = degraded.params["psf"][0].double().numpy()
        r = psf.shape[0] // 2
        wide = levels[top - r : top + height + r, left - r : left + width + r]
        expected = np.stack([scipy.signal.convolve2d(wide[..., c], psf, "valid") for c in range(3)])
        np.testing.assert_allclose(degraded.image[0], expected, atol=1e-5)
        seen += 1
    assert seen == 2


class Reduced(Degradation):
    """Every second pixel, with a margin, a mask and a field."""

    params = ("field",)
    margin = 2
    scale = 2

    def sample(self, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> dict[str, Tensor]:
        return {"field": torch.rand(n, shape[0], -(-shape[1] // 2), -(-shape[2] // 2), generator=rng)}

    def apply(self, image: Tensor, params: Any) -> Degraded:
        small = image[..., ::2, ::2]
        return Degraded(small, mask=small[:, :1], params={**params, "field": small})


def test_margins_are_counted_in_pixels_of_the_result(tmp_path: Path, registry: Registry, write_suite: WriteSuite) -> None:
    parts = [*registry.parts, RegisteredPart(Part("degradation", "reduced", f"{__name__}:Reduced"), "test", "test-plugin", "1.0", 1)]
    suite = write_suite(tmp_path / "small.yaml", degradations={"small": "test/reduced"})
    inputs = Inputs(load(suite, registry=Registry(parts, registry.plugins)), tmp_path)
    for cell in inputs.cells:
        pair = inputs.pair(cell)
        target, degraded = next(pair.targets()), pair.degraded
        assert torch.equal(degraded.image, target[..., ::2, ::2])
        assert degraded.mask is not None
        assert torch.equal(degraded.mask, degraded.image[:, :1])
        assert torch.equal(degraded.params["field"], degraded.image)


def test_photographs_are_reduced_and_targets_have_eight_bits(
    tmp_path: Path, photographs: Path, registry: Registry, write_suite: WriteSuite
) -> None:
    suite = write_suite(tmp_path / "s.yaml", data={"images": str(photographs), "longest_side": 32})
    inputs = Inputs(load(suite, registry=registry), tmp_path)
    for cell in inputs.cells:
        with Image.open(photographs / cell.image) as opened:
            scale = 32 / max(opened.size)
            expected = opened.resize((round(opened.width * scale), round(opened.height * scale)), Image.Resampling.LANCZOS)
        target = next(inputs.pair(cell).targets())
        np.testing.assert_array_equal(target[0].permute(1, 2, 0).mul(255).numpy().round(), np.asarray(expected))


def test_a_stored_input_is_the_one_that_was_made(tmp_path: Path, suite: str, registry: Registry) -> None:
    plan = load(suite, registry=registry)
    first, second, elsewhere = (Inputs(plan, tmp_path / name) for name in ("a", "a", "b"))
    for cell in first.cells:
        made, kept, anew = first.pair(cell), second.pair(cell), elsewhere.pair(cell)
        assert made.digest == kept.digest == anew.digest
        assert torch.equal(made.degraded.image, kept.degraded.image)
        assert torch.equal(made.degraded.image, anew.degraded.image)
        assert torch.equal(next(made.targets()), next(kept.targets()))
    assert len({first.pair(cell).digest for cell in first.cells}) == len(first.cells)


def test_unusable_photographs_are_all_named_and_nothing_is_written(
    tmp_path: Path, photographs: Path, registry: Registry, write_suite: WriteSuite
) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(photographs, folder)
    (folder / "broken.png").write_bytes((folder / "face.png").read_bytes()[:500])
    Image.new("RGB", (20, 9)).save(folder / "tiny.png")
    with pytest.raises(UserError) as caught:
        bench.run_suite(write_suite(tmp_path / "s.yaml", data={"images": str(folder)}), [], tmp_path / "out", registry=registry)
    assert "broken.png" in str(caught.value)
    assert "tiny.png: 20×9 is too small" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_inputs_for_other_programs_are_what_methods_get(tmp_path: Path, registry: Registry, write_suite: WriteSuite) -> None:
    degradations = {
        "shake": [{"part": "core/camera-shake", "length": [3.0, 5.0]}, {"part": "core/gaussian-noise", "sigma": 0.02}],
        "holes": {"part": "core/mask", "shape": "boxes"},
    }
    suite = write_suite(tmp_path / "s.yaml", degradations=degradations)
    out = tmp_path / "damaged"
    assert outside.write_inputs(suite, out, sharp=True, registry=registry) == 4
    inputs = Inputs(load(suite, registry=registry), tmp_path / "inputs")
    for cell in inputs.cells:
        pair = inputs.pair(cell)
        stem = out / cell.degradation / Path(cell.image).stem
        assert (photos.read(f"{stem}.png").image - pair.degraded.image).abs().max() <= 0.5 / 255 + 1e-6
        assert torch.equal(photos.read(out / "sharp" / cell.image).image, next(pair.targets()))
        if cell.degradation == "shake":
            assert torch.equal(photos.read_psf(f"{stem}.psf.npy"), pair.degraded.params["psf"])
        else:
            assert pair.degraded.mask is not None
            assert torch.equal(photos.read_mask(f"{stem}.mask.png"), pair.degraded.mask)
    with pytest.raises(UserError, match="not empty"):
        outside.write_inputs(suite, out, registry=registry)
