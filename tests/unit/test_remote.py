"""Model files from elsewhere, against a server of our own on loopback and caches filled by hand."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest

import restorekit as rk
from restorekit import methods, remote
from restorekit.cli import main
from restorekit.interfaces import Generator

COMMIT = "c0ffee" + "0" * 34


class Server:
    """Serves `content` at any path and as file of the repositories ``owner/name`` of a hub, and notes what was asked for.

    Attributes:
        url: where it is.
        content: what it serves.
        etag: what the hub says that the digest is.
        asked: paths of requests.
    """

    def __init__(self, content: bytes) -> None:
        self.content, self.etag, self.asked, self.short = content, hashlib.sha256(content).hexdigest(), list[str](), 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, *, body: bool) -> None:
                server.asked.append(self.path)
                there = self.path.startswith(("/files/", "/owner/name/resolve/main/", "/owner/name/resolve/v1/"))
                content = server.content if there and "absent" not in self.path else b"no such thing"
                self.send_response(200 if content is server.content else 404)
                if content is not server.content and self.path.startswith("/owner/name/"):
                    self.send_header("X-Error-Code", "EntryNotFound" if "/main/" in self.path else "RevisionNotFound")
                elif content is not server.content:
                    self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("ETag", f'"{server.etag}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.end_headers()
                if body:
                    self.wfile.write(content[: len(content) - server.short])
                    self.close_connection = bool(server.short)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model file of a network that needs no weights to speak of."""
    path = tmp_path_factory.mktemp("made") / "model.safetensors"
    recipe = rk.recipe({"recipe": 1, "generator": {"part": "deblurgan/resnet9", "blocks": 0, "width": 2}, "losses": ["core/l1"]}).check()
    spec = dict(recipe.content["generator"])
    generator: Generator = rk.registry().create("generator", spec.pop("part"), **spec)
    rk.Model(generator.eval(), recipe).save(path)
    return path.read_bytes()


@pytest.fixture
def server(model_file: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with the model file, and caches in `tmp_path`."""
    running = Server(model_file)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv(remote.OFFLINE, raising=False)
    here = functools.partial(huggingface_hub.hf_hub_download, endpoint=running.url, cache_dir=tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", here)
    yield running
    running.close()


def kept(tmp_path: Path) -> list[str]:
    """Names of whatever lies in the caches that could be taken for a model."""
    found = [path.name for cache in ("torch", "hub") for path in (tmp_path / cache).rglob("*") if path.is_file() or path.is_symlink()]
    return [name for name in found if name.endswith((".safetensors", ".partial", ".incomplete")) or len(name) == 64]


def test_a_file_from_the_web_is_fetched_once(server: Server, tmp_path: Path) -> None:
    address = f"{server.url}/files/sharp%20one.safetensors#sha256={server.etag}"
    method = methods.resolve(address)
    assert (method.label, method.part) == ("sharp one", "core/network")
    first = remote.local(address)
    assert first.read_bytes() == server.content
    assert first.is_relative_to(tmp_path / "torch")
    assert len(server.asked) == 1


def test_python_and_info_take_addresses(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    address = f"{server.url}/files/model.safetensors#sha256={server.etag.upper()}"
    assert rk.load(address).recipe.content["generator"]["part"] == "deblurgan/resnet9"
    assert main(["info", address]) == 0
    assert "deblurgan/resnet9" in capsys.readouterr().out


def test_of_another_digest_nothing_is_kept(server: Server, tmp_path: Path) -> None:
    with pytest.raises(rk.UserError, match=rf"its SHA-256 is {server.etag}; nothing was kept"):
        remote.local(f"{server.url}/files/model.safetensors#sha256={'0' * 64}")
    assert kept(tmp_path) == []
    assert not list((tmp_path / "torch").rglob("0" * 64))


def test_of_a_download_that_breaks_off_nothing_is_kept(server: Server, tmp_path: Path) -> None:
    server.short = 10
    with pytest.raises(rk.UserError, match=r"nothing was kept|cannot be fetched"):
        remote.local(f"{server.url}/files/model.safetensors#sha256={server.etag}")
    assert kept(tmp_path) == []


def test_a_file_in_the_cache_that_was_changed_is_fetched_again(server: Server) -> None:
    address = f"{server.url}/files/model.safetensors#sha256={server.etag}"
    file = remote.local(address)
    file.write_bytes(b"tampered with")
    assert remote.local(address).read_bytes() == server.content
    assert len(server.asked) == 2


def test_offline_the_cache_is_used_and_nothing_asked_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"{server.url}/files/model.safetensors#sha256={server.etag}"
    monkeypatch.setenv(remote.OFFLINE, "1")
    with pytest.raises(rk.UserError, match=r"not in the cache, and HF_HUB_OFFLINE is set. Put it there yourself: ") as refusal:
        remote.local(address)
    by_hand = Path(str(refusal.value).rpartition(": ")[2])
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(server.content)
    assert remote.local(address) == by_hand
    assert server.asked == []
    by_hand.write_bytes(b"another")
    with pytest.raises(rk.UserError, match="not in the cache"):
        remote.local(address)
    assert not by_hand.exists()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("https://example.org/model.safetensors", r"by its SHA-256 .*model.safetensors#sha256=…"),
        ("https://example.org/model.safetensors#sha256=12ab", "64 hexadecimal digits"),
        ("https://example.org/model.safetensors#md5=" + "0" * 64, "by its SHA-256"),
        ("https://example.org/model.pth#sha256=" + "0" * 64, "only model files"),
        ("hf://owner/model.safetensors", "expected hf://owner/name/file.safetensors"),
        ("hf://owner/name/", "expected hf://owner/name/file.safetensors"),
        ("hf://owner/name/model.pth", "only model files"),
        ("hf://owner/name/model.safetensors#sha256=zz", "by its SHA-256"),
        ("hf://-owner-/na--me/model.safetensors", "cannot be fetched"),
    ],
)
def test_addresses_that_are_none_are_refused(server: Server, address: str, message: str) -> None:
    with pytest.raises(rk.UserError, match=message):
        methods.resolve(address)
    assert server.asked == []


def test_what_a_server_has_not_is_said(server: Server) -> None:
    with pytest.raises(rk.UserError, match="cannot be fetched: HTTP Error 404"):
        remote.local(f"{server.url}/files/absent.safetensors#sha256={server.etag}")
    closed = server.url.rpartition(":")[0] + ":9"
    with pytest.raises(rk.UserError, match=r"cannot be fetched: .*refused"):
        remote.local(f"{closed}/files/model.safetensors#sha256={server.etag}")


@pytest.mark.parametrize("address", ["hf://owner/name/model.safetensors", "hf://owner/name@v1/model.safetensors"])
def test_a_file_from_the_hub_is_fetched_once(server: Server, address: str, tmp_path: Path) -> None:
    method = methods.resolve(address)
    assert (method.label, method.part) == ("model", "core/network")
    file = remote.local(address)
    assert file.read_bytes() == server.content
    assert file.is_relative_to(tmp_path / "hub" / "models--owner--name" / "snapshots" / COMMIT)
    revision = "v1" if "@" in address else "main"
    assert set(server.asked) == {f"/owner/name/resolve/{revision}/model.safetensors"}


def test_a_file_from_the_hub_whose_digest_does_not_match_is_not_kept(server: Server, tmp_path: Path) -> None:
    with pytest.raises(rk.UserError, match=rf"its SHA-256 is {server.etag}, expected {'1' * 64}; nothing was kept"):
        remote.local(f"hf://owner/name/model.safetensors#sha256={'1' * 64}")
    assert kept(tmp_path) == []
    right, server.etag = server.etag, "2" * 64  # the hub itself says another digest
    with pytest.raises(rk.UserError, match=rf"its SHA-256 is {right}, expected {'2' * 64}; nothing was kept"):
        remote.local("hf://owner/name/model.safetensors")
    assert kept(tmp_path) == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://owner/name/absent.safetensors", "owner/name has no file absent.safetensors"),
        ("hf://owner/name@v9/model.safetensors", "owner/name has no revision v9"),
        ("hf://owner/other/model.safetensors", "no repository owner/other on the Hub"),
    ],
)
def test_what_the_hub_has_not_is_said(server: Server, address: str, message: str) -> None:
    with pytest.raises(rk.UserError, match=message):
        remote.local(address)


def test_offline_the_hubs_cache_is_used(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(remote.OFFLINE, "1")
    with pytest.raises(rk.UserError, match="not in the cache, and HF_HUB_OFFLINE is set"):
        remote.local("hf://owner/name/model.safetensors")
    repository = tmp_path / "hub" / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(server.content)
    assert remote.local("hf://owner/name/model.safetensors") == snapshot / "model.safetensors"
    assert server.asked == []


def test_a_photograph_is_restored_by_a_model_from_elsewhere(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    Image.new("RGB", (24, 20), (90, 120, 30)).save(tmp_path / "photo.png")
    for number, address in enumerate(("hf://owner/name/model.safetensors", f"{server.url}/files/model.safetensors#sha256={server.etag}")):
        out = tmp_path / f"{number}.png"
        assert main(["restore", str(tmp_path / "photo.png"), "-o", str(out), "--with", address, "--device", "cpu"]) == 0
        assert Image.open(out).size == (24, 20)
    absent = "hf://owner/name/absent.safetensors"
    assert main(["restore", str(tmp_path / "photo.png"), "-o", str(tmp_path / "no.png"), "--with", absent]) == 2
    assert capsys.readouterr().err.startswith(f"error: {absent}")
    assert not (tmp_path / "no.png").exists()
