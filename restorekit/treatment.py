"""Everything that decides what becomes of a photograph; the command line and the page work by it, so that their results are the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from restorekit import devices, discovery, methods, photos, restoration, seeding
from restorekit.errors import UserError
from restorekit.images import Degraded, floats
from restorekit.memory import limited
from restorekit.tiling import Told, telling

if TYPE_CHECKING:
    from restorekit.engines import Running
    from restorekit.interfaces import Restorer
    from restorekit.methods import Method
    from restorekit.photos import Photo
    from restorekit.registries import Registry

Read = TypeVar("Read")


@dataclass(frozen=True)
class Treatment:
    """A method on its device, what it is told beside the picture, and how its result is taken.

    Attributes:
        method: what restores.
        device: where it computes.
        params: parameters of the damage by name, such as ``psf``.
        mask: damaged area ``(1, 1, H, W)`` of every picture, files of each one's by the stem of its name, or None.
        references: pictures that guide the restoration.
        strength: share of the result, from 0 to 1; the rest is the picture.
        self_ensemble: take the mean over flips and rotations.
        seed: of what the method draws, together with the picture's file name.
        memory: bytes that the process is to keep under; None is half of what is free.
        running: what computes the method's network, and in which precision; None for a method without one of ours.
    """

    method: Method
    device: torch.device
    params: Mapping[str, Tensor] = field(default_factory=dict)
    mask: Tensor | Mapping[str, Path] | None = None
    references: tuple[Tensor, ...] = ()
    strength: float = 1.0
    self_ensemble: bool = False
    seed: int = 0
    memory: int | None = None
    running: Running | None = None

    def apply(self, photo: Photo, name: str, told: Told | None = None) -> Tensor:
        """The restored picture ``(1, C, scale·H, scale·W)``, on the processor: floats in [0, 1], or whole numbers as the photograph's.

        Args:
            photo: as `read` gives it, or with floats.
            name: the picture's file name.
            told: see `restorekit.tiling.telling`; of methods that are a network.

        Raises:
            UserError: see `restorekit.restoration.restore`.
        """
        guide = self.references[0] if self.references else None
        rounded = self.method.restorer.tiled and self.strength == 1 and not self.self_ensemble
        image = photo.image if rounded else floats(photo.image)
        degraded = Degraded(image, self._mask_of(name), self.params, guide, self.references[1:]).to(self.device)
        once = restoration.self_ensemble if self.self_ensemble else restoration.restore
        with seeding.seeded("restore", self.seed, name), limited(self.memory), telling(told):
            restored = once(self.method.restorer, degraded, name=self.method.label).cpu()
        return restoration.blend(image, restored, self.strength)

    def _mask_of(self, name: str) -> Tensor | None:
        if not isinstance(self.mask, Mapping):
            return self.mask
        file = self.mask.get(Path(name).stem)
        if file is None:
            raise UserError(f"--mask: the folder holds no mask of this name; expected {Path(name).stem} with the suffix of a picture")
        return _from_option("mask", photos.read_mask, file)


def prepare(
    name: str | None,
    settings: Mapping[str, Any],
    *,
    psf: Path | None = None,
    mask: Path | None = None,
    reference: Sequence[Path] = (),
    device: str = "auto",
    strength: float = 1.0,
    self_ensemble: bool = False,
    seed: int = 0,
    memory: int | None = None,
    engine: str = "auto",
    precision: str = "auto",
    compiled: bool = False,
    registry: Registry | None = None,
) -> Treatment:
    """Build a method and read what it is told.

    Args:
        name: as `restorekit.methods.resolve` takes it; the registry's default for restoring if None.
        settings: dotted option paths and their values.
        psf: file of the blur kernel.
        mask: file of the damaged area, or a folder with one for each picture, of its name.
        reference: files of pictures that guide the restoration.
        device: as `restorekit.devices.pick` takes it.
        strength: see `Treatment`, as the rest.
        self_ensemble: see `Treatment`.
        seed: see `Treatment`.
        memory: see `Treatment`.
        engine: what computes the method's network, as `restorekit.engines.prepare` takes it.
        precision: in which precision, likewise.
        compiled: with ``torch.compile``.
        registry: where names are looked up; the installed parts if None.

    Raises:
        UserError: no such method or device, options that do not fit, files that cannot be read, or files that the method
            would ignore.
    """
    place = devices.pick(device)
    registry = registry or discovery.registry()
    method = methods.resolve(name or registry.default_for("restore").name, settings, seed=seed, registry=registry)
    _refuse_ignored(method.restorer, method.label, {"psf": psf, "mask": mask, "reference": reference[0] if reference else None})
    if len(reference) > 1 and "references" not in method.restorer.uses:
        raise UserError(f"--reference: {len(reference)} given, and {method.label} reads one; give one")
    params = {} if psf is None else {"psf": _from_option("psf", photos.read_psf, psf)}
    missing = None if mask is None else _masks(mask) if mask.is_dir() else _from_option("mask", photos.read_mask, mask)
    guides = tuple(_from_option("reference", photos.read, file).image for file in reference)
    method = replace(method, restorer=method.restorer.to(place))
    if self_ensemble and method.restorer.iterative:
        raise UserError(f"--self-ensemble: {method.label} works step by step, and would do so eight times; leave it out")
    if memory is not None and not method.restorer.tiled:
        raise UserError(f"--memory: {method.label} takes a picture as a whole, and however much memory that needs; leave it out")
    running = _running(method, engine, precision, compiled)
    return Treatment(method, place, params, missing, guides, strength, self_ensemble, seed, memory, running)


def _running(method: Method, engine: str, precision: str, compiled: bool) -> Running | None:
    model = method.restorer.model
    if model is not None and model.generator.consumes == "image":
        running: Running = model.use(engine=engine, precision=precision, compiled=compiled)
        return running
    asked = {"--engine": engine != "auto", "--precision": precision != "auto", "--compile": compiled}
    for option, given in asked.items():
        if given:
            raise UserError(f"{option}: {method.label} has no network that could be computed in another way; leave it out")
    return None


def read(source: Path) -> Photo:
    """A photograph that is the only picture in its file, in whole numbers: of a large one floats would take four times the memory.

    Raises:
        UserError: see `restorekit.photos.read`; or there are several pages or frames.
    """
    photo = photos.read(source, whole_numbers=True)
    if photo.frames > 1:
        raise UserError(f"{source}: {photo.frames} pages or frames, of which only the first would be kept; save them as single pictures")
    return photo


def _from_option(option: str, read_file: Callable[[Path], Read], file: Path) -> Read:
    """What a file that an option names holds; messages name the option, too."""
    try:
        return read_file(file)
    except UserError as fault:
        raise type(fault)(f"--{option} {fault}") from fault


def _masks(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in _from_option("mask", lambda path: photos.find([path]), folder):
        if file.stem in found:
            raise UserError(f"--mask {folder}: {found[file.stem]} and {file} are masks of the same picture; leave one")
        found[file.stem] = file
    return found


def _refuse_ignored(restorer: Restorer, label: str, given: Mapping[str, Path | None]) -> None:
    for name, path in given.items():
        if path is not None and name not in restorer.uses:
            uses = f"it reads {', '.join(sorted(restorer.uses))}" if restorer.uses else "it reads nothing but the picture"
            raise UserError(
                f"--{name} {path}: {label} does not use the {name}; {uses}. "
                f"Leave --{name} out, or choose another method with --with. See: restorekit list restorer"
            )
