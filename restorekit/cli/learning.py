"""Commands that learn and compare: ``train``, ``bench run`` and ``bench table``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from restorekit.cli.common import (
    Commands,
    debug_option,
    device_option,
    emit,
    examples,
    help_if_alone,
    json_option,
    parse_settings,
    set_option,
)
from restorekit.errors import UserError

PATH = click.Path(path_type=Path)


@click.command(
    epilog=examples(
        "restorekit train deblurgan/default --data my-photos",
        "restorekit train my-recipe.yaml --data train/ --val val/ --out runs/first",
        "restorekit train deblurgan/default --data my-photos --set train.steps=2000 --set losses.0.weight=0.5",
        "restorekit train deblurgan/default --data my-photos --resume",
        "restorekit info deblurgan/default",
    )
)
@click.argument("recipe")
@click.option("--data", metavar="DIR", type=PATH, help="Folder of sharp photographs to learn from; short for --set data.train=DIR.")
@click.option("--val", metavar="DIR", type=PATH, help="Folder of photographs to validate on; short for --set data.validation=DIR.")
@set_option
@click.option("--out", metavar="DIR", type=PATH, help="Where the run goes; runs/RECIPE if not given.")
@device_option
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out.")
@json_option
@debug_option
def train(
    recipe: str,
    data: Path | None,
    val: Path | None,
    settings: tuple[str, ...],
    out: Path | None,
    device: str,
    resume: bool,
    as_json: bool,
) -> None:
    """Train a network.

    RECIPE is a YAML file or a registered name. --set changes any of its values: keys are dotted, list
    items are numbered (losses.0.weight). The run's folder gets model.safetensors, a checkpoint to
    resume from, history.jsonl and TensorBoard's files.
    """
    values = parse_settings(settings)
    for option, key, folder in (("--data", "data.train", data), ("--val", "data.validation", val)):
        if folder is not None:
            if key in values:
                raise UserError(f"{option} {folder}: --set {key} says something else; give one of them")
            values[key] = str(folder)
    from restorekit import devices, recipes

    chosen = recipes.recipe(recipe)
    for key, value in values.items():
        chosen = chosen.set(key, value)
    chosen = chosen.check()
    place = devices.pick(device)
    from restorekit import engine

    out = out or Path("runs") / _run_name(recipe)
    start = time.perf_counter()
    model = engine.train(chosen, out=out, resume=resume, device=str(place), progress=sys.stderr.isatty() or not as_json)
    file = out / "model.safetensors"
    if as_json:
        parameters = sum(weight.numel() for weight in model.generator.parameters())
        emit(
            {
                "model": str(file),
                "out": str(out),
                "recipe": chosen.origin,
                "parameters": parameters,
                "scores": dict(model.scores),
                "seconds": round(time.perf_counter() - start, 3),
            }
        )
        return
    scores = ", ".join(f"{name} {value:.4g}" for name, value in model.scores.items())
    click.echo(f"{file}" + (f"  {scores}" if scores else ""))
    if model.generator.consumes == "image":
        click.echo(f"Use it: restorekit restore photo.jpg -o restored.jpg --with {file}")


def _run_name(recipe: str) -> str:
    path = Path(recipe)
    return path.stem if path.suffix in (".yaml", ".yml") or path.is_file() else recipe.replace("/", "-")


@click.group(
    cls=Commands,
    invoke_without_command=True,
    epilog=examples("restorekit bench run core/photos --method core/wiener --out bench/", "restorekit bench table bench/"),
)
@debug_option
def bench() -> None:
    """Compare methods on the same pictures with the same scores."""
    help_if_alone()


@bench.command(
    epilog=examples(
        "restorekit bench run core/photos --method deblurgan/shipped --method core/wiener --out bench/",
        "restorekit bench run my-photos/ --method runs/first/model.safetensors --out bench/",
        "restorekit bench run core/photos --method my-method.yaml core/richardson-lucy --out bench/",
        "restorekit list suite",
    )
)
@click.argument("suite", metavar="SUITE")
@click.argument("more", metavar="", nargs=-1)
@click.option(
    "--method", "methods", metavar="NAME|FILE ...", multiple=True, required=True, help="Restorer, model file or YAML file with options."
)
@click.option("--out", metavar="DIR", type=PATH, required=True, help="Where results go; what is there already is not computed again.")
@device_option
@json_option
@debug_option
def run(suite: str, more: tuple[str, ...], methods: tuple[str, ...], out: Path, device: str, as_json: bool) -> None:
    """Run methods on a suite and write the leaderboard.

    SUITE is a registered name, a suite's YAML file or a folder of photographs. Doing nothing
    (core/identity) is always among the methods. DIR gets the rows and leaderboard.md.
    """
    from restorekit import bench as engine
    from restorekit import devices

    place = devices.pick(device)
    written = engine.run_suite(suite, [*methods, *more], out, device=str(place), progress=sys.stderr.isatty())
    if as_json:
        emit({"leaderboard": str(written), "rows": engine.rows(out)})
        return
    click.echo(engine.leaderboard(out))
    click.echo(f"Written: {written}")


@bench.command(epilog=examples("restorekit bench table bench/", "restorekit bench table bench/ --json"))
@click.argument("folder", metavar="DIR", type=PATH)
@json_option
@debug_option
def table(folder: Path, as_json: bool) -> None:
    """Print the leaderboard of results in DIR; with --json every row."""
    from restorekit import bench as engine

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Fill it: restorekit bench run SUITE --method NAME --out {folder}")
    if as_json:
        emit(engine.rows(folder))
    else:
        click.echo(engine.leaderboard(folder))
