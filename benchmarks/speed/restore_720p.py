"""Seconds and peak memory of restoring a 1280×720 photograph, each network and the shipped model in a process of its own.

    python benchmarks/speed/restore_720p.py [--threads 2] [--repeats 3]

The networks take turns, so that a busy machine slows all of them alike: compare the ratios. Peak memory is
the process's largest resident size less what it held before the first restoration, when the network and the
libraries were loaded already. The networks' weights are random, which changes neither figure; the shipped model
estimates the PSF as well.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

SHIPPED = "deblurgan/shipped"
MEASURED = ("deblurgan/compact", "deblurgan/resnet9", SHIPPED)


def measure(name: str, threads: int) -> dict[str, float]:
    import torch

    import restorekit as rk
    from restorekit.recipes import Recipe

    torch.set_num_threads(threads)
    registry = rk.registry()
    model = registry.create("restorer", name).model if name == SHIPPED else rk.Model(registry.create("generator", name).eval(), Recipe({}))
    image = torch.rand(1, 3, 720, 1280, generator=torch.Generator().manual_seed(0))
    model.restore(image[..., :64, :64])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    model.restore(image)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "extra": (peak - before) / 1024, "whole": peak / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.threads)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in MEASURED}
    for _ in range(arguments.repeats):
        for name in MEASURED:
            command = [sys.executable, __file__, "--one", name, "--threads", str(arguments.threads)]
            found[name].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    print("| network or model | seconds, median (min to max) | extra memory, MB | whole process, MB |\n|---|---|---|---|")
    for name, runs in found.items():
        seconds = [run["seconds"] for run in runs]
        extra, whole = (statistics.median(run[key] for run in runs) for key in ("extra", "whole"))
        print(f"| {name} | {statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f}) | {extra:.0f} | {whole:.0f} |")


if __name__ == "__main__":
    main()
