"""The command line. ``restorekit --help`` and ``restorekit list`` import nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence

import click

from restorekit import __version__
from restorekit.cli import benching, data, exporting, importing, learning, page, pictures, report, sampling, scaffolding, scoring
from restorekit.cli.common import COMMAND_LINE, Commands, debug_option, examples, execute, help_if_alone


@click.group(
    cls=Commands,
    context_settings=COMMAND_LINE,
    invoke_without_command=True,
    epilog=examples(
        "restorekit restore photo.jpg -o restored.jpg",
        "restorekit list generator",
        "restorekit train deblurgan/default --data my-photos",
        "restorekit COMMAND --help",
    ),
)
@click.version_option(__version__, "--version", message="%(prog)s %(version)s")
@debug_option
def app() -> None:
    """Restore photographs, train on small data sets, compare methods honestly."""
    help_if_alone()


for command in (
    report.list_parts,
    report.info,
    report.plugins,
    report.check,
    pictures.degrade,
    pictures.restore,
    page.ui,
    sampling.sample,
    scoring.score,
    data.data,
    learning.train,
    importing.import_checkpoint,
    exporting.export,
    benching.bench,
    scaffolding.new_plugin,
):
    app.add_command(command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``restorekit``.

    Args:
        argv: the arguments; those of the process if None.

    Returns:
        The exit code: 0, 2 for what the user can fix, 1 for a check that failed or a fault of the program, 130 after an
        interrupt.
    """
    return execute(app, argv, "restorekit")
