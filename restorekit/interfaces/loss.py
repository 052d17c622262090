"""Terms of the generator's loss."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from restorekit.images import Degraded


class Loss(nn.Module, ABC):
    """A differentiable distance or penalty; its weight belongs to the recipe's slot, not to it.

    Declarations:
        needs_target: whether it reads `target` (total variation does not).
    """

    needs_target: bool = True

    @abstractmethod
    def forward(self, restored: Tensor, target: Tensor, degraded: Degraded) -> Tensor:
        """A scalar, the mean over the batch.

        Args:
            restored: ``(N, C, H, W)``, possibly overshooting [0, 1].
            target: the sharp image, ``(N, C, H, W)`` in [0, 1].
            degraded: what the generator was given.
        """
