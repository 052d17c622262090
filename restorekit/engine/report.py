"""``report.png``: the curves of a run and its pictures before and after, on one sheet."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from restorekit import files
from restorekit.engine.callbacks import Callback, grid, history
from restorekit.engine.samples import through_time

WIDTH, HEIGHT = 560, 300
MARGIN = (64, 58, 16, 34)
"""Left, top, right and bottom of a diagram, in pixels, for its labels."""

PAPER, INK, FAINT, ALARM = (255, 255, 255), (40, 40, 40), (222, 222, 222), (200, 30, 30)
COLOURS = ((31, 119, 180), (214, 110, 20), (44, 140, 44), (148, 103, 189), (140, 86, 75), (23, 160, 180), (200, 90, 160), (110, 110, 110))
POINTS = 400
"""Points of a curve: more are averaged in groups."""

Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Diagram:
    """Curves over steps.

    Attributes:
        title: above it.
        curves: points (step, value) by name.
        logarithmic: whether the values are shown by their logarithms, where all of them are positive.
        events: steps at which the watch interfered.
    """

    title: str
    curves: Mapping[str, Curve]
    logarithmic: bool = False
    events: Sequence[float] = ()


class Report(Callback):
    """Draws the report when a run has come to its end.

    Args:
        folder: of the run, with its ``history.jsonl``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[tuple[Tensor, ...]] = []

    def validated(self, step: int, scores: Mapping[str, float], rows: list[tuple[Tensor, ...]]) -> None:
        """Remember the pictures."""
        self.rows = rows or self.rows

    def finish(self) -> None:
        """Write ``report.png``."""
        sheet = draw(diagrams(history(self.folder / "history.jsonl")), self.rows, through_time(self.folder))
        packed = io.BytesIO()
        sheet.save(packed, "PNG")
        files.write(self.folder / "report.png", packed.getvalue())


def diagrams(entries: Sequence[Mapping[str, Any]]) -> list[Diagram]:
    """What there is to show of a history: losses, scores, what the watch measured, the learning rate."""
    terms, scores, signals = (_series(entries, key) for key in ("terms", "scores", "signals"))
    critic = {name: curve for name, curve in terms.items() if name.startswith("critic ")}
    logits = {name: signals.pop(name) for name in list(signals) if name.startswith("D(")}
    gradients = {name: signals.pop(name) for name in list(signals) if name.endswith("'s gradient")}
    rate = {"learning rate": [(float(e["step"]), float(e["learning_rate"])) for e in entries if "learning_rate" in e]}
    events = [float(e["step"]) for e in entries if "watch" in e]
    found = [
        Diagram("losses", {name: curve for name, curve in terms.items() if name not in critic}, True, events),
        Diagram("validation, dB", scores, False, events),
        Diagram("critic", critic, False, events),
        Diagram("logits of real and made images", logits, False, events),
        Diagram("norms of gradients", gradients, True, events),
        Diagram("outputs for a fixed set", signals, False, events),
        Diagram("learning rate", rate, False, events),
    ]
    return [diagram for diagram in found if any(diagram.curves.values())]


def draw(shown: Sequence[Diagram], rows: list[tuple[Tensor, ...]], moments: Sequence[tuple[int, Image.Image]] = ()) -> Image.Image:
    """Diagrams in two columns, the pictures below them, and below these how they came about.

    Args:
        shown: the diagrams.
        rows: pictures: input, result and target; or made ones and as many training pictures, the nearest to each.
        moments: pictures of the same latent vectors after these steps.
    """
    lines = math.ceil(len(shown) / 2)
    pictures = _pictures(rows)
    below = lines * HEIGHT + (pictures.height + 40 if pictures else 0)
    side = (2 * WIDTH - 40) // len(moments) - 8 if moments else 0
    height = below + (side + 40 if moments else 0)
    sheet = Image.new("RGB", (2 * WIDTH, max(height, HEIGHT)), PAPER)
    for index, diagram in enumerate(shown):
        sheet.paste(_diagram(diagram), (index % 2 * WIDTH, index // 2 * HEIGHT))
    if pictures:
        words = "each three: input, result, target" if len(rows[0]) == 3 else "left: made; right: the nearest training picture to each"
        ImageDraw.Draw(sheet).text((20, lines * HEIGHT), words, INK, font=ImageFont.load_default(14))
        sheet.paste(pictures, (20, lines * HEIGHT + 24))
    for i, (step, moment) in enumerate(moments):
        place = 20 + i * (side + 8)
        ImageDraw.Draw(sheet).text((place, below), f"step {step}", INK, font=ImageFont.load_default(14))
        sheet.paste(moment.resize((side, side), Image.Resampling.LANCZOS), (place, below + 24))
    return sheet


def _series(entries: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for entry in entries:
        for name, value in entry.get(key, {}).items():
            if math.isfinite(value):
                found.setdefault(name, []).append((float(entry["step"]), float(value)))
    return found


def _pictures(rows: list[tuple[Tensor, ...]]) -> Image.Image | None:
    if not rows:
        return None
    pixels = grid(rows).mul(255).round().byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels)
    widest = 2 * WIDTH - 40
    if len(rows[0]) == 3 and len(rows) > 1:  # two rows beside each other fill the sheet's width
        half = math.ceil(len(rows) / 2)
        side = picture.height // len(rows)
        beside = Image.new("RGB", (2 * picture.width + 8, half * side), PAPER)
        beside.paste(picture.crop((0, 0, picture.width, half * side)), (0, 0))
        beside.paste(picture.crop((0, half * side, picture.width, picture.height)), (picture.width + 8, 0))
        picture = beside
    scale = min(1.0, widest / picture.width)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)


def _diagram(diagram: Diagram) -> Image.Image:
    tile = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    pen, font = ImageDraw.Draw(tile), ImageFont.load_default(12)
    left, top, right, bottom = MARGIN[0], MARGIN[1], WIDTH - MARGIN[2], HEIGHT - MARGIN[3]
    curves = {name: _thinned(curve) for name, curve in diagram.curves.items() if curve}
    values = [value for curve in curves.values() for _, value in curve]
    logarithmic = diagram.logarithmic and min(values) > 0
    last = max(step for curve in curves.values() for step, _ in curve)
    low, high, ticks = _scale(min(values), max(values), logarithmic)

    def place(step: float, value: float) -> tuple[float, float]:
        height = math.log10(value) if logarithmic else value
        return left + (right - left) * step / last, bottom - (bottom - top) * (height - low) / (high - low)

    for tick in ticks:
        y = place(0, tick)[1]
        pen.line((left, y, right, y), FAINT)
        pen.text((left - 6, y), f"{tick:.4g}", INK, font=font, anchor="rm")
    for step in _ticks(0, last):
        x = place(step, 10**low if logarithmic else low)[0]
        pen.line((x, bottom, x, bottom + 4), INK)
        pen.text((x, bottom + 7), f"{step:g}", INK, font=font, anchor="mt")
    for step in diagram.events:
        x = left + (right - left) * min(step, last) / last
        pen.line((x, top, x, bottom), ALARM)
    pen.line((left, top, left, bottom, right, bottom), INK)
    pen.text((left, 6), diagram.title, INK, font=ImageFont.load_default(15))
    x, y = left, top - 19
    for index, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[index % len(COLOURS)]
        points = [place(step, value) for step, value in curve]
        if len(points) > 1:
            pen.line(points, colour, width=2, joint="curve")
        for px, py in points if len(points) < 30 else ():
            pen.ellipse((px - 2, py - 2, px + 2, py + 2), colour)
        length = round(font.getlength(name))
        if x + length > right and x > left:
            x, y = left, y + 15
        pen.text((x, y), name, colour, font=font, anchor="ls")
        x += length + 14
    return tile


def _thinned(curve: Curve) -> Curve:
    size = math.ceil(len(curve) / POINTS)
    groups = [curve[i : i + size] for i in range(0, len(curve), size)]
    return [(sum(s for s, _ in group) / len(group), sum(v for _, v in group) / len(group)) for group in groups]


def _scale(least: float, most: float, logarithmic: bool) -> tuple[float, float, list[float]]:
    """Lower and upper end of the axis, as logarithms if so asked, and the values that are labelled."""
    if logarithmic:
        low, high = math.log10(least), math.log10(most)
        pad = max(0.05 * (high - low), 0.05)
        low, high = low - pad, high + pad
        ticks = [m * 10.0**e for e in range(math.floor(low), math.ceil(high) + 1) for m in (1, 2, 5)]
        ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
        decades = [tick for tick in ticks if f"{tick:e}".startswith("1.0")]
        return low, high, decades if len(decades) > 2 else ticks
    pad = 0.05 * (most - least) or 0.05 * abs(most) or 1.0
    return least - pad, most + pad, _ticks(least - pad, most + pad)


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers."""
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    size *= next(m for m in (1, 2, 5, 10) if m * size >= rough)
    return [round(i * size, 12) for i in range(math.ceil(low / size), math.floor(high / size) + 1)]
