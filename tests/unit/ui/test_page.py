"""The page in a real browser: Debian's Chromium, driven by Playwright, before a server started as a person would."""

from __future__ import annotations

import http.client
import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from restorekit.cli import main

WAIT = 90_000
"""Milliseconds; the machine may be busy."""

JSON = {"content-type": "application/json"}


class Person:
    """Somebody before the page, in a browser session of their own."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.address = address
        self.context = browser.new_context(**{"viewport": {"width": 1300, "height": 900}, **options})
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT)
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda fault: self.complaints.append(str(fault)))
        self.page.on("request", self._asked)
        self.page.goto(address)
        self.page.wait_for_selector(".rk-empty")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((f"{self.address}/", "data:", f"blob:{self.address}/")):
            self.elsewhere.append(request.url)

    def drop(self, file: Path | dict[str, Any], place: str = "#rk-picture") -> None:
        self.page.set_input_files(f"{place} input[type=file]", file)
        name = file["name"] if isinstance(file, dict) else file.name
        self.page.wait_for_selector(f"{place} .file-preview" if not name else f"{place} :text('{Path(name).suffix}')")

    def choose(self, method: str) -> None:
        self.page.click("#rk-method input")
        self.page.locator("[role=option]").filter(has_text=method).click()
        self.page.wait_for_timeout(500)

    def restore(self) -> None:
        self.page.click("#rk-go")

    def done(self) -> str:
        """The command that does the same, once the result is there."""
        self.page.wait_for_selector(".rk-download")
        return str(self.page.text_content(".rk-stage pre"))

    def fault(self) -> str:
        return str(self.page.locator(".rk-fault").text_content())

    def download(self) -> tuple[str, bytes]:
        with self.page.expect_download() as download:
            self.page.click(".rk-download")
        return download.value.suggested_filename, Path(download.value.path()).read_bytes()


@pytest.fixture
def person(browser: Any, server: Any) -> Iterator[Person]:
    """Somebody whose page neither complains nor asks anybody else for anything."""
    one = Person(browser, server.address)
    yield one
    assert one.complaints == []
    assert one.elsewhere == []
    assert one.page.evaluate("window.hurt") is None
    one.context.close()


def by_command_line(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.chdir(folder)
    _, *arguments = shlex.split(command)
    assert main([*arguments, "--device", "cpu", "--overwrite"]) == 0
    return (folder / arguments[arguments.index("-o") + 1]).read_bytes()


def split(person: Person) -> float:
    return float(person.page.eval_on_selector(".rk-compare", "box => parseFloat(box.style.getPropertyValue('--at'))"))


def test_a_picture_is_dropped_restored_compared_and_downloaded(person: Person, given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = person.page
    assert page.title() == "restorekit"
    assert page.locator("footer:visible").count() == 0
    person.drop(given / "cat.jpg")
    page.wait_for_selector(".rk-compare img")
    assert "80×64 pixels, JPEG" in page.inner_text("#rk-view")
    person.choose("core/tv-denoise")
    page.click("#rk-options button")
    page.locator("#rk-options label", has_text="weight").locator("textarea, input").fill("0.2")
    person.restore()
    command = person.done()
    assert "--set weight=0.2" in command
    page.wait_for_function("[...document.querySelectorAll('.rk-compare img')].every(one => one.complete && one.naturalWidth == 80)")
    assert split(person) == 50
    page.focus(".rk-compare input")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert split(person) == 55
    assert "45%" in page.eval_on_selector(".rk-before", "image => getComputedStyle(image).clipPath")
    box = page.locator(".rk-compare").bounding_box()
    page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 0.7 * box["height"])
    assert abs(split(person) - 20) < 3
    name, data = person.download()
    assert name == "cat-restored.jpg"
    assert data == by_command_line(command, given, monkeypatch)
    with Image.open(io.BytesIO(data)) as opened, Image.open(given / "cat.jpg") as original:
        assert dict(opened.getexif()) == dict(original.getexif())


def test_the_shipped_model_and_transparency(person: Person, given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    person.drop(given / "cat.webp")
    person.restore()
    command = person.done()
    assert "deblurgan/shipped" in command
    name, data = person.download()
    assert (name, data) == ("cat-restored.webp", by_command_line(command, given, monkeypatch))


def test_second_inputs_appear_for_methods_that_read_them(person: Person, given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = person.page
    for place in ("#rk-mask", "#rk-psf", "#rk-reference", "#rk-model"):
        assert page.locator(place).count() == 0 or page.locator(place).is_hidden()
    person.drop(given / "deep.png")
    person.choose("core/biharmonic-inpaint")
    assert page.locator("#rk-mask").is_visible()
    person.restore()
    assert "this method needs the mask" in person.fault()
    person.drop(given / "hole.png", "#rk-mask")
    person.restore()
    command = person.done()
    assert person.download()[1] == by_command_line(command, given, monkeypatch)  # all 16 bits
    person.choose("core/wiener")
    assert page.locator("#rk-mask").count() == 0 or page.locator("#rk-mask").is_hidden()
    assert page.locator("#rk-psf").is_visible()


def test_names_and_descriptions_are_shown_as_they_are(person: Person, given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = person.page
    (hostile,) = given.glob("<img*")
    with Image.open(hostile) as opened:
        description = opened.getexif()[0x010E]
    person.drop(hostile)
    page.wait_for_selector(".rk-facts")
    shown = page.inner_text("#rk-view")
    assert hostile.name in shown
    assert description in shown
    person.choose("core/identity")
    person.restore()
    command = person.done()
    assert f"{hostile.stem}-restored.jpg" in page.inner_text("#rk-view")
    assert person.download()[1] == by_command_line(command, given, monkeypatch)
    page.click("#rk-picture button[aria-label*='lear'], #rk-picture button[aria-label*='emove']")
    page.wait_for_selector(".rk-empty")
    person.drop({"name": "<i>no & picture.png", "mimeType": "image/png", "buffer": b"not a picture"})
    page.wait_for_selector(".rk-fault")
    assert person.fault().startswith("<i>no & picture.png: not an image that can be read here")
    assert page.locator("#rk-view i").count() == 0


def test_what_is_too_large_is_said(browser: Any, server: Any, given: Path) -> None:
    one = Person(browser, server.address)
    one.page.set_input_files("#rk-picture input[type=file]", {"name": "big.png", "mimeType": "image/png", "buffer": os.urandom(1_300_000)})
    one.page.wait_for_selector(":text('exceed the maximum allowed size of 1.0')")
    status = one.context.request.post(
        f"{server.address}/gradio_api/upload", multipart={"files": {"name": "b.png", "mimeType": "image/png", "buffer": bytes(1_300_000)}}
    )
    assert status.status == 413
    stream = io.BytesIO()
    Image.new("L", (1200, 1000)).save(stream, "PNG")
    fresh = Person(browser, server.address)
    fresh.drop({"name": "wide.png", "mimeType": "image/png", "buffer": stream.getvalue()})
    fresh.page.wait_for_selector(".rk-fault")
    assert fresh.fault().startswith("wide.png: 1200×1000 pixels; this page takes 1 megapixels at most")
    one.context.close()
    fresh.context.close()


def test_two_people_at_once_get_their_own_and_only_that(browser: Any, server: Any, given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    anna, bert = (Person(browser, server.address) for _ in range(2))
    pictures = {anna: given / "cat.png", bert: given / "cup.png"}
    for one, picture in pictures.items():
        one.drop(picture)
        one.choose("core/nlm-denoise")
    for one in pictures:
        one.restore()  # neither waits for the other
    addresses = {}
    for one, picture in pictures.items():
        command = one.done()
        name, data = one.download()
        assert name == f"{picture.stem}-restored.png"
        assert data == by_command_line(command, given, monkeypatch)
        addresses[one] = [one.page.get_attribute(".rk-download", "href")]
        addresses[one] += one.page.eval_on_selector_all(".rk-compare img", "all => all.map(one => one.getAttribute('src'))")
        addresses[one].append(one.page.get_attribute("#rk-picture a", "href").removeprefix(server.address))
    for one, other in ((anna, bert), (bert, anna)):
        for address in addresses[one]:
            assert one.context.request.get(server.address + address).status == 200, address
            assert other.context.request.get(server.address + address).status in (403, 404), address
    stranger = browser.new_context()
    for address in (*addresses[anna], *addresses[bert]):
        assert stranger.request.get(server.address + address).status in (403, 404)
    for context in (anna.context, bert.context, stranger):
        context.close()


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../../etc/passwd",
        "/gradio_api/file=%2Fetc%2Fpasswd",
        "/gradio_api/file=http://example.org/",
        "/gradio_api/file=file:///etc/passwd",
        "/file=/etc/passwd",
        "/picture/../../etc/passwd",
        "/picture/x/..%2f..%2fetc%2fpasswd",
        "/static/../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/__init__.py",
        "/assets/..%2f..%2f..%2f__init__.py",
        "/gradio_api/proxy=https://example.org/",
        "/gradio_api/info",
        "/config",
        "/docs",
    ],
)
def test_nothing_but_its_own_files_is_served(server: Any, path: str) -> None:
    status, _, headers = asked(server, "/")
    assert status == 200
    status, body, _ = asked(server, path, headers["set-cookie"].partition(";")[0])  # unlike browsers it leaves the path as it is
    assert status in (403, 404), body


def asked(server: Any, path: str, cookie: str = "") -> tuple[int, str, Any]:
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"))
    connection.request("GET", path, headers={"cookie": cookie})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), answer.headers


@pytest.mark.parametrize("way", ["queue/join", "run/predict"])
def test_a_request_by_hand_cannot_name_files_of_the_machine(browser: Any, server: Any, given: Path, way: str) -> None:
    context = browser.new_context()
    config = context.request.get(f"{server.address}/").text()
    assert "gradio_config" in config
    for number in range(8):
        named = {"path": str(given / "cat.png"), "orig_name": "cat.png", "meta": {"_type": "gradio.FileData"}}
        body = {"data": [named] * 3, "fn_index": number, "session_hash": "abc", "trigger_id": 1}
        answer = context.request.post(f"{server.address}/gradio_api/{way}", data=json.dumps(body), headers=JSON)
        assert (answer.status, answer.json()) == (403, {"detail": "no file of yours", "error": "no file of yours"})
    context.close()


def test_the_restoration_alone_waits_in_the_queue_and_cannot_be_had_without(browser: Any, server: Any) -> None:
    """Two events on the queue's stream at once cost the second one's result, now and then: gradio 6.31 closes it after the first."""
    context = browser.new_context()
    page = context.request.get(f"{server.address}/").text()
    config = json.JSONDecoder().raw_decode(page, page.index("{", page.index("window.gradio_config")))[0]
    queued = [event for event in config["dependencies"] if event["queue"]]
    assert [event["api_name"] for event in queued] == ["restored"]
    body = {"data": [None] * len(queued[0]["inputs"]), "fn_index": queued[0]["id"], "session_hash": "abc"}
    answer = context.request.post(f"{server.address}/gradio_api/run/predict", data=json.dumps(body), headers=JSON)
    assert answer.status == 404
    context.close()


@pytest.mark.parametrize("width", [320, 390])
def test_nothing_runs_off_a_phone(browser: Any, server: Any, given: Path, width: int) -> None:
    one = Person(browser, server.address, viewport={"width": width, "height": 740}, color_scheme="dark")
    one.drop(given / "cat.jpg")
    one.choose("core/identity")
    one.restore()
    one.done()
    one.page.click("#rk-options button")
    one.page.click("#rk-more button")
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width
    view, control = one.page.locator("#rk-view").bounding_box(), one.page.locator("#rk-picture").bounding_box()
    assert view["y"] >= control["y"] + control["height"]  # one column
    one.context.close()


def test_the_server_s_own_output_is_quiet(server: Any) -> None:
    assert [line for line in server.said if "Traceback" in line or "rror" in line] == []


def test_without_gradio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["ui"]) == 2
    assert "pip install 'restorekit[ui]'" in capsys.readouterr().err


def test_others_are_let_in_only_on_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ui", "--host", "0.0.0.0"]) == 2
    assert "add --expose" in capsys.readouterr().err


def test_its_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from restorekit.cli import main; main(['ui', '--help']); print([n for n in ('torch', 'gradio') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--expose" in done.stdout
    assert done.stdout.endswith("[]\n")
