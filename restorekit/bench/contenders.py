"""What takes part in a benchmark: a registered method, a model file, a Python function, or a folder of pictures."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor

from restorekit import config, files, photos, restoration
from restorekit.bench.inputs import Cell
from restorekit.bench.names import BASELINE
from restorekit.errors import ConfigError, ImageError, UserError
from restorekit.files import sha256
from restorekit.images import Degraded, check_image
from restorekit.interfaces import Restorer
from restorekit.methods import Method, resolve
from restorekit.modelfile import Model
from restorekit.recipes import load_yaml
from restorekit.registries import Registry

UNSTATED = "not stated"

Image = Callable[[Tensor], Tensor]
"""Takes and gives ``(N, C, H, W)`` in [0, 1]."""


class Contender(ABC):
    """Something that is scored.

    Attributes:
        label: how tables call it.
        timed: whether its seconds mean anything.
        uses: what it reads of the damage besides the image.
        given: what the user named it by; empty where it came as an object.
    """

    label: str
    given: str = ""
    timed: bool = True
    uses: tuple[str, ...] = ()

    @abstractmethod
    def identity(self, registry: Registry) -> dict[str, Any]:
        """What makes it what it is: where this changes, it is measured again."""

    @abstractmethod
    def terms(self, registry: Registry) -> dict[str, Any]:
        """``blind`` (None where nobody says), ``uses``, ``paper`` and ``licence``."""

    @abstractmethod
    def restore(self, cell: Cell, degraded: Degraded) -> Tensor:
        """The restored image of `cell`.

        Raises:
            ImageError: it lacks something it needs, or returns what is no image of the right size and range.
        """

    @abstractmethod
    def move(self, device: torch.device) -> None:
        """Move what it holds to `device`."""


class Registered(Contender):
    """A restorer, which sees of the damage what it declares to use."""

    def __init__(self, method: Method) -> None:
        self.label, self.uses, self._method = method.label, tuple(sorted(method.restorer.uses)), method
        self._restorer = _Strict(method.restorer, method.label)

    def identity(self, registry: Registry) -> dict[str, Any]:
        """Part, options with files by digest, version, source file and network."""
        found = registry.find("restorer", self._method.part)
        model = _model(self._method.restorer)
        parts = [found.name, *parts_of(self._method.options), *([] if model is None else parts_of(model.recipe.content["generator"]))]
        return {
            "part": self._method.part,
            "options": {name: _content(found.load(), name, value) for name, value in self._method.options.items()},
            "distribution": found.distribution,
            "version": found.version,
            "source": _source(parts, registry),
            "network": None if model is None else _describe(model),
        }

    def terms(self, registry: Registry) -> dict[str, Any]:
        """Those of the part, or of the network that a model file holds."""
        found = registry.find("restorer", self._method.part)
        paper, licence = found.part.paper, found.part.licence
        model = _model(self._method.restorer)
        options = self._method.options.items()
        if model is not None and any(_content(found.load(), name, value) != value for name, value in options):
            # The part only reads model files; what it reads has a method and terms of its own.
            paper, licence = _terms_of(str(model.recipe.content["generator"]["part"]), registry) or (paper, licence)
        return {"blind": not self.uses, "uses": list(self.uses), "paper": paper, "licence": licence}

    def restore(self, cell: Cell, degraded: Degraded) -> Tensor:
        """Through `restoration.restore`, with what the method returned checked before anything is clipped."""
        return restoration.restore(self._restorer, degraded, name=self.label)

    def move(self, device: torch.device) -> None:
        """Move the method."""
        self._restorer.to(device)


class Function(Contender):
    """A Python function or model that takes an image and gives one; it sees the image alone.

    Args:
        label: how tables call it.
        function: takes and gives ``(N, C, H, W)`` in [0, 1].
        digest: of its source, which tells whether it has changed.
    """

    def __init__(self, label: str, function: Image, digest: str) -> None:
        self.label, self._digest = label, digest
        self._restorer = _Strict(_Called(function), label)
        self._model = function if isinstance(function, Model) else None

    def identity(self, registry: Registry) -> dict[str, Any]:
        """Its source, and its network where it is a model."""
        return {
            "part": "Python function",
            "options": {"function": self.label},
            "distribution": "",
            "version": "",
            "source": self._digest,
            "network": None if self._model is None else _describe(self._model),
        }

    def terms(self, registry: Registry) -> dict[str, Any]:
        """Blind; a function states no paper and no licence, a model those of its network."""
        known = None if self._model is None else _terms_of(str(self._model.recipe.content["generator"]["part"]), registry)
        paper, licence = known or (UNSTATED, UNSTATED)
        return {"blind": True, "uses": [], "paper": paper, "licence": licence}

    def restore(self, cell: Cell, degraded: Degraded) -> Tensor:
        """What the function makes of the image."""
        return restoration.restore(self._restorer, degraded, name=self.label)

    def move(self, device: torch.device) -> None:
        """Move the network."""
        self._restorer.to(device)


class Facts:
    """What a YAML file says of a folder of pictures that somebody else's program made.

    Args:
        pictures: the folder, relative to the file.
        blind: whether the program saw the damaged pictures alone; null for not stated.
        uses: what else it was told.
        paper: where the method is defined.
        licence: of the program.
        parameters: of its network.
    """

    def __init__(
        self,
        *,
        pictures: str,
        blind: bool | None = None,
        uses: tuple[str, ...] = (),
        paper: str = UNSTATED,
        licence: str = UNSTATED,
        parameters: Annotated[int, Ge(0)] | None = None,
    ) -> None:
        self.pictures, self.parameters = pictures, parameters
        self.terms = {"blind": False if uses else blind, "uses": sorted(uses), "paper": paper, "licence": licence}


class Pictures(Contender):
    """A folder of restored pictures: ``DEGRADATION/IMAGE`` with any suffix, or ``IMAGE`` alone where there is one damage only."""

    timed = False

    def __init__(self, label: str, folder: Path, facts: Facts, *, single: bool) -> None:
        self.label, self._folder, self._facts, self._single = label, folder, facts, single
        self._files: dict[str, Path] = {}
        for path in photos.find([folder]):
            name = path.relative_to(folder).with_suffix("").as_posix()
            other = self._files.setdefault(name, path)
            if other is not path:
                raise UserError(f"{folder}: {other.name} and {path.name} could both be the result for {name}; keep one of them")

    def identity(self, registry: Registry) -> dict[str, Any]:
        """Digest of all the pictures."""
        whole = hashlib.sha256()
        for name, path in sorted(self._files.items()):
            whole.update(f"{name} {sha256(path)}\n".encode())
        known = self._facts.parameters
        network = None if known is None else {"part": self.label, "parameters": known, "sha256": None}
        return {"part": "pictures", "options": {}, "distribution": "", "version": "", "source": whole.hexdigest(), "network": network}

    def terms(self, registry: Registry) -> dict[str, Any]:
        """What the YAML file states."""
        return dict(self._facts.terms)

    def restore(self, cell: Cell, degraded: Degraded) -> Tensor:
        """The picture for `cell`, read from its file."""
        stem = Path(cell.image).with_suffix("").as_posix() + (f"#{cell.draw}" if cell.draw else "")
        wanted = [f"{cell.degradation}/{stem}", *([stem] if self._single else [])]
        file = next((self._files[name] for name in wanted if name in self._files), None)
        if file is None:
            raise ImageError(f"{self._folder} has no picture {' or '.join(wanted)}")
        image = photos.read(file).image
        if degraded.image.shape[1] == 1 and image.shape[1] == 3 and torch.equal(image[:, :1].expand_as(image), image):
            image = image[:, :1]  # a grey picture that was saved in colour
        return image

    def move(self, device: torch.device) -> None:
        """Pictures are nowhere."""


class _Strict(Restorer):
    """A restorer whose result is checked before core clips it, so that nothing is scored that the method did not return."""

    def __init__(self, inner: Restorer, label: str) -> None:
        self._inner, self._label = inner, label
        self.uses, self.scale = inner.uses, inner.scale

    def restore(self, degraded: Degraded) -> Tensor:
        restored = self._inner.restore(degraded)
        if not isinstance(restored, Tensor):
            raise ImageError(f"{self._label} returned {type(restored).__name__}; expected a tensor (N, C, H, W) in [0, 1]")
        if restored.ndim == 4 and not torch.isfinite(restored).all():
            return restored  # core says so
        if restored.ndim == 4:
            check_image(restored, what=f"{self._label} returned")
        return restored

    def to(self, device: torch.device | str) -> typing.Self:
        self._inner = self._inner.to(device)
        return self


class _Called(Restorer):
    """A function as a restorer."""

    def __init__(self, function: Image) -> None:
        self._function = function

    def restore(self, degraded: Degraded) -> Tensor:
        with torch.no_grad():
            return self._function(degraded.image)

    def to(self, device: torch.device | str) -> typing.Self:
        if isinstance(self._function, torch.nn.Module | Model):
            self._function.to(device)
        return self


def contenders(names: Sequence[str | Contender], *, registry: Registry, single: bool) -> list[Contender]:
    """What the names mean, with `BASELINE` first.

    Args:
        names: registered restorers, model files, YAML files, folders of pictures, ``FILE.py:FUNCTION``, or contenders.
        registry: where names are looked up.
        single: whether the suite has one damage only, so that folders of pictures need no folder for it.

    Raises:
        UserError: no such method, or two of one name.
    """
    found: dict[str, Contender] = {}
    for name in dict.fromkeys([BASELINE, *names]):
        if isinstance(name, str):
            one = _contender(name, registry, single)
            one.given = name
        else:
            one = name
        other = found.setdefault(one.label, one)
        if other is not one and other.identity(registry) != one.identity(registry):
            raise UserError(f"two methods would be called {one.label} in the table; rename one of the files")
    return list(found.values())


def _contender(name: str, registry: Registry, single: bool) -> Contender:
    path = Path(name)
    if path.is_dir():
        return Pictures(path.resolve().name, path, Facts(pictures=name), single=single)
    file, colon, function = name.rpartition(":")
    if colon and file.endswith(".py"):
        return _from_file(Path(file), function)
    if path.suffix in (".yaml", ".yml"):
        content = load_yaml(path)
        if "pictures" in content:
            return _stated(path, content, registry, single)
    return Registered(resolve(name, registry=registry))


def _stated(path: Path, content: Mapping[str, Any], registry: Registry, single: bool) -> Contender:
    checked, problems = config.check(Facts, content, registry=registry, owner="a folder of pictures")
    if problems:
        raise ConfigError(f"{path}: {problem}" for problem in problems)
    facts: Facts = config.construct(Facts, checked, registry=registry, where=str(path))
    folder = path.parent / facts.pictures
    if not folder.is_dir():
        raise UserError(f"{path}: pictures: {files.missing(folder)}")
    return Pictures(path.stem, folder, facts, single=single)


def _from_file(file: Path, name: str) -> Contender:
    if not file.is_file():
        raise UserError(files.missing(file))
    spec = importlib.util.spec_from_file_location(f"restorekit_bench_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as fault:
        raise UserError(f"{file}: cannot be imported: {type(fault).__name__}: {fault}") from fault
    function = getattr(module, name, None)
    if not callable(function):
        there = [key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")]
        raise UserError(f"{file}: has no function {name}; there are: {', '.join(there) or 'none'}")
    return Function(name, function, sha256(file))


def _content(target: type, name: str, value: Any) -> Any:
    """An option's value; a file by its name and digest, because its path says nothing elsewhere."""
    annotation = config.options_of(target)[name].annotation
    if Path in (annotation, *typing.get_args(annotation)) and isinstance(value, str) and Path(value).is_file():
        return {"file": Path(value).name, "sha256": sha256(Path(value))}
    return value


def _model(restorer: Restorer) -> Model | None:
    """The network that a restorer holds, or None."""
    return next((value for value in vars(restorer).values() if isinstance(value, Model)), None)


def _source(parts: Iterable[str], registry: Registry) -> str | None:
    """Digest of the files that parts are written in, which tells whether one of them has changed."""
    files = {source for name in parts for part in registry.parts if part.name == name and (source := part.source()) is not None}
    digests = sorted(sha256(file) for file in files)
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest() if digests else None


def parts_of(spec: Any) -> Iterator[str]:
    """Names of every part in a checked specification."""
    if isinstance(spec, Mapping):
        if isinstance(spec.get("part"), str):
            yield spec["part"]
        spec = list(spec.values())
    if isinstance(spec, list):
        for item in spec:
            yield from parts_of(item)


def _terms_of(generator: str, registry: Registry) -> tuple[str, str] | None:
    """Paper and licence of a registered generator."""
    found = [part.part for part in registry.of_kind("generator") if part.name == generator]
    return (found[0].paper, found[0].licence) if found else None


def _describe(model: Model) -> dict[str, Any]:
    digest = hashlib.sha256(model.recipe.canonical.encode())
    for name, value in sorted(model.generator.state_dict().items()):
        digest.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return {
        "part": str(model.recipe.content["generator"]["part"]),
        "parameters": sum(parameter.numel() for parameter in model.generator.parameters()),
        "sha256": digest.hexdigest(),
    }
