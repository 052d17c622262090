"""Other people's checkpoints: read whole, never run, and refused by name where there is more in them than weights."""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

import restorekit as rk
from restorekit.checkpoints import WRAPPERS, read_checkpoint

WEIGHTS = {"a.weight": torch.arange(12.0).view(3, 4), "a.bias": torch.ones(3, dtype=torch.float16)}


class Evil:
    """Makes a folder where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def same(found: dict[str, torch.Tensor]) -> bool:
    return found.keys() == WEIGHTS.keys() and all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("wrapped", ["", *WRAPPERS, "anything"])
def test_weights_are_found_whatever_they_are_wrapped_in(older: bool, wrapped: str, tmp_path: Path) -> None:
    content: dict[str, Any] = {f"module.{name}": value for name, value in WEIGHTS.items()}
    if wrapped:
        content = {wrapped: content, "epoch": 3}
    torch.save(content, tmp_path / "x.h5", _use_new_zipfile_serialization=not older)
    assert same(read_checkpoint(tmp_path / "x.h5"))


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "x.bin")
    assert same(rk.read_checkpoint(str(tmp_path / "x.bin")))


def test_averaged_weights_go_before_others_and_two_wrappers_are_taken_off(tmp_path: Path) -> None:
    other = {"a.weight": torch.zeros(1)}
    torch.save({"params": other, "params_ema": WEIGHTS}, tmp_path / "x.pth")
    assert same(read_checkpoint(tmp_path / "x.pth"))
    torch.save({"state_dict": {"generator": WEIGHTS, "critic": other}}, tmp_path / "x.pth")
    assert same(read_checkpoint(tmp_path / "x.pth"))


def test_nothing_is_shared_with_the_file_nor_kept_twice(tmp_path: Path) -> None:
    torch.save({**WEIGHTS, "b": WEIGHTS["a.weight"], "row": WEIGHTS["a.weight"][1]}, tmp_path / "x.pth")
    found = read_checkpoint(tmp_path / "x.pth")
    (tmp_path / "x.pth").write_bytes(b"\0" * (tmp_path / "x.pth").stat().st_size)
    assert torch.equal(found["row"], WEIGHTS["a.weight"][1])
    assert found["b"] is found["a.weight"]
    assert torch.equal(found["b"], WEIGHTS["a.weight"])


def named(path: Path, **options: Any) -> None:
    """Code in a checkpoint, in the several ways in which it can be there."""
    how = options.pop("how")
    evil = Evil(path.with_name("ran"))
    if how == "pickle":
        path.write_bytes(pickle.dumps(evil, **options))
    else:
        torch.save({"model": WEIGHTS, "x": evil}, path, _use_new_zipfile_serialization=how == "zip", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"how": "zip"},
        {"how": "older"},
        {"how": "zip", "pickle_protocol": 4},
        {"how": "older", "pickle_protocol": 4},
        {"how": "pickle", "protocol": 2},
        {"how": "pickle", "protocol": 5},
    ],
    ids=str,
)
def test_code_is_refused_by_name_and_not_run(options: dict[str, Any], tmp_path: Path) -> None:
    named(tmp_path / "evil.pth", **options)
    with pytest.raises(rk.UserError, match=rf"evil.pth: refused: the file calls {os.mkdir.__module__}.mkdir, "):
        read_checkpoint(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_a_whole_network_is_refused_by_the_name_of_its_class(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 3), tmp_path / "x.pth")
    with pytest.raises(rk.UserError, match=r"calls torch.nn.modules.linear.Linear, .* the state dict alone"):
        read_checkpoint(tmp_path / "x.pth")


def repacked(change: dict[str, bytes], compression: int = zipfile.ZIP_STORED, content: Any = WEIGHTS) -> bytes:
    """A checkpoint whose archive has other members."""
    whole, stream = io.BytesIO(), io.BytesIO()
    torch.save(content, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(stream, "w", compression) as new:
        for member in old.infolist():
            name = member.filename.partition("/")[2]
            new.writestr(member.filename, change.get(name, old.read(member)))
        for name in change.keys() - {member.filename.partition("/")[2] for member in old.infolist()}:
            new.writestr(f"archive/{name}", change[name])
    return stream.getvalue()


def saved(content: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


BAD = {
    "nothing": (b"", "not a checkpoint"),
    "a photograph": (b"\xff\xd8\xff\xe0" + b"x" * 50, "begins like neither"),
    "a text": (b"These are my weights.", "begins like neither"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + b"x" * 50, "an HDF5 file, as Keras writes it"),
    "cut short": (saved(WEIGHTS)[:-100], "damaged, or cut short"),
    "cut short, older": (saved(WEIGHTS, _use_new_zipfile_serialization=False)[:-10], "damaged, or not a PyTorch checkpoint"),
    "cut short, safetensors": (save(WEIGHTS)[:-10], "not a whole safetensors file"),
    "another archive": (repacked({}).replace(b"data.pkl", b"date.pkl"), "no data.pkl in it"),
    "a bomb": (repacked({"data/0": bytes(10**7)}, zipfile.ZIP_DEFLATED), "compressed and would grow"),
    "a program": (repacked({"constants.pkl": b""}), "a TorchScript archive, which is a program"),
    "a tensor beyond the end": (repacked({"data/0": b"1234"}, content={"a": torch.zeros(9999)}), "damaged"),
    "a tensor larger than the file": (saved({"a": torch.zeros(1).expand(10**6, 10**6)}), "claim to be larger than the file, at a"),
    "a sparse tensor": (saved({"a": torch.ones(3).to_sparse()}), "a is a sparse"),
    "a list": (saved([WEIGHTS]), "holds list, no tensors by name"),
    "no tensors": (saved({"epoch": 3}), "It holds epoch"),
    "empty": (saved({}), "no weights found"),
    "several networks": (saved({"first": WEIGHTS, "second": WEIGHTS}), "It holds first, second; expected"),
    "a number of numpy's": (saved({**WEIGHTS, "lr": np.float64(0.1)}), "calls numpy.* Nothing of it was run"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_bad_files_are_refused_with_the_reason(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(rk.UserError, match=rf"bad.pth: .*({message})") as refusal:
        read_checkpoint(tmp_path / "bad.pth")
    assert len(str(refusal.value)) < 500


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "latest_net_G.pth").write_bytes(b"")
    with pytest.raises(rk.UserError, match=r"no such file. Did you mean latest_net_G.pth\?"):
        read_checkpoint(tmp_path / "latest_net_D.pth")
    with pytest.raises(rk.UserError, match="not a plain file"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("count", [200, pytest.param(20_000, marks=pytest.mark.slow)])
def test_damaged_files_are_read_or_refused(count: int, tmp_path: Path) -> None:
    """Bytes changed, runs overwritten, ends cut off: tensors or a `UserError`, nothing else."""
    drawn = random.Random(0)
    whole = [saved(WEIGHTS), saved(WEIGHTS, pickle_protocol=4), saved(WEIGHTS, _use_new_zipfile_serialization=False), save(WEIGHTS)]
    refused = 0
    for _ in range(count):
        content = bytearray(drawn.choice(whole))
        at = drawn.randrange(len(content))
        how = drawn.randrange(4)
        if how == 0:
            del content[at:]
        elif how == 1:
            content[at] ^= 1 << drawn.randrange(8)
        elif how == 2:
            content[at : at + 8] = drawn.choice([b"\xff" * 8, b"\0" * 8, (1 << 40).to_bytes(8, "little")])
        else:
            for _ in range(12):
                content[drawn.randrange(len(content))] = drawn.randrange(256)
        (tmp_path / "x.pth").write_bytes(content)
        try:
            for value in read_checkpoint(tmp_path / "x.pth").values():
                value.double().sum()
        except rk.UserError:
            refused += 1
    assert 0.3 * count < refused < count
