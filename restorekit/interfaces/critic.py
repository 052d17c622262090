"""Networks that judge images."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Critic(nn.Module, ABC):
    """A network that tells real images from made ones (discriminator, critic).

    Declarations:
        conditional: whether it also looks at `given`, such as the degraded image or a class label.
        channels: channels of the images it judges.
        classes: how many class labels `given` may be; 0 where it is none.
    """

    conditional: bool = False
    channels: int = 3
    classes: int = 0

    @abstractmethod
    def forward(self, image: Tensor | tuple[Tensor, ...], given: Tensor | None = None) -> tuple[Tensor, ...]:
        """Logits, without a sigmoid.

        Args:
            image: ``(N, C, H, W)`` in [0, 1], or a tuple of them from coarse to fine.
            given: what a conditional critic compares with, an image or a label ``(N,)``; ignored by the others.

        Returns:
            One map ``(N, 1, h, w)`` of logits per scale.
        """

    def grow(self, step: int) -> None:
        """As of a generator."""
