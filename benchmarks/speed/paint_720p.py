"""style/transform-net and style/adain on 1280×720: seconds of the clock and of the processor, and what the network costs alone.

    python benchmarks/speed/paint_720p.py --threads 2

The weights are random, which cost the same. On a machine that does other things too, the processor's time over the
number of threads is what a quiet one would take at best.
"""

from __future__ import annotations

import argparse
import time

import torch

import restorekit as rk
from restorekit.images import Degraded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--width", type=int, nargs="+", default=[32, 16], help="of style/transform-net")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    registry = rk.registry()
    photo = torch.rand(1, 3, 720, 1280, generator=torch.Generator().manual_seed(0))
    given = Degraded(photo, reference=torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(1)))
    squeezenet = {"part": "core/squeezenet", "weights": "random"}
    networks = {
        f"transform-net, width {width}": registry.create("generator", "style/transform-net", width=width) for width in arguments.width
    }
    networks["adain behind SqueezeNet"] = registry.create(
        "generator", "style/adain", features=squeezenet, layers=["features.1", "features.4", "features.7"]
    )
    for name, generator in networks.items():
        method = registry.create("restorer", "core/network", generator=generator)
        method.restore(given)
        walls, used = [], []
        for _ in range(arguments.repeats):
            wall, cpu = time.perf_counter(), time.process_time()
            method.restore(given)
            walls.append(time.perf_counter() - wall)
            used.append(time.process_time() - cpu)
        each = min(used) / arguments.threads
        clocks = f"{min(walls):.2f} s by the clock, {min(used):.2f} s of the processor, {each:.2f} s a thread"
        print(f"{name}: {clocks}, {arguments.threads} threads")


if __name__ == "__main__":
    main()
