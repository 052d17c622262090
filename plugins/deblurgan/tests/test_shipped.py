"""The models that come with the plugin: their windows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import restorekit as rk
from restorekit import memory
from restorekit.images import Degraded


@pytest.mark.parametrize(("height", "width", "sides"), [(800, 900, [512, 256]), (704, 640, [704, 352, 176])])
def test_windows_are_halved_where_memory_runs_out(height: int, width: int, sides: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "room", lambda device, result, least=None: float("inf"))
    restorer = rk.registry().create("restorer", "deblurgan/shipped")
    seen = []

    def forward(x: Tensor) -> Tensor:
        seen.append(max(x.shape[-2:]))
        if seen[-1] > sides[-1]:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return x

    monkeypatch.setattr(restorer.model.generator, "forward", forward)
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(restorer.restore(Degraded(image)), image)
    assert list(dict.fromkeys(seen)) == sides
