"""From settings to batches: what is refused or said before the first step, and what is reported after the last."""

from __future__ import annotations

import signal
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import restorekit as rk
from restorekit import config
from restorekit.engine.callbacks import Callback
from restorekit.engine.reading import ReadAhead
from restorekit.engine.sources import LISTED, Sources, open_sources
from restorekit.errors import TrainingError
from restorekit.interfaces import Degradation, Generator
from restorekit.settings import DataSettings

from .data_files import CAT, damage, write_pairs, write_sharp

CPU = torch.device("cpu")
RECIPE: dict[str, Any] = {
    "recipe": 1,
    "task": "deblur",
    "generator": {"part": "deblurgan/compact", "width": 8, "blocks": [1], "middle": 1},
    "losses": [{"part": "core/l1"}],
    "data": {"crop": 32, "batch": 2, "validation_images": 1},
    "train": {"steps": 6, "precision": "fp32", "validate_every": 100, "checkpoint_every": 3, "ema": 0.9},
}


def network(name: str = "deblurgan/compact", **options: object) -> Generator:
    given = options or {"width": 8, "blocks": [1], "middle": 1}
    part: Generator = rk.registry().create("generator", name, **given)
    return part


def shake(**options: object) -> Degradation:
    part: Degradation = rk.registry().create("degradation", "core/camera-shake", **options)
    return part


def opened(degradation: Degradation | None = None, generator: Generator | None = None, **settings: object) -> Sources:
    data = DataSettings(**{"crop": 32, "batch": 4, **settings})  # type: ignore[arg-type]
    return open_sources(data, generator=generator or network(), degradation=degradation, seed=0, device=CPU)


def said(degradation: Degradation | None = None, **settings: object) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        opened(degradation, **settings)
    return [str(warning.message) for warning in caught]


def ab_folder(folder: Path, count: int = 3) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        sharp = CAT[20 * number : 20 * number + 200, 30 * number : 30 * number + 300]
        Image.fromarray(np.concatenate([sharp // 2, sharp], 1)).save(folder / f"{number}.png")
    return folder


def test_pairs_need_no_degradation(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    sources = opened(train=str(tmp_path / "sharp"), degraded=str(tmp_path / "degraded"))
    assert (sources.count, sources.kind, len(sources.pairs)) == (2, "pairs in two folders", 1)
    batch = sources.patches.batch(0)
    torch.testing.assert_close(batch.degraded.image, 1 - batch.sharp)
    torch.testing.assert_close(sources.pairs[0].degraded.image, 1 - sources.pairs[0].sharp)


def test_a_layout_that_was_guessed_is_said(tmp_path: Path) -> None:
    ab_folder(tmp_path / "ab")
    (message,) = said(train=str(tmp_path / "ab"))
    assert message.startswith(f"data.train: {tmp_path}/ab is taken for 3 pairs side by side in one picture. data.layout=ab confirms it")
    assert said(train=str(tmp_path / "ab"), layout="ab") == []
    batch = opened(train=str(tmp_path / "ab"), layout="ab", flips=False).patches.batch(0)
    assert float((batch.degraded.image - batch.sharp / 2).abs().max()) <= 0.51 / 255
    flipped = opened(train=str(tmp_path / "ab"), layout="ab", sharp_half="left", flips=False).patches.batch(0)
    assert float((flipped.sharp - flipped.degraded.image / 2).abs().max()) <= 0.51 / 255


def test_a_degradation_that_is_not_used_is_said(tmp_path: Path) -> None:
    write_pairs(tmp_path / "p")
    write_sharp(tmp_path / "s")
    both = {"train": str(tmp_path / "p" / "sharp"), "degraded": str(tmp_path / "p" / "degraded")}
    assert any("degradation: not used" in message for message in said(shake(), **both))
    assert any("degradation: for validation only" in message for message in said(shake(), **both, validation=str(tmp_path / "s")))
    assert said(shake(), **both, synthetic_share=0.5) == []


@pytest.mark.parametrize("own", [True, False], ids=["from the pairs", "from a folder"])
def test_mixing(own: bool, tmp_path: Path) -> None:
    write_pairs(tmp_path / "p")
    write_sharp(tmp_path / "s")
    more: dict[str, object] = {} if own else {"synthetic": str(tmp_path / "s")}
    sources = opened(
        shake(),
        train=str(tmp_path / "p" / "sharp"),
        degraded=str(tmp_path / "p" / "degraded"),
        synthetic_share=0.5,
        flips=False,
        **more,
    )
    assert sources.kind == "pairs in two folders, 50% of the patches synthetic"
    batch = sources.patches.batch(0)
    negative = [torch.allclose(d, 1 - s, atol=1e-6) for s, d in zip(batch.sharp, batch.degraded.image, strict=True)]
    assert sum(negative) == 2
    assert len(sources.pairs) == 1
    torch.testing.assert_close(sources.pairs[0].degraded.image, 1 - sources.pairs[0].sharp)


@pytest.mark.parametrize("memory", [0, 100])
def test_a_fixed_damage_with_photographs_and_in_a_mix(memory: int, tmp_path: Path) -> None:
    write_pairs(tmp_path / "p")
    write_sharp(tmp_path / "s", 2)
    settings: dict[str, object] = {"fixed_degradation": True, "memory": memory, "flips": False}
    alone = opened(shake(), train=str(tmp_path / "s"), **settings)
    assert alone.images.paired
    mixed = opened(
        shake(),
        train=str(tmp_path / "p" / "sharp"),
        degraded=str(tmp_path / "p" / "degraded"),
        synthetic_share=0.5,
        **settings,
    )
    for patches in (alone.patches, mixed.patches):
        batch = patches.batch(0)
        assert not torch.equal(batch.sharp, batch.degraded.image)
        assert all(not torch.equal(s, d) for s, d in zip(batch.sharp, batch.degraded.image, strict=True))
        assert torch.equal(batch.degraded.image, patches.batch(0).degraded.image)


def test_validation_may_be_of_another_kind(tmp_path: Path) -> None:
    write_pairs(tmp_path / "p")
    write_sharp(tmp_path / "s")
    sharp, pairs = {"train": str(tmp_path / "s")}, {"train": str(tmp_path / "p" / "sharp"), "degraded": str(tmp_path / "p" / "degraded")}
    real = opened(shake(), **sharp, validation=pairs["train"], validation_degraded=pairs["degraded"])
    torch.testing.assert_close(real.pairs[0].degraded.image, 1 - real.pairs[0].sharp)
    with pytest.warns(UserWarning, match="for validation only"):
        synthetic = opened(shake(), **pairs, validation=str(tmp_path / "s"))
    assert len(synthetic.pairs) == 6
    with pytest.raises(TrainingError, match=r"data\.validation_degraded: missing"):
        opened(None, **pairs, validation=str(tmp_path / "s"))


def test_a_generator_of_latents_takes_the_sharp_side(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    generator = network("dcgan/generator", size=32, width=8, latent=8)
    sources = opened(None, generator, train=str(tmp_path / "sharp"), degraded=str(tmp_path / "degraded"))
    assert sources.pairs == []
    batch = sources.patches.batch(0)
    assert torch.equal(batch.sharp, batch.degraded.image)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"degradation: missing.*data\.degraded"),
        ({"synthetic_share": 0.5, "damage": True}, r"data\.synthetic_share: data\.train holds no pairs"),
        ({"pairs": True, "fixed_degradation": True}, r"data\.fixed_degradation: nothing is degraded here"),
        ({"pairs": True, "synthetic_share": 0.5}, "degradation: missing"),
        ({"damage": 2}, "degradation: makes images 2 times smaller and the generator 1 times larger"),
        ({"train": "nothing"}, "nothing: no such folder"),
        ({"train": ""}, "data.train: which photographs"),
        ({"damage": True, "validation": "nothing"}, "nothing: no such folder"),
        ({"damage": True, "crop": 512}, r"no usable image.*smaller than the 512 .*--set data\.crop=64 takes the largest"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_pairs(tmp_path / "p")
    write_sharp(tmp_path / "s")
    settings = {"train": str(tmp_path / "s"), **settings}
    if settings.pop("pairs", False):
        settings |= {"train": str(tmp_path / "p" / "sharp"), "degraded": str(tmp_path / "p" / "degraded")}
    kind = settings.pop("damage", None)
    degradation = rk.registry().create("degradation", "core/downscale", factor=2) if kind == 2 else shake() if kind else None
    with pytest.raises(rk.UserError, match=message):
        opened(degradation, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"degraded": "x", "layout": "ab"}, "degraded: two folders are a layout of their own"),
        ({"validation_degraded": "x"}, "validation_degraded: give the sharp side too"),
        ({"synthetic": "x"}, "synthetic: say how many"),
        ({"zoom": [1.0, 0.5]}, "zoom: got"),
        ({"synthetic_share": 1.0}, "synthetic_share"),
        ({"colour_jitter": 2.0}, "colour_jitter"),
        ({"workers": -1}, "workers"),
        ({"layout": "gorpo"}, "layout"),
    ],
)
def test_settings_that_mean_nothing_are_mistakes_in_the_recipe(settings: dict[str, object], message: str) -> None:
    recipe = rk.recipe({**RECIPE, "data": {**RECIPE["data"], **settings}})
    with pytest.raises(rk.UserError, match=f"data.*{message}"):
        recipe.check()


def test_a_divided_set_is_not_trained_on_as_a_whole(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_sharp(tmp_path / part, 2)
    with pytest.raises(TrainingError, match=r"holds train and test\. Give --data .*train --val .*test"):
        opened(shake(), train=str(tmp_path))
    assert opened(shake(), train=str(tmp_path), layout="sharp").count == 3


def test_pairs_in_two_folders_are_not_trained_on_as_photographs(tmp_path: Path) -> None:
    write_sharp(tmp_path / "ok")
    for number in range(2):
        sharp = CAT[20 * number : 20 * number + 200, :300]
        for side, pixels in (("before", sharp // 2), ("after", sharp)):
            (tmp_path / "two" / side).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "two" / side / f"{number}.png")
    two, ok = str(tmp_path / "two"), str(tmp_path / "ok")
    pair = rf"{two}/after and {two}/before hold the same pictures.*"
    with pytest.raises(TrainingError, match=rf"data\.train: {pair}--data {two}/after --set data\.degraded={two}/before"):
        opened(shake(), train=two)
    with pytest.raises(TrainingError, match=rf"data\.validation: {pair}--val {two}/after --set data\.validation_degraded={two}/before"):
        opened(shake(), train=ok, validation=two)
    assert opened(shake(), train=two, layout="sharp").count == 3
    (tmp_path / "scenes").mkdir()
    (tmp_path / "two").rename(tmp_path / "scenes" / "S1")
    (tmp_path / "scenes" / "S1" / "after").rename(tmp_path / "scenes" / "S1" / "sharp")
    with pytest.raises(TrainingError, match=r"--set data\.layout=gopro --set data\.blur_folder=before"):
        opened(shake(), train=str(tmp_path / "scenes"))


def test_every_file_that_is_left_out_is_named(tmp_path: Path) -> None:
    write_sharp(tmp_path / "s", 4)
    for number in range(5):
        (tmp_path / "s" / f"bad{number}.png").write_bytes(b"x")
    damage(tmp_path / "s" / "0.jpg")
    messages = said(shake(), train=str(tmp_path / "s"))
    assert messages[0] == f"{tmp_path}/s: 4 can be used, 5 left out"
    for number in range(5):
        assert any(f"bad{number}.png" in message for message in messages)
    assert any("0.jpg: damaged or incomplete" in message for message in messages)
    for number in range(LISTED):
        (tmp_path / "s" / f"more{number}.png").write_bytes(b"x")
    messages = said(shake(), train=str(tmp_path / "s"))
    assert any("and 5 more; restorekit data check" in message for message in messages)


def test_validation_on_what_is_trained_on_is_said(tmp_path: Path) -> None:
    write_sharp(tmp_path / "s", 3)
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "x.jpg").symlink_to(tmp_path / "s" / "1.jpg")
    write_sharp(tmp_path / "other", 1)
    assert any("1 of 1 photographs are trained on" in m for m in said(shake(), train=str(tmp_path / "s"), validation=str(tmp_path / "v")))
    assert said(shake(), train=str(tmp_path / "s"), validation=str(tmp_path / "other")) == []


def train(
    out: Path | None = None, callbacks: tuple[Callback, ...] = (), resume: bool = False, **data: object
) -> tuple[rk.Model, list[str]]:
    recipe = rk.recipe({**RECIPE, "degradation": {"part": "core/camera-shake", "length": [3, 7]}, "data": {**RECIPE["data"], **data}})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = rk.train(recipe, out=out, device="cpu", callbacks=callbacks, resume=resume)
    return model, [str(warning.message) for warning in caught if warning.category is UserWarning]


def test_a_file_that_breaks_while_training_is_reported_at_the_end(tmp_path: Path) -> None:
    write_sharp(tmp_path / "s", 5)

    class Breaks(Callback):
        def start(self, step: int, steps: int) -> None:
            for name in ("1", "2", "3"):
                damage(tmp_path / "s" / f"{name}.jpg")

    model, messages = train(callbacks=(Breaks(),), train=str(tmp_path / "s"), memory=0, holdout=0.2)
    reported = model.provenance["images that could not be read"]
    assert reported >= 2
    assert f"images that could not be read while training, so that others took their place: {reported}" in messages
    assert sum("left out: " in message for message in messages) == reported


class Stop(Callback):
    def step(self, step: int, terms: Any, *, images: int, learning_rate: float) -> None:
        if step == 4:
            signal.raise_signal(signal.SIGINT)


def test_a_run_may_be_resumed_with_other_workers_and_memory(tmp_path: Path) -> None:
    write_sharp(tmp_path / "s", 5)
    folder = {"train": str(tmp_path / "s")}
    whole, _ = train(**folder)
    with pytest.raises(TrainingError, match="stopped after 4 of 6"):
        train(tmp_path / "run", (Stop(),), **folder, workers=2, memory=0)
    resumed, _ = train(tmp_path / "run", resume=True, **folder, workers=1)
    for name, value in whole.generator.state_dict().items():
        assert torch.equal(value, resumed.generator.state_dict()[name]), name


def test_workers_are_started_where_they_are_asked_for(tmp_path: Path) -> None:
    write_sharp(tmp_path / "s", 3)
    assert isinstance(opened(shake(), train=str(tmp_path / "s"), workers=2).patches, ReadAhead)
    assert not isinstance(opened(shake(), train=str(tmp_path / "s")).patches, ReadAhead)


def test_the_model_says_what_it_was_trained_on(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    model, _ = train(train=str(tmp_path / "sharp"), degraded=str(tmp_path / "degraded"))
    assert model.provenance["training data"] == "pairs in two folders"
    assert model.provenance["training images"] == 2
    assert config.options_of(DataSettings)["memory"].type == "int >= 0"
