"""Losses: differentiable distances to the sharp image, computed in float32 whatever the autocast."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, MinLen
from torch import Tensor

from restorekit.builtin.features import check_layers
from restorekit.builtin.metrics import check_pair
from restorekit.builtin.ssim import structural_similarity
from restorekit.images import Degraded
from restorekit.interfaces import Features, Loss


def widen(image: Tensor) -> Tensor:
    """`image` in float32, or in float64 if that is what it is: bfloat16 cannot hold small differences."""
    return image if image.dtype == torch.float64 else image.float()


def _difference(restored: Tensor, target: Tensor) -> Tensor:
    return widen(restored) - widen(check_pair(restored, target))


class L1(Loss):
    """Mean absolute difference."""

    def forward(self, restored: Tensor, target: Tensor, degraded: Degraded) -> Tensor:
        """The mean over all values of images ``(N, C, H, W)``."""
        return _difference(restored, target).abs().mean()


class L2(Loss):
    """Mean squared difference."""

    def forward(self, restored: Tensor, target: Tensor, degraded: Degraded) -> Tensor:
        """The mean over all values of images ``(N, C, H, W)``."""
        return _difference(restored, target).square().mean()


class PeakSignalToNoise(Loss):
    """Negative PSNR in dB, so that every image counts by its relative error and not by its contrast.

    10 · log10(mean squared error + floor), averaged over the batch; Chen et al., HINet, CVPR workshops 2021,
    arXiv:2105.06086.

    Args:
        floor: mean squared error below which little is left to gain: 1e-4 is 40 dB. It keeps images that
            are nearly perfect from drowning the others.
    """

    def __init__(self, *, floor: Annotated[float, Gt(0)] = 1e-4) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, restored: Tensor, target: Tensor, degraded: Degraded) -> Tensor:
        """A scalar in dB for images ``(N, C, H, W)``."""
        error = _difference(restored, target).square().mean((1, 2, 3))
        return 10 * torch.log10(error + self.floor).mean()


class Charbonnier(Loss):
    """Mean of √(difference² + ε²): L1 with a smooth bottom, where it equals ε.

    Charbonnier et al., ICIP 1994, doi:10.1109/ICIP.1994.413553.

    Args:
        epsilon: half-width of the smooth part, in units of the image range.
    """

    def __init__(self, *, epsilon: Annotated[float, Gt(0)] = 1e-3) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, restored: Tensor, target: Tensor, degraded: Degraded) -> Tensor:
        """The mean over all values of images ``(N, C, H, W)``."""
        return (_difference(restored, target).square() + self.epsilon**2).sqrt().mean()


class StructuralSimilarity(Loss):
    """1 - SSIM, with the window and the averages of the metric ``core/ssim``, on unrounded images.

    Wang et al., IEEE TIP 2004, doi:10.1109/TIP.2003.819861.
    """

    def forward(self, restored: Tensor, target: Tensor, degraded: Degraded) -> Tensor:
        """From 0 for equal images to 2.

        Raises:
            ImageError: the images are smaller than the window of 11×11 pixels.
        """
        return 1 - structural_similarity(widen(restored), widen(check_pair(restored, target)), data_range=1).mean()


class TotalVariation(Loss):
    """Mean length of the gradient of the restored image, by forward differences; the target is not read.

    Differences across the bottom and right border count as zero. Rudin, Osher & Fatemi, Physica D 1992,
    doi:10.1016/0167-2789(92)90242-F.

    Args:
        isotropic: take the Euclidean length √(dx² + dy²) of each gradient, as in the paper, rather than
            |dx| + |dy|.
    """

    needs_target = False

    def __init__(self, *, isotropic: bool = False) -> None:
        super().__init__()
        self.isotropic = isotropic

    def forward(self, restored: Tensor, target: Tensor, degraded: Degraded) -> Tensor:
        """The mean over all values of ``(N, C, H, W)``."""
        image = widen(restored)
        down, right = image.diff(dim=-2), image.diff(dim=-1)
        if not self.isotropic:
            return (down.abs().sum() + right.abs().sum()) / image.numel()
        # The vector norm has a gradient of zero, not NaN, where the image is flat.
        gradient = torch.stack([F.pad(down, (0, 0, 0, 1)), F.pad(right, (0, 1))])
        length: Tensor = torch.linalg.vector_norm(gradient, dim=0)
        return length.mean()


class Frequency(Loss):
    """Mean absolute difference of Fourier coefficients, real and imaginary parts apart.

    The transform is orthonormal (a coefficient is divided by √(H·W)), so that by Parseval's theorem the
    mean squared coefficient equals the mean squared pixel at any image size and the weight of the loss
    need not change with the crop. Papers that leave the transform unnormalised have a loss √(H·W) times
    larger. The mean is over the whole spectrum, of which the real transform computes one half.

    Cho et al., ICCV 2021, arXiv:2108.05054.
    """

    def forward(self, restored: Tensor, target: Tensor, degraded: Degraded) -> Tensor:
        """The mean over all coefficients of images ``(N, C, H, W)``."""
        difference = _difference(restored, target)
        width = difference.shape[-1]
        parts = torch.view_as_real(torch.fft.rfft2(difference, norm="ortho")).abs()
        # Column 0 and, for even widths, the last one are their own mirror image; every other stands for two.
        whole = 2 * parts.sum() - parts[..., 0, :].sum()
        if width % 2 == 0:
            whole = whole - parts[..., -1, :].sum()
        return whole / (2 * difference.numel())


class Perceptual(Loss):
    """Distance between the maps that a pretrained network makes of the two images, summed over layers.

    The distance of one layer is the mean over its map, so that the size of the image does not matter.
    The network runs in whatever precision autocast sets; the distance is taken in float32.
    Johnson, Alahi & Fei-Fei, ECCV 2016, arXiv:1603.08155.

    Args:
        features: the network.
        layers: names of its layers; see `Features.layers`.
        distance: ``l2`` for squared differences, as in the paper, or ``l1`` for absolute ones.
        layer_weights: a factor for each layer; null for 1 each.

    Raises:
        UserError: the network has no such layer.
        ValueError: there are not as many weights as layers, or a layer is given twice.
    """

    def __init__(
        self,
        *,
        features: Features,
        layers: Annotated[tuple[str, ...], MinLen(1)],
        distance: Literal["l1", "l2"] = "l2",
        layer_weights: tuple[Annotated[float, Ge(0)], ...] | None = None,
    ) -> None:
        super().__init__()
        check_layers(features, layers)
        if len(set(layers)) < len(layers):
            raise ValueError(f"layers: {', '.join(layers)}: each may be given once")
        if layer_weights is not None and len(layer_weights) != len(layers):
            raise ValueError(f"layer_weights: {len(layer_weights)} for {len(layers)} layers; give one for each")
        self.features = features
        self.layers = layers
        self.distance = distance
        self.layer_weights = layer_weights or (1.0,) * len(layers)

    def forward(self, restored: Tensor, target: Tensor, degraded: Degraded) -> Tensor:
        """The weighted sum over layers of the mean distance.

        Raises:
            ImageError: the shapes differ, or the images are too small for a layer.
        """
        check_pair(restored, target)
        with torch.no_grad():
            wanted = self.features(target, self.layers)
        made = self.features(restored, self.layers)
        total = restored.new_zeros((), dtype=torch.float32)
        for name, weight in zip(self.layers, self.layer_weights, strict=True):
            difference = widen(made[name]) - widen(wanted[name])
            total = total + weight * (difference.abs() if self.distance == "l1" else difference.square()).mean()
        return total
