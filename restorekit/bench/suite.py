"""Suites: which photographs are damaged how, and what is measured. Checked as a whole before anything runs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from restorekit import config, files
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
    "data": "see restorekit.bench.suite.SuiteData",
    "degradations": "names, each with a degradation or a list of them applied in order",
    "metrics": "list of metrics; the first ranks",
}
"""Every key of a suite and what it holds."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class SuiteData:
    """Which photographs, and what of them is the target.

    Attributes:
        images: folder, searched recursively and relative to the suite's file, or ``bundled``: the
            photographs inside scikit-image.
        longest_side: larger photographs are reduced to this, in pixels; null leaves them as they are.
        crop: largest height and width of the target, cut from the middle; null takes all but the
            margin that the degradations need, so that no blur sees an invented border.
    """

    images: str
    longest_side: Annotated[int, Ge(16)] | None = None
    crop: Annotated[int, Ge(16)] | None = None


@dataclass(frozen=True)
class Suite:
    """A checked suite.

    Attributes:
        name: registered name, or stem of the file or folder. Seeds are derived from it.
        content: every key with its value, full names, without comments.
        data: the key ``data``.
        folder: where the photographs are, or None for those inside scikit-image.
        degradations: by the suite's names for them.
        metrics: by full name of the part; the first ranks.
    """

    name: str
    content: Mapping[str, Any]
    data: SuiteData
    folder: Path | None
    degradations: Mapping[str, Degradation]
    metrics: Mapping[str, Metric]


def load(source: str, *, registry: Registry) -> Suite:
    """A suite by registered name, from a YAML file, or made of a plain folder of images.

    A folder gets the degradations and metrics of `DEFAULT`, on whole photographs. Where a folder
    is called like a registered suite, ``./NAME`` means the folder.

    Raises:
        UserError: no such suite, file or folder.
        ConfigError: every mistake in it, each with its place.
    """
    path = Path(source)
    if any(source == part.name for part in registry.of_kind("suite")):
        return _registered(source, registry)
    if path.is_dir():
        default = _registered(DEFAULT, registry).content
        content = {
            **default,
            "data": {"images": source if path.is_absolute() else f".{os.sep}{source}"},
        }  # not mistaken for the word bundled
        return _checked(content, path.resolve().name, str(path), Path(), registry)
    if path.suffix in (".yaml", ".yml"):
        return _checked(load_yaml(path), path.stem, source, path.parent, registry)
    try:
        return _registered(source, registry)
    except UnknownName as unknown:
        if path.is_file():
            raise UserError(f"{source}: a file; a suite is a name, a YAML file or a folder of images") from None
        if os.sep in source and path.parent.is_dir():
            raise UserError(f"{files.missing(path)} Suites with a name: restorekit list suite") from None
        raise UserError(f"{unknown} A suite may also be a YAML file or a folder of images; there is none at {source}.") from None


def _registered(name: str, registry: Registry) -> Suite:
    found = registry.find("suite", name)
    path: Path = found.load()
    return _checked(load_yaml(path), found.name, found.name, path.parent, registry)


def _checked(content: Mapping[str, Any], name: str, origin: str, base: Path, registry: Registry) -> Suite:
    problems = [f"{key}: not a key of a suite.{did_you_mean(str(key), KEYS)} Keys: {', '.join(KEYS)}" for key in content if key not in KEYS]
    version = content.get("suite")
    if version != VERSION:
        problems.append(f"suite: got {version!r}; this restorekit reads version {VERSION}: write suite: {VERSION} as the first line")
    data, found = _data(content.get("data"), registry)
    problems += found
    degradations, specs, found = _degradations(content.get("degradations"), registry)
    problems += found
    metrics, metric_specs, found = _metrics(content.get("metrics"), registry)
    problems += found
    if problems or data is None:
        raise ConfigError([f"{origin}: {problem}" for problem in problems])
    whole = {"suite": VERSION, "data": vars(data), "degradations": specs, "metrics": metric_specs}
    folder = None if data.images == BUNDLED else base / data.images
    return Suite(name, whole, data, folder, degradations, metrics)


def _data(given: Any, registry: Registry) -> tuple[SuiteData | None, list[str]]:
    if not isinstance(given, Mapping):
        return None, [f"data: got {given!r}; expected keys and values: {{images: FOLDER}}, or {{images: {BUNDLED}}}"]
    checked, problems = config.check(SuiteData, given, registry=registry, where="data", owner="data")
    return (None, problems) if problems else (config.construct(SuiteData, checked, registry=registry, where="data"), [])


def _degradations(given: Any, registry: Registry) -> tuple[dict[str, Degradation], dict[str, Any], list[str]]:
    if not isinstance(given, Mapping) or not given:
        expected = "expected names, each with a degradation: {noise: {part: core/gaussian-noise, sigma: 0.1}}"
        return {}, {}, [f"degradations: got {given!r}; {expected}"]
    built, specs, problems = {}, {}, []
    for name, spec in given.items():
        where = f"degradations.{name}"
        if not isinstance(name, str) or not NAME.fullmatch(name):
            problems.append(f"{where}: a name is made of letters, digits, dots, dashes and underscores")
            continue
        specs[name], part, found = _part("degradation", degradation_spec(spec), where, registry)
        problems += found
        if part is not None:
            built[name] = part
    return built, specs, problems


def _metrics(given: Any, registry: Registry) -> tuple[dict[str, Metric], list[Any], list[str]]:
    if not isinstance(given, list) or not given:
        return {}, [], [f"metrics: got {given!r}; expected a list, the one that ranks first: [core/psnr, core/ssim]"]
    built: dict[str, Metric] = {}
    specs, problems = [], []
    for i, spec in enumerate(given):
        checked, part, found = _part("metric", spec, f"metrics.{i}", registry)
        problems += found
        specs.append(checked)
        if part is None:
            continue
        if checked["part"] in built:
            problems.append(f"metrics.{i}: {checked['part']} is there already; each metric once")
        built[checked["part"]] = part
    return built, specs, problems


def _part(kind: str, spec: Any, where: str, registry: Registry) -> tuple[Any, Any, list[str]]:
    """The checked specification, the part built from it or None, and every mistake."""
    checked, problems = config.check_part(kind, spec, registry=registry, where=where)
    if not problems and not isinstance(checked, Mapping):  # such as a date, which YAML makes of 2001-01-01
        problems = [f"{where}: got {spec!r}; expected a part: {{part: NAME, option: value}}. See: restorekit list {kind}"]
    if problems:
        return checked, None, problems
    try:
        return checked, config.build_spec(kind, checked, registry=registry, where=where), []
    except ConfigError as refusal:
        return checked, None, list(refusal.problems)
