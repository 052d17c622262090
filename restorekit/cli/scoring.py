"""``score``: two pictures, two folders of pictures matched by name, or two folders as sets, under every ruler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from restorekit.cli import batch, common, scores
from restorekit.cli.common import debug_option, device_option, emit, examples, json_option, overwrite_option
from restorekit.cli.scores import Scores
from restorekit.errors import ConfigError, UnknownName, UserError

if TYPE_CHECKING:
    from torch import Tensor, device

    from restorekit.interfaces import Metric, SetMetric
    from restorekit.registries import Registry

    Rulers = Mapping[str, Metric | SetMetric]

PATH = click.Path(path_type=Path)

NAMED = 3
"""Pictures without a partner that are named; of more the others are counted."""

LISTED = 20
"""Problems that are printed; more are counted."""


KID = """\b
A file kid.yaml:
  part: core/kid
  features: {part: core/squeezenet, weights: imagenet}
  layer: features.12

"""
"""An example for the help."""


@dataclass(frozen=True)
class Pair:
    """Two pictures to compare, and what the rows of the table call them."""

    name: str
    restored: Path
    reference: Path


@click.command(
    short_help="Score restored pictures against sharp ones.",
    epilog=KID
    + examples(
        "restorekit score restored.png sharp.png",
        "restorekit score restored/ sharp/ --csv scores.csv",
        "restorekit score restored/ sharp/ --metric core/psnr --metric core/lpips --json",
        "restorekit score made/ real/ --metric kid.yaml",
        "restorekit list metric",
        "restorekit list set-metric",
    ),
)
@click.argument("restored", metavar="RESTORED", type=PATH)
@click.argument("reference", metavar="REFERENCE", type=PATH)
@click.option(
    "--metric",
    "metrics",
    metavar="NAME|FILE",
    multiple=True,
    help="A metric or set metric, or a YAML file with the key part and its options; may be repeated. "
    "Every metric that needs no download if not given.",
)
@click.option("--csv", "table", metavar="FILE", type=PATH, help="Write the scores as a table, too.")
@overwrite_option
@device_option
@json_option
@debug_option
def score(
    restored: Path, reference: Path, metrics: tuple[str, ...], table: Path | None, overwrite: bool, device: str, as_json: bool
) -> int:
    """Score restored pictures against sharp ones, or made pictures against real ones.

    RESTORED and REFERENCE are two files, or two folders whose pictures are matched by name; the suffix
    may differ. Prints every score of each picture and the average; transparency is not scored. Infinite scores (identical pictures)
    are left out of averages and counted. What cannot be scored is listed, and the exit code is then 2.

    FID, KID and other set metrics compare two folders as a whole. Without a metric of pictures beside
    them, names, numbers and sizes of the pictures may differ. They look with a network, which a YAML file names.
    """
    if table is not None and table.is_dir():
        raise UserError(f"{table}: a folder; give a file name with --csv")
    if table is not None:
        batch.refuse_existing([table], "--csv", overwrite=overwrite)
    ours, theirs = _pictures(restored, reference)
    from restorekit import devices, discovery
    from restorekit.interfaces import SetMetric

    place = devices.pick(device)
    rulers = {name: ruler.to(place) for name, ruler in _rulers(metrics, discovery.registry()).items()}
    sets = [name for name, ruler in rulers.items() if isinstance(ruler, SetMetric) and not ruler.paired]
    pairs = [Pair(restored.name, restored, reference)]
    problems: list[str] = []
    if restored.is_dir():
        pairs, problems = _matched((restored, ours), (reference, theirs))
    if restored.is_dir() and len(sets) == len(rulers):
        apart: list[tuple[Path | None, Path | None]] = [*((path, None) for path in ours), *((None, path) for path in theirs)]
        found = _of_sets(apart if problems else [(pair.restored, pair.reference) for pair in pairs], rulers, place)
    else:
        found = _of_pairs(pairs, rulers, place)
        found.problems[:0] = problems
    if table is not None:
        scores.write_csv(table, found)
    if as_json:
        images = [
            {"name": pair.name, "restored": str(pair.restored), "reference": str(pair.reference), "scores": found.images[pair.name]}
            for pair in pairs
            if pair.name in found.images
        ]
        emit({"restored": str(restored), "reference": str(reference), **scores.report(found, images)})
    elif found.images and restored.is_dir():
        click.echo(scores.table(found))
    elif found.images or found.sets:
        click.echo(scores.brief(found))
    if not found.problems:
        return 0
    click.echo(f"error: {len(found.problems)} {'problem' if len(found.problems) == 1 else 'problems'}:", err=True)
    for problem in found.problems[:LISTED]:
        click.echo(f"  {problem}", err=True)
    if len(found.problems) > LISTED:
        click.echo(f"  and {len(found.problems) - LISTED} more, which --json lists", err=True)
    if restored.is_dir() and len(sets) < len(rulers) and (sets or not found.scored):
        which = " and ".join(sets) or "FID and KID (restorekit list set-metric)"
        click.echo(f"Sets need no pairs: {which} without other metrics would compare the folders as they are", err=True)
    return 2


def _pictures(restored: Path, reference: Path) -> tuple[list[Path], list[Path]]:
    """The pictures of two folders, or two files.

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
        return [restored], [reference]
    return photos.find([restored]), photos.find([reference])


def _matched(restored: tuple[Path, Sequence[Path]], reference: tuple[Path, Sequence[Path]]) -> tuple[list[Pair], list[str]]:
    """The pictures of two folders that belong together, and what is left over."""
    ours, theirs = (_by_name(folder, pictures) for folder, pictures in (restored, reference))
    pairs, problems = [], []
    alone: tuple[list[Path], list[Path]] = ([], [])
    for name in sorted({*ours, *theirs}):
        mine, other = ours.get(name, []), theirs.get(name, [])
        several = next((same for same in (mine, other) if len(same) > 1), None)
        if several:
            problems.append(f"{several[0]}: {' and '.join(path.name for path in several)} have one name; leave one of them")
        elif mine and other:
            pairs.append(Pair(mine[0].relative_to(restored[0]).as_posix(), mine[0], other[0]))
        else:
            alone[0 if mine else 1].append((mine or other)[0])
    for folder, pictures, opposite in ((restored[0], alone[0], reference[0]), (reference[0], alone[1], restored[0])):
        if len(pictures) > NAMED:
            names = ", ".join(path.relative_to(folder).as_posix() for path in pictures[:NAMED])
            problems.append(
                f"{folder}: {len(pictures)} pictures have none of their name in {opposite}: {names} and {len(pictures) - NAMED} more"
            )
        else:
            problems += [f"{path}: no picture of this name in {opposite}" for path in pictures]
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
    from restorekit.cli import describe

    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        label, spec = path.stem, dict(recipes.load_yaml(path))
    else:
        label, spec = "", {"part": name}
    if not isinstance(spec.get("part"), str):
        raise UserError(f"{name}: no key part; its first line is part: NAME. See: restorekit list metric and restorekit list set-metric")
    try:
        part = registry.find_any(("metric", "set-metric"), spec["part"])
    except UnknownName as fault:
        raise UnknownName(f"{name}: part: {fault}" if label else str(fault)) from fault
    checked, problems = config.check_part(part.kind, spec, registry=registry, where="")
    if problems:
        said = [f"{name}: {problem.removeprefix('.').removeprefix(': ')}" for problem in problems]
        if not label:
            file = f"{part.part.name}.yaml"
            said.append(f"Options stand in a file, such as {file} for --metric {file}:\n{describe.metric_file(part)}")
        raise ConfigError(said)
    return label or checked["part"], config.build_spec(part.kind, checked, registry=registry, where=name)


def _of_pairs(pairs: Sequence[Pair], rulers: Rulers, place: device) -> Scores:
    from restorekit.interfaces import SetMetric

    found = Scores(rulers)
    refusals: dict[tuple[str, str], list[str]] = {}
    single = [name for name, ruler in rulers.items() if not isinstance(ruler, SetMetric)]
    with common.progress("scoring", len(pairs)) as steps:
        for pair in pairs:
            steps.move(f"scoring {pair.name}")
            images = [image.to(place) for path in (pair.restored, pair.reference) if (image := _read(path, found.problems)) is not None]
            if len(images) == 2 and _comparable(pair, images, found.problems):
                values = _of_one(pair.name, *images, rulers=rulers, refusals=refusals)
                found.scored += 1
                if single:
                    found.images[pair.name] = values
            steps.move(f"scoring {pair.name}", 1)
    return _whole(found, refusals)


def _of_sets(couples: Sequence[tuple[Path | None, Path | None]], rulers: Rulers, place: device) -> Scores:
    """Scores of two folders as sets, whose pictures come in twos or alone, each in its own size."""
    found = Scores(rulers)
    refusals: dict[tuple[str, str], list[str]] = {}
    compares = any(ruler.needs_target for ruler in rulers.values())
    with common.progress("scoring", len(couples)) as steps:
        for paths in couples:
            name = str(paths[0] or paths[1])
            steps.move(f"scoring {name}")
            restored, reference = (
                _read(path, found.problems) if path is not None and wanted else None
                for path, wanted in zip(paths, (True, compares), strict=True)
            )
            there = restored if restored is not None else reference
            if there is not None:
                nothing = there[:0]
                images = [(nothing if image is None else image).to(place) for image in (restored, reference)]
                takes = {key: ruler for key, ruler in rulers.items() if restored is not None or ruler.needs_target}
                _of_one(name, *images, rulers=takes, refusals=refusals)
                found.scored += restored is not None
            steps.move(f"scoring {name}", 1)
    return _whole(found, refusals)


def _whole(found: Scores, refusals: Mapping[tuple[str, str], Sequence[str]]) -> Scores:
    """`found` with the scores of sets, and with what rulers refused, a sentence for each refusal."""
    from restorekit.interfaces import SetMetric

    for name, ruler in found.rulers.items():
        if isinstance(ruler, SetMetric):
            try:
                found.sets[name] = ruler.compute()
            except UserError as fault:
                found.problems.append(f"{name}: {fault}")
    for (name, words), pictures in refusals.items():
        which = pictures[0] if len(pictures) == 1 else f"{len(pictures)} pictures, the first is {pictures[0]}"
        found.problems.append(f"{name}: {words} ({which})")
    found.definitions = {name: ruler.definition for name, ruler in found.rulers.items()}
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
    rulers: Rulers,
    refusals: dict[tuple[str, str], list[str]],
) -> dict[str, float]:
    """Scores of one picture by ruler; sets are only added to. What a ruler refuses goes into `refusals`."""
    from restorekit.interfaces import SetMetric

    found = {}
    for name, ruler in rulers.items():
        target = reference if ruler.needs_target else None
        try:
            if isinstance(ruler, SetMetric):
                ruler.update(restored, target)
            else:
                found[name] = float(ruler(restored, target))
        except UserError as fault:
            refusals.setdefault((name, str(fault)), []).append(picture)
    return found
