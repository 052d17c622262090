"""Size of a benchmark's page, and how soon it shows its table in Chromium.

    python benchmarks/speed/page.py runs/bench/cbsd68-shake/leaderboard.html [--repeats 5]

The page is opened from its file, offline, in a new window each time; the browser itself has started before. The clock runs
from the order to open it until the table is drawn, and until the pictures can be used.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright


def opened(page: Page, address: str) -> tuple[float, float]:
    start = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector("#table tbody tr")
    table = time.perf_counter() - start
    page.wait_for_selector("#details canvas, #no-pictures:not([hidden])")
    return table, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        raise SystemExit("needs a browser: apt-get install chromium, or name one in the environment variable CHROMIUM")
    print(f"{arguments.page.stat().st_size / 1e6:.2f} MB")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        times = []
        for _ in range(arguments.repeats):
            context = browser.new_context(viewport={"width": 1100, "height": 800}, offline=True)
            times.append(opened(context.new_page(), arguments.page.resolve().as_uri()))
            context.close()
        browser.close()
    for what, found in zip(("table drawn", "pictures shown"), zip(*times, strict=True), strict=True):
        print(f"{what} after {statistics.median(found):.2f} s (median of {len(found)}; {min(found):.2f} to {max(found):.2f})")


if __name__ == "__main__":
    main()
