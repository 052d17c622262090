"""Small networks of random weights, saved as their communities do, restored through the plugin and on their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

import restorekit as rk
from restorekit.cli import main
from restorekit.conformance import parametrize_parts
from restorekit.images import Degraded

spandrel = pytest.importorskip("spandrel")


@parametrize_parts("spandrel")
def test_conforms(conformance_case):
    conformance_case.run()


class Dense(nn.Module):
    """Residual dense block (Wang et al., ESRGAN, 2018): five convolutions, each of which sees all maps before it."""

    def __init__(self, width, growth):
        super().__init__()
        for i in range(5):
            setattr(self, f"conv{i + 1}", nn.Conv2d(width + i * growth, growth if i < 4 else width, 3, padding=1))

    def forward(self, x):
        maps = [x]
        for i in range(4):
            maps.append(F.leaky_relu(getattr(self, f"conv{i + 1}")(torch.cat(maps, 1)), 0.2))
        return x + 0.2 * self.conv5(torch.cat(maps, 1))


class Triple(nn.Module):
    def __init__(self, width, growth):
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (Dense(width, growth) for _ in range(3))

    def forward(self, x):
        return x + 0.2 * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDB(nn.Module):
    """Real-ESRGAN's network for a factor of four, with the names that its files have."""

    def __init__(self, width=8, growth=32, blocks=1):
        super().__init__()
        self.conv_first = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*[Triple(width, growth) for _ in range(blocks)])
        self.conv_body, self.conv_up1, self.conv_up2, self.conv_hr = (nn.Conv2d(width, width, 3, padding=1) for _ in range(4))
        self.conv_last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x):
        shallow = self.conv_first(x)
        maps = shallow + self.conv_body(self.body(shallow))
        for up in (self.conv_up1, self.conv_up2):
            maps = F.leaky_relu(up(F.interpolate(maps, scale_factor=2, mode="nearest")), 0.2)
        return self.conv_last(F.leaky_relu(self.conv_hr(maps), 0.2))


def nafnet():
    from spandrel.architectures.NAFNet import NAFNet

    network = NAFNet(width=8, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1])
    for name, parameter in network.named_parameters():
        if name.endswith(("beta", "gamma")):  # zero at first, so that untrained blocks would do nothing
            nn.init.constant_(parameter, 0.1)
    return network


def swinir():
    from spandrel.architectures.SwinIR import SwinIR

    return SwinIR(img_size=16, embed_dim=12, depths=[2, 2], num_heads=[2, 2], window_size=8, mlp_ratio=2)


NETWORKS = {"NAFNet": (nafnet, "params", 1), "SwinIR": (swinir, "params", 1), "ESRGAN": (RRDB, "params_ema", 4)}


@pytest.fixture(params=NETWORKS)
def saved(request, tmp_path):
    """A network, its file, its architecture's name and its scale."""
    make, key, scale = NETWORKS[request.param]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = make().eval()
    file = tmp_path / "network.pth"
    torch.save({key: network.state_dict()}, file)
    return network, file, request.param, scale


def create(file, **options):
    return rk.registry().create("restorer", "spandrel/checkpoint", file=str(file), **options)


def picture(height, width, channels=3):
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_restores_as_the_network_does(saved):
    network, file, name, scale = saved
    restorer = create(file)
    image = picture(32, 40)
    expected = network(image).clamp(0, 1)
    assert expected.shape == (1, 3, 32 * scale, 40 * scale)
    torch.testing.assert_close(restorer.restore(Degraded(image)), expected, atol=1e-5, rtol=0)
    assert restorer.scale == restorer.model.generator.scale == scale
    assert restorer.model.provenance["architecture"] == name


@torch.no_grad()
def test_any_size_any_batch_and_grey_are_restored(saved):
    _, file, _, scale = saved
    restorer = create(file)
    image = torch.cat([picture(37, 45), picture(37, 45).flip(3)])
    both = restorer.restore(Degraded(image))
    assert both.shape == (2, 3, 37 * scale, 45 * scale)
    torch.testing.assert_close(both[1:], restorer.restore(Degraded(image[1:])), atol=1e-5, rtol=0)
    grey = restorer.restore(Degraded(image[:1, :1]))
    assert grey.shape == (1, 1, 37 * scale, 45 * scale)


@torch.no_grad()
def test_tiles_of_a_network_that_sees_little_are_the_whole(tmp_path):
    """Three convolutions of 3×3 see three pixels far, of which 16, a quarter of the overlap, are allowed."""
    from spandrel.architectures.Compact import Compact

    file = tmp_path / "compact.safetensors"
    save_file(Compact(num_feat=4, num_conv=1, upscale=2).state_dict(), file)
    image = picture(300, 260)
    whole, tiled = (create(file, tile=tile).restore(Degraded(image)) for tile in (None, 256))
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)
    assert create(file).tile == 512


def test_tiles_are_left_out_where_spandrel_advises_against_them(saved):
    _, file, name, _ = saved
    advised = spandrel.ModelLoader().load_from_file(file).tiling == spandrel.ModelTiling.SUPPORTED  # changes between its versions
    assert advised or name == "SwinIR"
    assert create(file).tile == (512 if advised else None)
    assert create(file, tile=64).tile == 64


def test_size_rules_and_tags_are_spandrels(saved):
    _, file, _, _ = saved
    found = spandrel.ModelLoader().load_from_file(file)
    model = create(file).model
    rule = model.generator.size
    assert (rule.minimum, rule.multiple_of) == (max(1, found.size_requirements.minimum), found.size_requirements.multiple_of)
    assert model.provenance["tags"] == found.tags
    assert model.generator.channels == 3


def test_an_image_that_is_too_small_is_refused(saved):
    _, file, name, _ = saved
    restorer = create(file)
    if restorer.model.generator.size.minimum == 1:
        pytest.skip(f"{name} takes any size")
    with pytest.raises(rk.UserError, match="this network needs at least"):
        restorer.restore(Degraded(picture(1, 1)))


@torch.no_grad()
def test_a_grey_network_restores_colours_one_by_one(tmp_path):
    from spandrel.architectures.Compact import Compact

    network = Compact(num_in_ch=1, num_out_ch=1, num_feat=4, num_conv=1, upscale=1).eval()
    torch.save(network.state_dict(), tmp_path / "grey.pth")
    restorer = create(tmp_path / "grey.pth")
    image = picture(20, 24)
    expected = torch.cat([network(channel) for channel in image.split(1, 1)], 1).clamp(0, 1)
    torch.testing.assert_close(restorer.restore(Degraded(image)), expected, atol=1e-5, rtol=0)


def test_a_network_that_fills_holes_reads_the_mask(monkeypatch, tmp_path):
    """LaMa itself has 51 M parameters, so a box filter stands for it here, with spandrel's own descriptor around."""
    from spandrel import MaskedImageModelDescriptor
    from spandrel.architectures.LaMa import LaMaArch

    class Fill(nn.Module):
        def __init__(self):
            super().__init__()
            self.value = nn.Parameter(torch.tensor(0.25))

        def forward(self, image, mask):
            assert image.shape[-2] % 8 == image.shape[-1] % 8 == 0
            return image * (1 - mask) + mask * self.value

    class Arch(LaMaArch):
        def load(self, state_dict):
            return MaskedImageModelDescriptor(
                Fill(), state_dict, architecture=self, purpose="Inpainting", tags=[], supports_half=False, supports_bfloat16=False,
                input_channels=3, output_channels=3, size_requirements=spandrel.SizeRequirements(minimum=16, multiple_of=8),
            )  # fmt: skip

    registry = spandrel.ArchRegistry()
    registry.add(spandrel.ArchSupport(Arch(), lambda tensors: "value" in tensors))
    monkeypatch.setattr(spandrel, "MAIN_REGISTRY", registry)
    torch.save(Fill().state_dict(), tmp_path / "fill.pth")
    restorer = create(tmp_path / "fill.pth")
    assert restorer.uses == {"mask"}
    image, mask = picture(21, 30), torch.zeros(1, 1, 21, 30)
    mask[..., 5:9, 5:9] = 1
    filled = restorer.restore(Degraded(image, mask))
    torch.testing.assert_close(filled, image * (1 - mask) + 0.25 * mask)
    with pytest.raises(rk.UserError, match="--mask"):
        restorer.restore(Degraded(image))


def test_who_wants_to_import_such_a_file_is_told_what_it_is(saved, tmp_path, capsys):
    _, file, name, _ = saved
    assert main(["import", str(file), "--as", "deblurgan/resnet9", "-o", str(tmp_path / "model.safetensors")]) == 2
    assert f"looks like spandrel/{name}" in capsys.readouterr().err
    assert not (tmp_path / "model.safetensors").exists()


class Evil:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (Path.touch, (self.file,))


def test_code_is_refused_and_not_run(tmp_path):
    torch.save({"params": Evil(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(rk.UserError, match=r"evil.pth: refused: the file calls \S+, .* Nothing of it was run"):
        create(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_of_nothing_known_says_what_is_known(tmp_path):
    torch.save({"some.weight": torch.zeros(2, 2)}, tmp_path / "x.pth")
    with pytest.raises(rk.UserError, match=r"spandrel knows; its tensors begin with some.weight. spandrel knows .*NAFNet"):
        create(tmp_path / "x.pth")


def test_a_checkpoint_that_lacks_tensors_says_what_it_looks_like(saved):
    _, file, name, _ = saved
    (key, content), *_ = torch.load(file, weights_only=True).items()
    content.pop(next(n for n in reversed(content) if n.endswith("bias")))
    torch.save({key: content}, file)
    with pytest.raises(rk.UserError, match=rf"looks like {name}, but its tensors do not fit"):
        create(file)


def test_a_network_that_spandrel_misjudges_fails_with_its_name(tmp_path):
    """The number of attention heads stands in no tensor: SCUNet's are taken to have 32 channels each."""
    from spandrel.architectures.SCUNet import SCUNet

    torch.save(SCUNet(in_nc=3, config=[1] * 7, dim=16).state_dict(), tmp_path / "x.pth")
    with pytest.raises(rk.UserError, match=r"spandrel's SCUNet failed on an image of 64×64: "):
        create(tmp_path / "x.pth").restore(Degraded(picture(64, 64)))


def test_without_spandrel_the_plugin_loads_and_says_what_to_install(tmp_path):
    """A module of the name that cannot be imported hides the installed one."""
    (tmp_path / "spandrel.py").write_text("raise ImportError('hidden')\n")
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    (tmp_path / "photo.png").write_bytes(png())

    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run([sys.executable, "-m", "restorekit", *arguments], capture_output=True, text=True, env=environment)

    assert "spandrel/checkpoint" in run("list", "restorer").stdout
    options = ("--with", "spandrel/checkpoint", "--set", f"file={tmp_path}/a.pth")
    refused = run("restore", f"{tmp_path}/photo.png", "-o", f"{tmp_path}/out.png", *options)
    assert refused.returncode == 2
    assert "pip install 'restorekit-spandrel[spandrel]'" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "out.png").exists()


def png():
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "png")
    return stream.getvalue()
