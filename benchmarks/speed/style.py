"""Style transfer beside the plain way of the well-known tutorial, on one thread, in processor time.

The plain way is written out below: a loss layer behind each layer of VGG-19 that is compared, float32, the picture's pixels
in `torch.optim.Adam` or `torch.optim.LBFGS`. Both minimise the same sum, and both results are judged by the plain way's
float32. VGG-19 has random weights here, which cost the same.

    OMP_NUM_THREADS=1 python benchmarks/speed/style.py --out style-speed.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import restorekit as rk
from restorekit import photos
from restorekit.images import Degraded
from restorekit.interfaces import Iteration

sys.path.insert(0, str(Path(__file__).parents[1] / "style"))
from paintings import strokes  # noqa: E402

STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT = ("relu4_2",)
STYLE_WEIGHT = 30.0
RATE = 0.03


class ContentLayer(nn.Module):
    def __init__(self, target: Tensor) -> None:
        super().__init__()
        self.target = target.detach()
        self.factor = 1 / float(target.square().mean())

    def forward(self, maps: Tensor) -> Tensor:
        self.loss = self.factor * F.mse_loss(maps, self.target)
        return maps


class StyleLayer(nn.Module):
    def __init__(self, target: Tensor) -> None:
        super().__init__()
        self.target = gram(target).detach()
        self.factor = STYLE_WEIGHT / len(STYLE) / float(self.target.square().mean())

    def forward(self, maps: Tensor) -> Tensor:
        self.loss = self.factor * F.mse_loss(gram(maps), self.target)
        return maps


def gram(maps: Tensor) -> Tensor:
    n, channels, height, width = maps.shape
    flat = maps.view(n * channels, height * width)
    return torch.mm(flat, flat.t()) / maps.numel()


class Normalise(nn.Module):
    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.mean, self.std = features.mean, features.std

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.std


class Plain:
    """The tutorial's way."""

    def __init__(self, content: Tensor, style: Tensor) -> None:
        features = vgg()
        self.model = nn.Sequential(Normalise(features))
        self.layers: list[ContentLayer | StyleLayer] = []
        for name, stage in zip(features.layers, features.stages, strict=True):
            self.model.append(stage)
            for names, kind, picture in ((CONTENT, ContentLayer, content), (STYLE, StyleLayer, style)):
                if name in names:
                    with torch.no_grad():
                        layer = kind(self.model(picture))
                    self.model.append(layer)
                    self.layers.append(layer)
            if name == STYLE[-1]:
                break
        self.model.eval().requires_grad_(False)

    def loss(self, image: Tensor) -> Tensor:
        self.model(image)
        return torch.stack([layer.loss for layer in self.layers]).sum()

    def adam(self, image: Tensor, steps: int, tell: Callable[[], None]) -> Tensor:
        image = image.clone().requires_grad_()
        optimizer = torch.optim.Adam([image], lr=RATE)
        for _ in range(steps):
            with torch.no_grad():
                image.clamp_(0, 1)
            optimizer.zero_grad()
            self.loss(image).backward()
            optimizer.step()
            tell()
        return image.detach().clamp(0, 1)

    def lbfgs(self, image: Tensor, steps: int, tell: Callable[[], None]) -> Tensor:
        image = image.clone().requires_grad_()
        optimizer = torch.optim.LBFGS([image])
        done = 0

        def closure() -> Tensor:
            nonlocal done
            with torch.no_grad():
                image.clamp_(0, 1)
            optimizer.zero_grad()
            loss = self.loss(image)
            loss.backward()
            done += 1
            tell()
            return loss

        while done < steps:
            optimizer.step(closure)
        return image.detach().clamp(0, 1)


def vgg() -> nn.Module:
    return rk.registry().create("features", "core/vgg19", weights="random")


def ours(content: Tensor, style: Tensor, optimizer: str, steps: int, scales: int | None, listener: Callable[[Iteration], bool]) -> Tensor:
    restorer = rk.registry().create(
        "restorer",
        "style/gatys",
        features=vgg(),
        content_layers=list(CONTENT),
        style_layers=list(STYLE),
        style_weight=STYLE_WEIGHT,
        tv_weight=0.0,
        border=0,
        optimizer=optimizer,
        steps=steps,
        learning_rate=RATE,
        scales=scales,
    )
    restorer.listener = listener
    return restorer.restore(Degraded(content, reference=style))


class Clock:
    """Processor time of each call since the one before."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.last = time.process_time()

    def __call__(self, *_: object) -> bool:
        now = time.process_time()
        self.times.append(now - self.last)
        self.last = now
        return True

    @property
    def each(self) -> float:
        return statistics.median(self.times[1:])  # the first has the preparations in it


def pictures(side: int) -> tuple[Tensor, Tensor]:
    content = photos.bundled_photo("astronaut").image
    painting = torch.from_numpy(__import__("numpy").asarray(strokes()).copy()).permute(2, 0, 1)[None] / 255
    return tuple(F.interpolate(each, (side, side), mode="bicubic", antialias=True).clamp(0, 1) for each in (content, painting))


def compare(side: int, steps: int, optimizer: str) -> dict[str, float]:
    """Time of one iteration, in turns, and the loss after `steps` of them."""
    content, style = pictures(side)
    plain = Plain(content, style)
    run = plain.adam if optimizer == "adam" else plain.lbfgs
    theirs, mine = [], []
    for _ in range(3):
        clock = Clock()
        run(content, 5, clock)
        theirs.append(clock.each)
        clock = Clock()
        ours(content, style, optimizer, 5, 1, clock)
        mine.append(clock.each)
    finals = run(content, steps, lambda: None), ours(content, style, optimizer, steps, 1, lambda _: True)
    with torch.no_grad():
        before = float(plain.loss(content))
        losses = [float(plain.loss(final)) for final in finals]
    return {
        "side": side,
        "optimizer": optimizer,
        "plain s": min(theirs),
        "ours s": min(mine),
        "times faster": min(theirs) / min(mine),
        "steps": steps,
        "loss before": before,
        "plain loss": losses[0],
        "our loss": losses[1],
        "ratio of losses": losses[1] / losses[0],
    }


def coarse_to_fine(side: int, optimizer: str, loss: float, plain_seconds: float, steps: int) -> dict[str, float]:
    """Processor time, preparations included, until the loss is that of the plain way."""
    content, style = pictures(side)
    seen: list[tuple[float, Tensor]] = []
    start = time.process_time()
    spent = 0.0

    def listener(step: Iteration) -> bool:
        nonlocal start, spent
        spent += time.process_time() - start
        seen.append((spent, step.picture().clone()))
        start = time.process_time()  # making the picture for us does not count
        return True

    ours(content, style, optimizer, steps, None, listener)
    plain = Plain(content, style)
    low, high = 0, len(seen) - 1  # the loss falls, so halving finds the first picture that is good enough
    with torch.no_grad():
        losses = {high: float(plain.loss(seen[high][1]))}
        while low < high and losses[len(seen) - 1] <= loss:
            middle = (low + high) // 2
            losses[middle] = float(plain.loss(seen[middle][1]))
            low, high = (low, middle) if losses[middle] <= loss else (middle + 1, high)
    return {
        "side": side,
        "optimizer": optimizer,
        "loss to reach": loss,
        "reached": losses[len(seen) - 1] <= loss,
        "plain s": plain_seconds,
        "ours s": seen[high][0],
        "times faster": plain_seconds / seen[high][0],
        "steps": high + 1,
        "of": steps,
        "last loss": losses[len(seen) - 1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--steps", type=int, default=60, help="iterations after which the losses are compared")
    parser.add_argument("--out", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for side in arguments.sides:
        for optimizer in ("adam", "lbfgs"):
            rows.append(compare(side, arguments.steps, optimizer))
            print(json.dumps(rows[-1]), flush=True)
            row = rows[-1]
            for way in ("adam", "lbfgs"):
                rows.append(coarse_to_fine(side, way, row["plain loss"], row["plain s"] * arguments.steps, arguments.steps))
                rows[-1]["plain optimizer"] = optimizer
                print(json.dumps(rows[-1]), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
