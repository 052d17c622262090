"""Training: deterministic, resumable, and it learns."""

from __future__ import annotations

import io
import json
import math
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import restorekit as rk
from restorekit import interrupt
from restorekit.engine import checkpoint
from restorekit.engine.callbacks import GRID_SIDE, Callback, Progress
from restorekit.engine.ema import Ema
from restorekit.engine.loop import _batches
from restorekit.engine.microbatches import divide
from restorekit.engine.run import Run
from restorekit.engine.schedule import schedule
from restorekit.engine.steps import term_names
from restorekit.errors import Stopped, TrainingError
from restorekit.settings import TrainSettings

COMPACT = {"part": "deblurgan/compact", "width": 8, "blocks": [1], "middle": 1}
SUPERVISED: dict[str, Any] = {
    "recipe": 1,
    "task": "deblur",
    "degradation": [{"part": "core/camera-shake", "length": [3, 7]}, {"part": "core/gaussian-noise", "sigma": 0.01}],
    "generator": COMPACT,
    "losses": [{"part": "core/charbonnier"}],
    "data": {"train": "bundled", "crop": 32, "batch": 2, "validation_images": 1},
    "train": {"steps": 6, "precision": "fp32", "validate_every": 100, "checkpoint_every": 3, "ema": 0.9},
}
ADVERSARIAL: dict[str, Any] = {
    **SUPERVISED,
    "generator": {"part": "deblurgan/resnet9", "blocks": 1, "width": 4},
    "critic": {"part": "deblurgan/patch70", "width": 4},
    "adversarial": {"part": "core/wgan-gp", "weight": 0.01},
    "train": {**SUPERVISED["train"], "critic_steps": 2},
}


class Recorder(Callback):
    def __init__(self) -> None:
        self.terms: list[Mapping[str, float]] = []

    def step(self, step: int, terms: Mapping[str, float], *, images: int, learning_rate: float) -> None:
        self.terms.append(terms)


class StopAfter(Callback):
    def __init__(self, step: int) -> None:
        self.last = step

    def step(self, step: int, terms: Mapping[str, float], *, images: int, learning_rate: float) -> None:
        if step == self.last:
            signal.raise_signal(signal.SIGINT)


def weights(model: rk.Model) -> dict[str, torch.Tensor]:
    return model.generator.state_dict()


def assert_equal(first: rk.Model, second: rk.Model) -> None:
    for name, value in weights(first).items():
        assert torch.equal(value, weights(second)[name]), name


@pytest.mark.parametrize("content", [SUPERVISED, ADVERSARIAL], ids=["supervised", "adversarial"])
def test_stopping_and_resuming_changes_nothing(content: dict[str, Any], tmp_path: Path) -> None:
    recipe = rk.recipe(content)
    whole = rk.train(recipe, device="cpu")
    with pytest.raises(Stopped, match=r"stopped after 4 of 6 steps.*--resume"):
        rk.train(recipe, out=tmp_path, device="cpu", callbacks=[StopAfter(4)])
    with pytest.raises(rk.UserError, match=r"checkpoint\.safetensors: a checkpoint, .* training ends with .*model\.safetensors"):
        rk.load(tmp_path / checkpoint.NAME)
    recorder = Recorder()
    resumed = rk.train(recipe, out=tmp_path, resume=True, device="cpu", callbacks=[recorder])
    assert len(recorder.terms) == 2
    assert_equal(whole, resumed)


def test_the_seed_decides_and_the_global_state_is_left_alone() -> None:
    recipe = rk.recipe(ADVERSARIAL)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = rk.train(recipe, device="cpu")
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(12)
    assert_equal(first, rk.train(recipe, device="cpu"))
    other = rk.train(recipe.set("train.seed", 1), device="cpu")
    assert any(not torch.equal(v, weights(other)[n]) for n, v in weights(first).items())


def test_a_signal_that_comes_twice_within_a_moment_is_one(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A terminal sends Ctrl-C to all processes, and the one that has started the others passes it on to them."""
    clock = iter([10.0, 10.5, 11.5])
    monkeypatch.setattr(interrupt, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with interrupt.Interrupt(settle=1.0) as asked:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert asked.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert capfd.readouterr().err.count("once more to stop at once") == 1


def test_it_learns_to_denoise() -> None:
    recipe = rk.recipe(
        {
            **SUPERVISED,
            "degradation": {"part": "core/gaussian-noise", "sigma": 0.1},
            "data": {**SUPERVISED["data"], "batch": 8, "validation_images": 2},
            "train": {**SUPERVISED["train"], "steps": 120, "learning_rate": 3e-3},
        }
    )
    scores = rk.train(recipe, device="cpu").scores
    assert scores["PSNR"] > scores["PSNR of input"] + 1.5


def test_the_bar_shows_terms_score_and_speed() -> None:
    bar = Progress()
    bar.start(0, 40)
    try:
        for step, value in ((1, 0.2), (2, 0.4)):
            bar.step(step, {"l1": value, "fake": 0.01, "critic real": 1.0}, images=4, learning_rate=1e-3)
        bar.validated(2, {"PSNR": 27.123, "PSNR of input": 24.0}, [])
        bar.step(3, {"l1": 0.4, "fake": 0.01, "critic real": 1.0}, images=4, learning_rate=1e-3)
        (task,) = bar.bar.tasks
    finally:
        bar.close()
    assert (task.completed, task.total) == (3, 40)
    assert re.fullmatch(r"l1 0\.208  fake 0\.01  \d+\.\d images/s  PSNR 27\.12 dB", task.fields["shown"])


def test_everything_a_run_writes(tmp_path: Path) -> None:
    model = rk.train(rk.recipe({**SUPERVISED, "train": {**SUPERVISED["train"], "steps": 20}}), out=tmp_path, device="cpu")
    assert_equal(model, rk.load(tmp_path / "model.safetensors"))
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "terms" in line] == [10, 20]
    assert [line["scores"]["PSNR"] for line in lines if "scores" in line] == [model.scores["PSNR"]]
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"loss/charbonnier", "learning_rate", "validation/PSNR", "watch/generator's gradient"} <= set(board.Tags()["scalars"])
    assert [event.step for event in board.Scalars("loss/charbonnier")] == [10, 20]
    assert [event.step for event in board.Images("pictures")] == [20]
    with Image.open(io.BytesIO(board.Images("pictures")[0].encoded_image_string)) as shown:
        assert shown.size == (3 * GRID_SIDE, GRID_SIDE), "one photograph: input, result, target"
    written = {"model.safetensors", "history.jsonl", "report.png", "tensorboard", checkpoint.NAME, "checkpoint-18.safetensors"}
    assert {p.name for p in tmp_path.iterdir()} == written


def test_a_checkpoint_of_another_recipe_is_refused_by_key(tmp_path: Path) -> None:
    rk.train(rk.recipe(SUPERVISED), out=tmp_path, device="cpu")
    before = (tmp_path / checkpoint.NAME).read_bytes()
    other = rk.recipe(SUPERVISED).set("generator.width", 4).set("data.crop", 64)
    with pytest.raises(TrainingError, match=r"differ: data\.crop, generator\.width"):
        rk.train(other, out=tmp_path, resume=True, device="cpu")
    assert (tmp_path / checkpoint.NAME).read_bytes() == before


def test_resuming_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no checkpoint to resume from"):
        rk.train(rk.recipe(SUPERVISED), out=tmp_path, resume=True, device="cpu")


def test_resuming_a_run_that_is_at_its_end_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = rk.train(rk.recipe(SUPERVISED), out=tmp_path, device="cpu")
    history = (tmp_path / "history.jsonl").read_text()
    for steps in (6, 4):
        said = rf"at step 6 already, and train\.steps is {steps}: no step is left to do"
        with pytest.warns(UserWarning, match=said):
            again = rk.train(rk.recipe(SUPERVISED).set("train.steps", steps), out=tmp_path, resume=True, device="cpu", progress=True)
        assert_equal(trained, again)
        assert (tmp_path / "history.jsonl").read_text() == history
        assert f"/{steps}" not in capsys.readouterr().err, "a bar"


def test_a_new_run_does_not_write_over_an_old_one(tmp_path: Path) -> None:
    rk.train(rk.recipe(SUPERVISED), out=tmp_path, device="cpu")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(TrainingError, match="holds a run already"):
        rk.train(rk.recipe(SUPERVISED), out=tmp_path, device="cpu")
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}


def test_a_damaged_checkpoint_says_so(tmp_path: Path) -> None:
    recipe = rk.recipe(SUPERVISED).set("train.keep", 1)
    rk.train(recipe, out=tmp_path, device="cpu")
    path = tmp_path / checkpoint.NAME
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="not a whole checkpoint"):
        rk.train(recipe, out=tmp_path, resume=True, device="cpu")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data.train", "", "data.train: which photographs"),
        ("data.train", "no-such-folder", "no such folder"),
        ("data.crop", 36, r"critic|data\.crop|multiple of|36"),
        ("data.crop", 4096, "no usable image.*smaller than the 4096"),
        ("degradation", None, "degradation: missing"),
    ],
)
def test_what_cannot_be_trained_is_said_before_the_first_step(key: str, value: Any, message: str) -> None:
    content = {**SUPERVISED, "generator": {**COMPACT, "blocks": [1, 1]}}
    recorder = Recorder()
    with pytest.raises(rk.UserError, match=message):
        rk.train(rk.recipe(content).set(key, value), device="cpu", callbacks=[recorder])
    assert not recorder.terms


def test_a_critic_of_other_channels_is_refused() -> None:
    recipe = rk.recipe(ADVERSARIAL).set("critic.channels", 1)
    with pytest.raises(TrainingError, match=r"critic: judges 1 channels, the generator makes 3"):
        rk.train(recipe, device="cpu")


def test_feature_networks_run_in_the_precision_of_the_run() -> None:
    features = {"part": "core/vgg16", "weights": "random"}
    losses = [{"part": "core/perceptual", "features": features, "layers": ["conv1_2"]}]
    recipe = rk.recipe({**SUPERVISED, "losses": losses}).set("train.precision", "bf16")
    run = Run(recipe.check(), "cpu", rk.registry())
    kinds = []
    run.shared[0].inner.register_forward_hook(lambda network, given, maps: kinds.append(maps["conv1_2"].dtype))
    run.step(run.patches.batch(0), None)
    assert kinds == [torch.bfloat16, torch.bfloat16], "of the restored and of the sharp image"


def test_a_term_that_is_not_finite_is_named() -> None:
    run = Run(rk.recipe(SUPERVISED).check(), "cpu", rk.registry())
    batch = run.patches.batch(0)
    before = {k: v.clone() for k, v in run.generator.state_dict().items()}
    batch.sharp[0, 0, 0, 0] = math.nan
    with pytest.raises(TrainingError, match="the batch became non-finite"):
        run.put(batch)
    with pytest.raises(TrainingError, match="charbonnier and generator's gradient became non-finite"):
        run.step(batch, None)
    assert all(torch.equal(v, before[k]) for k, v in run.generator.state_dict().items())


def test_the_critics_rounds_leave_the_generator_and_the_reverse() -> None:
    run = Run(rk.recipe(ADVERSARIAL).check(), "cpu", rk.registry())
    batch = run.patches.batch(0)
    game = run.step.game
    assert game is not None
    assert run.critic is not None
    generator = {k: v.clone() for k, v in run.generator.state_dict().items()}
    critic = {k: v.clone() for k, v in run.critic.state_dict().items()}
    fake = run.generator(batch.degraded.image)
    game.critic_rounds(run.step.fabric, divide(batch, None, 1), [fake.detach()], run.step.autocast)
    assert all(p.grad is None for p in run.generator.parameters())
    assert all(torch.equal(v, generator[k]) for k, v in run.generator.state_dict().items())
    assert any(not torch.equal(v, critic[k]) for k, v in run.critic.state_dict().items())
    for parameter in run.critic.parameters():
        parameter.grad = None
    sum(game.generator_terms(divide(batch, None, 1)[0], fake, run.step.autocast).values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is None for p in run.critic.parameters())
    assert any(p.grad is not None for p in run.generator.parameters())


def test_ema_follows_its_formula() -> None:
    network, copied = (rk.registry().create("generator", "deblurgan/compact", width=4, blocks=(1,), middle=0) for _ in range(2))
    average = Ema(copied, 0.5)
    followed, follows = next(network.parameters()), next(average.average.parameters())
    expected = follows.detach().clone()
    for step in range(12):
        with torch.no_grad():
            followed.add_(1.0)
        average.update(network, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * followed.detach()
    torch.testing.assert_close(follows.detach(), expected)


@pytest.mark.parametrize("name", ["cosine", "linear", "constant"])
def test_schedules_agree_with_torch(name: str) -> None:
    settings = TrainSettings(steps=100, schedule=name, learning_rate=1.0)  # type: ignore[arg-type]
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = {
        "cosine": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100, eta_min=0.01),
        "linear": torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: 1.0 if s <= 50 else 1 - (s - 50) / 50),
        "constant": torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0),
    }[name]
    for step in range(100):
        assert schedule(settings, step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        scheduler.step()


def test_warm_up_rises_linearly() -> None:
    settings = TrainSettings(steps=100, warmup=10, schedule="constant")
    assert [schedule(settings, s) for s in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])


def test_terms_are_named_apart() -> None:
    assert term_names(["core/l1", "core/perceptual", "core/perceptual"]) == ["l1", "perceptual", "perceptual 2"]


def test_equal_feature_networks_run_once_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    squeezenet = {"part": "core/squeezenet", "weights": "random"}
    recipe = rk.recipe(
        {
            **SUPERVISED,
            "losses": [
                {"part": "core/perceptual", "features": squeezenet, "layers": ["features.0"]},
                {"part": "core/perceptual", "features": dict(squeezenet), "layers": ["features.3"]},
            ],
        }
    )
    run = Run(recipe.check(), "cpu", rk.registry())
    assert len(run.shared) == 1
    calls: list[int] = []
    run.shared[0].inner.register_forward_hook(lambda *_: calls.append(1))
    for step in range(2):
        calls.clear()
        report = run.step(run.patches.batch(step), None).terms
    assert len(calls) == 2, "one pass for the result, one for the target"
    assert set(report) == {"perceptual", "perceptual 2"}


def test_a_latent_generator_trains_and_its_file_carries_the_critic(tmp_path: Path) -> None:
    recipes = [p for p in rk.registry().of_kind("recipe") if rk.recipe(p.name).content.get("task") == "generate"]
    assert recipes, "a bundled plugin brings a recipe that generates images"
    recipe = rk.recipe(recipes[0].name).set("data.train", "bundled").set("data.batch", 2)
    recipe = recipe.set("train.steps", 2).set("generator.width", 4).set("critic.width", 4)
    model = rk.train(recipe, out=tmp_path, device="cpu")
    loaded = rk.load(tmp_path / "model.safetensors")
    assert loaded.critic is not None
    assert model.critic is not None
    for name, value in model.critic.state_dict().items():
        assert torch.equal(value, loaded.critic.state_dict()[name])


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize("first", [0, 3, 5])
def test_batches_come_in_order_whether_read_ahead_or_not(kind: str, first: int) -> None:
    """Reading ahead needs no accelerator: batches are made on the processor."""
    asked: list[int] = []
    patches = SimpleNamespace(batch=lambda step: asked.append(step) or f"batch {step}")
    run: Any = SimpleNamespace(device=torch.device(kind), settings=TrainSettings(steps=5), patches=patches)
    assert list(_batches(run, first)) == [(step, f"batch {step}") for step in range(first, 5)]
    assert asked == list(range(first, 5))
