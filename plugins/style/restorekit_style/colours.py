"""Keeping the colours of the photograph: Gatys, Bethge, Hertzmann & Shechtman, 2016, arXiv:1606.05897."""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Of BT.601."""

SMALL = 1e-5
"""Least variance, so that grey or even pictures have a root to divide by."""


def luminance(image: Tensor) -> Tensor:
    """``(N, 1, H, W)`` of an RGB or grey image."""
    if image.shape[1] == 1:
        return image
    return (image * image.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def with_luminance(image: Tensor, wanted: Tensor) -> Tensor:
    """`image` with its luminance replaced by `wanted` ``(N, 1, H, W)``: the chroma stays, as far as the range allows."""
    return (image + (wanted - luminance(image))).clamp(0, 1)


def match_luminance(style: Tensor, photo: Tensor) -> Tensor:
    """The luminance of `style` with mean and standard deviation of the photograph's, clamped to [0, 1]."""
    mine, theirs = luminance(style), luminance(photo)
    ratio = (theirs.var(correction=0) + SMALL).sqrt() / (mine.var(correction=0) + SMALL).sqrt()
    return ((mine - mine.mean()) * ratio + theirs.mean()).clamp(0, 1)


def match_colours(style: Tensor, photo: Tensor) -> Tensor:
    """`style` with mean and covariance of the photograph's colours, by the linear map of image analogies, clamped to [0, 1].

    Args:
        style: ``(1, 1 or 3, h, w)``.
        photo: ``(1, 1 or 3, H, W)``.
    """
    ours, theirs = (image.expand(-1, 3, -1, -1).double() for image in (style, photo))
    here, there = (image.mean((0, 2, 3)) for image in (ours, theirs))
    change = _root(_covariance(theirs)) @ _root(_covariance(ours), inverse=True)
    moved = torch.einsum("ij,njhw->nihw", change, ours - here.view(1, 3, 1, 1)) + there.view(1, 3, 1, 1)
    return moved.clamp(0, 1).to(style)


def _covariance(image: Tensor) -> Tensor:
    flat = image.transpose(0, 1).flatten(1)
    return torch.cov(flat, correction=0) + SMALL * torch.eye(3, dtype=image.dtype, device=image.device)


def _root(matrix: Tensor, *, inverse: bool = False) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    powers = values.clamp_min(SMALL / 10).sqrt()
    root: Tensor = vectors @ torch.diag(1 / powers if inverse else powers) @ vectors.T
    return root
