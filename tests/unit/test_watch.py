"""The watch: it leaves healthy runs alone and brings broken ones to an end that is worth having, by measured scores."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor, nn

import restorekit as rk
from restorekit import discovery
from restorekit.engine.callbacks import Callback
from restorekit.engine.data import Batch, PatchSource
from restorekit.engine.run import Run
from restorekit.engine.symptoms import LASTS, LONG, Alarm, Seen, Symptoms
from restorekit.engine.watch import Event
from restorekit.errors import TrainingError
from restorekit.hooks import Part
from restorekit.interfaces import Critic, Generator
from restorekit.registries import RegisteredPart, Registry

USABLE = 0.5
"""dB above the input that a run must reach to be of use."""


class Residual(Generator):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(12, 3, 3, padding=1))
        nn.init.zeros_(self.net[2].weight)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        return x + self.net(x)


class Plain(Generator):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 1))

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        return self.net(x)


class EndsInRelu(Generator):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1), nn.ReLU())
        nn.init.constant_(self.net[2].bias, 0.5)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        return self.net(x)


class Judge(Critic):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 3)
        )

    def forward(self, image: Tensor | tuple[Tensor, ...], given: Tensor | None = None) -> tuple[Tensor, ...]:
        return (self.net(image),)


def part(kind: str, name: str, target: type) -> RegisteredPart:
    record = Part(kind, name, f"{__name__}:{target.__name__}", summary="a tiny network", paper="textbook", licence="MIT")
    return RegisteredPart(record, "test", "restorekit-test", "1.0", 1)


PARTS = (
    part("generator", "residual", Residual),
    part("generator", "plain", Plain),
    part("generator", "ends-in-relu", EndsInRelu),
    part("critic", "judge", Judge),
)


@pytest.fixture(scope="module")
def registry() -> Registry:
    installed = discovery.registry()
    return Registry([*installed.parts, *PARTS], installed.plugins, installed.problems)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for use, across in (("train", slice(128)), ("validation", slice(128, 256))):
        (folder / use).mkdir()
        for name in ("astronaut", "chelsea", "coffee", "rocket"):
            Image.fromarray(getattr(skimage.data, name)()[::2, ::2][:96, across]).save(folder / use / f"{name}.png")
    return folder


def recipe(photographs: Path, **changes: Any) -> rk.Recipe:
    """A small denoiser; `changes` are keys with __ for the dot."""
    made = rk.recipe(
        {
            "recipe": 1,
            "task": "denoise",
            "degradation": {"part": "core/gaussian-noise", "sigma": 0.1},
            "generator": "test/residual",
            "losses": ["core/l1"],
            "data": {
                "train": str(photographs / "train"),
                "validation": str(photographs / "validation"),
                "crop": 32,
                "batch": 4,
                "validation_images": 4,
            },
            "train": {
                "steps": 200,
                "learning_rate": 3e-3,
                "precision": "fp32",
                "validate_every": 10_000,
                "checkpoint_every": 10_000,
                "ema": 0.9,
                "watch_every": 10,
            },
        }
    )
    for key, value in changes.items():
        made = made.set(key.replace("__", "."), value)
    return made


GAME = {"critic": "test/judge", "adversarial": {"part": "core/wgan-gp", "weight": 0.01}}


class Log(Callback):
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.signals: list[Mapping[str, float]] = []

    def rescued(self, step: int, event: Event) -> None:
        assert step == event.step
        self.events.append(event)

    def measured(self, step: int, signals: Mapping[str, float]) -> None:
        self.signals.append(signals)


class StopAfter(Callback):
    def __init__(self, step: int) -> None:
        self.last = step

    def measured(self, step: int, signals: Mapping[str, float]) -> None:
        if step == self.last:
            signal.raise_signal(signal.SIGINT)


def train(recipe: rk.Recipe, registry: Registry, **more: Any) -> tuple[rk.Model, Log]:
    log = Log()
    return rk.train(recipe, device="cpu", callbacks=[log, *more.pop("callbacks", [])], registry=registry, **more), log


def gain(model: rk.Model) -> float:
    """Decibels of the result above its input."""
    return model.scores["PSNR"] - model.scores["PSNR of input"]


def with_nan(monkeypatch: pytest.MonkeyPatch, *bad: int) -> None:
    made = PatchSource.batch

    def batch(self: PatchSource, step: int) -> Batch:
        found = made(self, step)
        if step in bad:
            found.sharp[0, 0, 0, 0] = math.nan
        return found

    monkeypatch.setattr(PatchSource, "batch", batch)


# What was broken, its recipe, and what the watch may call it.
BROKEN: dict[str, tuple[dict[str, Any], set[str]]] = {
    # 1e-2 trains this network well, and with 0.3 it still gets there in the end
    "learning rate 100 times too high": ({"train__learning_rate": 1.0}, {"divergence", "dead generator"}),
    "critic ten times too strong": (
        {
            **GAME,
            "adversarial": {"part": "core/wgan-gp", "weight": 0.1},
            "train__critic_learning_rate": 0.03,
            "train__schedule": "constant",  # one that decays would mend it in the end
            "train__steps": 300,
            "train__watch_every": 5,
            "train__seed": 1,
        },
        {"divergence"},
    ),
    "exploding gradient penalty": ({**GAME, "train__critic_learning_rate": 1.0}, {"divergence"}),
    "constant output": ({"generator": "test/plain", "train__learning_rate": 0.3}, {"dead generator", "collapse"}),
    "dead generator": ({"generator": "test/ends-in-relu", "train__learning_rate": 0.3}, {"dead generator"}),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the watch")
@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_run_ends_usable_with_the_watch_and_not_without(what: str, photographs: Path, registry: Registry) -> None:
    changes, kinds = BROKEN[what]
    broken = recipe(photographs, **changes)
    without, log = train(broken.set("train.watch", False), registry)
    assert not log.events
    assert gain(without) < USABLE
    watched, log = train(broken, registry)
    assert log.events
    assert {event.kind for event in log.events} <= kinds
    assert gain(watched) > USABLE
    assert watched.provenance["watch"] == [str(event) for event in log.events]


@pytest.mark.filterwarnings("ignore:the watch")
def test_a_batch_of_nan_is_left_out(photographs: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_nan(monkeypatch, 20, 30)
    broken = recipe(photographs, train__steps=80)
    with pytest.raises(TrainingError, match="the batch became non-finite"):
        train(broken.set("train.watch", False), registry)
    model, log = train(broken, registry, out=tmp_path)
    assert [(event.step, event.kind) for event in log.events] == [(21, "non-finite"), (31, "non-finite")]
    assert len(log.signals) == 78
    assert gain(model) > USABLE
    entries = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [entry["watch"] for entry in entries if "watch" in entry] == [vars(event) for event in log.events]


def test_data_that_is_never_finite_ends_the_run(photographs: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    with_nan(monkeypatch, *range(5, 100))
    with pytest.warns(UserWarning, match="the watch"), pytest.raises(TrainingError, match=r"step 8: 3 batches in a row.*look at the data"):
        train(recipe(photographs, train__steps=80, train__watch_tries=3), registry)


HEALTHY: dict[str, dict[str, Any]] = {
    "supervised": {},
    "from scratch": {"generator": "test/plain"},
    "hinge": {**GAME, "adversarial": {"part": "core/hinge", "weight": 0.01}},
    "wgan-gp": {**GAME, "train__critic_steps": 2},
    "ragan-ls": {**GAME, "adversarial": {"part": "core/ragan-ls", "weight": 0.01}},
    "minus a PSNR": {"losses": ["core/psnr"], "train__learning_rate": 1e-3},
}


@pytest.mark.slow
@pytest.mark.parametrize("what", HEALTHY)
def test_a_healthy_run_is_left_alone(what: str, photographs: Path, registry: Registry) -> None:
    healthy = recipe(photographs, **HEALTHY[what])
    watched, log = train(healthy, registry)
    assert not log.events
    assert "watch" not in watched.provenance
    assert gain(watched) > 1
    without, _ = train(healthy.set("train.watch", False), registry)
    for name, value in without.generator.state_dict().items():
        assert torch.equal(value, watched.generator.state_dict()[name]), name


@pytest.mark.filterwarnings("ignore:the watch")
def test_resuming_after_a_rescue_is_exact(photographs: Path, registry: Registry, tmp_path: Path) -> None:
    """Between rescues, after all of them, and where a good state has just been remembered."""
    broken = recipe(photographs, **GAME, train__learning_rate=0.3, train__steps=24, data__batch=2, train__watch_every=5, train__ema=0.5)
    whole, log = train(broken, registry)
    for stop in (7, 13, 20):
        assert any(event.step < stop for event in log.events)
        folder = tmp_path / str(stop)
        with pytest.raises(TrainingError, match=f"stopped after {stop} of 24"):
            train(broken, registry, out=folder, callbacks=[StopAfter(stop)])
        resumed, rest = train(broken, registry, out=folder, resume=True)
        assert rest.events == [event for event in log.events if event.step > stop]
        assert resumed.provenance["watch"] == whole.provenance["watch"]
        for name, value in whole.generator.state_dict().items():
            assert torch.equal(value, resumed.generator.state_dict()[name]), name


@pytest.mark.filterwarnings("ignore:the watch")
def test_it_gives_up_and_leaves_the_last_good_state(photographs: Path, registry: Registry, tmp_path: Path) -> None:
    broken = recipe(photographs, train__learning_rate=1e4, train__watch_tries=2)
    with pytest.raises(TrainingError, match=r"stopped at step \d+: .*gave up after going back 2 times: step .*Try a lower"):
        train(broken, registry, out=tmp_path)
    again = Run(broken.check(registry), "cpu", registry)
    fresh = {name: value.clone() for name, value in again.generator.state_dict().items()}
    done = again.resume(tmp_path)
    assert 0 < done < 200
    for name, value in again.generator.state_dict().items():
        assert torch.isfinite(value).all()
        assert (value - fresh[name]).abs().max() < 1, "the weights of the good state, not of the sick one"


def test_what_is_measured(photographs: Path, registry: Registry, tmp_path: Path) -> None:
    _, log = train(recipe(photographs, **GAME, train__steps=20), registry, out=tmp_path)
    always = {"D(x)", "D(G(z))", "critic's gradient", "generator's gradient"}
    assert all(always <= signals.keys() for signals in log.signals)
    looks = [step for step, signals in enumerate(log.signals, 1) if "diversity" in signals]
    assert looks == [10, 20]
    assert {"saturation", "loss on the fixed set", "weights with a gradient"} <= log.signals[9].keys()
    written = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [entry["signals"] for entry in written if "signals" in entry] == [log.signals[9], log.signals[19]]


def test_logits_and_norms_are_those_of_the_networks(photographs: Path, registry: Registry) -> None:
    changes: dict[str, Any] = {**GAME, "adversarial": {"part": "core/hinge", "weight": 0.01}}
    run = Run(recipe(photographs, **changes).check(registry), "cpu", registry)
    batch = run.patches.batch(0)
    assert run.critic is not None
    with torch.no_grad():
        real, fake = (float(run.critic(images)[0].mean()) for images in (batch.sharp, run.generator(batch.degraded.image)))
    outcome = run.step(batch, None)
    assert outcome.signals["D(x)"] == pytest.approx(real, rel=1e-5)
    assert outcome.signals["D(G(z))"] == pytest.approx(fake, rel=1e-5)
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in run.generator.parameters() if p.grad is not None))
    assert outcome.signals["generator's gradient"] == pytest.approx(norm, rel=1e-5)


def test_the_fixed_set_is_seen_as_it_is(photographs: Path, registry: Registry) -> None:
    run = Run(recipe(photographs).check(registry), "cpu", registry)
    assert run.watch is not None
    fixed = run.watch.fixed
    assert fixed is not None
    assert len(fixed.inputs) >= 2
    seen = fixed.look()  # an untrained residual network gives back its input
    images = fixed.inputs
    pairs = [float((images[i] - images[j]).abs().mean()) for i in range(len(images)) for j in range(i)]
    assert seen["diversity"] == pytest.approx(sum(pairs) / len(pairs), rel=0.05)
    assert fixed.targets is not None
    made = run.generator(images).detach()
    assert seen["loss on the fixed set"] == pytest.approx(float((made - fixed.targets).abs().mean()), rel=1e-5)


@pytest.mark.slow
def test_it_costs_less_than_two_percent_of_a_step(photographs: Path) -> None:
    """At the default interval, with a network and patches small enough for a test; larger ones make the share smaller."""
    small = rk.registry().find("generator", "deblurgan/resnet9").name
    made = recipe(photographs, generator={"part": small, "width": 16, "blocks": 2}, data__crop=64, train__watch_every=50)
    run = Run(made.check(), "cpu", rk.registry())
    assert run.watch is not None
    steps, looks = [], []
    for step in range(100):
        batch = run.patches.batch(step)
        start = time.perf_counter()
        outcome = run.step(batch, None)
        middle = time.perf_counter()
        run.watch.look(step + 1, outcome, batch.sharp)
        steps.append(middle - start)
        looks.append(time.perf_counter() - middle)
    assert sum(looks) < 0.02 * sum(steps), f"{sum(looks) / sum(steps):.1%}"


# The rules themselves, on made-up numbers.


def first_alarm(seen: Callable[[int], Seen], steps: int = 1000) -> tuple[int, Alarm] | None:
    symptoms = Symptoms()
    for step in range(steps):
        alarm = symptoms.look(seen(step))
        if alarm is not None:
            return step, alarm
    return None


def noise(step: int, spread: float) -> float:
    """Log-normal with median 1."""
    return math.exp(spread * float(torch.randn((), generator=torch.Generator().manual_seed(step))))


@pytest.mark.parametrize("spread", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("level", [1.0, -30.0])
def test_noisy_losses_that_fall_are_no_alarm(spread: float, level: float) -> None:
    assert (
        first_alarm(lambda step: Seen(loss=level * noise(step, spread) * (0.1 + 0.9 * math.exp(-step / 100) if level > 0 else 1))) is None
    )


@pytest.mark.parametrize("begins", [0, 5, 300])
def test_losses_that_explode_are(begins: int) -> None:
    found = first_alarm(lambda step: Seen(loss=noise(step, 0.3) * (1 if step <= begins else 30)))
    assert found is not None
    assert found[1].kind == "divergence"
    assert begins < found[0] < begins + LONG


def test_a_lost_minus_psnr_is_noticed() -> None:
    found = first_alarm(lambda step: Seen(loss=(-30 if step < 200 else -5) + noise(step, 0.5)))
    assert found is not None
    assert found[1].kind == "divergence"


def test_a_single_bad_batch_is_no_divergence() -> None:
    assert first_alarm(lambda step: Seen(loss=1000.0 if step % 50 == 49 else 1.0)) is None


def test_a_critic_that_wins_for_long_is_noticed_and_no_other() -> None:
    won = first_alarm(lambda step: Seen(critic=1.4 if step < 50 else 0.01, gap=0.0 if step < 50 else 15.0))
    assert won is not None
    assert (won[1].kind, won[1].players) == ("critic domination", ("critic",))
    assert 50 + LASTS <= won[0] < 50 + LASTS + 20
    briefly = first_alarm(lambda step: Seen(critic=0.01 if 50 < step < 130 else 1.4, gap=15.0 if 50 < step < 130 else 0.0))
    assert briefly is None
    hinge = first_alarm(lambda step: Seen(critic=2.0 if step < 50 else 0.0, gap=0.0 if step < 50 else 2.5))
    assert hinge is None, "a critic with a margin stops when it is reached"
    wasserstein = first_alarm(lambda step: Seen(critic=10 - 20 * step / 1000, gap=20 * step / 1000))
    assert wasserstein is None, "an earth mover's critic should win"


def test_a_gradient_that_vanishes_is_blamed_on_who_caused_it() -> None:
    def gradient(step: int) -> float:
        return noise(step, 0.5) if step < 100 else 1e-5

    alone = first_alarm(lambda step: Seen(loss=1.0, gradient=gradient(step)))
    assert alone is not None
    assert (alone[1].kind, alone[1].players) == ("dead generator", ("generator",))
    sure = first_alarm(lambda step: Seen(critic=1.4 if step < 90 else 0.01, gap=5.0, gradient=gradient(step)))
    assert sure is not None
    assert (sure[1].kind, sure[1].players) == ("critic domination", ("critic",))
    learnt = first_alarm(lambda step: Seen(loss=1.0 if step < 100 else 0.01, gradient=gradient(step)))
    assert learnt is None, "nothing is left to learn"


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        (lambda step: Seen(diversity=0.3 if step < 10 else 0.01), "collapse"),
        (lambda step: Seen(diversity=0.02 if step < 1 else 0.0, natural=0.3), "collapse"),
        (lambda step: Seen(saturation=0.1 if step < 10 else 0.9), "collapse"),
        (lambda step: Seen(alive=1.0 if step < 10 else 0.02), "dead generator"),
        (lambda step: Seen(error=0.1 if step < 10 else 0.25), "divergence"),
        (lambda step: Seen(error=-30.0 if step < 10 else 1.0), "divergence"),
        (lambda step: Seen(error=0.1 if step < 1 else 0.13), "divergence"),
        (lambda step: Seen(error=0.1 if step < 1 or step % 5 == 2 else 0.15), "divergence"),
        (lambda step: Seen(error=-30.0 if step < 1 else -20.0), "divergence"),
        (lambda step: Seen(critic=10.0 if step < 10 else 1e4), "divergence"),
    ],
)
def test_looks_that_are_bad_twice(seen: Callable[[int], Seen], kind: str) -> None:
    found = first_alarm(seen)
    assert found is not None
    assert found[1].kind == kind
    assert found[0] < 21


@pytest.mark.parametrize(
    "seen",
    [
        lambda step: Seen(diversity=0.0 if step < 10 else 0.3, natural=0.3),
        lambda step: Seen(diversity=0.01 if step % 5 == 4 else 0.3),
        lambda step: Seen(saturation=0.9 if step % 5 == 4 else 0.0),
        lambda step: Seen(alive=0.02 if step % 5 == 4 else 1.0),
        lambda step: Seen(error=1.0 if step % 5 == 4 else 0.1 + 0.09 * noise(step, 0.2)),
        lambda step: Seen(error=0.1 if step < 1 else 0.11 + 0.07 * (step % 5 in (0, 2))),
        lambda step: Seen(error=-30.0 if step < 1 else -26.0),
        lambda step: Seen(critic=10 + 40 * math.sin(step / 10)),
    ],
)
def test_looks_that_are_bad_once_or_were_never_good(seen: Callable[[int], Seen]) -> None:
    assert first_alarm(seen) is None


def test_a_state_on_its_way_down_is_not_kept() -> None:
    symptoms = Symptoms()
    for step in range(50):
        assert symptoms.look(Seen(loss=1.0, error=0.1, diversity=0.3, gradient=1.0, critic=1.0, gap=0.5)) is None, step
    assert symptoms.well
    for sick in (Seen(loss=6.0), Seen(error=0.15), Seen(diversity=0.05), Seen(critic=40.0), Seen(critic=0.02, gap=9.0)):
        changed = Symptoms.of(symptoms.state())
        for _ in range(3):
            changed.look(sick)
            if sick.error or sick.diversity:
                break
        assert not changed.well, sick


def test_a_checkpoint_of_before_the_first_look_was_remembered() -> None:
    """Where a run began cannot be told later: its present level must not be taken for it."""
    symptoms = Symptoms()
    for step in range(20):
        symptoms.look(Seen(error=1.0 / (step + 1)))
    state = symptoms.state()
    del state["first_error"], state["looks"]
    resumed = Symptoms.of(state)
    assert all(resumed.look(Seen(error=0.05 + 0.02 * (step % 2))) is None for step in range(20))


def test_symptoms_survive_json() -> None:
    symptoms = Symptoms()
    for step in range(150):
        symptoms.look(Seen(loss=noise(step, 0.3), critic=1.0, gap=0.1, gradient=1.0, diversity=0.3, error=0.1, saturation=0.0, alive=1.0))
    assert Symptoms.of(json.loads(json.dumps(symptoms.state()))) == symptoms
