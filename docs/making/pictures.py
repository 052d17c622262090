"""Pictures of what parts do, made by the parts themselves: damaged and restored photographs, curves, layers.

Everything is drawn from seeds made of the part's name, so that a picture changes only where a part does; what was made is kept under
a key of the source that made it. The photographs are those inside scikit-image.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import html
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import charts
import numpy as np
import torch
from panels import Drawing, Panel, figure, gallery, reach, scene, shown_psf
from ruamel.yaml import YAML
from torch import Tensor

from restorekit import config, recipes, restoration, seeding
from restorekit.errors import UserError
from restorekit.images import Degraded
from restorekit.registries import RegisteredPart, Registry

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SHAKE = ({"part": "core/camera-shake", "length": [12.0, 14.0]}, {"part": "core/gaussian-noise", "sigma": 0.01})
NOISE = ({"part": "core/gaussian-noise", "sigma": 0.06}, {"part": "core/jpeg", "quality": 50})
HOLES = ({"part": "core/mask", "shape": "strokes", "share": 0.1},)

STRENGTHS: Mapping[str, tuple[str, str, Sequence[Any]]] = {
    "noise, σ 0 to 0.1": ("core/gaussian-noise", "sigma", (0.02, 0.04, 0.06, 0.08, 0.1)),
    "blur, σ 0 to 3 px": ("core/gaussian-blur", "sigma", (0.6, 1.2, 1.8, 2.4, 3.0)),
    "JPEG, quality 90 to 10": ("core/jpeg", "quality", (90, 70, 50, 30, 10)),
}
"""The damages under which scores and losses are drawn: five strengths each."""


def on_meta(part: RegisteredPart) -> Any:
    """The part with its default options on no device, or None where it cannot be built so."""
    target = part.load()
    if any(option.required for option in config.options_of(target).values()):
        return None
    try:
        with torch.device("meta"):
            return target(weights="random") if "weights" in config.options_of(target) else target()
    except Exception:  # its constructor reads a file or values of a tensor
        return None


class Artist:
    """Draws parts and remembers what it has drawn.

    Args:
        registry: the parts.
        cache: where drawings are kept.
        say: told what is being drawn.
    """

    def __init__(self, registry: Registry, cache: Path, say: Callable[[str], None]) -> None:
        self.registry, self.cache, self.say = registry, cache, say
        shown = YAML(typ="safe").load(HERE / "showcase.yaml")
        self.options: Mapping[str, Mapping[str, Any]] = shown["options"]
        self.scenes: Mapping[str, Mapping[str, str]] = shown["scenes"]
        self.ready: Mapping[str, Mapping[str, Any]] = shown["files"]
        own = [path for path in sorted(HERE.iterdir()) if path.name in ("pictures.py", "panels.py", "charts.py", "showcase.yaml")]
        self.core = _digest([*own, *_sources("restorekit.builtin"), *_sources("restorekit.interfaces")])

    def draw(self, part: RegisteredPart) -> Drawing | None:
        """The part's picture, from the cache where its source is as it was; None where there is nothing to show."""
        package = part.part.target.partition(":")[0].partition(".")[0]
        source = part.load().read_bytes() if part.kind in ("recipe", "suite") else b""
        key = hashlib.sha256(f"{self.core} {part.kind} {part.name}".encode() + source)
        if package != "restorekit":
            key.update(_digest(_sources(package)).encode())
        kept = self.cache / f"{part.kind}-{part.name.replace('/', '-')}-{key.hexdigest()[:16]}.json"
        if not kept.is_file():
            self.say(f"drawing {part.kind} {part.name}")
            made = self._draw(part)
            kept.parent.mkdir(parents=True, exist_ok=True)
            for old in kept.parent.glob(f"{kept.name[:-21]}{'?' * 16}.json"):
                old.unlink()
            plain = None if made is None else [made.html, {name: base64.b64encode(data).decode() for name, data in made.files.items()}]
            kept.write_text(json.dumps(plain), encoding="utf-8")
        plain = json.loads(kept.read_text(encoding="utf-8"))
        return None if plain is None else Drawing(plain[0], {name: base64.b64decode(data) for name, data in plain[1].items()})

    def _draw(self, part: RegisteredPart) -> Drawing | None:
        ready = self.ready.get(part.kind, {}).get(part.name)
        if ready is not None:
            return self._file(part, ready)
        draw = getattr(self, f"_{part.kind.replace('-', '_')}", None)
        if draw is None:
            return None
        with seeding.seeded("docs", part.kind, part.name):
            found: Drawing | None = draw(part)
        return found

    def _build(self, part: RegisteredPart) -> tuple[Any, str] | None:
        """The part and, in words, the options that it was built with; None where it needs a file."""
        options = self.options.get(part.kind, {}).get(part.name)
        if options is None and not getattr(part.load(), "downloads", False) and not self._reads_weights(part):
            try:
                return config.build(part, {}, registry=self.registry), "with its defaults"
            except UserError:  # an option must be given
                pass
        if options is None:
            options = part.part.example
        if not isinstance(options, Mapping):
            return None
        return config.build(part, options, registry=self.registry), f"with <code>{html.escape(_flow(options))}</code>"

    def _reads_weights(self, part: RegisteredPart) -> bool:
        """Whether the part holds, by default, a network whose weights would be downloaded."""
        options = config.options_of(part.load())
        return any(option.slot is not None and option.slot.kind == "features" and option.default for option in options.values())

    def _damage(self, part: RegisteredPart, steps: Sequence[Mapping[str, Any]], image: Tensor, draw: object = 0) -> Degraded:
        chain = self.registry.create("degradation", "core/sequence", steps=[dict(step) for step in steps])
        shape = (image.shape[1], image.shape[2], image.shape[3])
        damaged: Degraded = chain.apply(image, chain.sample(1, shape, seeding.generator("docs", part.kind, part.name, draw)))
        return damaged

    def _score(self, image: Tensor, target: Tensor) -> float:
        return float(self.registry.create("metric", "core/psnr")(image, target)[0])

    def _file(self, part: RegisteredPart, ready: Mapping[str, str]) -> Drawing:
        path = ROOT / ready["file"]
        words = html.escape(ready["words"])
        figure = f'<figure><img src="{path.name}" alt="{words}" loading="lazy"><figcaption>{words}</figcaption></figure>'
        return Drawing(figure, {path.name: path.read_bytes()})

    def _degradation(self, part: RegisteredPart) -> Drawing | None:
        built = self._build(part)
        if built is None:
            return self._by_example(part)
        return self._draws(part, *built)

    def _by_example(self, part: RegisteredPart) -> Drawing | None:
        import tempfile

        if not isinstance(part.part.example, str):
            return None
        module, _, function = part.part.example.partition(":")
        with tempfile.TemporaryDirectory() as folder:
            options = getattr(importlib.import_module(module), function)(Path(folder))
            return self._draws(part, config.build(part, options, registry=self.registry), "with the kernels of its example")

    def _draws(self, part: RegisteredPart, damage: Any, words: str) -> Drawing:
        image = scene()
        panels = [Panel("sharp", image)]
        for number in (1, 2, 3):
            drawn = damage.sample(1, tuple(image.shape[1:]), seeding.generator("docs", part.name, number))
            degraded = damage.apply(image, drawn)
            panels.append(Panel(f"draw {number}", degraded.image))
        psf = degraded.params.get("psf")
        if psf is not None:
            panels.append(Panel("PSF of draw 3", shown_psf(psf, reach(psf)), pixels=True))
        return gallery(part, panels, f"A photograph damaged {words}.")

    def _restorer(self, part: RegisteredPart) -> Drawing | None:
        built = self._build(part)
        if built is None:
            return None
        restorer, words = built
        if restorer.scale != 1:
            return None
        image = scene(self.scenes.get(part.kind, {}).get(part.name, "astronaut"))
        reference = None
        if restorer.uses & {"reference", "references"}:
            reference = scene("coffee", 130, 130)
            trials = [("photograph", Degraded(image, reference=reference))]
        elif "mask" in restorer.uses:
            trials = [("damaged", self._damage(part, HOLES, image))]
        elif "psf" in restorer.uses:
            trials = [("shaken", self._damage(part, SHAKE, image))]
        else:
            trials = [("shaken", self._damage(part, SHAKE, image)), ("noise and JPEG", self._damage(part, NOISE, image))]
        panels = []
        for name, degraded in trials:
            restored = restoration.restore(restorer, degraded, name=part.name)
            if reference is not None:
                panels += [Panel(name, image), Panel("reference", reference), Panel("result", restored)]
                continue
            before, after = self._score(degraded.image, image), self._score(restored, image)
            panels += [
                Panel("sharp", image),
                Panel(f"{name}, {before:.1f} dB", degraded.image),
                Panel(f"restored, {after:.1f} dB", restored),
            ]
        told = sorted(restorer.uses - {"reference", "references"})
        knows = f" It is told the {' and the '.join(told)}." if told else ""
        return gallery(part, panels, f"Made {words}.{knows}", columns=3)

    def _estimator(self, part: RegisteredPart) -> Drawing | None:
        built = self._build(part)
        if built is None:
            return None
        estimator, words = built
        panels = []
        for number in (1, 2):
            degraded = self._damage(part, SHAKE, scene(), number)
            true, found = degraded.params["psf"], estimator(degraded.image)
            panels += [
                Panel("shaken", degraded.image),
                Panel("true PSF", shown_psf(true, estimator.size), pixels=True),
                Panel("estimated", shown_psf(found, estimator.size), pixels=True),
            ]
        return gallery(part, panels, f"Estimated {words}, from the shaken picture alone.", columns=3)

    def _metric(self, part: RegisteredPart) -> Drawing | None:
        built = self._build(part)
        if built is None:
            return None
        metric, words = built
        target = scene()
        up = f"{part.name}{f', {metric.unit}' if metric.unit else ''}"
        lines = self._under_damage(part, lambda image: float(metric(image, target if metric.needs_target else None)[0]))
        better = "Higher" if metric.higher_is_better else "Lower"
        return figure(
            charts.chart(lines, across="strength of the damage", up=up), f"One photograph under three damages, {words}. {better} is better."
        )

    def _set_metric(self, part: RegisteredPart) -> Drawing | None:
        built = self._build(part)
        if built is None:
            return None
        metric, words = built
        target = torch.cat(
            [scene(name, y, x, 64) for name in ("chelsea", "coffee", "astronaut") for y, x in ((0, 40), (90, 130), (180, 220))]
        )

        def score(images: Tensor) -> float:
            fresh = copy.deepcopy(metric)
            fresh.update(images, target if fresh.needs_target else None)
            return float(fresh.compute())

        lines = self._under_damage(part, score, target)
        better = "Higher" if metric.higher_is_better else "Lower"
        caption = f"Nine pieces of photographs against themselves damaged, {words}. {better} is better."
        return figure(charts.chart(lines, across="strength of the damage", up=part.name), caption)

    def _loss(self, part: RegisteredPart) -> Drawing | None:
        built = self._build(part)
        if built is None:
            return None
        loss, words = built
        target = scene()
        lines = self._under_damage(part, lambda image: float(loss(image, target, Degraded(image, reference=target))))
        return figure(charts.chart(lines, across="strength of the damage", up=part.name), f"One photograph under three damages, {words}.")

    def _under_damage(
        self, part: RegisteredPart, score: Callable[[Tensor], float], image: Tensor | None = None
    ) -> dict[str, list[tuple[float, float]]]:
        image = scene() if image is None else image
        found = {}
        for name, (damage, option, values) in STRENGTHS.items():
            points = [(0.0, score(image.clone()))]
            for number, value in enumerate(values, start=1):
                made = self.registry.create("degradation", damage, **{option: value})
                drawn = made.sample(image.shape[0], tuple(image.shape[1:]), seeding.generator("docs", name))
                points.append((float(number), score(made.apply(image, drawn).image)))
            found[name] = points
        return found

    def _adversarial(self, part: RegisteredPart) -> Drawing | None:
        built = self._build(part)
        if built is None:
            return None
        objective, words = built
        critic = _Brightness()
        real = torch.full((1, 3, 8, 8), 0.6)  # logit 1
        lines: dict[str, list[tuple[float, float]]] = {"the critic's": [], "the generator's": []}
        for logit in np.linspace(-3, 3, 13):
            fake = torch.full((1, 3, 8, 8), float(0.5 + logit / 10))
            with seeding.seeded("docs", part.name):
                terms = (objective.critic_terms(critic, real, fake), objective.generator_terms(critic, real, fake))
            for line, term in zip(lines.values(), terms, strict=True):
                line.append((float(logit), float(sum(term.values()))))
        drawn = charts.chart(lines, across="logit of the made image; that of the real one is 1", up="what is minimised")
        return figure(drawn, f"Both players' losses for a critic that tells images by their brightness, {words}.")

    def _network(self, part: RegisteredPart) -> Drawing | None:
        network = on_meta(part)
        if network is None:
            return None
        total = sum(weight.numel() for weight in network.parameters())
        children = list(network.named_children())
        while len(children) == 1 and list(children[0][1].named_children()):
            name, only = children[0]
            children = [(f"{name}.{below}", child) for below, child in only.named_children()]
        rows = []
        for name, child in children:
            size = sum(weight.numel() for weight in child.parameters())
            if size:
                share = 100 * size / total
                bar = f'<span class="bar" style="width:{share:.1f}%"></span>'
                number = f"{size:,}".replace(",", " ")
                rows.append(
                    f"<tr><td><code>{html.escape(name)}</code></td><td>{type(child).__name__}</td><td>{number}</td><td>{bar}</td></tr>"
                )
        if not rows:
            return None
        head = "<tr><th>module</th><th>class</th><th>parameters</th><th>share</th></tr>"
        table = f'<table class="layers"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'
        return Drawing(f'<details class="layers" markdown="0"><summary>Where its parameters are</summary>{table}</details>')

    _generator = _critic = _network

    def _features(self, part: RegisteredPart) -> Drawing | None:
        network = on_meta(part)
        if network is None:
            return None
        names = " ".join(f"<code>{html.escape(name)}</code>" for name in network.layers)
        return Drawing(f"<p>Layers, from shallow to deep: {names}.</p>")

    def _recipe(self, part: RegisteredPart) -> Drawing | None:
        content = recipes.recipe(part.name, registry=self.registry).check(self.registry).content
        spec = content.get("degradation")
        if not spec:
            return None
        damage = config.build_spec("degradation", recipes.degradation_spec(spec), registry=self.registry)
        image = scene()
        panels = [Panel("target", image)]
        for number in (1, 2, 3):
            drawn = damage.sample(1, tuple(image.shape[1:]), seeding.generator("docs", part.name, number))
            panels.append(Panel(f"input, draw {number}", damage.apply(image, drawn).image))
        return gallery(part, panels, "What it learns from: a photograph, and three of the damages that are drawn for it.")

    def _suite(self, part: RegisteredPart) -> Drawing | None:
        degradations = recipes.load_yaml(part.load()).get("degradations") or {}
        image = scene()
        panels = [Panel("sharp", image)]
        for name, spec in degradations.items():
            try:
                damage = config.build_spec("degradation", recipes.degradation_spec(spec), registry=self.registry)
            except UserError:  # reads kernels from the data folder, which need not be here
                return None
            drawn = damage.sample(1, tuple(image.shape[1:]), seeding.generator("docs", part.name, name))
            panels.append(Panel(name, damage.apply(image, drawn).image))
        if len(panels) == 1:
            return None
        return gallery(part, panels, "Its damages, on a photograph inside scikit-image.", columns=min(4, len(panels)))


class _Brightness(torch.nn.Module):
    """A critic whose logit is 10 times the mean brightness above 0.5."""

    conditional = False

    def forward(self, image: Tensor, given: Tensor | None = None) -> tuple[Tensor, ...]:
        return (10 * (image.mean(dim=(1, 2, 3)) - 0.5).reshape(-1, 1, 1, 1),)


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value) if isinstance(value, bool) or value is None else str(value)


def _sources(package: str) -> list[Path]:
    """Every file of a package."""
    (folder,) = importlib.import_module(package).__path__
    return sorted(path for path in Path(folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _digest(paths: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()
