"""Commands that report: ``list``, ``info``, ``plugins`` and ``check``."""

from __future__ import annotations

import dataclasses
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from restorekit import remote
from restorekit.cli import common
from restorekit.cli.common import debug_option, emit, examples, json_option
from restorekit.hooks import KINDS

if TYPE_CHECKING:
    from restorekit.conformance import Result
    from restorekit.registries import Registry

MODEL_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
"""What `info` takes for a file rather than a name; of these only the first can be read, the message says so."""

STATUSES = ("passed", "failed", "known", "skipped")
"""Of a conformance check, in the order of the columns."""


@click.command("list", epilog=examples("restorekit list", "restorekit list restorer", "restorekit list recipe --json"))
@click.argument("kind", required=False)
@json_option
@debug_option
def list_parts(kind: str | None, as_json: bool) -> None:
    """List every installed part, or those of one KIND.

    Kinds: generator, critic, adversarial, loss, degradation, metric, set-metric, restorer, features, estimator,
    recipe, suite.
    """
    registry = _registry()
    parts = registry.of_kind(kind) if kind else registry.parts
    if as_json:
        emit(
            [
                {
                    "kind": part.kind,
                    "name": part.name,
                    "summary": part.part.summary,
                    "paper": part.part.paper,
                    "licence": part.part.licence,
                    "distribution": part.distribution,
                    "version": part.version,
                }
                for part in parts
            ]
        )
        return
    if not parts:
        click.echo(f"No installed plugin brings a {kind}." if kind else "No parts are installed.")
        return
    widest = max(len(part.name) for part in parts)
    groups = []
    for name in KINDS:
        rows = [(part.name.ljust(widest), part.part.summary) for part in parts if part.kind == name]
        if rows:
            groups.append(click.style(name, bold=True) + "\n" + common.columns(rows))
    click.echo("\n\n".join(groups))


@click.command(
    epilog=examples(
        "restorekit info core/camera-shake",
        "restorekit info metric:core/ssim",
        "restorekit info deblurgan/default",
        "restorekit info runs/deblurgan-default/model.safetensors --json",
    )
)
@click.argument("name", metavar="NAME|MODELFILE")
@json_option
@debug_option
def info(name: str, as_json: bool) -> None:
    """Show all there is to know of a part or a model file.

    NAME is a full name such as core/ssim, a bare one that is unique, or KIND:NAME where several kinds
    share it. A part shows its options with types, bounds and defaults, its shapes, source file and
    paper; a recipe its whole content; a model file its recipe, provenance and scores.

    With --json a name prints an array with one object for each kind of that name, a model file one
    object.
    """
    from restorekit.cli import describe

    if Path(name).suffix in MODEL_SUFFIXES or Path(name).is_file() or remote.is_address(name):
        from restorekit import modelfile

        model = describe.model(modelfile.read_header(name))
        if as_json:
            emit(model)
        else:
            click.echo(_model_text(model))
        return
    registry = _registry()
    named = sorted(registry.named(name), key=lambda part: part.kind == "recipe")  # which is long, and would hide what follows
    found = [describe.part(part, registry) for part in named]
    if as_json:
        emit(found)
    else:
        click.echo("\n\n".join(map(_part_text, found)))


@click.command(
    short_help="List the installed plugins and their health.", epilog=examples("restorekit plugins", "restorekit plugins --json")
)
@json_option
@debug_option
def plugins(as_json: bool) -> None:
    """List the installed plugins: version, number of parts, interface version, health and where each comes from."""
    registry = _registry(warn=False)
    rows: list[dict[str, Any]] = [
        {
            "namespace": plugin.namespace,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "parts": plugin.parts,
            "interface": plugin.interface,
            "health": "ok",
            "path": plugin.path,
        }
        for plugin in registry.plugins
    ]
    rows += [
        {
            "namespace": problem.namespace,
            "distribution": problem.distribution,
            "version": problem.version,
            "parts": 0,
            "interface": None,
            "health": f"failed at {problem.stage}: {problem.cause}",
            "path": problem.path,
        }
        for problem in registry.problems
    ]
    if as_json:
        emit(rows)
        return
    header = ("namespace", "distribution", "version", "parts", "interface", "health")
    cells = [["-" if row[key] is None else str(row[key]).partition(":")[0] for key in header] for row in rows]
    widest = max(len(row["namespace"]) for row in rows)
    places = "\n".join(f"{row['namespace'].ljust(widest)}  {row['path'] or '-'}" for row in rows)
    # Not in columns: what is to be copied, such as a path or a command, must not be broken.
    causes = "".join(f"\n\n{problem.namespace}: {problem.cause}" for problem in registry.problems)
    click.echo(f"{common.columns(cells, header=header, indent=0)}\n\n{places}{causes}")


@click.command(epilog=examples("restorekit check core", "restorekit check deblurgan --json"))
@click.argument("namespace")
@json_option
@debug_option
def check(namespace: str, as_json: bool) -> int:
    """Check that every part of a plugin keeps its contract, and that importing it disturbs nobody.

    Exit code 0 only if all checks hold; 1 if one does not, 2 if no such plugin is installed.
    """
    from restorekit import conformance

    cases = conformance.cases(namespace, registry=_registry(warn=False))
    results = []
    with common.progress(f"checking {namespace}", len(cases)) as steps:
        for case in cases:
            steps.move(f"{case.part}: {case.check}")
            results.append(case.examine())
            steps.move(f"{case.part}: {case.check}", 1)
    if as_json:
        emit([dataclasses.asdict(result) for result in results])
    else:
        click.echo(_results_text(results))
    return 1 if any(result.status == "failed" for result in results) else 0


def _registry(warn: bool = True) -> Registry:
    from restorekit import discovery

    registry = discovery.registry()
    if warn:
        for problem in registry.problems:
            common.warn(f"the plugin {problem.namespace} ({problem.distribution}) did not load. See: restorekit plugins")
    return registry


def _part_text(part: dict[str, Any]) -> str:
    from restorekit.cli.describe import as_text, as_yaml

    facts = [("paper", part["paper"]), ("licence", part["licence"])]
    facts.append(("distribution", f"{part['distribution']} {part['version']}, interface {part['interface']}"))
    facts.append(("source", part["source"]))
    if part.get("renamed_from"):
        facts.append(("formerly", part["renamed_from"]))
    if part.get("default_for"):
        facts.append(("default", f"what restorekit {part['default_for']} takes when none is named"))
    facts += [(key, part[key]) for key in ("takes", "gives") if key in part]
    if "parameters" in part:
        facts.append(("parameters", f"{as_text(part['parameters'])}, with default options"))
    facts += [(key.replace("_", " "), as_text(value)) for key, value in part.get("declares", {}).items() if value != ""]
    text = f"{click.style(part['kind'] + ' ' + part['name'], bold=True)}\n  {part['summary']}\n\n{common.columns(facts)}"
    if "options" in part:
        ordered = sorted(part["options"], key=lambda option: not option["required"])
        rows = [(option["name"], _default(option), f"{option['type']}\n{option['help']}".rstrip()) for option in ordered]
        table = common.columns(rows, header=("option", "default", "type and meaning")) if rows else "  no options"
        text += f"\n\n{table}"
    if "recipe" in part:
        text += "\n\n" + textwrap.indent(as_yaml(part["recipe"]), "  ")
    if "suite" in part:
        text += "\n\n" + textwrap.indent(part["suite"].rstrip(), "  ")
    return text


def _default(option: dict[str, Any]) -> str:
    from restorekit.cli.describe import as_text

    return "required" if option["required"] else as_text(option["default"]) or "''"


def _model_text(model: dict[str, Any]) -> str:
    from restorekit.cli.describe import as_text, as_yaml

    facts = [
        ("generator", model["generator"]),
        ("parameters", f"{as_text(model['parameters'])} of {model['dtype']}, {model['bytes'] / 1e6:.1f} MB"),
        ("weights", "moving average of training (EMA)" if model["ema"] else "as after the last step of training"),
    ]
    text = f"{click.style('model ' + model['file'], bold=True)}\n{common.columns(facts)}"
    for section in ("scores", "provenance"):
        rows = [(str(key), f"{value:.4g}" if isinstance(value, float) else as_text(value)) for key, value in model[section].items()]
        text += f"\n\n{click.style(section, bold=True)}\n{common.columns(rows) or '  none'}"
    return f"{text}\n\n{click.style('recipe', bold=True)}\n{textwrap.indent(as_yaml(model['recipe']), '  ')}"


def _results_text(results: Sequence[Result]) -> str:
    counted: dict[tuple[str, str], Counter[str]] = {}
    seconds: dict[tuple[str, str], float] = {}
    for result in results:
        key = (result.kind, result.part)
        counted.setdefault(key, Counter())[result.status] += 1
        seconds[key] = seconds.get(key, 0.0) + result.seconds
    header = ("kind", "part", *STATUSES, "seconds")
    rows = [(*key, *(str(count[status] or "-") for status in STATUSES), f"{seconds[key]:.1f}") for key, count in counted.items()]
    text = common.columns(rows, header=header, indent=0)
    for status in ("failed", "known"):
        for result in results:
            if result.status == status:
                facts = [("expected", result.expected), ("seen", result.seen), ("reason" if status == "known" else "fix", result.fix)]
                heading = click.style(f"{status}: {result.check} of {result.kind} {result.part}", bold=True)
                text += f"\n\n{heading}\n{common.columns([fact for fact in facts if fact[1]])}"
    total = Counter[str](result.status for result in results)
    words = {"passed": "hold", "failed": "failed", "known": "are known to fail", "skipped": "do not apply"}
    verdict = f"{len(results)} checks: " + ", ".join(f"{total[status]} {word}" for status, word in words.items() if total[status])
    return f"{text}\n\n{verdict}"
