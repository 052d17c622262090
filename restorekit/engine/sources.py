"""From the recipe's ``data`` to training batches and validation pairs, with everything that is wrong with the files said first."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch

from restorekit.datasets import layouts
from restorekit.datasets.layouts import Listing
from restorekit.datasets.photographs import Photographs
from restorekit.engine.data import Batch, FixedDamage, PatchSource, validation_pairs, with_references
from restorekit.engine.reading import ReadAhead, workers_for
from restorekit.engine.references import read_references
from restorekit.errors import TrainingError
from restorekit.interfaces import Degradation, Generator
from restorekit.settings import BUNDLED, BUNDLED_SETS, DataSettings

WHOLE_SMALLEST = 8
"""Photographs with a smaller side are not enlarged either."""

LISTED = 100
"""Files that are left out are named one by one up to this number."""


@dataclass(frozen=True)
class Sources:
    """What a training reads.

    Attributes:
        images: the photographs or pairs that are trained on.
        patches: the batches.
        pairs: validation pairs; none for a generator that makes images from a latent.
        kind: what they are, in words.
        known: names of unreadable images that have been reported.
    """

    images: Photographs
    patches: PatchSource | ReadAhead
    pairs: list[Batch]
    kind: str
    known: frozenset[str]

    @property
    def count(self) -> int:
        """How many photographs or pairs can be read."""
        return len(self.images) - len(self.images.unreadable)

    def close(self) -> None:
        """End the processes that make batches, if there are any."""
        if isinstance(self.patches, ReadAhead):
            self.patches.close()

    def finish(self) -> int:
        """Report the images that turned out to be damaged while training.

        Returns:
            How many there are.
        """
        new = {name: message for name, message in self.patches.unreadable.items() if name not in self.known}
        if new:
            warnings.warn(
                f"images that could not be read while training, so that others took their place: {len(new)}", UserWarning, stacklevel=2
            )
        _list(new.values())
        return len(new)


def open_sources(
    settings: DataSettings,
    *,
    generator: Generator,
    degradation: Degradation | None,
    seed: int,
    device: torch.device,
    share: tuple[int, int] = (0, 1),
    beside: int = 1,
) -> Sources:
    """Find, check and, where they fit into memory, decode the images of a training.

    Args:
        settings: the recipe's ``data``.
        generator: says how many channels an image has, and which size.
        degradation: the recipe's; None if it has none.
        seed: of the recipe.
        device: where the network computes.
        share: rank and number of processes that make the batches together.
        beside: how many of them are on this machine.

    Raises:
        UserError: folders that are not there, images that cannot be used, settings that do not go together.
    """
    if not settings.train:
        raise TrainingError(f"data.train: which photographs? Give --data FOLDER, or --data {BUNDLED} to try with scikit-image's own")
    train = _listing("train", settings.train, settings.degraded, settings)
    validation = (
        None if settings.validation is None else _listing("validation", settings.validation, settings.validation_degraded, settings)
    )
    if generator.consumes == "latent":
        train, validation, degradation = train.sharp_sides(), None if validation is None else validation.sharp_sides(), None
    _check_degradation(settings, train, validation, generator, degradation)

    smallest = WHOLE_SMALLEST if settings.whole else settings.crop

    def usable(listing: Listing) -> Photographs:
        photographs = Photographs(listing, channels=generator.channels, smallest=smallest, scale=generator.scale)
        _warn_of_left_out(photographs)
        return photographs

    images = usable(train)
    held_out = None
    if validation is not None:
        held_out = usable(validation)
        _warn_of_seen(images, held_out)
    elif generator.consumes == "image":  # what makes pictures of latent vectors has no score to hold any out for
        images, held_out = images.split(settings.holdout, seed)
    fixed = FixedDamage(degradation, seed) if settings.fixed_degradation and degradation else None
    if fixed and not images.paired:
        images = images.damaged_by(fixed)
    taken = images.keep(settings.memory)
    synthetic = None
    if settings.synthetic_share:
        synthetic = images.sharp_sides()
        if settings.synthetic is not None:
            synthetic = usable(_listing("synthetic", settings.synthetic, None, settings).sharp_sides())
        if fixed:
            synthetic = synthetic.damaged_by(fixed)
        synthetic.keep(settings.memory - taken)
    made = None if images.paired and (synthetic is None or synthetic.paired) else degradation
    references = read_references(settings, seed)
    if references is not None and generator.classes not in (0, len(references.pictures)):
        raise TrainingError(
            f"generator.classes: {generator.classes}, and data.reference names {len(references.pictures)} picture(s); make them equal"
        )
    if references is None and generator.guided:
        raise TrainingError("data.reference: missing; this generator is guided by a picture. Give --set data.reference=FILE, or a folder")
    if references is None and generator.classes:
        for photographs in (images, synthetic) if synthetic is not None else (images,):
            _check_classes(generator.classes, photographs)
    patches = PatchSource(images, settings, made, seed, synthetic, share, labels=generator.classes > 0, references=references)
    pairs = []
    if held_out is not None and generator.consumes == "image":
        pairs = validation_pairs(held_out, settings, degradation, seed)
    if references is not None:
        each = len(references.pictures)
        pairs = [with_references(pair, references, [i % each], labels=generator.classes > 0) for i, pair in enumerate(pairs)]
    known = patches.unreadable
    _list({**known, **({} if held_out is None else held_out.failures)}.values())
    workers = workers_for(settings.workers, device, beside)
    kind = layouts.WORDS[train.layout] + (f", {settings.synthetic_share:.0%} of the patches synthetic" if synthetic is not None else "")
    return Sources(images, ReadAhead(patches, workers) if workers else patches, pairs, kind, frozenset(known))


def _listing(key: str, folder: str, degraded: str | None, settings: DataSettings) -> Listing:
    divided = None if folder in BUNDLED_SETS or settings.layout != "auto" else layouts.divided(folder)
    if divided:
        raise TrainingError(
            f"data.{key}: {folder} holds {divided[0].name} and {divided[1].name}. Give --data {divided[0]} --val {divided[1]}; "
            "if they are no parts of a data set, say what they hold: --set data.layout=sharp"
        )
    layout = "auto" if degraded is not None or key == "synthetic" else settings.layout
    listing = layouts.find(folder, degraded=degraded, layout=layout, blur_folder=settings.blur_folder, sharp_half=settings.sharp_half)
    if degraded is None and folder not in BUNDLED_SETS and settings.layout == "auto" and not listing.paired:
        _check_twins(key, listing)
    if layout == "auto" and listing.paired and degraded is None:
        warnings.warn(
            f"data.{key}: {folder} is taken for {len(listing.entries)} {layouts.WORDS[listing.layout]}. "
            f"data.layout={listing.layout} confirms it, data.layout=sharp says that they are single photographs",
            UserWarning,
            stacklevel=2,
        )
    return listing


def _check_twins(key: str, listing: Listing) -> None:
    """Refuse to train on the blurred sides of pairs that lie in two folders of any name."""
    twins = layouts.twins(listing)
    if twins is None:
        return
    sharp, other = (Path(listing.folder) / folder for folder in twins)
    if twins[0].parent != Path():
        scenes = twins[0].name == layouts.SHARP
        advice = f"give --set data.layout=gopro --set data.blur_folder={other.name}" if scenes else "give each side as a folder of its own"
    elif key == "train":
        advice = f"give --data {sharp} --set data.degraded={other}"
    else:
        advice = f"give --val {sharp} --set data.validation_degraded={other}" if key == "validation" else f"give --set data.{key}={sharp}"
    raise TrainingError(
        f"data.{key}: {sharp} and {other} hold the same pictures. If they are pairs, {advice}; "
        "if all are good photographs, say so: --set data.layout=sharp"
    )


def _check_classes(wanted: int, images: Photographs) -> None:
    """Whether the photographs lie in as many folders as the generator has classes, with at least one left to train on in each."""
    folder, classes = images.listing.folder, images.classes
    sort = f"{wanted} folder{'s' if wanted > 1 else ''}"
    if not classes:
        raise TrainingError(
            f"generator.classes: {wanted}, and {folder} has no folders: a class is a folder of pictures. Sort them into {sort}, "
            "or set generator.classes=0 and the critic's likewise"
        )
    loose = [name for name in images.names if "/" not in name]
    if loose:
        more = f" and {len(loose) - 1} more lie" if len(loose) > 1 else " lies"
        raise TrainingError(
            f"generator.classes: {wanted}, and a class is a folder of pictures: {folder}/{loose[0]}{more} in none. "
            "Put each into the folder of its class, or take it away"
        )
    if len(classes) != wanted:
        names = ", ".join(classes[:5]) + (" …" if len(classes) > 5 else "")
        found = f"{len(classes)} classes, a folder each" if len(classes) > 1 else "one class"
        raise TrainingError(
            f"generator.classes: {wanted}, and {folder} holds {found}: {names}. "
            f"Set generator.classes={len(classes)} and the critic's likewise, or sort the pictures into {sort}"
        )
    left = {images.label(index) for index in range(len(images))}
    gone = [name for number, name in enumerate(classes) if number not in left]
    if gone:
        raise TrainingError(
            f"data.holdout: {folder}/{gone[0]} has no picture left to train on, since all in it are held out for validation. "
            "Add pictures to it, or name another folder with data.validation"
        )


def _check_degradation(
    settings: DataSettings, train: Listing, validation: Listing | None, generator: Generator, degradation: Degradation | None
) -> None:
    """Whether what is to be degraded and what the recipe has for it go together."""
    if settings.synthetic_share and not train.paired:
        raise TrainingError("data.synthetic_share: data.train holds no pairs that synthetic ones could be mixed with; leave it out")
    if settings.fixed_degradation and ((train.paired and not settings.synthetic_share) or generator.consumes == "latent"):
        raise TrainingError("data.fixed_degradation: nothing is degraded here; leave it out")
    if generator.consumes == "latent":
        return
    made = not train.paired or bool(settings.synthetic_share)
    if degradation is None:
        if made:
            raise TrainingError(
                "degradation: missing; the generator restores images, so say how they get damaged, or give pairs: "
                "the degraded pictures as data.degraded, or data.train in the layout ab or gopro"
            )
        if validation is not None and not validation.paired:
            raise TrainingError("data.validation_degraded: missing; without a degradation in the recipe, validation needs pairs too")
        return
    if degradation.scale != generator.scale:
        raise TrainingError(
            f"degradation: makes images {degradation.scale} times smaller and the generator {generator.scale} times larger; make them equal"
        )
    if not made:
        use = "for validation only" if validation is not None and not validation.paired else "not used"
        warnings.warn(
            f"degradation: {use}, since data.train holds real pairs; data.synthetic_share mixes in synthetic ones",
            UserWarning,
            stacklevel=2,
        )


def _warn_of_left_out(photographs: Photographs) -> None:
    left_out, folder = photographs.left_out, photographs.listing.folder
    if left_out:
        warnings.warn(f"{folder}: {len(photographs)} can be used, {len(left_out)} left out", UserWarning, stacklevel=2)
    _list(left_out)


def _list(messages: Collection[str]) -> None:
    for message in itertools.islice(messages, LISTED):
        warnings.warn(f"left out: {message}", UserWarning, stacklevel=2)
    if len(messages) > LISTED:
        warnings.warn(f"and {len(messages) - LISTED} more; restorekit data check FOLDER lists them all", UserWarning, stacklevel=2)


def _warn_of_seen(images: Photographs, held_out: Photographs) -> None:
    seen = images.files & held_out.files
    if seen:
        warnings.warn(
            f"data.validation: {len(seen)} of {len(held_out)} photographs are trained on, so that scores will be too good: "
            f"{', '.join(sorted(map(str, seen))[:3])}",
            UserWarning,
            stacklevel=2,
        )
