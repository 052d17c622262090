"""Other people's checkpoints: the tensors of a PyTorch or safetensors file, read without running what is in it."""

from __future__ import annotations

import io
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorekit import files
from restorekit.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

WRAPPERS = (
    "params_ema",
    "params-ema",
    "ema",
    "generator",
    "netG",
    "model",
    "state_dict",
    "model_state_dict",
    "params",
    "net",
)
"""Keys under which training programs keep the weights of the network, averaged ones first."""

PREFIX = "module."
"""Put before every name by ``torch.nn.DataParallel``."""

HDF5 = b"\x89HDF\r\n\x1a\n"
ZIP = b"PK\x03\x04"
PICKLE = b"\x80"
OF_TENSORS = ("torch._utils._rebuild", "torch.storage", "collections.OrderedDict")
"""What a pickle of tensors may name, beside the kinds of storage."""

SAFER = "Ask its author for a safetensors file, or for the state dict alone"


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU.

    PyTorch's zip and older files are read with ``weights_only=True``, safetensors as they are. Weights kept under a key such
    as ``model`` or ``params_ema`` are unwrapped, and the ``module.`` of data-parallel training is taken off.

    Args:
        path: the file; its suffix does not matter.

    Raises:
        UserError: no such file, not a checkpoint, damaged, with code in it, or without tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: not a plain file" if path.exists() else files.missing(path))
    with path.open("rb") as stream:
        head = stream.read(16)
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and length <= path.stat().st_size:  # asked first: its length may begin like a pickle
        content = _load_safetensors(path)
    elif head.startswith(HDF5):
        raise UserError(f"{path}: an HDF5 file, as Keras writes it; only PyTorch's and safetensors files are read")
    elif head.startswith((ZIP, PICKLE)):
        content = _load_torch(path, zipped=head.startswith(ZIP))
    else:
        raise UserError(f"{path}: not a checkpoint: it begins like neither a PyTorch nor a safetensors file")
    return _plain(_unwrapped(content, path), path)


def _load_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device="cpu")
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError) as fault:
        raise UserError(f"{path}: not a whole safetensors file: {fault}") from fault


def _load_torch(path: Path, *, zipped: bool) -> Any:
    import torch

    if zipped:
        _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of protocols that it may not know, and of sparse tensors, which are refused below
            # Mapped, a tensor that claims to be larger than its record has other bytes of the file at most, not of our memory.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as fault:  # damaged pickles raise anything
        text = " ".join(str(fault).split())
        named = re.search(r"GLOBAL ([\w.]+)", text)
        called = named[1] if named else _called(path, zipped=zipped)
        if called:
            raise UserError(
                f"{path}: refused: the file calls {called}, which a file of weights has no need of. Nothing of it was run. {SAFER}"
            ) from fault
        # What torch says around it is advice to read the file without the check.
        why = text.rpartition("WeightsUnpickler error: ")[2].partition(" Check the documentation")[0][:200]
        raise UserError(f"{path}: damaged, or not a PyTorch checkpoint: {why}") from fault


def _called(path: Path, *, zipped: bool) -> str:
    """The first function or class that a file names and that has nothing to do with tensors, or nothing. It is not run."""
    try:
        if zipped:
            with zipfile.ZipFile(path) as archive:
                program = archive.read(next(member for member in archive.infolist() if Path(member.filename).name == "data.pkl"))
        else:
            program = path.read_bytes()
        for name in _globals(io.BytesIO(program)):
            if not name.startswith(OF_TENSORS) and not name.endswith("Storage"):
                return name
    except Exception:  # damaged, which the caller says
        return ""
    return ""


def _globals(stream: io.BytesIO) -> Iterator[str]:
    """What pickles, one after another in a stream, ask Python for by name."""
    while True:
        texts: list[str] = []
        for operation, argument, _ in pickletools.genops(stream):
            if operation.name == "GLOBAL":
                yield str(argument).replace(" ", ".")
            elif operation.name == "STACK_GLOBAL":
                yield ".".join(texts[-2:])
            elif isinstance(argument, str):
                texts.append(argument)


def _check_archive(path: Path) -> None:
    """Refuse archives that ``torch.save`` does not write: compressed, with more inside than outside, or with a program."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, UnicodeDecodeError) as fault:
        raise UserError(f"{path}: damaged, or cut short: {fault}") from fault
    names = {Path(member.filename).name for member in members}
    if "constants.pkl" in names:
        raise UserError(f"{path}: refused: a TorchScript archive, which is a program. {SAFER}")
    if "data.pkl" not in names:
        raise UserError(f"{path}: a zip archive, but no PyTorch checkpoint: there is no data.pkl in it")
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if packed or sum(member.file_size for member in members) > path.stat().st_size:
        raise UserError(f"{path}: refused: its archive is compressed and would grow; PyTorch writes checkpoints uncompressed")


def _unwrapped(content: Any, path: Path) -> Mapping[str, Any]:
    import torch

    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds {type(content).__name__}, no tensors by name")
    for _ in range(3):
        if any(isinstance(value, torch.Tensor) for value in content.values()):
            break
        inner = {str(key): value for key, value in content.items() if isinstance(value, Mapping)}
        chosen = next((key for key in WRAPPERS if key in inner), next(iter(inner)) if len(inner) == 1 else None)
        if chosen is None:
            keys = ", ".join(map(str, list(content)[:8])) or "nothing"
            raise UserError(f"{path}: no weights found. It holds {keys}; expected tensors by name, or one of {', '.join(WRAPPERS)}")
        content = inner[chosen]
    return dict(content)


def _plain(content: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """Copies that share nothing with the file; entries that are no tensors, such as a count of epochs, are left out."""
    import torch

    room = 2 * path.stat().st_size
    copies: dict[Any, Tensor] = {}
    found = {}
    for name, value in content.items():
        if not isinstance(value, torch.Tensor):
            continue
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise UserError(f"{path}: {name} is a sparse, quantised or empty tensor; only plain ones are read")
        key = (value.data_ptr(), value.dtype, tuple(value.shape), value.stride())
        if key not in copies:
            room -= value.numel() * value.element_size()
            if room < 0:
                raise UserError(f"{path}: refused: its tensors claim to be larger than the file, at {name}")
            copies[key] = value.detach().clone(memory_format=torch.contiguous_format)
        found[str(name)] = copies[key]
    if not found:
        raise UserError(f"{path}: holds no tensors")
    while all(name.startswith(PREFIX) for name in found):
        found = {name.removeprefix(PREFIX): value for name, value in found.items()}
    return found
