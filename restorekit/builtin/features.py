"""Frozen networks read at named layers: torchvision's VGG, SqueezeNet and Inception, and any of timm's.

torchvision and timm are imported by the constructors, because each takes seconds that a job without
feature networks need not pay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from annotated_types import Ge
from torch import Tensor, nn

from restorekit.errors import ImageError, UserError, did_you_mean
from restorekit.interfaces import Features
from restorekit.seeding import seeded

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Convolutions in each of the five blocks of the two networks."""


def check_layers(features: Features, layers: Iterable[str]) -> None:
    """Raise a `UserError` that lists the layers of `features` unless it has all of `layers`."""
    unknown = [name for name in layers if name not in features.layers]
    if unknown:
        raise UserError(
            f"no layer {', '.join(map(repr, unknown))} in this feature network."
            f"{did_you_mean(unknown[0], features.layers)} Layers: {', '.join(features.layers)}"
        )


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors with their names, in the order of names."""
    found = hashlib.sha256()
    for name, value in sorted(state.items()):
        found.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def described(features: Features) -> str:
    """The network, where its weights are from and the beginning of their digest."""
    source = features.weights if features.weights in ("imagenet", "random") else Path(features.weights).name
    return f"{type(features).__name__} with weights {source} {digest(features.state_dict())[:12]}"


class _Frozen(Features):
    """What all of these networks share: normalised input, no gradient for weights, evaluation mode for ever."""

    mean: Tensor
    std: Tensor

    def __init__(self, weights: str, seed: int, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> None:
        super().__init__()
        self.weights = weights
        self.seed = seed
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def freeze(self) -> None:
        """Call at the end of the constructor."""
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever the loss around it does."""
        return super().train(False)

    def normalised(self, image: Tensor) -> Tensor:
        """`image` ``(N, 1 or 3, H, W)`` in [0, 1] as the network's own colour range; grey becomes RGB."""
        if image.ndim != 4 or image.shape[1] not in (1, 3):
            raise ImageError(f"feature networks take images (N, 1 or 3, H, W), got {tuple(image.shape)}")
        return (image.to(self.mean.dtype) - self.mean) / self.std


class _Chain(_Frozen):
    """A network that is a chain of stages, each with a name.

    Args:
        stages: modules by layer name, from shallow to deep.
        smallest: height and width below which the whole network cannot run.
        weights: as told by the user.
        seed: likewise.
        mean: of the network's training images, for each channel.
        std: their standard deviation.
    """

    def __init__(
        self,
        stages: Mapping[str, nn.Module],
        *,
        smallest: int,
        weights: str,
        seed: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__(weights, seed, mean, std)
        for stage in stages.values():
            if isinstance(stage, nn.ReLU):
                stage.inplace = False  # else it would overwrite the map of the layer before it
        self.layers = tuple(stages)
        self.stages = nn.ModuleList(stages.values())
        self.smallest = smallest
        self.freeze()

    def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Maps by layer name; nothing beyond the deepest of `layers` is computed.

        Raises:
            UserError: a layer that the network does not have.
            ImageError: the image has neither 1 nor 3 channels, or is too small to reach the layer.
        """
        check_layers(self, layers)
        found: dict[str, Tensor] = {}
        x = self.normalised(image)
        for name, stage in zip(self.layers, self.stages, strict=True):
            if len(found) == len(set(layers)):
                break
            try:
                x = stage(x)
            except RuntimeError as cause:
                height, width = image.shape[-2:]
                if min(height, width) >= self.smallest:
                    raise
                raise ImageError(
                    f"image is {width}×{height}, too small for layer {name}; {self.smallest}×{self.smallest} suffices for every layer"
                ) from cause
            if name in layers:
                found[name] = x
        return {name: found[name] for name in layers}


def _read(weights: str) -> dict[str, Tensor]:
    path = Path(weights).expanduser()
    expected = "expected imagenet, random, or a file .safetensors or .pth"
    if not path.is_file():
        raise UserError(f"weights: no file {weights!r}.{did_you_mean(weights, ('imagenet', 'random'))} {expected.capitalize()}.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if path.suffix in (".pth", ".pt"):
            return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as cause:  # each format has half a dozen exceptions of its own
        raise UserError(f"weights: {path} cannot be read: {type(cause).__name__}: {cause}") from cause
    raise UserError(f"weights: {path} is of an unknown format; {expected}")


def _download(enum: Any) -> dict[str, Tensor]:
    try:
        return dict(enum.get_state_dict(progress=True, check_hash=True, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError) as cause:
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(enum.url).name
        raise UserError(
            f"weights: imagenet could not be downloaded ({cause}). On a machine with a network, fetch {enum.url} and put it at "
            f"{file}; or give another file with weights: FILE; or take untrained features with weights: random"
        ) from cause


def _fill(network: nn.Module, state: Mapping[str, Tensor], weights: str, prefix: str = "") -> None:
    """Load all parameters of `network` from `state`, which names them with `prefix` and may have more, such as a classifier."""
    kept = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    try:
        missing = network.load_state_dict(kept, strict=False).missing_keys
        fault = f"it lacks {len(missing)} tensors, such as {prefix}{missing[0]}" if missing else ""
    except RuntimeError as cause:
        fault = " ".join(str(cause).split())[:300]
    if fault:
        raise UserError(f"weights: {weights} does not fit this network: {fault}")


def _load(network: nn.Module, weights: str, enum: Any, prefix: str = "") -> None:
    if weights != "random":
        _fill(network, _download(enum) if weights == "imagenet" else _read(weights), weights, prefix)


def _vgg(name: Literal["vgg16", "vgg19"], weights: str, seed: int, pooling: str) -> dict[str, nn.Module]:
    from torchvision.models import VGG16_Weights, VGG19_Weights
    from torchvision.models.vgg import cfgs, make_layers

    enum, plan = {"vgg16": (VGG16_Weights.IMAGENET1K_V1, "D"), "vgg19": (VGG19_Weights.IMAGENET1K_V1, "E")}[name]
    with seeded(name, seed):
        trunk = make_layers(cfgs[plan])  # without the classifier, which would be 86 % of the parameters
        for module in trunk:
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)
    _load(trunk, weights, enum, prefix="features.")
    names = [
        layer
        for block, count in enumerate(CONVOLUTIONS[name], start=1)
        for layer in (*(f"{kind}{block}_{i}" for i in range(1, count + 1) for kind in ("conv", "relu")), f"pool{block}")
    ]
    average = {i: nn.AvgPool2d(2, 2) for i, m in enumerate(trunk) if isinstance(m, nn.MaxPool2d)} if pooling == "average" else {}
    return {layer: average.get(i, module) for i, (layer, module) in enumerate(zip(names, trunk, strict=True))}


class Vgg19(_Chain):
    """VGG-19, trained on ImageNet.

    Layers are named as in the field: ``conv3_3``, ``relu3_3``, ``pool3``.
    Simonyan & Zisserman, ICLR 2015, arXiv:1409.1556.

    Args:
        weights: ``imagenet`` (torchvision's, downloaded once), ``random``, or a file with torchvision's
            names: ``.safetensors`` or ``.pth``.
        seed: of random weights.
        pooling: ``max`` as trained, or ``average`` (Gatys et al., CVPR 2016).

    Raises:
        UserError: the weights cannot be downloaded or read, or do not fit.
    """

    def __init__(self, *, weights: str = "imagenet", seed: Annotated[int, Ge(0)] = 0, pooling: Literal["max", "average"] = "max") -> None:
        super().__init__(_vgg("vgg19", weights, seed, pooling), smallest=32, weights=weights, seed=seed)


class Vgg16(_Chain):
    """VGG-16, trained on ImageNet.

    Layers are named as in the field: ``conv3_3``, ``relu3_3``, ``pool3``.
    Simonyan & Zisserman, ICLR 2015, arXiv:1409.1556.

    Args:
        weights: ``imagenet`` (torchvision's, downloaded once), ``random``, or a file with torchvision's
            names: ``.safetensors`` or ``.pth``.
        seed: of random weights.
        pooling: ``max`` as trained, or ``average`` (Gatys et al., CVPR 2016).

    Raises:
        UserError: the weights cannot be downloaded or read, or do not fit.
    """

    def __init__(self, *, weights: str = "imagenet", seed: Annotated[int, Ge(0)] = 0, pooling: Literal["max", "average"] = "max") -> None:
        super().__init__(_vgg("vgg16", weights, seed, pooling), smallest=32, weights=weights, seed=seed)


class AlexNet(_Chain):
    """AlexNet in torchvision's form, trained on ImageNet.

    Layers are named as in torchvision: ``features.0`` (the first convolution) to ``features.12`` (the last
    pooling). Krizhevsky, 2014, arXiv:1404.5997.

    Args:
        weights: ``imagenet`` (torchvision's, downloaded once), ``random``, or a file with torchvision's
            names: ``.safetensors`` or ``.pth``.
        seed: of random weights.

    Raises:
        UserError: the weights cannot be downloaded or read, or do not fit.
    """

    def __init__(self, *, weights: str = "imagenet", seed: Annotated[int, Ge(0)] = 0) -> None:
        from torchvision.models import AlexNet_Weights, alexnet

        with torch.device("meta"):  # to pass over the classifier, 95 % of the parameters
            trunk = alexnet(weights=None).features
        trunk.to_empty(device="cpu")
        with seeded("alexnet", seed):
            for module in trunk:
                if isinstance(module, nn.Conv2d):
                    module.reset_parameters()
        _load(trunk, weights, AlexNet_Weights.IMAGENET1K_V1, prefix="features.")
        super().__init__({f"features.{i}": module for i, module in enumerate(trunk)}, smallest=63, weights=weights, seed=seed)


class SqueezeNet(_Chain):
    """SqueezeNet, trained on ImageNet: 1.2 million parameters.

    Layers are named as in torchvision: ``features.0`` (the first convolution) to ``features.12`` (the
    last fire module). Iandola et al., 2016, arXiv:1602.07360.

    Args:
        weights: ``imagenet`` (torchvision's, downloaded once), ``random``, or a file with torchvision's
            names: ``.safetensors`` or ``.pth``.
        seed: of random weights.
        version: ``1.0`` as in the paper, or ``1.1``, which its authors released later and which needs less
            than half the operations.

    Raises:
        UserError: the weights cannot be downloaded or read, or do not fit.
    """

    def __init__(self, *, weights: str = "imagenet", seed: Annotated[int, Ge(0)] = 0, version: Literal["1.0", "1.1"] = "1.0") -> None:
        from torchvision.models import SqueezeNet1_0_Weights, SqueezeNet1_1_Weights, squeezenet1_0, squeezenet1_1

        build, enum = {"1.0": (squeezenet1_0, SqueezeNet1_0_Weights), "1.1": (squeezenet1_1, SqueezeNet1_1_Weights)}[version]
        with seeded("squeezenet", seed):
            trunk = build(weights=None).features
        _load(trunk, weights, enum.IMAGENET1K_V1, prefix="features.")
        stages = {f"features.{i}": module for i, module in enumerate(trunk)}
        super().__init__(stages, smallest=32, weights=weights, seed=seed)


class Inception(_Chain):
    """Inception v3 in torchvision's form, trained on ImageNet.

    Layers are torchvision's: ``Conv2d_1a_3x3`` to ``Mixed_7c``, then ``avgpool`` of shape ``(N, 2048, 1, 1)``.
    Images are taken at the size they have. Szegedy et al., CVPR 2016, arXiv:1512.00567.

    Args:
        weights: ``imagenet`` (torchvision's, downloaded once), ``random``, or a file with torchvision's
            names: ``.safetensors`` or ``.pth``.
        seed: of random weights.

    Raises:
        UserError: the weights cannot be downloaded or read, or do not fit.
    """

    def __init__(self, *, weights: str = "imagenet", seed: Annotated[int, Ge(0)] = 0) -> None:
        from torchvision.models import Inception_V3_Weights, inception_v3

        with seeded("inception", seed):
            network = inception_v3(weights=None, aux_logits=False, init_weights=weights == "random")
        del network.dropout, network.fc
        _load(network, weights, Inception_V3_Weights.IMAGENET1K_V1)
        half = (0.5, 0.5, 0.5)
        super().__init__(dict(network.named_children()), smallest=75, weights=weights, seed=seed, mean=half, std=half)


class Timm(_Frozen):
    """A network of the timm library, read at the layers that it lists as its features.

    The names are those of timm's ``feature_info``: ``act1``, ``layer1``, … for ResNets, ``blocks.0``, … for
    transformers. Wightman, PyTorch Image Models, 2019, doi:10.5281/zenodo.4414861.

    Args:
        network: timm's name of the network, such as ``resnet50`` or ``convnext_tiny.fb_in22k``.
        weights: ``imagenet`` (the library's pretrained ones, downloaded once), ``random``, or a file:
            ``.safetensors`` or ``.pth``.
        seed: of random weights.

    Raises:
        UserError: there is no such network, or its weights cannot be downloaded or read, or do not fit.
        ValueError: the network does not list its features.
    """

    def __init__(self, *, network: str, weights: str = "imagenet", seed: Annotated[int, Ge(0)] = 0) -> None:
        import timm

        if not timm.is_model(network):
            raise UserError(
                f"timm {timm.__version__} has no network {network!r}.{did_you_mean(network, timm.list_models())} "
                "See them all: python -c 'import timm; print(*timm.list_models())'"
            )
        with seeded("timm", network, seed):
            try:
                trunk: Any = timm.create_model(network, pretrained=weights == "imagenet", num_classes=0)
            except (OSError, RuntimeError, ValueError) as cause:
                if weights != "imagenet":
                    raise
                raise UserError(
                    f"weights: imagenet of {network} could not be loaded ({' '.join(str(cause).split())[:300]}). On a machine with a "
                    "network, fetch its weights and give the file with weights: FILE; or take untrained features with weights: random"
                ) from cause
        if weights not in ("imagenet", "random"):
            _fill(trunk, _read(weights), weights)
        if not (hasattr(trunk, "feature_info") and hasattr(trunk, "forward_intermediates")):
            raise ValueError(f"network: {network} does not list its features; choose another one")
        super().__init__(weights, seed, trunk.pretrained_cfg["mean"], trunk.pretrained_cfg["std"])
        self.network = network
        self.trunk = trunk
        self.layers = tuple(info["module"] for info in trunk.feature_info)
        self.freeze()

    def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Maps by layer name; nothing beyond the deepest of `layers` is computed.

        Raises:
            UserError: a layer that the network does not have.
            ImageError: the image has neither 1 nor 3 channels, or the network refuses its size.
        """
        check_layers(self, layers)
        if not layers:
            return {}
        indices = sorted({self.layers.index(name) for name in layers})
        x = self.normalised(image)
        try:
            maps = self.trunk.forward_intermediates(x, indices=indices, stop_early=True, output_fmt="NCHW", intermediates_only=True)
        except AssertionError as cause:
            raise ImageError(f"{self.network} refuses an image of {image.shape[-1]}×{image.shape[-2]}: {cause}") from cause
        found = dict(zip(indices, maps, strict=True))
        return {name: found[self.layers.index(name)] for name in layers}
