"""Seconds from a JPEG of 1280×720 to the restored JPEG, for each network, engine and precision: the table of the README beside this.

    python benchmarks/speed/engines.py [--threads 2] [--rounds 5] [--photo FILE] [--only shipped resnet9] [--engines torch] [--no-compile]

Every case has a process of its own, which is started, restores the picture once (cold: from the start of the process to the file),
and then waits. In each round every case restores the picture once more (warm), one after another, so that a busy machine slows all of
them alike: compare the ratios. The table has the medians of the rounds, and how many times as fast as `resnet9` by torch in float32
each case is in the median of its rounds. Networks other than the shipped models have random weights, which changes none of the
figures. Without --photo the picture is scikit-image's cup of coffee, enlarged and shaken.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NETWORKS = {
    "resnet9": ("generator", "deblurgan/resnet9"),
    "compact": ("generator", "deblurgan/compact"),
    "denoise": ("restorer", "deblurgan/denoise"),
    "shipped": ("restorer", "deblurgan/shipped"),
}
WAYS = (
    ("torch", "fp32", False),
    ("torch", "bf16", False),
    ("torch", "fp32", True),
    ("torch", "bf16", True),
    ("onnxruntime", "fp32", False),
    ("openvino", "fp32", False),
    ("openvino", "bf16", False),
)
"""Engine, precision, and whether torch.compile is used."""
BASE = ("resnet9", *WAYS[0])
Case = tuple[str, str, str, bool]


def serve(case: Case, threads: int, source: Path, target: Path) -> None:
    """Restore the picture once, and again for each line that comes in; print what it took."""
    import torch

    from restorekit import photos, registry, restoration, seeding
    from restorekit.images import Degraded

    torch.set_num_threads(threads)
    name, engine, precision, compiled = case
    kind, part = NETWORKS[name]
    with seeding.seeded("speed"):
        made = registry().create(kind, part)
    restorer = made if kind == "restorer" else registry().create("restorer", "core/network", generator=made)
    running = restorer.model.use(engine=engine, precision=precision, compiled=compiled)

    def once() -> dict[str, float]:
        start, used = time.perf_counter(), time.process_time()
        photo = photos.read(source)
        photos.write(target, restoration.restore(restorer, Degraded(photo.image)), like=photo)
        return {"seconds": time.perf_counter() - start, "used": time.process_time() - used}

    print(json.dumps({**once(), "preparation": running.seconds}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(once()), flush=True)


class Child:
    """A process that serves one case."""

    def __init__(self, case: Case, arguments: argparse.Namespace, source: Path, target: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
        start = time.perf_counter()
        command = [sys.executable, __file__, "--serve", json.dumps(case), "--threads", str(arguments.threads)]
        command += ["--photo", str(source), "--target", str(target)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.first = self._answer()
        self.cold = time.perf_counter() - start

    def again(self) -> dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a case ended with code {self.process.wait()}; its message is above")
        answer: dict[str, float] = json.loads(line)
        return answer


def picture(folder: Path) -> Path:
    """scikit-image's cup of coffee at 1280×720, shaken."""
    import skimage.data
    import torch
    from PIL import Image

    from restorekit import registry, seeding

    image = Image.fromarray(skimage.data.coffee()).crop((0, 31, 600, 369)).resize((1280, 720), Image.Resampling.LANCZOS)
    sharp = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(1, 720, 1280, 3).permute(0, 3, 1, 2) / 255
    shake = registry().create("degradation", "core/camera-shake", length=(12.0, 12.0))
    blurred = shake.apply(sharp, shake.sample(1, (3, 720, 1280), seeding.generator("speed"))).image
    pixels = blurred[0].permute(1, 2, 0).mul(255).round().byte().numpy()
    Image.fromarray(pixels).save(folder / "photo.jpg", quality=92)
    return folder / "photo.jpg"


def cases(arguments: argparse.Namespace) -> list[Case]:
    from restorekit import engines

    chosen = [name for name in NETWORKS if arguments.only is None or name in arguments.only]
    return [BASE] + [
        case
        for name in chosen
        for case in ((name, *way) for way in WAYS)
        if case != BASE and engines.installed(case[1]) and (arguments.engines is None or case[1] in arguments.engines)
        if not (case[3] and arguments.no_compile)
    ]


def versions() -> str:
    names = ("torch", "onnxruntime", "openvino")
    found = [f"{name} {importlib.metadata.version(name)}" for name in names if importlib.util.find_spec(name)]
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.processor()
    )
    flags = next((line.split() for line in _lines("/proc/cpuinfo") if line.startswith("flags")), [])
    told = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{', '.join(found)}, Python {platform.python_version()}; {model} with {', '.join(told) or 'none of the usual instructions'}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--photo", type=Path, help="a JPEG to restore instead")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, help="networks besides resnet9 in float32")
    parser.add_argument("--engines", nargs="+", choices=("torch", "onnxruntime", "openvino"))
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, which takes minutes")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--target", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        name, engine, precision, compiled = json.loads(arguments.serve)
        serve((name, engine, precision, compiled), arguments.threads, arguments.photo, arguments.target)
        return
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.photo or picture(Path(folder))
        children = {}
        for place, case in enumerate(cases(arguments)):
            children[case] = Child(case, arguments, source, Path(folder, f"{place}.jpg"))
            print(f"{_label(case)}: cold {children[case].cold:.1f} s", file=sys.stderr, flush=True)
        rounds: list[dict[Case, dict[str, float]]] = []
        for number in range(arguments.rounds):
            rounds.append({case: child.again() for case, child in children.items()})
            told = ", ".join(f"{_label(case)} {found['seconds']:.2f}" for case, found in rounds[-1].items())
            print(f"{number + 1}/{arguments.rounds} {told}", file=sys.stderr, flush=True)
        for child in children.values():
            child.process.stdin.close()  # type: ignore[union-attr]
            child.process.wait()
    print(f"{versions()}; {arguments.threads} threads, {arguments.rounds} rounds, load {os.getloadavg()[0]:.1f} at the end\n")
    print("| network | engine | precision | s, warm (least to most) | times as fast | s of processors | prepared in, s | s, cold |")
    print("|---|---|---|---|---|---|---|---|")
    for case, child in children.items():
        seconds = [found[case]["seconds"] for found in rounds]
        faster = statistics.median(found[BASE]["seconds"] / found[case]["seconds"] for found in rounds)
        used = statistics.median(found[case]["used"] for found in rounds)
        name, engine, precision, compiled = case
        warm = f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"
        cells = (name, f"{engine}{', compiled' if compiled else ''}", precision, warm, f"{faster:.2f}", f"{used:.2f}")
        print(f"| {' | '.join(cells)} | {child.first['preparation']:.1f} | {child.cold:.1f} |")


def _label(case: Case) -> str:
    name, engine, precision, compiled = case
    return f"{name} {engine}{'+compile' if compiled else ''} {precision}"


if __name__ == "__main__":
    main()
