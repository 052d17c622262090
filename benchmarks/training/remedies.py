r"""What helps a generator of pictures to learn from eighty faces: the same small training with each remedy off and on.

    python benchmarks/training/remedies.py --features ../shared/data/weights/squeezenet1_0.safetensors --out runs/remedies
    python benchmarks/training/remedies.py --features ../shared/data/weights/squeezenet1_0.safetensors --out runs/hard --hard --steps 600

Makes `table.md` and `plot.png` in the folder: for each remedy the kernel distance KID of five hundred made pictures from the training
pictures (less is better), their mean distance as a share of the real ones' (1 is as it should be), in how many runs they collapsed, and
what the watch did, as means over the seeds. A remedy is compared with the training that differs in it alone: penalties and spectral norm
with a critic without batch norm, growing and multi-scale gradients with networks of their kind that do neither. A run that is there
already is not done again, and one that was made with other settings is refused.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from generation import scores

import restorekit as rk
from restorekit import sampling
from restorekit.engine import neighbours
from restorekit.engine.callbacks import history
from restorekit.engine.report import Diagram, draw

Settings = Mapping[str, Any]

MILLION = 1e6

COUNT = 500
"""Pictures that are scored."""

COLLAPSED = 0.5
"""Made pictures whose mean distance is below this share of the real ones' have collapsed."""

PLAIN: Settings = {"train.augment": [], "critic.deviation": False}
HARD: Settings = {"train.learning_rate": 1e-3, "train.betas": [0.9, 0.999]}
"""Where DCGAN's authors found training unstable (section 4): five times their learning rate, and Adam's usual momentum."""

BARE: Settings = {**PLAIN, "critic.norm": "none"}
LARGE: Settings = {
    **PLAIN,
    # Equalised rates want larger ones: as in the recipe progressive64.
    "train.learning_rate": 1e-3,
    "train.betas": [0.0, 0.99],
    "adversarial": {"part": "core/r1", "penalty": 1.0},
    "data.batch": 16,
    "generator": {"part": "dcgan/progressive", "size": 32, "channels": 1, "width": 16, "latent": 64, "grow_every": 0},
    "critic": {"part": "dcgan/progressive", "size": 32, "channels": 1, "width": 16, "grow_every": 0},
    "data.crop": 32,
}


@dataclass(frozen=True)
class Remedy:
    """One remedy: the training without it, and what is set to have it."""

    name: str
    off: str
    on: Settings


BASES: Mapping[str, Settings] = {"batch norm": PLAIN, "no norm": BARE, "equalised rates, 32 pixels": LARGE}


def remedies(steps: int, rate: float) -> list[Remedy]:
    """All of them, for trainings of so many steps at a learning rate."""
    # Three resolutions are faded in and four held, and then half of the steps are left.
    growth = max(1, steps // 14)
    msg = {"size": 32, "channels": 1, "width": 16}
    return [
        Remedy("two-time-scale rates: the critic's four times", "batch norm", {"train.critic_learning_rate": 4 * rate}),
        Remedy("skipping the critic below a loss of 0.5", "batch norm", {"train.critic_rest": 0.5}),
        Remedy("differentiable augmentation", "batch norm", {"train.augment": ["colour", "translation", "cutout"]}),
        Remedy("augmentation by translation and cutout alone", "batch norm", {"train.augment": ["translation", "cutout"]}),
        Remedy(
            "adaptive augmentation",
            "batch norm",
            {"train.augment": ["colour", "translation", "cutout"], "train.augment_probability": "adaptive", "train.augment_images": 20_000},
        ),
        Remedy("label smoothing 0.1", "batch norm", {"adversarial.smoothing": 0.1}),
        Remedy("instance noise 0.1", "batch norm", {"train.instance_noise": 0.1}),
        Remedy("minibatch standard deviation", "batch norm", {"critic.deviation": True}),
        Remedy("spectral norm", "no norm", {"critic.spectral": True}),
        Remedy("R1", "no norm", {"adversarial": {"part": "core/r1", "penalty": 1.0}}),
        Remedy(
            "progressive growing",
            "equalised rates, 32 pixels",
            {"generator.grow_every": growth, "critic.grow_every": growth},
        ),
        Remedy(
            "multi-scale gradients",
            "equalised rates, 32 pixels",
            {"generator": {"part": "dcgan/msg", "latent": 64, **msg}, "critic": {"part": "dcgan/msg", **msg}},
        ),
    ]


@dataclass(frozen=True)
class Outcome:
    """What one run came to."""

    kid: float
    diversity: float
    collapsed: bool
    events: Sequence[str]
    curve: Sequence[tuple[float, float]]


def run(settings: Settings, seed: int, steps: int, folder: Path, features: Path) -> Outcome:
    """Train once and score it, or take what is there."""
    recipe = rk.recipe("dcgan/faces28").set("train.seed", seed).set("train.steps", steps).set("train.validate_every", steps)
    recipe = recipe.set("train.watch_tries", steps)  # it never gives up, so that there is something to score
    for key, value in settings.items():
        recipe = recipe.set(key, value)
    recipe = recipe.check()
    known = folder / "outcome.json"
    if known.is_file():
        kept = json.loads(known.read_text(encoding="utf-8"))
        if kept["recipe"] != recipe.content:
            sys.exit(f"error: {folder} holds a training with other settings; name another folder with --out")
        return Outcome(**kept["outcome"])
    file = folder / "model.safetensors"
    model = rk.load(file) if file.is_file() else rk.train(recipe, out=folder, resume=(folder / "checkpoint.safetensors").is_file())
    model.generator.eval()
    made = sampling.make(model, sampling.draw(model, list(range(COUNT)), seed=0))
    real = neighbours.trained_on(model, count=COUNT)
    found = scores(made, real, features)
    share = found["diversity"] / found["diversity of real"]
    events = tuple(event.partition(": ")[2].partition(":")[0] for event in model.provenance.get("watch", []))
    looks = [entry for entry in history(folder / "history.jsonl") if "diversity" in entry.get("signals", {})]
    curve = tuple((float(e["step"]), e["signals"]["diversity"] / e["signals"]["diversity of real images"]) for e in looks)
    outcome = Outcome(found["kid"], share, share < COLLAPSED or "collapse" in events, events, curve)
    known.write_text(json.dumps({"recipe": recipe.content, "outcome": asdict(outcome)}), encoding="utf-8")
    return outcome


def row(name: str, off: Sequence[Outcome], on: Sequence[Outcome]) -> str:
    """A line of the table."""

    def cell(outcomes: Sequence[Outcome], field: str, unit: float) -> str:
        values = [getattr(outcome, field) / unit for outcome in outcomes]
        return f"{statistics.mean(values):.3g} ({min(values):.3g} to {max(values):.3g})"

    def watch(outcomes: Sequence[Outcome]) -> str:
        events = [event for outcome in outcomes for event in outcome.events]
        return ", ".join(f"{events.count(kind)} × {kind}" for kind in dict.fromkeys(events)) or "–"

    both = (off, on)
    cells = [cell(outcomes, field, unit) for field, unit in (("kid", MILLION), ("diversity", 1.0)) for outcomes in both]
    cells += [f"{sum(outcome.collapsed for outcome in outcomes)} of {len(outcomes)}" for outcomes in both]
    return f"| {name} | {' | '.join([*cells, *map(watch, both)])} |"


def mean_curve(outcomes: Sequence[Outcome]) -> list[tuple[float, float]]:
    """The mean over runs at the steps that all of them have."""
    curves = [dict(outcome.curve) for outcome in outcomes]
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    return [(step, statistics.mean(curve[step] for curve in curves)) for step in steps]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, required=True, help="weights of SqueezeNet (.safetensors)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs, the table and the plot")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--only", nargs="+", metavar="WORD", help="remedies whose name has one of these words")
    parser.add_argument("--hard", action="store_true", help="DCGAN at a learning rate and a momentum where it is unstable")
    arguments = parser.parse_args()
    always = HARD if arguments.hard else {}
    rate = always.get("train.learning_rate", rk.recipe("dcgan/faces28").check().content["train"]["learning_rate"])
    chosen = [r for r in remedies(arguments.steps, rate) if not arguments.only or any(word in r.name for word in arguments.only)]
    if arguments.hard:
        chosen = [remedy for remedy in chosen if not HARD.keys() & BASES[remedy.off].keys()]  # those have their own rates

    def runs(name: str, settings: Settings) -> list[Outcome]:
        folder = arguments.out / "".join(c if c.isalnum() else "-" for c in name)
        return [run({**always, **settings}, seed, arguments.steps, folder / str(seed), arguments.features) for seed in arguments.seeds]

    plain = {name: runs(f"off {name}", BASES[name]) for name in dict.fromkeys(remedy.off for remedy in chosen)}
    head = "remedy | KID / 10⁶ off | on | distance off | on | collapsed off | on | the watch off | on"
    lines = [
        f"{arguments.steps} steps of `dcgan/faces28`, seeds {', '.join(map(str, arguments.seeds))}",
        "",
        f"| {head} |",
        "|---" * 9 + "|",
    ]
    print("\n".join(lines), flush=True)
    shown = []
    for remedy in chosen:
        on = runs(f"on {remedy.name}", {**BASES[remedy.off], **remedy.on})
        lines.append(row(remedy.name, plain[remedy.off], on))
        print(lines[-1], flush=True)
        shown.append(Diagram(remedy.name, {f"off: {remedy.off}": mean_curve(plain[remedy.off]), "on": mean_curve(on)}))
    (arguments.out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    draw(shown, []).save(arguments.out / "plot.png")


if __name__ == "__main__":
    main()
