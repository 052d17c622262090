"""Which file belongs to which: sharp photographs, pairs in two folders, halves of one picture, or the scenes of GoPro."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restorekit import photos
from restorekit.errors import ImageError, UserError
from restorekit.settings import BUNDLED, BUNDLED_SETS

if TYPE_CHECKING:
    from torch import Tensor

Layout = Literal["sharp", "pairs", "ab", "gopro"]

WORDS: Mapping[Layout, str] = {
    "sharp": "sharp photographs",
    "pairs": "pairs in two folders",
    "ab": "pairs side by side in one picture",
    "gopro": "pairs in scenes with a blurred and a sharp folder",
}

SHARP = "sharp"
BLURRED = ("blur", "blur_gamma")
"""The folders of a scene as GoPro has them; the second is blurred in linear light."""

SPLITS = ("test", "val", "valid", "validation")
"""What lies beside a folder ``train`` in a set that comes divided."""

FACES, ALL_FACES = 80, 100
"""Of scikit-image's ``lfw_subset`` the first hundred are faces; so many of them are trained on."""

TEXTURE_ROWS = 384
"""Of the 512 rows of each texture, those that are trained on."""

LOOKED_AT = 5
"""Pictures that are read to see whether a folder holds pairs."""

ALIKE = 0.4
"""Correlation of the halves' detail from which a picture counts as a pair.

Of the 400 photographs of bsd400 three exceed it; of 100 of them beside themselves with camera shake of 22 px all do.
The majority of five pictures decides, so that a folder of photographs is not mistaken for pairs.
"""


@dataclass(frozen=True)
class Entry:
    """A photograph and, in a pair, its degraded counterpart.

    Attributes:
        name: path inside its folder, without the suffix; by this pairs are matched.
        sharp: the file.
        degraded: the file, or None for a photograph alone. The same as `sharp` where both are halves of one picture.
        half: which half of the file is sharp; empty where the file is one picture.
        item: which picture of a file with an array of them; None where it is no such file.
        rows: first row and the one after the last, where only these belong to it; None for all.
    """

    name: str
    sharp: Path
    degraded: Path | None = None
    half: Literal["left", "right", ""] = ""
    item: int | None = None
    rows: tuple[int, int] | None = None

    def alone(self) -> Entry:
        """The sharp side."""
        return replace(self, degraded=None)


@dataclass(frozen=True)
class Listing:
    """What a folder holds, by name; no picture has been decoded.

    Attributes:
        folder: as it was given.
        layout: as it was given or found.
        entries: in the order of their paths.
        unmatched: a message for each file without its counterpart.
    """

    folder: str
    layout: Layout
    entries: tuple[Entry, ...]
    unmatched: tuple[str, ...] = ()

    @property
    def paired(self) -> bool:
        """Whether the photographs have degraded counterparts."""
        return self.layout != "sharp"

    def sharp_sides(self) -> Listing:
        """The same photographs without their counterparts."""
        return replace(self, layout="sharp", entries=tuple(entry.alone() for entry in self.entries))


def find(
    folder: str | Path,
    *,
    degraded: str | Path | None = None,
    layout: Literal["auto", "sharp", "ab", "gopro"] = "auto",
    blur_folder: str = "blur",
    sharp_half: Literal["left", "right"] = "right",
) -> Listing:
    """List the photographs or pairs of a folder.

    Args:
        folder: searched recursively; ``bundled`` and its like mean what is inside scikit-image.
        degraded: folder of the counterparts, matched by name.
        layout: see `restorekit.settings.DataSettings`; ``auto`` takes scenes for ``gopro``, pictures whose halves show the same
            for ``ab``, and everything else for ``sharp``.
        blur_folder: of the layout ``gopro``.
        sharp_half: of the layout ``ab``.

    Raises:
        UserError: a folder that does not exist or is empty, or pairs of which none match.
    """
    if str(folder) in BUNDLED_SETS:
        if degraded is not None or layout not in ("auto", "sharp"):
            raise UserError(f"{folder}: the photographs inside scikit-image have no degraded counterparts")
        return Listing(str(folder), "sharp", tuple(_bundled(str(folder))))
    where = _folder(folder)
    if degraded is not None:
        return _two_folders(where, _folder(degraded))
    files = photos.find([where])
    scenes = _scenes(where, files) if layout in ("auto", "gopro") else {}
    if layout == "gopro" or (layout == "auto" and any(_is_scene(kinds, blur_folder) for kinds in scenes.values())):
        return _gopro(where, scenes, blur_folder)
    if layout == "ab" or (layout == "auto" and side_by_side(files)):
        return Listing(str(folder), "ab", tuple(Entry(_stem(file.relative_to(where).as_posix()), file, file, sharp_half) for file in files))
    return Listing(str(folder), "sharp", tuple(Entry(_stem(file.relative_to(where).as_posix()), file) for file in files))


def side_by_side(files: Sequence[Path]) -> bool:
    """Whether most of a few pictures show the same in their left and right half."""
    votes = []
    for file in files[:: max(1, len(files) // LOOKED_AT)][:LOOKED_AT]:
        try:
            votes.append(_halves_alike(file) > ALIKE)
        except ImageError:
            continue  # what cannot be read is reported where it is needed
    return sum(votes) > len(votes) / 2


def divided(folder: str | Path) -> tuple[Path, Path] | None:
    """The folders ``train`` and, say, ``test`` right inside `folder`, where both are there."""
    train = Path(folder) / "train"
    others = [Path(folder) / name for name in SPLITS if (Path(folder) / name).is_dir()]
    return (train, others[0]) if train.is_dir() and others else None


def twins(listing: Listing) -> tuple[Path, Path] | None:
    """Two folders among single photographs that hold the same names and, looked at, the same pictures: pairs that nobody called so.

    Returns:
        The folders, relative to that of the listing, the one with more detail first; of scenes those of the first one.
    """
    for place in range(max((entry.name.count("/") for entry in listing.entries), default=0)):
        sides: dict[str, dict[str, Entry]] = {}
        for entry in listing.entries:
            parts = entry.name.split("/")
            if len(parts) > place + 1:
                sides.setdefault(parts.pop(place), {})["/".join(parts)] = entry
        if len(sides) != 2:
            continue
        (one, first), (other, second) = sides.items()
        both = sorted(first.keys() & second.keys())
        if 2 * len(both) < min(len(first), len(second)):
            continue
        votes = []
        for name in both[:: max(1, len(both) // LOOKED_AT)][:LOOKED_AT]:
            try:
                votes.append(_compared(first[name].sharp, second[name].sharp))
            except ImageError:
                continue
        if sum(alike for alike, _ in votes) > len(votes) / 2:
            scene = Path(*first[both[0]].name.split("/")[:place])
            backward = sum(more for _, more in votes) < 0
            return (scene / other, scene / one) if backward else (scene / one, scene / other)
    return None


def _bundled(name: str) -> Iterator[Entry]:
    inside = photos.bundled()
    if name == BUNDLED:
        yield from (Entry(key, path) for key, path in inside.items())
    elif name.startswith(f"{BUNDLED}-faces"):
        file = next(iter(inside.values())).with_name("lfw_subset.npy")
        items = range(FACES, ALL_FACES) if name.endswith("-heldout") else range(FACES)
        yield from (Entry(f"face-{item:03}", file, item=item) for item in items)
    else:
        rows = (TEXTURE_ROWS, 512) if name.endswith("-heldout") else (0, TEXTURE_ROWS)
        yield from (Entry(f"{key}/{key}", inside[key], rows=rows) for key in ("brick", "grass", "gravel"))


def _folder(given: str | Path) -> Path:
    folder = Path(given)
    if not folder.is_dir():
        what = "a file" if folder.exists() else "no such folder"
        raise UserError(f"{given}: {what}; expected a folder of images, or {BUNDLED!r} for the photographs inside scikit-image")
    return folder


def _two_folders(sharp: Path, degraded: Path) -> Listing:
    one, other = Path(os.path.realpath(sharp)), Path(os.path.realpath(degraded))
    if one == other:
        raise UserError(f"{sharp}: the same folder for the sharp and the degraded pictures")
    # One folder may lie inside the other; what is in the inner one belongs to that side alone.
    first = {file.relative_to(sharp).as_posix(): file for file in _outside(photos.find([sharp]), other, one)}
    second = {file.relative_to(degraded).as_posix(): file for file in _outside(photos.find([degraded]), one, other)}
    entries, lonely, ambiguous = _matched(first, second)
    known = set(first.values())
    unmatched = [
        f"{file}: no degraded picture of this name in {degraded}" if file in known else f"{file}: no sharp picture of this name in {sharp}"
        for file in lonely
    ]
    if not entries:
        raise UserError(
            f"{sharp} and {degraded}: {len(first)} and {len(second)} pictures, but no name is in both: "
            f"{next(iter(first), 'nothing')} here, {next(iter(second), 'nothing')} there. "
            "A pair is two files with the same path inside their folders, whatever the suffix"
        )
    return Listing(str(sharp), "pairs", entries, tuple(unmatched + ambiguous))


def _outside(files: Sequence[Path], inner: Path, outer: Path) -> list[Path]:
    if outer not in inner.parents:
        return list(files)
    return [file for file in files if inner not in Path(os.path.realpath(file.parent), file.name).parents]


def _matched(sharp: Mapping[str, Path], degraded: Mapping[str, Path]) -> tuple[tuple[Entry, ...], list[Path], list[str]]:
    """Pairs by path, then by path without suffix; files without a counterpart; messages on names that fit several files."""
    exact = sharp.keys() & degraded.keys()
    stems = Counter(map(_stem, exact))
    pairs = {_stem(name) if stems[_stem(name)] == 1 else name: (sharp[name], degraded[name]) for name in exact}
    left, right = (_by_stem({name: file for name, file in side.items() if name not in exact}) for side in (sharp, degraded))
    lonely: list[Path] = []
    ambiguous = []
    for stem in sorted(left.keys() | right.keys()):
        here, there = left.get(stem, []), right.get(stem, [])
        if len(here) == len(there) == 1 and stem not in pairs:
            pairs[stem] = (here[0], there[0])
        elif here and there:
            ambiguous.append(f"{', '.join(map(str, [*here, *there]))}: one name for several files; which belong together?")
        else:
            lonely += [*here, *there]
    return tuple(Entry(name, *files) for name, files in sorted(pairs.items())), lonely, ambiguous


def _stem(name: str) -> str:
    """A path without the suffix, with forward slashes."""
    return Path(name).with_suffix("").as_posix()


def _by_stem(files: Mapping[str, Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for name, file in sorted(files.items()):
        found.setdefault(_stem(name), []).append(file)
    return found


def _scenes(folder: Path, files: Sequence[Path]) -> dict[Path, dict[str, dict[str, Path]]]:
    """Files by scene, by the name of the folder within it, by their own name."""
    found: dict[Path, dict[str, dict[str, Path]]] = {}
    for file in files:
        if file.parent != folder:
            found.setdefault(file.parent.parent, {}).setdefault(file.parent.name, {})[file.name] = file
    return found


def _is_scene(kinds: Mapping[str, object], blur_folder: str) -> bool:
    return SHARP in kinds and any(name in kinds for name in (blur_folder, *BLURRED))


def _gopro(folder: Path, scenes: Mapping[Path, Mapping[str, Mapping[str, Path]]], blur_folder: str) -> Listing:
    entries: list[Entry] = []
    unmatched: list[str] = []
    beside: set[str] = set()
    for scene, kinds in sorted(scenes.items()):
        sharp, blurred = kinds.get(SHARP, {}), kinds.get(blur_folder, {})
        if not sharp and not blurred:
            if not kinds.keys() & {*BLURRED}:
                strays = [file for kind in kinds.values() for file in kind.values()]
                unmatched += [f"{file}: neither in a folder {SHARP} nor in {blur_folder}" for file in strays]
            continue
        beside |= kinds.keys()
        found, lonely, ambiguous = _matched(sharp, blurred)
        inside = scene.relative_to(folder).as_posix()
        entries += [Entry(entry.name if inside == "." else f"{inside}/{entry.name}", entry.sharp, entry.degraded) for entry in found]
        for file in lonely:
            other = blur_folder if file.parent.name == SHARP else SHARP
            unmatched.append(f"{file}: no picture of this name in {scene / other}")
        unmatched += ambiguous
    if not entries:
        others = sorted(beside & {*BLURRED} - {blur_folder})
        hint = f"there is {others[0]}: give it as data.blur_folder or --blur-folder" if others else "expected scene/sharp/1.png and so on"
        raise UserError(f"{folder}: no pairs in folders {SHARP} and {blur_folder} of one scene; {hint}")
    return Listing(str(folder), "gopro", tuple(entries), tuple(unmatched))


def _halves_alike(file: Path) -> float:
    """Correlation of the fine detail of a picture's halves, at 64×64 pixels each; -1 for an odd width."""
    image = photos.read(file).image
    if image.shape[3] % 2:
        return -1.0
    left, right = (_detail(half) for half in image.chunk(2, 3))
    return _correlation(left, right)


def _compared(first: Path, second: Path) -> tuple[bool, float]:
    """Whether two files show the same, and by how much the first has more detail."""
    images = [photos.read(file).image for file in (first, second)]
    one, other = map(_detail, images)
    fine = [float(image.diff(dim=3).abs().mean() + image.diff(dim=2).abs().mean()) for image in images]
    return _correlation(one, other) > ALIKE, fine[0] - fine[1]


def _detail(image: Tensor) -> NDArray[np.float64]:
    """The fine detail of an image ``(1, C, H, W)``, at 64×64 pixels."""
    small = Image.fromarray(image[0].mean(0).numpy()).resize((64, 64), Image.Resampling.BOX)
    coarse = small.resize((16, 16), Image.Resampling.BOX).resize((64, 64), Image.Resampling.BICUBIC)
    return np.asarray(small, np.float64) - np.asarray(coarse, np.float64)


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    power = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / power if power > 1e-9 else 0.0
