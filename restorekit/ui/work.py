"""What the page does with a picture: the command line's own steps, from an uploaded file to one that is ready to be downloaded."""

from __future__ import annotations

import contextlib
import shlex
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from PIL import Image

from restorekit import discovery, memory, modelfile, photos, treatment
from restorekit.errors import ImageError, UserError, explain
from restorekit.images import floats
from restorekit.methods import MODEL_SUFFIX
from restorekit.ui import forms

if TYPE_CHECKING:
    from torch import Tensor

    from restorekit.interfaces import Iteration
    from restorekit.photos import Photo
    from restorekit.treatment import Treatment
    from restorekit.ui.forms import Offer

PREVIEW = 1600
"""Longest side in pixels of the pictures that are shown."""

PREVIEW_QUALITY = 92

EXAMPLE = "coffee"
"""Of scikit-image's photographs, the one to try the page with."""

SHAKE: list[dict[str, Any]] = [{"part": "core/camera-shake", "length": 14.0}, {"part": "core/gaussian-noise", "sigma": 0.01}]
"""What has been done to it."""

_told: ContextVar[list[str] | None] = ContextVar("told", default=None)

DESCRIBED = {0x010E: "description", 0x010F: "made by", 0x0110: "camera", 0x013B: "by", 0x8298: "©"}
"""EXIF tags that are shown."""


@dataclass(frozen=True)
class Upload:
    """A file that somebody dropped: where it lies, and how they call it."""

    path: Path
    name: str


@dataclass(frozen=True)
class Wish:
    """What somebody wants done.

    Attributes:
        picture: to restore.
        offer: the method.
        settings: options of the method that differ from their defaults.
        model: model file, where the method is an uploaded one.
        psf: blur kernel.
        mask: damaged area.
        references: pictures that guide the method.
        seed: see `restorekit.treatment.Treatment`, as `strength` and `self_ensemble`.
        strength: share of the result.
        self_ensemble: mean over flips and rotations.
        suffix: of the result, such as ``.png``; the picture's own if None.
        strip: leave out EXIF, XMP and resolution.
    """

    picture: Upload
    offer: Offer
    settings: Mapping[str, Any] = field(default_factory=dict)
    model: Upload | None = None
    psf: Upload | None = None
    mask: Upload | None = None
    references: tuple[Upload, ...] = ()
    seed: int = 0
    strength: float = 1.0
    self_ensemble: bool = False
    suffix: str | None = None
    strip: bool = False

    @property
    def uploads(self) -> tuple[Upload, ...]:
        """All files."""
        return tuple(one for one in (self.picture, self.model, self.psf, self.mask, *self.references) if one is not None)


@dataclass(frozen=True)
class Done:
    """A restored picture.

    Attributes:
        file: the result, to be downloaded.
        name: how it is called then.
        before: a preview of the picture.
        after: one of the result, of the same size.
        size: width and height of the previews.
        facts: what there is to say of it, as plain text.
        command: what does the same on the command line.
    """

    file: Path
    name: str
    before: Path
    after: Path
    size: tuple[int, int]
    facts: tuple[str, ...]
    command: str


@dataclass(frozen=True)
class Rules:
    """What holds for every picture.

    Attributes:
        device: as `restorekit.devices.pick` takes it.
        memory: bytes that the process is to keep under, or None.
        pixels: most pixels of a picture.
    """

    device: str = "auto"
    memory: int | None = None
    pixels: int = 50_000_000


def restore(wish: Wish, folder: Path, rules: Rules, listener: Callable[[Iteration], bool] | None = None) -> Done:
    """Restore a picture as ``restorekit restore`` does, and write the result and previews to `folder`.

    Args:
        wish: what to do.
        folder: empty; for the files.
        rules: what holds for every picture.
        listener: told of every step of a method that iterates; False asks to stop with the best picture so far.

    Raises:
        UserError: what the person can put right, worded with the names of their files.
    """
    with worded(wish.uploads):
        for upload in (wish.picture, wish.mask, *wish.references):
            if upload is not None:
                refuse_large(upload.path, rules.pixels)
        _refuse_archive(wish.psf, rules.pixels)
        start = time.perf_counter()
        with _heard() as warned:
            photo, treated = treatment.read(wish.picture.path), _prepared(wish, rules)
            if treated.method.restorer.iterative:
                treated.method.restorer.listener = listener
            restored = treated.apply(photo, wish.picture.name)
        suffix = wish.suffix or own_suffix(wish.picture.name, photo)
        name = f"{Path(wish.picture.name).stem}-restored{suffix}"
        file = photos.write(folder / f"result{suffix}", restored, like=photo.stripped() if wish.strip else photo)
        after, size = preview(restored, photo, folder / "after.webp")
        before, _ = preview(photo.image, photo, folder / "before.webp", size)
        height, width = restored.shape[-2:]
        facts = (
            f"{treated.method.label}, {time.perf_counter() - start:.1f} s on {treated.device.type}",
            f"{width}×{height} pixels, {photos.FORMATS[suffix]}, {file.stat().st_size / 1024:,.0f} kB",
        )
        return Done(file, name, before, after, size, (*facts, *(_named(line, wish.uploads) for line in warned)), command(wish, name))


def _prepared(wish: Wish, rules: Rules) -> Treatment:
    treated = treatment.prepare(
        _method(wish),
        wish.settings,
        psf=None if wish.psf is None else wish.psf.path,
        mask=None if wish.mask is None else wish.mask.path,
        reference=[upload.path for upload in wish.references],
        device=rules.device,
        strength=wish.strength,
        self_ensemble=wish.self_ensemble,
        seed=wish.seed,
    )
    return replace(treated, memory=rules.memory if treated.method.restorer.tiled else None)


def _method(wish: Wish) -> str:
    if wish.offer.model is not None:
        return str(wish.offer.model)
    if wish.offer.name != forms.OWN_MODEL:
        return wish.offer.name
    if wish.model is None:
        raise UserError("the method is a model file of yours: drop one below it (.safetensors), or choose another method")
    if wish.model.path.suffix != MODEL_SUFFIX:
        raise UserError(f"{wish.model.name}: a model file ends in {MODEL_SUFFIX}. Other programs' checkpoints: restorekit import --help")
    header = modelfile.read_header(wish.model.path)
    forms.refuse_paths("generator", header.recipe.content.get("generator"), discovery.registry(), "generator")
    return str(wish.model.path)


def listen() -> None:
    """Let people hear warnings, and each of them: of the whole process, whose own way to show them stays."""
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        before(message, category, *where, **more)
        told = _told.get()
        if told is not None and issubclass(category, UserWarning):
            told.append(f"warning: {' '.join(str(message).split())}")

    warnings.simplefilter("always", UserWarning, append=True)
    warnings.showwarning = show


@contextlib.contextmanager
def _heard() -> Iterator[list[str]]:
    """Warnings inside the block, for who waits for it."""
    told: list[str] = []
    token = _told.set(told)
    try:
        yield told
    finally:
        _told.reset(token)


def refuse_large(path: Path, most: int) -> None:
    """Refuse a picture by the size that its header tells, before it takes memory.

    Raises:
        UserError: it has more than `most` pixels.
    """
    try:
        width, height = photos.size(path)
    except ImageError:
        return  # reading it says what is wrong
    if width * height > most:
        raise UserError(f"{path}: {width}×{height} pixels; this page takes {most / 1e6:g} megapixels at most. Make it smaller, or cut it")


def _refuse_archive(psf: Upload | None, most: int) -> None:
    if psf is None:
        return
    if psf.path.suffix.lower() == ".npz":
        raise UserError(f"{psf.path}: an archive; give the blur kernel as .npy, or as a picture of it")
    if psf.path.suffix.lower() != ".npy":
        refuse_large(psf.path, most)


def own_suffix(name: str, photo: Photo) -> str:
    """The suffix of `name`, or one that says the file's format where the name has none that can be written."""
    suffix = Path(name).suffix.lower()
    return suffix if suffix in photos.FORMATS else next((s for s, form in photos.FORMATS.items() if form == photo.format), ".png")


def preview(image: Tensor, photo: Photo, file: Path, size: tuple[int, int] | None = None) -> tuple[Path, tuple[int, int]]:
    """A picture as every browser shows it: a WebP file, reduced where it is large.

    Args:
        image: ``(1, C, H, W)``, floats in [0, 1] or whole numbers.
        photo: what it was made from; its colour profile and transparency are kept.
        file: to write.
        size: width and height; those of `image`, `PREVIEW` at most, if None.

    Returns:
        `file` and its size.
    """
    height, width = image.shape[-2:]
    if size is None:
        scale = min(1.0, PREVIEW / max(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
    if size != (width, height):
        image = image if image.dtype == torch.uint8 else floats(image)  # a large picture takes a quarter of the memory so
        image = F.interpolate(image, size[::-1], mode="bicubic", antialias=True)
    alike = replace(photo.stripped(), bits=8)
    return photos.write(file, image, like=alike, quality=PREVIEW_QUALITY), size


def look(upload: Upload, folder: Path, rules: Rules) -> tuple[Path, tuple[int, int], tuple[str, ...]]:
    """A preview of an uploaded picture, its size, and what the file says of it, as plain text.

    Raises:
        UserError: it cannot be read, or is too large.
    """
    with worded([upload]):
        refuse_large(upload.path, rules.pixels)
        photo = treatment.read(upload.path)
        file, size = preview(photo.image, photo, folder / "before.webp")
    height, width = photo.image.shape[-2:]
    kept = [word for word, there in (("EXIF", photo.exif), ("XMP", photo.xmp), ("colour profile", photo.icc)) if there]
    facts = [f"{width}×{height} pixels, {photo.format or 'unknown format'}, {photo.bits} bits a channel"]
    facts += [f"kept: {', '.join(kept)}"] if kept else []
    return file, size, (*facts, *_described(photo.exif))


def _described(exif: bytes) -> Iterator[str]:
    tags = Image.Exif()
    with contextlib.suppress(Exception):  # a damaged description must not cost the picture
        tags.load(exif)
        yield from [f"{words}: {str(tags[tag])[:200].strip()}" for tag, words in DESCRIBED.items() if str(tags.get(tag, "")).strip()]


def example(folder: Path) -> Path:
    """A photograph of scikit-image's, blurred and noisy, to try the page with."""
    from restorekit import seeding

    photo = photos.bundled_photo(EXAMPLE)
    shake = discovery.registry().create("degradation", "core/sequence", steps=SHAKE)
    _, channels, height, width = photo.image.shape
    drawn = shake.sample(1, (channels, height, width), seeding.generator("ui", 0))
    return photos.write(folder / f"{EXAMPLE}-blurred.png", shake.apply(photo.image, drawn).image)


def command(wish: Wish, result: str) -> str:
    """What does the same on the command line."""
    words = ["restorekit", "restore", _as_file(wish.picture.name), "-o", _as_file(result)]
    method = wish.model.name if wish.model is not None else str(wish.offer.model or wish.offer.name)
    words += ["--with", _as_file(method) if wish.model is not None else method]
    for name, value in wish.settings.items():
        words += ["--set", f"{name}={_yaml(value)}"]
    for option, uploads in (("--psf", [wish.psf]), ("--mask", [wish.mask]), ("--reference", list(wish.references))):
        words += [word for upload in uploads if upload is not None for word in (option, _as_file(upload.name))]
    words += ["--seed", str(wish.seed)] if wish.seed else []
    words += ["--strength", str(wish.strength)] if wish.strength != 1 else []
    words += ["--self-ensemble"] if wish.self_ensemble else []
    words += ["--strip"] if wish.strip else []
    return shlex.join(words)


def _as_file(name: str) -> str:
    return f"./{name}" if name.startswith("-") else name


def _yaml(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value)


@contextlib.contextmanager
def worded(uploads: Sequence[Upload]) -> Iterator[None]:
    """Turn what goes wrong inside the block into the command line's message, with the names that people know their files by.

    Raises:
        UserError: whatever was raised; faults of the program are told from the person's by their words.
    """
    try:
        yield
    except Exception as fault:
        if memory.ran_out(fault):
            message = "not enough memory for this picture; make it smaller, or choose another method"
        elif isinstance(fault, UserError | OSError):
            message = explain(fault)
        else:
            message = f"restorekit failed: {explain(fault)}"
        raise UserError(_named(message, uploads)) from fault


def _named(message: str, uploads: Sequence[Upload]) -> str:
    """A message with the names that people know their files by."""
    for upload in uploads:
        message = message.replace(str(upload.path), upload.name)
    return message
