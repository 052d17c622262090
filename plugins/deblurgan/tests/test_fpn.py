"""DeblurGAN-v2's generator over backbones of timm, and those that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from restorekit_deblurgan import backbones
from torch import Tensor, nn

import restorekit as rk
from restorekit.cli import main
from restorekit.recipes import Recipe

RELEASED = {"mobilenetv2_100": 128, "inception_resnet_v2": 256}


def create(**options: object) -> Any:
    return rk.registry().create("generator", "deblurgan/fpn", **{"weights": "random", "width": 8, **options})


def imagined(**options: object) -> Any:
    """Without weights, for counting."""
    with torch.device("meta"):
        return create(**options)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def drawn(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("backbone", "channels"), [("mobilenetv2_100", (16, 24, 32, 64, 160)), ("inception_resnet_v2", (32, 64, 192, 1088, 2080))]
)
def test_the_pyramid_is_that_of_the_release(backbone: str, channels: tuple[int, ...]) -> None:
    """Maps of models/fpn_mobilenet.py and models/fpn_inception.py; the rest counted layer by layer from there."""
    width = RELEASED[backbone]
    network = imagined(backbone=backbone, taps="published", width=width)
    assert network.trunk.channels == channels
    assert network.trunk.reductions == (2, 4, 8, 16, 32)
    laterals = channels[0] * width // 2 + sum(channels[1:]) * width
    top_down = 3 * (9 * width * width + width)
    head = 9 * width * width // 2 + 9 * width * width // 4
    smooth = 9 * 2 * width * width // 2 + width // 2
    refine = 9 * width // 2 * width // 4 + width // 4
    final = 9 * width // 4 * 3 + 3
    assert parameters(network) - parameters(network.trunk) == laterals + top_down + 4 * head + smooth + refine + final


def test_the_release_cuts_mobilenet_after_its_sixteenth_block() -> None:
    """A stem and sixteen numbered blocks, in timm one block less to the right: 0 to 1, to 3, to 6, to 10, to 15."""
    stages = imagined(backbone="mobilenetv2_100", taps="published").trunk.network.stages
    assert [len(stage) for stage in stages] == [2 + 1, 2, 3, 4, 5]


def test_published_maps_are_mirrored_to_the_grid() -> None:
    """The release frames Inception's maps, which are 1, 2, 3, 2 and 2 pixels short, by (0, 1), (1, 1), (1, 2), (1, 1) and (1, 1)."""
    network = create(backbone="inception_resnet_v2", taps="published").eval()
    frames = {2: (0, 1, 0, 1), 4: (1, 1, 1, 1), 8: (1, 2, 1, 2), 16: (1, 1, 1, 1), 32: (1, 1, 1, 1)}
    with torch.no_grad():
        maps = network.trunk(drawn(1, 3, 128, 160))
        for reduction, found in zip(network.trunk.reductions, maps, strict=True):
            expected = nn.functional.pad(found, frames[reduction], mode="reflect")
            assert expected.shape[-2:] == (128 // reduction, 160 // reduction)
            torch.testing.assert_close(network._to_grid(found, 128 // reduction, 160 // reduction), expected)


def test_images_are_normalised_as_the_backbone_expects() -> None:
    seen: list[Tensor] = []
    for taps in ("timm", "published"):
        network = create(taps=taps).eval()
        network.trunk.network.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        with torch.no_grad():
            network(torch.full((1, 3, 64, 64), 0.485))
    torch.testing.assert_close(seen[0][0, :, 0, 0], torch.tensor([0.0, (0.485 - 0.456) / 0.224, (0.485 - 0.406) / 0.225]))
    torch.testing.assert_close(seen[1][0, :, 0, 0], torch.full((3,), 2 * 0.485 - 1))


def test_starts_near_the_image_and_stays_in_range() -> None:
    network, image = create(backbone="test_resnet").eval(), drawn(2, 3, 64, 96)
    with torch.no_grad():
        made = network(image)
        assert (made - image).abs().max() < 0.5
        network.final.bias.fill_(5)
        torch.testing.assert_close(network(image), (image + torch.tanh(torch.tensor(5.0)) / 2).clamp(0, 1), atol=0.05, rtol=0)
        assert network(image).max() <= 1


@pytest.mark.parametrize("backbone", ["test_byobnet", "test_convnext", "test_efficientnet", "test_mambaout", "test_nfnet", "test_resnet"])
def test_takes_backbones_of_many_families(backbone: str) -> None:
    """With a map at half resolution and without, channels first and last."""
    network = create(backbone=backbone).eval()
    shapes = [tuple(found.shape[1:]) for found in network.trunk(drawn(1, 3, 64, 96))]
    assert shapes == [(c, 64 // r, 96 // r) for c, r in zip(network.trunk.channels, network.trunk.reductions, strict=True)]
    assert network(drawn(1, 3, 64, 96)).shape == (1, 3, 64, 96)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "mobilenetv2_10"}, r"backbone: timm .* has no network 'mobilenetv2_10'\. Did you mean .*mobilenetv2_100"),
        ({"backbone": "vit_tiny_patch16_224"}, r"vit_tiny_patch16_224 has no map at 1/4 or 1/8 or 1/32 of the resolution, only at 1/16"),
        ({"backbone": "test_coatnet"}, r"test_coatnet: it does not take photographs of any size"),
        ({"taps": "published", "backbone": "resnet18"}, r"taps=published is for .*mobilenetv2_100, not resnet18; leave taps at timm"),
        ({"weights": "nowhere.pth"}, r"weights: no file 'nowhere\.pth'; expected imagenet, random, or a file"),
        ({"width": 10}, r"width: 10 is no multiple of 4"),
    ],
)
def test_what_cannot_be_built_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(rk.UserError, match=message):
        create(**options)


def test_a_backbone_without_features_only_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As timm answers for those; which ones changes with its version, and the newest has none."""

    def create_model(name: str, **options: object) -> None:
        raise RuntimeError("features_only not implemented for Vision Transformer models.")

    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(rk.UserError, match=r"backbone: resnet18 cannot be read at its layers \(timm's features_only\): features_only not"):
        create(backbone="resnet18")


@pytest.mark.parametrize(("backbone", "smallest"), [("test_resnet", 64), ("inception_resnet_v2", 128)])
def test_the_smallest_image_works_in_training_and_less_does_not(backbone: str, smallest: int) -> None:
    network = create(backbone=backbone)
    assert network.size.minimum == smallest
    assert network.training
    with torch.no_grad():
        assert torch.isfinite(network(drawn(1, 3, smallest, smallest))).all()
    with pytest.raises((RuntimeError, ValueError)):
        network(drawn(1, 3, smallest - 32, smallest - 32))


def save(path: Path, **options: object) -> Path:
    spec = {"part": "deblurgan/fpn", "backbone": "test_resnet", "weights": "random", "taps": "timm", "width": 8, **options}
    network = create(**{key: value for key, value in spec.items() if key not in ("part", "weights")}).eval()
    return rk.Model(network, Recipe({"generator": spec})).save(path)


def test_a_photograph_that_is_too_small_is_refused_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = save(tmp_path / "model.safetensors")
    Image.new("RGB", (63, 200)).save(tmp_path / "small.png")
    out = tmp_path / "out.png"
    assert main(["restore", str(tmp_path / "small.png"), "-o", str(out), "--with", str(model)]) == 2
    assert "image is 63×200; this network needs at least 64×64 pixels" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_a_trained_model_is_loaded_without_asking_for_the_backbones_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = save(tmp_path / "model.safetensors", weights="imagenet")
    asked = []
    create_model = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda *args, **options: asked.append(options["pretrained"]) or create_model(*args, **options)
    )
    rk.load(model)
    assert asked
    assert not any(asked)


def test_weights_of_the_backbone_come_from_a_file(tmp_path: Path) -> None:
    trained = timm.create_model("test_resnet", pretrained=False)
    path = tmp_path / "backbone.pth"
    torch.save(trained.state_dict(), path)
    network = create(backbone="test_resnet", weights=str(path))
    theirs = trained.state_dict()
    ours = network.trunk.network.state_dict()
    assert ours
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(timm.create_model("test_efficientnet", pretrained=False).state_dict(), path)
    with pytest.raises(rk.UserError, match=r"weights: .*other\.pth of test_resnet could not be loaded \(.*Give a file with weights: FILE"):
        create(backbone="test_resnet", weights=str(path))


def test_the_released_backbones_are_in_timm() -> None:
    assert all(timm.is_model(name) for name in backbones._RELEASED)
    assert set(backbones._RELEASED) == set(RELEASED)
