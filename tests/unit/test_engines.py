"""What computes a network: chosen by what was measured, refused where it cannot be, and never different beyond what is said."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import restorekit as rk
from restorekit import devices, engines, exporting
from restorekit.errors import MissingPackage, UserError
from restorekit.interfaces import Generator

CPU = torch.device("cpu")


def tiny(**options: Any) -> rk.Model:
    """A network whose weights are large enough to change the picture."""
    spec = {"part": "deblurgan/compact", "width": 8, "blocks": [1], "middle": 1, **options}
    recipe = rk.recipe({"recipe": 1, "task": "deblur", "generator": spec, "losses": [{"part": "core/l1"}]}).check()
    content = dict(recipe.content["generator"])
    generator = rk.registry().create("generator", content.pop("part"), **content)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, 0, 0.05, generator=torch.Generator().manual_seed(parameter.numel()))
    return rk.Model(generator.eval(), recipe)


@pytest.fixture
def image() -> Tensor:
    return torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """bf16 is there, if only emulated."""
    monkeypatch.setattr(devices, "has_bf16", lambda device: True)


def psnr(first: Tensor, second: Tensor) -> float:
    return float(-10 * (first - second).square().mean().log10())


def test_without_a_word_it_is_torch_in_float32(image: Tensor) -> None:
    model = tiny()
    assert (model.running.engine, model.running.precision) == ("torch", "fp32")
    with torch.no_grad():
        assert torch.equal(model.restore(image), model.generator(image).clamp(0, 1))


def test_bf16_is_taken_where_it_is_there_and_what_is_around_the_networks_stays_float32(image: Tensor, with_bf16: None) -> None:
    model = tiny()
    before = model.restore(image)
    weights = {name: value.clone() for name, value in model.generator.state_dict().items()}
    assert str(model.use(engine="torch")) == "torch bf16"
    after = model.restore(image)
    assert after.dtype == torch.float32
    assert not torch.equal(after, before)
    assert psnr(after, before) >= engines.LIKE
    # of an untouched network: were the skip in bf16, whole pictures would be rounded to its eight bits
    assert psnr(after, before) > psnr(before.bfloat16().float(), before)
    assert all(torch.equal(value, weights[name]) for name, value in model.generator.state_dict().items())


def test_without_instructions_for_bf16_nothing_changes(image: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "has_bf16", lambda device: False)
    model = tiny()
    before = model.restore(image)
    assert str(model.use(engine="torch")) == "torch fp32"
    assert torch.equal(model.restore(image), before)


class Sensitive(Generator):
    """Shows how `x` differs from its mean ten times enlarged, in a layer that rounding goes through."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 3, 1)
        torch.nn.init.constant_(self.layer.weight, 1 / 3)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        return 0.5 + 10 * (self.layer(x) - self.layer(x.double().float()).float().mean())


def test_auto_leaves_a_network_in_float32_that_rounding_changes(with_bf16: None) -> None:
    generator = Sensitive().eval()
    _, running = engines.prepare(generator, CPU)
    assert running.precision == "fp32"
    network, running = engines.prepare(generator, CPU, precision="bf16")  # asked for by name, it is done
    assert running.precision == "bf16"
    assert network is not generator


def test_moving_the_model_goes_back_to_torch_in_float32(image: Tensor, with_bf16: None) -> None:
    model = tiny()
    before = model.restore(image)
    model.use()
    assert torch.equal(model.to("cpu").restore(image), before)
    assert str(model.running) == "torch fp32"


def test_a_saved_model_is_the_same_whatever_computes_it(tmp_path: Path, with_bf16: None) -> None:
    model = tiny()
    before = load_file(model.save(tmp_path / "before.safetensors"))
    model.use()
    torch.testing.assert_close(load_file(model.save(tmp_path / "after.safetensors")), before, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"precision": "fp16"}, ["--precision fp16", "not on cpu", "fp32 or bf16"]),
        ({"precision": "int8"}, ["--precision int8", "auto, fp32, bf16, fp16"]),
        ({"engine": "tensorrt"}, ["--engine tensorrt", "onnxruntime"]),
    ],
)
def test_what_is_not_there_is_refused(asked: dict[str, str], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        engines.prepare(tiny().generator, CPU, **asked)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(("engine", "extra"), [("onnxruntime", "restorekit[onnx]"), ("openvino", "restorekit[openvino]")])
def test_a_missing_engine_is_named_with_its_install_command(engine: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith(("onnx", "openvino")) else found(name))
    with pytest.raises(MissingPackage) as caught:
        engines.prepare(tiny().generator, CPU, engine=engine)
    assert f"pip install '{extra}'" in str(caught.value)
    assert engines.prepare(tiny().generator, CPU)[1].engine == "torch"


@pytest.mark.parametrize(
    ("engine", "needed"),
    [
        pytest.param("onnxruntime", ["onnx", "onnxscript", "onnxruntime"], marks=pytest.mark.slow),
        ("openvino", ["openvino"]),
    ],
)
def test_another_engine_makes_the_same_of_any_size(engine: str, needed: list[str], image: Tensor) -> None:
    for name in needed:
        pytest.importorskip(name)
    model = tiny()
    before = model.restore(image), model.restore(image[..., :24, :])
    assert str(model.use(engine=engine, precision="fp32")) == f"{engine} fp32"
    torch.testing.assert_close((model.restore(image), model.restore(image[..., :24, :])), before, atol=1e-4, rtol=0)


def test_an_engine_computes_the_networks_around_a_search(image: Tensor) -> None:
    pytest.importorskip("openvino")
    model = tiny(psf={"part": "core/l0", "size": 5, "rounds": 1})
    before = model.restore(image)
    model.use(engine="openvino", precision="fp32")
    torch.testing.assert_close(model.restore(image), before, atol=1e-4, rtol=0)


def test_a_signal_is_survived_when_two_models_have_gone() -> None:
    """In a process of its own, which it killed."""
    pytest.importorskip("openvino")
    lines = """
        import signal
        import torch
        from restorekit.engines import _OpenVino

        networks = [_OpenVino(torch.nn.Conv2d(3, 3, 3), (torch.zeros(1, 3, 32, 32),), "fp32") for _ in range(2)]
        del networks[0], networks[0]
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process in the background may have been started to ignore
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            print("interrupted")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(lines)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["interrupted"]), done.stderr


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_engine_that_compiles_by_itself_is_not_compiled(engine: str) -> None:
    pytest.importorskip(engine)
    with pytest.raises(UserError, match="leave --compile out"):
        engines.prepare(tiny().generator, CPU, engine=engine, compiled=True)


@pytest.mark.slow
def test_an_exported_model_says_what_it_is_and_makes_the_same(tmp_path: Path, image: Tensor) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    import onnx
    import onnxruntime

    model = tiny()
    made = exporting.export(model, tmp_path / "model.onnx", what="tiny")
    assert len(made.differences) == 2
    assert max(made.differences.values()) < 1e-4
    session = onnxruntime.InferenceSession(made.path)
    (restored,) = session.run(None, {"image": image.numpy()})
    torch.testing.assert_close(torch.from_numpy(restored), model.restore(image), atol=1e-4, rtol=0)
    told = {entry.key: entry.value for entry in onnx.load(made.path).metadata_props}
    assert told["restorekit.recipe"] == model.recipe.canonical
    assert '"multiple_of": 4' in told["restorekit.size"]


@pytest.mark.slow
def test_a_file_that_differs_from_torch_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(UserError, match="differ by up to"):
        exporting.export(tiny(), tmp_path / "model.onnx", what="tiny")
    assert list(tmp_path.iterdir()) == []


def test_a_latent_generator_is_exported_as_latent_to_image(tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    recipe = rk.recipe("dcgan/faces28").check()
    spec = dict(recipe.content["generator"])
    generator = rk.registry().create("generator", spec.pop("part"), **spec).eval()
    made = exporting.export(rk.Model(generator, recipe), tmp_path / "faces.onnx", what="faces")
    assert made.inputs == {"latent": ["batch", generator.latent]}
    assert made.output[1:] == [generator.channels, 28, 28]


def test_a_network_around_a_search_is_not_exported(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(UserError, match="searches for the blur"):
        exporting.export(tiny(psf={"part": "core/l0"}), tmp_path / "model.onnx", what="tiny")
    assert list(tmp_path.iterdir()) == []
