"""The page in a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from restorekit import bench
from restorekit.bench import webpage
from restorekit.bench.board import board
from restorekit.registries import Registry

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WriteSuite = Callable[..., str]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, registry: Registry, photographs: Path) -> Path:
    folder = tmp_path_factory.mktemp("page")
    degradations = {
        "noise": {"part": "core/gaussian-noise", "sigma": 0.1},
        "holes": {"part": "core/mask", "shape": "boxes"},
        "none": {"part": "core/gaussian-noise", "sigma": 0.0},
    }
    content = {"suite": 1, "data": {"images": str(photographs)}, "degradations": degradations, "metrics": ["core/psnr", "core/ssim"]}
    (folder / "<b>suite.yaml").write_text(json.dumps(content))
    hostile = folder / "<b>hostile.yaml"  # names are shown as they are, whatever is in them
    hostile.write_text("part: test/smooth\n")
    methods = ["test/smooth", "test/oracle", "test/filler", "test/landscape", str(hostile)]
    return bench.run_suite(str(folder / "<b>suite.yaml"), methods, folder / "out", registry=registry).parent


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs a browser: apt-get install chromium, or name one in the environment variable CHROMIUM")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, out: Path) -> Iterator[Any]:
    """The page, opened from its file; what it complains of or asks the network for fails the test."""
    context = browser.new_context(viewport={"width": 1100, "height": 800}, offline=True)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda fault: complaints.append(str(fault)))
    opened.on("request", lambda request: complaints.append(request.url) if not request.url.startswith(("file:", "data:")) else None)
    opened.goto((out / "leaderboard.html").as_uri())
    opened.wait_for_selector("#details canvas")
    yield opened
    assert complaints == []
    context.close()


def column(page: Any, number: int) -> list[str]:
    return page.eval_on_selector_all(f"#table tbody tr td:nth-child({number})", "cells => cells.map(cell => cell.firstChild.textContent)")


def test_the_leaderboard_shows_what_the_results_say(page: Any, out: Path) -> None:
    found = board(out)
    assert page.title() == "<b>suite · restorekit bench"
    assert column(page, 2) == [line.method for line in found.lines]
    expected = [line.standings["core/psnr", "all"].mean for line in found.lines]
    assert [shown for shown, mean in zip(column(page, 3), expected, strict=True) if mean] == [f"{m.value:.2f}" for m in expected if m]
    page.select_option("#metric", "1")
    page.select_option("#column", "noise")
    scores = {line.method: line.standings["core/ssim", "noise"].mean for line in found.lines}
    shown = dict(zip(column(page, 2), column(page, 3), strict=True))
    assert {method: f"{mean.value:.4f}" for method, mean in scores.items() if mean}.items() <= shown.items()
    assert shown["test/filler"] == "n/a"
    assert shown["test/landscape"] == "–"
    assert "Compared" in page.text_content("#compared")
    assert "test/filler" in page.text_content("#missed")
    assert page.locator("b").count() == 0  # no name was taken for HTML


def test_a_click_on_a_heading_sorts_and_says_so(page: Any) -> None:
    page.select_option("#column", "noise")
    for heading, number, kind in (("method", 2, str), ("s/image", 7, float), ("psnr", 3, float)):
        button = page.locator("#table thead button", has_text=heading)
        button.click()
        first = page.get_attribute(f"#table thead th:nth-child({number})", "aria-sort")
        once = column(page, number)
        assert heading in page.text_content("#said")
        page.locator("#table thead button", has_text=heading).press("Enter")  # by keyboard, the focus stays
        second = page.get_attribute(f"#table thead th:nth-child({number})", "aria-sort")
        assert {first, second} == {"ascending", "descending"}
        values = [kind(text) for text in once if not text.startswith(("n/a", "–"))]
        assert values == sorted(values, reverse=first == "descending"), heading
        assert column(page, number) != once


def test_the_slider_moves_by_mouse_and_by_keyboard(page: Any) -> None:
    def edge() -> float:
        return float(page.eval_on_selector("#edge", "edge => parseFloat(edge.style.left)"))

    assert edge() == 50
    page.focus("#split")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert edge() == 55
    assert "45%" in page.eval_on_selector("#over", "image => image.style.clipPath")
    box = page.locator("#split").bounding_box()
    page.locator("#split").click(position={"x": box["width"] * 0.2, "y": box["height"] / 2})
    assert abs(edge() - 20) < 3
    page.keyboard.press("Home")
    assert edge() == 0


def test_images_and_methods_can_be_switched(page: Any) -> None:
    assert page.input_value("#left") == "core/identity"
    before = page.get_attribute("#under", "src")
    page.select_option("#right", "sharp")
    assert page.get_attribute("#under", "src") != before
    assert "the target" in page.text_content("#scored")
    options = page.eval_on_selector_all("#view option", "options => options.map(option => option.textContent)")
    assert len(options) == 6
    seen = set()
    for option in options:
        page.select_option("#view", label=option)
        page.wait_for_function("document.getElementById('over').complete && document.getElementById('over').naturalWidth > 0")
        seen.add(page.get_attribute("#over", "src"))
        assert page.input_value("#right") == "sharp"
    assert len(seen) == 6


def test_every_method_shows_the_same_detail(page: Any) -> None:
    page.select_option("#view", label="face.png, noise")
    read = "() => [...document.querySelectorAll('#details canvas')].map(one => one.width + one.toDataURL())"

    def changed(before: list[str]) -> list[str]:
        page.wait_for_function(f"before => !({read})().some((one, i) => one === before[i])", arg=before)
        return list(page.evaluate(read))

    page.evaluate("drawDetails()")  # ends when they are drawn
    before = list(page.evaluate(read))
    assert len(before) == len(set(before)) + 2  # two pairs of methods do the same here
    names = page.eval_on_selector_all("#details figcaption", "all => all.map(one => one.firstChild.textContent)")
    assert names[-1] == "sharp"
    assert "core/identity" in names
    page.locator("#slider").click(position={"x": 5, "y": 5})
    moved = changed(before)
    assert len(moved) == len(names)
    frame = page.eval_on_selector("#frame", "frame => [frame.style.left, frame.style.top]")
    assert frame == ["0%", "0%"]
    page.select_option("#zoom", "8")
    assert len(changed(moved)) == len(names)
    page.focus("#across")
    page.keyboard.press("End")
    assert page.eval_on_selector("#frame", "frame => parseFloat(frame.style.left)") > 80


def test_best_and_worst_case_of_each_method(page: Any, out: Path) -> None:
    page.select_option("#case-method", "test/smooth")
    page.wait_for_function("() => [...document.querySelectorAll('#cases img')].every(one => one.complete)")
    text = page.eval_on_selector_all("#cases p", "all => all.map(one => one.textContent)")
    base = {key(row): row["value"] for row in bench.rows(out) if (row["method"], row["metric"]) == ("core/identity", "core/psnr")}
    own = {key(row): row["value"] for row in bench.rows(out) if (row["method"], row["metric"]) == ("test/smooth", "core/psnr")}
    gains = {place: own[place] - base[place] for place in own if base[place] != "inf"}
    for line, place in zip(text, (max(gains, key=gains.get), min(gains, key=gains.get)), strict=True):
        assert all(part in line for part in place), line
        assert f"{gains[place]:+.2f} against doing nothing" in line
    assert page.locator("#cases img").count() == 6
    assert page.eval_on_selector_all("#cases img", "all => all.every(one => one.naturalWidth > 0)")


def key(row: dict[str, Any]) -> tuple[str, str]:
    return row["image"], row["degradation"]


def test_the_plot_has_a_point_for_every_method_with_a_mean(page: Any) -> None:
    page.select_option("#column", "noise")
    assert page.locator("#plot circle").count() == 2  # test/smooth, twice
    assert page.locator("#plot rect").count() == 1  # the oracle, which is told
    assert page.locator("#plot path").count() == 1  # doing nothing
    assert page.locator("#legend li").count() == 4


@pytest.mark.parametrize("width", [320, 390])
def test_nothing_runs_off_a_phone(browser: Any, out: Path, width: int) -> None:
    opened = browser.new_page(viewport={"width": width, "height": 740})
    opened.goto((out / "leaderboard.html").as_uri())
    opened.wait_for_selector("#details canvas")
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    wide = opened.evaluate(
        "[...document.querySelectorAll('main *')].filter(one => !one.closest('.wide') && !one.closest('.slider')"
        " && one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 80))"
    )
    assert wide == []
    opened.close()


def test_everything_can_be_reached_by_keyboard(page: Any) -> None:
    page.evaluate("document.body.focus()")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent.slice(0, 12)"))
    assert {"column", "metric", "view", "left", "right", "split", "zoom", "across", "down", "case-method"} <= reached
    assert any("method" in name for name in reached)  # the headings that sort


def test_colours_can_be_told_apart_by_shape_and_by_eye(page: Any) -> None:
    kinds = {"circle": "blind", "rect": "told", "path": "base"}
    page.select_option("#column", "noise")
    for shape, kind in kinds.items():
        assert page.locator(f"#plot g.{kind} {shape}").count() >= 1
    style = page.evaluate("[...document.styleSheets].flatMap(sheet => [...sheet.cssRules]).map(rule => rule.cssText).join(' ')")
    used = set(re.findall(r"--(?:blind|told): (#\w{6})", style))
    okabe_ito = {"#0072b2", "#d55e00", "#56b4e9", "#e69f00"}
    assert used == okabe_ito


def test_the_table_does_not_wait_for_the_pictures(browser: Any, out: Path, tmp_path: Path) -> None:
    text = (out / "leaderboard.html").read_text()
    (tmp_path / "cut.html").write_text(
        text[: text.index('<script type="application/json" id="blobs">')]
    )  # as if the rest were still to come
    opened = browser.new_page()
    opened.goto((tmp_path / "cut.html").as_uri())
    assert len(column(opened, 2)) == len(board(out).lines)
    assert opened.locator("#plot svg").count() == 1
    opened.close()


def test_the_page_is_the_same_for_the_same_results(out: Path) -> None:
    assert webpage.page(out) == webpage.page(out) == (out / "leaderboard.html").read_text()
    assert "http://" not in (text := webpage.page(out)).replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text


def test_pictures_stay_within_the_budget(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def blobs(text: str) -> list[str]:
        found = re.search(r'id="blobs">(.*)</script>', text)
        assert found is not None
        return list(json.loads(found[1]))

    whole = blobs(webpage.page(out))
    monkeypatch.setattr(webpage, "BUDGET", 20_000)
    part = blobs(webpage.page(out))
    assert 0 < sum(len(blob) for blob in part) * 3 / 4 < 20_000 < sum(len(blob) for blob in whole) * 3 / 4


def test_a_page_without_pictures_says_so(tmp_path: Path, out: Path, browser: Any) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("rows.jsonl", "manifest.json"):
        shutil.copy(out / name, copy)
    (copy / "page.html").write_text(webpage.page(copy))
    opened = browser.new_page()
    opened.goto((copy / "page.html").as_uri())
    opened.wait_for_selector("#no-pictures:not([hidden])")
    assert opened.locator("#pictures").is_hidden()
    assert column(opened, 2)
    opened.close()
