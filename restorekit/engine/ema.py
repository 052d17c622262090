"""The average of a network's weights over its training."""

from __future__ import annotations

import torch
from torch import nn

from restorekit.interfaces import Generator


class Ema:
    """Exponential moving average of a network's weights, with a warm-up of (1 + step) / (10 + step).

    Args:
        average: a copy of the network, which holds the average.
        decay: of the average; 0 just follows.
    """

    def __init__(self, average: Generator, decay: float) -> None:
        self.average, self.decay = average.eval().requires_grad_(False), decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move the average towards `network` after the step of this number, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        ours, theirs = self.average.state_dict(), network.state_dict()
        floating = [name for name, value in ours.items() if value.is_floating_point()]
        torch._foreach_lerp_([ours[n] for n in floating], [theirs[n].to(ours[n].dtype) for n in floating], 1 - decay)
        for name in ours.keys() - set(floating):
            ours[name].copy_(theirs[name])
