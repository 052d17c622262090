"""Clips of video in, clips out: every frame changed, and sound, subtitles, times, colour tags and metadata as they were."""

from __future__ import annotations

import importlib.util
import io
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from torch import Tensor

from restorekit import encoders, files, yuv
from restorekit.errors import ImageError, UserError
from restorekit.yuv import Colours, Layout

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".avi": "avi"}
"""What is read and written, by suffix. Reading goes by the content, writing by the suffix."""

SUFFIXES = tuple(CONTAINERS)

READ = "mov,matroska,avi"
"""Formats that are opened; others, such as play lists, could name further files and addresses."""

SHORT_S, SHORT = 0.1, 0.01
"""Seconds, and share of the duration, by which a clip may end before it says; more is taken for damage."""

ABOUT_THE_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder")
"""Metadata that the container writes itself."""


@dataclass(frozen=True)
class Clip:
    """What a clip says of itself.

    Attributes:
        width: of the frames, in pixels.
        height: of the frames.
        frames: how many, as far as known without reading all; None if not at all.
        rotation: degrees counter-clockwise by which players turn it.
    """

    width: int
    height: int
    frames: int | None
    rotation: int


@dataclass
class Made:
    """A clip that was written.

    Attributes:
        width: of its frames, in pixels.
        height: of its frames.
        frames: how many.
        notes: what could not be kept, or was damaged; empty mostly.
    """

    width: int = 0
    height: int = 0
    frames: int = 0
    notes: list[str] = field(default_factory=list)


def is_clip(path: Path) -> bool:
    """Whether the suffix is that of a clip."""
    return path.suffix.lower() in CONTAINERS


def refuse_without_library() -> None:
    """Check that PyAV is there.

    Raises:
        UserError: it is not.
    """
    if importlib.util.find_spec("av") is None:
        raise UserError(f"clips are read and written by PyAV, which is not installed; {encoders.INSTALL}")


def look(path: Path) -> Clip:
    """What a clip says of itself.

    Raises:
        UserError: PyAV is not installed; or missing, no clip, or without a frame that can be decoded.
    """
    with _opened(path) as read:
        main = _main(path, read)
        seconds = _seconds(main, read)
        frames = main.frames or (round(seconds * main.average_rate) if seconds and main.average_rate else None)
        for packet in read.demux(main):
            for frame in _decoded(packet, []):
                return Clip(frame.width, frame.height, frames, frame.rotation)
    raise ImageError(f"{path}: damaged: none of its frames can be decoded")


def convert(source: Path, target: Path, change: Callable[[Tensor], Tensor], *, quality: int | None = None, strip: bool = False) -> Made:
    """Write a clip whose frames are those of another one, changed.

    Sound, subtitles and whatever else there is are copied packet by packet, without being decoded. Frames keep their times, and
    colours their range, matrix and tags; depth and resolution of chroma as the encoder allows. Frames that cannot be decoded are
    left out, which `notes` say. The file is written whole or not at all.

    Args:
        source: the file to read.
        target: the file to write, in the container of its suffix: H.264, or H.265 for more than 8 bits, or in WebM VP9.
        change: makes of each frame ``(1, C, H, W)`` in [0, 1], C of 3 or for grey 1, another one; all results of one size.
        quality: 1 to 100; 95, an H.264 rate factor of 16, if None.
        strip: leave out metadata, such as place and date.

    Raises:
        UserError: PyAV is not installed; `source` is no clip, has no frame that can be decoded, or sound or a rotation that the
            container of `target` cannot hold; `target` cannot be written.
    """
    with _opened(source) as read, files.whole(target) as partial:
        main = _main(source, read)
        writer = _Writer(partial, target, read, main, quality or encoders.QUALITY, strip)
        damaged: list[float] = []
        try:
            for packet in _packets(read, damaged):
                if packet.stream.index != main.index:
                    writer.copy(packet)
                    continue
                for frame in _decoded(packet, damaged):
                    writer.add(frame, change(_pixels(source, frame)))
            if writer.out is None:
                raise ImageError(f"{source}: damaged: none of its frames can be decoded")
            writer.finish()
        finally:
            writer.close()
    if damaged:
        first = ", ".join(f"{second:.2f} s" for second in damaged[:3])
        writer.made.notes.append(
            f"damaged at {first}{f' and {len(damaged) - 3} more' if len(damaged) > 3 else ''}; frames may be missing there, or smeared"
        )
    return writer.made


class _Writer:
    """The file that is written; begun at the first frame, whose size and colours it has."""

    def __init__(self, partial: Path, target: Path, read: Any, main: Any, quality: int, strip: bool) -> None:
        self.partial, self.target, self.read, self.main = partial, target, read, main
        self.quality, self.strip = quality, strip
        self.form = CONTAINERS[target.suffix.lower()]
        self.made = Made()
        self.out: Any = None
        self._video: Any = None
        self._streams: dict[int, Any] = {}
        self._waiting: list[Any] = []
        self._layout, self._colours = Layout("yuv"), Colours(yuv.BT709, False)
        self._first: Fraction | None = None
        self._last: int | None = None
        self._others = self._storable()

    def copy(self, packet: Any) -> None:
        """A packet of another stream, as it is."""
        if packet.dts is None or packet.stream.index not in self._others:
            return
        if self.out is None:
            self._waiting.append(packet)
            return
        packet.stream = self._streams[packet.stream.index]
        with self._writing():
            self.out.mux(packet)

    def add(self, frame: Any, image: Tensor) -> None:
        """A frame, with the times of `frame` and the pixels of `image`."""
        if self.out is None:
            self._begin(frame, image)
        made = yuv.encode(image, self._layout, self._colours)
        base = self._video.codec_context.time_base
        made.time_base, made.pts = base, self._time(frame)
        if frame.time_base and self.form != "avi":
            made.duration = round(frame.duration * frame.time_base / base)
        with self._writing():
            self.out.mux(self._video.encode(made))
        self.made.frames += 1

    def finish(self) -> None:
        """Whatever the encoder still holds."""
        with self._writing():
            self.out.mux(self._video.encode(None))
            self.out.close()

    def close(self) -> None:
        """Let go of the file, whatever has become of it."""
        if self.out is not None:
            import av

            with suppress(av.FFmpegError, ValueError):
                self.out.close()

    def _begin(self, frame: Any, image: Tensor) -> None:
        import av

        height, width = image.shape[-2:]
        self.made.height, self.made.width = height, width
        name = self._encode_as(frame, image)
        wide = self.main.average_rate or self.main.guessed_rate or Fraction(25)
        base = frame.time_base if frame.time_base and self.form != "avi" else 1 / Fraction(wide)
        if base.denominator > encoders.LARGEST_BASE.get(name, base.denominator):
            base = Fraction(1, encoders.LARGEST_BASE[name])
        # Without it MP4 keeps only a few keys that it knows; telephones write others.
        own = self.form in ("mp4", "mov") and not self.strip and any("." in key for key in self.read.metadata)
        with self._writing():
            more = {"movflags": "use_metadata_tags"} if own else {}
            self.out = av.open(f"file:{self.partial}", "w", format=self.form, container_options=more)
            for stream in self.read.streams:
                if stream.index == self.main.index:
                    options = encoders.options(name, self.form, self.quality)
                    self._video = self.out.add_stream(name, rate=wide, options=options, time_base=base)
                    self._streams[stream.index] = self._video
                elif stream.index in self._others:
                    self._streams[stream.index] = self.out.add_stream_from_template(stream, opaque=True)
                else:
                    continue
                copied = self._streams[stream.index]
                copied.disposition = stream.disposition
                if not self.strip:
                    copied.metadata.update({key: value for key, value in stream.metadata.items() if key not in ABOUT_THE_FILE})
            if (name, self.form) in encoders.TAGS:
                self._video.codec_context.codec_tag = encoders.TAGS[name, self.form]
            self._tag(frame, width, height)
            if not self.strip:
                self.out.metadata.update({k: v for k, v in self.read.metadata.items() if k not in ABOUT_THE_FILE})
            self.out.set_chapters(self.read.chapters())
            self.out.start_encoding()
        for packet in self._waiting:
            self.copy(packet)
        self._waiting = []

    def _encode_as(self, frame: Any, image: Tensor) -> str:
        """Choose encoder, layout and colours."""
        there = yuv.layout(frame.format)
        if any(part.is_alpha for part in frame.format.components):
            self.made.notes.append("transparency is left out")
        if frame.interlaced_frame:
            self.made.notes.append("interlaced, and restored as if it were not; deinterlace it first")
        full = Layout("yuv", there.bits)
        wanted = {"yuv": there, "rgb": full, "gray": Layout("yuv", there.bits, 2, 2) if image.shape[1] == 1 else full}[there.kind]
        self._colours = yuv.colours(frame) if there.kind == "yuv" else Colours(yuv.BT709, full=False)
        name, takes = encoders.choose(self.form, wanted.bits)
        height, width = image.shape[-2:]
        self._layout = yuv.nearest(wanted, takes, height=height, width=width, even=name not in encoders.ANY_SIZE)
        if self._layout.bits < wanted.bits:
            self.made.notes.append(f"{wanted.bits} bits per channel become {self._layout.bits}")
        if not wanted.fits(height, width) and self._layout != wanted:
            self.made.notes.append(
                f"an odd size, {width}×{height}, kept by chroma at more pixels ({self._layout.name}), which not every player shows"
            )
        return name

    def _tag(self, frame: Any, width: int, height: int) -> None:
        context = self._video.codec_context
        context.width, context.height, context.pix_fmt = width, height, self._layout.name
        ratio = self.main.sample_aspect_ratio
        if ratio:
            context.sample_aspect_ratio = ratio
        context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
        context.colorspace = self._colours.matrix
        told = frame.color_range or self._colours.full or yuv.layout(frame.format).kind != "yuv"
        context.color_range = (yuv.FULL if self._colours.full else yuv.LIMITED) if told else 0
        matrix = next((bytes(side) for side in frame.side_data if side.type.name == "DISPLAYMATRIX"), None)
        if matrix is not None and frame.rotation and self.form == "avi":
            raise UserError(f"{self.target}: AVI cannot hold the rotation of this clip; write .mp4, .mov or .mkv")
        if matrix is not None:
            *turn, across, down, one = struct.unpack("=9i", matrix)
            moved = (across * width // frame.width, down * height // frame.height)  # in pixels, of which there may be more
            self._video.set_display_matrix((*turn, *(max(-(2**31), min(2**31 - 1, way)) for way in moved), one))

    def _time(self, frame: Any) -> int:
        """When it is shown, in the encoder's time base."""
        base = self._video.codec_context.time_base
        if frame.pts is None or frame.time_base is None:
            return self._after(None if self._last is None else self._last + 1)
        second = frame.pts * frame.time_base
        if self._first is None:
            self._first = second
        exact = second / base if self.form != "avi" else (second - self._first) / base
        if self.form == "avi" and abs(exact - round(exact)) > Fraction(1, 4):
            raise UserError(f"{self.target}: the frame rate of this clip varies, and AVI has only one; write .mp4, .mov or .mkv")
        return self._after(round(exact))

    def _after(self, time: int | None) -> int:
        """`time`, or one later than the last frame where that is not earlier, as in damaged clips."""
        self._last = (time or 0) if self._last is None else max(time or 0, self._last + 1)
        return self._last

    def _storable(self) -> set[int]:
        """Numbers of the other streams that the container can hold."""
        kept = set()
        chapters = bool(self.read.chapters())
        for stream in self.read.streams:
            titles = chapters and stream.type == "data" and stream.name == "bin_data"  # of chapters, in MP4, written anew from these
            if stream.index == self.main.index or titles:
                continue
            codec = f"{stream.type} {stream.index}" + (f" ({stream.name})" if getattr(stream, "name", None) else "")
            if _can_hold(self.form, stream):
                kept.add(stream.index)
            elif stream.type == "audio":
                raise UserError(f"{self.target}: {self.target.suffix} cannot hold the sound of this clip, {codec}; write .mkv or .mov")
            else:
                self.made.notes.append(f"{codec} is left out, which {self.target.suffix} cannot hold")
        return kept

    @contextmanager
    def _writing(self) -> Iterator[None]:
        import av

        try:
            yield
        except (av.FFmpegError, ValueError) as fault:
            raise UserError(f"{self.target}: cannot be written: {_said(fault)}") from fault


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    refuse_without_library()
    import av

    files.refuse_strange(path)
    if not path.stat().st_size:
        raise ImageError(f"{path}: the file is empty (0 bytes)")
    try:
        # With "file:" no name is taken for an address.
        read = av.open(
            f"file:{path}", container_options={"format_whitelist": READ, "protocol_whitelist": "file"}, metadata_errors="replace"
        )
    except (av.FFmpegError, ValueError) as fault:
        known = " ".join(SUFFIXES)
        raise ImageError(f"{path}: no clip that can be read here, or damaged ({_said(fault)}); formats: {known}") from fault
    with read:
        yield read


def _main(path: Path, read: Any) -> Any:
    """The stream whose frames are restored: the first of video that is no cover picture."""
    import av

    for stream in read.streams.video:
        if stream.disposition & av.stream.Disposition.attached_pic:
            continue
        if stream.codec_context is None:
            raise ImageError(f"{path}: a kind of video that cannot be decoded here")
        stream.thread_type = "AUTO"
        return stream
    raise ImageError(f"{path}: no video in this file")


def _packets(read: Any, damaged: list[float]) -> Iterator[Any]:
    """All packets; where the file breaks off, those before it, and the empty ones that flush decoders."""
    import av

    ends = 0.0
    flushed: set[int] = set()
    try:
        for packet in read.demux():
            if packet.size:
                ends = max(ends, _second(packet) + float(packet.duration * (packet.time_base or 0)))
            else:
                flushed.add(packet.stream.index)
            yield packet
    except av.FFmpegError:
        damaged.append(ends)
    for stream in read.streams:
        if stream.index not in flushed:
            flush = av.Packet()
            flush.stream = stream
            yield flush
    stated = ((read.start_time or 0) + (read.duration or 0)) / 1e6
    if not damaged and ends < stated - max(SHORT_S, SHORT * stated):
        damaged.append(ends)


def _decoded(packet: Any, damaged: list[float]) -> list[Any]:
    import av

    if packet.size and packet.is_corrupt:
        damaged.append(_second(packet))
    try:
        frames = list(packet.decode())
    except av.FFmpegError:
        damaged.append(_second(packet))
        return []
    damaged += [_second(frame) for frame in frames if frame.is_corrupt]
    return frames


def _pixels(source: Path, frame: Any) -> Tensor:
    try:
        return yuv.decode(frame)
    except ImageError as fault:
        raise ImageError(f"{source}: {fault}") from fault


def _second(packet: Any) -> float:
    """When a packet or a frame is shown, as far as that is known."""
    return float((packet.pts or packet.dts or 0) * (packet.time_base or 0))


def _seconds(main: Any, read: Any) -> Fraction | None:
    if main.duration and main.time_base:
        return Fraction(main.duration * main.time_base)
    return Fraction(read.duration, 1_000_000) if read.duration else None


def _can_hold(form: str, stream: Any) -> bool:
    """Whether a header can be written with such a stream in it."""
    import av

    try:
        with av.open(io.BytesIO(), "w", format=form) as trial:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _said(fault: Exception) -> str:
    return str(getattr(fault, "strerror", None) or fault)
