"""Images a second in the training of DCGAN: this engine beside the plain step of the well-known example of PyTorch.

    OMP_NUM_THREADS=1 python benchmarks/speed/dcgan.py [--repeats 5]

64×64 pixels, batch 128, width 64, latent 100, Adam with learning rate 2e-4 and β₁ 0.5: the same algorithm, networks with the same
weights, the same number of updates. The plain step, written out below, is that of the example: float32, the critic on real images and on
made ones, its update, then the critic on the same made images for the generator. The engine's is that of `dcgan/photos64`: it differs in
the objective's form only (softplus of logits instead of binary cross entropy of probabilities, whose values are the same), does not
compute the critic's weight gradients in the generator's step, keeps feature maps in channels-last order, and multiplies in bfloat16
where the processor can.

They take turns within one process. Times are processor seconds of one thread, so that other work on the machine counts little; medians
are compared. Making the batch is not part of either step.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import restorekit as rk
from restorekit import seeding
from restorekit.engine.run import Run

BATCH = 128

SETTINGS: dict[str, dict[str, object]] = {
    "engine, float32": {"train.precision": "fp32", "train.channels_last": False},
    "engine, float32, channels-last": {"train.precision": "fp32"},
    "engine, bfloat16": {"train.precision": "bf16", "train.channels_last": False},
    "engine, bfloat16, channels-last": {"train.precision": "bf16"},
}


def prepared(settings: dict[str, object]) -> Run:
    recipe = rk.recipe("dcgan/photos64").set("data.batch", BATCH).set("train.watch", False)
    for name, value in settings.items():
        recipe = recipe.set(name, value)
    with seeding.seeded(0, "networks"):
        return Run(recipe.check(rk.registry()), "cpu", rk.registry())


class Plain:
    """The step of the example, in the range [-1, 1] of its pictures."""

    def __init__(self, run: Run) -> None:
        assert run.critic is not None
        # The same layers with the same weights, without what this project has around them.
        self.generator: nn.Module = nn.Sequential(copy.deepcopy(run.generator.layers), nn.Tanh())
        self.critic: nn.Module = nn.Sequential(copy.deepcopy(run.critic.layers), nn.Sigmoid())
        self.optimizers = [torch.optim.Adam(n.parameters(), lr=2e-4, betas=(0.5, 0.999)) for n in (self.critic, self.generator)]

    def __call__(self, real: Tensor, noise: Tensor) -> None:
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
        self.critic.zero_grad()
        F.binary_cross_entropy(self.critic(real).view(-1), ones).backward()
        fake = self.generator(noise[:, :, None, None])
        F.binary_cross_entropy(self.critic(fake.detach()).view(-1), zeros).backward()
        self.optimizers[0].step()
        self.generator.zero_grad()
        F.binary_cross_entropy(self.critic(fake).view(-1), ones).backward()
        self.optimizers[1].step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runs = {name: prepared(settings) for name, settings in SETTINGS.items()}
    plain = Plain(next(iter(runs.values())))
    batch = next(iter(runs.values())).patches.batch(0)
    real, noise = batch.sharp * 2 - 1, torch.randn(BATCH, 100)
    tasks: dict[str, Callable[[], object]] = {"plain, float32": lambda: plain(real, noise)}
    tasks |= {name: lambda run=run: run.step(run.put(batch), noise) for name, run in runs.items()}
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(arguments.repeats + 1):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            if turn:  # the first has costs of its own
                found[name].append(time.process_time() - start)
    first = statistics.median(found["plain, float32"])
    print("| | images/s | seconds a step (min to max) | times as fast |\n|---|---|---|---|")
    for name, times in found.items():
        middle = statistics.median(times)
        print(f"| {name} | {BATCH / middle:.0f} | {middle:.2f} ({min(times):.2f} to {max(times):.2f}) | {first / middle:.2f} |")


if __name__ == "__main__":
    main()
