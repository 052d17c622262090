"""Generators that make pictures from latent vectors: what training gives them, and what the critic gets to see."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor

import restorekit as rk
from restorekit import seeding
from restorekit.engine import neighbours
from restorekit.engine.augment import KINDS, Augment, colour, cutout, pyramid, translation
from restorekit.engine.callbacks import Callback, history
from restorekit.engine.report import diagrams
from restorekit.engine.run import Run
from restorekit.errors import ConfigError, TrainingError

CONTENT: dict[str, Any] = {
    "recipe": 1,
    "generator": {"part": "dcgan/generator", "size": 28, "channels": 1, "width": 2, "latent": 4},
    "critic": {"part": "dcgan/critic", "size": 28, "channels": 1, "width": 2},
    "adversarial": "core/non-saturating",
    "data": {"train": "bundled-faces", "validation": "bundled-faces-heldout", "whole": True, "crop": 28, "batch": 4, "flips": "mirror"},
    "train": {"precision": "fp32", "steps": 4, "watch": False, "schedule": "constant"},
}
GROWING = {
    "generator": {"part": "dcgan/progressive", "size": 16, "width": 2, "latent": 4, "grow_every": 3},
    "critic": {"part": "dcgan/progressive", "size": 16, "width": 2, "grow_every": 3},
    "data": {"train": "bundled", "crop": 16, "batch": 2},
}
MSG = {
    "generator": {"part": "dcgan/msg", "size": 16, "width": 2, "latent": 4},
    "critic": {"part": "dcgan/msg", "size": 16, "width": 2},
    "data": GROWING["data"],
}
CLASSES = {
    "generator": {**CONTENT["generator"], "size": 32, "classes": 3},
    "critic": {**CONTENT["critic"], "size": 32, "classes": 3},
    "data": {"train": "bundled-textures", "validation": "bundled-textures-heldout", "crop": 32, "batch": 6},
}


def recipe(changes: Mapping[str, Any] | None = None, **train: Any) -> rk.Recipe:
    return rk.recipe({**CONTENT, **(changes or {}), "train": {**CONTENT["train"], **train}})


def run_of(changes: Mapping[str, Any] | None = None, **train: Any) -> Run:
    with seeding.seeded("networks"):
        return Run(recipe(changes, **train).check(), "cpu", rk.registry())


class Seen:
    """Notes what a network is called with, and what comes out."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        network.register_forward_hook(self.note)

    def note(self, network: torch.nn.Module, given: tuple[Any, ...], made: Any) -> None:
        self.inputs.append(given)
        self.outputs.append(made)


def step(run: Run, number: int = 0, **options: Any) -> Any:
    run.seed(number)
    run.set_learning_rate(number)
    run.grow(number)
    return run.step(run.put(run.patches.batch(number)), run.latent(number), **options)


def test_the_bundled_faces_are_the_first_hundred_of_lfw_subset() -> None:
    run = run_of({"data": {**CONTENT["data"], "crop": 28, "flips": False, "batch": 80}})
    made = run.patches.batch(0).sharp
    assert made.shape == (80, 1, 28, 28)
    assert run.images.names[0] == "face-000"
    assert len(run.images) == 80
    original = torch.from_numpy(skimage.data.lfw_subset()[:100]).float()[:, None]
    wanted = torch.nn.functional.interpolate(original, (28, 28), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    distance = torch.cdist(made.flatten(1), wanted.flatten(1))
    assert distance.min(1).values.max() < 0.1, "a picture that is no face of the set"
    assert sorted(distance.argmin(1).tolist()) == list(range(80)), "an epoch shows each of the eighty once"


def test_mirrored_faces_are_never_upside_down() -> None:
    straight, mirrored = (
        run_of({"data": {**CONTENT["data"], "flips": flips, "batch": 16}}).patches.batch(0).sharp for flips in (False, "mirror")
    )
    same = (straight == mirrored).flatten(1).all(1)
    other = (straight == mirrored.flip(3)).flatten(1).all(1)
    assert (same | other).all()
    assert same.any()
    assert other.any()


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    for name, level in (("dark", 40), ("light", 200)):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.fromarray(np.full((40, 40), level, np.uint8)).save(tmp_path / name / f"{i}.png")
    two = {part: {**CLASSES[part], "classes": 2} for part in ("generator", "critic")}
    batch = run_of({**two, "data": {"train": str(tmp_path), "crop": 32, "batch": 8, "holdout": 0.3}}).patches.batch(0)
    assert batch.labels is not None
    assert ((batch.sharp.mean((1, 2, 3)) > 0.5).long() == batch.labels).all()
    with pytest.raises(TrainingError, match=r"generator\.classes: 3, and .* holds 2 classes.*dark, light"):
        run_of({**CLASSES, "data": {"train": str(tmp_path), "crop": 32, "batch": 8, "holdout": 0.3}})


def test_a_class_is_a_folder_of_pictures(tmp_path: Path) -> None:
    def save(name: str) -> None:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)).save(tmp_path / name)

    def start() -> None:
        two = {part: {**CLASSES[part], "classes": 2} for part in ("generator", "critic")}
        run_of({**two, "data": {"train": str(tmp_path), "crop": 32, "batch": 4, "holdout": 0.1, "layout": "sharp"}})

    for i in range(5):
        save(f"{i}.png")
    with pytest.raises(TrainingError, match=r"has no folders: a class is a folder of pictures. Sort them into 2 folders"):
        start()
    for i in range(5):
        (tmp_path / f"{i}.png").unlink()
        save(f"dark/{i}.png")
    with pytest.raises(TrainingError, match=r"holds one class: dark"):
        start()
    for i in range(5):
        save(f"light/{i}.png")
    start()
    save("loose.png")
    save("lost.png")
    with pytest.raises(TrainingError, match=r"/lo\w+ and 1 more lie in none. Put each into the folder of its class"):
        start()


def test_each_class_has_something_to_learn_from(tmp_path: Path) -> None:
    for name in ("dark/1", "light/1"):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / f"{name}.png")
    data = {"train": str(tmp_path), "crop": 32, "batch": 4, "layout": "sharp"}
    two = {part: {**CLASSES[part], "classes": 2} for part in ("generator", "critic")}
    assert run_of({**two, "data": data}).sources.count == 2, "none is held out for a score that there is not"
    painter = {"part": "style/transform-net", "width": 4, "blocks": 1, "styles": 2}
    restores = {"recipe": 1, "degradation": "core/gaussian-noise", "generator": painter, "losses": ["core/l1"]}
    with pytest.raises(TrainingError, match=r"data\.holdout: .*/(dark|light) has no picture left to train on"):
        Run(rk.recipe({**restores, "data": data}).check(), "cpu", rk.registry())


def test_labels_reach_both_players() -> None:
    run = run_of(CLASSES)
    labels = run.patches.batch(0).labels
    assert labels is not None
    assert run.critic is not None
    seen = Seen(run.generator), Seen(run.critic)
    step(run)
    for network in seen:
        assert network.inputs
        assert all(torch.equal(given[1], labels) for given in network.inputs)


@pytest.mark.parametrize(("generator", "critic", "message"), [(3, 0, "set critic.classes=3"), (0, 2, "set generator.classes=2")])
def test_one_player_with_classes_is_refused(generator: int, critic: int, message: str) -> None:
    parts = {"generator": {**CLASSES["generator"], "classes": generator}, "critic": {**CLASSES["critic"], "classes": critic}}
    with pytest.raises(TrainingError, match=message):
        run_of({**CLASSES, **parts})


def test_real_images_are_brought_to_the_sizes_of_the_made_ones() -> None:
    run = run_of(MSG)
    assert run.critic is not None
    seen = Seen(run.critic)
    step(run)
    sharp = run.patches.batch(0).sharp
    sizes = [[image.shape[-1] for image in given[0]] for given in seen.inputs]
    assert sizes == [[4, 8, 16]] * len(sizes)
    real = seen.inputs[0][0]
    assert torch.equal(real[-1], sharp)
    torch.testing.assert_close(real[0], torch.nn.functional.avg_pool2d(sharp, 4))
    assert pyramid(sharp, torch.zeros(2, 3, 16, 16)) is sharp


def test_growth_follows_the_steps_and_is_saved(tmp_path: Path) -> None:
    run = run_of(GROWING)
    assert run.critic is not None
    seen = Seen(run.critic)
    sides = []
    for number in (0, 2, 3, 8, 9, 20):
        step(run, number)
        sides.append(seen.inputs[-1][0].shape[-1])
    assert sides == [4, 4, 8, 8, 16, 16]
    for steps, side in ((4, 8), (12, 16)):
        model = rk.train(recipe(GROWING, steps=steps), device="cpu")
        loaded = rk.load(model.save(tmp_path / f"{steps}.safetensors"))
        latent = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
        assert loaded.generator(latent).shape[-1] == 16, "in evaluation whole pictures at any stage"
        assert torch.equal(loaded.generator(latent), model.generator(latent))
        assert loaded.generator.train()(latent).shape[-1] == side


def test_a_growing_run_resumes_to_the_bit(tmp_path: Path) -> None:
    class Stop(Callback):
        def step(self, step: int, terms: Mapping[str, float], *, images: int, learning_rate: float) -> None:
            if step == 4:
                raise TrainingError("enough")

    adaptive = {"augment": ["colour"], "augment_probability": "adaptive", "augment_images": 8, "augment_target": -0.9}
    plan = recipe(GROWING, steps=8, checkpoint_every=3, **adaptive)
    whole = rk.train(plan, device="cpu").generator.state_dict()
    with pytest.raises(TrainingError, match="enough"):
        rk.train(plan, out=tmp_path, device="cpu", callbacks=[Stop()])
    resumed = rk.train(plan, out=tmp_path, resume=True, device="cpu").generator.state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_what_the_generator_makes_after_its_step_is_judged_without_a_trace() -> None:
    first, second = run_of(), run_of()
    outcome = step(first, after=True)
    plain = step(second)
    assert "D(G(z)) after" in outcome.signals
    assert "D(G(z)) after" not in plain.signals
    for player in ("generator", "critic"):
        states = [run.players[player].network.state_dict() for run in (first, second)]
        assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert second.critic is not None
    with torch.no_grad():
        again = float(second.critic.train()(second.generator.train()(second.latent(0)))[0].mean())
    assert outcome.signals["D(G(z)) after"] == pytest.approx(again, rel=1e-5)


def ramp(n: int = 64, side: int = 16) -> Tensor:
    return (torch.arange(side**2, dtype=torch.float32) / side**2).view(1, 1, side, side).expand(n, 3, -1, -1).contiguous()


def test_translation_moves_whole_pixels_and_shows_grey_outside() -> None:
    torch.manual_seed(0)
    image = ramp()
    moved = translation(image)
    found = set()
    for each in moved:
        for down in range(-2, 3):
            for right in range(-2, 3):
                wanted = torch.full((3, 20, 20), 0.5)
                wanted[:, 2 + down : 18 + down, 2 + right : 18 + right] = image[0]
                if torch.equal(each, wanted[:, 2:18, 2:18]):
                    found.add((down, right))
                    break
            else:
                continue
            break
        else:
            pytest.fail("no shift explains it")
    assert len(found) > 15


def test_cutout_leaves_a_square_of_half_the_side() -> None:
    torch.manual_seed(0)
    missing = (cutout(torch.ones(64, 3, 16, 16)) == 0.5).all(1)
    rows, columns = missing.any(2).sum(1), missing.any(1).sum(1)
    assert rows.max() == columns.max() == 8
    assert (missing.sum((1, 2)) == rows * columns).all(), "a rectangle"
    assert rows.min() >= 4, "at most half of it lies outside"


def test_colour_changes_colours_and_no_places() -> None:
    torch.manual_seed(0)
    image = torch.rand(32, 3, 6, 6)
    changed = colour(image)
    for before, after in zip(image, changed, strict=True):
        design = torch.cat([before.flatten(1), torch.ones(1, 36)]).T
        solution = torch.linalg.lstsq(design, after.flatten(1).T)
        assert (design @ solution.solution - after.flatten(1).T).abs().max() < 1e-4, "affine in the colours of one picture"
    assert (changed - image).abs().amax((1, 2, 3)).min() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_augmentation_carries_a_gradient_and_its_probability_holds(kind: str) -> None:
    torch.manual_seed(0)
    image = torch.rand(400, 3, 8, 8, requires_grad=True)
    changed = Augment([kind], 0.3)(image)
    share = (changed != image).flatten(1).any(1).float().mean().item()
    assert share == pytest.approx(0.3, abs=0.1)
    changed.sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert image.grad.any()


def test_the_adaptive_probability_follows_the_critic() -> None:
    augment = Augment(["colour"], 0.0, target=0.6, reach=1000)
    for _ in range(50):
        augment.adapt(1.0, 10)
    assert augment.probability == pytest.approx(0.5)
    for _ in range(20):
        augment.adapt(-1.0, 10)
    assert 0.3 < augment.probability < 0.5
    again = Augment(["colour"], 0.0, target=0.6, reach=1000)
    again.resume(augment.extras())
    assert vars(again) == vars(augment)
    for _ in range(200):
        augment.adapt(-1.0, 10)
    assert augment.probability == 0


def test_the_critic_sees_real_and_made_images_changed() -> None:
    run = run_of(augment=["cutout"])
    assert run.critic is not None
    seen = Seen(run.critic)
    step(run)
    assert len(seen.inputs) == 3, "real, made, and made again in the generator's step"
    for given in seen.inputs:
        assert (given[0] == 0.5).float().mean() > 0.05


def test_instance_noise_fades() -> None:
    run = run_of(instance_noise=0.5, steps=100)
    assert run.critic is not None
    seen = Seen(run.critic)
    for number, wanted in ((0, 0.5), (90, 0.05)):
        step(run, number)
        real = run.patches.batch(number).sharp
        assert (seen.inputs[-3][0] - real).std().item() == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize(
    ("changes", "train", "message"),
    [
        ({"adversarial": "core/r1"}, {}, r"batch norm.*core/r1.*set critic\.norm=none"),
        ({"adversarial": "core/wgan-gp"}, {}, r"batch norm.*core/wgan-gp.*set critic\.norm=none"),
        ({"adversarial": "core/lsgan"}, {"augment": ["colour"], "augment_probability": "adaptive"}, "core/non-saturating"),
        ({"data": {**CONTENT["data"], "crop": 32}}, {}, r"the generator makes 28×28 pixels; set data\.crop=28"),
    ],
)
def test_what_cannot_go_together_is_refused(changes: dict[str, Any], train: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        run_of(changes, **train)


def test_mistakes_in_the_keys() -> None:
    with pytest.raises(ConfigError, match=r"augment_probability: nothing is augmented"):
        recipe(augment_probability="adaptive").check()
    with pytest.raises(ConfigError, match=r"whole: a whole photograph has no zoom"):
        recipe({"data": {**CONTENT["data"], "zoom": [0.5, 1.0]}}).check()
    with pytest.raises(ConfigError, match=r"train\.augment"):
        recipe(augment=["color"]).check()
    run = run_of(MSG, augment=["colour"])
    with pytest.raises(TrainingError, match=r"train\.augment: not with a generator that makes several sizes"):
        step(run)


def test_a_run_leaves_the_same_latents_through_time(tmp_path: Path) -> None:
    rk.train(recipe(validate_every=2, learning_rate=0.1), out=tmp_path, device="cpu")
    assert [path.name for path in sorted((tmp_path / "samples").iterdir())] == ["000002.png", "000004.png"]
    with Image.open(tmp_path / "samples.gif") as animation:
        assert getattr(animation, "n_frames", 1) == 2
    with Image.open(tmp_path / "report.png") as report, Image.open(tmp_path / "samples/000004.png") as last:
        assert report.height > 800
        assert last.size == (4 * 28 * 3 + 6 * 3, 4 * 28 * 3 + 6 * 3)


def test_the_nearest_training_picture_is_the_nearest() -> None:
    run = run_of()
    among = neighbours.patches(run.patches, 40)
    assert torch.equal(among[:4], run.patches.batch(0).sharp)
    assert torch.equal(neighbours.nearest(among[7:9], among), among[7:9]), "copies of training pictures are found out"
    made = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    for image, near in zip(made, neighbours.nearest(made, among), strict=True):
        alike = [np.corrcoef(image.flatten(), other.flatten())[0, 1] for other in among]
        assert torch.equal(near, among[int(np.argmax(alike))])
    paler = 0.3 + 0.5 * among
    assert torch.equal(neighbours.nearest(paler[7:9], among), among[7:9]), "whatever the light"
    both = torch.cat([among, paler])
    assert torch.equal(neighbours.nearest(both, both), both), "of two that differ in light only the nearer"


def test_a_flat_picture_is_not_the_nearest_to_everything() -> None:
    rng = torch.Generator().manual_seed(0)
    grain = torch.rand(20, 1, 16, 16, generator=rng)
    flat = torch.tensor([0.2, 0.5, 0.8]).view(3, 1, 1, 1).expand(-1, 1, 16, 16)
    among = torch.cat([flat, grain])
    made = torch.rand(5, 1, 16, 16, generator=rng)
    assert all(float(near.std()) > 0.1 for near in neighbours.nearest(made, among))
    assert torch.equal(neighbours.nearest(flat, among[:3]), flat), "flat ones go by their brightness"


def test_the_final_picture_has_both_losses_and_what_the_critic_says(tmp_path: Path) -> None:
    rk.train(recipe(steps=20), out=tmp_path, device="cpu")
    shown = {name for diagram in diagrams(history(tmp_path / "history.jsonl")) for name in diagram.curves}
    wanted = {"fake", "critic real", "critic fake", "D(x)", "D(G(z))", "D(G(z)) after", "generator's gradient", "critic's gradient"}
    assert wanted <= shown
