"""The page's server: one process, this machine's own address unless told otherwise, and a folder that goes when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from restorekit import devices, discovery, methods, modelfile
from restorekit.errors import MissingPackage, UserError
from restorekit.ui import forms
from restorekit.ui.guard import RESULT, Guard, Limits
from restorekit.ui.store import Store
from restorekit.ui.work import Rules, listen

CONNECTIONS = 200
"""Most connections at the same time; a page that is open holds two."""

SWEEP = 60.0
"""Seconds between looks for files that are to be deleted."""


@dataclass(frozen=True)
class Settings:
    """What `restorekit ui` was told.

    Attributes:
        host: address to listen at.
        port: 0 takes a free one.
        exposed: whether others may be let in.
        upload: bytes of a file at most.
        rate: uploads and requests to compute that one client may make in a minute.
        queue: pictures that wait at most.
        rules: what holds for every picture.
        models: model files to offer.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    exposed: bool = False
    upload: int = 64 << 20
    rate: int = 60
    queue: int = 10
    rules: Rules = field(default_factory=Rules)
    models: tuple[Path, ...] = ()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def serve(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve the page until it is interrupted.

    Args:
        settings: how.
        ready: told the address once the page answers.

    Raises:
        UserError: Gradio is not installed, an address that others can reach without `exposed`, a port that is taken, or a model
            file that cannot be used.
    """
    if not is_loopback(settings.host) and not settings.exposed:
        raise UserError(
            f"--host {settings.host}: whoever reaches this machine could use the page and see nothing of it encrypted. "
            f"If that is meant, add --expose; for yourself leave --host out"
        )
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        import gradio  # noqa: F401
        import uvicorn
    except ImportError as cause:
        raise MissingPackage("the page is made with Gradio", "gradio", "ui") from cause
    devices.pick(settings.rules.device)
    listen()
    catalogue = forms.catalogue(discovery.registry(), _reads(settings.models), accept_models=is_loopback(settings.host))
    with _listening(settings.host, settings.port) as listener, tempfile.TemporaryDirectory(prefix="restorekit-ui-") as folder:
        store = Store(Path(folder).resolve())
        port = listener.getsockname()[1]
        names = frozenset({"localhost", "127.0.0.1", "[::1]", settings.host.lower()}) if is_loopback(settings.host) else None
        limits = Limits(settings.upload, settings.rate, names, port)
        app = Guard(application(catalogue, store, limits, settings), store, limits)
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=1,
                ws="none",
            )
        )
        with _sweeping(store), _ended_by_sigterm_too(), contextlib.suppress(KeyboardInterrupt):  # the way to end it
            asyncio.run(_run(server, [listener], lambda: ready(f"http://{shown}:{port}/")))
        store.stop_all()


def application(catalogue: forms.Catalogue, store: Store, limits: Limits, settings: Settings) -> Any:
    """The ASGI application without its guard."""
    os.environ["GRADIO_TEMP_DIR"] = str(store.folder)
    import gradio as gr
    from fastapi import FastAPI, Request
    from fastapi.responses import FileResponse, PlainTextResponse, Response

    from restorekit.ui import look, page

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    def picture(request: Request) -> Response:
        file = store.result(str(request.cookies.get(limits.cookie, "")), **request.path_params)
        return PlainTextResponse("no picture of yours", 404) if file is None else FileResponse(file)

    app.add_route(RESULT + "{token}/{name}", picture)

    blocks = page.build(page.Desk(catalogue, store, limits, settings.rules, settings.queue))
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        server_name=settings.host,
        server_port=limits.port,
        footer_links=[],
        run_history=False,
        max_file_size=settings.upload,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
        show_error=False,
        theme=gr.themes.Default(primary_hue="emerald", font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")).set(
            block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300"
        ),
        css=look.STYLE,
        head=look.SCRIPT,
    )
    blocks.has_launched = True  # else Gradio takes any path of this machine for an upload
    return app


def _reads(models: Sequence[Path]) -> dict[Path, frozenset[str]]:
    """What each model file reads besides the picture.

    Raises:
        UserError: one that is no model file, or restores no pictures.
    """
    found = {}
    for file in models:
        if file.suffix != methods.MODEL_SUFFIX:
            raise UserError(f"--model {file}: a model file ends in {methods.MODEL_SUFFIX}")
        generator = modelfile.load(file).generator
        if generator.consumes != "image":
            raise UserError(f"--model {file}: makes pictures out of nothing, and restores none")
        found[file] = frozenset({"reference"}) if generator.guided else frozenset[str]()
    return found


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens at the address.

    Raises:
        UserError: it is taken, or not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()
        except OSError as fault:
            raise UserError(f"--host {host} --port {port}: {fault.strerror or fault}. Another port: --port 0 takes a free one") from fault
        yield listener


@contextlib.contextmanager
def _sweeping(store: Store) -> Iterator[None]:
    ended = threading.Event()

    def sweep() -> None:
        while not ended.wait(SWEEP):
            store.sweep()

    thread = threading.Thread(target=sweep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


@contextlib.contextmanager
def _ended_by_sigterm_too() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C, so that the folder goes: uvicorn raises it once more when it has ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


async def _run(server: Any, sockets: list[socket.socket], ready: Callable[[], None]) -> None:
    serving = asyncio.create_task(server.serve(sockets=sockets))
    while not server.started and not serving.done():
        await asyncio.sleep(0.05)
    if server.started:
        ready()
    await serving
