"""Gradient parts: a batch worked through in parts trains as the whole does, whatever the objective."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import restorekit as rk
from restorekit import seeding
from restorekit.engine.run import Run
from restorekit.engine.steps import Outcome
from restorekit.errors import TrainingError
from restorekit.interfaces.adversarial import Images

OBJECTIVES = [part.name for part in rk.registry().of_kind("adversarial")]
WHOLE = [name for name in OBJECTIVES if rk.registry().create("adversarial", name).whole_batch]
CONTENT: dict[str, Any] = {
    "recipe": 1,
    "task": "deblur",
    "degradation": {"part": "core/gaussian-noise", "sigma": 0.1},
    "generator": {"part": "deblurgan/resnet9", "blocks": 1, "width": 4, "dropout": 0.0},
    "critic": {"part": "deblurgan/patch70", "width": 4},
    "adversarial": {"part": "core/hinge", "weight": 0.1},
    "losses": ["core/charbonnier"],
    "data": {"train": "bundled", "crop": 32, "batch": 4, "validation_images": 1},
    "train": {"precision": "fp32", "critic_steps": 2, "learning_rate": 1e-4, "watch": False},
}


def run_of(parts: int, **changes: Any) -> Run:
    with seeding.seeded("networks"):
        return Run(rk.recipe({**CONTENT, **changes}).set("train.micro_batches", parts).check(), "cpu", rk.registry())


def three_steps(run: Run) -> list[Outcome]:
    outcomes = []
    for step in range(3):
        with seeding.seeded("step", step):
            outcomes.append(run.step(run.put(run.patches.batch(step)), None))
    return outcomes


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("objective", [None, *(name for name in OBJECTIVES if name not in WHOLE)])
def test_parts_add_up_to_the_whole(objective: str | None, parts: int) -> None:
    changes: dict[str, Any] = {"critic": None, "adversarial": None}
    if objective is not None:
        changes = {"adversarial": {"part": objective, "weight": 0.1}}
    whole, divided = run_of(1, **changes), run_of(parts, **changes)
    for expected, found in zip(three_steps(whole), three_steps(divided), strict=True):
        assert found.terms == pytest.approx(expected.terms, rel=1e-3, abs=1e-6)
        assert found.signals == pytest.approx(expected.signals, rel=1e-3, abs=1e-6)
    # Not the weights: those without effect, such as biases before a norm, go where rounding leads them.
    fixed = whole.patches.batch(100).degraded.image
    with torch.no_grad():
        torch.testing.assert_close(divided.generator(fixed), whole.generator(fixed), rtol=0, atol=1e-4)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_objective_says_whether_its_parts_add_up(objective: str) -> None:
    """So that the tests above and below leave none out, and refuse none for nothing."""
    run = run_of(1, adversarial={"part": objective, "weight": 0.1})
    assert run.critic is not None
    made = run.registry.create("adversarial", objective)
    real, fake = torch.rand(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    fake[:2] *= 0.3
    for terms in (made.critic_terms, made.generator_terms):
        with seeding.seeded(0):
            whole = terms(run.critic, real, fake)
        with seeding.seeded(0):
            parts = [terms(run.critic, real[some], fake[some]) for some in (slice(0, 2), slice(2, 4))]
        means = {name: sum(part[name].item() for part in parts) / 2 for name in whole}
        adds_up = means == pytest.approx({name: value.item() for name, value in whole.items()}, rel=1e-4, abs=1e-6)
        assert adds_up is not made.whole_batch


@pytest.mark.parametrize("objective", WHOLE)
def test_parts_are_refused_where_they_do_not_add_up(objective: str) -> None:
    with pytest.raises(TrainingError, match=rf"train\.micro_batches: {objective} averages over the batch.*Set it to 1"):
        run_of(2, adversarial={"part": objective, "weight": 0.1})


def test_the_generator_answers_for_the_images_that_the_critic_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are made twice; dropout must not make them other images the second time."""
    run = run_of(2, generator={"part": "deblurgan/resnet9", "blocks": 1, "width": 4, "dropout": 0.5})
    assert run.step.game is not None
    judged: list[Tensor] = []
    answered: list[Tensor] = []
    objective = run.step.game.objective
    critic_terms, generator_terms = objective.critic_terms, objective.generator_terms

    def first(critic: Any, real: Images, fake: Tensor, given: Tensor | None = None) -> dict[str, Tensor]:
        judged.append(fake.detach().clone())
        return critic_terms(critic, real, fake, given)

    def second(critic: Any, real: Images, fake: Tensor, given: Tensor | None = None) -> dict[str, Tensor]:
        answered.append(fake.detach().clone())
        return generator_terms(critic, real, fake, given)

    monkeypatch.setattr(objective, "critic_terms", first)
    monkeypatch.setattr(objective, "generator_terms", second)
    three_steps(run)
    assert len(judged) == 3 * 2 * 2
    assert len(answered) == 3 * 2
    for step in range(3):
        for part in range(2):
            assert torch.equal(judged[4 * step + part], judged[4 * step + 2 + part]), "both rounds judge the same images"
            assert torch.equal(judged[4 * step + part], answered[2 * step + part])
    assert not torch.equal(judged[0], judged[1])
