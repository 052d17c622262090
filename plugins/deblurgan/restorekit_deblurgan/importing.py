"""Published checkpoints of DeblurGAN, pix2pix, CycleGAN and DeblurGAN-v2: which tensor is which.

Layouts: github.com/junyanz/pytorch-CycleGAN-and-pix2pix (models/networks.py), from which DeblurGAN's networks come, and
github.com/VITA-Group/DeblurGANv2 (models/fpn_inception.py, models/fpn_mobilenet.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from restorekit.interfaces import Imported

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
OF_MODULES = ("weight", "bias", *STATISTICS)

INSTANCE = "running statistics of instance norm, which normalises by the image itself"
BATCH = "running statistics of batch norm, which the release never uses"
ALIAS = "the backbone's tensors under a second name"
UNUSED = "layers of the classification network that the pyramid does not use"

BEFORE_BLOCKS = 10
"""Layers of the published ResNet before its first block: padding, stem and two convolutions, each with norm and ReLU."""


def resnet(tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> Imported | None:
    """The ResNet generator of DeblurGAN, CycleGAN and pix2pix: layers numbered through in ``model``, blocks in ``conv_block``."""
    stem = tensors.get("model.1.weight")
    if stem is None or stem.ndim != 4 or stem.shape[2] != 7 or not any(re.match(r"model\.\d+\.conv_block\.", name) for name in tensors):
        return None
    blocks = len({name.split(".")[1] for name in tensors if ".conv_block." in name})
    first = f"model.{BEFORE_BLOCKS}.conv_block."
    inside = sorted({int(name.split(".")[3]) for name in tensors if name.startswith(first) and tensors[name].ndim == 4})
    if len(inside) not in (1, 2):
        return None
    after = BEFORE_BLOCKS + blocks
    transposed = f"model.{after}.weight" in tensors
    modules = [(f"body.{i}", f"model.{i}") for i in (1, 2, 4, 5, 7, 8)]
    for block in range(BEFORE_BLOCKS, after):
        # A block of ours has padding and dropout also where they do nothing, so that its convolutions are always at 1 and 6.
        for ours, theirs in zip((1, 6), inside, strict=False):
            modules += [(f"body.{block}.body.{ours + i}", f"model.{block}.conv_block.{theirs + i}") for i in (0, 1)]
    if transposed:
        modules += [(f"body.{after + i}", f"model.{after + i}") for i in (0, 1, 3, 4, 7)]
    else:  # enlarged, padded and convolved instead: three layers for one
        modules += [(f"body.{after + ours}", f"model.{after + theirs}") for ours, theirs in ((1, 3), (4, 8), (7, 11))]
        modules += [(f"body.{after + ours}.2", f"model.{after + theirs}") for ours, theirs in ((0, 2), (3, 7))]
    found: dict[str, Any] = {
        "blocks": blocks,
        "width": stem.shape[0],
        "channels": stem.shape[1],
        "convolutions_per_block": len(inside),
        "upsample": "transposed" if transposed else "resize",
        **_norm(tensors, "model.2"),
    }
    if inside[0] == 0:
        found["padding"] = "zero"
    elif options.get("padding") == "zero":
        found["padding"] = "reflect"  # or replicate: there are layers that pad, as there are not for zeros
    return Imported(found, _names(modules), dropped=_statistics(tensors, found))


def unet(tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> Imported | None:
    """The U-Net generator of pix2pix and DeblurGAN: each level inside the one above, as its fourth layer.

    Both write the same names, and differ in two things that the file does not tell: DeblurGAN adds the output to the image and puts
    the maps that come up before those of the level; pix2pix does neither. So ``skip=add`` is taken to mean DeblurGAN's order.
    """
    top = tensors.get("model.model.0.weight")
    if top is None or top.ndim != 4 or top.shape[2] != 4:
        return None
    modules = [("down.0.0", "model.model.0"), ("up.0.0", "model.model.3")]
    here, level = "model.model.1", 1
    while f"{here}.model.5.weight" in tensors:
        numbers = ((f"down.{level}.0", 1), (f"down.{level}.1", 2), (f"up.{level}.0", 5), (f"up.{level}.1", 6))
        modules += [(ours, f"{here}.model.{number}") for ours, number in numbers]
        here, level = f"{here}.model.3", level + 1
    modules += [(ours, f"{here}.model.{number}") for ours, number in ((f"down.{level}.0", 1), (f"up.{level}.0", 3), (f"up.{level}.1", 4))]
    found = {"levels": level + 1, "width": top.shape[0], "channels": top.shape[1], **_norm(tensors, "model.model.1.model.2")}
    changed = {}
    if options.get("skip", "add") == "add":
        for ours, theirs in modules:
            weight = tensors.get(f"{theirs}.weight")
            if re.fullmatch(r"up\.\d+\.0", ours) and ours != f"up.{level}.0" and weight is not None and weight.ndim == 4:
                rising, beside = weight.tensor_split(2)
                changed[f"{ours}.weight"] = torch.cat([beside, rising])
    if found.get("norm") == "batch":  # then the published convolutions have no bias, nor has this one, which no norm follows
        changed["down.0.0.bias"] = torch.zeros(top.shape[0])
    return Imported(found, _names(modules), changed, _statistics(tensors, found))


def fpn(tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> Imported | None:
    """DeblurGAN-v2's pyramid over Inception-ResNet-v2 or MobileNet-v2.

    The release restores in training mode, so that batch norm takes the statistics of the image, by which it was also trained.
    """
    lateral = tensors.get("fpn.lateral4.weight")
    backbone = {"fpn.inception.conv2d_1a.conv.weight": "inception_resnet_v2", "fpn.features.0.0.weight": "mobilenetv2_100"}
    name = next((timm for key, timm in backbone.items() if key in tensors), None)
    if lateral is None or name is None:
        return None
    from restorekit_deblurgan.fpn import Fpn

    statistics = options.get("statistics", "image")
    found = {"backbone": name, "weights": "random", "taps": "published", "statistics": statistics, "width": lateral.shape[0]}
    with torch.device("meta"):
        ours = list(Fpn(**{**found, "width": lateral.shape[0] // 4 * 4}).state_dict())
    in_backbone = _in_inception if name == "inception_resnet_v2" else _in_mobilenet
    names = {key: _in_pyramid(key) or in_backbone(key) for key in ours}
    taken = set(names.values())
    dropped = {}
    for key, value in tensors.items():
        if re.match(r"(fpn\.td\d|smooth2?)\.1\.", key) and key.endswith(STATISTICS):
            dropped[key] = INSTANCE
        elif alias := re.match(r"fpn\.enc(\d)\.(.*)", key):
            original = tensors.get(_aliased(name, int(alias[1]), alias[2]))
            if original is not None and torch.equal(original, value):
                dropped[key] = ALIAS
        elif key.startswith(("fpn.inception.", "fpn.features.")) and key not in taken:
            if _beyond(key):
                dropped[key] = UNUSED
            elif statistics == "image" and key.endswith(STATISTICS):
                dropped[key] = BATCH
    return Imported(found, names, dropped=dropped)


INCEPTION = (
    ("conv2d_1a",),
    ("conv2d_2a", "conv2d_2b", "maxpool_3a"),
    ("conv2d_3b", "conv2d_4a", "maxpool_5a"),
    ("mixed_5b", "repeat", "mixed_6a"),
    ("repeat_1", "mixed_7a"),
)
MOBILENET = ((0, 1), (2, 3), (4, 5, 6), (7, 8, 9, 10), (11, 12, 13, 14, 15))
"""Which layers of the released backbones make each stage."""

EXPANDED = {"conv_pw": 0, "bn1": 1, "conv_dw": 3, "bn2": 4, "conv_pwl": 6, "bn3": 7}
UNEXPANDED = {"conv_dw": 0, "bn1": 1, "conv_pw": 3, "bn2": 4}
"""timm's names of the layers of a MobileNet-v2 block, and their numbers in the release."""


def _in_pyramid(key: str) -> str:
    """The released name of one of our tensors outside the backbone, or nothing."""
    if key.startswith("trunk."):
        return ""
    module, rest = key.split(".", 1)
    if module in ("smooth", "refine", "final"):
        return f"{'smooth2' if module == 'refine' else module}.{rest}"
    number, rest = rest.split(".", 1)
    if module == "laterals":
        return f"fpn.lateral{number}.{rest}"
    if module == "top_down":
        return f"fpn.td{int(number) + 1}.{rest}"
    convolution, rest = rest.split(".", 1)
    return f"head{int(number) + 1}.block{int(convolution) // 2}.{rest}"


def _in_inception(key: str) -> str:
    stage, layer, rest = key.removeprefix("trunk.network.stages.").split(".", 2)
    return f"fpn.inception.{INCEPTION[int(stage)][int(layer)]}.{rest}"


def _in_mobilenet(key: str) -> str:
    stage, layer, rest = key.removeprefix("trunk.network.stages.").split(".", 2)
    if stage == "0" and layer in "01":
        return f"fpn.features.0.{layer}.{rest}"
    number = int(layer) - 1 if stage == "0" else MOBILENET[int(stage)][int(layer)]
    module, rest = rest.split(".", 1)
    return f"fpn.features.{number}.conv.{(UNEXPANDED if number == 1 else EXPANDED)[module]}.{rest}"


def _aliased(backbone: str, stage: int, rest: str) -> str:
    """What a tensor of ``fpn.enc0`` to ``fpn.enc4`` is called in the backbone; those are parts of it, saved a second time."""
    if backbone == "inception_resnet_v2" and stage == 0:
        return f"fpn.inception.{INCEPTION[0][0]}.{rest}"
    layer, _, rest = rest.partition(".")
    stages = INCEPTION if backbone == "inception_resnet_v2" else MOBILENET
    if not (layer.isdecimal() and stage < len(stages) and int(layer) < len(stages[stage])):
        return ""
    return f"fpn.{'inception' if backbone == 'inception_resnet_v2' else 'features'}.{stages[stage][int(layer)]}.{rest}"


def _beyond(key: str) -> bool:
    """Whether a tensor belongs to a layer behind those that the pyramid reads."""
    layer = key.split(".")[2]
    return layer in ("repeat_2", "block8", "conv2d_7b", "last_linear") or (layer.isdecimal() and int(layer) > MOBILENET[-1][-1])


def _norm(tensors: Mapping[str, Tensor], module: str) -> dict[str, str]:
    """Batch norm has weights; instance norm, as published, has statistics at most, without which it cannot be told from none."""
    if f"{module}.weight" in tensors:
        return {"norm": "batch"}
    return {"norm": "instance"} if f"{module}.running_mean" in tensors else {}


def _statistics(tensors: Mapping[str, Tensor], found: Mapping[str, Any]) -> dict[str, str]:
    return {name: INSTANCE for name in tensors if name.endswith(STATISTICS) and found.get("norm") == "instance"}


def _names(modules: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {f"{ours}.{tensor}": f"{theirs}.{tensor}" for ours, theirs in modules for tensor in OF_MODULES}
