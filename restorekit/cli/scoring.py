"""``score``: two pictures, or two folders of pictures matched by name, under every ruler."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from restorekit.cli import batch, common
from restorekit.cli.common import debug_option, device_option, emit, examples, json_option, overwrite_option
from restorekit.errors import ConfigError, UserError

if TYPE_CHECKING:
    from torch import Tensor, device

    from restorekit.interfaces import Metric, SetMetric
    from restorekit.registries import Registry

PATH = click.Path(path_type=Path)

MEAN = "mean"


@dataclass(frozen=True)
class Pair:
    """Two pictures to compare, and what the rows of the table call them."""

    name: str
    restored: Path
    reference: Path


@dataclass
class Scores:
    """What was found.

    Attributes:
        images: scores by ruler, by picture; nothing where a ruler failed.
        sets: scores of whole sets, by ruler.
        problems: what could not be scored, a sentence each.
    """

    images: dict[str, dict[str, float]] = field(default_factory=dict)
    sets: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@click.command(
    short_help="Score restored pictures against sharp ones.",
    epilog=examples(
        "restorekit score restored.png sharp.png",
        "restorekit score restored/ sharp/ --csv scores.csv",
        "restorekit score restored/ sharp/ --metric core/psnr --metric core/lpips --json",
        "restorekit score restored/ sharp/ --metric fid.yaml",
        "restorekit list metric",
    ),
)
@click.argument("restored", metavar="RESTORED", type=PATH)
@click.argument("reference", metavar="REFERENCE", type=PATH)
@click.option(
    "--metric",
    "metrics",
    metavar="NAME|FILE",
    multiple=True,
    help="A metric, or a YAML file with the key part and its options; may be repeated. Every metric that needs no download if not given.",
)
@click.option("--csv", "table", metavar="FILE", type=PATH, help="Write the scores as a table, too.")
@overwrite_option
@device_option
@json_option
@debug_option
def score(
    restored: Path, reference: Path, metrics: tuple[str, ...], table: Path | None, overwrite: bool, device: str, as_json: bool
) -> int:
    """Score restored pictures against sharp ones.

    RESTORED and REFERENCE are two files, or two folders whose pictures are matched by name; the suffix
    may differ. Prints every score of each picture and the average; transparency is not scored. Infinite scores (identical pictures)
    are left out of averages and counted. What cannot be scored is listed, and the exit code is then 2.
    """
    if table is not None and table.is_dir():
        raise UserError(f"{table}: a folder; give a file name with --csv")
    if table is not None:
        batch.refuse_existing([table], "--csv", overwrite=overwrite)
    pairs, problems = matched(restored, reference)
    from restorekit import devices, discovery

    place = devices.pick(device)
    rulers = {name: ruler.to(place) for name, ruler in _rulers(metrics, discovery.registry()).items()}
    found = _scored(pairs, rulers, place)
    found.problems[:0] = problems
    if table is not None:
        _write_csv(table, found, rulers)
    if as_json:
        emit(_report(restored, reference, pairs, found, rulers))
    elif found.images:
        click.echo(_one(found, rulers) if len(pairs) == 1 and not restored.is_dir() else _many(found, rulers))
    if found.problems:
        click.echo(f"error: {len(found.problems)} {'problem' if len(found.problems) == 1 else 'problems'}:", err=True)
        for problem in found.problems:
            click.echo(f"  {problem}", err=True)
    return 2 if found.problems else 0


def matched(restored: Path, reference: Path) -> tuple[list[Pair], list[str]]:
    """The pictures that belong together, and what is left over.

    Raises:
        UserError: a path that does not exist, a folder without pictures, or a file with a folder.
    """
    from restorekit import files, photos

    for path in (restored, reference):
        if not path.exists():
            raise UserError(files.missing(path))
    if restored.is_dir() != reference.is_dir():
        folder, file = (restored, reference) if restored.is_dir() else (reference, restored)
        raise UserError(f"{folder} is a folder and {file} a file; give two files or two folders")
    if not restored.is_dir():
        return [Pair(restored.name, restored, reference)], []
    ours, theirs = (_by_name(folder, photos.find([folder])) for folder in (restored, reference))
    pairs, problems = [], []
    for name in sorted({*ours, *theirs}):
        mine, other = ours.get(name, []), theirs.get(name, [])
        several = next((same for same in (mine, other) if len(same) > 1), None)
        if several:
            problems.append(f"{several[0]}: {' and '.join(path.name for path in several)} have one name; leave one of them")
        elif not other:
            problems.append(f"{mine[0]}: no picture of this name in {reference}")
        elif not mine:
            problems.append(f"{other[0]}: no picture of this name in {restored}")
        else:
            pairs.append(Pair(mine[0].relative_to(restored).as_posix(), mine[0], other[0]))
    return pairs, problems


def _by_name(folder: Path, pictures: Iterable[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in pictures:
        found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
    return found


def _rulers(names: Sequence[str], registry: Registry) -> dict[str, Metric | SetMetric]:
    if names:
        found: dict[str, Metric | SetMetric] = {}
        for name in names:
            label, ruler = _named(name, registry)
            if label in found:
                raise UserError(f"--metric {name}: {label} is given twice; a YAML file is called by its own name")
            found[label] = ruler
        return found
    from restorekit import config

    ready = {}
    for part in registry.of_kind("metric"):
        target: Any = part.load()
        if not target.downloads and not any(option.required for option in config.options_of(target).values()):
            ready[part.name] = registry.create("metric", part.name)
    return dict(sorted(ready.items(), key=lambda item: not item[1].needs_target))  # scores without a reference come last


def _named(name: str, registry: Registry) -> tuple[str, Metric | SetMetric]:
    """A metric by its registered name or its file, and what the table calls it."""
    from restorekit import config, recipes

    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        label, spec = path.stem, dict(recipes.load_yaml(path))
    else:
        label, spec = "", {"part": name}
    part = spec.get("part")
    kind = "metric"
    if isinstance(part, str) and any(part in (p.name, p.part.name) for p in registry.of_kind("set-metric")):
        kind = "set-metric"
    checked, problems = config.check_part(kind, spec, registry=registry, where="")
    if problems:
        raise ConfigError(f"{name}: {problem.removeprefix('.').removeprefix(': ')}" for problem in problems)
    return label or checked["part"], config.build_spec(kind, checked, registry=registry, where=name)


def _scored(pairs: Sequence[Pair], rulers: Mapping[str, Metric | SetMetric], place: device) -> Scores:
    from restorekit.interfaces import SetMetric

    found = Scores()
    refusals: dict[tuple[str, str], list[str]] = {}
    with common.progress("scoring", len(pairs)) as steps:
        for pair in pairs:
            steps.move(f"scoring {pair.name}")
            images = [image.to(place) for path in (pair.restored, pair.reference) if (image := _read(path, found.problems)) is not None]
            if len(images) == 2 and _comparable(pair, images, found.problems):
                found.images[pair.name] = _of_one(pair.name, *images, rulers=rulers, refusals=refusals)
            steps.move(f"scoring {pair.name}", 1)
    for name, ruler in rulers.items():
        if isinstance(ruler, SetMetric):
            try:
                found.sets[name] = ruler.compute()
            except UserError as fault:
                found.problems.append(f"{name}: {fault}")
    for (name, words), pictures in refusals.items():
        which = pictures[0] if len(pictures) == 1 else f"{len(pictures)} pictures, the first is {pictures[0]}"
        found.problems.append(f"{name}: {words} ({which})")
    return found


def _read(path: Path, problems: list[str]) -> Tensor | None:
    from restorekit import photos

    try:
        return photos.read(path).image
    except (UserError, OSError) as fault:
        problems.append(common.explain(fault))
        return None


def _comparable(pair: Pair, images: Sequence[Tensor], problems: list[str]) -> bool:
    sizes = [f"{image.shape[-1]}×{image.shape[-2]}" for image in images]
    colours = ["grey" if image.shape[1] == 1 else "in colour" for image in images]
    if sizes[0] != sizes[1]:
        problems.append(f"{pair.restored}: {sizes[0]}, and {pair.reference} has {sizes[1]}")
    elif colours[0] != colours[1]:
        problems.append(f"{pair.restored}: {colours[0]}, and {pair.reference} is {colours[1]}")
    return sizes[0] == sizes[1] and colours[0] == colours[1]


def _of_one(
    picture: str,
    restored: Tensor,
    reference: Tensor,
    *,
    rulers: Mapping[str, Metric | SetMetric],
    refusals: dict[tuple[str, str], list[str]],
) -> dict[str, float]:
    """Scores of one picture by ruler; sets are only added to. What a ruler refuses goes into `refusals`."""
    from restorekit.interfaces import SetMetric

    scores = {}
    for name, ruler in rulers.items():
        target = reference if ruler.needs_target else None
        try:
            if isinstance(ruler, SetMetric):
                ruler.update(restored, target)
            else:
                scores[name] = float(ruler(restored, target))
        except UserError as fault:
            refusals.setdefault((name, str(fault)), []).append(picture)
    return scores


def average(found: Scores, ruler: str) -> dict[str, Any]:
    """Mean of the finite scores under one ruler, of how many pictures, and how many scores were infinite; of a set its score."""
    if ruler in found.sets:
        return {"value": found.sets[ruler], "images": len(found.images), "infinite": 0}
    values = [scores[ruler] for scores in found.images.values() if ruler in scores]
    finite = [value for value in values if not math.isinf(value)]
    mean = sum(finite) / len(finite) if finite else None
    return {"value": mean, "images": len(finite), "infinite": len(values) - len(finite)}


def _shown(value: float | None, unit: str, bounds: tuple[float, float]) -> str:
    if value is None:
        return "–"
    if unit == "dB":
        return f"{value:.2f}"
    return f"{value:.4f}" if math.isfinite(bounds[1]) else f"{value:.4g}"


def _one(found: Scores, rulers: Mapping[str, Metric | SetMetric]) -> str:
    (scores,) = found.images.values()
    rows = []
    for name, ruler in rulers.items():
        value = scores.get(name, found.sets.get(name))
        better = "higher is better" if ruler.higher_is_better else "lower is better"
        words = f"{ruler.unit}, {better}" if ruler.unit else better
        if ruler.definition:
            words += f"\n{ruler.definition}"
        rows.append((name, _shown(value, ruler.unit, ruler.bounds), words))
    wide = max(len(value) for _, value, _ in rows)
    return common.columns([(name, value.rjust(wide), words) for name, value, words in rows], indent=0)


def _many(found: Scores, rulers: Mapping[str, Metric | SetMetric]) -> str:
    """One line for each picture, one for the average; the rulers by their bare names."""
    single = [name for name in rulers if name not in found.sets]
    bare = [name.rpartition("/")[2] for name in single]
    titles = bare if len(set(bare)) == len(bare) else single
    rows = [
        [picture, *(_shown(scores.get(name), rulers[name].unit, rulers[name].bounds) for name in single)]
        for picture, scores in found.images.items()
    ]
    averages = {name: average(found, name) for name in rulers}
    rows.append([f"{MEAN} of {len(rows)}", *(_shown(averages[name]["value"], rulers[name].unit, rulers[name].bounds) for name in single)])
    widths = [max(map(len, column)) for column in zip(["picture", *titles], *rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in (["picture", *titles], *rows)
    ]
    lines = [click.style(lines[0], bold=True), *lines[1:-1], click.style(lines[-1], bold=True)]
    for name, mean in averages.items():
        if mean["infinite"]:
            lines.append(f"{name}: {mean['infinite']} infinite (identical pictures), left out of the average")
        if name not in found.sets and mean["images"] + mean["infinite"] < len(found.images):
            lines.append(f"{name}: average of {mean['images']} only")
    lines += [f"{name}: {_shown(value, rulers[name].unit, rulers[name].bounds)}" for name, value in found.sets.items()]
    lines += [f"{name}: {ruler.definition}" for name, ruler in rulers.items() if ruler.definition]
    return "\n".join(lines)


def _report(
    restored: Path, reference: Path, pairs: Sequence[Pair], found: Scores, rulers: Mapping[str, Metric | SetMetric]
) -> dict[str, Any]:
    facts = ("higher_is_better", "needs_target", "unit", "definition")
    return {
        "restored": str(restored),
        "reference": str(reference),
        "metrics": {name: {fact: getattr(ruler, fact) for fact in facts} for name, ruler in rulers.items()},
        "images": [
            {"name": pair.name, "restored": str(pair.restored), "reference": str(pair.reference), "scores": found.images[pair.name]}
            for pair in pairs
            if pair.name in found.images
        ],
        MEAN: {name: average(found, name) for name in rulers},
        "problems": found.problems,
    }


def _write_csv(path: Path, found: Scores, rulers: Mapping[str, Metric | SetMetric]) -> None:
    from restorekit import files

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["picture", *rulers])
    for picture, scores in found.images.items():
        writer.writerow([picture, *(scores.get(name, "") for name in rulers)])
    means = [average(found, name)["value"] for name in rulers]
    writer.writerow([MEAN, *("" if value is None else value for value in means)])
    files.write(path, stream.getvalue().encode())
