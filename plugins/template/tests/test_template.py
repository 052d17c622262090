import numpy as np
import pytest
import torch

import restorekit as rk
from restorekit.conformance import parametrize_parts
from restorekit.images import Degraded


@parametrize_parts("template")
def test_conforms(conformance_case):
    conformance_case.run()


@pytest.mark.parametrize("strength", [0.0, 3.0])
def test_edge_aware_is_its_formula(strength):
    rng = np.random.default_rng(0)
    restored, target = rng.random((2, 2, 3, 12, 9))
    rows, columns = np.gradient(target, axis=(-2, -1))
    expected = np.mean((1 + strength * np.sqrt(rows**2 + columns**2)) * np.abs(restored - target))
    loss = rk.registry().create("loss", "template/edge-aware", strength=strength)
    given = torch.from_numpy(restored)
    assert loss(given, torch.from_numpy(target), Degraded(given)).item() == pytest.approx(expected, rel=1e-12)


def test_a_negative_strength_is_refused():
    with pytest.raises(rk.UserError, match=r"strength: got -1.0; expected float >= 0"):
        rk.registry().create("loss", "template/edge-aware", strength=-1.0)
