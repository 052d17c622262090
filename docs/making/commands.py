"""A page per command, made from the command line itself."""

from __future__ import annotations

import inspect
import re

import click

from restorekit.cli import app
from restorekit.cli.common import Commands

CONTEXT = {"help_option_names": ["-h", "--help"]}


def pages() -> dict[str, tuple[str, str]]:
    """Place and text of each page, by title: the whole command line, then each command with those below it."""
    found = {"restorekit": ("reference/commands/index.md", _index())}
    for name, command in app.commands.items():
        found[name] = (f"reference/commands/{name}.md", _command(command, ("restorekit", name), 1))
    return found


def _index() -> str:
    lines = [
        "# Command line",
        "",
        "`restorekit COMMAND --help` says the same. What you can fix ends with exit code 2 and one message that says what to type",
        "instead; 1 is a check that failed or a fault of the program, 130 an interrupt. Every command takes `--debug`, which shows the",
        "traceback, and most take `--json`, which prints JSON on standard output and nothing else.",
        "",
        "| command | |",
        "|---|---|",
    ]
    lines += [f"| [`{name}`]({name}.md) | {_cell(command.get_short_help_str(200))} |" for name, command in app.commands.items()]
    return "\n".join(lines) + "\n"


def _command(command: click.Command, path: tuple[str, ...], level: int) -> str:
    context = click.Context(command, info_name=" ".join(path), **CONTEXT)  # type: ignore[arg-type]
    usage = " ".join([*path, *command.collect_usage_pieces(context)])
    mark = "#" * level
    pieces = [f"{mark} restorekit {' '.join(path[1:])}", _prose(inspect.cleandoc(command.help or "")), f"```text\n{usage}\n```"]
    if isinstance(command, Commands):
        pieces += [_command(below, (*path, name), level + 1) for name, below in command.commands.items()]
        return "\n\n".join(pieces) + "\n"
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option) and not parameter.hidden]
    rows = ["| option | | default |", "|---|---|---|"]
    for option in options:
        names = ", ".join((*option.opts, *option.secondary_opts))
        value = "" if option.is_flag else f" {_value(option, context)}"
        rows.append(f"| `{names}{value}` | {_cell(option.help or '')} | {_default(option)} |")
    pieces.append("\n".join(rows))
    if shown := examples(command):
        pieces.append("```sh\n" + "\n".join(shown) + "\n```")
    return "\n\n".join(pieces) + "\n"


def examples(command: click.Command) -> list[str]:
    """The examples at the end of a command's help."""
    _, heading, rest = (command.epilog or "").partition("Examples:\n")
    return [line.strip() for line in rest.splitlines() if line.strip()] if heading else []


def _value(option: click.Option, context: click.Context) -> str:
    return option.metavar or option.make_metavar(context)


def _default(option: click.Option) -> str:
    if option.required:
        return "must be given"
    if option.is_flag or option.multiple or option.default is None or callable(option.default) or not option.show_default:
        return ""
    return f"`{option.default}`"


def _prose(text: str) -> str:
    return re.sub(r"(?<![\w`-])(--[a-z][\w-]*)", r"`\1`", text.replace("\b\n", ""))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
