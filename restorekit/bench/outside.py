"""Damaged pictures as files, for programs outside restorekit."""

from __future__ import annotations

import tempfile
from pathlib import Path

from restorekit import discovery, photos
from restorekit.bench.inputs import Inputs
from restorekit.bench.suite import load
from restorekit.errors import UserError
from restorekit.registries import Registry

SHARP = "sharp"


def write_inputs(
    suite: str, out: Path, *, sharp: bool = False, data: Path | None = None, limit: int | None = None, registry: Registry | None = None
) -> int:
    """Write ``DAMAGE/IMAGE.png`` for every damaged picture of a suite, with ``.psf.npy`` and ``.mask.png`` where it has them.

    Args:
        suite: registered name, YAML file, or folder of images.
        out: where to; empty or not there.
        sharp: write the targets too.
        data: folder in which data sets lie.
        limit: only the first so many pictures.
        registry: where names are looked up.

    Returns:
        How many damaged pictures were written.

    Raises:
        UserError: no such suite, missing pictures, or a folder that holds something already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: not empty; choose another --out")
    plan = load(suite, registry=registry or discovery.registry(), data=data, limit=limit)
    with tempfile.TemporaryDirectory(prefix="restorekit-inputs-") as folder:
        inputs = Inputs(plan, Path(folder))
        for cell in inputs.cells:
            pair = inputs.pair(cell)
            stem = out / cell.degradation / (Path(cell.image).with_suffix("").as_posix() + (f"#{cell.draw}" if cell.draw else ""))
            photos.write(stem.with_name(f"{stem.name}.png"), pair.degraded.image)
            if pair.degraded.mask is not None:
                photos.write(stem.with_name(f"{stem.name}.mask.png"), pair.degraded.mask)
            if "psf" in pair.degraded.params:
                photos.write_psf(stem.with_name(f"{stem.name}.psf.npy"), pair.degraded.params["psf"])
            target = out / SHARP / Path(cell.image).with_suffix(".png")
            if sharp and not target.exists():
                photos.write(target, next(pair.targets()))
    return len(inputs.cells)
