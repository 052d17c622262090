"""Early stopping: training ends when validations get no better, with the weights that were best."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from restorekit.interfaces import Generator


class Patience:
    """Remembers the best validation.

    Args:
        network: whose weights are remembered; the average.
        validations: without a better PSNR until `over`.
    """

    def __init__(self, network: Generator, validations: int) -> None:
        self.network, self.validations = network, validations
        self.best = copy.deepcopy(network)
        self.scores: dict[str, float] = {}
        self.waited = 0

    def see(self, scores: Mapping[str, float]) -> None:
        """Take one validation's scores in."""
        if "PSNR" in scores and scores["PSNR"] > self.scores.get("PSNR", float("-inf")):
            self.scores, self.waited = dict(scores), 0
            self.best.load_state_dict(self.network.state_dict())
        else:
            self.waited += 1

    @property
    def over(self) -> bool:
        """Whether training should end."""
        return self.waited >= self.validations

    def extras(self) -> dict[str, Any]:
        """All but the weights, as JSON has it."""
        return {"scores": self.scores, "waited": self.waited}

    def resume(self, extras: Mapping[str, Any]) -> None:
        """Go on from what `extras` gave; the weights are put back with the other networks."""
        self.scores, self.waited = dict(extras["scores"]), extras["waited"]
