"""Blind deconvolution: first find the blur, then undo it."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from restorekit.images import Degraded
from restorekit.interfaces import Estimator, Restorer


class BlindDeconvolution(Restorer):
    """Any non-blind restorer, made blind: it gets the PSF that an estimator found instead of the true one.

    The classical rival of blind networks, and a way to see what a better estimate would be worth: compare
    it with the same restorer on its own, which knows the PSF.

    Args:
        psf: estimates the PSF.
        restorer: uses it, such as `core/wiener`.

    Raises:
        ValueError: the restorer does not use a PSF.
    """

    def __init__(self, *, psf: Estimator, restorer: Restorer) -> None:
        if "psf" not in restorer.uses:
            raise ValueError("restorer: it does not use a PSF, so there is nothing to estimate; core/wiener is one that does")
        self.psf, self.restorer = psf.eval(), restorer
        self.scale = restorer.scale
        self.uses = frozenset(restorer.uses) - {"psf"}

    def restore(self, degraded: Degraded) -> Tensor:
        """Estimate the PSF and restore with it."""
        params = {**degraded.params, "psf": self.psf(degraded.image)}
        return self.restorer.restore(replace(degraded, params=params).only(self.restorer.uses))

    def to(self, device: torch.device | str) -> Self:
        """Move both."""
        self.psf.to(device)
        self.restorer.to(device)
        return self
