"""The check of importers, which generators of published networks have."""

from __future__ import annotations

import torch

from restorekit.conformance.subject import Failed, Skipped, Subject
from restorekit.errors import UserError

STRANGERS = {
    "stranger.weight": torch.zeros(2, 2),
    "model.0.weight": torch.zeros(4, 3, 3, 3),
    "module.features.7.running_mean": torch.zeros(4),
    "counter": torch.zeros((), dtype=torch.int64),
}
"""Tensors of no network in particular."""


def importer_tells_strangers_apart(subject: Subject) -> None:
    """An importer of other people's checkpoints loads, and returns None for those of other networks."""
    named = subject.registered.part.importer
    if not named:
        raise Skipped("it has no importer")
    try:
        importer = subject.registered.importer()
    except UserError as cause:
        raise Failed(str(cause), f"check the importer {named!r} in the manifest") from cause
    assert importer is not None
    for tensors in ({}, STRANGERS):
        try:
            found = importer(tensors, {})
        except Exception as fault:
            raise Failed(
                f"{type(fault).__name__} at {len(tensors)} tensors of another network: {fault}", "look for a tensor before you take it"
            ) from fault
        if found is not None:
            raise Failed(
                f"it takes {len(tensors)} tensors of another network for its own", "return None unless the network's names are there"
            )
