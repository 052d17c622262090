"""The progress bar as a terminal gets it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from PIL import Image

from restorekit.cli import common

CODE = """
from restorekit.cli import common
with common.progress("restoring", 3) as steps:
    steps.move("restoring a.png")
    steps.move("1.00 Mpx/s  restoring " + "a very long name " * 9 + "\\x1b[7m\\n", 0.5)
    steps.move("2.00 Mpx/s  restoring b.png", 0.5)
    steps.say("a.png -> out")
    for _ in range(2):
        steps.move("restoring c.png", 1 / 3), steps.move("restoring c.png", 1 / 3), steps.move("restoring c.png", 1 / 3)
"""


def shown(columns: int, *command: str) -> str:
    """What a terminal of so many columns gets from Python with these arguments."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen([sys.executable, *command], stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    written = b""
    # Read while it runs: a terminal takes a few thousand bytes, and then the writer waits.
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux's word for the end of a terminal
            piece = b""
        if not piece:
            break
        written += piece
    os.close(ours)
    assert process.wait() == 0
    return written.decode()


def lines_of(written: str) -> list[str]:
    """Without what moves the cursor and makes colours."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)
    return [line for line in re.split(r"[\r\n]+", plain) if line.strip()]


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems end a terminal in other ways")


@on_linux
def test_the_bar_tells_how_far_a_large_picture_is(tmp_path: Path) -> None:
    Image.new("RGB", (400, 300), "grey").save(tmp_path / "large.png")
    command = ["-m", "restorekit", "restore", str(tmp_path / "large.png"), "-o", str(tmp_path / "out.png")]
    lines = lines_of(shown(120, *command, "--set", "window=256", "--engine", "torch"))
    assert any(re.search(r"tile \d+ of \d+, large.png", line) for line in lines)


@on_linux
@pytest.mark.parametrize("columns", [40, 80, 120])
def test_the_bar_has_one_line_of_the_terminals_width(columns: int) -> None:
    written = shown(columns, "-c", CODE)
    lines = lines_of(written)
    bars = [line for line in lines if "/3 " in line]
    assert bars
    assert max(map(len, bars)) <= columns
    assert [line for line in lines if line not in bars] == ["a.png -> out"]
    assert "\x1b[7m" not in written  # from the name
    assert written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l")  # the cursor is there again


def test_where_there_is_no_terminal_there_is_no_bar() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("a.png -> out\n", "")


def test_times_and_names() -> None:
    assert [common.clock(seconds) for seconds in (0, 7.4, 59.6, 750, 3723)] == ["0:00", "0:07", "1:00", "12:30", "1:02:03"]
    assert common.printable("a\x1b[31m\nb 🐈\udcff") == "a?[31m?b 🐈?"
