"""What computes a network, and in which precision: torch, ONNX Runtime or OpenVINO."""

from __future__ import annotations

import copy
import functools
import importlib.util
import itertools
import math
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from restorekit import devices, graphs
from restorekit.errors import MissingPackage, UserError
from restorekit.images import finest
from restorekit.interfaces import Generator

ENGINES = ("auto", "torch", "onnxruntime", "openvino")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

LIKE = 55.0
"""Decibels at least between what torch in float32 and something faster make of a probe, for `auto` to take the latter. Rounding that is
independent of the error of a restored picture of 30 dB then costs it 0.014 dB, and one of 38 dB 0.09 dB."""

WRONG = 30.0
"""The same for an engine that was asked for by name; below, its graph is not that of the network."""

SIDES = ((96, 64), (72, 112))
"""Heights and widths of the probes: an engine that has taken a size for a constant shows with the second."""

Network = Callable[..., Any]


@dataclass(frozen=True)
class Running:
    """How a network is computed.

    Attributes:
        engine: ``torch``, ``onnxruntime`` or ``openvino``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        compiled: by ``torch.compile``.
        seconds: that the preparation took.
    """

    engine: str = "torch"
    precision: str = "fp32"
    compiled: bool = False
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}{', compiled' if self.compiled else ''}"


def prepare(
    generator: Generator, device: torch.device, *, engine: str = "auto", precision: str = "auto", compiled: bool = False
) -> tuple[Network, Running]:
    """What can be called in place of `generator`, and how it computes.

    What is asked for by name is done or refused. ``auto`` takes the first of these that is there, and that makes the same of
    a probe as torch in float32 (`LIKE`): on the processor the engine that the network declares as its fastest, else torch; bf16
    where the device has instructions for it, fp16 on other CUDA devices, else fp32. Of networks that declare `Generator.portable`
    only these modules leave float32 or torch, and others do as a whole.

    Args:
        generator: in evaluation mode; it is left as it is.
        device: where it is.
        engine: one of `ENGINES`.
        precision: one of `PRECISIONS`.
        compiled: with ``torch.compile``.

    Raises:
        UserError: the engine, the precision or a compiler is not there, or the engine cannot compute this network.
    """
    began = time.perf_counter()
    _refuse(device, engine, precision, compiled)
    engines = _engines(generator, device, compiled) if engine == "auto" else [engine]
    tries = [
        (one, kind) for one in engines for kind in (_precisions(device) if precision == "auto" else [precision]) if _can(one, kind, device)
    ]
    for one, kind in tries:
        last = (one, kind) == tries[-1]
        try:
            network = _prepared(generator, device, one, kind, compiled)
            like = math.inf if one == "torch" and last else _likeness(generator, network, device)
        except Exception as fault:
            if last or compiled:
                raise
            warnings.warn(f"{one} cannot compute this network: {fault}", stacklevel=2)
            continue
        if like >= (WRONG if last else LIKE):
            return network, Running(one, kind, compiled, time.perf_counter() - began)
    raise UserError(f"--engine {engine}: makes something else of pictures than torch does with this network; use --engine torch")


def installed(engine: str) -> bool:
    """Whether the packages of `engine` are there."""
    needed = {"torch": (), "onnxruntime": graphs.NEEDED, "openvino": ("openvino",)}[engine]
    return all(importlib.util.find_spec(name) is not None for name in needed)


def _refuse(device: torch.device, engine: str, precision: str, compiled: bool) -> None:
    for value, known, option in ((engine, ENGINES, "--engine"), (precision, PRECISIONS, "--precision")):
        if value not in known:
            raise UserError(f"{option} {value}: not known; use one of {', '.join(known)}")
    if engine == "onnxruntime":
        graphs.need_onnx("--engine onnxruntime")
    if engine == "openvino" and not installed(engine):
        raise MissingPackage("--engine openvino needs openvino", "openvino", "openvino")
    if engine in ("onnxruntime", "openvino") and device.type != "cpu":
        raise UserError(f"--engine {engine} computes on the processor, not on {device.type}; add --device cpu, or use --engine torch")
    if engine in ("onnxruntime", "openvino") and compiled:
        raise UserError(f"--compile is for torch, and --engine {engine} compiles by itself; leave --compile out")
    if precision != "auto" and not _can("torch" if engine == "auto" else engine, precision, device):
        others = [kind for kind in ("fp32", "bf16", "fp16") if _can("torch" if engine == "auto" else engine, kind, device)]
        on = f"on {device.type}" if engine == "auto" else f"with --engine {engine} on {device.type}"
        raise UserError(f"--precision {precision}: not {on}; use {' or '.join(others)}")


def _can(engine: str, precision: str, device: torch.device) -> bool:
    """Whether `engine` computes in `precision` at all; torch emulates bf16 where there are no instructions for it."""
    if engine == "torch":
        return precision != "fp16" or device.type == "cuda"
    return precision == "fp32" or (engine == "openvino" and precision == "bf16" and devices.has_bf16(device))


def _engines(generator: Generator, device: torch.device, compiled: bool) -> list[str]:
    other = device.type == "cpu" and not compiled and generator.engine != "torch" and installed(generator.engine)
    return [generator.engine, "torch"] if other else ["torch"]


def _precisions(device: torch.device) -> list[str]:
    if devices.has_bf16(device):
        return ["bf16", "fp32"]
    return ["fp16", "fp32"] if device.type == "cuda" else ["fp32"]


def _prepared(generator: Generator, device: torch.device, engine: str, precision: str, compiled: bool) -> Network:
    if engine == "onnxruntime":
        return _substituted(generator, lambda module, example: _OnnxRuntime(module, example, generator))
    if engine == "openvino":
        return _substituted(generator, lambda module, example: _OpenVino(module, example, precision))
    if precision == "fp32" and not compiled:
        return generator
    reduced = TYPES.get(precision)
    if generator.portable and reduced is not None and device.type == "cpu":
        network = _substituted(generator, lambda module, _: _compiled(_Reduced(module, reduced), compiled))
    else:
        network = _substituted(generator, lambda module, _: _compiled(module, compiled)) if compiled else generator
        network = network if reduced is None else _autocast(network, device.type, reduced)
    if compiled:
        _compile(network, generator, device)
    return network


def _compiled(module: nn.Module, wanted: bool) -> nn.Module:
    # Choosing layouts compares strides, which fails where heights and widths are free.
    options = {"layout_optimization": False}
    return torch.compile(module, dynamic=True, options=options) if wanted else module  # type: ignore[return-value,arg-type]


def _autocast(network: Network, device: str, kind: torch.dtype) -> Network:
    def reduced(*inputs: Any) -> Any:
        with torch.autocast(device, kind):
            return network(*inputs)

    return reduced


class _Reduced(nn.Module):
    """A copy of a module with weights of another type, between float32 and float32; autocast would compute its sums and norms in that."""

    def __init__(self, module: nn.Module, kind: torch.dtype) -> None:
        super().__init__()
        self.module, self.kind = copy.deepcopy(module).to(kind), kind

    def forward(self, *inputs: Tensor) -> Tensor:
        """As the module."""
        made: Tensor = self.module(*(value.to(self.kind) for value in inputs))
        return made.float()


def _compile(network: Network, generator: Generator, device: torch.device) -> None:
    try:
        for sides in SIDES:
            network(*_probe(generator, sides, device))
    except Exception as fault:
        text = " ".join(str(fault).partition("Set TORCHDYNAMO_VERBOSE")[0].split())
        if "compiler" in text.lower() or "triton" in text.lower():
            raise UserError(
                f"--compile: torch.compile needs a compiler, and finds none ({text[:160]}). Install one, such as g++ (apt install g++), "
                "or leave --compile out"
            ) from fault
        raise UserError(f"--compile: torch cannot compile this network ({text[:300]}); leave --compile out") from fault


def _substituted(generator: Generator, made: Callable[[nn.Module, tuple[Tensor, ...]], nn.Module]) -> Network:
    """A copy of the generator, with the same weights, whose portable modules are replaced by what `made` makes of them."""
    names = generator.portable or ("",)
    examples = _examples(generator, names)
    if "" in names:
        return made(generator, examples[""])
    shared = {id(tensor): tensor for tensor in itertools.chain(generator.parameters(), generator.buffers())}
    twin = copy.deepcopy(generator, shared)
    for name in names:
        twin.set_submodule(name, made(generator.get_submodule(name), examples[name]))
    return twin


@torch.no_grad()
def _examples(generator: Generator, names: tuple[str, ...]) -> dict[str, tuple[Tensor, ...]]:
    """What each module is called with for a batch of two probes."""
    found: dict[str, tuple[Tensor, ...]] = {}

    def remember(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda module, inputs: found.update({name: tuple(value.float() for value in inputs)})

    hooks = [generator.get_submodule(name).register_forward_pre_hook(remember(name)) for name in names]
    try:
        generator(*_probe(generator, SIDES[0], next(generator.parameters()).device, n=2))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _probe(generator: Generator, sides: tuple[int, int], device: torch.device, n: int = 1) -> tuple[Tensor, ...]:
    """A picture with the spectrum of photographs, the same each time, and what the generator is conditioned on."""
    drawn = torch.Generator().manual_seed(0)
    height, width = generator.size.fixed or (max(side, generator.size.minimum) for side in sides)
    down, right = generator.size.padding(height, width)
    height, width = height + down, width + right
    frequency = (torch.fft.fftfreq(height)[:, None].square() + torch.fft.rfftfreq(width).square()).sqrt()
    frequency[0, 0] = math.inf
    noise = torch.fft.rfft2(torch.randn(n, generator.channels, height, width, generator=drawn))
    image = torch.fft.irfft2(noise / frequency, s=(height, width))
    image = (0.5 + 0.2 * image / image.std()).clamp(0, 1).to(device)
    if generator.guided:
        return image, torch.rand(n, 3, 64, 64, generator=drawn).to(device)
    return (image, torch.arange(n, device=device) % generator.classes) if generator.classes else (image,)


@torch.no_grad()
def _likeness(generator: Generator, network: Network, device: torch.device) -> float:
    """PSNR in dB between what both make of the probes; that of the less similar one."""
    found = []
    for sides in SIDES if generator.size.fixed is None else SIDES[:1]:
        inputs = _probe(generator, sides, device)
        expected, made = (finest(one(*inputs)).float().clamp(0, 1) for one in (generator, network))
        error = float((made - expected).square().mean()) if made.shape == expected.shape else 1.0
        found.append(math.inf if error == 0 else -10 * math.log10(error) if math.isfinite(error) else 0.0)
    return min(found)


class _OnnxRuntime(nn.Module):
    """A module computed by ONNX Runtime on the processor."""

    def __init__(self, module: nn.Module, example: tuple[Tensor, ...], generator: Generator) -> None:
        super().__init__()
        import onnxruntime

        self.names = [f"input{place}" for place in range(len(example))]
        graph = graphs.to_onnx(module, dict(zip(self.names, example, strict=True)), generator.size, what=type(module).__name__)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def forward(self, *inputs: Tensor) -> Tensor:
        """As the module."""
        (made,) = self.session.run(None, {name: value.contiguous().numpy() for name, value in zip(self.names, inputs, strict=True)})
        return torch.from_numpy(made)


@functools.cache
def _openvino_core() -> Any:
    """The one of this process.

    A core takes over the stack on which signals are handled and puts the one before back when it goes; two that go in the order in
    which they came leave the first one's, freed, and the next Ctrl-C kills the process (2026.4).
    """
    import openvino

    return openvino.Core()


class _OpenVino(nn.Module):
    """A module computed by OpenVINO on the processor."""

    def __init__(self, module: nn.Module, example: tuple[Tensor, ...], precision: str) -> None:
        super().__init__()
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # with it OpenVINO tells Google what it converts
        import openvino

        shapes = [openvino.PartialShape([-1, value.shape[1], -1, -1] if value.ndim == 4 else [-1, *value.shape[1:]]) for value in example]
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # tracing warns of sizes that stay free all the same
            graph = openvino.convert_model(module, example_input=example if len(example) > 1 else example[0], input=shapes)
        hints = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self.compiled = _openvino_core().compile_model(graph, "CPU", hints)

    def forward(self, *inputs: Tensor) -> Tensor:
        """As the module."""
        made = self.compiled([value.contiguous().numpy() for value in inputs], share_inputs=True)[0]
        return torch.from_numpy(made)
