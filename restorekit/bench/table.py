"""The leaderboard as Markdown, and on a terminal: the same results give the same text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from restorekit.bench import results
from restorekit.bench.board import ALL, Board, Line, board
from restorekit.bench.names import BASELINE
from restorekit.bench.scores import CONFIDENCE, LEVEL, Mean, Record

MAIN = 2
"""How many of a suite's metrics are shown in full; the others follow in one table."""

LONGEST_REASON = 200
NONE = "–"
INAPPLICABLE = "n/a"
UNKNOWN = "?"

NARROWEST_NAME = 16
"""Letters that a method's name keeps on a terminal."""


def leaderboard(folder: Path) -> str:
    """The results in `folder` as Markdown.

    Methods are sorted by the suite's first metric in the direction that it declares. A method that
    failed where another did not has no mean there and no rank: fewer images do not compare.

    Raises:
        UserError: no results there, damaged ones, or a shard of them.
    """
    found = board(folder)
    about = found.about
    parts = [
        f"# {about['suite']}",
        f"Protocol `{about['protocol'][:12]}`: {size(found)}. Sorted by {found.first}.",
        _damages(about),
        _overall(found),
        *(_by_degradation(found, metric) for metric in list(about["metrics"])[:MAIN] if len(found.columns) > 1),
        _other_rulers(found),
        _missed(found, results.FAILED, "Failures"),
        _missed(found, results.INAPPLICABLE, "Not applicable"),
        _methods(found),
        _NOTES,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_NOTES = f"""## How to read this

- All means of a column are over the same images; brackets hold {CONFIDENCE:.0%} bootstrap intervals over images.
- Δ, or the number in parentheses, is the mean difference from {BASELINE} (do nothing), image by image.
- W–T–L: wins, ties and losses against each other method by a paired test over images (Wilcoxon, {LEVEL:.0%}, Holm's correction).
- `{NONE}`: the method failed, on some images at least, for the reason under *Failures*. It has no mean there and no rank, because
  a mean over fewer images would not compare; its difference from {BASELINE} on the images it did is in parentheses.
- `{INAPPLICABLE}`: the damage does not come with what the method needs, such as a mask or a blur kernel.
- Where a score is infinite (the result is identical to the target), the image is left out for every method and every metric; `inf`
  counts those.
- Blind methods see the damaged image alone; the others are told what is named. `{UNKNOWN}`: nobody states it.
- Scores compare with those of tables of the same protocol only."""


def size(found: Board) -> str:
    """``68 images × 3 degradations (a, b, c)``."""
    about = found.about
    limit = about["ingredients"]["data"]["limit"]
    draws = f" × {about['draws']} draws" if about["draws"] > 1 else ""
    names = about["degradations"]
    damages = f" × {len(names)} degradations ({', '.join(names)})" if len(names) > 1 else f", {names[0]}"
    return f"{'the first ' if limit else ''}{len(about['images'])} images{damages}{draws}"


def _damages(about: Mapping[str, Any]) -> str:
    given = [f"{name}: {', '.join(names)}" for name, names in about["gives"].items() if names]
    return f"What a method may be told of the damage: {'; '.join(given)}." if given else ""


def _overall(found: Board) -> str:
    about = found.about
    metrics = list(about["metrics"])[:MAIN]
    head = ["#", "method", "blind"]
    for metric in metrics:
        head += [found.title(metric), "Δ"] + (["W–T–L"] if metric == found.first else [])
    head += ["s/image", "failed", "licence"]
    cells = len(results.labels(about))
    body = []
    for line in found.lines:
        row = [NONE if line.rank is None else str(line.rank), line.method, blind(line.entry)]
        for metric in metrics:
            standing, digits = line.standings[metric, ALL], found.digits(metric)
            gain = None if standing.mean is None else standing.gain
            row += [mean_text(standing.mean, digits, _absent(line)), mean_text(gain, digits, signed=True)]
            row += [record_text(standing.record)] if metric == found.first else []
        row += [seconds(line.entry), f"{line.missing(results.FAILED)} of {cells}", line.entry["licence"]]
        body.append(row)
    heading = "All degradations" if len(found.columns) > 1 else "Scores"
    return f"## {heading}\n\n{_table(head, body)}\n\n{compared(found, ALL)}"


def compared(found: Board, column: str) -> str:
    """How many cells the means of a column are over, and why not all."""
    every = {metric: found.scores[metric, column] for metric in found.about["metrics"]}
    counts = {metric: len(scores.cells) for metric, scores in every.items()}
    same = len(set(counts.values())) == 1
    shown = str(next(iter(counts.values()))) if same else ", ".join(f"{metric}: {count}" for metric, count in counts.items())
    names = found.about["degradations"] if column == ALL else [column]
    whole = sum(1 for label in results.labels(found.about) if label[1] in names)
    infinite = Counter(degradation for _, degradation, _ in set().union(*(scores.infinite for scores in every.values())))
    left = ", ".join(f"{count} of {name}" for name, count in sorted(infinite.items(), key=lambda item: names.index(item[0])))
    return f"Compared, of {whole} images × degradations: {shown}." + (
        f" Left out because a score is infinite there: {left}." if left else ""
    )


def _by_degradation(found: Board, metric: str) -> str:
    digits, names = found.digits(metric), found.about["degradations"]
    head = ["method", *(f"{name} ({len(found.scores[metric, name].cells)} images)" for name in names)]
    body = []
    for line in found.lines:
        row = [line.method]
        for name in names:
            standing = line.standings[metric, name]
            notes = [f"{standing.mean.infinite} inf"] if standing.mean is not None and standing.mean.infinite else []
            if standing.gain is not None:
                few = f" on {standing.gain.cells} images" if standing.mean is None else ""
                notes.append(f"{standing.gain.value:+.{digits}f}{few}")
            shown = _absent(line, name) if standing.mean is None else f"{standing.mean.value:.{digits}f}"
            row.append(shown + (f" ({', '.join(notes)})" if notes else ""))
        body.append(row)
    return f"## {found.title(metric)} by degradation\n\n{_table(head, body)}"


def _other_rulers(found: Board) -> str:
    metrics = list(found.about["metrics"])[MAIN:]
    if not metrics:
        return ""
    body = [
        [line.method, *(mean_text(line.standings[m, ALL].mean, found.digits(m), _absent(line)) for m in metrics)] for line in found.lines
    ]
    return f"## The same pictures under other rulers\n\n{_table(['method', *map(found.title, metrics)], body)}"


def _missed(found: Board, status: str, heading: str) -> str:
    body = [
        [
            one.method,
            ", ".join(one.degradations),
            str(one.cells),
            one.reason if len(one.reason) <= LONGEST_REASON else f"{one.reason[:LONGEST_REASON]}…",
        ]
        for one in found.missed()
        if one.status == status
    ]
    return f"## {heading}\n\n{_table(['method', 'degradation', 'images', 'reason'], body)}" if body else ""


def _methods(found: Board) -> str:
    body = []
    for line in found.lines:
        entry = line.entry
        network, times = entry["network"], entry["seconds"]
        body.append(
            [
                line.method,
                entry["part"] if network is None else f"{entry['part']} ({network['part']})",
                NONE if network is None else f"{network['parameters']:,}",
                NONE if times is None else f"{times['median']:.3g} [{times['low']:.3g}, {times['high']:.3g}]",
                NONE if entry["warm_up_seconds"] is None else f"{entry['warm_up_seconds']:.3g}",
                NONE if entry["peak_memory_mb"] is None else f"{entry['peak_memory_mb']:.0f}",
                f"{' and '.join(machine['device'] for machine in entry['environments']) or NONE}, "
                f"{entry['threads']} thread{'s' * (entry['threads'] > 1)}, {entry['precision']}",
                entry["paper"],
            ]
        )
    head = ["method", "part", "parameters", "s/image, quartiles", "warm-up s", "extra MB", "on", "paper"]
    return f"## Methods\n\n{_table(head, body)}"


def text(folder: Path, width: int = 80) -> str:
    """The leaderboard in brief, for a terminal of `width` columns."""
    found = board(folder)
    about = found.about
    metrics = list(about["metrics"])[:MAIN]
    head = ["#", "method", *(name.rpartition("/")[2] for name in metrics), "Δ", "s/image", "told"]
    body = []
    for line in found.lines:
        standings = [line.standings[metric, ALL] for metric in metrics]
        shown = [
            _absent(line) if s.mean is None else f"{s.mean.value:.{found.digits(m)}f}" for m, s in zip(metrics, standings, strict=True)
        ]
        gain = standings[0].gain if standings[0].mean is not None else None
        change = "" if gain is None else f"{gain.value:+.{found.digits(metrics[0])}f}"
        told = "" if line.entry["blind"] else ", ".join(line.entry["uses"]) or UNKNOWN
        body.append(["" if line.rank is None else str(line.rank), line.method, *shown, change, seconds(line.entry), told])
    lines = [f"{about['suite']}  protocol {about['protocol'][:12]}", size(found), "", *_aligned([head, *body], width)]
    if len(found.columns) > 1:
        lines += ["", f"{found.title(found.first)} by degradation", *_blocks(found, width)]
    lines.append("")
    cells = len(results.labels(about))
    for status in (results.FAILED, results.INAPPLICABLE):
        lines += [f"{line.method}: {status} on {line.missing(status)} of {cells}" for line in found.lines if line.missing(status)]
    return "\n".join(["\n".join(_wrapped(line, width)) for line in lines])


def _blocks(found: Board, width: int) -> list[str]:
    """The first metric by degradation, as many degradations beside each other as there is room for."""
    digits, names = found.digits(found.first), list(found.about["degradations"])
    room = max(1, (width - NARROWEST_NAME - 8) // (2 + max(7, *map(len, names))))
    lines: list[str] = []
    for start in range(0, len(names), room):
        shown = names[start : start + room]
        rows = [["", "method", *shown]]
        for line in found.lines:
            means = {name: line.standings[found.first, name].mean for name in shown}
            texts = [_absent(line, name) if (mean := means[name]) is None else f"{mean.value:.{digits}f}" for name in shown]
            rows.append(["" if line.rank is None else str(line.rank), line.method, *texts])
        lines += _aligned(rows, width, last_left=False) + ([""] if start + room < len(names) else [])
    return lines


def _aligned(rows: Sequence[Sequence[str]], width: int, *, last_left: bool = True) -> list[str]:
    """Columns of text: the name is cut to what room there is, numbers stand at the right, words in the last column at the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    excess = sum(widths) + 2 * (len(widths) - 1) - width
    if excess > 0:
        widths[1] = max(NARROWEST_NAME, widths[1] - excess)
    lines = []
    for row in rows:
        cells = []
        for i, (cell, size) in enumerate(zip(row, widths, strict=True)):
            cut = cell if len(cell) <= size else f"{cell[: size - 1]}…"
            cells.append(cut.ljust(size) if i == 1 or (last_left and i == len(row) - 1) else cut.rjust(size))
        whole = "  ".join(cells).rstrip()
        lines.append(whole if len(whole) <= width else f"{whole[: width - 1]}…")
    return lines


def _wrapped(line: str, width: int) -> list[str]:
    import textwrap

    return [line] if len(line) <= width else textwrap.wrap(line, width, subsequent_indent="  ")


def _absent(line: Line, degradation: str | None = None) -> str:
    """Why a method has no mean: it failed, or the damage does not come with what it needs."""
    names = line.missed if degradation is None else [degradation]
    failed, lacking = (sum(line.missed[name][status] for name in names) for status in (results.FAILED, results.INAPPLICABLE))
    return INAPPLICABLE if lacking and not failed else NONE


def blind(entry: Mapping[str, Any]) -> str:
    """``yes``, or what the method is told."""
    if entry["blind"] is None:
        return UNKNOWN
    return "yes" if entry["blind"] else f"no: {', '.join(entry['uses']) or UNKNOWN}"


def seconds(entry: Mapping[str, Any]) -> str:
    """Median seconds an image."""
    return NONE if entry["seconds"] is None else f"{entry['seconds']['median']:.3g}"


def mean_text(mean: Mean | None, digits: int, absent: str = NONE, *, signed: bool = False) -> str:
    """A mean with its interval."""
    return absent if mean is None else mean.text(digits, signed=signed)


def record_text(record: Record | None) -> str:
    """``7–1–2``."""
    return NONE if record is None else f"{record.wins}–{record.ties}–{record.losses}"


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in [head, rule, *body])


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
