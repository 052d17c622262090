"""Importers with one fault each."""

from restorekit.interfaces import Imported


def takes_everything(tensors, options):
    return Imported({}, {"conv.weight": "conv.weight", "conv.bias": "conv.bias"})


def asks_at_once(tensors, options):
    return Imported({"width": tensors["conv.weight"].shape[0]}, {})
