"""Parameters, multiply-adds, seconds and peak memory of the networks of the DeblurGAN family: the table of their README.

    python benchmarks/speed/restore_720p.py [--threads 2] [--repeats 3] [--only resnet9 ...]

A photograph of 1280×720 is restored whole, in float32 and in bfloat16 (autocast), each time in a process of its own. They
take turns, so that a busy machine slows all of them alike: compare the ratios. The processor's seconds, of all cores
together, suffer less from other work. Peak memory is the process's largest
resident size less what it held before the first restoration, when the network and the libraries were loaded already.
Multiply-adds are those of convolutions and matrix products at 256×256, as torch counts them. The networks' weights are
random, which changes none of the figures; the shipped model estimates the PSF as well, whose Fourier transforms are not
counted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

RELEASED = {"taps": "published", "weights": "random"}
PAPER = {"upsample": "transposed"}
MEASURED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "resnet9": ("generator", "resnet9", {}),
    "resnet9, `upsample: shuffle`": ("generator", "resnet9", {"upsample": "shuffle"}),
    "resnet9, `upsample: transposed`, as in the paper": ("generator", "resnet9", PAPER),
    "resnet9, one convolution a block too, as in the code": ("generator", "resnet9", {**PAPER, "convolutions_per_block": 1}),
    "unet256": ("generator", "unet256", {}),
    "fpn over MobileNet-v2, as released": ("generator", "fpn", {"backbone": "mobilenetv2_100", "width": 128, **RELEASED}),
    "fpn over Inception-ResNet-v2, as released": ("generator", "fpn", {"backbone": "inception_resnet_v2", "width": 256, **RELEASED}),
    "gated": ("generator", "gated", {}),
    "gated, `window: 384`": ("generator", "gated", {"window": 384}),
    "compact, one stage without an estimator": ("generator", "compact", {}),
    "shipped: the PSF estimated, and networks around it": ("restorer", "shipped", {}),
}
"""Kind of part, its name and options, by what the table calls it."""

PRECISIONS = ("fp32", "bf16")


def made(label: str) -> Any:
    import restorekit as rk
    from restorekit.recipes import Recipe

    kind, name, options = MEASURED[label]
    part = rk.registry().create(kind, f"deblurgan/{name}", **options)
    return part.model if kind == "restorer" else rk.Model(part.eval(), Recipe({}))


def measure(label: str, precision: str, threads: int) -> dict[str, float]:
    import torch

    torch.set_num_threads(threads)
    model = made(label)
    image = torch.rand(1, 3, 720, 1280, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else contextlib.nullcontext():
        model.restore(image[..., :256, :256])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start, used = time.perf_counter(), time.process_time()
        model.restore(image)
        seconds, used = time.perf_counter() - start, time.process_time() - used
    return {"seconds": seconds, "used": used, "extra": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}


def count(label: str) -> dict[str, float]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model, image = made(label), torch.full((1, 3, 256, 256), 0.5)
    model.restore(image)  # the first time looks for the memory that the network needs
    with FlopCounterMode(display=False) as counter:
        model.restore(image)
    weights = sum(weight.numel() for weight in model.generator.parameters())
    return {"weights": weights / 1e6, "products": counter.get_total_flops() / 2e9}


def alone(*arguments: str) -> dict[str, float]:
    """What this script prints for these arguments in a process of its own."""
    # A thread that waits for one which the system has put aside would use up the processor's time meanwhile.
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", metavar="PART", help="such as fpn")
    parser.add_argument("--one", nargs=2, metavar=("LABEL", "PRECISION"), help=argparse.SUPPRESS)
    parser.add_argument("--count", metavar="LABEL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*arguments.one, arguments.threads)))
        return
    if arguments.count:
        print(json.dumps(count(arguments.count)))
        return
    labels = [label for label, (_, name, _) in MEASURED.items() if arguments.only is None or name in arguments.only]
    if not labels:
        parser.error(f"--only: {' '.join(arguments.only)} is none of {', '.join(sorted({name for _, name, _ in MEASURED.values()}))}")
    runs: dict[tuple[str, str], list[dict[str, float]]] = {(label, precision): [] for label in labels for precision in PRECISIONS}
    for turn in range(arguments.repeats):
        for (label, precision), found in runs.items():
            found.append(alone("--one", label, precision, "--threads", str(arguments.threads)))
            print(f"{turn + 1}/{arguments.repeats} {label}, {precision}: {found[-1]}", file=sys.stderr, flush=True)
    print("| network | parameters, M | multiply-adds at 256×256, G | seconds, fp32 | bf16 | of processors, fp32 | bf16 | MB, fp32 | bf16 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for label in labels:
        counted = alone("--count", label)
        cells = [f"{counted['weights']:.2f}", f"{counted['products']:.1f}"]
        for key, form in (("seconds", ".1f"), ("used", ".1f"), ("extra", ".0f")):
            cells += [format(statistics.median(run[key] for run in runs[label, precision]), form) for precision in PRECISIONS]
        print(f"| {label} | {' | '.join(cells)} |")
    medians = [(found, statistics.median(run["seconds"] for run in found)) for found in runs.values()]
    quickest, slowest = (pick(pick(run["seconds"] for run in found) / median for found, median in medians) for pick in (min, max))
    print(f"\nMedians of {arguments.repeats}. Single runs took {quickest:.2f} to {slowest:.2f} times as long as their median.")


if __name__ == "__main__":
    main()
