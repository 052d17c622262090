"""Which encoder of video, and with which options."""

from __future__ import annotations

import math
from contextlib import suppress

from restorekit.errors import UserError

INSTALL = "pip install 'restorekit[video]'"

USUAL, DEEP, WEBM = ("libx264", "mpeg4"), ("libx265", "libx264", "mpeg4"), ("libvpx-vp9", "libvpx")
"""In the order of preference; `DEEP` for more than 8 bits, which players show as H.265 rather than as H.264."""

ANY_SIZE = ("libvpx-vp9", "libvpx", "mpeg4")
"""Those that take sizes which are no multiples of chroma's."""

QUALITY = 95
"""If none is asked for, as of photographs: an H.264 rate factor of 16."""

LARGEST_BASE = {"mpeg4": 65535}
"""Largest denominator of a time base, where there is one."""

TAGS = {("libx265", "mp4"): "hvc1", ("libx265", "mov"): "hvc1"}
"""What the container is to call the encoder's pictures, where players ask for more than FFmpeg's own name."""


def choose(form: str, bits: int) -> tuple[str, list[str]]:
    """The first encoder that is there, and the pixel formats that it takes.

    Args:
        form: FFmpeg's name of the container.
        bits: per value that are to be kept.

    Raises:
        UserError: there is none.
    """
    import av

    for name in WEBM if form == "webm" else DEEP if bits > 8 and form != "avi" else USUAL:
        with suppress(av.codec.codec.UnknownCodecError):
            return name, [found.name for found in av.Codec(name, "w").video_formats or ()]
    raise UserError(f"PyAV is installed without an encoder for {form}; {INSTALL} brings one")


def options(name: str, form: str, quality: int) -> dict[str, str]:
    """FFmpeg's options of an encoder.

    Args:
        name: from `choose`.
        form: FFmpeg's name of the container.
        quality: 1 to 100, as of photographs: 95 is a rate factor of 16 of H.264, 75 one of 24.
    """
    factor = min(51, max(1, 16 + math.floor((QUALITY - quality) * 0.4 + 0.5)))
    found = {
        "libx264": {"crf": str(factor)},
        "libx265": {"crf": str(factor), "x265-params": "log-level=none"},
        "libvpx-vp9": {"crf": str(factor + 8), "row-mt": "1", "cpu-used": "2"},
        "libvpx": {"crf": str(factor + 3), "b": "20M"},
        "mpeg4": {"qmin": str(2 + factor // 16), "qmax": str(2 + factor // 8), "b": "100M"},
    }[name]
    if name == "libx264" and form == "avi":
        found["bf"] = "0"  # AVI stores frames in the order of coding
    return found
