"""Batches of patches as a pure function of seed and step, so that stopping, resuming and reading ahead change nothing."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from restorekit import seeding
from restorekit.datasets.photographs import Photographs, Pixels, Sample
from restorekit.engine.patches import Colours, cut, draw_colours, draw_place, recolour
from restorekit.engine.references import References
from restorekit.errors import ImageError, TrainingError
from restorekit.images import Degraded
from restorekit.interfaces import Degradation
from restorekit.settings import DataSettings

VALIDATION_SIDE = 512
"""Validation pictures are cut to at most this many pixels a side, so that a validation takes seconds."""

WHOLE = (1e-9, 1e-9)
"""A zoom at which a patch shows all that a square can of a photograph."""

TRIES = 20
"""Unreadable files in a row after which something else must be wrong."""


@dataclass(frozen=True)
class Batch:
    """Sharp patches ``(N, C, H, W)``, what the generator gets of them, and their class labels ``(N,)``, if it takes any."""

    sharp: Tensor
    degraded: Degraded
    labels: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """A copy on `device`."""
        labels = None if self.labels is None else self.labels.to(device)
        return Batch(self.sharp.to(device), self.degraded.to(device), labels)


@dataclass(frozen=True)
class _Patch:
    """One patch ``(side, side, C)`` uint8 on its way into a batch; without `degraded` it has the degradation's margin."""

    sharp: Tensor
    degraded: Tensor | None
    colours: Colours | None
    label: int


class PatchSource:
    """Training batches.

    Patches to be degraded are cut with a margin as wide as the degradation reaches, degraded, then cropped, so that
    inside the photograph no border is invented; beyond its edge pixels are mirrored. Both sides of a real pair are cut
    at the same place.

    A file that turns out to be damaged is replaced: the patch comes from another photograph, drawn from seed, step and
    the patch's number, and all other patches are as they would have been.

    Args:
        images: the photographs or pairs.
        settings: the recipe's ``data``.
        degradation: for photographs without a counterpart; None where the generator makes images from a latent, or where
            all are pairs.
        seed: of everything that is drawn.
        synthetic: photographs for ``settings.synthetic_share`` of the patches, beside the pairs of `images`.
        share: which of how many equal parts of each batch is made, as the rank and number of processes; together they are
            the batch that one process makes.
        labels: whether batches have the photographs' class labels, or the numbers of their references where there are any.
        references: of which every patch gets one, or None.
    """

    def __init__(
        self,
        images: Photographs,
        settings: DataSettings,
        degradation: Degradation | None,
        seed: int,
        synthetic: Photographs | None = None,
        share: tuple[int, int] = (0, 1),
        labels: bool = False,
        references: References | None = None,
    ) -> None:
        self.labels, self.references = labels, references
        self.images, self.synthetic, self.settings, self.degradation, self.seed = images, synthetic, settings, degradation, seed
        rank, world = share
        self.own = range(rank * settings.batch // world, (rank + 1) * settings.batch // world)
        self.scale = images.scale if images.paired else degradation.scale if degradation else 1
        if settings.crop % self.scale:
            raise TrainingError(f"data.crop: {settings.crop} is no multiple of {self.scale}, the degradation's scale")
        if self.scale > 1 and settings.sharp_share:
            raise TrainingError("data.sharp_share: must be 0 where the degradation changes the size")
        self.margin = degradation.margin * self.scale if degradation else 0

    @property
    def unreadable(self) -> dict[str, str]:
        """Messages of the files that could not be read so far, by name."""
        sets = [self.images] if self.synthetic is None else [self.images, self.synthetic]
        return {name: message for images in sets for name, message in images.failures.items()}

    def batch(self, step: int) -> Batch:
        """The batch of one step; the same for the same seed, whoever asks and when.

        Raises:
            TrainingError: hardly any file can be read any more.
        """
        patches = {number: self._patch(step, number) for number in self.own}
        rng = seeding.generator(self.seed, "batch", step)
        # Damage is drawn for the whole batch, whatever the share, so that shares make up the batch.
        first, count = step * self.settings.batch, self.settings.batch
        unpaired = [number for number in range(count) if not self._chosen(first + number)[0].paired]
        made = [number for number in unpaired if number in self.own]
        real = [number for number in self.own if patches[number].degraded is not None]
        parts = []
        if unpaired:
            drawn = self._drawn(len(unpaired), rng)
            if made:
                places = [unpaired.index(number) for number in made]
                parts.append((made, self._made([patches[i] for i in made], {name: value[places] for name, value in drawn.items()})))
        if real:
            parts.append((real, _real([patches[i] for i in real])))
        batch = parts[0][1] if len(parts) == 1 else _merged(parts)
        if self.references is not None:
            batch = with_references(
                batch, self.references, [self.references.drawn(step, number) for number in self.own], labels=self.labels
            )
        elif self.labels:
            batch = replace(batch, labels=torch.tensor([patches[number].label for number in self.own]))
        if not self.settings.sharp_share:
            return batch
        untouched = torch.rand(self.settings.batch, 1, 1, 1, generator=rng)[self.own.start : self.own.stop] < self.settings.sharp_share
        degraded = batch.degraded
        mask = None if degraded.mask is None else torch.where(untouched, torch.zeros(()), degraded.mask)
        return replace(batch, degraded=replace(degraded, image=torch.where(untouched, batch.sharp, degraded.image), mask=mask))

    def _drawn(self, count: int, rng: torch.Generator) -> dict[str, Tensor]:
        side = self.settings.crop + 2 * self.margin
        return {} if self.degradation is None else dict(self.degradation.sample(count, (self.images.channels, side, side), rng))

    def _made(self, patches: list[_Patch], params: dict[str, Tensor]) -> Batch:
        wide = _as_floats([patch.sharp for patch in patches], [patch.colours for patch in patches])
        inner = slice(self.margin, self.margin + self.settings.crop)
        sharp = wide[..., inner, inner].contiguous()
        if self.degradation is None:
            return Batch(sharp, Degraded(sharp))
        degraded = self.degradation.apply(wide, params)
        inner = slice(self.degradation.margin, self.degradation.margin + self.settings.crop // self.scale)
        image = degraded.image[..., inner, inner].contiguous()
        mask = None if degraded.mask is None else degraded.mask[..., inner, inner].contiguous()
        return Batch(sharp, replace(degraded, image=image, mask=mask))

    def _patch(self, step: int, number: int) -> _Patch:
        images, index = self._chosen(step * self.settings.batch + number)
        index, sample = self._read(images, index, step, number)
        label = images.label(index) if self.labels and self.references is None else 0
        settings = self.settings
        rng = seeding.generator(self.seed, "patch", step, number)
        scale = 1 if sample.degraded is None else self.scale
        zoom = WHOLE if settings.whole else settings.zoom
        place = draw_place(sample.sharp.shape, settings.crop, zoom=zoom, flips=settings.flips, rng=rng, multiple_of=scale)
        colours = draw_colours(settings.colour_jitter, images.channels, rng) if settings.colour_jitter else None
        if sample.degraded is None:
            return _Patch(cut(sample.sharp, place, side=settings.crop, margin=self.margin), None, colours, label)
        degraded = cut(sample.degraded, place, side=settings.crop // scale, scale=scale)
        return _Patch(cut(sample.sharp, place, side=settings.crop), degraded, colours, label)

    def _chosen(self, position: int) -> tuple[Photographs, int]:
        """Which photograph the patch at `position` of all patches comes from: each of a set once an epoch of that set."""
        share = self.settings.synthetic_share if self.synthetic is not None else 0.0
        before = math.floor(position * share)
        if self.synthetic is not None and math.floor((position + 1) * share) > before:
            epoch, place = divmod(before, len(self.synthetic))
            return self.synthetic, _order(self.seed, "synthetic epoch", epoch, len(self.synthetic))[place]
        epoch, place = divmod(position - before, len(self.images))
        return self.images, _order(self.seed, "epoch", epoch, len(self.images))[place]

    def _read(self, images: Photographs, index: int, step: int, number: int) -> tuple[int, Sample]:
        try:
            return index, images.read(index)
        except ImageError:
            rng = seeding.generator(self.seed, "replacement", step, number)
        message = ""
        for _ in range(TRIES):
            try:
                index = int(torch.randint(len(images), (), generator=rng))
                return index, images.read(index)
            except ImageError as fault:
                message = str(fault)
        raise TrainingError(f"{TRIES} photographs drawn in a row cannot be read; is the disk still there? The last: {message}")


@functools.lru_cache(maxsize=4)
def _order(seed: int, name: str, epoch: int, count: int) -> tuple[int, ...]:
    return tuple(torch.randperm(count, generator=seeding.generator(seed, name, epoch)).tolist())


def _real(patches: list[_Patch]) -> Batch:
    colours = [patch.colours for patch in patches]
    sharp = _as_floats([patch.sharp for patch in patches], colours)
    return Batch(sharp, Degraded(_as_floats([patch.degraded for patch in patches if patch.degraded is not None], colours)))


def _as_floats(patches: list[Tensor], colours: list[Colours | None]) -> Tensor:
    image = torch.stack(patches).permute(0, 3, 1, 2).contiguous().float() / 255
    changes = [change for change in colours if change is not None]
    return recolour(image, changes) if changes else image


def _merged(parts: list[tuple[list[int], Batch]]) -> Batch:
    """Synthetic and real patches in the order of their numbers; parameters, known of some only, are left out."""
    order = torch.tensor([number for numbers, _ in parts for number in numbers]).argsort()
    sharp = torch.cat([batch.sharp for _, batch in parts])[order]
    image = torch.cat([batch.degraded.image for _, batch in parts])[order]
    masks = [batch.degraded.mask for _, batch in parts]
    if all(mask is None for mask in masks):
        return Batch(sharp, Degraded(image))
    whole = [torch.zeros_like(batch.degraded.image[:, :1]) if mask is None else mask for (_, batch), mask in zip(parts, masks, strict=True)]
    return Batch(sharp, Degraded(image, torch.cat(whole)[order]))


def with_references(batch: Batch, references: References, chosen: list[int], *, labels: bool) -> Batch:
    """The batch with the chosen pictures as its references and, if `labels`, their numbers as its labels."""
    degraded = replace(batch.degraded, reference=references.taken(chosen))
    return replace(batch, degraded=degraded, labels=torch.tensor(chosen) if labels else batch.labels)


@dataclass(frozen=True)
class FixedDamage:
    """Damages a whole photograph in the one way that follows from its name, and rounds to 8 bits as a file would.

    Args:
        degradation: what is drawn once for each photograph.
        seed: of what is drawn.
    """

    degradation: Degradation
    seed: int

    def __call__(self, name: str, pixels: Pixels) -> Sample:
        """A pair.

        Raises:
            TrainingError: the degradation marks missing pixels, which a pair of pictures cannot.
        """
        scale = self.degradation.scale
        height, width = (side // scale * scale for side in pixels.shape[:2])
        sharp = pixels[:height, :width]
        image = torch.from_numpy(sharp.copy()).permute(2, 0, 1)[None].float() / 255
        params = self.degradation.sample(1, (image.shape[1], height, width), seeding.generator(self.seed, "fixed", name))
        degraded = self.degradation.apply(image, params)
        if degraded.mask is not None:
            raise TrainingError("data.fixed_degradation: not with a degradation that marks missing pixels, which a pair of pictures cannot")
        return Sample(sharp, (degraded.image[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy())


def validation_pairs(images: Photographs, settings: DataSettings, degradation: Degradation | None, seed: int) -> list[Batch]:
    """The same few pairs at every validation, one a batch since sizes differ: real ones, or degraded the same way each time.

    Files that cannot be read are passed over and noted in ``images.unreadable``.

    Raises:
        TrainingError: none of the images can be read.
    """
    pairs: list[Batch] = []
    for index in range(len(images)):
        try:
            sample = images.read(index)
        except ImageError:
            continue
        pairs.append(_validation_pair(sample, len(pairs), images.scale, degradation, seed))
        if len(pairs) == settings.validation_images:
            break
    if not pairs:
        raise TrainingError(f"no validation image can be read: {next(iter(images.unreadable.values()))}")
    return pairs


def _validation_pair(sample: Sample, number: int, scale: int, degradation: Degradation | None, seed: int) -> Batch:
    if sample.degraded is None:
        assert degradation is not None
        scale = degradation.scale
    multiple = 1 if sample.degraded is None else scale
    top, left = (max(0, (side - VALIDATION_SIDE) // 2) // multiple * multiple for side in sample.sharp.shape[:2])
    cut = sample.sharp[top : top + VALIDATION_SIDE, left : left + VALIDATION_SIDE]
    height, width = (side // scale * scale for side in cut.shape[:2])
    sharp = _as_floats([torch.from_numpy(cut[:height, :width].copy())], [None])
    if sample.degraded is not None:
        below = sample.degraded[top // scale :, left // scale :][: height // scale, : width // scale]
        return Batch(sharp, Degraded(_as_floats([torch.from_numpy(below.copy())], [None])))
    assert degradation is not None
    params = degradation.sample(1, (sharp.shape[1], height, width), seeding.generator(seed, "validation", number))
    return Batch(sharp, degradation.apply(sharp, params))
