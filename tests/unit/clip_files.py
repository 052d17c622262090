"""Clips for tests, made of a photograph inside scikit-image, with sound beside the pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data

CHAPTER = {"id": 1, "start": 0, "end": 150, "time_base": Fraction(1, 1000), "metadata": {"title": "first"}}


def write_clip(
    path: Path,
    *,
    codec: str = "libx264",
    layout: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    times: tuple[int, ...] = (0, 1, 2, 3, 4, 5),
    rate: Fraction = Fraction(25),
    sound: str | None = "aac",
    options: dict[str, str] | None = None,
    tags: dict[str, int] | None = None,
    matrix: tuple[int, ...] | None = None,
    ratio: Fraction | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    """A clip that moves over the cat, a pixel a frame; `times` are in frames of `rate`."""
    import av

    cat, (width, height), told = skimage.data.chelsea(), size, tags or {}
    own = {"movflags": "use_metadata_tags"} if metadata else {}
    with av.open(str(path), "w", container_options=own) as out:
        video: Any = out.add_stream(codec, rate=rate, options=options or {"crf": "12"}, time_base=1 / rate)
        video.width, video.height, video.pix_fmt = width, height, layout
        for name, value in told.items():
            setattr(video.codec_context, name, value)
        if ratio:
            video.codec_context.sample_aspect_ratio = ratio
        if matrix:
            video.set_display_matrix(matrix)
        audio: Any = out.add_stream(sound, rate=48000) if sound else None
        out.metadata.update({"title": "a cat", "comment": "from a test", **(metadata or {})})
        if path.suffix in (".mp4", ".mkv", ".mov"):
            out.set_chapters([CHAPTER])
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(cat[80 : 80 + height, 100 + number : 100 + number + width]), "rgb24")
            frame = frame.reformat(format=layout, dst_color_range=told.get("color_range"), dst_colorspace=told.get("colorspace"))
            frame.pts, frame.time_base = time, 1 / rate
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if audio is not None:
            wave = np.sin(np.arange(9600) / 20).astype(np.float32)
            for start in range(0, 9600, 960 if sound == "libopus" else 1024):
                count = min(960 if sound == "libopus" else 1024, 9600 - start)
                kind = audio.codec_context.format.name
                piece = np.tile(wave[start : start + count], (2, 1))
                piece = piece if kind == "fltp" else (piece * 30000).astype(np.int16).T.reshape(1, -1)
                sounds = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), format=kind, layout="stereo")
                sounds.sample_rate, sounds.pts, sounds.time_base = 48000, start, Fraction(1, 48000)
                out.mux(audio.encode(sounds))
            out.mux(audio.encode(None))
    return path
