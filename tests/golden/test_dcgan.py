"""DCGAN's networks against an independent computation; see dcgan/README.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import restorekit as rk

NUMBERS = Path(__file__).parent / "dcgan" / "numbers.npz"


@pytest.fixture(scope="module")
def numbers() -> dict[str, np.ndarray]:
    with np.load(NUMBERS) as stored:
        return dict(stored)


def network(kind: str, numbers: dict[str, np.ndarray], **options: Any) -> Any:
    built = rk.registry().create(kind, f"dcgan/{kind}", size=28, width=2, **options)
    weights = {name.removeprefix(f"{kind}."): torch.from_numpy(v) for name, v in numbers.items() if name.startswith(f"{kind}.")}
    report = built.load_state_dict(weights, strict=False)
    assert not report.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in report.missing_keys)
    return built.eval()


def test_the_generator_makes_the_stored_pictures(numbers: dict[str, np.ndarray]) -> None:
    made = network("generator", numbers, latent=4)(torch.from_numpy(numbers["latents"]))
    assert numbers["pictures"].std() > 0.1
    np.testing.assert_allclose(made.detach().numpy(), numbers["pictures"], atol=1e-6)


def test_the_critic_gives_the_stored_logits(numbers: dict[str, np.ndarray]) -> None:
    (logits,) = network("critic", numbers)(torch.from_numpy(numbers["seen"]))
    assert abs(np.diff(numbers["logits"], axis=0)).item() > 0.1
    np.testing.assert_allclose(logits.detach().numpy(), numbers["logits"], rtol=1e-6, atol=1e-6)
