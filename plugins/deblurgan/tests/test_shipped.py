"""The models that come with the plugin: their windows."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

import restorekit as rk
from restorekit import memory
from restorekit.images import Degraded

MOST = 300


@pytest.mark.parametrize(("height", "width"), [(800, 900), (704, 640)], ids=["windows", "whole"])
def test_windows_are_halved_where_memory_runs_out(height: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "room", lambda device, result, least=None: float("inf"))
    restorer = rk.registry().create("restorer", "deblurgan/shipped")
    seen = []

    def forward(x: Tensor) -> Tensor:
        seen.append(max(x.shape[-2:]))
        if seen[-1] > MOST:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return x

    monkeypatch.setattr(restorer.model.generator, "forward", forward)
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(restorer.restore(Degraded(image)), image)
    sides = list(dict.fromkeys(seen))
    assert sides[0] > MOST >= sides[-1] > MOST // 2
    multiple = restorer.model.generator.size.multiple_of
    assert all(0 <= small - large // 2 < multiple for large, small in itertools.pairwise(sides))
