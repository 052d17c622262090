"""Parameters, multiply-adds, seconds and peak memory of the networks of the DeblurGAN family: the table of their README.

    python benchmarks/speed/restore_720p.py [--threads 2] [--repeats 3] [--only resnet9 ...]

A photograph of 1280×720 is restored whole, in float32 and in bfloat16 (autocast), each time in a process of its own. They
take turns, so that a busy machine slows all of them alike: compare the ratios. Peak memory is the process's largest
resident size less what it held before the first restoration, when the network and the libraries were loaded already.
Multiply-adds are those of convolutions and matrix products at 256×256, as torch counts them. The networks' weights are
random, which changes none of the figures; the shipped model estimates the PSF as well, whose Fourier transforms are not
counted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

PUBLISHED = {"taps": "published", "weights": "random"}
MEASURED: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet9": ("generator", {}),
    "resnet9, `upsample: shuffle`": ("generator", {"upsample": "shuffle"}),
    "resnet9, `upsample: transposed`, as in the paper": ("generator", {"upsample": "transposed"}),
    "resnet9, the same with one convolution a block, as in the code": (
        "generator",
        {"upsample": "transposed", "convolutions_per_block": 1},
    ),
    "unet256": ("generator", {}),
    "fpn over MobileNet-v2, as released": ("generator", {"backbone": "mobilenetv2_100", "width": 128, **PUBLISHED}),
    "fpn over Inception-ResNet-v2, as released": ("generator", {"backbone": "inception_resnet_v2", "width": 256, **PUBLISHED}),
    "compact, one stage without an estimator": ("generator", {}),
    "shipped: the PSF estimated, and networks around it": ("restorer", {}),
    "gated": ("generator", {}),
    "gated, `window: 384`": ("generator", {"window": 384}),
}
"""Kind of part and options; a label begins with the part's name."""

PRECISIONS = ("fp32", "bf16")


def made(label: str) -> Any:
    import restorekit as rk
    from restorekit.recipes import Recipe

    kind, options = MEASURED[label]
    part = rk.registry().create(kind, f"deblurgan/{label.replace(':', ',').split(',')[0].split(' ')[0]}", **options)
    return part.model if kind == "restorer" else rk.Model(part.eval(), Recipe({}))


def measure(label: str, precision: str, threads: int) -> dict[str, float]:
    import torch

    torch.set_num_threads(threads)
    model = made(label)
    image = torch.rand(1, 3, 720, 1280, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else contextlib.nullcontext():
        model.restore(image[..., :256, :256])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        model.restore(image)
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "extra": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}


def count(label: str) -> dict[str, float]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model = made(label)
    with FlopCounterMode(display=False) as counter:
        model.restore(torch.full((1, 3, 256, 256), 0.5))
    weights = sum(weight.numel() for weight in model.generator.parameters())
    return {"weights": weights / 1e6, "products": counter.get_total_flops() / 2e9}


def alone(*arguments: str) -> dict[str, float]:
    """What this script prints for these arguments in a process of its own."""
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[""], metavar="PART", help="those whose names begin so")
    parser.add_argument("--one", nargs=2, metavar=("LABEL", "PRECISION"), help=argparse.SUPPRESS)
    parser.add_argument("--count", metavar="LABEL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*arguments.one, arguments.threads)))
        return
    if arguments.count:
        print(json.dumps(count(arguments.count)))
        return
    labels = [label for label in MEASURED if label.startswith(tuple(arguments.only))]
    runs: dict[tuple[str, str], list[dict[str, float]]] = {(label, precision): [] for label in labels for precision in PRECISIONS}
    for turn in range(arguments.repeats):
        for (label, precision), found in runs.items():
            found.append(alone("--one", label, precision, "--threads", str(arguments.threads)))
            print(f"{turn + 1}/{arguments.repeats} {label}, {precision}: {found[-1]['seconds']:.2f} s", file=sys.stderr, flush=True)
    print("| network | parameters, M | multiply-adds at 256×256, G | seconds, fp32 | bf16 | peak memory, MB, fp32 | bf16 |")
    print("|---|---|---|---|---|---|---|")
    for label in labels:
        counted = alone("--count", label)
        seconds, extra = (
            [statistics.median(run[key] for run in runs[label, precision]) for precision in PRECISIONS] for key in ("seconds", "extra")
        )
        cells = [f"{counted['weights']:.2f}", f"{counted['products']:.1f}", *(f"{s:.1f}" for s in seconds), *(f"{m:.0f}" for m in extra)]
        print(f"| {label} | {' | '.join(cells)} |")
    spreads = [
        max(run["seconds"] for run in found) / statistics.median(run["seconds"] for run in found)
        for found in runs.values()
        if len(found) > 1
    ]
    if spreads:
        print(f"\nMedians of {arguments.repeats}; the slowest run took up to {max(spreads):.1f} times the median.")


if __name__ == "__main__":
    main()
