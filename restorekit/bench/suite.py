"""Suites: which photographs are damaged how, and what is measured. Checked as a whole before anything runs."""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restorekit import config, files
from restorekit.bench import dataset
from restorekit.bench.dataset import SuiteData
from restorekit.errors import ConfigError, UnknownName, UserError, did_you_mean
from restorekit.interfaces import Degradation, Metric
from restorekit.recipes import degradation_spec, load_yaml
from restorekit.registries import Registry
from restorekit.settings import BUNDLED

VERSION = 1
DEFAULT = "core/photos"
"""The suite whose degradations and metrics a plain folder of images gets."""

KEYS = {
    "suite": f"version of the format: {VERSION}",
    "data": "see restorekit.bench.dataset.SuiteData",
    "degradations": "names, each with a degradation or a list of them applied in order; none where the pictures are damaged already",
    "seeds": "how often each photograph is damaged anew; 1 if not given",
    "alignment": "what is done to a result before it is scored: homography, shift or null",
    "metrics": "list of metrics; the first ranks",
}
"""Every key of a suite and what it holds."""

ALIGNMENTS = (None, "homography", "shift")
GIVEN = "as-given"
"""Name of the one degradation where the pictures are damaged already."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Suite:
    """A checked suite.

    Attributes:
        name: registered name, or stem of the file or folder. Seeds are derived from it.
        content: every key with its value, full names, without comments.
        data: the key ``data``.
        folder: where the pictures are, or None for those inside scikit-image.
        beside: where the suite's file is.
        degradations: by the suite's names for them; None for `GIVEN`.
        metrics: by full name of the part; the first ranks.
        files: SHA-256 of every file that a degradation reads, by the path in the suite.
        limit: only so many pictures are used; None takes all.
    """

    name: str
    content: Mapping[str, Any]
    data: SuiteData
    folder: Path | None
    beside: Path
    degradations: Mapping[str, Degradation | None]
    metrics: Mapping[str, Metric]
    files: Mapping[str, str]
    limit: int | None = None

    @property
    def seeds(self) -> int:
        """How often each photograph is damaged."""
        return int(self.content["seeds"])

    @property
    def alignment(self) -> str | None:
        """What is done to a result before it is scored."""
        return typing.cast("str | None", self.content["alignment"])

    def sources(self) -> dict[str, dataset.Source]:
        """The pictures, in order; all are looked for before any is left out for the `limit`.

        Raises:
            UserError: missing, extra or changed files, all of them named.
        """
        found = dataset.find(self.data, self.folder, self.beside)
        return dict(list(found.items())[: self.limit])


def load(
    source: str, *, registry: Registry, data: Path | None = None, limit: int | None = None, metrics: Sequence[Any] | None = None
) -> Suite:
    """A suite by registered name, from a YAML file, or made of a plain folder of images.

    A folder gets the degradations and metrics of `DEFAULT`, on whole photographs. Where a folder
    is called like a registered suite, ``./NAME`` means the folder.

    Args:
        source: which.
        registry: where names are looked up.
        data: the data folder; see `dataset.home`.
        limit: only the first so many pictures.
        metrics: instead of those that the suite names.

    Raises:
        UserError: no such suite, file or folder.
        ConfigError: every mistake in it, each with its place.
    """
    content, name, origin, beside = _opened(source, registry)
    if metrics is not None:
        content = {**content, "metrics": list(metrics)}
    return _checked(content, name, origin, beside, dataset.home(data), limit, registry)


Opened = tuple[Mapping[str, Any], str, str, Path]
"""What a suite says, its name, how messages call it, and the folder of its file."""


def _opened(source: str, registry: Registry) -> Opened:
    path = Path(source)
    if any(source == part.name for part in registry.of_kind("suite")):
        return _registered(source, registry)
    if path.is_dir():
        images = source if path.is_absolute() else f".{os.sep}{source}"  # not mistaken for the word bundled
        content = {**_registered(DEFAULT, registry)[0], "data": {"images": images}}
        return content, path.resolve().name, str(path), Path()
    if path.suffix in (".yaml", ".yml"):
        for part in registry.of_kind("suite"):
            if path.is_file() and part.load().resolve() == path.resolve():  # one suite, one name, one set of seeds
                return _registered(part.name, registry)
        return load_yaml(path, instead="Registered suites: restorekit list suite"), path.stem, source, path.parent
    try:
        return _registered(source, registry)
    except UnknownName as unknown:
        if path.is_file():
            raise UserError(f"{source}: a file; a suite is a name, a YAML file or a folder of images") from None
        if os.sep in source and path.parent.is_dir():
            raise UserError(f"{files.missing(path)} Suites with a name: restorekit list suite") from None
        raise UserError(f"{unknown}\nA suite may also be a YAML file or a folder of images; there is none at {source}.") from None


def _registered(name: str, registry: Registry) -> Opened:
    found = registry.find("suite", name)
    path: Path = found.load()
    return load_yaml(path), found.name, found.name, path.parent


def _checked(content: Mapping[str, Any], name: str, origin: str, beside: Path, home: Path, limit: int | None, registry: Registry) -> Suite:
    problems = [f"{key}: not a key of a suite.{did_you_mean(str(key), KEYS)} Keys: {', '.join(KEYS)}" for key in content if key not in KEYS]
    version, seeds, alignment = content.get("suite"), content.get("seeds", 1), content.get("alignment")
    if version != VERSION:
        problems.append(f"suite: got {version!r}; this restorekit reads version {VERSION}: write suite: {VERSION} as the first line")
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        problems.append(f"seeds: got {seeds!r}; expected how often each photograph is damaged anew, 1 or more")
    if alignment not in ALIGNMENTS:
        problems.append(f"alignment: got {alignment!r}; expected one of {', '.join(map(str, ALIGNMENTS[1:]))}, or null")
    data, found = _data(content.get("data"), registry)
    problems += found
    folder = _folder(data, beside, home)
    degradations: dict[str, Degradation | None]
    specs: dict[str, Any]
    read: dict[str, str]
    if data is not None and data.paired:
        degradations, specs, read = {GIVEN: None}, {}, {}
        if content.get("degradations"):
            problems.append("degradations: the pictures of this suite are damaged already (data.input or data.pairs); leave the key out")
        if seeds != 1:
            problems.append("seeds: the pictures of this suite are damaged already; leave the key out")
    else:
        base = home if data is not None and data.dataset is not None else beside
        degradations, specs, read, found = _degradations(content.get("degradations"), base, registry)
        if found and data is not None and data.dataset is not None and folder is not None:
            dataset.check_there(data, folder)  # or else a file of kernels beside it would be missed, once for each of them
        problems += found
    metrics, metric_specs, found = _metrics(content.get("metrics"), registry)
    problems += found
    if problems or data is None:
        raise ConfigError([f"{origin}: {problem}" for problem in problems])
    whole = {
        "suite": VERSION,
        "data": {key: value for key, value in vars(data).items() if value not in (None, "")},
        "degradations": specs,
        "seeds": seeds,
        "alignment": alignment,
        "metrics": metric_specs,
    }
    return Suite(name, whole, data, folder, beside, degradations, metrics, read, limit)


def _data(given: Any, registry: Registry) -> tuple[SuiteData | None, list[str]]:
    if not isinstance(given, Mapping):
        return None, [f"data: got {given!r}; expected keys and values: {{images: FOLDER}}, or {{images: {BUNDLED}}}"]
    checked, problems = config.check(SuiteData, given, registry=registry, where="data", owner="data")
    if problems:
        return None, problems
    try:
        return config.construct(SuiteData, checked, registry=registry, where="data"), []
    except ConfigError as refusal:
        return None, list(refusal.problems)


def _folder(data: SuiteData | None, beside: Path, home: Path) -> Path | None:
    if data is None or data.images == BUNDLED:
        return None
    return home / data.dataset if data.dataset is not None else beside / str(data.images)


def _degradations(
    given: Any, base: Path, registry: Registry
) -> tuple[dict[str, Degradation | None], dict[str, Any], dict[str, str], list[str]]:
    if not isinstance(given, Mapping) or not given:
        expected = "expected names, each with a degradation: {noise: {part: core/gaussian-noise, sigma: 0.1}}"
        return {}, {}, {}, [f"degradations: got {given!r}; {expected}"]
    built: dict[str, Degradation | None] = {}
    specs: dict[str, Any] = {}
    read: dict[str, str] = {}
    problems = []
    for name, spec in given.items():
        where = f"degradations.{name}"
        if not isinstance(name, str) or not NAME.fullmatch(name):
            problems.append(f"{where}: a name is made of letters, digits, dots, dashes and underscores")
            continue
        specs[name], part, found = _part("degradation", degradation_spec(spec), where, registry, base)
        problems += found
        if part is not None:
            built[name] = part
            read |= {path: files.sha256(base / path) for path in _paths(specs[name], registry)}
    return built, specs, read, problems


def _metrics(given: Any, registry: Registry) -> tuple[dict[str, Metric], list[Any], list[str]]:
    if not isinstance(given, list) or not given:
        return {}, [], [f"metrics: got {given!r}; expected a list, the one that ranks first: [core/psnr, core/ssim]"]
    built: dict[str, Metric] = {}
    specs, problems = [], []
    for i, spec in enumerate(given):
        checked, part, found = _part("metric", spec, f"metrics.{i}", registry, Path())
        problems += found
        specs.append(checked)
        if part is None:
            continue
        if checked["part"] in built:
            problems.append(f"metrics.{i}: {checked['part']} is there already; each metric once")
        built[checked["part"]] = part
    return built, specs, problems


def _part(kind: str, spec: Any, where: str, registry: Registry, base: Path) -> tuple[Any, Any, list[str]]:
    """The checked specification, the part built from it or None, and every mistake."""
    checked, problems = config.check_part(kind, spec, registry=registry, where=where)
    if not problems and not isinstance(checked, Mapping):  # such as a date, which YAML makes of 2001-01-01
        problems = [f"{where}: got {spec!r}; expected a part: {{part: NAME, option: value}}. See: restorekit list {kind}"]
    if problems:
        return checked, None, problems
    try:
        return checked, config.build_spec(kind, _placed(checked, kind, base, registry), registry=registry, where=where), []
    except ConfigError as refusal:
        return checked, None, list(refusal.problems)
    except UserError as refusal:  # such as a file that cannot be read
        return checked, None, [f"{where}: {refusal}"]


def _placed(spec: Mapping[str, Any], kind: str, base: Path, registry: Registry) -> dict[str, Any]:
    """A checked specification with every path below `base`."""
    options = config.options_of(registry.find(kind, spec["part"]).load())
    placed = dict(spec)
    for name, option in options.items():
        value = spec[name]
        if option.slot is not None:
            several = isinstance(value, list)
            inner = [_placed(item, option.slot.kind, base, registry) if isinstance(item, Mapping) else item for item in _items(value)]
            placed[name] = inner if several else inner[0] if inner else value
        elif _is_path(option.annotation) and isinstance(value, str):
            placed[name] = str(base / value)
    return placed


def _paths(spec: Mapping[str, Any], registry: Registry) -> Iterator[str]:
    """Every path in a checked degradation, as it was written."""
    for name, option in config.options_of(registry.find("degradation", spec["part"]).load()).items():
        if option.slot is not None and option.slot.kind == "degradation":
            for item in _items(spec[name]):
                yield from _paths(item, registry)
        elif _is_path(option.annotation) and isinstance(spec[name], str):
            yield spec[name]


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_path(annotation: Any) -> bool:
    return Path in (annotation, *typing.get_args(annotation))
