"""resnet9, unet256 and gated against the figures and tables of their papers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from restorekit_deblurgan.attention import ChannelAttention, sums_by_rows, window_means, window_sums
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import restorekit as rk


def create(name: str, **options: object) -> Any:
    return rk.registry().create("generator", f"deblurgan/{name}", **options)


def imagined(name: str, **options: object) -> Any:
    """Without weights, for counting."""
    with torch.device("meta"):
        return create(name, **options)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def convolutions(network: nn.Module) -> list[tuple[str, int, int, int, int]]:
    """Kind, channels in and out, side of the kernel and stride, in their order."""
    kinds = {nn.Conv2d: "down", nn.ConvTranspose2d: "up"}
    return [(kinds[type(m)], m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in network.modules() if type(m) in kinds]


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("each", "golden", "millions"), [(2, 11_378_179, 11.38), (1, 6_067_459, 6.07)])
@pytest.mark.parametrize("upsample", ["transposed", "resize"])
def test_resnet9_has_the_size_of_figure_3_and_of_the_published_code(each: int, golden: int, millions: float, upsample: str) -> None:
    """Counted by the formula k·k·in·out + out for the layers of DeblurGAN's figure 3: two convolutions in a block, in the code one."""
    layers = [(7, 3, 64), (3, 64, 128), (3, 128, 256), *[(3, 256, 256)] * 9 * each, (3, 256, 128), (3, 128, 64), (7, 64, 3)]
    assert sum(k * k * i * o + o for k, i, o in layers) == golden
    assert parameters(imagined("resnet9", upsample=upsample, convolutions_per_block=each)) == golden
    assert round(golden / 1e6, 2) == millions


def test_resnet9_has_the_layers_of_figure_3() -> None:
    network = imagined("resnet9", upsample="transposed")
    assert convolutions(network) == [
        ("down", 3, 64, 7, 1),
        ("down", 64, 128, 3, 2),
        ("down", 128, 256, 3, 2),
        *[("down", 256, 256, 3, 1)] * 18,
        ("up", 256, 128, 3, 2),
        ("up", 128, 64, 3, 2),
        ("down", 64, 3, 7, 1),
    ]
    block = [type(layer).__name__ for layer in network.body[10].body]
    assert block == [*("ReflectionPad2d", "Conv2d", "InstanceNorm2d", "ReLU", "Dropout"), *("ReflectionPad2d", "Conv2d", "InstanceNorm2d")]
    assert network.body[10].body[4].p == 0.5


@pytest.mark.parametrize("name", ["resnet9", "unet256"])
def test_the_skip_is_added_and_clamped_or_averaged_or_left_out(name: str) -> None:
    image, options = drawn(0, 1, 3, 32, 32), {"width": 4} | ({"levels": 3} if name == "unet256" else {"blocks": 1})
    networks = {skip: create(name, skip=skip, **options).eval() for skip in ("none", "add", "average")}
    weights = {key: 3 * value for key, value in networks["none"].state_dict().items()}  # for outputs far from zero
    outputs = {}
    for skip, network in networks.items():
        network.load_state_dict(weights)
        with torch.no_grad():
            outputs[skip] = 2 * network(image) - 1
    signed, made = 2 * image - 1, outputs["none"]
    assert (signed + made).abs().max() > 1, "nothing to clamp"
    torch.testing.assert_close(outputs["add"], (signed + made).clamp(-1, 1))
    torch.testing.assert_close(outputs["average"], (signed + made) / 2)


@pytest.mark.parametrize("padding", ["reflect", "replicate", "zero"])
def test_padding_of_the_blocks(padding: str) -> None:
    """In an even picture only zeros make a border of their own."""
    network = create("resnet9", width=8, blocks=1, norm="none", padding=padding).eval()
    block = network.body[10]
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(drawn(1, *parameter.shape))
        made = block(torch.ones(1, 32, 8, 8))
    assert torch.allclose(made, made[..., 4:5, 4:5].expand_as(made)) == (padding != "zero")


def test_unet256_has_pix2pixs_size_and_layers() -> None:
    """54.414 M is what pix2pix's code prints; encoder and decoder are those of the paper's appendix 6.1.1."""
    network = imagined("unet256", norm="batch")
    down, up = [64, 128, 256, 512, 512, 512, 512, 512], [512, 512, 512, 512, 256, 128, 64]
    encoder, decoder = ([c for c in convolutions(network) if c[0] == kind] for kind in ("down", "up"))
    assert encoder == [("down", i, o, 4, 2) for i, o in zip([3, *down], down, strict=False)]
    assert decoder[::-1] == [("up", i, o, 4, 2) for i, o in zip([512, *(2 * n for n in up)], [*up, 3], strict=True)]
    assert round(parameters(network) / 1e6, 3) == 54.414
    assert [stage[2].p for stage in reversed(network.up)] == [0, 0.5, 0.5, 0.5, 0, 0, 0, 0]
    with torch.device("meta"):
        maps = torch.zeros(1, 3, 256, 256)
        for stage in network.down:
            maps = stage(maps)
    assert maps.shape == (1, 512, 1, 1)


@pytest.mark.parametrize("levels", [1, 2, 5, 7])
def test_unet256_has_any_number_of_levels(levels: int) -> None:
    network = create("unet256", levels=levels, width=2)
    assert network.size.multiple_of == 2**levels
    assert network(drawn(0, 1, 3, 2**levels, 3 * 2**levels)).shape == (1, 3, 2**levels, 3 * 2**levels)


def test_gated_has_the_papers_size_and_cost() -> None:
    """NAFNet of width 32 with 36 blocks: 17.11 M parameters (the authors' model zoo), 16 G multiply-adds at 256×256 (section 5.1)."""
    network = imagined("gated")
    blocks = {32: 1 + 1, 64: 1 + 1, 128: 1 + 1, 256: 28 + 1, 512: 1}
    # A block: two norms, 1×1 to 2c, depthwise 3×3 on 2c, attention, 1×1 to c, 1×1 to 2c, 1×1 to c, two scales.
    each = {
        c: 4 * c + (c * 2 * c + 2 * c) + (9 * 2 * c + 2 * c) + 2 * (c * c + c) + (c * 2 * c + 2 * c) + (c * c + c) + 2 * c for c in blocks
    }
    ends = (9 * 3 * 32 + 32) + (9 * 32 * 3 + 3)
    between = sum((4 * c * 2 * c + 2 * c) + 2 * c * 4 * c for c in (32, 64, 128, 256))
    assert parameters(network) == sum(count * each[c] for c, count in blocks.items()) + ends + between
    assert round(parameters(network) / 1e6, 2) == 17.11
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        network(torch.zeros(1, 3, 256, 256))
    assert round(counter.get_total_flops() / 2e9) == 16


def test_gated_starts_close_to_the_identity() -> None:
    """Its blocks do nothing at first, so that only its first and last convolution stand between the image and the result."""
    network, image = create("gated", width=4, blocks=[1], decoder=[1]).eval(), drawn(0, 1, 3, 16, 16)
    with torch.no_grad():
        before = network(image)
        for module in network.modules():
            if isinstance(module, ChannelAttention):
                module.convolution.weight.add_(1)
        torch.testing.assert_close(network(image), before)


@pytest.mark.parametrize(
    ("options", "message"), [({"blocks": []}, "at least one level"), ({"blocks": [1, 1]}, r"decoder: 4 levels up for 2")]
)
def test_gated_refuses_levels_that_do_not_fit(options: dict[str, object], message: str) -> None:
    with pytest.raises(rk.UserError, match=message):
        create("gated", **options)


@pytest.mark.parametrize("side", [1, 2, 7, 12])
def test_window_means_are_those_of_average_pooling(side: int) -> None:
    maps = drawn(0, 2, 3, 12, 17) - 0.5
    torch.testing.assert_close(window_means(maps, side), F.avg_pool2d(maps, side, 1), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("side", [1, 5, 11])
def test_sums_by_rows_are_those_that_other_devices_compute(side: int) -> None:
    maps = drawn(0, 2, 3, 12, 17) - 0.5
    torch.testing.assert_close(sums_by_rows(maps, side), window_sums(maps, -2, side), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(window_sums(maps, -2, side), window_sums(maps.mT, -1, side).mT)


def test_a_window_that_does_not_fit_takes_all_of_that_direction() -> None:
    maps = drawn(0, 1, 2, 6, 9)
    torch.testing.assert_close(window_means(maps, 8), F.avg_pool2d(maps, (6, 8), 1))
    torch.testing.assert_close(window_means(maps, 9), maps.mean((2, 3), keepdim=True))


def test_windowed_attention_is_that_of_the_nearest_whole_window() -> None:
    """Pixel by pixel, as the test-time local converter is defined."""
    attention = ChannelAttention(3, 5).eval()
    maps = drawn(0, 1, 3, 9, 11)
    with torch.no_grad():
        made = attention(maps)
        for row in range(9):
            for column in range(11):
                top, left = min(max(row - 2, 0), 4), min(max(column - 2, 0), 6)
                mean = maps[..., top : top + 5, left : left + 5].mean((2, 3), keepdim=True)
                expected = maps[..., row : row + 1, column : column + 1] * attention.convolution(mean)
                torch.testing.assert_close(made[..., row : row + 1, column : column + 1], expected)


def test_a_window_makes_a_crop_of_a_photograph_what_it_is_in_the_whole() -> None:
    """In evaluation alone: in training the mean of the patch is taken."""
    image = drawn(3, 1, 3, 96, 96) * torch.linspace(0, 1, 96)
    inside = (..., slice(40, 56), slice(40, 56))
    worst = {}
    for window in (None, 8):
        network = create("gated", width=4, blocks=[1], decoder=[1], middle=0, window=window).eval()
        with torch.no_grad():
            for index, parameter in enumerate(network.parameters()):
                parameter.copy_(drawn(index, *parameter.shape) - 0.4)
            worst[window] = float((network(image)[inside] - network(image[..., 16:80, 16:80])[..., 24:40, 24:40]).abs().max())
            if window is not None:
                whole = create("gated", width=4, blocks=[1], decoder=[1], middle=0)
                whole.load_state_dict(network.state_dict())
                assert torch.equal(network.train()(image), whole.train()(image))
    assert worst[8] < 1e-5
    assert worst[None] > 1e-4
