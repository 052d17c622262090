"""Channel attention that looks at the whole image or, in evaluation, at a window around each pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """Factors for each channel, from the channels' means (simplified channel attention: Chen et al., ECCV 2022, arXiv:2204.04676).

    A network that is trained on patches meets means of patches. In evaluation a `window` gives each pixel the means of
    its surroundings, so that a large image is treated as the patches were (test-time local converter: Chu et al.,
    ECCV 2022, arXiv:2112.04491). Near the border it is the nearest whole window.

    Args:
        width: channels.
        window: side of the window in pixels of the map, or None for the whole image.
    """

    def __init__(self, width: int, window: int | None = None) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 1)
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(N, C, H, W)`` times their factors."""
        if self.training or self.window is None:
            whole: Tensor = self.convolution(x.mean((2, 3), keepdim=True))
            return x * whole
        factors = self.convolution(window_means(x, self.window).to(x.dtype))
        missing = [size - have if have > 1 else 0 for size, have in zip(x.shape[-2:], factors.shape[-2:], strict=True)]
        before = [more // 2 for more in missing]
        frame = (before[1], missing[1] - before[1], before[0], missing[0] - before[0])
        return x * (F.pad(factors, frame, mode="replicate") if any(missing) else factors)


def window_means(x: Tensor, side: int) -> Tensor:
    """Means of all windows of `side` pixels that lie within ``(N, C, H, W)``, in float32, by running sums.

    A direction in which the window does not fit has the mean of all.

    Returns:
        ``(N, C, H - side + 1, W - side + 1)``, with 1 for a direction in which it does not fit.
    """
    x = x.float()
    for dimension in (-2, -1):
        if side >= x.shape[dimension]:
            x = x.mean(dimension, keepdim=True)
        else:
            x = (sums_by_rows(x, side) if dimension == -2 and x.device.type == "cpu" else window_sums(x, dimension, side)) / side
    return x


def window_sums(x: Tensor, dimension: int, side: int) -> Tensor:
    """Sums of `side` neighbours along one of the last two dimensions of ``(N, C, H, W)``, as differences of running sums."""
    places = x.shape[dimension] - side + 1
    ends = F.pad(x.cumsum(dimension), (1, 0) if dimension == -1 else (0, 0, 1, 0))
    return ends.narrow(dimension, side, places) - ends.narrow(dimension, 0, places)


def sums_by_rows(x: Tensor, side: int) -> Tensor:
    """`window_sums` along the rows: on the processor four times as fast, since torch's cumsum goes column by column there."""
    sums = torch.cat([x[..., :side, :].sum(-2, keepdim=True), x[..., side:, :] - x[..., :-side, :]], dim=-2)
    for place in range(1, sums.shape[-2]):
        sums[..., place, :] += sums[..., place - 1, :]
    return sums
