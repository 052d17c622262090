"""What stands before the page: who may ask, for what, how much and how often, and whose files are whose.

Gradio serves more than this page needs (an API, a proxy, file names from requests), so that only what the page uses is let through.
"""

from __future__ import annotations

import functools
import json
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from restorekit.ui.store import Store

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

API = "/gradio_api"
UPLOAD = f"{API}/upload"
FILE = f"{API}/file="
JOIN = f"{API}/queue/join"
RUN = f"{API}/run/predict"
ASK = (JOIN, RUN)
"""To compute something, after the others or at once; for the latter Gradio takes only what the page says needs no queue."""

RESULT = "/picture/"

GET = re.compile(
    rf"/|/(assets|static)/.*|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|{RESULT}.*"
    rf"|{API}/(upload_progress|queue/data|heartbeat/[\w-]+|app_id)|{FILE}.*"
)
POST = re.compile(rf"{UPLOAD}|{JOIN}|{RUN}|{API}/(cancel|reset)")
"""Paths that the page asks for; anything else is not found."""

TALK = 1 << 20
"""Bytes of a request that is no upload."""

ENVELOPE = 1 << 16
"""Bytes that an upload is longer than its file."""

WINDOW = 60.0
"""Seconds over which requests are counted."""

CLIENTS = 10_000
"""Clients whose requests are counted; of more, the one that came first starts anew."""

HEADERS = {
    # Gradio's own page has scripts in its text and builds functions from templates; nothing comes from elsewhere.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; "
        "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True)
class Limits:
    """What a visitor may ask.

    Attributes:
        upload: bytes of a file.
        rate: uploads and requests to compute in a minute, of one client address.
        hosts: names under which the page may be asked for, without port; None for any. A page elsewhere whose name is made
            to point to this machine has another one.
        port: of the page; part of the cookie's name, because browsers share cookies among the ports of a machine.
    """

    upload: int
    rate: int
    hosts: frozenset[str] | None
    port: int

    @property
    def cookie(self) -> str:
        """Name of the cookie."""
        return f"restorekit-{self.port}"


class Guard:
    """An ASGI application around the page's.

    Args:
        app: the page.
        store: of the files.
        limits: what is allowed.
    """

    def __init__(self, app: App, store: Store, limits: Limits) -> None:
        self.app, self.store, self.limits = app, store, limits
        self._asked: dict[str, deque[float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        visitor = self._visitor(headers)
        refusal = self._refusal(scope, headers, visitor)
        new = visitor is None and refusal is None and scope["path"] == "/"
        if new:
            visitor = self.store.welcome()
            scope["headers"] = [*scope["headers"], (b"cookie", f"{self.limits.cookie}={visitor}".encode())]
        scope.setdefault("state", {})["visitor"] = visitor
        answer = _Answer(send, self.limits.cookie if new else "", visitor or "", scope["path"])
        if refusal is not None:
            await answer.say(*refusal)
            return
        scope["headers"] = [(name, value) for name, value in scope["headers"] if not name.lower().startswith(b"x-forwarded-")]
        uploads = scope["path"] == UPLOAD
        if uploads:  # whose answer is read, and is not to be compressed
            scope["headers"] = [(name, value) for name, value in scope["headers"] if name.lower() != b"accept-encoding"]
            answer.learn = functools.partial(self._learn, visitor or "")
        most = self.limits.upload + ENVELOPE if uploads else TALK
        taken = 0

        async def limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                answer.replaced = self._too_large(uploads)
                return {"type": "http.disconnect"}
            return message

        read: Receive = limited
        if scope["path"] in ASK:
            body = await _whole(limited)
            if answer.replaced is None and not self._own(visitor, body):
                answer.replaced = 403, "no file of yours"
            if answer.replaced is not None:
                await answer.say(*answer.replaced)
                return
            read = _again(body, receive)
        try:
            await self.app(scope, read, answer)
        except Exception:
            if answer.replaced is None:
                raise
        if answer.replaced is not None and not answer.started:
            await answer.say(*answer.replaced)

    def _visitor(self, headers: Mapping[str, str]) -> str | None:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.limits.cookie)
        except CookieError:
            return None
        return found.value if found is not None and self.store.known(found.value) else None

    def _refusal(self, scope: Scope, headers: Mapping[str, str], visitor: str | None) -> tuple[int, str] | None:
        """Status and message for a request that is not let through."""
        host = headers.get("host", "")
        if self.limits.hosts is not None and _name(host) not in self.limits.hosts:
            return 403, f"this page is not called {host!r}"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return 403, "other pages may not use this one"
        path, method = scope["path"], scope["method"]
        if not (POST if method == "POST" else GET).fullmatch(path) or method not in ("GET", "HEAD", "POST"):
            return 404, "not found"
        if path.startswith(FILE) and not (visitor and self.store.may_see(visitor, path.removeprefix(FILE))):
            return 403, "no file of yours"
        if method == "POST" and visitor is None:
            return 403, "load the page again: it was started anew meanwhile, or your browser keeps no cookies"
        if path in (UPLOAD, *ASK) or (path == "/" and visitor is None):
            wait = self._wait(str((scope.get("client") or ("",))[0]))
            if wait > 0:
                return 429, f"too many requests from you within a minute; wait {wait:.0f} seconds"
        most = self.limits.upload + ENVELOPE if path == UPLOAD else TALK
        if headers.get("content-length", "0").isdigit() and int(headers.get("content-length", "0")) > most:
            return self._too_large(path == UPLOAD)
        if path == UPLOAD and self.store.is_full():
            return 507, "there is no room for more pictures at the moment; try again in an hour"
        return None

    def _learn(self, visitor: str, body: bytes) -> None:
        for path in json.loads(body):
            self.store.brought(visitor, path)

    def _own(self, visitor: str | None, body: bytes) -> bool:
        """Whether all files that a request names were uploaded by its visitor: Gradio copies, or fetches, whatever is named."""
        try:
            named = list(_paths(json.loads(body)))
        except (ValueError, RecursionError):
            return False
        return all(visitor is not None and isinstance(path, str) and self.store.may_see(visitor, path) for path in named)

    def _too_large(self, upload: bool) -> tuple[int, str]:
        return 413, f"too large: {self.limits.upload / 2**20:g} MB at most" if upload else "request too large"

    def _wait(self, client: str) -> float:
        """Count a request; seconds until the next one is let through, 0 for this one."""
        now = time.monotonic()
        asked = self._asked.setdefault(client, deque())
        while len(self._asked) > CLIENTS:
            del self._asked[next(iter(self._asked))]
        while asked and asked[0] < now - WINDOW:
            asked.popleft()
        if len(asked) >= self.limits.rate:
            return max(1.0, asked[0] + WINDOW - now)
        asked.append(now)
        return 0.0


class _Answer:
    """What is sent back: with our headers, the cookie, and perhaps something else than what the page says."""

    def __init__(self, send: Send, cookie: str, visitor: str, path: str) -> None:
        self._send, self._private, self._asks = send, path.startswith((FILE, RESULT)), path in ASK
        self._cookie = f"{cookie}={visitor}; Path=/; HttpOnly; SameSite=Strict" if cookie else ""
        self.learn: Callable[[bytes], None] | None = None
        self._body = bytearray()
        self.replaced: tuple[int, str] | None = None
        self.started = False
        self._status = 0

    async def __call__(self, message: Message) -> None:
        if self.replaced is not None and not self.started:
            return  # `say` will answer
        if message["type"] == "http.response.start":
            self.started, self._status = True, message["status"]
            added = {**HEADERS, **({"cache-control": "no-store"} if self._private else {})}
            headers = [(name, value) for name, value in message.get("headers", ()) if name.decode("latin-1").lower() not in added]
            headers += [(name.encode(), value.encode()) for name, value in added.items()]
            if self._cookie:
                headers.append((b"set-cookie", self._cookie.encode()))
            message = {**message, "headers": headers}
        elif message["type"] == "http.response.body" and self.learn is not None and self._status == 200:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):  # before it is sent, since the next request refers to it
                self.learn(bytes(self._body))
        await self._send(message)

    async def say(self, status: int, words: str) -> None:
        """Answer with a line of text; inside JSON where the page's script reads it as such, under the one name or the other."""
        self.replaced = None
        body = (json.dumps({"detail": words, "error": words}) if self._asks else words).encode()
        form = b"application/json" if self._asks else b"text/plain; charset=utf-8"
        headers = [(b"content-type", form), (b"content-length", str(len(body)).encode())]
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


async def _whole(receive: Receive) -> bytes:
    """The body of a request, as far as it comes."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] != "http.request" or not message.get("more_body", False):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives a body that has been read, and then what comes after it."""
    rest = [body]

    async def replay() -> Message:
        return {"type": "http.request", "body": rest.pop(), "more_body": False} if rest else await receive()

    return replay


def _paths(value: Any) -> Iterator[object]:
    """Whatever is called a path or an address, however deep."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("path", "url") and inner is not None and not (key == "url" and "path" in value):
                yield inner
            else:
                yield from _paths(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _paths(inner)


def _name(host: str) -> str:
    """A host without its port."""
    return re.sub(r":\d*$", "", host).lower()
