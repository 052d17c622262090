"""Seconds that a training step of `deblurgan/v1` takes, by how it is computed: batch 2, 256×256, five critic steps.

    OMP_NUM_THREADS=1 python benchmarks/speed/step.py [--repeats 5]

All settings keep the algorithm: WGAN-GP and a perceptual loss on VGG-19, with random weights, which take as long as others.
They take turns within one process. Times are processor seconds of one thread, so that other work on the machine counts little;
the medians are compared. Making the batch is part of the step.

The floor is the number of operations, counted by torch, over the rate at which this machine does them at best: that of a matrix
product or of a large 3×3 convolution, whichever is higher, measured in turn with the steps, in float32 and in bfloat16. The
gradient penalty counts with the arithmetic that it is computed in.

`deblurgan/default` is timed as its recipe has it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

import restorekit as rk
from restorekit import seeding
from restorekit.builtin.adversarial import gradient_penalty
from restorekit.engine.run import Run

V1 = {"data.batch": 2, "losses.0.features.weights": "random"}

SETTINGS: dict[str, dict[str, object]] = {
    "float32": {"train.precision": "fp32"},
    "float32, channels-last": {"train.precision": "fp32", "train.channels_last": True},
    "bfloat16, penalty in float32": {"train.precision": "bf16"},
    "bfloat16, penalty in float32, channels-last": {"train.precision": "bf16", "train.channels_last": True},
    "bfloat16, penalty too": {"train.precision": "bf16", "adversarial.penalty_precision": "step"},
}
"""The first is what the others are compared with."""

DEFAULT = "deblurgan/default"

ROUNDS = 4
"""Products and convolutions in one measurement of the rates."""


def prepared(recipe: str, data: str, settings: dict[str, object]) -> Run:
    given = rk.recipe(recipe).set("data.train", data)
    for name, value in settings.items():
        given = given.set(name, value)
    with seeding.seeded(0, "networks"):
        return Run(given.check(rk.registry()), "cpu", rk.registry())


def step(run: Run) -> None:
    with seeding.seeded(0):
        run.set_learning_rate(0)
        run.step(run.put(run.patches.batch(0)), run.latent(0), play="critic" in run.players)
        run.average.update(run.generator, 0)


def operations(call: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def penalty(run: Run) -> None:
    batch = run.patches.batch(0)
    gradient_penalty(run.players["critic"].network, batch.sharp, batch.degraded.image).backward()


def kernels(dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """A matrix product and a convolution as in the generator's blocks."""
    matrix, image, weight = (
        torch.rand(2048, 2048, dtype=dtype),
        torch.rand(2, 256, 64, 64, dtype=dtype),
        torch.rand(256, 256, 3, 3, dtype=dtype),
    )
    return {
        f"{dtype} product": lambda: [matrix @ matrix for _ in range(ROUNDS)],
        f"{dtype} convolution": lambda: [F.conv2d(image, weight, padding=1) for _ in range(ROUNDS)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--data", default="bundled", help="folder of photographs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runs = {name: prepared("deblurgan/v1", arguments.data, {**V1, **settings}) for name, settings in SETTINGS.items()}
    runs[DEFAULT] = prepared(DEFAULT, arguments.data, {})
    tasks: dict[str, Callable[[], object]] = {name: lambda run=run: step(run) for name, run in runs.items()}
    rated = {dtype: kernels(dtype) for dtype in (torch.float32, torch.bfloat16)}
    for each in rated.values():
        tasks |= each
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(arguments.repeats + 1):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            if turn:
                found[name].append(time.process_time() - start)
    seconds = {name: statistics.median(times) for name, times in found.items()}

    slow, fast = (max(operations(task) / seconds[name] for name, task in each.items()) for each in rated.values())
    v1 = runs["float32"]
    total, penalised = operations(lambda: step(v1)), v1.settings.critic_steps * operations(lambda: penalty(v1))
    print("| deblurgan/v1 | seconds a step (min to max) | times as fast | floor, seconds |\n|---|---|---|---|")
    for name, settings in SETTINGS.items():
        wide = total if settings["train.precision"] == "fp32" else 0 if "adversarial.penalty_precision" in settings else penalised
        floor = wide / slow + (total - wide) / fast
        times = found[name]
        gain = seconds["float32"] / seconds[name]
        print(f"| {name} | {seconds[name]:.2f} ({min(times):.2f} to {max(times):.2f}) | {gain:.2f} | {floor:.2f} |")
    print(f"\n{total / 1e12:.2f} TFLOP a step, of which the penalty {penalised / total:.0%}.")
    print(f"Best rates: {slow / 1e9:.0f} GFLOP/s in float32, {fast / 1e9:.0f} in bfloat16.")
    default = runs[DEFAULT]
    side, rate = default.data.crop, default.data.batch / seconds[DEFAULT]
    print(f"{DEFAULT}: {rate:.2f} images/s of {side}×{side} in {default.precision}.")


if __name__ == "__main__":
    main()
