"""The pair trains on photographs through a recipe, and its model file makes pictures and judges them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

import restorekit as rk
from restorekit.engine.callbacks import Callback

TRIAL = {
    "generator.size": 32,
    "generator.width": 8,
    "generator.latent": 16,
    "critic.size": 32,
    "critic.width": 8,
    "data.crop": 32,
    "data.batch": 16,
    "train.steps": 20,
    "train.precision": "fp32",
    "train.learning_rate": 1e-3,
}


class Terms(Callback):
    """Keeps the terms of every step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def step(self, step: int, terms: Mapping[str, float], *, images: int, learning_rate: float) -> None:
        self.steps.append(dict(terms))


@pytest.fixture(scope="module")
def trained() -> tuple[rk.Model, list[dict[str, float]]]:
    recipe = rk.recipe("dcgan/photos64")
    for key, value in TRIAL.items():
        recipe = recipe.set(key, value)
    terms = Terms()
    return rk.train(recipe, device="cpu", callbacks=[terms]), terms.steps


def test_the_critic_learns_to_tell_photographs(trained: tuple[rk.Model, list[dict[str, float]]]) -> None:
    losses = [sum(value for name, value in step.items() if name.startswith("critic ")) for step in trained[1]]
    assert len(losses) == TRIAL["train.steps"]
    assert losses[0] == pytest.approx(2 * torch.log(torch.tensor(2.0)).item(), abs=0.3), "an untrained critic is undecided"
    assert sum(losses[-3:]) / 3 < 0.6 * losses[0]


def test_the_model_file_carries_both(trained: tuple[rk.Model, list[dict[str, float]]], tmp_path: Path) -> None:
    model = trained[0]
    loaded = rk.load(model.save(tmp_path / "patches.safetensors"))
    assert loaded.critic is not None
    assert model.critic is not None
    for again, before in ((loaded.generator, model.generator), (loaded.critic, model.critic)):
        weights = before.state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in again.state_dict().items())
    with torch.no_grad():
        made = loaded.generator(torch.randn(4, 16, generator=torch.Generator().manual_seed(0)))
        assert made.shape == (4, 3, 32, 32)
        assert loaded.critic(made)[0].shape == (4, 1, 1, 1)
    assert not torch.equal(made[0], made[1]), "every latent vector makes the same picture"
