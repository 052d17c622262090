"""Published networks, written down here once more with their published names, against what is imported of their files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import restorekit as rk
from restorekit.cli import main
from restorekit.importing import convert


def instance(width: int) -> nn.Module:
    return nn.InstanceNorm2d(width, affine=False, track_running_stats=True)


NORMS = {"instance": instance, "batch": nn.BatchNorm2d}


class ResNet(nn.Module):
    """Johnson et al.'s network as pix2pix, CycleGAN and DeblurGAN number its layers."""

    def __init__(
        self, *, blocks: int = 2, width: int = 8, norm: str = "instance", dropout: bool = True, convolutions: int = 2,
        transposed: bool = True, zero: bool = False, residual: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        bias, make = norm == "instance", NORMS[norm]
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7, bias=bias), make(width), nn.ReLU()]
        for n in (width, 2 * width):
            layers += [nn.Conv2d(n, 2 * n, 3, 2, 1, bias=bias), make(2 * n), nn.ReLU()]
        for _ in range(blocks):
            n = 4 * width
            convolution = [nn.Conv2d(n, n, 3, padding=1, bias=bias)] if zero else [nn.ReflectionPad2d(1), nn.Conv2d(n, n, 3, bias=bias)]
            again = [nn.Conv2d(n, n, 3, padding=1, bias=bias)] if zero else [nn.ReflectionPad2d(1), nn.Conv2d(n, n, 3, bias=bias)]
            inside = [*convolution, make(n), nn.ReLU(), *([nn.Dropout()] if dropout else [])]
            block = nn.Module()
            block.conv_block = nn.Sequential(*inside, *([*again, make(n)] if convolutions == 2 else []))
            layers.append(block)
        for n in (4 * width, 2 * width):
            if transposed:
                layers.append(nn.ConvTranspose2d(n, n // 2, 3, 2, 1, output_padding=1, bias=bias))
            else:
                layers += [nn.Upsample(scale_factor=2, mode="bilinear"), nn.ReflectionPad2d(1), nn.Conv2d(n, n // 2, 3, bias=bias)]
            layers += [make(n // 2), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        made = x
        for layer in self.model:
            made = made + layer.conv_block(made) if hasattr(layer, "conv_block") else layer(made)
        return (x + made).clamp(-1, 1) if self.residual else made


class Level(nn.Module):
    """A level of pix2pix's U-Net with all below it, where ReLUs work in place."""

    def __init__(self, outer: int, inner: int, below: nn.Module | None, norm: str, *, top: bool, up_first: bool) -> None:
        super().__init__()
        bias, make = norm == "instance", NORMS[norm]
        down = nn.Conv2d(outer, inner, 4, 2, 1, bias=bias)
        up = nn.ConvTranspose2d(inner if below is None else 2 * inner, outer, 4, 2, 1, bias=bias or top)
        rise: list[nn.Module] = [nn.ReLU(inplace=True), up]
        if top:
            assert below is not None
            layers = [down, below, *rise, nn.Tanh()]
        elif below is None:
            layers = [nn.LeakyReLU(0.2, inplace=True), down, *rise, make(outer)]
        else:
            layers = [nn.LeakyReLU(0.2, inplace=True), down, make(inner), below, *rise, make(outer)]
        self.model = nn.Sequential(*layers)
        self.top, self.up_first = top, up_first

    def forward(self, x: Tensor) -> Tensor:
        made = self.model(x)
        if self.top:
            return made
        return torch.cat([made, x] if self.up_first else [x, made], 1)


class UNet(nn.Module):
    """`residual` as DeblurGAN has it, whose levels put what comes up first; otherwise as pix2pix."""

    def __init__(self, *, levels: int = 6, width: int = 4, norm: str = "instance", residual: bool = True) -> None:
        super().__init__()
        widths = [3] + [width * min(2**i, 8) for i in range(levels)]
        level: nn.Module | None = None
        for i in reversed(range(levels)):
            level = Level(widths[i], widths[i + 1], level, norm, top=i == 0, up_first=residual)
        self.model, self.residual = level, residual

    def forward(self, x: Tensor) -> Tensor:
        made = self.model(x.clone())
        return (x + made).clamp(-1, 1) if self.residual else made


class Inverted(nn.Module):
    """Block of MobileNet-v2 (Sandler et al., 2018)."""

    def __init__(self, here: int, there: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = here * expansion
        wide = [] if expansion == 1 else [nn.Conv2d(here, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()]
        deep = [nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()]
        self.conv = nn.Sequential(*wide, *deep, nn.Conv2d(inner, there, 1, bias=False), nn.BatchNorm2d(there))
        self.same = stride == 1 and here == there

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.same else self.conv(x)


def mobilenet() -> nn.Sequential:
    features: list[nn.Module] = [nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6())]
    here = 32
    for expansion, there, count, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for i in range(count):
            features.append(Inverted(here, there, stride if i == 0 else 1, expansion))
            here = there
    return nn.Sequential(*features, nn.Sequential(nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6()))


class Convolution(nn.Module):
    """What Inception-ResNet-v2 (Szegedy et al., 2016) is made of; the border is left out unless padded."""

    def __init__(self, here: int, there: int, kernel: Any, stride: int = 1, padding: Any = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(here, there, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(there, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Branches(nn.Module):
    """Branches side by side; with `scale` joined and added to the input, with `pooled` beside a max-pooling."""

    def __init__(self, *branches: nn.Module, out: int = 0, scale: float = 0.0, pooled: bool = False, linear: bool = False) -> None:
        super().__init__()
        self.count, self.scale, self.pooled, self.linear = len(branches), scale, pooled, linear
        for i, branch in enumerate(branches):
            setattr(self, f"branch{i}", branch)
        if scale:
            self.conv2d = nn.Conv2d(out, self.width, 1)

    @property
    def width(self) -> int:
        first = self.branch0
        return (first if isinstance(first, Convolution) else first[0]).conv.in_channels

    def forward(self, x: Tensor) -> Tensor:
        made = [getattr(self, f"branch{i}")(x) for i in range(self.count)]
        if self.pooled:
            made.append(F.max_pool2d(x, 3, 2))
        joined = torch.cat(made, 1)
        if not self.scale:
            return joined
        total = self.conv2d(joined) * self.scale + x
        return total if self.linear else F.relu(total)


def inception() -> nn.Module:
    c = Convolution

    def line(*convolutions: nn.Module) -> nn.Sequential:
        return nn.Sequential(*convolutions)

    def block35() -> nn.Module:
        third = line(c(320, 32, 1), c(32, 48, 3, 1, 1), c(48, 64, 3, 1, 1))
        return Branches(c(320, 32, 1), line(c(320, 32, 1), c(32, 32, 3, 1, 1)), third, out=128, scale=0.17)

    def block17() -> nn.Module:
        second = line(c(1088, 128, 1), c(128, 160, (1, 7), 1, (0, 3)), c(160, 192, (7, 1), 1, (3, 0)))
        return Branches(c(1088, 192, 1), second, out=384, scale=0.1)

    def block8(linear: bool = False) -> nn.Module:
        second = line(c(2080, 192, 1), c(192, 224, (1, 3), 1, (0, 1)), c(224, 256, (3, 1), 1, (1, 0)))
        return Branches(c(2080, 192, 1), second, out=448, scale=1.0 if linear else 0.2, linear=linear)

    net = nn.Module()
    net.conv2d_1a, net.conv2d_2a, net.conv2d_2b = c(3, 32, 3, 2), c(32, 32, 3), c(32, 64, 3, 1, 1)
    net.maxpool_3a, net.conv2d_3b, net.conv2d_4a, net.maxpool_5a = nn.MaxPool2d(3, 2), c(64, 80, 1), c(80, 192, 3), nn.MaxPool2d(3, 2)
    net.mixed_5b = Branches(
        c(192, 96, 1),
        line(c(192, 48, 1), c(48, 64, 5, 1, 2)),
        line(c(192, 64, 1), c(64, 96, 3, 1, 1), c(96, 96, 3, 1, 1)),
        line(nn.AvgPool2d(3, 1, 1, count_include_pad=False), c(192, 64, 1)),
    )
    net.repeat = line(*(block35() for _ in range(10)))
    net.mixed_6a = Branches(c(320, 384, 3, 2), line(c(320, 256, 1), c(256, 256, 3, 1, 1), c(256, 384, 3, 2)), pooled=True)
    net.repeat_1 = line(*(block17() for _ in range(20)))
    net.mixed_7a = Branches(
        line(c(1088, 256, 1), c(256, 384, 3, 2)),
        line(c(1088, 256, 1), c(256, 288, 3, 2)),
        line(c(1088, 256, 1), c(256, 288, 3, 1, 1), c(288, 320, 3, 2)),
        pooled=True,
    )
    net.repeat_2, net.block8, net.conv2d_7b = line(*(block8() for _ in range(9))), block8(linear=True), c(2080, 1536, 1)
    net.last_linear = nn.Linear(1536, 1000)
    return net


class Pyramid(nn.Module):
    """DeblurGAN-v2's network as released, with the backbone's layers registered twice."""

    def __init__(self, backbone: str) -> None:
        super().__init__()
        wide = 256 if backbone == "inception" else 128
        self.fpn = nn.Module()
        if backbone == "inception":
            self.fpn.inception = net = inception()
            channels = (32, 64, 192, 1088, 2080)
            stages: list[nn.Module] = [
                net.conv2d_1a,
                nn.Sequential(net.conv2d_2a, net.conv2d_2b, net.maxpool_3a),
                nn.Sequential(net.conv2d_3b, net.conv2d_4a, net.maxpool_5a),
                nn.Sequential(net.mixed_5b, net.repeat, net.mixed_6a),
                nn.Sequential(net.repeat_1, net.mixed_7a),
            ]
            self.pads = [(0, 1, 0, 1), (1, 1, 1, 1), (1, 2, 1, 2), (1, 1, 1, 1), (1, 1, 1, 1)]
        else:
            self.fpn.features = mobilenet()
            channels = (16, 24, 32, 64, 160)
            stages = [nn.Sequential(*self.fpn.features[a:b]) for a, b in ((0, 2), (2, 4), (4, 7), (7, 11), (11, 16))]
            self.pads = [(0, 0, 0, 0)] * 5
        for i, (stage, width) in enumerate(zip(stages, channels, strict=True)):
            setattr(self.fpn, f"enc{i}", stage)
            setattr(self.fpn, f"lateral{i}", nn.Conv2d(width, wide if i else wide // 2, 1, bias=False))
        for i in (1, 2, 3):
            setattr(self.fpn, f"td{i}", nn.Sequential(nn.Conv2d(wide, wide, 3, padding=1), instance(wide), nn.ReLU()))
        half = wide // 2
        for i in (1, 2, 3, 4):
            head = nn.Module()
            head.block0, head.block1 = nn.Conv2d(wide, half, 3, padding=1, bias=False), nn.Conv2d(half, half, 3, padding=1, bias=False)
            setattr(self, f"head{i}", head)
        self.smooth = nn.Sequential(nn.Conv2d(4 * half, half, 3, padding=1), instance(half), nn.ReLU())
        self.smooth2 = nn.Sequential(nn.Conv2d(half, half // 2, 3, padding=1), instance(half // 2), nn.ReLU())
        self.final = nn.Conv2d(half // 2, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        def larger(maps: Tensor, factor: int) -> Tensor:
            return maps.repeat_interleave(factor, 2).repeat_interleave(factor, 3)

        lateral, maps = [], x
        for i, pad in enumerate(self.pads):
            maps = getattr(self.fpn, f"enc{i}")(maps)
            lateral.append(F.pad(getattr(self.fpn, f"lateral{i}")(maps), pad, "reflect" if any(pad) else "constant"))
        levels = [lateral[4]]
        for i in (3, 2, 1):
            levels.append(getattr(self.fpn, f"td{4 - i}")(lateral[i] + larger(levels[-1], 2)))
        made = []
        for i, level in zip((4, 3, 2, 1), levels, strict=True):
            head = getattr(self, f"head{i}")
            made.append(larger(F.relu(head.block1(F.relu(head.block0(level)))), 2 ** (i - 1)))
        merged = self.smooth2(larger(self.smooth(torch.cat(made, 1)), 2) + lateral[0])
        return (torch.tanh(self.final(larger(merged, 2))) + x).clamp(-1, 1)


def filled(network: nn.Module, spread: float = 1.0) -> nn.Module:
    """Random weights, statistics too, so that no two tensors could be mistaken for each other; ready for inference as published."""
    drawn = torch.Generator().manual_seed(0)
    for module in network.modules():
        for name, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if name == "running_var" or (name == "weight" and value.ndim == 1):
                value.data.uniform_(0.5, 1.5, generator=drawn)
            elif name == "num_batches_tracked":
                value.fill_(7)
            elif value.ndim > 1:
                value.data.normal_(0, spread / (value[0].numel() ** 0.5), generator=drawn)
            else:
                value.data.normal_(0, 0.1, generator=drawn)
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.InstanceNorm2d):
            module.train()  # pix2pix and DeblurGAN run in training mode: by the image's own statistics
    return network


@torch.no_grad()
def agree(network: nn.Module, file: Path, name: str, size: tuple[int, int] = (64, 96), **settings: Any) -> rk.Model:
    """Import `file` and compare with the network that it was saved from."""
    converted = convert(file, f"deblurgan/{name}", settings)
    model = rk.load(converted.model.save(file.with_suffix(".safetensors")))
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    expected = ((torch.cat([network(one) for one in (2 * image - 1).split(1)]) + 1) / 2).clamp(0, 1)
    assert expected.std() > 0.01
    assert not torch.allclose(expected, image, atol=0.02)
    torch.testing.assert_close(model.restore(image), expected, atol=1e-5, rtol=0)
    return model


RESNETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as published": ({}, {}),
    "without dropout": ({"dropout": False}, {}),
    "one convolution": ({"convolutions": 1}, {}),
    "three blocks": ({"blocks": 3, "width": 4}, {}),
    "resized": ({"transposed": False}, {}),
    "batch norm": ({"norm": "batch"}, {}),
    "zeros around": ({"zero": True}, {}),
    "CycleGAN": ({"residual": False, "dropout": False}, {"skip": "none"}),
}


@pytest.mark.parametrize(("how", "settings"), RESNETS.values(), ids=RESNETS)
def test_resnets_agree(how: dict[str, Any], settings: dict[str, Any], tmp_path: Path) -> None:
    network = filled(ResNet(**how))
    torch.save(network.state_dict(), tmp_path / "latest_net_G.pth")
    options = agree(network, tmp_path / "latest_net_G.pth", "resnet9", **settings).recipe.content["generator"]
    assert options["blocks"] == how.get("blocks", 2)
    assert options["width"] == how.get("width", 8)
    assert options["convolutions_per_block"] == how.get("convolutions", 2)
    assert options["upsample"] == ("transposed" if how.get("transposed", True) else "resize")
    assert options["norm"] == how.get("norm", "instance")
    assert options["padding"] == ("zero" if how.get("zero") else "reflect")


UNETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "DeblurGAN": ({}, {}),
    "pix2pix": ({"residual": False, "norm": "batch"}, {"skip": "none"}),
    "five levels": ({"levels": 5, "norm": "instance", "residual": False}, {"skip": "none"}),
    "DeblurGAN, batch norm": ({"norm": "batch"}, {}),
}


@pytest.mark.parametrize(("how", "settings"), UNETS.values(), ids=UNETS)
def test_unets_agree(how: dict[str, Any], settings: dict[str, Any], tmp_path: Path) -> None:
    network = filled(UNet(**how))
    torch.save(network.state_dict(), tmp_path / "latest_net_G.pth")
    levels = how.get("levels", 6)
    model = agree(network, tmp_path / "latest_net_G.pth", "unet256", (2**levels * 2, 2**levels * 3), **settings)
    assert model.recipe.content["generator"]["levels"] == levels


@pytest.mark.parametrize("statistics", ["image", "running"])
@pytest.mark.parametrize("backbone", ["mobilenet", pytest.param("inception", marks=pytest.mark.slow)])
def test_pyramids_agree(backbone: str, statistics: str, tmp_path: Path) -> None:
    """By the image's statistics as the release restores, in training mode, and by the running ones of its files."""
    network = filled(Pyramid(backbone), 1.4)
    file = tmp_path / f"fpn_{backbone}.h5"
    torch.save({"model": nn.DataParallel(network).state_dict()}, file)
    assert {name.partition(".")[0] for name in torch.load(file, weights_only=True)["model"]} == {"module"}
    if statistics == "image":
        network.train()
    settings = {} if statistics == "image" else {"statistics": statistics}
    options = agree(network, file, "fpn", (128, 160), **settings).recipe.content["generator"]
    assert (options["taps"], options["statistics"]) == ("published", statistics)
    assert options["width"] == (256 if backbone == "inception" else 128)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("published") / "latest_net_G.pth"
    torch.save(filled(ResNet(blocks=1, width=4)).state_dict(), file)
    return file


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    streams = capsys.readouterr()
    assert "Traceback" not in streams.err
    return code, streams.out, streams.err


def test_the_command_says_what_it_read_assumed_and_dropped(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "model.safetensors"
    code, said, _ = run(capsys, "import", checkpoint, "--as", "resnet9", "-o", out)
    words = " ".join(said.split())
    assert code == 0
    assert "deblurgan/resnet9" in words
    assert "told by the file blocks=1, width=4" in words
    assert "assumed dropout=0.5, skip=add, padding=reflect" in words
    assert "running statistics of instance norm" in words
    assert f"--with {out}" in words
    again = ("import", checkpoint, "--as", "deblurgan/resnet9", "-o", out, "--set", "skip=none", "--json")
    code, _, complaint = run(capsys, *again)
    assert (code, "there already. To replace: --overwrite" in complaint) == (2, True)
    code, said, _ = run(capsys, *again, "--overwrite")
    report = json.loads(said)
    assert code == 0
    assert report["set"] == {"skip": "none"}
    (names,) = report["dropped"].values()
    assert sorted(names) == sorted(name for name in torch.load(checkpoint, weights_only=True) if "running" in name or "tracked" in name)
    provenance = rk.load(out).provenance
    assert provenance["imported from"] == checkpoint.name
    assert provenance["sha256"] == report["sha256"]


def refused(capsys: pytest.CaptureFixture[str], file: Path, name: str, *more: str) -> str:
    out = file.with_name("refused.safetensors")
    code, said, complaint = run(capsys, "import", file, "--as", name, "-o", out, *more)
    assert (code, said) == (2, "")
    assert complaint.startswith("error: ")
    assert not out.exists()
    return complaint


def changed(checkpoint: Path, file: Path, **tensors: Tensor | None) -> Path:
    content = {**torch.load(checkpoint, weights_only=True), **{name.replace("__", "."): value for name, value in tensors.items()}}
    torch.save({name: value for name, value in content.items() if value is not None}, file)
    return file


def test_every_tensor_that_does_not_fit_is_listed(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = changed(
        checkpoint,
        tmp_path / "wrong.pth",
        model__4__bias=None,
        model__7__weight=torch.zeros(16, 8, 5, 5),
        model__7__bias=torch.zeros(16, dtype=torch.int64),
        model__11__bias=torch.full((8,), torch.nan),
        model__99__weight=torch.zeros(1),
    )
    said = refused(capsys, file, "deblurgan/resnet9")
    assert "5 tensors do not fit" in said
    for line in (
        "model.4.bias is missing, (8,)",
        "model.7.weight is (16, 8, 5, 5), the network takes (16, 8, 3, 3)",
        "model.7.bias is int64, the network takes float32",
        "model.11.bias holds values that are not finite",
        "model.99.weight is not of the network",
    ):
        assert line in said


def test_half_and_double_precision_are_taken(checkpoint: Path, tmp_path: Path) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        content = {
            name: value.to(dtype) if value.is_floating_point() else value
            for name, value in torch.load(checkpoint, weights_only=True).items()
        }
        torch.save(content, tmp_path / "other.pth")
        weights = convert(tmp_path / "other.pth", "deblurgan/resnet9").model.generator.state_dict()
        assert {value.dtype for value in weights.values()} == {torch.float32}


def test_a_checkpoint_of_another_network_is_told_apart(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "looks like deblurgan/resnet9: restorekit import" in refused(
        capsys, changed(checkpoint, tmp_path / "a.pth"), "deblurgan/unet256"
    )
    torch.save(UNet().state_dict(), tmp_path / "b.pth")
    assert "looks like deblurgan/unet256: restorekit import" in refused(capsys, tmp_path / "b.pth", "deblurgan/resnet9")
    torch.save({"intro.weight": torch.zeros(8, 3, 3, 3)}, tmp_path / "c.pth")
    said = refused(capsys, tmp_path / "c.pth", "deblurgan/fpn")
    assert "begin with intro.weight (8, 3, 3, 3)" in said
    assert "restorekit-spandrel" in said
    model = convert(checkpoint, "deblurgan/resnet9").model.save(tmp_path / "model.safetensors")
    assert "already a model file" in refused(capsys, model, "deblurgan/resnet9")


def test_what_the_file_tells_can_not_be_set_otherwise(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = changed(checkpoint, tmp_path / "a.pth")
    assert "--set blocks=6: the checkpoint's is 1" in refused(capsys, file, "deblurgan/resnet9", "--set", "blocks=6")
    assert "--set padding=zero: the checkpoint's is reflect" in refused(capsys, file, "deblurgan/resnet9", "--set", "padding=zero")
    assert "Did you mean skip?" in refused(capsys, file, "deblurgan/resnet9", "--set", "skp=none")
    assert "deblurgan/compact has no importer" in refused(capsys, file, "deblurgan/compact")


@pytest.mark.parametrize(
    ("make", "name", "every"),
    [(ResNet, "resnet9", 9), (UNet, "unet256", 9), (lambda: Pyramid("mobilenet"), "fpn", 90)],
    ids=["resnet", "unet", "fpn"],
)
def test_importers_answer_whatever_is_missing(make: Any, name: str, every: int, tmp_path: Path) -> None:
    """Of one tensor in so many, each is taken away, and made a single number."""
    content = make().state_dict()
    unneeded = re.compile(r"fpn\.enc|fpn\.features\.1[678]|.*(running_mean|running_var|num_batches_tracked)$")
    for missing in [key for key in content if not unneeded.match(key)][::every]:
        for less in ({k: v for k, v in content.items() if k != missing}, {**content, missing: torch.zeros(())}):
            torch.save(less, tmp_path / "less.pth")
            with pytest.raises(rk.UserError, match=r"do not fit:\n|not a checkpoint of|expected"):
                convert(tmp_path / "less.pth", f"deblurgan/{name}")
