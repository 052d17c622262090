"""A score for anything that takes an image and gives one, in one call."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from restorekit import discovery, files
from restorekit.bench import board, export, results, table, webpage
from restorekit.bench.contenders import Contender, Function, Image, Registered
from restorekit.bench.job import Job
from restorekit.bench.run import run
from restorekit.errors import UserError
from restorekit.interfaces import Restorer
from restorekit.methods import Method
from restorekit.modelfile import Model
from restorekit.registries import Registry


@dataclass(frozen=True)
class Scored:
    """The scores of a method on a suite. In a notebook it shows itself as a table.

    Attributes:
        folder: where rows, manifest and pages are.
        rows: one mapping for each image, degradation, method and metric; see `restorekit.bench.rows`.
    """

    folder: Path
    rows: list[dict[str, Any]]
    _holder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    @property
    def standings(self) -> list[dict[str, Any]]:
        """One mapping for each method, metric and degradation, with means, intervals and differences."""
        return export.standings(board.board(self.folder))

    @property
    def markdown(self) -> str:
        """The leaderboard as Markdown."""
        return table.leaderboard(self.folder)

    def save(self, path: str | Path) -> Path:
        """Write the page with plot and pictures to an HTML file."""
        files.write(Path(path), webpage.page(self.folder).encode())
        return Path(path)

    def __str__(self) -> str:
        return table.text(self.folder)

    def _repr_html_(self) -> str:
        return webpage.fragment(self.folder)


def score(
    method: Image | Model | Restorer | str,
    suite: str = "core/photos",
    *,
    name: str | None = None,
    against: Sequence[str] = (),
    limit: int | None = None,
    data: Path | str | None = None,
    device: str = "auto",
    out: Path | str | None = None,
    progress: bool = False,
    registry: Registry | None = None,
) -> Scored:
    """Score a method on a suite, beside doing nothing.

    Args:
        method: a function that takes and gives ``(N, C, H, W)`` in [0, 1], a loaded model, a network, a restorer, or
            whatever ``restorekit bench run --method`` takes.
        suite: registered name, YAML file, or folder of photographs.
        name: how the table calls the method.
        against: more methods for the table, as ``--method`` takes them.
        limit: only the first so many pictures.
        data: folder in which data sets lie.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``. A plain function is called with images on it.
        out: folder for the results; a temporary one that goes with the table if None.
        progress: show a bar, on the standard error.
        registry: where names are looked up; the installed parts if None.

    Raises:
        UserError: as `restorekit.bench.run_suite`.

    Example:
        >>> import restorekit as rk
        >>> rk.bench.score(lambda image: image.flip(-1), limit=2)  # doctest: +SKIP
    """
    registry = registry or discovery.registry()
    holder = None if out is not None else tempfile.TemporaryDirectory(prefix="restorekit-bench-")
    folder = Path(out) if out is not None else Path(holder.name if holder else "")
    one = method if isinstance(method, str) else _contender(method, name)
    run(
        Job(
            suite=suite,
            methods=(one, *against),
            out=folder,
            device=device,
            limit=limit,
            data=None if data is None else Path(data),
            progress=progress,
            registry=registry,
        )
    )
    return Scored(folder, results.rows(folder), holder)


def _contender(method: Image | Model | Restorer, name: str | None) -> Contender:
    label: str = name or getattr(method, "__name__", "") or type(method).__name__
    label = "function" if label == "<lambda>" else label
    if isinstance(method, Restorer):
        return _Instance(Method(label, type(method).__name__, {}, method))
    if isinstance(method, torch.nn.Module) and method.training:
        raise UserError(f"{label} is in training mode, in which networks behave otherwise; call .eval() first")
    return Function(label, method, "" if isinstance(method, Model) else uuid.uuid4().hex)  # code may change unseen: measured anew


class _Instance(Registered):
    """A restorer that was built in Python and need not be registered."""

    def identity(self, registry: Registry) -> dict[str, Any]:
        """Measured anew every time: what it holds cannot be told from outside."""
        return {"part": self.label, "options": {}, "distribution": "", "version": "", "source": uuid.uuid4().hex, "network": None}

    def terms(self, registry: Registry) -> dict[str, Any]:
        """What it declares to use; it states no paper and no licence."""
        return {"blind": not self.uses, "uses": list(self.uses), "paper": "not stated", "licence": "not stated"}
