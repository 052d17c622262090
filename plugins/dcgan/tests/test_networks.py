"""DCGAN's rules (section 3 of the paper), checked on what the networks run rather than on how they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from restorekit_dcgan.networks import DcganCritic, DcganGenerator, Side
from torch import Tensor, nn

import restorekit as rk

SIDES = get_args(Side)


def built(network: type[nn.Module], seed: int = 0, **options: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network(**options)


def draws(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pictures(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def steps(network: nn.Module, x: Tensor) -> list[tuple[nn.Module, tuple[int, ...], tuple[int, ...]]]:
    """The layers in the order in which they run, each with the height and width that go in and come out."""
    seen = []

    def note(layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        seen.append((layer, tuple(given[0].shape[2:]), tuple(result.shape[2:])))

    handles = [layer.register_forward_hook(note) for layer in network.modules() if not list(layer.children())]
    network(x)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIDES)
def test_the_generator_keeps_the_papers_rules(size: int, channels: int) -> None:
    generator = built(DcganGenerator, size=size, channels=channels, width=2, latent=5)
    ran = steps(generator, draws(2, 5))
    kinds = [type(layer) for layer, _, _ in ran]
    stages = kinds.count(nn.ConvTranspose2d)
    assert kinds == [nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU] * (stages - 1) + [nn.ConvTranspose2d, nn.Tanh]
    assert {type(layer) for layer in generator.modules() if not list(layer.children())} == set(kinds), "a layer that never runs"
    (_, seed, first), *strided = [step for step in ran if isinstance(step[0], nn.ConvTranspose2d)]
    assert seed == (1, 1), "the latent vector enters as a map of one pixel, not through a fully-connected layer"
    assert first in ((4, 4), (7, 7))
    for layer, before, after in strided:
        assert layer.stride == (2, 2)
        assert after == (2 * before[0], 2 * before[1])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIDES)
def test_the_critic_keeps_the_papers_rules(size: int, channels: int) -> None:
    critic = built(DcganCritic, size=size, channels=channels, width=2)
    ran = steps(critic, pictures(2, channels, size, size))
    kinds = [type(layer) for layer, _, _ in ran]
    stages = kinds.count(nn.Conv2d)
    assert kinds == [nn.Conv2d, nn.LeakyReLU] + [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU] * (stages - 2) + [nn.Conv2d]
    assert {type(layer) for layer in critic.modules() if not list(layer.children())} == set(kinds), "a layer that never runs"
    assert {layer.negative_slope for layer, _, _ in ran if isinstance(layer, nn.LeakyReLU)} == {0.2}
    *strided, (head, _, last) = [step for step in ran if isinstance(step[0], nn.Conv2d)]
    assert last == (1, 1)
    assert head.out_channels == 1
    for layer, before, after in strided:
        assert layer.stride == (2, 2)
        assert after == (before[0] // 2, before[1] // 2)


@pytest.mark.parametrize("network", [DcganGenerator, DcganCritic])
def test_maps_double_with_every_halving(network: type[nn.Module]) -> None:
    wide = [m.num_features for m in built(network, size=128, width=3).modules() if isinstance(m, nn.BatchNorm2d)]
    assert sorted(wide) == ([3, 6, 12, 24, 48] if network is DcganGenerator else [6, 12, 24, 48])


@pytest.mark.parametrize("size", SIDES)
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_range_and_declarations(size: int, channels: int) -> None:
    generator = built(DcganGenerator, size=size, channels=channels, width=2, latent=7).eval()
    made = generator(draws(3, 7) * 50)
    assert made.shape == (3, channels, size, size)
    assert made.min() >= 0
    assert made.max() <= 1
    assert (generator.consumes, generator.latent, generator.channels, generator.size.fixed) == ("latent", 7, channels, (size, size))
    critic = built(DcganCritic, size=size, channels=channels, width=2)
    (logits,) = critic(made)
    assert logits.shape == (3, 1, 1, 1)
    assert critic.channels == channels


def test_no_squash_leaves_mid_grey() -> None:
    generator = built(DcganGenerator, size=28, width=2)
    for weight in generator.parameters():
        nn.init.zeros_(weight)
    assert torch.equal(generator(draws(2, 100)), torch.full((2, 3, 28, 28), 0.5))


def test_the_critic_centres_the_range() -> None:
    """It maps [0, 1] to [-1, 1], the range of tanh, so mid-grey gives no signal at all where biases are 0."""
    critic = built(DcganCritic, size=32, width=2).eval()
    (logits,) = critic(torch.full((1, 3, 32, 32), 0.5))
    assert logits.item() == 0
    opposite = [critic(torch.full((1, 3, 32, 32), value))[0] for value in (0.25, 0.75)]
    assert opposite[0].item() != opposite[1].item()


def test_the_critic_judges_larger_pictures_by_several_logits_and_refuses_smaller() -> None:
    critic = built(DcganCritic, size=64, width=2)
    (logits,) = critic(pictures(2, 3, 96, 128))
    assert logits.shape == (2, 1, 3, 5)
    assert torch.equal(critic((pictures(2, 3, 32, 32), pictures(2, 3, 96, 128)))[0], critic(pictures(2, 3, 96, 128))[0])
    with pytest.raises(rk.UserError, match=r"64×64 pixels and got 70×32.*data\.crop"):
        critic(pictures(2, 3, 32, 70))


@pytest.mark.parametrize("network", [DcganGenerator, DcganCritic])
def test_initial_weights_are_drawn_from_the_papers_distribution(network: type[nn.Module]) -> None:
    made = built(network, size=32, width=64)
    for layer in made.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            spread = 0.02 / layer.weight.numel() ** 0.5
            assert abs(layer.weight.mean().item()) < 5 * spread
            assert abs(layer.weight.std().item() - 0.02) < 5 * spread
            assert layer.weight.abs().max() > 2.5 * 0.02, "a uniform distribution of this deviation ends at 1.73"
            assert layer.bias is None or not layer.bias.any()
        elif isinstance(layer, nn.BatchNorm2d):
            assert abs(layer.weight.mean().item() - 1) < 5 * 0.02 / layer.num_features**0.5
            assert 0.01 < layer.weight.std().item() < 0.03
            assert not layer.bias.any()


@pytest.mark.parametrize("network", [DcganGenerator, DcganCritic])
def test_initial_weights_follow_the_current_random_state(network: type[nn.Module]) -> None:
    first, same, other = (built(network, seed, size=28, width=2).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_pictures_leave_autocast_in_float32() -> None:
    generator = built(DcganGenerator, size=32, width=8).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        made = generator(draws(2, 100))
    assert made.dtype == torch.float32
    assert made.unique().numel() > 100 > 5 * made.bfloat16().unique().numel(), "rounded to bfloat16"
    assert generator.double()(draws(2, 100).double()).dtype == torch.float64


def test_a_few_steps_of_the_game_move_both_players() -> None:
    """The game by hand: the critic learns to tell stripes from made pictures, then the generator to fool it."""
    generator = built(DcganGenerator, 0, size=28, channels=1, width=8, latent=10)
    critic = built(DcganCritic, 1, size=28, channels=1, width=8)
    before = {name: weight.clone() for name, weight in [*generator.named_parameters("g"), *critic.named_parameters("c")]}
    stripes = (torch.arange(28) % 4 < 2).float().expand(16, 1, 28, 28)
    latents = draws(16, 10)

    def critic_loss() -> Tensor:
        with torch.no_grad():
            fake = generator(latents)
        return F.softplus(-critic(stripes)[0]).mean() + F.softplus(critic(fake)[0]).mean()

    def generator_loss() -> Tensor:
        return F.softplus(-critic(generator(latents))[0]).mean()

    def play(player: nn.Module, loss: Callable[[], Tensor]) -> list[float]:
        values = []
        for _ in range(12):
            player.zero_grad()
            value = loss()
            value.backward()
            with torch.no_grad():  # Adam's first step, repeated; torch.optim takes seconds to import
                for weight in player.parameters():
                    weight -= 2e-3 * weight.grad.sign()
            values.append(value.item())
        return values

    judged = play(critic, critic_loss)
    assert judged[0] == pytest.approx(2 * torch.log(torch.tensor(2.0)).item(), abs=0.5), "an untrained critic is undecided"
    assert judged[-1] < 0.5 * judged[0]
    fooled = play(generator, generator_loss)
    assert fooled[-1] < 0.5 * fooled[0]
    after = dict([*generator.named_parameters("g"), *critic.named_parameters("c")])
    assert not [name for name in before if torch.equal(before[name], after[name])], "weights that no step moved"


def test_the_recipe_is_whole_and_its_sizes_agree() -> None:
    content = rk.recipe("dcgan/photos64").check().content
    generator, critic, data, train = (content[key] for key in ("generator", "critic", "data", "train"))
    assert generator["part"] == "dcgan/generator"
    assert generator["size"] == critic["size"] == data["crop"] == 64
    assert generator["channels"] == critic["channels"]
    adversarial = content["adversarial"]
    assert (adversarial["part"], adversarial["weight"]) == ("core/non-saturating", 1.0)
    assert content["losses"] == []
    assert (data["batch"], train["learning_rate"], train["betas"], train["weight_decay"]) == (64, 2e-4, [0.5, 0.999], 0.0)


@pytest.mark.parametrize("wrong", [{"size": 48}, {"channels": 2}, {"width": 0}, {"latent": 0}, {"size": "64"}, {"widht": 8}])
def test_options_outside_the_signature_are_refused(wrong: dict[str, object]) -> None:
    (name,) = wrong
    with pytest.raises(rk.UserError, match=name):
        rk.registry().create("generator", "dcgan/generator", **wrong)
