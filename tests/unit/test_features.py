"""Feature networks against torchvision's and timm's own maps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file
from skimage import data
from torch import Tensor, nn
from torchvision.models._api import WeightsEnum
from torchvision.transforms import v2

from restorekit import registry
from restorekit.builtin.features import AlexNet, Inception, SqueezeNet, Timm, Vgg16, Vgg19
from restorekit.errors import ConfigError, ImageError, UserError
from restorekit.interfaces import Features

NAMES = [part.name for part in registry().of_kind("features") if part.namespace == "core"]
WEIGHTS = Path(__file__).parents[2] / "../shared/data/weights/squeezenet1_0.safetensors"


def make(name: str, **options: Any) -> Features:
    example = registry().find("features", name).part.example
    assert not isinstance(example, str)
    features = registry().create("features", name, **{**example, **options})
    assert isinstance(features, Features)
    return features


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def normalised(image: Tensor) -> Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return (image - mean) / std


@contextlib.contextmanager
def recorded(modules: dict[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Outputs of modules, copied before the next one can overwrite them."""
    maps: dict[str, Tensor] = {}

    def hook(name: str) -> Any:
        return lambda module, arguments, output: maps.__setitem__(name, output.detach().clone())

    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    yield maps
    for handle in handles:
        handle.remove()


def same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("name", NAMES)
def test_frozen_deterministic_and_lazy(name: str) -> None:
    before = torch.get_rng_state()
    features = make(name)
    assert torch.equal(torch.get_rng_state(), before), "the global random state was touched"
    assert not any(p.requires_grad for p in features.parameters())
    features.train()
    assert not any(module.training for module in features.modules())

    first, last = features.layers[0], features.layers[-1]
    grey = picture(2, 1, 96, 96).requires_grad_()
    maps = features(grey, [last, first])
    assert list(maps) == [last, first]
    assert maps[first].ndim == 4
    assert torch.equal(features(grey.expand(-1, 3, -1, -1), [first])[first], maps[first])
    maps[first].mean().backward()
    assert grey.grad is not None
    assert grey.grad.any()

    ran = []
    for module in features.modules():
        if next(module.children(), None) is None:
            module.register_forward_hook(lambda module, arguments, output: ran.append(module))
    features(grey.detach(), [first])
    shallow = len(ran)
    ran.clear()
    features(grey.detach(), [last])
    assert shallow < len(ran) / 2, "the network ran deeper than the layer asked for"


@pytest.mark.parametrize("name", NAMES)
def test_random_weights_follow_the_seed(name: str) -> None:
    one, again, other = (make(name, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_layer(name: str) -> None:
    features = make(name)
    with pytest.raises(UserError, match=f"no layer 'nosuch'.*Layers: {features.layers[0]}"):
        features(picture(1, 3, 96, 96), ["nosuch"])


@pytest.mark.parametrize("name", NAMES)
def test_neither_grey_nor_rgb(name: str) -> None:
    features = make(name)
    with pytest.raises(ImageError, match="1 or 3"):
        features(picture(1, 4, 96, 96), features.layers[:1])


def test_near_miss_is_suggested() -> None:
    with pytest.raises(UserError, match="Did you mean conv3_3"):
        make("core/vgg16")(picture(1, 3, 32, 32), ["conv_3_3"])


@pytest.mark.parametrize(
    ("name", "reference", "indices"),
    [
        ("core/vgg19", "vgg19", {"conv1_1": 0, "relu1_1": 1, "pool1": 4, "conv3_3": 14, "relu3_4": 17, "conv4_2": 21, "pool5": 36}),
        ("core/vgg16", "vgg16", {"conv1_2": 2, "relu1_2": 3, "conv3_3": 14, "relu3_3": 15, "pool3": 16, "relu4_3": 22, "relu5_3": 29}),
    ],
)
def test_vgg_equals_torchvision(name: str, reference: str, indices: dict[str, int], tmp_path: Path) -> None:
    with torch.device("meta"):
        network = getattr(torchvision.models, reference)(weights=None, init_weights=False)
    trunk = network.features.to_empty(device="cpu")
    rng = torch.Generator().manual_seed(0)
    for parameter in trunk.parameters():
        nn.init.normal_(parameter, std=0.02 if parameter.ndim == 1 else (2 / parameter[0].numel()) ** 0.5, generator=rng)
    state = {f"features.{k}": v for k, v in trunk.state_dict().items()} | {"classifier.6.bias": torch.zeros(1000)}
    save_file(state, tmp_path / "vgg.safetensors")
    features = make(name, weights=str(tmp_path / "vgg.safetensors"))
    image = picture(1, 3, 40, 48)
    with recorded({layer: trunk[i] for layer, i in indices.items()}) as wanted, torch.no_grad():
        trunk(normalised(image))
    same(features(image, list(indices)), wanted)


@pytest.mark.parametrize("network", [Vgg16, Vgg19])
def test_average_pooling(network: type[Vgg16 | Vgg19]) -> None:
    image = picture(1, 3, 32, 32)
    found = network(weights="random", pooling="average")(image, ["relu1_2", "pool1", "pool5"])
    torch.testing.assert_close(found["pool1"], nn.functional.avg_pool2d(found["relu1_2"], 2))
    assert not torch.equal(found["pool1"], network(weights="random")(image, ["pool1"])["pool1"])


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_squeezenet_equals_torchvision(version: Any, tmp_path: Path) -> None:
    network = getattr(torchvision.models, f"squeezenet{version.replace('.', '_')}")(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "squeezenet.pth")
    features = SqueezeNet(weights=str(tmp_path / "squeezenet.pth"), version=version)
    image = picture(2, 3, 64, 72)
    with recorded({f"features.{i}": m for i, m in enumerate(network.features)}) as wanted, torch.no_grad():
        network(normalised(image))
    same(features(image, features.layers), wanted)


def test_alexnet_equals_torchvision(tmp_path: Path) -> None:
    with torch.device("meta"):
        trunk = torchvision.models.alexnet(weights=None).features
    trunk.to_empty(device="cpu")
    rng = torch.Generator().manual_seed(0)
    for parameter in trunk.parameters():
        nn.init.normal_(parameter, std=0.02 if parameter.ndim == 1 else (2 / parameter[0].numel()) ** 0.5, generator=rng)
    save_file({f"features.{name}": value for name, value in trunk.state_dict().items()}, tmp_path / "alexnet.safetensors")
    features = AlexNet(weights=str(tmp_path / "alexnet.safetensors"))
    image = picture(2, 3, 64, 80)
    with recorded({f"features.{i}": m for i, m in enumerate(trunk)}) as wanted, torch.no_grad():
        x = normalised(image)
        for module in trunk:
            x = module(x.clone())  # its ReLUs work in place
    same(features(image, features.layers), wanted)


def test_trained_squeezenet_knows_a_cat() -> None:
    if not WEIGHTS.is_file():
        pytest.skip("needs ../shared/data/weights/squeezenet1_0.safetensors")
    features = SqueezeNet(weights=str(WEIGHTS))
    network = torchvision.models.squeezenet1_0(weights=None).eval()
    network.load_state_dict(load_file(WEIGHTS))
    small = v2.functional.center_crop(v2.functional.resize(Image.fromarray(data.chelsea()), [256]), [224, 224])
    image = v2.functional.pil_to_tensor(small)[None] / 255
    with recorded({f"features.{i}": m for i, m in enumerate(network.features)}) as wanted, torch.no_grad():
        whole = network(normalised(image)).softmax(1)
    maps = features(image, features.layers)
    same(maps, wanted)
    chances = network.classifier(maps["features.12"]).flatten(1).softmax(1)
    torch.testing.assert_close(chances, whole)
    assert chances.argmax().item() == 285, "Egyptian cat"
    assert chances.max().item() == pytest.approx(0.71, abs=0.01)


def test_inception_equals_torchvision(tmp_path: Path) -> None:
    with torch.device("meta"):
        network = torchvision.models.inception_v3(weights=None, aux_logits=True, transform_input=True, init_weights=False).eval()
    network.to_empty(device="cpu")
    rng = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
            nn.init.uniform_(module.running_mean, -0.1, 0.1, generator=rng)
        elif isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=(2 / module.weight[0].numel()) ** 0.5, generator=rng)
    save_file(network.state_dict(), tmp_path / "inception.safetensors")
    features = Inception(weights=str(tmp_path / "inception.safetensors"))
    assert features.layers[0] == "Conv2d_1a_3x3"
    image = picture(1, 3, 80, 96)
    modules = {k: m for k, m in network.named_children() if k not in ("AuxLogits", "dropout", "fc")}
    with recorded(modules) as wanted, torch.no_grad():
        network(normalised(image))
    same(features(image, features.layers), wanted)
    assert wanted["avgpool"].shape == (1, 2048, 1, 1)


@pytest.mark.parametrize("network", ["resnet10t", "test_efficientnet", "test_convnext"])
def test_timm_equals_its_own_pyramid(network: str) -> None:
    features = Timm(network=network, weights="random")
    reference = timm.create_model(network, pretrained=False, features_only=True).eval()
    # The reference writes stages.0 as stages_0.
    state = {name.replace(".", "_"): value for name, value in features.trunk.state_dict().items()}
    reference.load_state_dict({name: state[name.replace(".", "_")] for name in reference.state_dict()})
    assert features.layers == tuple(reference.feature_info.module_name())
    image = picture(2, 3, 96, 96)
    config = features.trunk.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        wanted = dict(zip(features.layers, reference((image - mean) / std), strict=True))
    same(features(image, features.layers), wanted)
    last = features.layers[-1]
    assert features(image, [last, last]).keys() == {last}
    assert features(image, []) == {}


def test_timm_transformer_maps_and_size() -> None:
    features = Timm(network="vit_tiny_patch16_224", weights="random")
    assert features(picture(1, 3, 224, 224), features.layers[:1])[features.layers[0]].ndim == 4
    with pytest.raises(ImageError, match="refuses an image of 64×48"):
        features(picture(1, 3, 48, 64), features.layers[:1])


def test_timm_from_a_file(tmp_path: Path) -> None:
    source = timm.create_model("resnet10t", pretrained=False)
    save_file(source.state_dict(), tmp_path / "resnet.safetensors")
    features = Timm(network="resnet10t", weights=str(tmp_path / "resnet.safetensors"))
    assert torch.equal(features.trunk.layer1[0].conv1.weight, source.layer1[0].conv1.weight)
    with pytest.raises(UserError, match=r"resnet.safetensors does not fit this network: it lacks"):
        Timm(network="test_vit", weights=str(tmp_path / "resnet.safetensors"))


def test_timm_unknown_network() -> None:
    with pytest.raises(UserError, match="Did you mean resnet50"):
        Timm(network="resnet_50", weights="random")


def test_timm_network_without_listed_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", lambda *arguments, **options: nn.Identity())
    with pytest.raises(ConfigError, match="network: resnet10t does not list its features"):
        make("core/timm")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("core/vgg19", "vgg19-dcbb9e9d.pth"),
        ("core/vgg16", "vgg16-397923af.pth"),
        ("core/squeezenet", "squeezenet1_0-b66bff10.pth"),
        ("core/alexnet", "alexnet-owt-7be5be79.pth"),
        ("core/inception", "inception_v3_google-0cc3c7bd.pth"),
    ],
)
def test_no_network_for_the_download(name: str, file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(self: WeightsEnum, *arguments: Any, **options: Any) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError) as caught:
        registry().create("features", name)
    message = str(caught.value)
    assert str(tmp_path / "checkpoints" / file) in message
    assert f"fetch https://download.pytorch.org/models/{file}" in message
    assert "weights: FILE" in message
    assert "weights: random" in message
    assert "Name or service not known" in message


def test_downloaded_weights_are_loaded_without_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    network = torchvision.models.squeezenet1_0(weights=None)
    asked: dict[str, Any] = {}

    def downloaded(self: WeightsEnum, **options: Any) -> dict[str, Tensor]:
        asked.update(options)
        return network.state_dict()

    monkeypatch.setattr(WeightsEnum, "get_state_dict", downloaded)
    features = registry().create("features", "core/squeezenet")
    assert features.weights == "imagenet"
    assert torch.equal(features.stages[0].weight, network.features[0].weight)
    assert asked["weights_only"] is True
    assert asked["check_hash"] is True


def test_no_network_for_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: Any, **options: Any) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(UserError, match=r"resnet10t could not be loaded \(Name or service.*weights: FILE.*weights: random"):
        Timm(network="resnet10t")


def test_weights_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file 'imagnet'. Did you mean imagenet"):
        SqueezeNet(weights="imagnet")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(UserError, match=r"broken.safetensors cannot be read"):
        SqueezeNet(weights=str(broken))
    text = tmp_path / "weights.txt"
    text.write_text("hello")
    with pytest.raises(UserError, match=r"weights.txt is of an unknown format; expected imagenet, random"):
        SqueezeNet(weights=str(text))
    other = tmp_path / "other.safetensors"
    save_file({"features.0.weight": torch.zeros(96, 3, 7, 7)}, other)
    with pytest.raises(UserError, match=r"other.safetensors does not fit this network: it lacks 49 tensors, such as features.0.bias"):
        SqueezeNet(weights=str(other))


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path(self.path),))

    def __init__(self, path: Path) -> None:
        self.path = str(path)


def test_pickles_run_no_code(tmp_path: Path) -> None:
    torch.save({"features.0.weight": Payload(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match=r"evil.pth cannot be read"):
        SqueezeNet(weights=str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


def test_image_too_small_for_a_deep_layer() -> None:
    features = make("core/vgg16")
    assert features(picture(1, 3, 8, 8), ["pool3"])["pool3"].shape[-1] == 1
    with pytest.raises(ImageError, match=r"8×8, too small for layer pool4; 32×32 suffices"):
        features(picture(1, 3, 8, 8), ["pool5"])
    inception = make("core/inception")
    with pytest.raises(ImageError, match="75×75 suffices"):
        inception(picture(1, 3, 20, 20), ["avgpool"])
    assert inception(picture(1, 3, 75, 75), ["avgpool"])["avgpool"].shape == (1, 2048, 1, 1)
