"""What is let through to the page, asked for as a server would, without one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from restorekit.ui import guard as guards
from restorekit.ui.guard import ASK, FILE, JOIN, RESULT, UPLOAD, Guard, Limits
from restorekit.ui.store import Store

HOST = "127.0.0.1:7860"
LIMITS = Limits(upload=1000, rate=5, hosts=frozenset({"127.0.0.1", "localhost"}), port=7860)


class Page:
    """Stands for the page: says what it was asked, and answers uploads with the paths in `uploads`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []
        self.headers: dict[str, str] = {}
        self.uploads: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the client is gone")
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.asked.append((scope["path"], body))
        self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        said = json.dumps(self.uploads).encode() if scope["path"] == UPLOAD else b"page"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"public")]})
        await send({"type": "http.response.body", "body": said[:3], "more_body": True})
        await send({"type": "http.response.body", "body": said[3:]})


class Visitor:
    """A browser: sends its cookie, and keeps the one that it gets."""

    def __init__(self, guard: Guard, client: str = "127.0.0.1") -> None:
        self.guard, self.client, self.cookie = guard, client, ""

    def ask(self, path: str, method: str = "GET", body: bytes = b"", told: bool = True, **headers: str) -> tuple[int, str, dict[str, str]]:
        sent: list[Any] = []
        parts = [body[i : i + 400] for i in range(0, len(body), 400)] or [b""]
        messages = [{"type": "http.request", "body": part, "more_body": part is not parts[-1]} for part in parts]

        async def receive() -> Any:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        named = {"host": HOST, **({"content-length": str(len(body))} if told else {}), **headers}
        if self.cookie:
            named["cookie"] = f"theirs=1; {self.cookie}"
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
        scope = {"type": "http", "method": method, "path": path, "headers": raw, "client": (self.client, 50000)}
        asyncio.run(self.guard(scope, receive, send))
        start, *rest = sent
        answered = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        if "set-cookie" in answered:
            self.cookie = answered["set-cookie"].partition(";")[0]
        return start["status"], b"".join(part["body"] for part in rest).decode(), answered


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def guard(page: Page, tmp_path: Path) -> Guard:
    return Guard(page, Store(tmp_path), LIMITS)


@pytest.fixture
def visitor(guard: Guard) -> Visitor:
    one = Visitor(guard)
    assert one.ask("/")[0] == 200
    return one


def test_the_page_and_what_it_needs_are_let_through(visitor: Visitor, page: Page) -> None:
    for path in (
        "/",
        "/assets/index.js",
        "/static/img/logo.svg",
        "/theme.css",
        "/gradio_api/heartbeat/abc123",
        f"{RESULT}token/after.webp",
    ):
        assert visitor.ask(path)[0] == 200, path
    assert visitor.ask("/gradio_api/cancel", "POST")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=https://example.org/",
        "/gradio_api/info",
        "/gradio_api/run/restored",
        "/gradio_api/api/predict",
        "/gradio_api/call/restored",
        "/gradio_api/component_server",
        "/gradio_api/openapi.json",
        "/gradio_api/runs",
        "/gradio_api/file/etc/passwd",
        "/monitoring",
        "/docs",
        "/login",
        "/etc/passwd",
    ],
)
def test_everything_else_is_not_found(visitor: Visitor, page: Page, path: str) -> None:
    before = len(page.asked)
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
        assert visitor.ask(path, method)[0] == 404
    assert len(page.asked) == before


def test_files_are_for_who_brought_them(guard: Guard, visitor: Visitor, page: Page, tmp_path: Path) -> None:
    file = str(tmp_path / "a" / "photo.png")
    page.uploads = [file]
    assert visitor.ask(UPLOAD, "POST", b"x" * 100)[:2] == (200, json.dumps([file]))
    assert visitor.ask(FILE + file)[0] == 200
    other = Visitor(guard, "127.0.0.2")
    other.ask("/")
    assert other.cookie != visitor.cookie
    assert other.ask(FILE + file)[:2] == (403, "no file of yours")
    assert Visitor(guard).ask(FILE + file)[0] == 403
    for path in ("/etc/passwd", f"{tmp_path}/a/../a/photo.png", f"/{file}", "http://example.org/", file + "/", "", ".."):
        assert visitor.ask(FILE + path)[0] == 403, path
    assert all(asked in (FILE + file, "/", UPLOAD) for asked, _ in page.asked)


@pytest.mark.parametrize(
    "data",
    [
        {"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}]},
        {"data": [{"path": "http://example.org/x.png", "meta": {"_type": "gradio.FileData"}}]},
        {"data": [None, [{"deep": {"path": "/etc/passwd"}}]]},
        {"data": [{"url": "http://example.org/x.png"}]},
        {"data": [{"path": ["/etc/passwd"]}]},
        "not JSON",
    ],
)
@pytest.mark.parametrize("way", ASK)
def test_a_request_names_own_files_only(visitor: Visitor, page: Page, data: Any, way: str) -> None:
    before = len(page.asked)
    body = data.encode() if isinstance(data, str) else json.dumps(data).encode()
    status, words, _ = visitor.ask(way, "POST", body)
    assert (status, json.loads(words)) == (403, {"detail": "no file of yours", "error": "no file of yours"})  # the page shows either
    assert len(page.asked) == before
    page.uploads = ["/tmp/own.png"]
    visitor.ask(UPLOAD, "POST", b"x")
    own = json.dumps({"data": [{"path": "/tmp/own.png", "url": "http://127.0.0.1/whatever"}, 3, None] * 30}).encode()
    assert visitor.ask(way, "POST", own)[0] == 200
    assert page.asked[-1] == (way, own)


def test_a_deeply_nested_request_is_refused(visitor: Visitor) -> None:
    assert visitor.ask(JOIN, "POST", b"[" * 200_000)[0] == 403


@pytest.mark.parametrize("told", [True, False])
def test_what_is_too_large_is_cut_off(visitor: Visitor, page: Page, told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "ENVELOPE", 100)
    monkeypatch.setattr(guards, "TALK", 500)
    before = len(page.asked)
    assert visitor.ask(UPLOAD, "POST", b"x" * 1101, told)[0] == 413
    for way in ASK:
        assert visitor.ask(way, "POST", b'{"a": "' + b"x" * 500 + b'"}', told)[0] == 413
    assert len(page.asked) == before
    assert visitor.ask(UPLOAD, "POST", b"x" * 1100, told)[0] == 200


@pytest.mark.parametrize("way", [UPLOAD, *ASK])
def test_only_so_many_a_minute_for_each_client(guard: Guard, visitor: Visitor, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    now = [100.0]
    monkeypatch.setattr(guards.time, "monotonic", lambda: now[0])
    guard._asked.clear()
    for _ in range(5):
        assert visitor.ask(way, "POST", b"[]")[0] == 200
    status, words, _ = visitor.ask(way, "POST", b"[]")
    said = "too many requests from you within a minute; wait 60 seconds"
    assert (status, words) == (429, said if way == UPLOAD else json.dumps({"detail": said, "error": said}))
    fresh = Visitor(guard)
    assert fresh.ask("/")[0] == 429  # nor by throwing the cookie away
    other = Visitor(guard, "127.0.0.9")
    other.ask("/")
    assert other.ask(way, "POST", b"[]")[0] == 200
    assert visitor.ask("/")[0] == 200
    now[0] += 61
    assert visitor.ask(way, "POST", b"[]")[0] == 200


@pytest.mark.parametrize("headers", [{"host": "evil.example:7860"}, {"origin": "http://evil.example"}, {"origin": "null"}, {"host": ""}])
def test_other_pages_cannot_use_this_one(visitor: Visitor, page: Page, headers: dict[str, str]) -> None:
    before = len(page.asked)
    assert visitor.ask(UPLOAD, "POST", b"x", **headers)[0] == 403
    assert visitor.ask("/", **headers)[0] == 403
    assert len(page.asked) == before


def test_its_own_origin_may(visitor: Visitor) -> None:
    assert visitor.ask(UPLOAD, "POST", b"x", origin=f"http://{HOST}")[0] == 200
    assert visitor.ask("/", host="localhost:7860")[0] == 200


def test_who_has_not_loaded_the_page_can_do_nothing(guard: Guard, page: Page) -> None:
    assert Visitor(guard).ask(UPLOAD, "POST", b"x")[0] == 403
    made_up = Visitor(guard)
    made_up.cookie = f"{LIMITS.cookie}=made-up"
    for way in ASK:
        assert made_up.ask(way, "POST", b"{}")[0] == 403
    assert page.asked == []


def test_the_cookie_is_for_the_server_alone_and_hard_to_guess(guard: Guard) -> None:
    one, two = Visitor(guard), Visitor(guard)
    _, _, headers = one.ask("/")
    assert headers["set-cookie"].endswith("; Path=/; HttpOnly; SameSite=Strict")
    two.ask("/")
    assert len(one.cookie.partition("=")[2]) >= 32
    assert one.cookie != two.cookie
    assert "set-cookie" not in one.ask("/")[2]


def test_every_answer_forbids_what_is_not_of_this_page(visitor: Visitor, page: Page, tmp_path: Path) -> None:
    for path in ("/", "/nowhere", FILE + "/etc/passwd"):
        headers = visitor.ask(path)[2]
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "http" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
    assert visitor.ask(f"{RESULT}token/result.png")[2]["cache-control"] == "no-store"
    assert visitor.ask("/assets/a.js")[2]["cache-control"] == "public"


def test_forwarded_names_are_not_believed(visitor: Visitor, page: Page) -> None:
    visitor.ask("/", x_forwarded_host="evil.example", x_forwarded_for="10.0.0.1")
    assert not [name for name in page.headers if name.startswith("x-forwarded")]


def test_a_full_folder_takes_nothing_in(page: Page, tmp_path: Path) -> None:
    guard = Guard(page, Store(tmp_path, room=10), LIMITS)
    visitor = Visitor(guard)
    visitor.ask("/")
    assert visitor.ask(UPLOAD, "POST", b"x")[0] == 200
    (tmp_path / "large").write_bytes(bytes(10))
    assert visitor.ask(UPLOAD, "POST", b"x")[0] == 507


def test_sockets_are_closed(guard: Guard) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(guard({"type": "websocket", "path": "/", "headers": []}, None, send))  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]
