"""LPIPS: distance between the maps of a network, weighted as people judged."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from restorekit.builtin.features import AlexNet, SqueezeNet, Vgg16, described, digest
from restorekit.builtin.metrics import check_pair, to_uint8_levels
from restorekit.errors import MissingPackage, UserError
from restorekit.interfaces import Features, Metric

LAYERS: Mapping[str, tuple[str, ...]] = {
    "alex": ("features.1", "features.4", "features.7", "features.9", "features.11"),
    "vgg": ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"),
    "squeeze": ("features.1", "features.4", "features.7", "features.9", "features.10", "features.11", "features.12"),
}
"""The maps that are compared, by network."""

VERSION = "0.1"
"""Of the linear layers. Those of 0.0 were trained with an input that was not normalised."""

EPSILON = 1e-10
"""Added to the length of a pixel's features, as by the authors."""


class Lpips(Metric):
    """Learned perceptual image patch similarity; 0 for equal images.

    After the same clipping and rounding as ``core/psnr``. The features of each pixel are scaled to length
    1; squared differences are weighted by linear layers of version 0.1, averaged over the map and added up over
    layers. The linear layers are those inside the package ``lpips``, which is read and not run.
    Zhang et al., CVPR 2018, arXiv:1801.03924.

    Args:
        network: the backbone: AlexNet (``alex``, what most papers mean), VGG-16 (``vgg``) or SqueezeNet 1.1
            (``squeeze``). Their scores do not compare.
        weights: of the backbone: ``imagenet`` (torchvision's, downloaded once), a file with torchvision's names,
            ``.safetensors`` or ``.pth``, or ``random``, which is for tests.
        seed: of random weights.

    Raises:
        UserError: the weights cannot be downloaded or read, or do not fit.
        MissingPackage: the package ``lpips`` is not installed.
    """

    higher_is_better = False
    bounds = (0.0, math.inf)
    downloads = True

    def __init__(
        self, *, network: Literal["alex", "vgg", "squeeze"] = "alex", weights: str = "imagenet", seed: Annotated[int, Ge(0)] = 0
    ) -> None:
        super().__init__()
        linear = linear_layers(network)
        self.features = _backbone(network, weights, seed)
        self.layers = LAYERS[network]
        self.linear = torch.nn.ParameterList([torch.nn.Parameter(layer, requires_grad=False) for layer in linear])
        self.definition = (
            f"LPIPS {VERSION}, network {network}: {described(self.features)}, linear layers "
            f"{digest(self.linear.state_dict())[:12]} of lpips {importlib.metadata.version('lpips')}"
        )

    @torch.no_grad()
    def forward(self, restored: Tensor, target: Tensor | None = None) -> Tensor:
        """Scores ``(N,)`` in float64 of images ``(N, 1 or 3, H, W)`` in [0, 1].

        Raises:
            ImageError: the target is missing or of another shape, or the images are too small for the network.
        """
        target = check_pair(restored, target)
        place = self.linear[0].device
        with torch.autocast(place.type, enabled=False):
            first, second = (self.features((to_uint8_levels(image) / 255).to(place), self.layers) for image in (restored, target))
            distances = [
                ((_directions(first[layer]) - _directions(second[layer])).square() * linear).sum(1).mean((1, 2))
                for layer, linear in zip(self.layers, self.linear, strict=True)
            ]
        score = torch.stack(distances).sum(0)
        return (score.cpu() if score.device.type == "mps" else score).double()


def linear_layers(network: str) -> list[Tensor]:
    """The weights ``(1, C, 1, 1)`` of each layer's features, out of the installed package ``lpips``.

    Raises:
        MissingPackage: it is not installed.
        UserError: its files are not where version 0.1.4 has them.
    """
    spec = importlib.util.find_spec("lpips")  # finds the package without running it
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackage("core/lpips reads its linear layers from the package lpips", "lpips", "metrics")
    file = Path(spec.submodule_search_locations[0]) / "weights" / f"v{VERSION}" / f"{network}.pth"
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        return [state[f"lin{i}.model.1.weight"] for i in range(len(LAYERS[network]))]
    except (OSError, KeyError, RuntimeError) as cause:
        raise UserError(
            f"{file}: the linear layers cannot be read ({cause}). Install them again: pip install --force-reinstall lpips"
        ) from cause


def _backbone(network: str, weights: str, seed: int) -> Features:
    if network == "alex":
        return AlexNet(weights=weights, seed=seed)
    return Vgg16(weights=weights, seed=seed) if network == "vgg" else SqueezeNet(weights=weights, seed=seed, version="1.1")


def _directions(maps: Tensor) -> Tensor:
    return maps / (maps.square().sum(1, keepdim=True).sqrt() + EPSILON)
