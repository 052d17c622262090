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
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import restorekit as rk
from restorekit import photos
from restorekit.images import Degraded
from restorekit.interfaces import Iteration

sys.path.insert(0, str(Path(__file__).parents[1] / "style"))
from paintings import strokes

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


class Turns:
    """Lets two runs have an iteration each in turn, so that whatever else the machine does meets both, and takes their times."""

    def __init__(self) -> None:
        self.turn = threading.Condition()
        self.running = ["plain", "ours"]
        self.times: dict[str, list[float]] = {"plain": [], "ours": []}
        self.since: dict[str, float] = {}

    def run(self, name: str, work: Callable[[Callable[..., bool]], Tensor], results: dict[str, Tensor]) -> None:
        with self.turn:
            self.turn.wait_for(lambda: self.running[0] == name)
        self.since[name] = time.thread_time()
        results[name] = work(lambda *_: self.told(name))
        with self.turn:
            self.running.remove(name)
            self.turn.notify_all()

    def told(self, name: str) -> bool:
        self.times[name].append(time.thread_time() - self.since[name])
        with self.turn:
            if len(self.running) > 1:
                self.running.reverse()
                self.turn.notify_all()
                self.turn.wait_for(lambda: self.running[0] == name)
        self.since[name] = time.thread_time()
        return True


def pictures(side: int) -> tuple[Tensor, Tensor]:
    content = photos.bundled_photo("astronaut").image
    painting = torch.from_numpy(np.asarray(strokes()).copy()).permute(2, 0, 1)[None] / 255
    content, painting = (F.interpolate(each, (side, side), mode="bicubic", antialias=True).clamp(0, 1) for each in (content, painting))
    return content, painting


def compare(plain: Plain, content: Tensor, style: Tensor, optimizer: str, steps: int) -> dict[str, Any]:
    """Time of one iteration, in turns, and the loss after `steps` of them."""
    run = plain.adam if optimizer == "adam" else plain.lbfgs
    turns, finals = Turns(), {}
    works = {"plain": lambda tell: run(content, steps, tell), "ours": lambda tell: ours(content, style, optimizer, steps, 1, tell)}
    threads = [threading.Thread(target=turns.run, args=(name, work, finals)) for name, work in works.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    each = {name: statistics.median(times[1:]) for name, times in turns.times.items()}  # the first has the preparations in it
    with torch.no_grad():
        losses = {name: float(plain.loss(final)) for name, final in finals.items()}
        before = float(plain.loss(content))
    return {
        "side": content.shape[-1],
        "optimizer": optimizer,
        "plain s": each["plain"],
        "ours s": each["ours"],
        "times faster": each["plain"] / each["ours"],
        "steps": steps,
        "loss before": before,
        "plain loss": losses["plain"],
        "our loss": losses["ours"],
        "ratio of losses": losses["ours"] / losses["plain"],
        "plain s in all": sum(turns.times["plain"]),
    }


def coarse_to_fine(
    plain: Plain, content: Tensor, style: Tensor, optimizer: str, steps: int, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Processor time, preparations included, until the loss is that of the plain way in each of `rows`."""
    seen: list[tuple[float, Tensor]] = []
    spent, start = 0.0, time.process_time()

    def listener(step: Iteration) -> bool:
        nonlocal start, spent
        spent += time.process_time() - start
        seen.append((spent, step.picture().clone()))
        start = time.process_time()  # making the picture for us does not count
        return True

    ours(content, style, optimizer, steps, None, listener)
    losses: dict[int, float] = {}

    def loss(number: int) -> float:
        if number not in losses:
            with torch.no_grad():
                losses[number] = float(plain.loss(seen[number][1]))
        return losses[number]

    found = []
    for row in rows:
        low, high = 0, len(seen) - 1  # the loss falls, so halving finds the first picture that is good enough
        reached = loss(high) <= row["plain loss"]
        while reached and low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if loss(middle) <= row["plain loss"] else (middle + 1, high)
        found.append(
            {
                "side": row["side"],
                "coarse to fine": optimizer,
                "to the loss of plain": row["optimizer"],
                "loss to reach": row["plain loss"],
                "reached": reached,
                "steps": high + 1,
                "ours s": seen[high][0],
                "plain s": row["plain s in all"],
                "times faster": row["plain s in all"] / seen[high][0],
                "last loss": loss(len(seen) - 1),
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--steps", type=int, default=60, help="iterations after which the losses are compared")
    parser.add_argument("--out", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for side in arguments.sides:
        content, style = pictures(side)
        plain = Plain(content, style)
        compared = []
        for optimizer in ("adam", "lbfgs"):
            compared.append(compare(plain, content, style, optimizer, arguments.steps))
            print(json.dumps(compared[-1]), flush=True)
        rows += compared
        for optimizer in ("adam", "lbfgs"):
            for row in coarse_to_fine(plain, content, style, optimizer, 2 * arguments.steps, compared):
                rows.append(row)
                print(json.dumps(row), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
