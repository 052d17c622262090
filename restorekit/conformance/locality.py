"""Whether a generator that declares itself local is: tiles with enough margin must equal the whole."""

from __future__ import annotations

import torch

from restorekit.conformance.probes import finest, legal_size, lively, photo
from restorekit.conformance.subject import Failed, Skipped, Subject
from restorekit.interfaces import Generator

SPANS = (64, 128, 256)
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


def _receptive_radius(generator: Generator) -> int:
    """How far from an output pixel the input still has an influence, measured by gradient."""
    step = generator.size.multiple_of
    for span in SPANS:
        side = legal_size(generator.size, span)[0]
        centre = side // 2 // step * step
        image = photo(1, side, side, generator.channels).requires_grad_()
        block = slice(centre * generator.scale, (centre + step) * generator.scale)
        made = finest(generator(image))[..., block, block]
        (gradient,) = torch.autograd.grad((made * torch.randn(made.shape)).sum(), image)
        rows, columns = gradient.abs().sum((0, 1)).nonzero().unbind(1)
        reach = torch.cat((centre - rows, rows - centre - step + 1, centre - columns, columns - centre - step + 1))
        radius = max(0, int(reach.max())) if len(reach) else 0
        if radius < side // 2 - step:
            return radius
    raise Failed(
        f"an output pixel depends on input at least {radius} pixels away",
        "set local = False: normalisation over the image, global pooling or attention make a network global",
    )
