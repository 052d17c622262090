"""The command that makes pictures out of nothing: ``sample``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from restorekit.cli import batch, common
from restorekit.cli.common import debug_option, device_option, emit, examples, json_option, overwrite_option, seed_option
from restorekit.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from restorekit.modelfile import Model

PATH = click.Path(path_type=Path)


@click.command(
    epilog=examples(
        "restorekit sample faces.safetensors -n 64 --seed 1 -o grid.png",
        "restorekit sample faces.safetensors --seed 1 --interpolate 3 17 -n 12 -o between.png",
        "restorekit sample textures.safetensors --class 0 --truncation 0.7 -o brick.png",
        "restorekit sample faces.safetensors -n 1000 -o made/",
        "restorekit train dcgan/faces28",
    )
)
@click.argument("model", metavar="MODEL", type=PATH)
@click.option("-n", "count", metavar="N", type=click.IntRange(1), default=64, show_default=True, help="Pictures.")
@click.option("-o", "--out", metavar="OUT", type=PATH, required=True, help="A picture with all of them, or a folder for single ones.")
@seed_option
@click.option(
    "--interpolate",
    "ends",
    metavar="A B",
    nargs=2,
    type=click.IntRange(1),
    help="N pictures on the way from picture A of this seed to picture B, counted from 1; all of one class.",
)
@click.option("--latents", metavar="FILE", type=PATH, help="Latent vectors instead of drawn ones: .npy, one a row.")
@click.option("--truncation", metavar="T", type=click.FloatRange(0), default=1.0, show_default=True, help="Less than 1: nearer the mean.")
@click.option("--class", "label", metavar="K", type=click.IntRange(0), help="Class of all pictures; each in turn if not given.")
@click.option("--data", metavar="DIR", help="Where the training pictures are now, for the nearest of them.")
@click.option("--neighbours/--no-neighbours", default=True, help="Beside the pictures the nearest training pictures.  [default: with]")
@overwrite_option
@device_option
@json_option
@debug_option
def sample(
    model: Path,
    count: int,
    out: Path,
    seed: int,
    ends: tuple[int, int] | None,
    latents: Path | None,
    truncation: float,
    label: int | None,
    data: str | None,
    neighbours: bool,
    overwrite: bool,
    device: str,
    as_json: bool,
) -> None:
    """Make pictures with a model that makes them from latent vectors.

    MODEL is a model file of such a generator. OUT is a file with the suffix of an image for one
    picture with all of them, and beside them the nearest training pictures (those that correlate best
    with them), or a folder, created if missing, for single files. The picture of a number follows from
    the seed and the number alone. --latents and --interpolate are about the vectors that are drawn (the
    space Z), --truncation about the styles (W) that a style-based generator makes of them first.
    """
    for option, given in (("--interpolate", ends is not None), ("-n", _typed("count")), ("--seed", _typed("seed"))):
        if latents is not None and given:
            raise UserError(f"--latents and {option}: give one of them; each vector of the file is one picture")
    if not math.isfinite(truncation):
        raise UserError(f"--truncation {truncation}: expected a number from 0, such as 0.7; 1 leaves the codes as they come")
    if neighbours and data is not None and not Path(data).is_dir() and not data.startswith("bundled"):
        raise UserError(f"--data {data}: no such folder")
    from restorekit import devices, photos, sampling
    from restorekit.modelfile import load

    batch.refuse_other_format(out, photos.SUFFIXES)
    single = out.suffix.lower() in photos.SUFFIXES and not out.is_dir()
    batch.refuse_unwritable(out.parent if single else out)
    loaded = load(model, device=devices.pick(device))
    sampling.check_latent(loaded, str(model))
    if latents is not None:
        vectors = sampling.read_latents(latents, loaded)
    elif ends is not None:
        first, last = sampling.draw(loaded, list(ends), seed)
        vectors = sampling.between(first, last, count)
        label = sampling.shared_label(loaded, ends) if label is None else label
    else:
        vectors = sampling.draw(loaded, list(range(1, count + 1)), seed)
    made = [out] if single else [out / f"{number:0{DIGITS}}.png" for number in range(1, len(vectors) + 1)]
    batch.refuse_existing(made, "-o", overwrite=overwrite)
    images = sampling.make(loaded, vectors, sampling.labels(loaded, len(vectors), label), truncation=truncation)
    report = {"model": str(model), "out": str(out), "pictures": len(images), "width": images.shape[-1], "height": images.shape[-2]}
    if not single:
        for file, image in zip(made, images, strict=True):
            photos.write(file, image[None])
        report["others"] = len({*map(batch.real, photos.find([out]))} - {*map(batch.real, made)})
        _say(report, as_json)
        return
    columns = len(images) if ends is not None and len(images) <= LINE else None
    whole = sampling.sheet(images, columns)
    near = _nearest(images, loaded, data) if neighbours else None
    if near is not None:
        report["neighbours"] = True
        right = sampling.sheet(near, columns)
        whole = sampling.beside(whole, right) if columns is None else sampling.below(whole, right)
    photos.write(out, whole)
    _say(report, as_json)


DIGITS = 6
"""Of the numbers in the names of single files: the same for any number of them, so that a picture keeps its name."""

LINE = 16
"""Pictures of an interpolation that stand in one row; more are laid out in rows."""


def _typed(option: str) -> bool:
    """Whether the user gave the option, as opposed to its default."""
    return click.get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE


def _nearest(images: Tensor, model: Model, data: str | None) -> Tensor | None:
    from restorekit.engine import neighbours

    try:
        return neighbours.nearest(images, neighbours.trained_on(model, data))
    except UserError as fault:
        if data is not None:
            raise
        common.warn(f"no nearest training pictures: {fault}. Name their folder with --data, or leave them out: --no-neighbours")
        return None


def _say(report: dict[str, object], as_json: bool) -> None:
    if as_json:
        emit(report)
        return
    beside = ", beside each the nearest training picture" if report.get("neighbours") else ""
    many = "picture" if report["pictures"] == 1 else "pictures"
    click.echo(f"{report['out']}: {report['pictures']} {many} of {report['width']}×{report['height']}{beside}")
    if report.get("others"):
        others = "picture" if report["others"] == 1 else "pictures"
        click.echo(f"{report['out']} holds {report['others']} other {others}, not made by this command")
