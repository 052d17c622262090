"""Whether a generator that declares itself local is, and what tiles make of an image."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from restorekit import config, memory, modelfile
from restorekit.conformance.arguments import alternatives
from restorekit.conformance.probes import labels, legal_size, lively, photo
from restorekit.conformance.subject import Failed, Skipped, Subject
from restorekit.errors import UserError
from restorekit.images import finest
from restorekit.interfaces import Generator
from restorekit.recipes import Recipe

TOLERANCE = 1e-4


def local_is_true(subject: Subject) -> str:
    """Tiles, with the receptive field as margin, equal the whole within 1e-4."""
    generator, option = _local_form(subject)
    if generator.consumes == "latent" or generator.size.fixed is not None:
        raise Failed("local, and takes one size only", "set local = False: there is nothing to tile")
    radius = _receptive_radius(generator, option)
    step = generator.size.multiple_of
    margin = -(-radius // step) * step + step
    core = legal_size(generator.size, max(2 * step, 8))[0]
    offset = -(-8 // step) * step
    tile_side = core + 2 * margin
    whole = photo(1, tile_side + 2 * offset, tile_side + 2 * offset, generator.channels)
    tile = whole[..., offset : offset + tile_side, offset : offset + tile_side].clone()
    with torch.no_grad():
        expected, seen = (finest(generator(image, labels(generator, 1))) for image in (whole, tile))
    scale = generator.scale
    inside = slice(margin * scale, (margin + core) * scale)
    in_whole = slice((offset + margin) * scale, (offset + margin + core) * scale)
    worst = float((expected[..., in_whole, in_whole] - seen[..., inside, inside]).abs().max())
    if not worst <= TOLERANCE:
        raise Failed(
            f"{option}differs by {worst:.2g} with a margin of {margin} pixels",
            "set local = False, or remove what looks at the whole image or its size",
        )
    return f"{option}the receptive field reaches {radius} pixels"


def tiles_equal_the_whole(subject: Subject) -> str:
    """An image restored in tiles, as large pictures are, equals the whole within 1e-4."""
    generator, option = _local_form(subject)
    if generator.consumes == "latent" or generator.size.fixed is not None:
        raise Skipped("takes one size only: see local-is-true")
    model = modelfile.Model(generator, Recipe({"generator": {"part": subject.name}}))
    step = generator.size.multiple_of
    tile = 2 * (_receptive_radius(generator, option) + step) + max(4 * step, 16)
    image = photo(1, tile + 3 * step + 1, tile + max(2 * step, 8), generator.channels)
    given = labels(generator, 1)
    worst = float((model.restore(image, tile=tile, given=given) - model.restore(image, tile=2 * tile, given=given)).abs().max())
    if not worst <= TOLERANCE:
        raise Failed(f"{option}differs by {worst:.2g} in tiles of {tile} pixels", "set local = False, or correct size.multiple_of")
    return f"{option}differs by {worst:.2g} at most"


def tiles_stay_near_the_whole(subject: Subject) -> str:
    """Of a network that is not local, no pixel restored in tiles is further from the whole's than what the tiles alone give for it."""
    declared: Generator = subject.build()
    if declared.local or declared.consumes == "latent" or declared.size.fixed is not None:
        raise Skipped("local, or takes one size only")
    pristine = lively(declared).eval()
    used = copy.deepcopy(pristine)
    assert isinstance(used, Generator)
    side = legal_size(used.size, 96)[0]
    step = used.size.multiple_of
    length = side + -(-side // (2 * step)) * step
    # Brightness that changes from side to side, so that what is kept of one tile does not fit the next.
    image = photo(1, length, length, used.channels) * torch.linspace(0.2, 1, length)
    given = labels(used, 1)
    tiles: list[Tensor] = []
    used.register_forward_hook(lambda network, inputs, made: tiles.append(inputs[0].clone()))
    seen = modelfile.Model(used, Recipe({"generator": {"part": subject.name}})).restore(image, tile=side, given=given)
    whole = _alone(pristine, image, given)
    bound = torch.zeros_like(whole)
    for tile in tiles:
        here = (..., *_place(tile, image, used.scale))
        bound[here] = torch.maximum(bound[here], (_alone(pristine, tile, given) - whole[here]).abs())
    worst = float(((seen - whole).abs() - bound).max())
    if not worst <= TOLERANCE:
        raise Failed(
            f"{worst:.2g} further off than any of the tiles around",
            "keep nothing from one image to the next: whatever is remembered by forward must depend on its size, or be computed anew",
        )
    return f"at most {float((seen - whole).abs().max()):.2g} off in {len(tiles)} tiles of {side} pixels"


def _alone(pristine: torch.nn.Module, image: Tensor, given: Tensor | None) -> Tensor:
    """What a copy that has seen nothing before makes of an image, clamped."""
    with torch.no_grad():
        return finest(copy.deepcopy(pristine)(image, given)).clamp(0, 1)


def _place(tile: Tensor, image: Tensor, scale: int) -> tuple[slice, slice]:
    """Where in the output the output for a piece of `image` belongs."""
    height, width = tile.shape[-2:]
    corners = image[0, :, : image.shape[-2] - height + 1, : image.shape[-1] - width + 1] == tile[0, :, :1, :1]
    for top, left in corners.all(0).nonzero().tolist():
        if torch.equal(image[..., top : top + height, left : left + width], tile):
            return slice(top * scale, (top + height) * scale), slice(left * scale, (left + width) * scale)
    raise AssertionError("a tile that is no piece of the image")


def _local_form(subject: Subject) -> tuple[Generator, str]:
    """The network, or if it is not local one with a single option switched that is, and which one, in words."""
    declared: Generator = subject.build()
    option = ""
    if not declared.local:
        if declared.consumes == "latent":
            raise Skipped("makes images from a latent vector")
        declared, option = _switched(subject)
    generator = lively(declared).eval()
    assert isinstance(generator, Generator)
    return generator, option


def _switched(subject: Subject) -> tuple[Generator, str]:
    for name, option in config.options_of(subject.target).items():
        value = subject.checked[name]
        others = alternatives(option.annotation, value) if option.slot is None else (None,) if option.slot.optional and value else ()
        for other in others:
            if not isinstance(other, bool | str | None):
                continue
            if config.check(subject.target, {**subject.options, name: other}, registry=subject.registry)[1]:
                continue
            try:
                made: Generator = subject.make(**{name: other})
            except (UserError, OSError):  # the constructor refuses the combination, or there is no such file
                continue
            if made.local:
                return made, f"with {name}={other}: "
    raise Skipped("declares local = False, whatever one option is switched to")


def _receptive_radius(generator: Generator, option: str) -> int:
    size = generator.size
    radius = memory.reach(
        lambda image: finest(generator(image, labels(generator, 1))),
        channels=generator.channels,
        scale=generator.scale,
        multiple_of=size.multiple_of,
        minimum=size.minimum,
    )
    if radius is not None:
        return radius
    raise Failed(
        f"{option}an output pixel depends on input at least {memory.SPANS[-1] // 2 - size.multiple_of} pixels away",
        "set local = False: normalisation over the image, global pooling or attention make a network global",
    )
