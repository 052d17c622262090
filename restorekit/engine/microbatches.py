"""A batch divided into parts, for networks that need more memory for the whole than there is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from restorekit.engine.data import Batch
from restorekit.images import Degraded


@dataclass(frozen=True)
class MicroBatch:
    """Some of the images of a batch, and their latent vectors."""

    batch: Batch
    latent: Tensor | None
    _random: list[Tensor] = field(default_factory=list, init=False)

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
        """What is drawn inside for the first time, such as dropout, is drawn again whenever it is entered again."""
        device = self.batch.sharp.device
        places = [device] if device.type == "cuda" else []
        if not self._random:
            self._random.append(torch.get_rng_state())
            self._random.extend(torch.cuda.get_rng_state(place) for place in places)
            yield
            return
        with torch.random.fork_rng(devices=places):
            torch.set_rng_state(self._random[0])
            for place, state in zip(places, self._random[1:], strict=True):
                torch.cuda.set_rng_state(state, place)
            yield


def divide(batch: Batch, latent: Tensor | None, count: int) -> list[MicroBatch]:
    """`count` parts of equal size; the batch must be a multiple of it."""
    if count == 1:
        return [MicroBatch(batch, latent)]
    size = len(batch.sharp) // count
    return [
        MicroBatch(_slice(batch, slice(start, start + size)), None if latent is None else latent[start : start + size])
        for start in range(0, len(batch.sharp), size)
    ]


def _slice(batch: Batch, some: slice) -> Batch:
    whole = batch.degraded
    reference = whole.reference
    degraded = Degraded(
        whole.image[some],
        None if whole.mask is None else whole.mask[some],
        {name: value[some] for name, value in whole.params.items()},
        None if reference is None else reference[some],
    )
    return Batch(batch.sharp[some], degraded, None if batch.labels is None else batch.labels[some])
