"""Model files: one safetensors file with the weights and, in its header, the recipe they belong to.

Nothing is ever unpickled. The header is read first; the parts it names must come from the registry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from restorekit import config, discovery, engines, files, remote, seeding
from restorekit.errors import ImageError, UserError
from restorekit.images import check_image, finest
from restorekit.interfaces import Critic, Generator
from restorekit.recipes import Recipe
from restorekit.tiling import Tiling

if TYPE_CHECKING:
    from PIL import Image

    from restorekit.registries import Registry

FORMAT = 1
CRITIC = "critic."
HEADER_LIMIT = 1 << 24
"""Bytes of header that are read at most; safetensors itself allows 100 MB."""


@dataclass(frozen=True)
class Header:
    """What a model file says of itself, known before any weight is read.

    Attributes:
        path: the file.
        recipe: the whole recipe, checked when the model was made.
        provenance: distributions, versions, data, date and so on, as text.
        scores: validation scores by metric.
        ema: whether the weights are the moving average.
        parameters: number of weights of the generator.
        dtype: of the stored weights.
    """

    path: Path
    recipe: Recipe
    provenance: Mapping[str, Any]
    scores: Mapping[str, float]
    ema: bool
    parameters: int
    dtype: str


@dataclass
class Model:
    """A trained generator with its recipe. Call it with a picture to restore the picture.

    Attributes:
        generator: in evaluation mode.
        recipe: what it was made by.
        critic: kept for latent generators only, whose critic completion needs.
        provenance: where it comes from.
        scores: validation scores by metric.
        ema: whether the weights are the moving average.
        running: what computes the generator, and in which precision; set by `use`.
    """

    generator: Generator
    recipe: Recipe
    critic: Critic | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    ema: bool = False
    running: engines.Running = field(default=engines.Running(), init=False)
    _network: engines.Network | None = field(default=None, init=False, repr=False)
    _tiling: Tiling = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._tiling = Tiling(self.generator, self._finest)

    def __call__(self, image: Tensor | Image.Image) -> Any:
        """Restore a picture.

        Args:
            image: ``(N, C, H, W)`` in [0, 1], or a PIL image.

        Returns:
            The same type as the input, restored; for a tensor ``(N, C, scale·H, scale·W)`` clamped to [0, 1].

        Raises:
            ImageError: the image cannot be used: too small, wrong range or shape.
        """
        if isinstance(image, Tensor):
            return self.restore(image)
        from PIL import Image

        if not isinstance(image, Image.Image):
            raise ImageError(f"expected a tensor (N, C, H, W) or a PIL image, got {type(image).__name__}")
        pixels = torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1)[None] / 255
        restored = self.restore(pixels.to(self.device))[0].permute(1, 2, 0).mul(255).round().byte()
        return Image.fromarray(restored.cpu().numpy())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.generator.parameters()).device

    @torch.no_grad()
    def restore(self, image: Tensor, *, tile: int | None = None, given: Tensor | None = None) -> Tensor:
        """Restore ``(N, C, H, W)``: padded to a size that the network takes, cropped back, clamped.

        A grey image given to an RGB network is repeated, and averaged afterwards; the channels of an RGB image given to a
        grey network are restored one by one.

        Args:
            image: in [0, 1]; or whole numbers, uint8 or uint16, and then the result is rounded to such, too: of a large picture
                both fit into memory where floats would not.
            tile: side of the tiles, in pixels, in which larger images are restored; None takes the whole at once where memory
                allows, and else the largest tiles that it allows. Tiles of a `local` network overlap by twice its measured
                receptive field and equal the whole; those of others fade into each other (`tiling.bands`). They are smaller
                where `memory.limited` says so, and halved where memory runs out all the same.
            given: what the generator is conditioned on, for one that is: labels ``(N,)``, or reference pictures.
        """
        generator = self.generator
        if generator.consumes != "image":
            raise ImageError(
                f"{self.recipe.content['generator']['part']} makes pictures from latent vectors and restores none; "
                "to make some: restorekit.sampling, or this model's generator(latents)"
            )
        colours = image.shape[1] if image.ndim == 4 else 0
        apart, grey = (colours, generator.channels) == (3, 1), (colours, generator.channels) == (1, 3)
        check_image(image, channels=None if apart or grey else generator.channels, whole_numbers=True)
        if apart:
            return torch.cat([self._tiling.restore(channel, given, tile=tile) for channel in torch.split(image, 1, 1)], 1)
        return self._tiling.restore(image, given, tile=tile)

    def use(self, *, engine: str = "auto", precision: str = "auto", compiled: bool = False) -> engines.Running:
        """Choose what computes the network; without it that is torch, in float32.

        Args:
            engine: ``torch``, ``onnxruntime``, ``openvino``, or ``auto``: the fastest that is there.
            precision: ``fp32``, ``bf16``, ``fp16``, or ``auto``: bf16 or fp16 where the device is faster with it and the result the same.
            compiled: with ``torch.compile``.

        Returns:
            What `running` is from now on; see `restorekit.engines.prepare`.

        Raises:
            UserError: what was asked for is not there, or cannot compute this network.
        """
        self._network, self.running = engines.prepare(self.generator, self.device, engine=engine, precision=precision, compiled=compiled)
        self._tiling = Tiling(self.generator, self._finest)
        if self.running.engine != "torch" or compiled:  # whose memory cannot be looked at
            self._tiling.measured = self._plain
        return self.running

    def _finest(self, image: Tensor, given: Tensor | None) -> Tensor:
        network = self._network or self.generator
        return finest(network(image) if given is None else network(image, given)).float()

    def _plain(self, image: Tensor, given: Tensor | None) -> Tensor:
        return finest(self.generator(image) if given is None else self.generator(image, given))

    def to(self, device: torch.device | str) -> Model:
        """Move the networks to `device`, where torch computes in float32 until `use` says something else."""
        self.generator.to(device)
        self._network, self.running = None, engines.Running()
        if self.critic is not None:
            self.critic.to(device)
        return self

    def save(self, path: str | Path, *, half: bool = False) -> Path:
        """Write the model file, beside first and then renamed.

        Args:
            path: where to; by convention with the suffix ``.safetensors``.
            half: store float16 instead of float32: half the size.

        Raises:
            UserError: the file cannot be written.
        """
        from safetensors.torch import save

        tensors = _tensors(self.generator, half)
        if self.critic is not None and self.generator.consumes == "latent":
            tensors |= {CRITIC + k: v for k, v in _tensors(self.critic, half).items()}
        metadata = {
            "format": f"restorekit {FORMAT}",
            "recipe": self.recipe.canonical,
            "generator": self.recipe.content["generator"]["part"],
            "ema": json.dumps(self.ema),
            "provenance": json.dumps(dict(self.provenance), sort_keys=True),
            "scores": json.dumps(dict(self.scores), sort_keys=True),
        }
        path = Path(path)
        files.write(path, save(tensors, metadata))
        return path


def _tensors(module: nn.Module, half: bool) -> dict[str, Tensor]:
    found = {}
    for name, value in module.state_dict().items():
        value = value.detach().cpu().contiguous()
        found[name] = value.half() if half and value.is_floating_point() else value
    return found


def read_header(path: str | Path) -> Header:
    """Read what a model file says of itself, without its weights.

    Raises:
        UserError: no such file, not safetensors, truncated, or not written by restorekit.
    """
    from safetensors import SafetensorError, safe_open

    path = remote.local(path) if isinstance(path, str) and remote.is_address(path) else Path(path)
    if not path.is_file():
        if any(part.name == str(path) for part in discovery.registry().of_kind("recipe")):
            raise UserError(f"{path}: a recipe, no model; to make one with it: restorekit train {path}")
        raise UserError(files.missing(path))
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    if not 2 <= length <= min(HEADER_LIMIT, path.stat().st_size):
        raise UserError(
            f"{path}: not a model file: no safetensors header. Other programs' checkpoints (.pth, .pt): restorekit import --help"
        )
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
            sizes = {name: int(np.prod(s.get_shape(), dtype=np.int64)) for name, s in slices.items()}
            dtypes = {s.get_dtype() for s in slices.values()}
    except (SafetensorError, OSError, ValueError) as fault:
        raise UserError(f"{path}: not a whole safetensors file: {fault}") from fault
    if {"step", "recipe", "groups"} <= metadata.keys():
        raise UserError(
            f"{path}: a checkpoint, which restorekit train --resume goes on from; training ends with {path.with_name(files.TRAINED)}"
        )
    if not metadata.get("format", "").startswith("restorekit "):
        raise UserError(
            f"{path}: safetensors, but no model of restorekit: its header holds no recipe. To make one of it: restorekit import --help"
        )
    if metadata["format"] != f"restorekit {FORMAT}":
        raise UserError(f"{path}: format {metadata['format']!r}; this version reads {FORMAT}. Try: pip install --upgrade restorekit")
    try:
        content = {key: json.loads(metadata[key]) for key in ("recipe", "ema", "provenance", "scores")}
    except (KeyError, ValueError, RecursionError) as fault:
        raise UserError(f"{path}: damaged header: {fault}") from fault
    if not all(isinstance(content[key], dict) for key in ("recipe", "provenance", "scores")):
        raise UserError(f"{path}: damaged header: expected objects")
    return Header(
        path=path,
        recipe=Recipe(content["recipe"], str(path)),
        provenance=content["provenance"],
        scores=content["scores"],
        ema=bool(content["ema"]),
        parameters=sum(size for name, size in sizes.items() if not name.startswith(CRITIC)),
        dtype=", ".join(sorted(dtypes)),
    )


def load(path: str | Path, *, device: str | torch.device = "cpu", registry: Registry | None = None) -> Model:
    """Load a model file.

    Args:
        path: the file, or its address as `restorekit.remote.local` takes it: ``hf://owner/name/model.safetensors``.
        device: where to.
        registry: where its parts are looked up; the installed ones if None.

    Raises:
        UserError: no model file, its plugin is not installed (the message has the install command),
            or its weights do not fit the network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    registry = registry or config.building.get() or discovery.registry()
    header = read_header(path)
    spec = header.recipe.content.get("generator")
    if not isinstance(spec, Mapping) or not isinstance(spec.get("part"), str):
        raise UserError(f"{path}: damaged header: the recipe names no generator")
    _require_plugin(header, spec["part"], registry)
    try:
        tensors = load_file(header.path, device="cpu")
    except (SafetensorError, OSError, ValueError) as fault:
        raise UserError(f"{path}: not a whole safetensors file: {fault}") from fault
    judging = {k.removeprefix(CRITIC): v for k, v in tensors.items() if k.startswith(CRITIC)}
    recipe = header.recipe
    try:
        for kind in ("generator", "critic") if judging else ("generator",):  # a part may have been renamed since
            recipe = recipe.set(f"{kind}.part", registry.find(kind, recipe.content[kind]["part"]).name)
    except UserError as fault:
        raise UserError(f"{header.path}: {fault}") from fault
    making = {k: v for k, v in tensors.items() if not k.startswith(CRITIC)}
    generator = assemble("generator", recipe.content["generator"], making, header.path, registry)
    critic = assemble("critic", recipe.content["critic"], judging, header.path, registry) if judging else None
    model = Model(generator, recipe, critic, header.provenance, header.scores, header.ema)
    return model.to(device)


def _without_sources(kind: str, spec: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """`spec` without the files and downloads of feature networks inside, whose weights are among those of the whole."""
    kept = dict(spec)
    if kind == "features":
        return {**kept, "weights": "random"} if "weights" in kept else kept
    try:
        options = config.options_of(registry.find(kind, kept["part"]).load())
    except UserError:
        return kept  # building says what is wrong with it
    for name, option in options.items():
        if option.slot is not None and not option.slot.many and isinstance(kept.get(name), Mapping):
            kept[name] = _without_sources(option.slot.kind, kept[name], registry)
    return kept


def _require_plugin(header: Header, part: str, registry: Registry) -> None:
    namespace = part.partition("/")[0]
    if namespace in {plugin.namespace for plugin in registry.plugins} or namespace in {p.namespace for p in registry.problems}:
        return
    known = header.provenance.get("distributions")
    distribution = known.get(namespace) if isinstance(known, dict) else None
    wanted = str(distribution or f"restorekit-{namespace}")
    raise UserError(f"{header.path}: needs {part}, and the plugin {namespace} is not installed. Install it: pip install '{wanted}'")


def assemble(kind: str, spec: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path, registry: Registry) -> Any:
    """A network of `kind` with the weights `tensors`, in evaluation mode.

    Raises:
        UserError: the specification does not fit the part, or the tensors not the network; `path` is what the message blames.
    """
    spec = _without_sources(kind, spec, registry)
    try:
        with torch.device("meta"):
            network = config.build_spec(kind, spec, registry=registry, where=kind)
    except UserError as fault:
        raise UserError(f"{path}: {fault}") from fault
    wanted = network.state_dict()
    wrong = [
        f"{name} is {tuple(tensors[name].shape)}, the network has {tuple(wanted[name].shape)}"
        for name in wanted
        if name in tensors and tensors[name].shape != wanted[name].shape
    ]
    wrong += [f"{name} is missing" for name in wanted if name not in tensors]
    wrong += [f"{name} is not of the network" for name in tensors if name not in wanted]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise UserError(f"{path}: the weights do not fit {spec['part']}: {'; '.join(wrong[:5])}{more}")
    # A copy each: slices of one file lie in memory as they come, and convolutions round differently where they are not aligned.
    whole = {name: value.to(wanted[name].dtype, copy=True) for name, value in tensors.items()}
    network.load_state_dict(whole, assign=True)
    if any(buffer.is_meta for buffer in network.buffers()):  # constants that are no state are made on a real device
        with seeding.seeded("load"):  # its first weights are drawn, and replaced at once
            network = config.build_spec(kind, spec, registry=registry, where=kind)
        network.load_state_dict(whole)
    return network.eval()
