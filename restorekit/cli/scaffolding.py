"""The command ``new-plugin``."""

from __future__ import annotations

from pathlib import Path

import click

from restorekit import discovery
from restorekit.cli.common import debug_option, emit, examples, json_option
from restorekit.scaffolding import SKETCHES
from restorekit.scaffolding import new_plugin as write


@click.command(
    "new-plugin",
    short_help="Write a plugin with one working part, to make your own.",
    epilog=examples(
        "restorekit new-plugin mine",
        "restorekit new-plugin mine --kind generator",
        "restorekit new-plugin mine --kind restorer --into ~/projects",
    ),
)
@click.argument("name")
@click.option("--kind", metavar="KIND", default="loss", show_default=True, help="What kind of part it begins with.")
@click.option("--into", type=click.Path(path_type=Path), metavar="DIR", default=Path(), help="Folder to make it in; here if not given.")
@json_option
@debug_option
def new_plugin(name: str, kind: str, into: Path, as_json: bool) -> None:
    """Write a complete plugin that installs, passes its checks and works as it stands.

    NAME is its namespace: its parts are called NAME/PART, and the folder and the distribution restorekit-NAME. Nothing is
    ever written over.

    Kinds: generator, critic, adversarial, loss, degradation, metric, set-metric, restorer, features, estimator,
    recipe, suite.
    """
    folder = write(name, kind=kind, into=into, registry=discovery.registry())
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    if as_json:
        emit({"folder": str(folder), "namespace": name, "kind": kind, "files": [str(path.relative_to(folder)) for path in written]})
        return
    click.echo(f"{folder}: a plugin with the {kind} {name}/{SKETCHES[kind].part}, {len(written)} files\n\nNext:")
    for line in (f"cd {folder}", "pip install -e '.[test]'", f"restorekit check {name}", "pytest"):
        click.echo(f"  {line}")
    click.echo("\nREADME.md says how to use the part and how to make it yours.")
