"""Clips in, clips out: what is kept, what is said where it cannot be, and damaged files."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from restorekit import clips, encoders, yuv
from restorekit.errors import UserError

from .clip_files import write_clip

av = pytest.importorskip("av")

TAGS = {"color_range": 1, "colorspace": 1, "color_primaries": 1, "color_trc": 1}
QUARTER = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
"""The matrix of a telephone held upright."""


def same(image: Tensor) -> Tensor:
    return image


def sounds(path: Path, kind: str = "audio") -> list[tuple[float, float, bytes]]:
    with av.open(str(path)) as read:
        chosen = next(stream for stream in read.streams if stream.type == kind)
        packets = [packet for packet in read.demux(chosen) if packet.dts is not None]
        return [(float(p.pts * p.time_base), float(p.duration * p.time_base), bytes(p)) for p in packets]


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as read:
        return [frame.pts * frame.time_base for frame in read.decode(video=0)]


def pictures(path: Path) -> list[Tensor]:
    with av.open(str(path)) as read:
        return [yuv.decode(frame) for frame in read.decode(video=0)]


def about(path: Path) -> dict[str, Any]:
    """What a player is told."""
    with av.open(str(path)) as read:
        video = read.streams.video[0]
        frame = next(read.decode(video))
        context = video.codec_context
        return {
            "size": (frame.width, frame.height),
            "layout": frame.format.name,
            "rate": video.average_rate,
            "frames": video.frames,
            "seconds": video.duration and video.duration * video.time_base,
            "tags": (context.color_range, context.colorspace, context.color_primaries, context.color_trc),
            "rotation": frame.rotation,
            "ratio": video.sample_aspect_ratio,
            "metadata": {k: v for k, v in read.metadata.items() if k.lower() in ("title", "comment")},
            "chapters": [(c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]) for c in read.chapters()],
            "streams": [stream.type for stream in read.streams],
        }


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_all_but_the_pixels_is_kept(suffix: str, tmp_path: Path) -> None:
    source = write_clip(tmp_path / f"a{suffix}", tags=TAGS, matrix=QUARTER, ratio=Fraction(4, 3))
    made = clips.convert(source, tmp_path / f"b{suffix}", lambda image: 1 - image)
    assert (made.frames, made.width, made.height, made.notes) == (6, 64, 48, [])
    told = about(source)
    assert about(tmp_path / f"b{suffix}") == told
    assert (told["rate"], told["rotation"], told["ratio"], told["tags"]) == (25, -90, Fraction(4, 3), (1, 1, 1, 1))
    assert (len(told["chapters"]), told["metadata"].get("title")) == (1, "a cat")
    assert sounds(tmp_path / f"b{suffix}") == sounds(source)
    assert times(tmp_path / f"b{suffix}") == times(source)
    for before, after in zip(pictures(source), pictures(tmp_path / f"b{suffix}"), strict=True):
        assert (after - (1 - before)).abs().mean() < 0.015
    assert {path.name for path in tmp_path.iterdir()} == {source.name, f"b{suffix}"}


def test_metadata_of_telephones_is_kept_and_strip_leaves_all_out(tmp_path: Path) -> None:
    places = {"com.apple.quicktime.location.ISO6709": "+48.1+011.5/", "com.apple.quicktime.model": "a telephone"}
    source = write_clip(tmp_path / "a.mov", metadata=places, sound=None)
    kept = clips.convert(source, tmp_path / "b.mp4", same) and av.open(str(tmp_path / "b.mp4")).metadata
    assert places.items() <= kept.items()
    assert about(tmp_path / "b.mp4")["metadata"] == {"title": "a cat", "comment": "from a test"}
    kept = clips.convert(source, tmp_path / "b.mp4", same, strip=True) and av.open(str(tmp_path / "b.mp4")).metadata
    assert kept.keys() == {"major_brand", "minor_version", "compatible_brands", "encoder"}


def test_sound_of_webm_and_from_one_container_into_another(tmp_path: Path) -> None:
    webm = write_clip(tmp_path / "a.webm", codec="libvpx-vp9", sound="libopus")
    assert clips.convert(webm, tmp_path / "b.webm", same).notes == []
    assert [sound[2] for sound in sounds(tmp_path / "b.webm")] == [sound[2] for sound in sounds(webm)]
    assert times(tmp_path / "b.webm") == times(webm)
    clips.convert(webm, tmp_path / "c.mkv", same)
    assert [sound[2] for sound in sounds(tmp_path / "c.mkv")] == [sound[2] for sound in sounds(webm)]
    with pytest.raises(UserError, match=r"\.webm cannot hold the sound.*aac.*write \.mkv"):
        clips.convert(write_clip(tmp_path / "d.mp4"), tmp_path / "e.webm", same)
    assert not (tmp_path / "e.webm").exists()


def test_a_rate_that_varies_is_kept_where_it_can_be(tmp_path: Path) -> None:
    irregular = (0, 1, 4, 5, 9, 10)
    for suffix in (".mp4", ".mkv"):
        source = write_clip(tmp_path / f"a{suffix}", times=irregular, sound=None)
        clips.convert(source, tmp_path / f"b{suffix}", same)
        first = times(source)[0]
        assert times(tmp_path / f"b{suffix}") == times(source) == [first + Fraction(time, 25) for time in irregular]
    with pytest.raises(UserError, match="rate of this clip varies, and AVI has only one"):
        clips.convert(tmp_path / "a.mp4", tmp_path / "b.avi", same)
    film = write_clip(tmp_path / "c.mp4", rate=Fraction(24000, 1001), sound=None)
    clips.convert(film, tmp_path / "d.avi", same)
    assert (about(tmp_path / "d.avi")["rate"], len(times(tmp_path / "d.avi"))) == (Fraction(24000, 1001), 6)
    with pytest.raises(UserError, match="AVI cannot hold the rotation"):
        clips.convert(write_clip(tmp_path / "e.mp4", matrix=QUARTER, sound=None), tmp_path / "f.avi", same)


@pytest.mark.parametrize(
    ("suffix", "codec", "layout", "options", "after"),
    [
        (".avi", "mjpeg", "yuvj420p", {"qmin": "1", "qmax": "2"}, "yuv420p"),
        (".mkv", "ffv1", "gray", {}, "yuv420p"),
        (".mkv", "ffv1", "bgr0", {}, "yuv444p"),
        (".mkv", "ffv1", "yuv422p", {}, "yuv422p"),
        (".mp4", "libx264", "yuv420p10le", {"crf": "8"}, "yuv420p10le"),
    ],
)
def test_range_depth_and_chroma_are_kept(suffix: str, codec: str, layout: str, options: dict[str, str], after: str, tmp_path: Path) -> None:
    tags = {"color_range": 2} if layout == "yuvj420p" else {}
    source = write_clip(tmp_path / f"a{suffix}", codec=codec, layout=layout, options=options, tags=tags, sound=None)
    assert clips.convert(source, tmp_path / f"b{suffix}", same).notes == []
    assert about(tmp_path / f"b{suffix}")["layout"].replace("yuvj", "yuv") == after
    for before, now in zip(pictures(source), pictures(tmp_path / f"b{suffix}"), strict=True):
        assert (now - before).abs().mean() < 0.015


def test_odd_sizes_and_larger_results(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.webm", codec="libvpx-vp9", size=(61, 45), sound=None)
    assert clips.convert(source, tmp_path / "b.webm", same).notes == []
    assert about(tmp_path / "b.webm")["size"] == (61, 45)
    made = clips.convert(source, tmp_path / "b.mp4", same)
    assert ("61×45" in made.notes[0], "yuv444p" in made.notes[0], len(made.notes)) == (True, True, 1)
    assert (about(tmp_path / "b.mp4")["size"], about(tmp_path / "b.mp4")["layout"]) == ((61, 45), "yuv444p")
    made = clips.convert(source, tmp_path / "c.mp4", lambda image: image.repeat_interleave(2, -1).repeat_interleave(2, -2))
    assert ((made.width, made.height), about(tmp_path / "c.mp4")["size"], made.notes) == ((122, 90), (122, 90), [])


def test_a_rotation_moves_with_the_size(tmp_path: Path) -> None:
    moved = (*QUARTER[:6], 48 << 16, 0, 1 << 30)
    source = write_clip(tmp_path / "a.mp4", matrix=moved, sound=None)
    clips.convert(source, tmp_path / "b.mp4", lambda image: image.repeat_interleave(2, -1).repeat_interleave(2, -2))
    with av.open(str(tmp_path / "b.mp4")) as read:
        frame = next(read.decode(video=0))
        (matrix,) = [struct.unpack("=9i", bytes(side)) for side in frame.side_data if side.type.name == "DISPLAYMATRIX"]
    assert (matrix, frame.rotation) == ((*QUARTER[:6], 96 << 16, 0, 1 << 30), -90)


def test_grey_may_become_coloured(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mkv", codec="ffv1", layout="gray", options={}, sound=None)
    clips.convert(source, tmp_path / "b.mp4", lambda image: torch.cat([image, image / 2, image / 4], 1))
    before, after = pictures(source)[0], pictures(tmp_path / "b.mp4")[0]
    assert (after - torch.cat([before, before / 2, before / 4], 1)).abs().mean() < 0.015


def test_quality(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", sound=None)
    sizes = {}
    for quality in (20, 95, 100):
        clips.convert(source, tmp_path / "b.mp4", same, quality=quality)
        sizes[quality] = (tmp_path / "b.mp4").stat().st_size
    clips.convert(source, tmp_path / "default.mp4", same)
    assert sizes[20] < sizes[95] < sizes[100]
    assert (tmp_path / "default.mp4").stat().st_size == sizes[95]


def test_without_h264_there_is_mpeg4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_clip(tmp_path / "a.mp4", rate=Fraction(90000, 3003))
    monkeypatch.setattr(encoders, "USUAL", ("no-such-encoder", "mpeg4"))
    clips.convert(source, tmp_path / "b.mp4", same)
    with av.open(str(tmp_path / "b.mp4")) as read:
        assert read.streams.video[0].codec.name == "mpeg4"
    assert times(tmp_path / "b.mp4") == pytest.approx([float(time) for time in times(source)], abs=1e-4)
    for before, after in zip(pictures(source), pictures(tmp_path / "b.mp4"), strict=True):
        assert (after - before).abs().mean() < 0.03
    monkeypatch.setattr(encoders, "USUAL", ("no-such-encoder",))
    with pytest.raises(UserError, match=r"without an encoder for mp4"):
        clips.convert(source, tmp_path / "c.mp4", same)


def subtitled(path: Path) -> Path:
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate=25)
        video.width, video.height = 64, 48
        words: Any = out.add_mux_stream("subrip")
        words.time_base = Fraction(1, 1000)
        words.metadata["language"] = "eng"
        out.add_attachment("font.ttf", "font/ttf", b"a font")
        for number in range(3):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts = number
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        packet = av.Packet(b"Hello")
        packet.stream, packet.pts, packet.dts, packet.duration, packet.time_base = words, 40, 40, 60, Fraction(1, 1000)
        out.mux(packet)
    return path


def test_subtitles_and_fonts_are_copied_or_named(tmp_path: Path) -> None:
    source = subtitled(tmp_path / "a.mkv")
    assert about(source)["streams"] == ["video", "subtitle", "attachment"]
    assert clips.convert(source, tmp_path / "b.mkv", same).notes == []
    assert about(tmp_path / "b.mkv")["streams"] == ["video", "subtitle", "attachment"]
    assert sounds(tmp_path / "b.mkv", "subtitle") == sounds(source, "subtitle") != []
    notes = clips.convert(source, tmp_path / "b.mp4", same).notes
    assert len(notes) == 2
    assert "subtitle 1 (srt) is left out, which .mp4 cannot hold" in notes[0]


def test_only_the_tags_that_are_there(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", sound=None)
    clips.convert(source, tmp_path / "b.mp4", same)
    assert about(source)["tags"] == about(tmp_path / "b.mp4")["tags"]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def holes(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(len(data) // 6) + data[middle + len(data) // 6 :]


@pytest.mark.parametrize("damage", [cut, holes])
def test_damaged_clips_keep_what_can_be_read_and_say_so(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mkv", times=tuple(range(8)))
    source.write_bytes(damage(source.read_bytes()))
    made = clips.convert(source, tmp_path / "b.mkv", same)
    assert 0 < made.frames <= 8
    assert any("damaged" in note for note in made.notes)
    assert len(times(tmp_path / "b.mkv")) == made.frames


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"no clip at all", "no clip that can be read here"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n", "no clip that can be read here"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "no clip that can be read here"),
    ],
)
def test_what_is_no_clip(content: bytes, words: str, tmp_path: Path) -> None:
    write_clip(tmp_path / "other.mp4", sound=None)
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(UserError, match=words):
        clips.convert(tmp_path / "a.mp4", tmp_path / "b.mp4", same)
    with pytest.raises(UserError, match=words):
        clips.look(tmp_path / "a.mp4")
    assert not (tmp_path / "b.mp4").exists()


def test_a_clip_with_sound_only_and_one_without_its_end(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        out.add_stream("aac", rate=48000)
        out.start_encoding()
    with pytest.raises(UserError, match=r"no video|no clip"):
        clips.look(tmp_path / "a.mp4")
    whole = write_clip(tmp_path / "b.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"b\.mp4: no clip that can be read here, or damaged"):
        clips.look(tmp_path / "b.mp4")


def test_nothing_is_left_where_it_breaks_off(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"earlier")
    seen = 0

    def interrupted(image: Tensor) -> Tensor:
        nonlocal seen
        seen += 1
        if seen == 3:
            raise KeyboardInterrupt
        return image

    with pytest.raises(KeyboardInterrupt):
        clips.convert(source, tmp_path / "b.mp4", interrupted)
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "b.mp4"}
    assert (tmp_path / "b.mp4").read_bytes() == b"earlier"


def test_names_that_look_like_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "plain.mp4", sound=None).rename(tmp_path / "http:x y 🐈.mp4")
    assert clips.convert(Path("http:x y 🐈.mp4"), Path("pipe:1.mp4"), same).frames == 6


def test_what_a_clip_says_of_itself(tmp_path: Path) -> None:
    assert clips.look(write_clip(tmp_path / "a.mp4", matrix=QUARTER)) == clips.Clip(64, 48, 6, -90)
    assert clips.look(write_clip(tmp_path / "a.mkv", sound=None)).frames == 6
