"""Importers that somebody else's plugin brings: what core does with what they return."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import restorekit as rk
from restorekit.hooks import Part
from restorekit.importing import convert
from restorekit.registries import PluginInfo, RegisteredPart, Registry

PLUGIN = """
from typing import Annotated

from annotated_types import Ge
from restorekit.interfaces import Generator, Imported
from torch import nn


class Net(Generator):
    local = True

    def __init__(self, *, width: Annotated[int, Ge(1)] = 4, sharp: bool = True) -> None:
        super().__init__()
        self.sharp = sharp
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Conv2d(width, 3, 1)
        self.register_buffer("grid", self.stem.weight.new_ones(2), persistent=False)

    def forward(self, x, given=None):
        return x + self.head(self.norm(self.stem(x))) * self.grid[0]


def from_keras(tensors, options):
    kernel = tensors.get("conv2d/kernel")
    if kernel is None:
        return None
    names = {"stem.weight": "conv2d/kernel", "head.weight": "out/kernel", "head.bias": "out/bias"}
    names |= {"norm.weight": "bn/gamma", "norm.bias": "bn/beta", "norm.running_mean": "bn/mean", "norm.running_var": "bn/variance"}
    changed = {ours: tensors[names[ours]].permute(3, 2, 0, 1) for ours in ("stem.weight", "head.weight") if names[ours] in tensors}
    changed["norm.num_batches_tracked"] = tensors["bn/gamma"].new_zeros((), dtype=tensors["step"].dtype)
    return Imported({"width": kernel.shape[3]}, names, changed, {"step": "a counter"})


def never(tensors, options):
    raise RuntimeError("no idea")
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    (tmp_path / "strange.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    parts = [
        Part("generator", name, "strange:Net", importer=importer)
        for name, importer in (("net", "strange:from_keras"), ("bad", "strange:never"), ("lost", "strange:nowhere"), ("none", ""))
    ]
    return Registry(
        [RegisteredPart(part, "mine", "restorekit-mine", "2.1", 1) for part in parts], [PluginInfo("mine", "restorekit-mine", "2.1", 1, 4)]
    )


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    drawn = torch.Generator().manual_seed(0)
    shapes = {
        "conv2d/kernel": (3, 3, 3, 5),
        "out/kernel": (1, 1, 5, 3),
        "out/bias": (3,),
        "bn/gamma": (5,),
        "bn/beta": (5,),
        "bn/mean": (5,),
    }
    found = {name: torch.randn(shape, generator=drawn) for name, shape in shapes.items()}
    return {**found, "bn/variance": torch.rand(5, generator=drawn) + 0.5, "step": torch.tensor(9)}


def test_a_plugins_importer_makes_a_model(registry: Registry, tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "keras.safetensors")
    before = torch.get_rng_state()
    made = convert(tmp_path / "keras.safetensors", "mine/net", {"sharp": False}, registry=registry)
    assert torch.equal(torch.get_rng_state(), before)
    assert (made.part, made.told, made.assumed, made.dropped) == ("mine/net", {"width": 5}, {}, {"a counter": ("step",)})
    model = rk.load(made.model.save(tmp_path / "model.safetensors"), registry=registry)
    assert model.provenance["distributions"] == {"mine": "restorekit-mine==2.1"}
    assert model.recipe.content["generator"] == {"part": "mine/net", "width": 5, "sharp": False}
    image = torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(1))
    maps = torch.nn.functional.conv2d(image, tensors["conv2d/kernel"].permute(3, 2, 0, 1), padding=1)
    norm = [tensors[f"bn/{name}"][:, None, None] for name in ("mean", "variance", "gamma", "beta")]
    maps = (maps - norm[0]) / (norm[1] + 1e-5).sqrt() * norm[2] + norm[3]
    expected = image + torch.einsum("nchw,co->nohw", maps, tensors["out/kernel"][0, 0]) + tensors["out/bias"][:, None, None]
    torch.testing.assert_close(model.restore(image), expected.clamp(0, 1), atol=1e-5, rtol=0)


def test_a_model_made_of_a_checkpoint_can_be_trained_on(registry: Registry, tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    from restorekit.engine.initial import start_from

    save_file(tensors, tmp_path / "keras.safetensors")
    model = convert(tmp_path / "keras.safetensors", "mine/net", registry=registry).model
    recipe = rk.recipe({"recipe": 1, "generator": {"part": "mine/net", "width": 5}, "losses": ["core/l1"]})
    network = registry.create("generator", "mine/net", width=5)
    start_from(model, recipe, {"generator": network})
    assert torch.equal(network.stem.weight, tensors["conv2d/kernel"].permute(3, 2, 0, 1))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine/bad", r"the importer of mine/bad does not understand it: RuntimeError: no idea"),
        (
            "mine/lost",
            r"the importer of mine/lost cannot be loaded: strange:nowhere: AttributeError: .*Reinstall or update restorekit-mine",
        ),
        ("mine/none", r"mine/none has no importer of other people's checkpoints; those that have: mine/bad, mine/lost, mine/net"),
        ("mine/nett", r"no generator called 'mine/nett'. Did you mean mine/net"),
    ],
)
def test_what_an_importer_can_not_do_is_said(
    name: str, message: str, registry: Registry, tensors: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    save_file(tensors, tmp_path / "keras.safetensors")
    with pytest.raises(rk.UserError, match=message):
        convert(tmp_path / "keras.safetensors", name, registry=registry)


def test_other_importers_that_fail_do_not_hide_the_one_that_knows(
    registry: Registry, tensors: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    save_file({"unknown": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(rk.UserError, match=r"not a checkpoint of mine/net, nor of another network that can be imported; its 1 tensors"):
        convert(tmp_path / "x.safetensors", "mine/net", registry=registry)
