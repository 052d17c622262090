"""Model files that are elsewhere: fetched once into a cache, and checked by their digest."""

from __future__ import annotations

import os
import re
import socket
import sys
import urllib.parse
from pathlib import Path

from restorekit import files
from restorekit.errors import UserError

SUFFIX = ".safetensors"
OFFLINE = "HF_HUB_OFFLINE"
"""Environment variable of huggingface_hub: with 1 nothing is fetched, what is in the cache is used. Honoured for all addresses."""

PATIENCE = 30
"""Seconds for which a server may be silent."""

HUB = re.compile(r"hf://(?P<repository>[^/@#]+/[^/@#]+)(@(?P<revision>[^/#]+))?/(?P<file>[^#]+)(#(?P<fragment>.*))?")


def is_address(name: str) -> bool:
    """Whether `name` says where on the network a file is."""
    return name.startswith(("hf://", "https://", "http://"))


def local(address: str) -> Path:
    """The model file behind an address, from the cache or fetched into it.

    Args:
        address: ``hf://owner/name[@revision]/file.safetensors`` on the Hugging Face Hub, or
            ``https://…/file.safetensors#sha256=DIGEST``. The Hub's cache is huggingface_hub's (``HF_HOME``), that of
            others the folder ``restorekit`` in torch's (``TORCH_HOME``).

    Raises:
        UserError: an address that is not like that, a file that is not there or that cannot be fetched, or another digest,
            in which case nothing is kept.
    """
    if address.startswith("hf://"):
        return _from_hub(address)
    return _from_web(address)


def _from_hub(address: str) -> Path:
    parts = HUB.fullmatch(address)
    if parts is None:
        raise UserError(f"{address}: expected hf://owner/name/file.safetensors, or hf://owner/name@revision/file.safetensors")
    _check_suffix(address, parts["file"])
    wanted = _digest(address, parts["fragment"]) if parts["fragment"] is not None else ""
    import huggingface_hub
    from huggingface_hub import errors

    repository, revision = parts["repository"], parts["revision"] and urllib.parse.unquote(parts["revision"])
    try:
        file = Path(huggingface_hub.hf_hub_download(repository, parts["file"], revision=revision, local_files_only=_offline()))
    except errors.GatedRepoError as fault:
        raise UserError(f"{address}: its owner asks for an agreement; accept it on the Hub and log in with: hf auth login") from fault
    except errors.RepositoryNotFoundError as fault:
        raise UserError(f"{address}: no repository {repository} on the Hub, or a private one: log in with: hf auth login") from fault
    except errors.RevisionNotFoundError as fault:
        raise UserError(f"{address}: {repository} has no revision {revision}") from fault
    except errors.LocalEntryNotFoundError as fault:
        why = f"{OFFLINE} is set" if _offline() else "the Hub cannot be reached"
        raise UserError(f"{address}: not in the cache, and {why}") from fault
    except errors.EntryNotFoundError as fault:
        raise UserError(f"{address}: {repository} has no file {parts['file']}") from fault
    except (OSError, ValueError, errors.HfHubHTTPError) as fault:
        raise UserError(f"{address}: cannot be fetched: {_line(fault)}") from fault
    blob = file.resolve()
    # The Hub names large files by their digest, so that they can be checked also where the address has none.
    expected = wanted or (blob.name if re.fullmatch(r"[0-9a-f]{64}", blob.name) else "")
    if expected and (found := files.sha256(blob)) != expected:
        blob.unlink()
        file.unlink(missing_ok=True)
        raise UserError(f"{address}: its SHA-256 is {found}, expected {expected}; nothing was kept")
    return file


def _from_web(address: str) -> Path:
    url, _, fragment = address.partition("#")
    parts = urllib.parse.urlsplit(url)
    name = Path(urllib.parse.unquote(parts.path)).name
    _check_suffix(address, name)
    digest = _digest(address, fragment)
    import torch

    file = Path(torch.hub.get_dir()) / "restorekit" / digest / name
    if file.is_file():
        if files.sha256(file) == digest:
            return file
        file.unlink()  # cut short or tampered with
    if _offline():
        raise UserError(f"{address}: not in the cache, and {OFFLINE} is set. Put it there yourself: {file}")
    before = socket.getdefaulttimeout()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        socket.setdefaulttimeout(PATIENCE)
        torch.hub.download_url_to_file(url, str(file), hash_prefix=digest, progress=sys.stderr.isatty())
    except RuntimeError as fault:
        found = re.search(r'got "([0-9a-f]{64})"', str(fault))
        raise UserError(f"{address}: its SHA-256 is {found[1] if found else 'another one'}; nothing was kept") from fault
    except (OSError, ValueError) as fault:
        raise UserError(f"{address}: cannot be fetched: {_line(fault)}") from fault
    finally:
        socket.setdefaulttimeout(before)
        if file.parent.is_dir() and not any(file.parent.iterdir()):
            file.parent.rmdir()
    return file


def _check_suffix(address: str, file: str) -> None:
    if not file.endswith(SUFFIX):
        raise UserError(f"{address}: only model files ({SUFFIX}) are fetched; download others yourself, then: restorekit import --help")


def _digest(address: str, fragment: str) -> str:
    digest = fragment.removeprefix("sha256=").lower()
    if not fragment.startswith("sha256=") or not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise UserError(
            f"{address}: say which file it must be, by its SHA-256 in 64 hexadecimal digits: {address.partition('#')[0]}#sha256=…"
            "  (sha256sum FILE prints it)"
        )
    return digest


def _offline() -> bool:
    return os.environ.get(OFFLINE, "").upper() in ("1", "ON", "YES", "TRUE")


def _line(fault: Exception) -> str:
    return (" ".join(str(fault).split()) or type(fault).__name__)[:200]
