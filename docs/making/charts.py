"""Line charts as SVG that takes its colours from the page, so that they are right by day and by night."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 14, 62

Points = Sequence[tuple[float, float]]


def chart(series: Mapping[str, Points], *, across: str, up: str) -> str:
    """Lines through points; values that are not finite are left out.

    Args:
        series: points by name, at most four.
        across: what the horizontal axis is.
        up: what the vertical axis is.
    """
    shown = {name: [(x, y) for x, y in points if math.isfinite(y)] for name, points in series.items()}
    everything = [point for points in shown.values() for point in points]
    left, right = min(x for x, _ in everything), max(x for x, _ in everything)
    marks = ticks(min(y for _, y in everything), max(y for _, y in everything))
    low, high = marks[0], marks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        across_share = (x - left) / (right - left or 1)
        up_share = (y - low) / (high - low or 1)
        return LEFT + across_share * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up_share * (HEIGHT - TOP - BOTTOM)

    label = html.escape(f"{up} against {across}")
    lines = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">']
    for mark in marks:
        _, y = place(left, mark)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="end" x="{LEFT - 8}" y="{y + 4:.1f}">{mark:g}</text>')
    for mark in ticks(left, right):
        if left <= mark <= right:
            x, _ = place(mark, low)
            lines.append(f'<text class="middle" x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}">{mark:g}</text>')
    lines.append(f'<text class="middle" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - BOTTOM + 36}">{html.escape(across)}</text>')
    lines.append(f'<text class="middle" transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)">{html.escape(up)}</text>')
    room = (WIDTH - LEFT - RIGHT) / len(shown)
    for number, (name, points) in enumerate(shown.items(), start=1):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        lines.append(f'<polyline class="line{number}" points="{path}"/>')
        lines += [f'<circle class="dot{number}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in (place(*point) for point in points)]
        start = LEFT + (number - 1) * room
        lines.append(f'<line class="line{number}" x1="{start:.0f}" x2="{start + 18:.0f}" y1="{HEIGHT - 10}" y2="{HEIGHT - 10}"/>')
        lines.append(f'<text x="{start + 24:.0f}" y="{HEIGHT - 6}">{html.escape(name)}</text>')
    return "\n".join([*lines, "</svg>"])


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`."""
    span = high - low or abs(high) or 1.0
    rough = span / about
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]
