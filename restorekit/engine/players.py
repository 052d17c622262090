"""A network with its optimiser: how gradients are added up, clipped, checked and used."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from restorekit.errors import TrainingError


class NonFiniteError(TrainingError):
    """A step that cannot be done; the player concerned has not been updated.

    Args:
        names: what is not finite, in the order in which it was computed.
        batch: whether it is the batch itself.
    """

    def __init__(self, names: Sequence[str], *, batch: bool = False) -> None:
        self.names, self.batch = tuple(names), batch
        help_ = "look at the data" if batch else "Lower train.learning_rate, set train.clip_gradient, or train with train.precision=fp32"
        super().__init__(f"{' and '.join(names)} became non-finite. {help_}")


@dataclass
class Player:
    """A network, its optimiser and its peak learning rate; `network` and `optimizer` may be wrapped by Fabric.

    `frozen` are parameters that an update leaves as they are.
    """

    name: str
    network: nn.Module
    optimizer: Optimizer
    peak: float
    clip: float | None = None
    scaler: GradScaler | None = None
    frozen: Sequence[nn.Parameter] = field(default_factory=list)

    def adding(self, fabric: Fabric, *, last: bool = True) -> AbstractContextManager[object]:
        """What a part of a batch goes through the network in: gradients are averaged over the processes with the last one."""
        wrapped: Any = self.network
        return contextlib.nullcontext() if last or fabric.world_size == 1 else fabric.no_backward_sync(wrapped)

    def backward(self, fabric: Fabric, loss: Tensor) -> None:
        """Add the gradient of `loss` to what is there."""
        fabric.backward(loss if self.scaler is None else self.scaler.scale(loss))

    def update(
        self, fabric: Fabric, terms: Mapping[str, Tensor], signals: Mapping[str, Tensor], rest: float = -math.inf
    ) -> dict[str, float]:
        """Step along the gradient that is there, unless the sum of the terms is below `rest`.

        Returns:
            Terms, signals and ``<name>'s gradient``, its norm before clipping, as numbers, the mean over all processes.

        Raises:
            NonFiniteError: a term or the gradient is; nothing was updated.
        """
        optimizer: Optimizer = getattr(self.optimizer, "optimizer", self.optimizer)  # GradScaler wants the one inside
        for parameter in self.frozen:
            parameter.grad = None  # computed all the same, since several processes wait for the gradients of all parameters
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)
        tensors = {**terms, f"{self.name}'s gradient": self._norm(fabric), **signals}
        # One number for each, fetched together: on a GPU every fetch waits for everything before it.
        reduced: Any = fabric.all_reduce(torch.stack([value.detach().float() for value in tensors.values()]))
        numbers: dict[str, float] = dict(zip(tensors, reduced.tolist(), strict=True))
        checked = list(terms) if self.scaler is not None else list(tensors)[: len(terms) + 1]
        wrong = [name for name in checked if not math.isfinite(numbers[name])]
        if wrong:
            raise NonFiniteError(wrong)
        resting = sum(numbers[name] for name in terms) < rest
        if self.scaler is not None:
            if not resting:
                self.scaler.step(optimizer)
            self.scaler.update()
        elif not resting:
            self.optimizer.step()
        return numbers

    def _norm(self, fabric: Fabric) -> Tensor:
        """The gradient's norm, and the gradient is clipped where that was asked for."""
        if self.clip is None:
            return nn.utils.get_total_norm([p.grad for p in self.network.parameters() if p.grad is not None])
        norm = fabric.clip_gradients(self.network, self.optimizer, max_norm=self.clip, error_if_nonfinite=False)
        assert norm is not None  # it is where max_norm is given
        return norm
