"""What every command shares: options, tables, JSON, progress, and what happens when something goes wrong."""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import shutil
import sys
import textwrap
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from restorekit.errors import Stopped, UserError, did_you_mean
from restorekit.errors import explain as explain

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

COMMAND_LINE = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class State:
    """What one run of the command line knows besides its arguments.

    Attributes:
        debug: show tracebacks.
        stdout: where reports go; with ``--json`` everything else that is printed goes to stderr.
        arguments: all of them, for processes that are to do the same.
    """

    debug: bool
    stdout: TextIO
    arguments: tuple[str, ...] = ()


class Commands(click.Group):
    """A group that lists its commands in the order of their definition and helps with misspelt ones."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of definition."""
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` begin with; a usage error with the nearest name if there is none."""
        name = args[0]
        if name not in self.commands and not name.startswith("-"):
            known = ", ".join(self.commands)
            raise click.UsageError(f"no command {name!r}.{did_you_mean(name, self.commands)} Commands: {known}", ctx)
        return super().resolve_command(ctx, args)


def execute(command: click.Command, argv: Sequence[str] | None, prog: str) -> int:
    """Run a command and turn everything that can happen into an exit code and a message on stderr.

    Returns:
        The command's own code; 2 for what the user can fix, 130 after an interrupt, 1 for a fault of
        the program.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files need not be text, and terminals need not know every letter
            stream.reconfigure(errors="backslashreplace")
    state = State(debug="--debug" in arguments, stdout=sys.stdout, arguments=tuple(arguments))
    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        if not state.debug:
            warnings.showwarning = _one_line
            # Pillow's, about tags that are not used and sizes that are still accepted. Not where pictures are read: that is
            # done in threads, and `catch_warnings` in several at once loses the warnings of all.
            warnings.filterwarnings("ignore", module=r"PIL\.")
        if "--json" in arguments:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        try:
            code = command.main(arguments, prog_name=prog, standalone_mode=False, obj=state)
        except click.UsageError as fault:
            where = fault.ctx.command_path if fault.ctx else prog
            return _fail(f"{fault.format_message()}\nSee: {where} --help", state, 2)
        except click.ClickException as fault:
            return _fail(fault.format_message(), state, 2)
        except (click.Abort, KeyboardInterrupt):
            click.echo("interrupted", err=True)
            return 130
        except Stopped as end:
            return _fail(str(end), state, end.exit_code, prefix="")
        except UserError as fault:
            return _fail(str(fault), state, fault.exit_code)
        except OSError as fault:
            return _fail(explain(fault), state, 2)
        except Exception as fault:
            cause = " ".join(f"{type(fault).__name__}: {fault}".split())
            again = "" if state.debug else "; run again with --debug for the traceback"
            return _fail(f"restorekit failed: {cause}{again}", state, 1, prefix="")
    return code if isinstance(code, int) else 0


def show_traceback(fault: BaseException) -> None:
    """The whole traceback, on stderr."""
    click.echo("".join(traceback.format_exception(fault)).rstrip(), err=True)


def _fail(message: str, state: State, code: int, prefix: str = "error: ") -> int:
    if state.debug:
        traceback.print_exc()
    lines = [line.rstrip() for line in message.splitlines()]
    click.echo(prefix + "\n".join(lines), err=True)
    return code


def _one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None, line: str | None = None
) -> None:
    warn(" ".join(str(message).split()))


def warn(message: str) -> None:
    """One line on stderr."""
    tell(f"warning: {message}")


def tell(line: str) -> None:
    """A line on stderr, above a progress bar where there is one: click would write past what the bar has put in its place."""
    print(line, file=sys.stderr, flush=True)


def state() -> State:
    """The state of the command that is running."""
    return click.get_current_context().ensure_object(State)


def help_if_alone() -> None:
    """Print a group's help where no command of it was given."""
    ctx = click.get_current_context()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def debug_option(command: F) -> F:
    """``--debug``, which every command takes; `execute` looks for it."""
    return click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(command)


def json_option(command: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout and nothing else.")(command)


def json_lines_option(command: F) -> F:
    """``--json`` of commands that print one object per picture."""
    return click.option("--json", "as_json", is_flag=True, help="Print a line of JSON per picture on stdout and nothing else.")(command)


def set_option(command: F) -> F:
    """``--set KEY=VALUE``, any number of times."""
    text = "Set an option; VALUE is YAML (3, 1e-4, true, [5, 22], core/l1). May be repeated."
    return click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help=text)(command)


def seed_option(command: F) -> F:
    """``--seed N``."""
    return click.option("--seed", metavar="N", type=click.IntRange(min=0), default=0, show_default=True, help="Same seed, same result.")(
        command
    )


def existing_options(command: F) -> F:
    """``--skip-existing`` and ``--overwrite``."""
    skip = click.option("--skip-existing", is_flag=True, help="Leave results that are there, and do the rest.")
    return skip(overwrite_option(command))


def overwrite_option(command: F) -> F:
    """``--overwrite``."""
    return click.option("--overwrite", is_flag=True, help="Replace results that are there.")(command)


def device_option(command: F) -> F:
    """``--device``."""
    return click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda", "mps"]),
        default="auto",
        show_default=True,
        help="Where to compute; auto takes CUDA, then MPS, then the processor.",
    )(command)


def a_size(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Bytes of ``2G`` or ``1500M``, as a click callback."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([MG])(?:i?B)?", value.strip(), re.IGNORECASE)
    if match is None:
        raise UserError(f"{param.opts[-1]} {value}: give a number with M or G, such as 1500M or 2G")
    return int(float(match[1]) * 2 ** {"M": 20, "G": 30}[match[2].upper()])


def examples(*lines: str) -> str:
    """The end of a help page: commands that work as they stand."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """``["blocks=6", "losses.0.weight=0.5"]`` as a mapping of dotted keys to YAML values.

    Raises:
        UserError: one without an equals sign, a value that is not YAML, or a key given twice.
    """
    if not settings:
        return {}
    from restorekit import recipes

    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UserError(f"--set {setting}: expected KEY=VALUE, such as --set {key or 'sigma'}=0.01")
        if key in found:
            raise UserError(f"--set {setting}: {key} is set twice")
        found[key] = recipes.parse_yaml(text, f"--set {setting}")
    return found


def emit(value: Any) -> None:
    """Print a report as JSON; numbers that JSON has not (inf, nan) as text."""
    click.echo(json.dumps(_plain(value), indent=2, ensure_ascii=False, default=str), file=state().stdout)


def emit_line(value: Mapping[str, Any]) -> None:
    """Print one line of JSON Lines at once, for reports that grow."""
    stream = state().stdout
    click.echo(json.dumps(_plain(value), ensure_ascii=False, default=str), file=stream)
    stream.flush()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(map(_plain, value))
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def width() -> int:
    """Columns to fill: the terminal's, within 60 and 100."""
    return min(100, max(60, shutil.get_terminal_size((100, 24)).columns))


def columns(rows: Sequence[Sequence[str]], *, header: Sequence[str] = (), indent: int = 2) -> str:
    """Rows in aligned columns; the last column wraps at the width of the terminal, and may have several lines."""
    everything = [*([header] if header else []), *rows]
    if not everything:
        return ""
    wide = [max(len(row[i]) for row in everything) for i in range(len(everything[0]) - 1)]
    before = indent + sum(wide) + 2 * len(wide)
    room = max(24, width() - before)
    lines = []
    for number, row in enumerate(everything):
        start = " " * indent + "".join(cell.ljust(size) + "  " for cell, size in zip(row, wide, strict=False))
        first, *more = [part for line in row[-1].splitlines() for part in textwrap.wrap(line, room)] or [""]
        block = [(start + first).rstrip(), *(" " * before + line for line in more)]
        lines += [click.style(line, bold=True) for line in block] if header and number == 0 else block
    return "\n".join(lines)


class Steps:
    """A progress bar on stderr, or nothing where stderr is no terminal."""

    def __init__(self, bar: Progress | None = None, task: TaskID | None = None) -> None:
        self._bar, self._task = bar, task

    def move(self, words: str, steps: float = 0) -> None:
        """Say what is being done, and move on by a number of steps."""
        if self._bar is None or self._task is None:
            return
        self._bar.update(self._task, description=printable(words), advance=steps)
        task = self._bar.tasks[0]
        if steps and task.completed and task.total:
            left = (task.elapsed or 0) * (task.total - task.completed) / task.completed
            self._bar.update(self._task, ends=time.monotonic() + left)

    def say(self, line: str) -> None:
        """Print a line on stdout, above the bar where both are on one terminal."""
        if self._bar is not None and sys.stdout.isatty():
            self._bar.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(line)


def printable(text: str) -> str:
    """`text` with a question mark for whatever would move the cursor or change colours, as names of files may."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


@contextlib.contextmanager
def progress(doing: str, total: int) -> Iterator[Steps]:
    """A progress bar for as long as the block runs.

    Args:
        doing: what it says at first.
        total: how many steps there are.
    """
    if not sys.stderr.isatty():
        yield Steps()
        return
    from rich.console import Console, ConsoleDimensions
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    class Narrower(Console):
        @property  # type: ignore[misc]
        def size(self) -> ConsoleDimensions:
            there = super().size  # a full line and the terminal's ^C after it would be two, of which one stays
            return there._replace(width=max(1, there.width - 2))

    console = Narrower(stderr=True)
    # What changes its length stands last, cut off at the edge, so that nothing moves but the bar.
    words = TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"))
    shown = (BarColumn(max(8, console.width // 6)), *_figures(), words)
    with Progress(*shown, console=console, transient=True, redirect_stdout=False, expand=True) as bar:
        yield Steps(bar, bar.add_task(doing, total=total, ends=None))


def _figures() -> list[ProgressColumn]:
    """How many of how many, the time that has passed, and the time left as far as it can be told."""
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Count(ProgressColumn):
        def render(self, task: Task) -> Text:
            total = int(task.total or 0)
            return Text(f"{int(task.completed + 1e-6):{len(str(total))}}/{total}", no_wrap=True)

    class Passed(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(clock(task.elapsed or 0), no_wrap=True)

    class Left(ProgressColumn):
        def render(self, task: Task) -> Text:
            left = (task.fields["ends"] or 0) - time.monotonic()
            return Text(f"{clock(left)} left" if left > 0 else "", no_wrap=True)

    return [Count(), Passed(), Left()]


def clock(seconds: float) -> str:
    """``0:07``, ``12:30``, ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
