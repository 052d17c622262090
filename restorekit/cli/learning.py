"""The command that learns: ``train``."""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from restorekit.cli.common import (
    debug_option,
    device_option,
    emit,
    examples,
    json_option,
    parse_settings,
    set_option,
)
from restorekit.errors import UserError
from restorekit.files import TRAINED

if TYPE_CHECKING:
    import torch

    from restorekit.engine.rehearsal import Rehearsal
    from restorekit.modelfile import Model

PATH = click.Path(path_type=Path)


@click.command(
    epilog=examples(
        "restorekit train deblurgan/default --data my-photos",
        "restorekit train my-recipe.yaml --data train/ --val val/ --out runs/first",
        "restorekit train deblurgan/default --data my-photos --set train.steps=2000 --set losses.0.weight=0.5",
        "restorekit train deblurgan/default --data my-photos --resume",
        "restorekit train deblurgan/default --data my-photos --init model.safetensors",
        "restorekit train deblurgan/default --data my-photos --dry-run",
        "restorekit train deblurgan/default --data my-photos --devices 4",
        "restorekit info deblurgan/default",
    )
)
@click.argument("recipe")
@click.option("--data", metavar="DIR", type=PATH, help="Photographs or pairs to learn from; short for --set data.train=DIR.")
@click.option("--val", metavar="DIR", type=PATH, help="Photographs or pairs to validate on; short for --set data.validation=DIR.")
@set_option
@click.option("--out", metavar="DIR", type=PATH, help="Where the run goes; runs/RECIPE if not given.")
@device_option
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out.")
@click.option("--init", metavar="MODEL", help="Start with the weights of a model file, or of a registered restorer that has some.")
@click.option("--devices", metavar="N", type=click.IntRange(1), help="Processes on this machine that share each batch, one a device.")
@click.option("--nodes", metavar="M", type=click.IntRange(1), help="Machines, each of which runs this command; see CONTRIBUTING.md.")
@click.option("--dry-run", is_flag=True, help="Check everything, do one step, say how long the run would take, write nothing.")
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
    init: str | None,
    devices: int | None,
    nodes: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train a network.

    RECIPE is a YAML file or a registered name. --set changes any of its values: keys are dotted, list
    items are numbered (losses.0.weight). The run's folder gets model.safetensors, checkpoints to
    resume from, history.jsonl, report.png and TensorBoard's files. Ctrl-C stops after the current step.
    """
    values = parse_settings(settings)
    for option, key, folder in (("--data", "data.train", data), ("--val", "data.validation", val)):
        if folder is not None:
            if key in values:
                raise UserError(f"{option} {folder}: --set {key} says something else; give one of them")
            values[key] = str(folder)
    from restorekit import processes, recipes
    from restorekit.devices import pick

    chosen = recipes.recipe(recipe)
    for key, value in values.items():
        chosen = chosen.set(key, value)
    chosen = chosen.check()
    place = pick(device)
    if processes.wanted(devices, nodes):
        _start(devices or 1, nodes or 1, place)
    if not processes.is_first():
        warnings.simplefilter("ignore")  # the first process says the same
    from restorekit import engine

    out = out or Path("runs") / _run_name(recipe)
    initial = _trained(init) if init is not None else None
    if dry_run:
        found = engine.rehearse(chosen, out=out, resume=resume, init=initial, device=str(place))
        if processes.is_first():
            _rehearse(found, as_json)
        return
    start = time.perf_counter()
    model = engine.train(chosen, out=out, resume=resume, init=initial, device=str(place), progress=sys.stderr.isatty() or not as_json)
    if not processes.is_first():
        return
    file = out / TRAINED
    if as_json:
        parameters = sum(weight.numel() for weight in model.generator.parameters())
        emit(
            {
                "model": str(file),
                "out": str(out),
                "recipe": chosen.origin,
                "parameters": parameters,
                "scores": dict(model.scores),
                "scores_before": model.provenance.get("scores before", {}),
                "seconds": round(time.perf_counter() - start, 3),
            }
        )
        return
    before = model.provenance.get("scores before", {})
    scores = ", ".join(
        f"{name} {value:.4g}" + (f" (before {before[name]:.4g})" if before.get(name, value) != value else "")
        for name, value in model.scores.items()
    )
    click.echo(f"{file}" + (f"  {scores}" if scores else ""))
    if model.generator.consumes == "image":
        click.echo(f"Use it: restorekit restore photo.jpg -o restored.jpg --with {file}")
    else:
        click.echo(f"Use it: restorekit sample {file} -n 64 -o grid.png")


def _start(count: int, nodes: int, place: torch.device) -> NoReturn:
    """Do what this command does in several processes, and end with their exit code."""
    from restorekit import processes

    if ":" in str(place):
        raise UserError(f"--device {place}: one device for several processes; give --device {place.type}")
    processes.check_devices(place.type, count)
    ending = processes.start(_again, (click.get_current_context().obj.arguments,), count=count, nodes=nodes)
    if ending is None:
        raise click.exceptions.Exit(0)
    if ending.code < 0:
        raise UserError(f"{ending.who} ended {ending.how}, and the others were stopped; add --resume to go on")
    if ending.said:
        click.echo(f"error: {ending.who}: {ending.said}", err=True)
    raise click.exceptions.Exit(ending.code)


def _again(arguments: tuple[str, ...]) -> int:
    from restorekit.cli import main

    return main(arguments)


def _trained(name: str) -> Model:
    """The model that ``--init`` names: a file, or a restorer that holds one."""
    from restorekit import methods
    from restorekit.modelfile import Model

    model = getattr(methods.resolve(name).restorer, "model", None)
    if not isinstance(model, Model):
        raise UserError(f"--init {name}: has no trained weights; give a model file (.safetensors)")
    return model


def _rehearse(found: Rehearsal, as_json: bool) -> None:
    if as_json:
        emit(vars(found))
        return
    terms = ", ".join(f"{name} {value:.4g}" for name, value in found.terms.items())
    scores = ", ".join(f"{name} {value:.4g} dB" for name, value in found.scores.items())
    click.echo(f"{found.device}, {found.precision}; {found.parameters:,} parameters")
    click.echo(f"{found.images} pictures to train on" + (f", {found.held_out} to validate on" if found.held_out else ""))
    click.echo(f"one step: {terms}" + (f"; one picture: {scores}" if scores else ""))
    shown = "a validation" if found.held_out else "to show what it makes"
    click.echo(f"{found.step_seconds:.3g} s a step, {found.validation_seconds:.3g} s {shown}")
    click.echo(f"{found.steps} steps would take about {_duration(found.seconds)}. Nothing was written.")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _run_name(recipe: str) -> str:
    path = Path(recipe)
    return path.stem if path.suffix in (".yaml", ".yml") or path.is_file() else recipe.replace("/", "-")
