"""What few photographs are good for: gain on CBSD68 by their number, with blur made afresh for every patch and without.

    python benchmarks/training/small_data.py --data ../shared/data --minutes 10

Without, each photograph is blurred once, as in a set of pairs. All trainings take equally many steps: as many as this
machine does in the given minutes when blur is made afresh, or as --steps says where it has other work to do.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from timed import gain, steps_within

import restorekit as rk


def few(photographs: Path, count: int, folder: Path) -> Path:
    """A folder of links to `count` of the photographs, evenly spread over their names."""
    everything = sorted(photographs.iterdir())
    chosen = folder / str(count)
    chosen.mkdir()
    for number in range(count):
        file = everything[number * len(everything) // count]
        (chosen / file.name).symlink_to(file.resolve())
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="deblurgan/default")
    parser.add_argument("--data", type=Path, required=True, help="folder with bsd400 and cbsd68")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--steps", type=int, help="steps of each training, instead of minutes")
    parser.add_argument("--counts", type=int, nargs="+", default=[64, 256, 400])
    parser.add_argument("--limit", type=int, help="pictures that are scored, to try the script out")
    arguments = parser.parse_args()
    base = rk.recipe(arguments.recipe).set("data.validation", str(arguments.data / "cbsd68")).set("data.validation_images", 1)
    with tempfile.TemporaryDirectory() as folder:
        sets = {count: few(arguments.data / "bsd400", count, Path(folder)) for count in arguments.counts}
        steps = arguments.steps or steps_within(base.set("data.train", str(next(iter(sets.values())))).check(), arguments.minutes)
        print(
            f"{arguments.recipe}, {steps} steps each\n\n| photographs | blurred afresh, dB | blurred once, dB |\n|---|---|---|", flush=True
        )
        for count, photographs in sets.items():
            cells = []
            for fixed in (False, True):
                recipe = base.set("data.train", str(photographs)).set("data.fixed_degradation", fixed)
                recipe = recipe.set("train.steps", steps).set("train.validate_every", steps)
                before, after = gain(rk.train(recipe, progress=True), arguments.data, arguments.limit)
                cells.append(f"{after - before:+.2f}")
            print(f"| {count} | {cells[0]} | {cells[1]} |", flush=True)


if __name__ == "__main__":
    main()
