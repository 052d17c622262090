"""The commands ``bench``: run, look at, join, compare and verify benchmarks."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click

from restorekit.cli import batch
from restorekit.cli.common import (
    Commands,
    debug_option,
    device_option,
    emit,
    examples,
    help_if_alone,
    json_option,
    overwrite_option,
    width,
)
from restorekit.errors import UserError

PATH = click.Path(path_type=Path)

data_option = click.option("--data", metavar="DIR", type=PATH, help="Folder in which data sets lie; also RESTOREKIT_DATA.")
limit_option = click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Use the first N pictures only, to try something out.")


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
        "restorekit bench run core/photos --method benchmarks/methods/*.yaml --out bench/",
        "restorekit bench run core/photos --method mine.py:sharpen --limit 3 --out try/",
        "restorekit bench run core/photos --method restored-by-another-program/ --out bench/",
        "restorekit bench run core/cbsd68-shake --method core/tv-denoise --shard 1/8 --out shard-1/",
        "restorekit list suite",
    )
)
@click.argument("suite", metavar="SUITE")
@click.argument("more", metavar="", nargs=-1)
@click.option(
    "--method",
    "methods",
    metavar="METHOD ...",
    multiple=True,
    required=True,
    help="Restorer, model file, YAML file with options, FILE.py:FUNCTION, or folder of restored pictures. May be repeated.",
)
@click.option("--out", metavar="DIR", type=PATH, required=True, help="Where results go; what is there already is not computed again.")
@data_option
@limit_option
@device_option
@click.option("--devices", metavar="N", type=click.IntRange(min=1), default=1, help="Share the work among N processes, a device each.")
@click.option(
    "--threads", metavar="N", type=click.IntRange(min=1), default=1, show_default=True, help="Threads of PyTorch, the same for all."
)
@click.option("--shard", metavar="I/N", help="Do the I-th of N parts; join them with: restorekit bench merge")
@click.option("--isolate", is_flag=True, help="Run each method in a process of its own, so that none can disturb another.")
@click.option("--retry", is_flag=True, help="Measure again what failed.")
@click.option("--pictures/--no-pictures", default=True, show_default=True, help="Keep restored pictures for the page.")
@click.option("--keep-inputs", is_flag=True, help="Keep the damaged images, as safetensors, after the run.")
@json_option
@debug_option
def run(
    suite: str,
    more: tuple[str, ...],
    methods: tuple[str, ...],
    out: Path,
    data: Path | None,
    limit: int | None,
    device: str,
    devices: int,
    threads: int,
    shard: str | None,
    isolate: bool,
    retry: bool,
    pictures: bool,
    keep_inputs: bool,
    as_json: bool,
) -> None:
    """Run methods on a suite and write the leaderboard.

    SUITE is a registered name, a suite's YAML file or a folder of photographs. Doing nothing
    (core/identity) is always among the methods. DIR gets the rows, leaderboard.md and leaderboard.html.
    A run that was stopped goes on where it was when the same command is given again.
    """
    from restorekit import processes
    from restorekit.bench import run as engine
    from restorekit.bench.job import Job

    written = engine.run(
        Job(
            suite=suite,
            methods=(*methods, *more),
            out=out,
            device=device,
            devices=devices,
            threads=threads,
            shard=shard,
            isolate=isolate,
            limit=limit,
            data=data,
            pictures=pictures,
            keep_inputs=keep_inputs,
            retry=retry,
            progress=sys.stderr.isatty(),
        )
    )
    if not processes.is_first():
        return
    from restorekit.bench import results, table

    if as_json:
        pages = {} if shard else {"leaderboard": str(written), "page": str(out / results.PAGE)}
        emit({**pages, "rows": results.rows(out)})
    elif shard is not None:
        click.echo(f"Shard {shard} is in {out}. When all are done: restorekit bench merge OUT {out} ...")
    else:
        click.echo(table.text(out, min(width(), 80)))
        click.echo(f"\nWritten: {written}\nTo look at, with pictures: {out / results.PAGE}")


@bench.command(
    epilog=examples(
        "restorekit bench table bench/",
        "restorekit bench table bench/ --html page.html --csv scores.csv",
        "restorekit bench table bench/ --json",
    )
)
@click.argument("folder", metavar="DIR", type=PATH)
@click.option("--html", metavar="FILE", type=PATH, help="Write the page with plot and pictures.")
@click.option("--csv", metavar="FILE", type=PATH, help="Write means, intervals, differences and costs as CSV.")
@overwrite_option
@json_option
@debug_option
def table(folder: Path, html: Path | None, csv: Path | None, overwrite: bool, as_json: bool) -> None:
    """Print the leaderboard of results in DIR as Markdown.

    With --json the leaderboard and every row.
    """
    from restorekit import files
    from restorekit.bench import board, export, webpage
    from restorekit.bench import table as markdown

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Fill it: restorekit bench run SUITE --method NAME --out {folder}")
    for option, file in (("--html", html), ("--csv", csv)):
        batch.refuse_existing([file] if file is not None else [], option, overwrite=overwrite)
    found = board.board(folder)
    if html is not None:
        files.write(html, webpage.page(folder).encode())
    if csv is not None:
        files.write(csv, export.csv_text(found).encode())
    if as_json:
        emit(
            {"suite": found.about["suite"], "protocol": found.about["protocol"], "leaderboard": export.standings(found), "rows": found.rows}
        )
    else:
        click.echo(markdown.leaderboard(folder))


@bench.command(
    epilog=examples(
        "restorekit bench inputs core/photos --out damaged/", "restorekit bench inputs core/photos --out damaged/ --sharp --limit 2"
    )
)
@click.argument("suite", metavar="SUITE")
@click.option("--out", metavar="DIR", type=PATH, required=True, help="Gets DAMAGE/IMAGE.png, and the blur kernels and masks beside them.")
@click.option("--sharp", is_flag=True, help="Write the sharp pictures too, into DIR/sharp.")
@data_option
@limit_option
@json_option
@debug_option
def inputs(suite: str, out: Path, sharp: bool, data: Path | None, limit: int | None, as_json: bool) -> None:
    """Write the damaged pictures of a suite, for programs outside restorekit.

    Restore them with the other program under the same names, and give the folder of its results to
    restorekit bench run as a method. The pictures have 8 bits; methods inside restorekit get floats.
    """
    from restorekit.bench import outside

    count = outside.write_inputs(suite, out, sharp=sharp, data=data, limit=limit)
    if as_json:
        emit({"out": str(out), "pictures": count})
        return
    click.echo(f"{count} damaged pictures in {out}. Score the results: restorekit bench run {suite} --method RESULTS/ --out bench/")


@bench.command(epilog=examples("restorekit bench merge whole/ shard-1/ shard-2/ shard-3/", "restorekit bench table whole/"))
@click.argument("out", metavar="OUT", type=PATH)
@click.argument("folders", metavar="DIR...", type=PATH, nargs=-1, required=True)
@json_option
@debug_option
def merge(out: Path, folders: tuple[Path, ...], as_json: bool) -> None:
    """Join the shards of a run, or runs of different methods, into OUT."""
    from restorekit.bench import merging
    from restorekit.bench import table as markdown

    written = merging.merge(out, folders)
    if as_json:
        emit({"leaderboard": str(written)})
    else:
        click.echo(f"{markdown.text(out, min(width(), 80))}\n\nWritten: {written}")


@bench.command(epilog=examples("restorekit bench diff monday/ tuesday/", "restorekit bench diff monday/ tuesday/ --json"))
@click.argument("first", metavar="A", type=PATH)
@click.argument("second", metavar="B", type=PATH)
@json_option
@debug_option
def diff(first: Path, second: Path, as_json: bool) -> int:
    """Say how two results differ: in their protocol, their methods or their scores.

    Exit code 0 if nothing differs, 1 if something does.
    """
    from restorekit.bench import difference

    found = difference.diff(first, second)
    if as_json:
        emit({"same": found.same, **dataclasses.asdict(found)})
    else:
        click.echo(found.text())
    return 0 if found.same else 1


@bench.command(
    epilog=examples(
        "restorekit bench verify benchmarks/claims/shipped-model.yaml", "restorekit bench verify claim.yaml --out claim/ --data datasets/"
    )
)
@click.argument("claim", metavar="CLAIM.yaml", type=PATH)
@click.option("--out", metavar="DIR", type=PATH, help="Keep the results here.")
@data_option
@limit_option
@device_option
@json_option
@debug_option
def verify(claim: Path, out: Path | None, data: Path | None, limit: int | None, device: str, as_json: bool) -> int:
    """Run what a paper or a model card claims, and compare.

    Exit code 0 if every number comes out, 1 if one does not.
    """
    from restorekit.bench import claims

    found = claims.verify(claim, out=out, data=data, device=device, limit=limit, progress=sys.stderr.isatty())
    if as_json:
        emit({"holds": found.holds, "protocol": found.protocol, "verdicts": [dataclasses.asdict(verdict) for verdict in found.verdicts]})
    else:
        click.echo(found.text())
    return 0 if found.holds else 1
