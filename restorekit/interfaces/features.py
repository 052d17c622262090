"""Networks whose inner maps losses, metrics and style transfer compare."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn


class Features(nn.Module, ABC):
    """A frozen network read at named layers.

    Takes images in [0, 1] and normalises them inside. Its parameters have ``requires_grad=False``.

    Declarations:
        layers: the names that `forward` accepts, from shallow to deep.
        weights: where its weights come from: ``imagenet``, a file's path, or ``random``.
        seed: of random weights.
    """

    layers: tuple[str, ...] = ()
    weights: str
    seed: int

    @abstractmethod
    def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Maps ``(N, C', H', W')`` by layer name, the network run once and no deeper than needed.

        Raises:
            UserError: a layer that the network does not have; the message lists those it has.
        """
