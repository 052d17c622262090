"""``restorekit ui``: the page for those who don't type."""

from __future__ import annotations

from pathlib import Path

import click

from restorekit.cli import common
from restorekit.cli.common import debug_option, device_option, examples


@click.command(
    short_help="Restore pictures on a page in the browser.",
    epilog=examples(
        "restorekit ui",
        "restorekit ui --open --model runs/mine/model.safetensors",
        "restorekit ui --port 8000 --max-size 20M --max-pixels 12000000",
    ),
)
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Where to listen; others need --expose.")
@click.option("--port", metavar="N", type=click.IntRange(0, 65535), default=7860, show_default=True, help="0 takes a free one.")
@click.option("--expose", is_flag=True, help="Let in whoever reaches --host. There is no password and no encryption.")
@click.option("--open/--no-open", "opens", default=False, show_default=True, help="Open the page in a browser.")
@click.option(
    "--model", "models", metavar="FILE", type=click.Path(path_type=Path), multiple=True, help="Offer a model file. May be repeated."
)
@click.option("--max-size", metavar="SIZE", callback=common.a_size, default="64M", show_default=True, help="Of an uploaded file.")
@click.option("--max-pixels", metavar="N", type=click.IntRange(min=1), default=50_000_000, show_default=True, help="Of a picture.")
@click.option("--queue", metavar="N", type=click.IntRange(min=1), default=10, show_default=True, help="Most pictures that wait.")
@click.option(
    "--rate", metavar="N", type=click.IntRange(min=1), default=60, show_default=True, help="Most requests of one client in a minute."
)
@click.option(
    "--memory",
    metavar="SIZE",
    callback=common.a_size,
    help="Keep the process under it, such as 2G or 1500M, by working in tiles; half of what is free if not given.",
)
@device_option
@common.json_option
@debug_option
def ui(
    host: str,
    port: int,
    expose: bool,
    opens: bool,
    models: tuple[Path, ...],
    max_size: int,
    max_pixels: int,
    queue: int,
    rate: int,
    memory: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Restore pictures on a page in the browser: drop one, choose a method and its options, compare, download.

    The page is for this machine alone, sends nothing anywhere, and works without a network. Results are
    those of `restorekit restore`, byte for byte. Pictures are worked on one at a time, and deleted after
    an hour or when the command ends. Ctrl-C ends it. Needs the extra: pip install 'restorekit[ui]'
    """
    from restorekit.ui import server, work

    if not server.is_loopback(host) and expose:
        common.warn(f"--expose: whoever reaches {host} can use this page, without a password and without encryption")

    def ready(address: str) -> None:
        if as_json:
            common.emit_line({"address": address})
        else:
            click.echo(f"The page is at {address}  (Ctrl-C ends it)")
        if opens:
            click.launch(address)

    rules = work.Rules(device, memory, max_pixels)
    server.serve(server.Settings(host, port, expose, max_size, rate, queue, rules, models), ready)
