"""Each key of ``train`` does what it says, seen from what a run computes.

Those of the watch are tested in test_watch.py, parts in test_training_parts.py, seed and schedule in test_training.py.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import annotated_types
import pytest
import torch
from torch import Tensor

import restorekit as rk
from restorekit import seeding
from restorekit.engine import checkpoint
from restorekit.engine.callbacks import history
from restorekit.engine.patience import Patience
from restorekit.engine.run import Run
from restorekit.engine.steps import Outcome
from restorekit.errors import ConfigError, TrainingError
from restorekit.settings import TrainSettings

CONTENT: dict[str, Any] = {
    "recipe": 1,
    "task": "denoise",
    "degradation": {"part": "core/gaussian-noise", "sigma": 0.1},
    "generator": {"part": "deblurgan/compact", "width": 8, "blocks": [1], "middle": 1},
    "critic": {"part": "deblurgan/patch70", "width": 4},
    "adversarial": {"part": "core/lsgan", "weight": 0.1},
    "losses": ["core/l1"],
    "data": {"train": "bundled", "crop": 32, "batch": 2, "validation_images": 1},
    "train": {"precision": "fp32", "watch": False, "steps": 100, "schedule": "constant"},
}
SUPERVISED = {"critic": None, "adversarial": None}


def recipe(changes: Mapping[str, Any] | None = None, **train: Any) -> rk.Recipe:
    return rk.recipe({**CONTENT, **(changes or {}), "train": {**CONTENT["train"], **train}})


def run_of(changes: Mapping[str, Any] | None = None, **train: Any) -> Run:
    with seeding.seeded("networks"):
        return Run(recipe(changes, **train).check(), "cpu", rk.registry())


def step(run: Run, number: int = 0) -> Outcome:
    run.seed(number)
    run.set_learning_rate(number)
    return run.step(run.put(run.patches.batch(number)), run.latent(number), play=number >= run.settings.critic_start)


def weights(network: torch.nn.Module | None) -> dict[str, Tensor]:
    assert network is not None
    return {name: value.detach().clone() for name, value in network.named_parameters()}


def moved(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    return max(float((after[name] - value).abs().max()) for name, value in before.items())


def critics_updates(run: Run) -> int:
    states = run.players["critic"].optimizer.state.values()
    return max((int(state["step"]) for state in states), default=0)


@pytest.mark.parametrize(("critic", "expected"), [(None, 1e-3), (4e-3, 4e-3)])
def test_two_learning_rates(critic: float | None, expected: float) -> None:
    """The first step of AdamW is as long as the learning rate, whatever the gradient."""
    run = run_of(learning_rate=1e-3, critic_learning_rate=critic)
    before = weights(run.generator), weights(run.critic)
    step(run)
    assert moved(before[0], weights(run.generator)) == pytest.approx(1e-3, rel=1e-2)
    assert moved(before[1], weights(run.critic)) == pytest.approx(expected, rel=1e-2)


def test_weight_decay_and_betas_are_those_of_adamw() -> None:
    run = run_of(SUPERVISED, learning_rate=1e-2, weight_decay=0.5, betas=[0.5, 0.7])
    reference = [value.detach().clone().requires_grad_() for value in run.generator.parameters()]
    optimizer = torch.optim.AdamW(reference, lr=1e-2, weight_decay=0.5, betas=(0.5, 0.7))
    for number in range(3):
        step(run, number)
        for mine, theirs in zip(run.generator.parameters(), reference, strict=True):
            assert mine.grad is not None
            theirs.grad = mine.grad.clone()
        optimizer.step()
    for mine, theirs in zip(run.generator.parameters(), reference, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_critic_steps() -> None:
    run = run_of(critic_steps=3)
    for number in range(2):
        step(run, number)
    assert critics_updates(run) == 6


def test_the_critic_joins_when_it_is_told_to() -> None:
    run = run_of(critic_start=2)
    before = weights(run.critic)
    for number in range(2):
        assert set(step(run, number).terms) == {"l1"}
        assert moved(before, weights(run.critic)) == 0
    assert {"l1", "fake", "critic real", "critic fake"} <= set(step(run, 2).terms)
    assert moved(before, weights(run.critic)) > 0


def test_a_critic_rests_below_its_limit() -> None:
    playing = step(run_of())
    assert playing.critic is not None
    for limit, updates in ((playing.critic + 0.01, 0), (playing.critic - 0.01, 1)):
        run = run_of(critic_rest=limit)
        before = weights(run.generator)
        step(run)
        assert critics_updates(run) == updates
        assert moved(before, weights(run.generator)) > 0, "the generator goes on"


def test_what_is_frozen_stays_as_it_is_for_so_many_steps() -> None:
    run = run_of(SUPERVISED, freeze={"networks.0.stem": 2, "networks.0.head": 1})
    network = run.generator.networks[0]
    before = {name: weights(getattr(network, name)) for name in ("stem", "head")}
    moves = []
    for number in range(3):
        step(run, number)
        moves.append({name: moved(before[name], weights(getattr(network, name))) > 0 for name in before})
    assert [(moving["stem"], moving["head"]) for moving in moves] == [(False, False), (False, True), (True, True)]


def test_a_run_that_was_stopped_while_something_was_frozen_goes_on_to_the_bit(tmp_path: Path) -> None:
    short = recipe(SUPERVISED, freeze={"networks.0.head": 2}, steps=3, checkpoint_every=1, keep=3)
    whole = rk.train(short, out=tmp_path / "whole", device="cpu").generator
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    for later in (tmp_path / "stopped").glob("checkpoint*.safetensors"):
        if later.name != "checkpoint-1.safetensors":
            later.unlink()
    again = rk.train(short, out=tmp_path / "stopped", resume=True, device="cpu").generator
    assert moved(weights(whole), weights(again)) == 0


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        ({"netwroks": 2}, r"train\.freeze: the generator has no module 'netwroks'\. Did you mean networks"),
        ({"networks": 2}, r"train\.freeze: networks is all of the generator"),
    ],
)
def test_what_cannot_be_frozen_is_refused(freeze: dict[str, int], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        run_of(SUPERVISED, freeze=freeze)


@pytest.mark.parametrize(("key", "player"), [("clip_gradient", "generator"), ("clip_critic_gradient", "critic")])
def test_gradients_are_clipped_to_their_norm(key: str, player: str) -> None:
    free = run_of()
    norm = step(free).signals[f"{player}'s gradient"]
    for limit in (norm / 10, norm * 10):
        run = run_of(**{key: limit})
        assert step(run).signals[f"{player}'s gradient"] == pytest.approx(norm, rel=1e-4), "what is reported is the norm before"
        gradients = [p.grad for p in run.players[player].network.parameters() if p.grad is not None]
        assert float(torch.nn.utils.get_total_norm(gradients)) == pytest.approx(min(norm, limit), rel=1e-3)


def test_bf16_is_used_for_maps_and_not_for_weights() -> None:
    run = run_of(SUPERVISED, precision="bf16")
    seen: set[torch.dtype] = set()
    for module in run.generator.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda module, given, made: seen.add(made.dtype))
    step(run)
    assert seen == {torch.bfloat16}
    assert {weight.dtype for weight in run.generator.parameters()} == {torch.float32}
    assert {weight.grad.dtype for weight in run.generator.parameters() if weight.grad is not None} == {torch.float32}


def test_channels_last_changes_the_layout_and_nothing_else() -> None:
    plain, other = run_of(), run_of(channels_last=True)
    for network in (other.generator, other.critic):
        assert network is not None
        assert all(w.is_contiguous(memory_format=torch.channels_last) for w in network.parameters() if w.dim() == 4)
    assert step(other).terms == pytest.approx(step(plain).terms, rel=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="compiling needs a C++ compiler")
def test_compiled_networks_compute_the_same() -> None:
    plain, other = run_of(), run_of(compile=True)
    for number in range(3):
        assert step(other, number).terms == pytest.approx(step(plain, number).terms, rel=1e-3, abs=1e-5)


def test_compiling_without_a_compiler_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TrainingError, match=r"train\.compile: needs a C\+\+ compiler.*g\+\+, or set train\.compile=false"):
        run_of(compile=True)


@pytest.mark.parametrize(("ema", "follows"), [(0.0, True), (0.9, False)])
def test_without_an_average_the_weights_themselves_are_saved(ema: float, follows: bool) -> None:
    run = run_of(SUPERVISED, ema=ema)
    for number in range(2):
        step(run, number)
        run.average.update(run.generator, number)
    assert (moved(weights(run.generator), weights(run.average.average)) == 0) is follows


def test_patience_ends_a_run_with_its_best_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    see, scores, seen = Patience.see, iter([20.0, 25.0, 24.0, 23.0]), []

    def judged(self: Patience, measured: Mapping[str, float]) -> None:
        seen.append({name: value.clone() for name, value in self.network.state_dict().items()})
        see(self, {**measured, "PSNR": next(scores)})

    monkeypatch.setattr(Patience, "see", judged)
    patient = recipe(SUPERVISED, validate_every=2, patience=2, ema=0.5)
    model = rk.train(patient, out=tmp_path, device="cpu")
    assert model.provenance["steps"] == 8
    assert model.scores["PSNR"] == 25
    for name, value in model.generator.state_dict().items():
        assert torch.equal(value, seen[1][name]), name
    again = rk.train(patient, out=tmp_path, device="cpu", resume=True)
    assert (again.provenance["steps"], again.scores) == (8, model.scores), "a run that has ended does not go on"
    for name, value in again.generator.state_dict().items():
        assert torch.equal(value, seen[1][name]), name


def test_when_it_validates_and_what_it_keeps(tmp_path: Path) -> None:
    rk.train(recipe(SUPERVISED, steps=11, validate_every=4, checkpoint_every=2, keep=3), out=tmp_path, device="cpu")
    assert [entry["step"] for entry in history(tmp_path / "history.jsonl") if "scores" in entry] == [4, 8, 11]
    assert {path.name for path in tmp_path.glob("check*")} == {checkpoint.NAME, "checkpoint-10.safetensors", "checkpoint-8.safetensors"}


# Bounds and documentation of all keys, as the class declares them.


def out_of_bounds() -> list[tuple[str, Any]]:
    """A value beyond each bound of each key, beside one of another type."""
    found: list[tuple[str, Any]] = []
    for key, hint in typing.get_type_hints(TrainSettings, include_extras=True).items():
        found.append((key, {"no": "such value"}))
        for annotated in (hint, *typing.get_args(hint)):
            for bound in getattr(annotated, "__metadata__", ()):
                if isinstance(bound, annotated_types.Ge):
                    found.append((key, bound.ge - 1))
                elif isinstance(bound, annotated_types.Gt):
                    found.append((key, bound.gt))
                elif isinstance(bound, annotated_types.Lt):
                    found.append((key, bound.lt))
    return found


@pytest.mark.parametrize(("key", "value"), out_of_bounds())
def test_values_out_of_bounds_are_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"train\.{key}"):
        recipe(**{key: value}).check()


def test_every_number_has_bounds() -> None:
    free = {"critic_rest"}  # a loss may have any value
    bounded = {key for key, value in out_of_bounds() if not isinstance(value, dict)} | {"betas"}
    hints = typing.get_type_hints(TrainSettings)
    numbers = {key for key, hint in hints.items() if {int, float} & {hint, *typing.get_args(hint)}}
    assert numbers - bounded - free == set()


def test_every_key_is_documented() -> None:
    guide = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    for field in dataclasses.fields(TrainSettings):
        assert re.search(rf"^\| `{field.name}` \|", guide, re.MULTILINE), field.name
        assert re.search(rf"^        {field.name}: ", TrainSettings.__doc__ or "", re.MULTILINE), field.name
