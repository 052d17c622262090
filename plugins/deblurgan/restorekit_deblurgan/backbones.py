"""Classification networks of the timm library as feature extractors.

timm is imported by the functions, because that takes seconds which the other networks of this plugin need not pay.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NEEDED = (4, 8, 16, 32)
OPTIONAL = 2
SIZES = (64, 96, 128, 160, 192, 224, 256)
"""Smallest sides that are tried."""


class Backbone(nn.Module):
    """Maps of an image at several resolutions.

    Args:
        network: gives a list of maps, finest first.
        reductions: how many times smaller each is than the image.
        channels: of each.
        mean: of the images that the network expects, for each channel.
        std: likewise.
        smallest: side of the smallest image of which two pixels are left at the coarsest level, for batch norm and for
            mirroring; None tries.

    Raises:
        ValueError: it takes no photographs of any size.
    """

    def __init__(
        self,
        network: nn.Module,
        reductions: Sequence[int],
        channels: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        smallest: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.reductions, self.channels = tuple(reductions), tuple(channels)
        self.mean, self.std = tuple(mean), tuple(std)
        self.channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
        self.smallest = self._smallest() if smallest is None else smallest

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps of `image` ``(N, 3, H, W)`` in [0, 1], finest first."""
        mean, std = (image.new_tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        maps: list[Tensor] = self.network((image - mean) / std)
        return [found.permute(0, 3, 1, 2) for found in maps] if self.channels_last else maps

    def _smallest(self) -> int:
        device = next(self.network.parameters()).device
        self.network.eval()
        for side in SIZES:
            try:
                with torch.no_grad():
                    coarsest = [self(torch.zeros(1, 3, *size, device=device))[-1] for size in ((side, side), (side + 32, side + 64))]
            except (RuntimeError, ValueError, AssertionError) as cause:
                fault = _line(cause)
                continue
            if min(min(found.shape[-2:]) for found in coarsest) >= 2:
                self.network.train()
                return side
        raise ValueError(f"it does not take photographs of any size: {fault}")


def reported(name: str, weights: str) -> Backbone:
    """The maps that timm lists, at 1/4 to 1/32 of the resolution and, where there is one, at 1/2.

    Args:
        name: timm's.
        weights: as in `restorekit_deblurgan.fpn.Fpn`.

    Raises:
        ValueError: there is no such network, or it has no such maps, or its weights cannot be loaded.
    """
    timm = _timm_with(name)
    try:
        with torch.device("meta"):
            listed = timm.create_model(name, pretrained=False, features_only=True).feature_info
    except Exception as cause:  # each of the networks that cannot be read has its own way to say so
        raise ValueError(f"backbone: {name} cannot be read at its layers (timm's features_only): {_line(cause)}. {_WORKING}") from cause
    reductions = listed.reduction()
    missing = [f"1/{r}" for r in NEEDED if r not in reductions]
    if missing:
        has = ", ".join(f"1/{r}" for r in sorted(set(reductions)))
        raise ValueError(f"backbone: {name} has no map at {' or '.join(missing)} of the resolution, only at {has}. {_WORKING}")
    last = {r: index for index, r in enumerate(reductions)}  # the deepest of those with the same size
    wanted = [r for r in (OPTIONAL, *NEEDED) if r in last]
    indices = [last[r] for r in wanted]
    network = _create(name, weights, features_only=True, out_indices=tuple(listed.out_indices[i] for i in indices))
    channels = [listed.channels()[i] for i in indices]
    config = timm.get_pretrained_cfg(name) or timm.models.PretrainedCfg()
    try:
        return Backbone(network, wanted, channels, config.mean, config.std)
    except ValueError as refusal:
        raise ValueError(f"backbone: {name}: {refusal}. {_WORKING}") from refusal


def published(name: str, weights: str) -> Backbone:
    """The maps that the release of DeblurGAN-v2 takes from its two backbones; images in [-1, 1].

    Args:
        name: ``inception_resnet_v2`` or ``mobilenetv2_100``.
        weights: as in `restorekit_deblurgan.fpn.Fpn`.

    Raises:
        ValueError: another name, or weights that cannot be loaded.
    """
    _timm_with(name)
    if name not in _RELEASED:
        raise ValueError(
            f"backbone: taps=published is for those of the DeblurGAN-v2 release, {' and '.join(_RELEASED)}, not {name}; "
            "leave taps at timm for others"
        )
    stages, channels, smallest = _RELEASED[name]
    half = (0.5, 0.5, 0.5)
    return Backbone(Stages(stages(_create(name, weights))), (OPTIONAL, *NEEDED), channels, half, half, smallest)


class ImageNorm(nn.Module):
    """Batch norm that normalises each image by itself, as it does while it is trained on batches of one.

    Args:
        norm: whose weights it takes, and the activation behind them where timm has made one layer of both.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.act = getattr(norm, "act", nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out; more than one pixel."""
        normalised: Tensor = self.act(F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps))
        return normalised


def by_image(module: nn.Module) -> None:
    """Put `ImageNorm` in the place of every batch norm."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, ImageNorm(child))
        else:
            by_image(child)


class Stages(nn.Module):
    """One stage after another, and what each gives.

    Args:
        stages: modules, each a list that is worked through in turn.
    """

    def __init__(self, stages: Iterable[Sequence[nn.Module]]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Sequential(*stage) for stage in stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps, finest first."""
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def _inception(network: Any) -> list[list[nn.Module]]:
    return [
        [network.conv2d_1a],
        [network.conv2d_2a, network.conv2d_2b, network.maxpool_3a],
        [network.conv2d_3b, network.conv2d_4a, network.maxpool_5a],
        [network.mixed_5b, network.repeat, network.mixed_6a],
        [network.repeat_1, network.mixed_7a],
    ]


def _mobilenet(network: Any) -> list[list[nn.Module]]:
    blocks = [list(stage) for stage in network.blocks]
    # The release numbers all blocks through and cuts after the sixteenth, so that the last of 160 channels is left out.
    return [[network.conv_stem, network.bn1, *blocks[0]], blocks[1], blocks[2], blocks[3], [*blocks[4], *blocks[5][:2]]]


_RELEASED: dict[str, tuple[Callable[[Any], list[list[nn.Module]]], tuple[int, ...], int]] = {
    "inception_resnet_v2": (_inception, (32, 64, 192, 1088, 2080), 128),
    "mobilenetv2_100": (_mobilenet, (16, 24, 32, 64, 160), 64),
}
"""Stages, their channels, and the side of the smallest image."""

_WORKING = "Try mobilenetv2_100, resnet50 or convnext_tiny"


def _timm_with(name: str) -> Any:
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(
            f"backbone: timm {timm.__version__} has no network {name!r}.{hint} See them all: "
            "python -c 'import timm; print(*timm.list_models())'"
        )
    return timm


def _create(name: str, weights: str, **options: Any) -> nn.Module:
    timm = _timm_with(name)
    # Built on the meta device, the network is about to be given the weights of a model file.
    if weights == "random" or torch.get_default_device().type == "meta":
        network: nn.Module = timm.create_model(name, pretrained=False, **options)
        return network
    if weights != "imagenet" and not Path(weights).expanduser().is_file():
        raise ValueError(f"weights: no file {weights!r}; expected imagenet, random, or a file .safetensors or .pth")
    overlay = {} if weights == "imagenet" else {"pretrained_cfg_overlay": {"file": str(Path(weights).expanduser())}}
    try:
        network = timm.create_model(name, pretrained=True, **options, **overlay)
    except Exception as cause:  # of the network, of the file's format, and of a network that it does not fit
        raise ValueError(
            f"weights: {weights} of {name} could not be loaded ({_line(cause)}). Give a file with weights: FILE, "
            "or start from nothing with weights: random"
        ) from cause
    return network


def _line(cause: Exception) -> str:
    return " ".join(str(cause).split())[:200].rstrip(".") or type(cause).__name__
