"""Networks that paint: several styles in one, any style by a reference, and what they need of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from restorekit_style.adain import adapted
from torch import Tensor

import restorekit as rk
from restorekit.images import Degraded

FILTERS = {"part": "style/random-filters", "scales": 2, "channels": 32, "side": 3}


def image(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A red picture and a blue one, of different sizes."""
    folder = tmp_path_factory.mktemp("styles")
    for name, colour, size in (("a", (250, 20, 20), (40, 60)), ("b", (20, 20, 250), (70, 50))):
        Image.new("RGB", size, colour).save(folder / f"{name}.png")
    return [str(folder / "a.png"), str(folder / "b.png")]


def recipe(generator: dict[str, Any], reference: Any, **train: Any) -> rk.Recipe:
    return rk.recipe(
        {
            "recipe": 1,
            "task": "style",
            "degradation": {"part": "core/gaussian-noise", "sigma": 0.0},
            "generator": generator,
            "losses": [
                {"part": "style/content", "weight": 0.1, "features": FILTERS, "layers": ["scale2"]},
                {"part": "style/moments", "features": FILTERS, "layers": ["scale1"], "against": "reference", "relative": True},
            ],
            "data": {"train": "bundled", "crop": 32, "batch": 4, "validation_images": 1, "reference": reference},
            "train": {"steps": 40, "learning_rate": 0.01, "ema": 0.0, "precision": "fp32", "watch": False, "validate_every": 40, **train},
        }
    )


def redder(painted: Tensor) -> float:
    return float((painted[:, 0] - painted[:, 2]).mean())


def test_one_network_learns_two_styles(styles: list[str], tmp_path: Path) -> None:
    model = rk.train(recipe({"part": "style/transform-net", "width": 4, "blocks": 1, "styles": 2}, styles, steps=6))
    file = model.save(tmp_path / "two.safetensors")
    photo = image(1, 3, 30, 41, seed=1)
    made = [rk.registry().create("restorer", "core/network", file=str(file), style=i).restore(Degraded(photo)) for i in (0, 1)]
    assert made[0].shape == photo.shape
    assert not torch.allclose(made[0], made[1], atol=1e-3)
    with pytest.raises(rk.UserError, match="style: got 2; this network has 2 styles, from 0"):
        rk.registry().create("restorer", "core/network", file=str(file), style=2)


def test_a_guided_network_follows_its_reference(styles: list[str], tmp_path: Path) -> None:
    filters = tmp_path / "filters.pth"
    features = rk.registry().create("features", "core/squeezenet", weights="random", seed=3)
    torch.save({f"features.{k.removeprefix('stages.')}": v for k, v in features.state_dict().items()}, filters)
    encoder = {"part": "core/squeezenet", "weights": str(filters)}
    generator = {"part": "style/adain", "features": encoder, "layers": ["features.1"], "width": 8}
    model = rk.train(recipe(generator, str(Path(styles[0]).parent), steps=30))
    assert not any(parameter.requires_grad for parameter in model.generator.features.parameters())
    before = features.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in model.generator.features.state_dict().items()), (
        "the encoder is not trained"
    )
    file = model.save(tmp_path / "any.safetensors")
    filters.unlink()  # the model file has the encoder's weights itself
    method = rk.registry().create("restorer", "core/network", file=str(file))
    assert method.uses == {"reference"}
    photo = image(1, 3, 37, 50, seed=1)
    red, blue = (torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, 40, 44) for colour in ((1.0, 0.1, 0.1), (0.1, 0.1, 1.0)))
    made = [method.restore(Degraded(photo, reference=style)) for style in (red, blue)]
    assert made[0].shape == photo.shape
    assert redder(made[0]) > redder(made[1]) + 0.02
    with pytest.raises(rk.UserError, match="pass --reference FILE"):
        method.restore(Degraded(photo))


def test_adapted_maps_have_the_statistics_of_the_style() -> None:
    maps, style = 3 * image(2, 5, 9, 7, seed=1), image(2, 5, 4, 8, seed=2) - 0.3
    found = adapted(maps, style)
    torch.testing.assert_close(found.mean((2, 3)), style.mean((2, 3)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.std((2, 3), correction=0), style.std((2, 3), correction=0), atol=1e-3, rtol=1e-3)


def test_styles_in_one_network_share_all_but_the_norms() -> None:
    create = rk.registry().create
    one, three = (create("generator", "style/transform-net", width=4, blocks=1, styles=styles) for styles in (0, 3))
    more = {name for name, value in three.state_dict().items() if value.shape != one.state_dict()[name].shape}
    assert more
    assert all(".norm." in name for name in more)
    photo = image(3, 3, 20, 24, seed=1)
    torch.testing.assert_close(three(photo, torch.tensor([0, 1, 2])), three(photo))  # they begin alike
    with torch.no_grad():
        three.down[0].norm.bias[1] += 1
    changed = (three(photo, torch.tensor([0, 1, 2])) - three(photo)).abs().amax((1, 2, 3))
    assert changed[1] > 1e-3
    assert changed[0] == changed[2] == 0


@pytest.mark.parametrize(
    ("generator", "reference", "message"),
    [
        ({"part": "style/transform-net", "styles": 3}, ["a", "b"], "generator.classes: 3, and data.reference names 2 picture"),
        ({"part": "style/transform-net"}, "no-such.png", "data.reference: .*no-such.png: no such file"),
        ({"part": "style/adain", "features": FILTERS, "layers": ["scale1"]}, None, "data.reference: missing; this generator is guided"),
        ({"part": "style/adain", "features": FILTERS, "layers": ["scale7"]}, ["a"], "no layer scale7.*Layers: scale1, scale2"),
        ({"part": "style/transform-net"}, None, "there is none; give the style picture with --set data.reference=FILE"),
    ],
)
def test_what_is_refused(generator: dict[str, Any], reference: Any, message: str, styles: list[str]) -> None:
    given = [file for file in styles if Path(file).stem in reference] if isinstance(reference, list) else reference
    with pytest.raises(rk.UserError, match=message):
        rk.train(recipe(generator, given, steps=1))
