"""Which layers of a network are compared where the user names none."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from restorekit import UserError
from restorekit.interfaces import Features

KNOWN: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("relu4_2",), ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")),  # VGG, as Gatys et al.
    (("features.7",), ("features.1", "features.4", "features.7", "features.10")),  # SqueezeNet, and AlexNet's rectified convolutions
)
"""Layers of content and of style in networks that are often used."""

SPREAD = 5
"""Layers of style that are taken of any other network."""


def layers_for(features: Features, content: Sequence[str] | None, style: Sequence[str] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The layers of content and of style: those given, or ones that suit the network.

    Raises:
        UserError: a layer that the network does not have, or one that is given twice.
    """
    suited = next((pair for pair in KNOWN if {*pair[0], *pair[1]} <= set(features.layers)), None) or _spread(features.layers)
    chosen = []
    for option, given, default in (("content_layers", content, suited[0]), ("style_layers", style, suited[1])):
        layers = default if given is None else tuple(given)
        check_layers(features, layers, option)
        chosen.append(layers)
    return chosen[0], chosen[1]


def check_layers(features: Features, layers: Sequence[str], option: str = "layers") -> None:
    """Refuse layers that the network does not have, or that are given twice.

    Raises:
        UserError: with the layers that it has.
    """
    unknown = [layer for layer in layers if layer not in features.layers]
    if unknown:
        near = get_close_matches(unknown[0], features.layers, 2)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise UserError(f"{option}: the feature network has no layer {', '.join(unknown)}.{hint} Layers: {', '.join(features.layers)}")
    if len(set(layers)) < len(layers):
        raise UserError(f"{option}: {', '.join(layers)}: each may be given once")


def _spread(layers: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    count = min(SPREAD, len(layers))
    places = [round(i * (len(layers) - 1) / max(1, count - 1)) for i in range(count)]
    return (layers[places[(2 * count) // 3 if count > 1 else 0]],), tuple(layers[i] for i in dict.fromkeys(places))
