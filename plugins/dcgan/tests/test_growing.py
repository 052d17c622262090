"""Progressive growing, multi-scale gradients and the style-based generator, each against what its paper says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from restorekit_dcgan.layers import EqualConv, EqualLinear, MinibatchDeviation, PixelNorm
from restorekit_dcgan.networks import DcganCritic, DcganGenerator
from restorekit_dcgan.progressive import MsgCritic, MsgGenerator, ProgressiveCritic, ProgressiveGenerator
from restorekit_dcgan.style import Modulated, StyleCritic, StyleGenerator
from restorekit_dcgan.vanilla import SmallCritic, SmallGenerator, VanillaCritic, VanillaGenerator
from torch import Tensor, nn

import restorekit as rk


@pytest.fixture(autouse=True)
def _seeded() -> object:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def test_vanilla_is_goodfellows_pair() -> None:
    generator, critic = VanillaGenerator(), VanillaCritic()
    assert [tuple(m.weight.shape) for m in generator.modules() if isinstance(m, nn.Linear)] == [(128, 100), (128, 128), (784, 128)]
    assert [tuple(m.weight.shape) for m in critic.modules() if isinstance(m, nn.Linear)] == [(128, 784), (128, 128), (1, 128)]
    assert not [m for m in generator.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    for makes, judges in ((generator, critic), (SmallGenerator(), SmallCritic())):
        made = makes(torch.randn(3, 100))
        assert made.shape == (3, 1, 28, 28)
        assert 0 <= made.min() < made.max() <= 1
        assert judges(made)[0].shape == (3, 1, 1, 1)
        with pytest.raises(rk.UserError, match="28×28 pixels and got 32×32"):
            judges(torch.rand(1, 1, 32, 32))


def test_options_of_dcgan() -> None:
    resized = DcganGenerator(size=32, width=2, latent=4, upsampling="resize")
    assert sum(isinstance(m, nn.ConvTranspose2d) for m in resized.modules()) == 1, "only the first, which spreads the latent"
    assert resized(torch.randn(2, 4)).shape == (2, 3, 32, 32)
    dropping = DcganGenerator(size=28, width=4, latent=4, dropout=0.5)
    latent = torch.randn(2, 4)
    assert not torch.equal(dropping.train()(latent), dropping(latent))
    assert torch.equal(dropping.eval()(latent), dropping(latent))
    for norm, kind in (("instance", nn.InstanceNorm2d), ("batch", nn.BatchNorm2d)):
        critic = DcganCritic(size=32, width=2, norm=norm)
        assert sum(isinstance(m, kind) for m in critic.modules()) == 2
    alone = DcganCritic(size=32, width=2, norm="none").train()
    pictures = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(alone(pictures)[0][:1], alone(pictures[:1])[0], msg="without norm, images are judged one by one")


def test_spectral_norm_bounds_each_layer() -> None:
    critic = DcganCritic(size=32, width=4, norm="none", spectral=True).train()
    for _ in range(20):
        critic(torch.rand(2, 3, 32, 32))
    for layer in critic.layers:
        if isinstance(layer, nn.Conv2d):
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_a_class_label_decides() -> None:
    generator = DcganGenerator(size=28, channels=1, width=4, latent=4, classes=3).eval()
    critic = DcganCritic(size=28, channels=1, width=4, classes=3).eval()
    latent = torch.randn(1, 4).expand(3, -1)
    labels = torch.arange(3)
    made = generator(latent, labels)
    assert not torch.equal(made[0], made[1])
    logits = critic(made[:1].expand(3, -1, -1, -1), labels)[0].flatten()
    assert len(logits.unique()) == 3
    for wrong in (None, torch.tensor([0, 1, 3]), torch.tensor([0.0, 1.0, 2.0])):
        for network, x in ((generator, latent), (critic, made)):
            with pytest.raises(rk.UserError, match="class label"):
                network(x, wrong)


def test_equalised_layers_have_unit_gain_at_the_start() -> None:
    x = torch.randn(64, 32, 8, 8)
    made = EqualConv(32, 48, 3, gain=1.0)(x)[..., 1:-1, 1:-1]
    assert made.std().item() == pytest.approx(1, abs=0.05)
    assert EqualConv(32, 48, 3).weight.std().item() == pytest.approx(1, abs=0.05), "weights of unit variance, scaled while it runs"
    layer = EqualLinear(256, 128, gain=1.0, rate=0.01)
    assert layer(torch.randn(64, 256)).std().item() == pytest.approx(1, abs=0.05)
    plain = EqualLinear(256, 128, gain=1.0)
    for network in (layer, plain):
        network(torch.ones(1, 256)).sum().backward()
    ratio = layer.weight.grad.norm() / plain.weight.grad.norm()  # type: ignore[union-attr]
    assert ratio.item() == pytest.approx(0.01, rel=1e-3), "a gradient step moves its output by the square of the rate less"


def test_pixel_norm() -> None:
    maps = 5 * torch.randn(2, 7, 3, 3)
    torch.testing.assert_close(PixelNorm()(maps).square().mean(1), torch.ones(2, 3, 3), atol=1e-4, rtol=0)


def test_minibatch_deviation_is_near_zero_for_equal_pictures() -> None:
    layer = MinibatchDeviation().train()
    maps = torch.randn(6, 4, 2, 2)
    made = layer(maps)
    assert torch.equal(made[:, :4], maps)
    torch.testing.assert_close(made[:, 4], maps.std(0, correction=0).mean().expand(6, 2, 2), atol=1e-4, rtol=0)
    assert layer(maps[:1].expand(6, -1, -1, -1))[:, 4].max() < 2e-4
    assert layer.eval()(maps)[0, 4, 0, 0] == layer.usual


@pytest.mark.parametrize(
    ("step", "level", "share"),
    [(0, 0, 1.0), (9, 0, 1.0), (10, 1, 0.1), (14, 1, 0.5), (19, 1, 1.0), (29, 1, 1.0), (30, 2, 0.1), (45, 2, 1.0)],
)
def test_the_schedule_of_growth(step: int, level: int, share: float) -> None:
    generator = ProgressiveGenerator(size=16, width=2, latent=4, grow_every=10)
    generator.grow(step)
    assert generator.growth.now == (level, pytest.approx(share))


def test_fading_in_is_a_mixture() -> None:
    """At a share of a half, the picture is the mean of the coarser one enlarged and of the finer one alone."""
    generator = ProgressiveGenerator(size=16, width=2, latent=4, grow_every=10).train()
    latent = torch.randn(3, 4)
    generator.grow(29)
    coarse = generator(latent)
    generator.grow(34)
    mixed = generator(latent)
    generator.grow(40)
    fine = generator(latent)
    assert [x.shape[-1] for x in (coarse, mixed, fine)] == [8, 16, 16]
    torch.testing.assert_close(mixed, (F.interpolate(coarse, scale_factor=2) + fine) / 2)
    critic = ProgressiveCritic(size=16, width=2, grow_every=10).eval()
    pictures = torch.rand(2, 3, 16, 16)
    logits = []
    for done in (31, 48):
        critic.grow(done)
        logits.append(critic(pictures)[0])
    critic.grow(29)
    young = critic(pictures)[0]
    torch.testing.assert_close(young, critic(F.avg_pool2d(pictures, 2))[0], msg="a picture that is too fine is reduced")
    assert not torch.equal(logits[0], logits[1])


def test_the_first_step_of_a_new_level_hardly_changes_the_picture() -> None:
    generator = ProgressiveGenerator(size=16, width=4, latent=4, grow_every=100).train()
    latent = torch.randn(3, 4)
    generator.grow(299)
    before = F.interpolate(generator(latent), scale_factor=2)
    generator.grow(300)
    assert (generator(latent) - before).abs().mean() < 0.05 * before.std()


def test_multi_scale_gradients_reach_every_level_directly() -> None:
    generator, critic = MsgGenerator(size=32, width=2, latent=4).train(), MsgCritic(size=32, width=2)
    made = generator(torch.randn(2, 4))
    assert [image.shape[-1] for image in made] == [4, 8, 16, 32]
    inputs = tuple(image.detach().requires_grad_() for image in made)
    critic(inputs)[0].sum().backward()
    assert all(image.grad is not None and image.grad.any() for image in inputs)
    assert torch.equal(generator.eval()(torch.zeros(1, 4)), generator.train()(torch.zeros(1, 4))[-1])


def test_a_modulated_convolution_is_one_with_its_own_weights_for_each_picture() -> None:
    """Against the grouped convolution of StyleGAN2's paper, section 2.2."""
    layer = Modulated(6, 5, 4, 8).eval()
    maps, style = torch.randn(3, 6, 8, 8), torch.randn(3, 4)
    scales = layer.scales(style)
    weight = layer.convolution.weight * layer.convolution.scale
    own = weight[None] * scales[:, None, :, None, None]
    own = own / (own.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    made = F.conv2d(maps.reshape(1, 18, 8, 8), own.reshape(15, 6, 3, 3), padding=1, groups=3).view(3, 5, 8, 8)
    torch.testing.assert_close(layer(maps, style), F.leaky_relu(made, 0.2) * 2**0.5, atol=1e-5, rtol=1e-4)


def style_generator(**options: float) -> StyleGenerator:
    generator = StyleGenerator(size=16, width=2, latent=6, mapping=2, **options)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return generator


def test_styles_codes_and_their_mean() -> None:
    generator = style_generator(mixing=0.0)
    latent = torch.randn(4, 6)
    generator.eval()
    codes = generator.code(latent)
    torch.testing.assert_close(generator.decode(codes), generator(latent))
    layers = codes[:, None].expand(-1, 6, -1)
    torch.testing.assert_close(generator.decode(layers), generator(latent))
    generator.train()
    with torch.no_grad():
        for _ in range(400):
            generator(torch.randn(8, 6))
        wanted = generator.code(torch.randn(5000, 6)).mean(0)
    assert (generator.centre() - wanted).norm() < 0.25 * wanted.norm()


def test_noise_is_drawn_in_training_and_fixed_in_evaluation() -> None:
    generator = style_generator(mixing=0.0)
    latent = torch.randn(2, 6)
    assert not torch.equal(generator.train()(latent), generator(latent))
    assert torch.equal(generator.eval()(latent), generator(latent))


def test_style_mixing_takes_coarse_layers_from_one_and_fine_ones_from_another() -> None:
    generator = style_generator(mixing=1.0).train()
    seen: list[Tensor] = []
    decode = generator.decode
    generator.decode = lambda code, given=None: (seen.append(code), decode(code, given))[1]  # type: ignore[method-assign]
    latent = torch.randn(16, 6)
    generator(latent)
    own = generator.code(latent)[:, None]
    mine = ((seen[0] - own).abs().amax(2) < 1e-6).long()
    assert mine[:, 0].all()
    assert not mine[:, -1].any()
    assert (mine.diff(dim=1) <= 0).all(), "one change from the first style to the second"
    assert len(mine.sum(1).unique()) > 1


def test_the_style_critic_judges_one_size() -> None:
    critic = StyleCritic(size=16, width=2)
    assert critic(torch.rand(2, 3, 16, 16))[0].shape == (2, 1, 1, 1)
    with pytest.raises(rk.UserError, match="16×16 pixels and got 32×32"):
        critic(torch.rand(2, 3, 32, 32))
    names = [name for name, _ in critic.named_buffers()]
    assert all("done" not in name for name in names), "it does not grow"


@pytest.mark.parametrize("name", ["faces28", "textures64", "photos64", "progressive64", "msg64", "style64"])
def test_the_recipes_are_whole_and_their_parts_agree(name: str) -> None:
    content = rk.recipe(f"dcgan/{name}").check().content
    generator, critic = content["generator"], content["critic"]
    assert generator["size"] == critic["size"] == content["data"]["crop"] == int(name[-2:])
    for option in ("channels", "classes", "grow_every"):
        assert generator.get(option) == critic.get(option)
    if "grow_every" in generator:
        assert content["train"]["steps"] > 2 * 4 * generator["grow_every"], "it is still growing when it ends"


@pytest.mark.parametrize("options", [{"spectral": True, "norm": "none"}, {"deviation": True}, {"norm": "instance", "classes": 2}])
def test_critics_come_back_from_a_model_file(options: dict[str, object], tmp_path: Path) -> None:
    spec = {"size": 28, "channels": 1, "width": 2}
    classes = {"classes": options["classes"]} if "classes" in options else {}
    recipe = rk.recipe(
        {
            "recipe": 1,
            "generator": {"part": "dcgan/generator", **spec, **classes},
            "critic": {"part": "dcgan/critic", **spec, **options},
            "adversarial": "core/non-saturating",
        }
    ).check()
    generator = rk.registry().create("generator", "dcgan/generator", **spec, **classes).eval()
    critic = rk.registry().create("critic", "dcgan/critic", **spec, **options).eval()
    loaded = rk.load(rk.Model(generator, recipe, critic).save(tmp_path / "pair.safetensors"))
    assert loaded.critic is not None
    pictures, labels = torch.rand(2, 1, 28, 28), torch.tensor([0, 1]) if classes else None
    assert torch.equal(loaded.critic(pictures, labels)[0], critic(pictures, labels)[0])
