"""LPIPS against the package ``lpips``, with the same backbone on both sides."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lpips
import pytest
import torch
from safetensors.torch import save_file
from skimage import data
from torch import Tensor, nn
from torchmetrics.functional.image import lpips as by_torchmetrics
from torchvision import models

from restorekit import registry
from restorekit.builtin.perceptual import LAYERS, Lpips
from restorekit.errors import ConfigError, ImageError, MissingPackage, UserError

BUILDERS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}
WEIGHTS = Path(__file__).parents[2] / "../shared/data/weights/squeezenet1_0.safetensors"


def drawn(network: str) -> nn.Sequential:
    """A backbone by torchvision with weights that are the same each time."""
    with torch.device("meta"):
        trunk: nn.Sequential = getattr(models, BUILDERS[network])(weights=None).features
    trunk.to_empty(device="cpu")
    rng = torch.Generator().manual_seed(0)
    for value in trunk.parameters():
        nn.init.normal_(value, std=0.02 if value.ndim == 1 else (2 / value[0].numel()) ** 0.5, generator=rng)
    return trunk


@pytest.fixture(scope="module", params=sorted(BUILDERS))
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Any]:
    """A network, a file with weights for it, and the package's LPIPS with the same weights."""
    trunk = drawn(request.param)
    file = tmp_path_factory.mktemp("lpips") / f"{request.param}.safetensors"
    save_file({f"features.{name}": value for name, value in trunk.state_dict().items()}, file)
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.setattr(lpips.pretrained_networks.tv, BUILDERS[request.param], lambda pretrained: SimpleNamespace(features=trunk))
        return request.param, file, lpips.LPIPS(net=request.param, pnet_rand=True, verbose=False)


def pictures() -> tuple[Tensor, Tensor]:
    target = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None]
    target = torch.cat([target[..., :100, 100:220], target[..., 100:200, 200:320]]).float() / 255
    noisy = target + 0.1 * torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    return noisy.clamp(0, 1).mul(255).round() / 255, target


@torch.no_grad()
def test_it_is_what_the_package_gives(both: tuple[str, Path, Any]) -> None:
    network, file, theirs = both
    restored, target = pictures()
    found = Lpips(network=network, weights=str(file))(restored, target)  # type: ignore[arg-type]
    wanted = theirs(restored, target, normalize=True).flatten()
    assert wanted.min() > 0.01
    torch.testing.assert_close(found, wanted.double(), rtol=1e-5, atol=0)
    assert Lpips(network=network, weights=str(file))(target, target).tolist() == [0, 0]  # type: ignore[arg-type]


@torch.no_grad()
def test_the_linear_layers_are_those_of_torchmetrics_too(both: tuple[str, Path, Any]) -> None:
    network, file, _ = both
    ours = Lpips(network=network, weights=str(file))  # type: ignore[arg-type]
    folder = Path(by_torchmetrics.__file__).parent / "lpips_models"
    state = torch.load(folder / f"{network}.pth", map_location="cpu", weights_only=True)
    assert len(ours.linear) == len(state) == len(LAYERS[network])
    for found, wanted in zip(ours.linear, state.values(), strict=True):
        assert torch.equal(found, wanted)


def test_the_definition_says_network_version_and_weights(both: tuple[str, Path, Any]) -> None:
    network, file, _ = both
    found = Lpips(network=network, weights=str(file)).definition  # type: ignore[arg-type]
    assert found.startswith(f"LPIPS 0.1, network {network}: ")
    assert file.name in found
    assert str(file.parent) not in found, "where it lies says nothing elsewhere"
    other = Lpips(network=network, weights="random").definition  # type: ignore[arg-type]
    assert "weights random" in other
    assert other.partition("random ")[2][:12] != found.partition(f"{file.name} ")[2][:12]
    assert Lpips.downloads


def test_grey_pictures_count_as_rgb() -> None:
    metric = Lpips(network="squeeze", weights="random")
    restored, target = (image[:, :1] for image in pictures())
    torch.testing.assert_close(metric(restored, target), metric(restored.expand(-1, 3, -1, -1), target.expand(-1, 3, -1, -1)))


def test_a_network_of_another_version_is_refused() -> None:
    if not WEIGHTS.is_file():
        pytest.skip("needs ../shared/data/weights/squeezenet1_0.safetensors")
    with pytest.raises(UserError, match=r"squeezenet1_0\.safetensors does not fit this network"):
        Lpips(network="squeeze", weights=str(WEIGHTS))


def test_without_a_network_for_the_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: Any, **options: Any) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(models.AlexNet_Weights, "get_state_dict", unreachable)
    with pytest.raises(UserError, match=r"alexnet-owt-7be5be79\.pth.*weights: FILE"):
        registry().create("metric", "core/lpips")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "lpips" else find(name, *more))
    with pytest.raises(MissingPackage, match=r"pip install 'restorekit\[metrics\]'"):
        Lpips(weights="random")


def test_a_damaged_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = importlib.machinery.ModuleSpec("lpips", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(UserError, match=r"alex\.pth: the linear layers cannot be read.*--force-reinstall lpips"):
        Lpips(weights="random")


def test_what_cannot_be_built_or_scored() -> None:
    with pytest.raises(ConfigError, match=r"network.*alex"):
        registry().create("metric", "core/lpips", network="resnet")
    metric = Lpips(network="squeeze", weights="random")
    with pytest.raises(ImageError, match="8×8, too small"):
        metric(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    with pytest.raises(ImageError, match="1 or 3"):
        metric(torch.zeros(1, 4, 64, 64), torch.zeros(1, 4, 64, 64))
