"""Commands for data sets: ``data check`` and ``data organise``."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from restorekit.cli import common
from restorekit.cli.common import Commands, debug_option, emit, examples, help_if_alone, json_option
from restorekit.errors import UserError

if TYPE_CHECKING:
    from restorekit.datasets.layouts import Listing
    from restorekit.datasets.organise import Conversion, Job
    from restorekit.datasets.survey import Finding, Survey

PATH = click.Path(path_type=Path)

CONVERSIONS = ("gopro-to-ab", "gopro-to-pairs", "pairs-to-ab", "ab-to-pairs")

WRITERS = 4
"""Most pictures that are written at the same time."""

SIZES = 6
"""Sizes that are named; more are counted."""

F = TypeVar("F", bound=Callable[..., Any])


def blur_folder_option(command: F) -> F:
    """``--blur-folder``."""
    text = "In the layout gopro, the folder beside sharp; GoPro has blur and blur_gamma."
    return click.option("--blur-folder", metavar="NAME", default="blur", show_default=True, help=text)(command)


def sharp_half_option(command: F) -> F:
    """``--sharp-half``."""
    text = "In the layout ab, the sharp half of a picture."
    return click.option("--sharp-half", type=click.Choice(["left", "right"]), default="right", show_default=True, help=text)(command)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    epilog=examples(
        "restorekit data check my-photos",
        "restorekit data check GOPRO_Large/train --val GOPRO_Large/test --blur-folder blur_gamma",
        "restorekit data organise GOPRO_Large gopro-ab --layout gopro-to-ab",
    ),
)
@debug_option
def data() -> None:
    """Look through data sets before training, and bring them into another layout."""
    help_if_alone()


@data.command(
    epilog=examples(
        "restorekit data check my-photos",
        "restorekit data check train/ --val val/ --crop 256",
        "restorekit data check sharp/ --degraded blurred/ --json",
        "restorekit data check GOPRO_Large/train --blur-folder blur_gamma",
    )
)
@click.argument("folder", metavar="DIR", type=PATH)
@click.option("--degraded", metavar="DIR", type=PATH, help="The degraded counterparts, matched by name.")
@click.option("--val", "validation", metavar="DIR", type=PATH, help="Validation set, whose pictures must not be in DIR.")
@click.option("--val-degraded", "validation_degraded", metavar="DIR", type=PATH, help="The degraded counterparts of the validation set.")
@click.option(
    "--layout", type=click.Choice(["auto", "sharp", "ab", "gopro"]), default="auto", show_default=True, help="What the folders hold."
)
@blur_folder_option
@sharp_half_option
@click.option("--crop", metavar="N", type=click.IntRange(min=8), default=128, show_default=True, help="The recipe's data.crop.")
@click.option(
    "--scale",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Sharp pictures are N times as high as degraded ones.",
)
@json_option
@debug_option
def check(
    folder: Path,
    degraded: Path | None,
    validation: Path | None,
    validation_degraded: Path | None,
    layout: Literal["auto", "sharp", "ab", "gopro"],
    blur_folder: str,
    sharp_half: Literal["left", "right"],
    crop: int,
    scale: int,
    as_json: bool,
) -> int:
    """Read every picture of a data set and say what is there and what is wrong.

    Counts, sizes and colours; files without a counterpart, that cannot be read, or of different sizes;
    pairs that lie more than a pixel apart; pictures that are there twice, or in the validation set too.
    Pictures are compared by their pixels. Exit code 2 if something must be fixed before training.
    """
    if validation_degraded is not None and validation is None:
        raise UserError("--val-degraded: give the sharp side too, with --val")
    from restorekit.datasets import layouts, survey

    def listing(where: Path, other: Path | None) -> Listing:
        divided = None if other is not None or layout != "auto" else layouts.divided(where)
        if divided:
            raise UserError(f"{where}: holds {divided[0].name} and {divided[1].name}; give them as: {divided[0]} --val {divided[1]}")
        found = layouts.find(
            where, degraded=other, layout="auto" if other is not None else layout, blur_folder=blur_folder, sharp_half=sharp_half
        )
        twins = None if found.paired or layout != "auto" else layouts.twins(found)
        if twins:
            first, second = (where / folder for folder in twins)
            scenes = twins[0].parent != Path() and twins[0].name == layouts.SHARP
            advice = f"{where} --layout gopro --blur-folder {second.name}" if scenes else f"{first} --degraded {second}"
            raise UserError(f"{first} and {second} hold the same pictures. If they are pairs, give {advice}; if not, add --layout sharp")
        return found

    listings = [listing(folder, degraded)] + ([listing(validation, validation_degraded)] if validation is not None else [])
    with common.progress("reading", sum(len(each.entries) for each in listings)) as steps:
        surveys = [survey.survey(each, crop=crop, scale=scale, step=lambda name: steps.move(f"reading {name}", 1)) for each in listings]
    leaks = survey.seen(*surveys) if len(surveys) == 2 else []
    findings = [finding for each in surveys for finding in each.findings] + leaks
    serious = sum(finding.serious for finding in findings)
    if as_json:
        train, *more = map(_as_json, surveys)
        emit(
            {
                "train": train,
                "validation": more[0] if more else None,
                "seen": [dataclasses.asdict(leak) for leak in leaks],
                "to_fix": serious,
            }
        )
    else:
        click.echo("\n\n".join(map(_as_text, surveys)))
        click.echo(_findings_text(findings))
    return 2 if serious else 0


def _as_json(survey: Survey) -> dict[str, Any]:
    shifts = survey.shifts
    return {
        "folder": survey.listing.folder,
        "layout": survey.listing.layout,
        "pairs" if survey.listing.paired else "photographs": len(survey.looks),
        "sizes": dict(survey.sizes.most_common()),
        "colours": dict(survey.colours.most_common()),
        "mebibytes": survey.mebibytes,
        "apart": {"median": shifts[len(shifts) // 2], "largest": shifts[-1]} if shifts else None,
        "findings": [dataclasses.asdict(finding) for finding in survey.findings],
    }


def _as_text(survey: Survey) -> str:
    from restorekit.datasets.layouts import WORDS
    from restorekit.settings import DataSettings

    shifts, sizes = survey.shifts, survey.sizes
    more = f" and {len(sizes) - SIZES} sizes more" if len(sizes) > SIZES else ""
    fits = "kept in memory" if survey.mebibytes <= DataSettings().memory else "read while training, or kept with a larger data.memory"
    rows = [
        ("holds", f"{len(survey.looks)} {WORDS[survey.listing.layout]}"),
        ("sizes", _counted(sizes, SIZES) + more),
        ("colours", _counted(survey.colours, SIZES)),
        ("memory", f"{survey.mebibytes} MiB, {fits}"),
    ]
    if shifts:
        rows.append(("apart", f"median {shifts[len(shifts) // 2]:.1f} px, largest {shifts[-1]:.1f} px"))
    return f"{click.style(survey.listing.folder, bold=True)}\n{common.columns(rows)}"


def _counted(counter: Counter[str], most: int) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counter.most_common(most)) or "none"


def _findings_text(findings: list[Finding]) -> str:
    text = ""
    for title, serious in (("to fix", True), ("to know", False)):
        rows = [(finding.kind, finding.message) for finding in findings if finding.serious == serious]
        if rows:
            text += f"\n{click.style(title, bold=True)}\n{common.columns(rows)}\n"
    count = sum(finding.serious for finding in findings)
    return text + ("\n" + (f"{count} to fix" if count else "nothing to fix"))


@data.command(
    short_help="Bring pairs into another layout.",
    epilog=examples(
        "restorekit data organise GOPRO_Large gopro-ab --layout gopro-to-ab --blur-folder blur_gamma",
        "restorekit data organise GOPRO_Large gopro-pairs --layout gopro-to-pairs",
        "restorekit data organise sharp/ both/ --degraded blurred/ --layout pairs-to-ab",
        "restorekit data organise facades/ facades-pairs/ --layout ab-to-pairs --sharp-half left",
    ),
)
@click.argument("source", metavar="SRC", type=PATH)
@click.argument("target", metavar="DST", type=PATH)
@click.option("--layout", "conversion", type=click.Choice(CONVERSIONS), required=True, help="From which layout to which.")
@click.option("--degraded", metavar="DIR", type=PATH, help="For pairs-to-ab: the degraded counterparts of SRC, matched by name.")
@blur_folder_option
@sharp_half_option
@click.option("--copy", is_flag=True, help="Copy files that keep their content; otherwise they are hard-linked where possible.")
@json_option
@debug_option
def organise(
    source: Path,
    target: Path,
    conversion: Conversion,
    degraded: Path | None,
    blur_folder: str,
    sharp_half: Literal["left", "right"],
    copy: bool,
    as_json: bool,
) -> int:
    """Bring pairs from one layout into another.

    Pairs are matched by name, and names are kept, with the folders they are in. ab: one picture
    DST/NAME.png, degraded left and sharp right. pairs: two folders, DST/sharp and DST/degraded.
    What is in DST already stays as it is, so that an interrupted command can be given again. Files
    that belong to no pair are listed, and the exit code is then 2.
    """
    from restorekit.datasets import organise as engine

    plan = engine.plan(source, target, conversion, degraded=degraded, blur_folder=blur_folder, sharp_half=sharp_half)
    left_out = list(plan.listing.unmatched)
    written = 0

    def work(job: Job) -> bool | str:
        try:
            return engine.write(job, copy=copy)
        except UserError as fault:
            return str(fault)

    with common.progress("organising", len(plan.jobs)) as steps, ThreadPoolExecutor(min(WRITERS, os.cpu_count() or 1)) as writers:
        for job, result in zip(plan.jobs, writers.map(work, plan.jobs), strict=True):
            steps.move(f"organising {job.entry.name}", 1)
            if isinstance(result, str):
                left_out.append(result)
            else:
                written += result
    there = len(plan.jobs) + len(plan.listing.unmatched) - written - len(left_out)
    use = _use(target, conversion)
    if as_json:
        emit({"target": str(target), "layout": conversion, "written": written, "there": there, "left_out": left_out, "use": use})
    else:
        click.echo(f"{target}: {written} pairs written" + (f", {there} were there" if there else ""))
        click.echo(f"Use it: {use}")
    if left_out and not as_json:
        click.echo(f"error: {len(left_out)} left out:", err=True)
        for message in left_out:
            click.echo(f"  {message}", err=True)
    return 2 if left_out else 0


def _use(target: Path, conversion: str) -> str:
    """The command that trains on what was written."""
    from restorekit.datasets import layouts, organise

    if conversion.endswith("-to-ab"):
        divided = layouts.divided(target)
        return f"restorekit train RECIPE --data {divided[0]} --val {divided[1]}" if divided else f"restorekit train RECIPE --data {target}"
    sharp, degraded = target / organise.SHARP, target / organise.DEGRADED
    divided = layouts.divided(sharp)
    if not divided:
        return f"restorekit train RECIPE --data {sharp} --set data.degraded={degraded}"
    train, validation = (degraded / part.name for part in divided)
    return (
        f"restorekit train RECIPE --data {divided[0]} --set data.degraded={train} "
        f"--val {divided[1]} --set data.validation_degraded={validation}"
    )
