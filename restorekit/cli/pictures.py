"""Commands that turn pictures into pictures: ``degrade`` and ``restore``."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from restorekit.cli import batch, clips, running
from restorekit.cli.common import (
    a_size,
    debug_option,
    device_option,
    examples,
    existing_options,
    json_lines_option,
    parse_settings,
    seed_option,
    set_option,
)
from restorekit.errors import ConfigError, UserError

if TYPE_CHECKING:
    from torch import Tensor

    from restorekit.clips import Made
    from restorekit.interfaces import Degradation
    from restorekit.photos import Photo

SMALL = 64
"""Parameters of a degradation with at most this many values are saved as text."""

PATH = click.Path(path_type=Path)


@click.command(
    short_help="Damage photographs in a way that can be repeated.",
    epilog=examples(
        "restorekit degrade sharp.png blurred.png --with core/camera-shake",
        "restorekit degrade sharp/ blurred/ --with core/camera-shake --set length=[12,18] --seed 7 --save-params psfs/",
        "restorekit degrade photo.jpg holes.png --with core/mask --set shape=boxes --save-params holes/",
        "restorekit list degradation",
    ),
)
@click.argument("source", metavar="IN", type=PATH)
@click.argument("out", metavar="OUT", type=PATH)
@click.option("--with", "name", metavar="NAME", required=True, help="The degradation. See: restorekit list degradation")
@set_option
@seed_option
@click.option("--save-params", metavar="DIR", type=PATH, help="Write what was drawn: psf.npy and psf.png, mask.png and so on.")
@existing_options
@json_lines_option
@debug_option
def degrade(
    source: Path,
    out: Path,
    name: str,
    settings: tuple[str, ...],
    seed: int,
    save_params: Path | None,
    skip_existing: bool,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Damage a photograph, or every photograph in a folder, in a way that can be repeated.

    IN is a file or a folder. OUT is a file for one file with an image suffix, otherwise a folder,
    created if missing. Each picture's damage is drawn from the seed and the picture's file name.
    With a folder, --save-params gets a folder for each picture. What is there already is replaced only
    with --overwrite.
    """
    degradation, label = _degradation(name, parse_settings(settings))
    planned = batch.plan([source], out)
    jobs = batch.settle_existing(planned, skip=skip_existing, overwrite=overwrite)
    _say_left(len(planned) - len(jobs), as_json)
    many = source.is_dir()
    if save_params is not None:
        batch.refuse_unwritable(save_params, option="--save-params")
        folders = [save_params / job.inside if many else save_params for job in jobs]
        sides = [("--save-params", file) for folder in folders for file in _params_files(folder, degradation)]
        batch.settle_side_files(sides, planned, overwrite=overwrite)

    def compute(job: batch.Job, photo: Photo, tell: running.Tell) -> Tensor:
        from restorekit import images, seeding

        _, channels, height, width = photo.image.shape
        drawn = degradation.sample(1, (channels, height, width), seeding.generator("degrade", seed, job.source.name))
        degraded = degradation.apply(images.floats(photo.image), drawn)
        if save_params is not None:  # first, since a picture whose damage is not known is of no use
            params = dict(degraded.params) if degraded.mask is None else {**degraded.params, "mask": degraded.mask}
            _save_params(save_params / job.inside if many else save_params, params)
        return degraded.image

    def write(job: batch.Job, photo: Photo, degraded: Tensor) -> None:
        from restorekit import photos

        photos.write(job.target, degraded, like=photo)

    facts = {"degradation": label, "seed": seed}
    return running.run(jobs, running.Work(compute, write), doing="degrading", facts=facts, as_json=as_json)


def _a_format(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    from restorekit import clips, photos

    known = photos.SUFFIXES + clips.SUFFIXES
    if f".{value.lower().lstrip('.')}" not in known:
        raise UserError(f"--format {value}: no format that can be written; use one of {' '.join(s[1:] for s in known)}")
    return value.lower().lstrip(".")


@click.command(
    epilog=examples(
        "restorekit restore photo.jpg -o restored.jpg",
        "restorekit restore holiday/ scan.png -o restored/",
        "restorekit restore 'holiday/**/*.jpg' -o restored/ --format png --skip-existing --compare",
        "restorekit restore blurred.png -o sharp.png --with core/wiener --psf psf.npy",
        "restorekit restore holes.png -o whole.png --with core/biharmonic-inpaint --mask mask.png",
        "restorekit restore damaged/ -o whole/ --with core/biharmonic-inpaint --mask masks/",
        "restorekit restore photo.jpg -o restored.png --with runs/my-model/model.safetensors --device cuda",
        "restorekit restore photo.jpg -o restored.png --with hf://owner/name/model.safetensors",
        "restorekit restore photo.jpg -o restored.png --with https://example.org/model.safetensors#sha256=DIGEST",
        "restorekit restore photo.jpg -o painted.png --with style/gatys --reference painting.jpg",
        "restorekit restore clip.mp4 -o restored.mp4",
        "restorekit list restorer",
    )
)
@click.argument("sources", metavar="IN...", type=PATH, nargs=-1, required=True)
@click.option("-o", "--out", metavar="OUT", type=PATH, required=True, help="File for one picture or clip, otherwise folder.")
@click.option(
    "--with",
    "name",
    metavar="NAME|MODELFILE|ADDRESS",
    help="The method; the model that ships with restorekit's plugins if not given. ADDRESS is hf://owner/name[@revision]/FILE or "
    "https://…/FILE#sha256=DIGEST of a model file, which is fetched once; with HF_HUB_OFFLINE=1 never.",
)
@set_option
@click.option("--psf", metavar="FILE", type=PATH, help="Blur kernel: .npy, or a picture of it.")
@click.option(
    "--mask",
    metavar="FILE|DIR",
    type=PATH,
    help="Damaged area: a picture, white = missing; or a folder of them, each named as its picture.",
)
@click.option(
    "--reference", metavar="FILE", type=PATH, multiple=True, help="A picture that guides the restoration, such as a style. May be repeated."
)
@click.option(
    "--save-every", metavar="K", type=click.IntRange(min=1), help="Of methods that iterate: write every K-th step's picture beside OUT."
)
@click.option("--animation", metavar="FILE", type=PATH, help="Of methods that iterate: the way to the result, as .gif, .webp or .png.")
@click.option(
    "--strength", metavar="S", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="Share of the result; the rest is IN."
)
@click.option("--self-ensemble", is_flag=True, help="The mean over flips and rotations: eight times the work.")
@click.option("--compare", is_flag=True, help="Also write NAME-compared.png with both side by side; of a clip one frame.")
@click.option(
    "--format",
    "form",
    metavar="EXT",
    callback=_a_format,
    help="Of the results in a folder, such as png or jpg; each input's own if not given.",
)
@click.option(
    "--quality", metavar="Q", type=click.IntRange(1, 100), help="Of JPEG, WebP, AVIF, HEIC and clips; a JPEG of a JPEG keeps its own."
)
@click.option(
    "--memory",
    metavar="SIZE",
    callback=a_size,
    help="Keep the process under it, such as 2G or 1500M, by working in tiles; half of what is free if not given. "
    "On a GPU it is about the GPU's memory.",
)
@click.option("--strip", is_flag=True, help="Leave out EXIF, XMP and resolution, of clips metadata. The colour profile stays.")
@existing_options
@click.option(
    "--engine",
    type=click.Choice(["auto", "torch", "onnxruntime", "openvino"]),
    default="auto",
    show_default=True,
    help="What computes the network; auto takes what it is fastest with, of what is installed. "
    "Others than torch: pip install 'restorekit[openvino]'",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="Of the network; auto takes bf16 or fp16 where the device is faster with it and the result the same.",
)
@click.option("--compile", "compiled", is_flag=True, help="Compile the network first, with torch.compile: minutes, for large batches.")
@device_option
@seed_option
@json_lines_option
@debug_option
def restore(
    sources: tuple[Path, ...],
    out: Path,
    name: str | None,
    settings: tuple[str, ...],
    psf: Path | None,
    mask: Path | None,
    reference: tuple[Path, ...],
    save_every: int | None,
    animation: Path | None,
    strength: float,
    self_ensemble: bool,
    compare: bool,
    form: str | None,
    quality: int | None,
    memory: int | None,
    strip: bool,
    skip_existing: bool,
    overwrite: bool,
    engine: str,
    precision: str,
    compiled: bool,
    device: str,
    seed: int,
    as_json: bool,
) -> int:
    """Restore photographs and clips of video.

    IN are files, folders that are searched for pictures and clips at any depth, or patterns in quotes such as
    'holiday/**/*.jpg'. OUT is a file for one file with an image suffix, otherwise a folder, created if
    missing, in which pictures keep their names and folders. Inputs are never written over, and results
    that are there only with --overwrite. A picture that fails does not stop the others; the exit code
    is then 2. While a method iterates, Ctrl-C keeps the best picture so far. Of clips each frame is
    restored as a photograph would be, and sound and subtitles are copied.
    """
    if math.isnan(strength):
        raise UserError("--strength nan: expected a number from 0 to 1")
    planned = batch.plan(sources, out, suffix=None if form is None else f".{form}", clips=True)
    clips.refuse(planned, {"--save-every": save_every, "--animation": animation})
    jobs = batch.settle_existing(planned, skip=skip_existing, overwrite=overwrite)
    _say_left(len(planned) - len(jobs), as_json)
    from restorekit import comparison, files, photos, treatment
    from restorekit.cli.watching import earlier_steps, watching

    sides = [("--compare", _compared(job.target)) for job in jobs if compare]
    sides += [("--save-every", file) for job in jobs if save_every is not None for file in earlier_steps(job.target)]
    if animation is not None:
        batch.refuse_unwritable(animation.parent, option="--animation")
        sides.append(("--animation", animation))
    batch.settle_side_files(sides, planned, overwrite=overwrite)

    treated = treatment.prepare(
        name,
        parse_settings(settings),
        psf=psf,
        mask=mask,
        reference=reference,
        device=device,
        strength=strength,
        self_ensemble=self_ensemble,
        seed=seed,
        memory=memory,
        engine=engine,
        precision=precision,
        compiled=compiled,
    )
    method = treated.method
    running_by = treated.running
    if compiled and running_by is not None and not as_json:
        click.echo(f"compiled in {running_by.seconds:.0f} s")
    facts: dict[str, Any] = {"method": method.label, "engine": None, "precision": None}
    if running_by is not None:
        facts |= {"engine": running_by.engine, "precision": running_by.precision}
        facts |= {"compiled_in": round(running_by.seconds, 1)} if compiled else {}

    def compute(job: batch.Job, photo: Photo, tell: running.Tell) -> Tensor:
        if watched is not None:
            watched.begin(job.source, job.target, photo)
        restored = treated.apply(photo, job.source.name, running.by_tiles(job, tell, passes=8 if self_ensemble else 1))
        if watched is not None:
            watched.end(restored)
        return restored

    def write(job: batch.Job, photo: Photo, restored: Tensor) -> None:
        photos.write(job.target, restored, like=photo.stripped() if strip else photo, quality=quality)
        if compare:
            files.write(_compared(job.target), comparison.before_after(photo.image, restored))

    def whole_clip(job: batch.Job, tell: running.Tell) -> Made:
        compared = _compared(job.target) if compare else None
        return clips.restore(job, tell, treated, watched, quality=quality, strip=strip, compared=compared)

    with watching(method.restorer, method.label, every=save_every, animation=animation, pictures=len(jobs)) as watched:
        work = running.Work(compute, write, keeps_input=compare, clip=whole_clip)
        return running.run(jobs, work, doing="restoring", facts=facts, as_json=as_json, watching=watched)


def _compared(target: Path) -> Path:
    return target.with_name(f"{target.stem}-compared.png")


def _say_left(count: int, as_json: bool) -> None:
    if count and not as_json:
        click.echo(f"{count} there already, left as {'it is' if count == 1 else 'they are'}", err=True)


def _degradation(name: str, settings: Mapping[str, Any]) -> tuple[Degradation, str]:
    from restorekit import config, discovery, recipes

    registry = discovery.registry()
    content = recipes.Recipe({"part": registry.find("degradation", name).name}, name)
    for key, value in settings.items():
        content = content.set(key, value)
    checked, problems = config.check_part("degradation", content.content, registry=registry, where="")
    if problems:
        raise ConfigError(f"{name}: {problem.removeprefix('.')}" for problem in problems)
    return config.build_spec("degradation", checked, registry=registry, where=name), checked["part"]


def _params_files(folder: Path, degradation: Degradation) -> list[Path]:
    """What `_save_params` may write."""
    names = [key.replace("/", "-") for key in dict.fromkeys([*degradation.params, "mask"])]
    return [folder / "params.json", *(folder / f"{name}{suffix}" for name in names for suffix in (".npy", ".png"))]


def _save_params(folder: Path, params: Mapping[str, Tensor]) -> None:
    """Write one picture's parameters, whose first dimension is 1."""
    import numpy as np

    from restorekit import files, photos

    small = {}
    for key, value in params.items():
        file = folder / key.replace("/", "-")
        if key.rpartition(".")[2] == "mask":
            photos.write(file.with_name(f"{file.name}.png"), value.float())
        elif value.ndim == 3 and value.shape[0] == 1 and key.rpartition(".")[2] == "psf":
            photos.write_psf(file.with_name(f"{file.name}.npy"), value)
            photos.write(file.with_name(f"{file.name}.png"), (value / value.amax()).unsqueeze(1))
        elif value.numel() <= SMALL:
            small[key] = value[0].tolist()
        else:
            stream = io.BytesIO()
            np.save(stream, value[0].cpu().numpy(), allow_pickle=False)
            files.write(file.with_name(f"{file.name}.npy"), stream.getvalue())
    if small:
        files.write(folder / "params.json", f"{json.dumps(small, indent=2)}\n".encode())
