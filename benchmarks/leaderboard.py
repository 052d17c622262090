"""Makes the pages of the committed results and the table in the README from them: ``make leaderboard``.

``python benchmarks/leaderboard.py runs/photos`` takes the results of a run into them first.
"""

from __future__ import annotations

import sys
from pathlib import Path

from restorekit import bench, files
from restorekit.bench import results, table
from restorekit.bench.board import ALL, Board, board

HERE = Path(__file__).parent
RESULTS = HERE / "results"
README = HERE.parent / "README.md"
BEGIN, END = "<!-- leaderboard: made by make leaderboard -->", "<!-- leaderboard: end -->"
SHOWN = ("cbsd68-shake", "photos")
"""The README shows the first of these suites that is committed."""


def folders() -> list[Path]:
    """The committed results."""
    return sorted(path.parent for path in RESULTS.glob(f"*/{results.MANIFEST}"))


def brief(found: Board) -> str:
    """A table of a few columns for the README: every method with its mean on each damage."""
    names = found.about["degradations"]
    psnr, ssim = list(found.about["metrics"])[:2]
    lines = [f"| | told | PSNR, dB | Δ | SSIM | {' | '.join(names)} | s/image |", "|" + "---|" * (6 + len(names))]
    for line in found.lines:
        overall, ssims = line.standings[psnr, ALL], line.standings[ssim, ALL]
        mean = "–" if overall.mean is None else f"{overall.mean.value:.2f}"
        gain = "" if overall.mean is None or overall.gain is None else f"{overall.gain.value:+.2f}"
        each = ["–" if (one := line.standings[psnr, name].mean) is None else f"{one.value:.2f}" for name in names]
        told = "" if line.entry["blind"] else ", ".join(line.entry["uses"])
        cells = [line.method, told, mean, gain, "–" if ssims.mean is None else f"{ssims.mean.value:.3f}", *each, table.seconds(line.entry)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def made() -> dict[Path, str]:
    """Every file that is made from the committed results, with its content."""
    content = {}
    for folder in folders():
        content[folder / results.LEADERBOARD] = bench.leaderboard(folder)
        content[folder / results.PAGE] = bench.page(folder)
    readme = README.read_text(encoding="utf-8")
    shown = next(RESULTS / name for name in SHOWN if (RESULTS / name).is_dir())
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    found = board(shown)
    about = f"{shown.name}: {table.size(found)}, protocol `{found.about['protocol'][:12]}`"
    content[README] = f"{before}{BEGIN}\n\n{about}\n\n{brief(found)}\n\n{END}{after}"
    return content


def main(*taken: str) -> None:
    """Take in the results of runs, if any are named, and write what differs."""
    for run in taken:
        about = results.manifest(Path(run))
        results.pack(Path(run), RESULTS / about["suite"].rpartition("/")[2])
    for path, content in made().items():
        if not path.is_file() or path.read_text(encoding="utf-8") != content:
            files.write(path, content.encode())
            sys.stdout.write(f"written: {path.relative_to(HERE.parent)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
