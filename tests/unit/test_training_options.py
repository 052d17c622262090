"""Settings of the loop, one after another."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import restorekit as rk
from restorekit import engine, seeding
from restorekit.engine import checkpoint, report
from restorekit.engine.callbacks import Callback, history
from restorekit.engine.players import NonFiniteError, Player
from restorekit.engine.run import Run
from restorekit.errors import TrainingError

CONTENT: dict[str, Any] = {
    "recipe": 1,
    "task": "denoise",
    "degradation": {"part": "core/gaussian-noise", "sigma": 0.1},
    "generator": {"part": "deblurgan/resnet9", "blocks": 1, "width": 4},
    "losses": ["core/l1"],
    "data": {"train": "bundled", "crop": 32, "batch": 4, "validation_images": 1},
    "train": {"steps": 4, "precision": "fp32", "validate_every": 100, "checkpoint_every": 100, "ema": 0, "watch_every": 2},
}
GAME = {"critic": {"part": "deblurgan/patch70", "width": 4}, "adversarial": {"part": "core/wgan-gp", "weight": 0.01}}


def recipe(**changes: Any) -> rk.Recipe:
    made = rk.recipe(CONTENT)
    for key, value in changes.items():
        made = made.set(key.replace("__", "."), value)
    return made


def build(**changes: Any) -> Run:
    with seeding.seeded("networks"):
        return Run(recipe(**changes).check(), "cpu", rk.registry())


class Recorder(Callback):
    def __init__(self) -> None:
        self.terms: list[Mapping[str, float]] = []
        self.scores: list[Mapping[str, float]] = []
        self.weights: list[dict[str, Tensor]] = []

    def step(self, step: int, terms: Mapping[str, float], *, images: int, learning_rate: float) -> None:
        self.terms.append(terms)

    def validated(self, step: int, scores: Mapping[str, float], rows: list[tuple[Tensor, ...]]) -> None:
        self.scores.append(scores)


def gradients(run: Run, kind: str) -> Tensor:
    network = run.generator if kind == "generator" else run.critic
    assert network is not None
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.parametrize("objective", [None, "core/hinge", "core/wgan-gp"])
@pytest.mark.parametrize("parts", [2, 4])
def test_micro_batches_add_up_to_the_batch(objective: str | None, parts: int) -> None:
    changes: dict[str, Any] = {} if objective is None else {**GAME, "adversarial": {"part": objective, "weight": 0.1}}
    whole, divided = build(**changes), build(**changes, train__micro_batches=parts)
    sizes: list[int] = []
    divided.generator.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    outcomes = []
    for run in (whole, divided):
        torch.manual_seed(3)
        outcomes.append(run.step(run.patches.batch(0), None))
    assert set(sizes) == {4 // parts}
    assert outcomes[1].terms == pytest.approx(outcomes[0].terms, rel=1e-4, abs=1e-6)
    for kind in ["generator"] if objective is None else ["generator", "critic"]:
        one, many = gradients(whole, kind), gradients(divided, kind)
        assert float((one - many).norm()) < 1e-4 * float(one.norm())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__micro_batches": 3}, r"train.micro_batches: 3 equal parts do not make data.batch=4"),
        ({"train__precision": "fp16"}, r"train.precision: fp16 needs a CUDA device, this run is on cpu"),
        ({**GAME, "losses": [], "train__critic_start": 5}, r"train.critic_start: without losses"),
        ({**GAME, "critic__channels": 1}, r"critic: judges 1 channels, the generator makes 3"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        build(**changes)


def test_the_critic_joins_late() -> None:
    recorder = Recorder()
    rk.train(recipe(**GAME, train__critic_start=2), device="cpu", callbacks=[recorder])
    assert [set(terms) for terms in recorder.terms[:2]] == [{"l1"}] * 2
    assert all({"critic penalty", "fake", "l1"} <= set(terms) for terms in recorder.terms[2:])


@pytest.mark.parametrize(("rest", "moves"), [(1e9, False), (-1e9, True), (None, True)])
def test_a_critic_that_is_good_enough_rests(rest: float | None, moves: bool) -> None:
    run = build(**GAME, train__critic_rest=rest)
    assert run.critic is not None
    before = [p.clone() for p in run.critic.parameters()]
    run.step(run.patches.batch(0), None)
    assert any(not torch.equal(a, b) for a, b in zip(before, run.critic.parameters(), strict=True)) == moves


def test_each_players_gradient_is_clipped_by_its_own_limit() -> None:
    run = build(**GAME, train__clip_gradient=0.01, train__clip_critic_gradient=0.02)
    outcome = run.step(run.patches.batch(0), None)
    for kind, limit in (("generator", 0.01), ("critic", 0.02)):
        assert outcome.signals[f"{kind}'s gradient"] > limit
        assert float(gradients(run, kind).norm()) == pytest.approx(limit, rel=1e-3)


class _Infinite(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient * math.inf


def player(scaler: torch.amp.GradScaler | None) -> Player:
    torch.manual_seed(0)
    network = nn.Linear(3, 1)
    fabric = Fabric(accelerator="cpu", devices=1)
    wrapped, optimizer = fabric.setup(network, torch.optim.AdamW(network.parameters(), lr=0.1))
    return Player("generator", wrapped, optimizer, 0.1, None, scaler)


def update(one: Player, *, infinite: bool = False) -> dict[str, float]:
    one.optimizer.zero_grad()
    out = one.network(torch.ones(2, 3))
    loss = (_Infinite.apply(out) if infinite else out).square().mean()
    fabric = Fabric(accelerator="cpu", devices=1)
    one.backward(fabric, loss)
    return one.update(fabric, {"l2": loss}, {})


def test_a_gradient_that_is_not_finite_is_named_and_nothing_moves() -> None:
    one = player(None)
    before = [p.clone() for p in one.network.parameters()]
    with pytest.raises(NonFiniteError, match="generator's gradient became non-finite"):
        update(one, infinite=True)
    assert all(torch.equal(a, b) for a, b in zip(before, one.network.parameters(), strict=True))


def test_scaled_gradients_do_what_plain_ones_do() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=1)
    plain, scaled = player(None), player(scaler)
    for _ in range(3):
        assert update(scaled) == pytest.approx(update(plain))
    for a, b in zip(plain.network.parameters(), scaled.network.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert scaler.get_scale() == 2.0**13
    before = [p.clone() for p in scaled.network.parameters()]
    update(scaled, infinite=True)
    assert scaler.get_scale() == 2.0**12
    assert all(torch.equal(a, b) for a, b in zip(before, scaled.network.parameters(), strict=True))


def test_a_scaler_is_in_the_checkpoint(tmp_path: Path) -> None:
    scalers = [torch.amp.GradScaler("cpu", init_scale=scale) for scale in (2.0**7, 2.0**16)]
    players = [player(scaler) for scaler in scalers]
    states = [
        checkpoint.State({"generator": p.network}, {"generator": p.optimizer}, {"generator": scaler})
        for p, scaler in zip(players, scalers, strict=True)
    ]
    update(players[0])
    checkpoint.save(tmp_path, states[0], step=1, recipe=recipe().check(), extras={})
    checkpoint.load(tmp_path, states[1], recipe=recipe().check(), registry=rk.registry())
    update(players[1])  # a scaler is made when it is first used
    assert scalers[1].get_scale() == 2.0**7


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["core/hinge", "core/wgan-gp"])
def test_compiled_networks_train_alike_and_keep_their_names(objective: str, tmp_path: Path) -> None:
    made = recipe(**{**GAME, "adversarial": {"part": objective, "weight": 0.1}}, train__steps=2, data__batch=2)
    first, second = Recorder(), Recorder()
    plain = rk.train(made, device="cpu", callbacks=[first])
    compiled = rk.train(made.set("train.compile", True), out=tmp_path, device="cpu", callbacks=[second])
    assert list(compiled.generator.state_dict()) == list(plain.generator.state_dict())
    assert second.terms[0] == pytest.approx(first.terms[0], rel=1e-3, abs=1e-4)
    assert rk.load(tmp_path / "model.safetensors").generator is not None


def test_patience_ends_the_run_with_the_best_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[tuple[float, dict[str, Tensor]]] = []
    scores = itertools.chain([20.0, 22.0, 21.0, 22.0], itertools.repeat(0.0))

    def validate(self: Run, step: int, listeners: Any, *, images: int | None = None) -> dict[str, float]:
        found = {"PSNR": next(scores)}
        scored.append((found["PSNR"], {k: v.clone() for k, v in self.average.average.state_dict().items()}))
        assert self.patience is not None
        self.patience.see(found)
        return found

    monkeypatch.setattr(Run, "validate", validate)
    made = recipe(train__steps=50, train__validate_every=2, train__patience=2)
    model = rk.train(made, out=tmp_path, device="cpu")
    assert len(scored) == 4
    assert model.scores == {"PSNR": 22.0}
    assert model.provenance["steps"] == 8
    for name, value in model.generator.state_dict().items():
        assert torch.equal(value, scored[1][1][name])
    again = rk.train(made, out=tmp_path, resume=True, device="cpu")
    assert len(scored) == 4, "nothing is left to do"
    assert again.scores == model.scores
    for name, value in model.generator.state_dict().items():
        assert torch.equal(value, again.generator.state_dict()[name])


def test_patience_needs_a_score() -> None:
    latent = rk.recipe("dcgan/patches64").set("data.train", "bundled").set("train.patience", 3)
    with pytest.raises(TrainingError, match=r"train\.patience: .* no PSNR"):
        Run(latent.check(), "cpu", rk.registry())


def test_starting_from_a_model(tmp_path: Path) -> None:
    first = rk.train(recipe(), device="cpu")
    first.save(tmp_path / "first.safetensors", half=True)
    run = Run(recipe(train__seed=5).check(), "cpu", rk.registry(), rk.load(tmp_path / "first.safetensors"))
    for name, value in first.generator.state_dict().items():
        assert torch.equal(run.generator.state_dict()[name], value.half().float())
        assert torch.equal(run.average.average.state_dict()[name], value.half().float())
    assert not run.players["generator"].optimizer.state_dict()["state"], "a fresh optimiser"
    out = tmp_path / "second"
    second = rk.train(recipe(train__learning_rate=1e-9, train__checkpoint_every=2), init=tmp_path / "first.safetensors", out=out)
    assert second.provenance["started from"] == "first.safetensors"
    for name, value in second.generator.state_dict().items():
        torch.testing.assert_close(value, first.generator.state_dict()[name], rtol=1e-3, atol=1e-3)
    assert rk.train(recipe(train__learning_rate=1e-9, train__checkpoint_every=2), out=out, resume=True).provenance["started from"]
    with pytest.raises(TrainingError, match=r"--resume goes on .* --init starts from others"):
        rk.train(recipe(), out=out, resume=True, init=first)


def test_every_tensor_that_does_not_fit_is_listed() -> None:
    model = rk.train(recipe(train__steps=1), device="cpu")
    with pytest.raises(TrainingError, match=r"tensors do not fit") as refusal:
        rk.train(recipe(generator__width=8, generator__blocks=2), init=model, device="cpu")
    text = str(refusal.value)
    theirs = model.generator.state_dict()
    ours = rk.registry().create("generator", "deblurgan/resnet9", width=8, blocks=2).state_dict()
    wrong = {
        name for name in theirs.keys() | ours.keys() if name not in theirs or name not in ours or theirs[name].shape != ours[name].shape
    }
    assert len(wrong) > 6
    assert all(f"{name} is" in text for name in wrong)
    assert f"{len(wrong)} tensors" in text
    assert "generator.width=4 (here 8)" in text


def test_a_rehearsal_writes_nothing(tmp_path: Path) -> None:
    torch.manual_seed(9)
    before = torch.get_rng_state()
    found = engine.rehearse(recipe(**GAME, train__steps=1000, train__critic_start=500), out=tmp_path / "run", device="cpu")
    assert torch.equal(before, torch.get_rng_state())
    assert not list(tmp_path.iterdir())
    assert {"l1", "fake", "critic penalty"} <= found.terms.keys(), "the critic too, though it would join later"
    assert found.steps == 1000
    assert found.seconds == pytest.approx(1000 * found.step_seconds + 10 * found.validation_seconds)
    assert 0 < found.step_seconds < 10
    assert found.scores.keys() == {"PSNR", "PSNR of input"}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / checkpoint.NAME).write_bytes(b"")
    with pytest.raises(TrainingError, match="holds a run already"):
        engine.rehearse(recipe(), out=tmp_path / "run", device="cpu")


def test_a_checkpoint_of_the_first_version_can_be_resumed(tmp_path: Path) -> None:
    made = recipe(train__steps=4, train__checkpoint_every=2, train__ema=0.5)
    whole = rk.train(made, out=tmp_path, device="cpu")
    path = tmp_path / checkpoint.NAME
    path.unlink()
    (tmp_path / "checkpoint-2.safetensors").rename(path)
    with safe_open(path, framework="pt") as opened:
        metadata = opened.metadata()
    content = json.loads(metadata["recipe"])
    known = "steps seed learning_rate critic_learning_rate betas weight_decay schedule warmup critic_steps ema clip_gradient precision"
    known += " channels_last validate_every checkpoint_every"
    content["train"] = {key: content["train"][key] for key in known.split()}
    old = {"step": metadata["step"], "groups": metadata["groups"], "recipe": json.dumps(content)}
    save_file(load_file(path), path, old)
    resumed = rk.train(made, out=tmp_path, resume=True, device="cpu")
    for name, value in whole.generator.state_dict().items():
        assert torch.equal(value, resumed.generator.state_dict()[name])


def test_the_report_shows_curves_and_pictures(tmp_path: Path) -> None:
    rk.train(recipe(**GAME, train__steps=40, train__validate_every=10, data__batch=1), out=tmp_path, device="cpu")
    shown = report.diagrams(history(tmp_path / "history.jsonl"))
    titles = [diagram.title for diagram in shown]
    assert titles[:2] == ["losses", "validation, dB"]
    assert {"critic", "logits of real and made images", "norms of gradients", "learning rate"} <= set(titles)
    assert len(shown[1].curves["PSNR"]) == 4
    sheet = Image.open(tmp_path / "report.png")
    height = report.HEIGHT * math.ceil(len(shown) / 2)
    assert sheet.width == 2 * report.WIDTH
    assert sheet.height > height + 100, "pictures below the diagrams"
    lowest = sheet.crop((0, height, sheet.width, sheet.height))
    assert len(lowest.getcolors(1 << 24) or ()) > 1000, "photographs"


def test_a_curve_goes_where_its_values_are() -> None:
    rising = report.Diagram("x", {"a": [(0, 0.0), (100, 1.0)]}, events=[50])
    tile = report.draw([rising], [])
    blue = [
        (x, y)
        for x in range(report.MARGIN[0] + 2, report.WIDTH - report.MARGIN[2])
        for y in range(report.MARGIN[1] + 2, report.HEIGHT - report.MARGIN[3])
        if tile.getpixel((x, y)) == report.COLOURS[0]
    ]
    left, right = min(blue), max(blue)
    assert left[0] < report.MARGIN[0] + 10 < report.WIDTH - 40 < right[0]
    assert left[1] > report.HEIGHT - 80 > 60 > right[1]
    middle = (report.MARGIN[0] + report.WIDTH - report.MARGIN[2]) // 2
    assert tile.getpixel((middle, report.MARGIN[1] + 5)) == report.ALARM


@pytest.mark.parametrize("curve", [[(1.0, 0.0)], [(1.0, 2.0), (2.0, 2.0)], [(5.0, 1e-9), (6.0, 1e9)], [(1.0, -3.0), (2.0, 4.0)]])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_any_curve_can_be_drawn(curve: list[tuple[float, float]], logarithmic: bool) -> None:
    assert report.draw([report.Diagram("x", {"a": curve}, logarithmic)], []).width == 2 * report.WIDTH
