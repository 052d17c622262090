"""Whether a generator that declares itself local is: tiles with enough margin must equal the whole."""

from __future__ import annotations

import torch

from restorekit import memory, modelfile
from restorekit.conformance.probes import finest, legal_size, lively, photo
from restorekit.conformance.subject import Failed, Skipped, Subject
from restorekit.interfaces import Generator
from restorekit.recipes import Recipe

TOLERANCE = 1e-4


def local_is_true(subject: Subject) -> str:
    """Tiles, with the receptive field as margin, equal the whole within 1e-4."""
    declared: Generator = subject.build()
    if not declared.local:
        raise Skipped("declares local = False")
    if declared.consumes == "latent" or declared.size.fixed is not None:
        raise Failed("local, and takes one size only", "set local = False: there is nothing to tile")
    generator = lively(declared).eval()
    assert isinstance(generator, Generator)
    radius = _receptive_radius(generator)
    step = generator.size.multiple_of
    margin = -(-radius // step) * step + step
    core = legal_size(generator.size, max(2 * step, 8))[0]
    offset = -(-8 // step) * step
    tile_side = core + 2 * margin
    whole = photo(1, tile_side + 2 * offset, tile_side + 2 * offset, generator.channels)
    tile = whole[..., offset : offset + tile_side, offset : offset + tile_side].clone()
    with torch.no_grad():
        expected, seen = finest(generator(whole)), finest(generator(tile))
    scale = generator.scale
    inside = slice(margin * scale, (margin + core) * scale)
    in_whole = slice((offset + margin) * scale, (offset + margin + core) * scale)
    worst = float((expected[..., in_whole, in_whole] - seen[..., inside, inside]).abs().max())
    if not worst <= TOLERANCE:
        raise Failed(
            f"differs by {worst:.2g} with a margin of {margin} pixels",
            "set local = False, or remove what looks at the whole image or its size",
        )
    return f"the receptive field reaches {radius} pixels"


def tiles_equal_the_whole(subject: Subject) -> str:
    """An image restored in tiles, as large pictures are, equals the whole within 1e-4."""
    declared: Generator = subject.build()
    if not declared.local or declared.consumes == "latent" or declared.size.fixed is not None:
        raise Skipped("declares local = False; tiles of others fade into each other")
    generator = lively(declared).eval()
    assert isinstance(generator, Generator)
    model = modelfile.Model(generator, Recipe({"generator": {"part": subject.name}}))
    step = generator.size.multiple_of
    tile = 2 * (_receptive_radius(generator) + step) + max(4 * step, 16)
    image = photo(1, tile + 3 * step + 1, tile + max(2 * step, 8), generator.channels)
    worst = float((model.restore(image, tile=tile) - model.restore(image, tile=2 * tile)).abs().max())
    if not worst <= TOLERANCE:
        raise Failed(f"differs by {worst:.2g} in tiles of {tile} pixels", "set local = False, or correct size.multiple_of")
    return f"differs by {worst:.2g} at most"


def _receptive_radius(generator: Generator) -> int:
    size = generator.size
    radius = memory.reach(
        lambda image: finest(generator(image)),
        channels=generator.channels,
        scale=generator.scale,
        multiple_of=size.multiple_of,
        minimum=size.minimum,
    )
    if radius is not None:
        return radius
    raise Failed(
        f"an output pixel depends on input at least {memory.SPANS[-1] // 2 - size.multiple_of} pixels away",
        "set local = False: normalisation over the image, global pooling or attention make a network global",
    )
