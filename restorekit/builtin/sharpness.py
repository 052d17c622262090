"""Scores without a reference: how sharp a picture looks. They do not tell detail from noise."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from restorekit.builtin.metrics import luma, to_uint8_levels
from restorekit.errors import ImageError
from restorekit.interfaces import Metric


def _check(image: Tensor, smallest: int) -> None:
    if image.ndim != 4 or image.shape[1] not in (1, 3) or min(image.shape[-2:]) < smallest:
        raise ImageError(f"expected images (N, 1 or 3, H, W) of at least {smallest}×{smallest} pixels, got {tuple(image.shape)}")


class Sharpness(Metric):
    """Variance of the Laplacian of the luma of 8-bit RGB, in squared levels; 0 for a flat picture.

    Grows with detail, contrast and noise alike: compare it on one motif only. Laplacian of four neighbours,
    valid area, luma as in ``core/psnr-y``. Pech-Pacheco et al., ICPR 2000, doi:10.1109/ICPR.2000.903548.
    """

    higher_is_better = True
    needs_target = False
    bounds = (0.0, math.inf)

    @torch.no_grad()
    def forward(self, restored: Tensor, target: Tensor | None = None) -> Tensor:
        """Scores ``(N,)`` in float64 of images ``(N, 1 or 3, H, W)`` in [0, 1].

        Raises:
            ImageError: the images are smaller than 3×3, or have neither 1 nor 3 channels.
        """
        _check(restored, 3)
        y = luma(to_uint8_levels(restored))
        middle = y[..., 1:-1, 1:-1]
        laplacian = y[..., :-2, 1:-1] + y[..., 2:, 1:-1] + y[..., 1:-1, :-2] + y[..., 1:-1, 2:] - 4 * middle
        return torch.stack([one.var(unbiased=False) for one in laplacian])


class BlurEffect(Metric):
    """Perceived blur by scikit-image, from 0 (sharp) to 1 (as blurred as can be).

    How little another blur changes the picture; hardly depends on the motif. On 8-bit RGB. A picture without
    any edge scores 1. Crété et al., SPIE 6492, 2007, doi:10.1117/12.702790.
    """

    higher_is_better = False
    needs_target = False
    bounds = (0.0, 1.0)

    @torch.no_grad()
    def forward(self, restored: Tensor, target: Tensor | None = None) -> Tensor:
        """Scores ``(N,)`` in float64 of images ``(N, 1 or 3, H, W)`` in [0, 1].

        Raises:
            ImageError: the images are smaller than 4×4, or have neither 1 nor 3 channels.
        """
        from skimage.measure import blur_effect

        _check(restored, 4)
        levels = to_uint8_levels(restored)
        pictures = (levels.double() / 255).cpu().numpy()
        grey = restored.shape[1] == 1
        effect: Callable[..., float] = blur_effect
        scores = [effect(picture[0] if grey else picture, channel_axis=None if grey else 0) for picture in pictures]
        return torch.tensor(scores, dtype=torch.float64, device=levels.device)
