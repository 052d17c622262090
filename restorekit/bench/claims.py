"""Claimed scores, run again: what a paper or a model card says beside what comes out, and why they may differ."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Gt

from restorekit import config, discovery
from restorekit.bench.board import ALL, Board, Line, board
from restorekit.bench.contenders import contenders
from restorekit.bench.job import Job
from restorekit.bench.names import BASELINE
from restorekit.bench.run import run
from restorekit.bench.scores import Mean
from restorekit.bench.suite import load
from restorekit.errors import ConfigError, UserError, did_you_mean
from restorekit.recipes import load_yaml
from restorekit.registries import Registry

VERSION = 1

KEYS = {
    "claim": f"version of the format: {VERSION}",
    "source": "where the numbers are claimed: paper and table, or model card",
    "suite": "what they are claimed on: a suite's name, or its file relative to this one",
    "method": "the method, as for bench run; a file is relative to this one",
    "claims": "list of numbers, see restorekit.bench.claims.Claim",
}
"""Every key of a file of claims and what it holds."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claimed number.

    Attributes:
        value: as claimed: the mean over the suite's images.
        ruler: metric that the source uses.
        ours: metric of the benchmark's own protocol that is shown beside it.
        degradation: the suite's name for the damage, or ``all``.
        method: instead of that of the whole file, likewise; ``core/identity`` for what is claimed of the damaged pictures.
        tolerance: difference that rounding in the source allows.
        note: what is known of how the source's set-up differs; shown where the number does not come out.
    """

    value: float
    ruler: str = "core/psnr"
    ours: str = "core/psnr"
    degradation: str = ALL
    method: str | None = None
    tolerance: Annotated[float, Gt(0)] = 0.01
    note: str = ""


@dataclass(frozen=True)
class Claims:
    """A checked file of claims; attributes as in `KEYS`."""

    path: Path
    source: str
    suite: str
    method: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Verdict:
    """What came of a claim.

    Attributes:
        claim: as made.
        method: which method.
        obtained: under the source's ruler; None where the method has no mean.
        ours: under the benchmark's ruler.
        cause: that it holds, or why it likely does not.
        holds: whether the claimed number came out.
    """

    claim: Claim
    method: str
    obtained: Mean | None
    ours: Mean | None
    cause: str
    holds: bool


@dataclass(frozen=True)
class Verification:
    """What came of a file of claims.

    Attributes:
        claims: the file.
        protocol: under which protocol.
        verdicts: one for each claim.
    """

    claims: Claims
    protocol: str
    verdicts: tuple[Verdict, ...]

    @property
    def holds(self) -> bool:
        """Whether every claim came out."""
        return all(verdict.holds for verdict in self.verdicts)

    def text(self) -> str:
        """For people."""
        lines = [f"{self.claims.source}", f"{self.claims.suite}, protocol {self.protocol[:12]}", ""]
        for verdict in self.verdicts:
            claim, digits = verdict.claim, 2 if abs(verdict.claim.value) > 1.5 else 4
            lines.append(f"{verdict.method}, {claim.degradation}: {'holds' if verdict.holds else 'does not come out'}")
            lines.append(f"  claimed    {claim.value:.{digits}f}  {claim.ruler}")
            if verdict.obtained is not None:
                difference = verdict.obtained.value - claim.value
                lines.append(f"  obtained   {verdict.obtained.text(digits)}  {claim.ruler}  (difference {difference:+.{digits}f})")
            if verdict.ours is not None:
                lines.append(f"  our ruler  {verdict.ours.text(digits)}  {claim.ours}")
            lines.append(f"  {verdict.cause}")
        return "\n".join(lines)


def read(path: Path, *, registry: Registry) -> Claims:
    """Read and check a file of claims.

    Raises:
        ConfigError: every mistake in it, each with its place.
    """
    content = load_yaml(path)
    problems = [f"{key}: not a key of claims.{did_you_mean(str(key), KEYS)} Keys: {', '.join(KEYS)}" for key in content if key not in KEYS]
    if content.get("claim") != VERSION:
        problems.append(
            f"claim: got {content.get('claim')!r}; this restorekit reads version {VERSION}: write claim: {VERSION} as the first line"
        )
    problems += [
        f"{key}: got {content.get(key)!r}; expected {KEYS[key]}"
        for key in ("source", "suite", "method")
        if not isinstance(content.get(key), str) or not content[key].strip()
    ]
    given = content.get("claims")
    if not isinstance(given, list) or not given:
        problems.append(f"claims: got {given!r}; expected a list: [{{degradation: shake, ruler: core/psnr, value: 24.13}}]")
        given = []
    claims = []
    for i, item in enumerate(given):
        if not isinstance(item, Mapping):
            problems.append(f"claims.{i}: got {item!r}; expected keys and values: {{ruler: core/psnr, value: 24.13}}")
            continue
        checked, found = config.check(Claim, item, registry=registry, where=f"claims.{i}", owner="a claim")
        problems += found
        if found:
            continue
        claim: Claim = config.construct(Claim, checked, registry=registry, where=f"claims.{i}")
        for key in ("ruler", "ours"):
            try:
                registry.find("metric", getattr(claim, key))
            except UserError as fault:
                problems.append(f"claims.{i}.{key}: {fault}")
        claims.append(claim)
    if problems:
        raise ConfigError(f"{path}: {problem}" for problem in problems)
    return Claims(path, content["source"], _place(path, content["suite"]), content["method"], tuple(claims))


def _place(path: Path, name: str) -> str:
    """A name, or the path of a file that is given relative to the claims."""
    beside = path.parent / name
    return str(beside) if beside.is_file() else name


def verify(
    path: Path,
    *,
    out: Path | None = None,
    data: Path | None = None,
    device: str = "auto",
    limit: int | None = None,
    progress: bool = False,
    registry: Registry | None = None,
) -> Verification:
    """Run what is claimed and compare.

    Args:
        path: file of claims.
        out: folder for the results; a temporary one if None.
        data: folder in which data sets lie.
        device: where to compute.
        limit: only the first so many pictures; then no claim about the whole set can be told.
        progress: show a bar.
        registry: where names are looked up; the installed parts if None.

    Raises:
        UserError: mistakes in the file, or as `restorekit.bench.run_suite`.
    """
    registry = registry or discovery.registry()
    claims = read(path, registry=registry)
    plan = load(claims.suite, registry=registry, data=data)
    unknown = sorted({claim.degradation for claim in claims.claims} - {ALL, *plan.degradations})
    if unknown:
        raise UserError(f"{path}: {claims.suite} has no degradation {', '.join(unknown)}; it has {', '.join(plan.degradations)}")
    rulers = [registry.find("metric", name).name for claim in claims.claims for name in (claim.ours, claim.ruler)]
    metrics = tuple(dict.fromkeys([*plan.metrics, *rulers]))
    names = dict.fromkeys([claims.method, *(claim.method for claim in claims.claims if claim.method)])
    single = len(plan.degradations) == 1
    methods = {name: contenders([_place(path, name)], registry=registry, single=single)[-1] for name in names}
    with tempfile.TemporaryDirectory(prefix="restorekit-claims-") as folder:
        place = out or Path(folder)
        run(
            Job(
                suite=claims.suite,
                methods=tuple(methods.values()),
                out=place,
                device=device,
                data=data,
                limit=limit,
                pictures=False,
                metrics=metrics,
                progress=progress,
                registry=registry,
            )
        )
        found = board(place)
    verdicts = tuple(_verdict(claim, methods[claim.method or claims.method].label, found, registry) for claim in claims.claims)
    return Verification(claims, str(found.about["protocol"]), verdicts)


def _verdict(claim: Claim, method: str, found: Board, registry: Registry) -> Verdict:
    line = next(line for line in found.lines if line.method == method)
    means = {metric: line.standings[metric, claim.degradation].mean for metric in found.about["metrics"]}
    ruler, ours = (registry.find("metric", name).name for name in (claim.ruler, claim.ours))
    obtained = means[ruler]
    if obtained is None:
        reasons = [row["reason"] for row in found.rows if row["method"] == method and row["reason"]]
        return Verdict(claim, method, None, means[ours], f"no mean: {reasons[0] if reasons else 'nothing compares'}", holds=False)
    holds = abs(obtained.value - claim.value) <= claim.tolerance
    cause = "as claimed" if holds else _cause(claim, ruler, line, found)
    if claim.note and not holds:
        cause = f"likely cause: {claim.note}"
    return Verdict(claim, method, obtained, means[ours], cause, holds)


def _cause(claim: Claim, ruler: str, line: Line, found: Board) -> str:
    """The likeliest reason why a number does not come out, from what was measured."""

    def fits(mean: Mean | None) -> bool:
        return mean is not None and abs(mean.value - claim.value) <= claim.tolerance

    limit = found.about["ingredients"]["data"]["limit"]
    if limit:
        return f"likely cause: only the first {limit} images were used, and the claim is about all"
    means = {name: line.standings[name, claim.degradation].mean for name in found.about["metrics"]}
    others = {name: mean for name, mean in means.items() if name != ruler and mean is not None}
    fitting = [name for name, mean in others.items() if fits(mean)]
    if fitting:
        return f"likely cause: another ruler. It comes out under {' and '.join(fitting)}"
    base = next((other for other in found.lines if other.method == BASELINE), None)
    if base is not None and base is not line and fits(base.standings[ruler, claim.degradation].mean):
        return "likely cause: the claimed number is that of the damaged pictures, which doing nothing reaches too"
    swapped = [name for name in found.columns if name != claim.degradation and fits(line.standings[ruler, name].mean)]
    if swapped:
        return f"likely cause: another damage. It comes out on {' and '.join(swapped)}"
    obtained = means[ruler]
    if obtained and obtained.low is not None and obtained.high is not None and obtained.low <= claim.value <= obtained.high:
        return (
            "likely cause: other draws, weights or versions. The claim lies within the interval over images, so that the two cannot be "
            "told apart on this many"
        )
    near = min(others, key=lambda name: abs(others[name].value - claim.value), default=None)
    nearest = "" if near is None else f" Nearest: {near} with {others[near].value:.4g}."
    return f"no ruler measured here explains it: other data, other weights, or another way to score.{nearest}"
