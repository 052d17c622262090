"""The leaderboard as one page that needs nothing else: numbers, plot and a choice of pictures in one HTML file."""

from __future__ import annotations

import base64
import html
import importlib.resources
import io
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from restorekit import comparison
from restorekit.bench import export, pictures, table
from restorekit.bench.board import ALL, Board, board
from restorekit.bench.names import BASELINE
from restorekit.bench.scores import Cell

TEMPLATE = "templates/page.html"

BUDGET = 5_600_000
"""Bytes of pictures at most; base64 makes a third more of them, which keeps the page under 8 MB."""

QUANTILES = (0.5, 0.1, 0.9, 0.3, 0.7)
"""Which images of a degradation are shown with all methods, by how well doing nothing scores, until the budget is spent."""

WIDEST = 900
"""Larger pictures are reduced to this, in pixels."""

DETAIL = 144
"""Side of the details that show a method's best and worst case, in pixels."""


def page(folder: Path) -> str:
    """The results in `folder` as HTML. The same results give the same page.

    Raises:
        UserError: no results there, damaged ones, or a shard of them.
    """
    found = board(folder)
    shown = _Pictures(Path(folder))
    data = {
        "suite": found.about["suite"],
        "protocol": found.about["protocol"],
        "size": table.size(found),
        "gives": {name: names for name, names in found.about["gives"].items() if names},
        "columns": found.columns,
        "metrics": [
            {"name": name, "title": found.title(name), "digits": found.digits(name), "higher": declared["higher_is_better"]}
            for name, declared in found.about["metrics"].items()
        ],
        "compared": {column: table.compared(found, column) for column in found.columns},
        "baseline": BASELINE,
        "methods": _methods(found),
        "missed": [
            {"method": one.method, "status": one.status, "damages": one.degradations, "images": one.cells, "reason": one.reason}
            for one in found.missed()
        ],
        "cases": _cases(found, shown),
        "views": _views(found, shown),
    }
    text = importlib.resources.files("restorekit.bench").joinpath(TEMPLATE).read_text(encoding="utf-8")
    for mark, value in (
        ("@@TITLE@@", html.escape(f"{found.about['suite']} · restorekit bench")),
        ("@@DATA@@", _inside_script(data)),
        ("@@BLOBS@@", _inside_script(shown.blobs)),
    ):
        text = text.replace(mark, value)
    return text


def _inside_script(value: Any) -> str:
    """JSON that no HTML parser takes for the end of its element."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _methods(found: Board) -> list[dict[str, Any]]:
    standings: dict[str, dict[str, dict[str, Any]]] = {}
    for line in export.standings(found):
        shown = {key: _short(line[key]) for key in ("mean", "low", "high", "infinite", "gain", "gain_low", "gain_high", "gain_cells")}
        shown |= {key: line[key] for key in ("wins", "ties", "losses", "failed", "not_applicable")}
        standings.setdefault(line["method"], {}).setdefault(line["metric"], {})[line["degradation"]] = shown
    return [
        {
            "name": line.method,
            "rank": line.rank,
            "told": table.blind(line.entry),
            "blind": line.entry["blind"],
            "licence": line.entry["licence"],
            "paper": line.entry["paper"],
            "parameters": None if line.entry["network"] is None else line.entry["network"]["parameters"],
            "seconds": None if line.entry["seconds"] is None else {k: _short(v) for k, v in line.entry["seconds"].items()},
            "memory": line.entry["peak_memory_mb"],
            "threads": line.entry["threads"],
            "standings": standings[line.method],
        }
        for line in found.lines
    ]


def _short(value: Any) -> Any:
    """A number as short as the page needs it, and infinity as text."""
    if isinstance(value, float):
        return float(f"{value:.10g}") if math.isfinite(value) else str(value)
    return value


class _Pictures:
    """The pictures that go into the page, each once, as base64.

    Args:
        out: folder of the results.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self.blobs: list[str] = []
        self._numbers: dict[bytes, int] = {}
        self.spent = 0

    def file(self, method: str, cell: Cell) -> Path | None:
        """Where a result is kept, if it is."""
        image, degradation, draw = cell
        path = pictures.path(self._out, method, image, degradation, draw)
        return path if path.is_file() else None

    def target(self, cell: Cell) -> Path | None:
        """Where the sharp picture is kept, if it is."""
        path = pictures.path(self._out, pictures.TARGET, cell[0])
        return path if path.is_file() else None

    def add(self, content: bytes) -> int:
        """The number of a picture."""
        if content not in self._numbers:
            self._numbers[content] = len(self.blobs)
            self.blobs.append(base64.b64encode(content).decode())
            self.spent += len(content)
        return self._numbers[content]


def _content(path: Path) -> tuple[bytes, tuple[int, int]]:
    """A picture for the page, reduced where it is large, and its width and height."""
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as picture:
        if max(picture.size) <= WIDEST:
            return content, picture.size
        picture.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
        return pictures.encoded(picture), picture.size


def _views(found: Board, shown: _Pictures) -> list[dict[str, Any]]:
    """Cells that are shown with every method, as many as the budget allows, spread over degradations and difficulties."""
    views: list[dict[str, Any]] = []
    taken: set[Cell] = set()
    for quantile in QUANTILES:
        for degradation in found.about["degradations"]:
            cell = _at(found, degradation, quantile, taken)
            if cell is None:
                continue
            view = _view(found, shown, cell)
            if view is not None:
                taken.add(cell)
                views.append(view)
    order = {name: i for i, name in enumerate(found.about["degradations"])}
    return sorted(views, key=lambda view: (order[view["degradation"]], view["image"], view["draw"]))


def _at(found: Board, degradation: str, quantile: float, taken: set[Cell]) -> Cell | None:
    """The cell at a quantile of difficulty."""
    scores = found.scores[found.first, degradation].by_cell(BASELINE)
    free = [cell for _, cell in sorted((value, cell) for cell, value in scores.items()) if cell not in taken]
    return free[min(int(quantile * len(free)), len(free) - 1)] if free else None


def _view(found: Board, shown: _Pictures, cell: Cell) -> dict[str, Any] | None:
    """All pictures of a cell, or None where there are none or no room for them."""
    paths = {line.method: path for line in found.lines if (path := shown.file(line.method, cell))}
    target = shown.target(cell)
    if target is None or not paths:
        return None
    contents = {method: _content(path) for method, path in [(pictures.TARGET, target), *paths.items()]}
    if shown.spent + sum(len(content) for content, _ in contents.values()) > BUDGET:
        return None
    width, height = contents[pictures.TARGET][1]
    return {
        "image": cell[0],
        "degradation": cell[1],
        "draw": cell[2],
        "width": width,
        "height": height,
        "target": shown.add(contents[pictures.TARGET][0]),
        "pictures": {method: shown.add(content) for method, (content, _) in contents.items() if method != pictures.TARGET},
        "scores": {method: _cell_scores(found, method, cell) for method in paths},
    }


def _cell_scores(found: Board, method: str, cell: Cell) -> dict[str, Any]:
    return {
        metric: _short(values[cell])
        for metric in found.about["metrics"]
        if cell in (values := found.scores[metric, cell[1]].by_cell(method))
    }


def _cases(found: Board, shown: _Pictures) -> list[dict[str, Any]]:
    """The best and the worst case of every method, by its difference from doing nothing."""
    sign = 1 if found.about["metrics"][found.first]["higher_is_better"] else -1
    base = found.scores[found.first, ALL].by_cell(BASELINE)
    cases = []
    for line in found.lines:
        own = found.scores[found.first, ALL].by_cell(line.method)
        gains = {cell: own[cell] - base[cell] for cell in own if math.isfinite(own[cell] - base.get(cell, math.nan))}
        if line.method == BASELINE or not gains:
            continue
        for kind, cell in (
            ("best", max(gains, key=lambda c: (sign * gains[c], c))),
            ("worst", min(gains, key=lambda c: (sign * gains[c], c))),
        ):
            files = (shown.file(BASELINE, cell), shown.file(line.method, cell), shown.target(cell))
            found_all = [file for file in files if file is not None]
            cases.append(
                {
                    "method": line.method,
                    "kind": kind,
                    "image": cell[0],
                    "degradation": cell[1],
                    "gain": _short(gains[cell]),
                    "score": _short(own[cell]),
                    "pictures": [shown.add(detail) for detail in _details(found_all)] if len(found_all) == len(files) else [],
                }
            )
    return cases


def _details(paths: Iterable[Path]) -> list[bytes]:
    """The same detail of several pictures, where the last has most structure."""
    opened = [Image.open(path).convert("RGB") for path in paths]
    width, height = opened[-1].size
    left, upper, right, lower = comparison.busiest(opened[-1], min(1.0, DETAIL / min(width, height)))
    x = min(max((left + right - DETAIL) // 2, 0), max(width - DETAIL, 0))
    y = min(max((upper + lower - DETAIL) // 2, 0), max(height - DETAIL, 0))
    details = []
    for picture in opened:
        scaled = picture if picture.size == (width, height) else picture.resize((width, height), Image.Resampling.BICUBIC)
        details.append(pictures.encoded(scaled.crop((x, y, min(x + DETAIL, width), min(y + DETAIL, height)))))
    return details


def fragment(folder: Path) -> str:
    """The leaderboard as a plain HTML table, for notebooks.

    Raises:
        UserError: as `page`.
    """
    found = board(folder)
    head = ["#", "method", "blind", *(found.title(metric) for metric in found.about["metrics"]), "Δ", "s/image"]
    body: list[list[str]] = []
    for line in found.lines:
        first = line.standings[found.first, ALL]
        shown = [table.mean_text(line.standings[metric, ALL].mean, found.digits(metric)) for metric in found.about["metrics"]]
        gain = table.mean_text(first.gain if first.mean else None, found.digits(found.first), signed=True)
        rank = table.NONE if line.rank is None else str(line.rank)
        body.append([rank, line.method, table.blind(line.entry), *shown, gain, table.seconds(line.entry)])
    cells = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    lines = "".join(f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in row)}</tr>" for row in body)
    about = html.escape(f"{found.about['suite']}: {table.size(found)}; protocol {found.about['protocol'][:12]}")
    return f"<table><caption>{about}</caption><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>"
