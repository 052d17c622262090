"""A page per part, made from the registry: what it does, its options, where it comes from, and a picture."""

from __future__ import annotations

import html
import inspect
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pictures

from restorekit import discovery, recipes
from restorekit.cli import describe
from restorekit.hooks import KINDS
from restorekit.registries import RegisteredPart, Registry

PLURALS = {"loss": "losses", "features": "features", "adversarial": "adversarial objectives"}

WORDS = {
    "generator": "Networks that make an image from an image or from a latent vector.",
    "critic": "Networks that tell real images from made ones.",
    "adversarial": "What critic and generator minimise.",
    "loss": "Terms of the generator's loss: a scalar from the restored, the target and the degraded image.",
    "degradation": "Ways to damage a photograph that can be repeated.",
    "features": "Frozen networks read at named layers, for losses, metrics and style transfer.",
    "estimator": "What finds the blur of a photograph from the photograph alone.",
    "metric": "Scores of one image.",
    "set-metric": "Scores of a whole set of images.",
    "restorer": "Methods that restore: what `restorekit restore --with NAME` takes.",
    "recipe": "Which parts, data and settings make a model: what `restorekit train NAME` takes.",
    "suite": "Which photographs, damages and scores make a benchmark: what `restorekit bench run NAME` takes.",
}
"""What each kind is, in a sentence."""

FLAGS = {"psf": "--psf psf.npy", "mask": "--mask mask.png", "reference": "--reference painting.jpg"}


@dataclass
class Book:
    """Every page and picture of the chapter, its navigation, and the place of each part."""

    files: dict[str, str | bytes] = field(default_factory=dict)
    nav: list[Any] = field(default_factory=list)
    places: dict[tuple[str, str], str] = field(default_factory=dict)


def book(*, cache: Path | None, say: Callable[[str], None] = lambda words: None, registry: Registry | None = None) -> Book:
    """Pages of all installed parts.

    Args:
        cache: where pictures are kept between builds; no pictures are made if None.
        say: told which picture is being made.
        registry: the parts; the installed ones if None.
    """
    registry = registry or discovery.registry()
    found = Book()
    for part in registry.parts:
        found.places[part.kind, part.name] = f"parts/{part.kind}/{part.name.replace('/', '-')}.md"
    uses = _uses(registry)
    artist = None if cache is None else pictures.Artist(registry, cache, say)
    kinds = [kind for kind in WORDS if registry.of_kind(kind)]
    found.nav = ["parts/index.md"]
    for kind in kinds:
        inside: list[Any] = [f"parts/{kind}/index.md"]
        for part in registry.of_kind(kind):
            where = found.places[part.kind, part.name]
            drawn = artist.draw(part) if artist is not None else None
            found.files[where] = page(part, registry, drawn, uses.get((part.kind, part.name), []))
            if drawn is not None:
                for name, content in drawn.files.items():
                    found.files[posixpath.join(posixpath.dirname(where), name)] = content
            inside.append({part.name: where})
        found.files[f"parts/{kind}/index.md"] = _index(kind, registry)
        found.nav.append({plural(kind).capitalize(): inside})
    found.files["parts/index.md"] = _front(kinds, registry)
    return found


def plural(kind: str) -> str:
    """The kind, of several."""
    return PLURALS.get(kind, f"{kind}s")


def _front(kinds: list[str], registry: Registry) -> str:
    lines = [
        "# Parts",
        "",
        "Everything that the installed plugins offer, by kind. These pages are made from the parts themselves; `restorekit list` and",
        "`restorekit info NAME` print the same.",
        "",
        "| kind | | parts |",
        "|---|---|---|",
    ]
    lines += [f"| [{plural(kind)}]({kind}/index.md) | {WORDS[kind]} | {len(registry.of_kind(kind))} |" for kind in kinds]
    return "\n".join(lines) + "\n"


def _index(kind: str, registry: Registry) -> str:
    lines = [f"# {plural(kind).capitalize()}", "", WORDS[kind], ""]
    if KINDS[kind]:
        lines += [f"The interface: `{KINDS[kind].replace(':', '.')}`.", ""]
    lines += ["| name | | plugin |", "|---|---|---|"]
    for part in registry.of_kind(kind):
        lines.append(f"| [`{part.name}`]({part.name.replace('/', '-')}.md) | {cell(part.part.summary)} | {part.distribution} |")
    return "\n".join(lines) + "\n"


def page(part: RegisteredPart, registry: Registry, drawn: pictures.Drawing | None, used_by: list[tuple[str, str]]) -> str:
    """The page of one part."""
    about = describe.part(part, registry)
    pieces = [f"# {part.name}", f'<p class="kind">{part.kind} of {part.distribution} {part.version}</p>']
    prose = _prose(part)
    if part.part.summary.lower() not in prose.lower():
        pieces.append(f"**{part.part.summary}**")
    if prose:
        pieces.append(prose)
    if drawn is not None:
        pieces.append(drawn.html)
    pieces.append(f"## Use it\n\n{usage(part)}")
    if part.kind in ("recipe", "suite"):
        text = part.load().read_text(encoding="utf-8")
        pieces.append(f"## What it says\n\n```yaml\n{text.strip()}\n```")
    if about.get("options"):
        pieces.append(f"## Options\n\n{_options(about['options'])}")
    elif "options" in about:
        pieces.append("## Options\n\nNone.")
    if "takes" in about:
        pieces.append(f"## What it takes and gives\n\n{_contract(about)}")
    pieces.append(f"## Where it comes from\n\n{_origin(part)}")
    if used_by:
        named = ", ".join(f"{kind} `{name}`" for kind, name in used_by)
        pieces.append(f"## Who uses it\n\n{named}.")
    return "\n\n".join(pieces) + "\n"


def _prose(part: RegisteredPart) -> str:
    """The docstring of its class without the options; nothing of a file."""
    if part.kind in ("recipe", "suite"):
        return ""
    text = inspect.getdoc(part.load()) or ""
    summary, _, rest = text.partition("\n")
    body = re.split(r"\n(?=(?:Args|Raises|Attributes|Declarations|Returns):\n)", f"\n{rest}\n")[0].strip()
    return "\n\n".join(filter(None, (summary.strip(), body)))


def _options(options: list[dict[str, Any]]) -> str:
    lines = ["| option | type and bounds | default | |", "|---|---|---|---|"]
    for option in options:
        default = "must be given" if option["required"] else f"`{describe.as_text(option['default'])}`"
        lines.append(f"| `{option['name']}` | {cell(option['type'])} | {cell(default)} | {cell(option['help'])} |")
    return "\n".join(lines)


def _contract(about: Mapping[str, Any]) -> str:
    rows = [("takes", about["takes"]), ("gives", about["gives"])]
    if "parameters" in about:
        rows.append(("parameters", f"{describe.as_text(about['parameters'])}, with default options"))
    rows += [(name.replace("_", " "), describe.as_text(value)) for name, value in about["declares"].items()]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {cell(str(value))} |" for name, value in rows)])


def _origin(part: RegisteredPart) -> str:
    record = part.part
    rows = [
        ("paper", _linked(record.paper)),
        ("licence", record.licence),
        ("plugin", f"`{part.distribution}` {part.version}, interface {part.interface}"),
        ("written in", f"`{record.target}`"),
    ]
    if record.default_for:
        rows.append(("default for", f"`restorekit {record.default_for}`"))
    if record.renamed_from:
        rows.append(("formerly", f"`{part.namespace}/{record.renamed_from}`"))
    rows += [("known failure", f"`{check}`: {why}") for check, why in record.known_failures.items()]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {cell(value)} |" for name, value in rows)])


def _linked(paper: str) -> str:
    paper = re.sub(r"\barXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", paper)
    return re.sub(r"\bdoi:(10\.[^\s,;]+)", r"[doi:\1](https://doi.org/\1)", paper)


def usage(part: RegisteredPart) -> str:
    """A command or a piece of a recipe that uses the part."""
    target = part.load()
    options = describe.options(part, target) if KINDS[part.kind] else []
    needed = {option["name"]: _stand_in(part, option) for option in options if option["required"]}
    sets = "".join(
        f" --set '{name}={value}'" if re.search(r"[\s{\[]", value) else f" --set {name}={value}" for name, value in needed.items()
    )
    inline = "".join(f", {name}: {value}" for name, value in needed.items())
    shell, yaml = "```sh\n{}\n```", "```yaml\n{}\n```"
    if part.kind == "restorer":
        flags = "".join(f" {FLAGS[name]}" for name in sorted(getattr(target, "uses", ())) if name in FLAGS)
        return shell.format(f"restorekit restore photo.jpg -o restored.jpg --with {part.name}{flags}{sets}")
    if part.kind == "degradation":
        return shell.format(f"restorekit degrade photo.jpg damaged.png --with {part.name}{sets} --seed 1")
    if part.kind in ("metric", "set-metric") and needed:
        file = f"{part.part.name}.yaml"
        text = yaml.format(describe.metric_file(part))
        return f"In a file such as `{file}`, for `restorekit score made/ real/ --metric {file}`:\n\n{text}"
    if part.kind in ("metric", "set-metric"):
        return shell.format(f"restorekit score restored/ sharp/ --metric {part.name}")
    if part.kind == "recipe":
        return shell.format(f"restorekit train {part.name} --data my-photos --out runs/mine")
    if part.kind == "suite":
        return shell.format(f"restorekit bench run {part.name} --method core/identity --out results/")
    if part.kind == "loss":
        return "In a recipe:\n\n" + yaml.format(f"losses:\n  - {{part: {part.name}, weight: 1.0{inline}}}")
    if part.kind == "adversarial":
        return "In a recipe:\n\n" + yaml.format(f"adversarial: {{part: {part.name}, weight: 0.01{inline}}}")
    if part.kind in ("generator", "critic"):
        return "In a recipe:\n\n" + yaml.format(f"{part.kind}: {{part: {part.name}{inline}}}")
    if part.kind == "features":
        return "In a recipe, as an option of a loss:\n\n" + yaml.format(
            f"losses:\n  - {{part: core/perceptual, weight: 0.1, features: {{part: {part.name}{inline}}}, layers: [{_a_layer(part)}]}}"
        )
    return "For any restorer that takes a PSF:\n\n" + shell.format(
        f"restorekit restore photo.jpg -o restored.jpg --with core/blind --set psf={part.name} --set restorer=core/wiener"
    )


def _stand_in(part: RegisteredPart, option: Mapping[str, Any]) -> str:
    """A value for an option that has no default: the one of the part's own example, or one that says what is meant."""
    example = part.part.example
    if isinstance(example, Mapping) and option["name"] in example:
        return _flow(example[option["name"]])
    return {"file": "kernels.npy" if part.kind == "degradation" else "model.safetensors", "model": "model.safetensors"}.get(
        option["name"], option["name"].upper()
    )


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return describe.as_text(value) if not isinstance(value, str) else value


def _a_layer(part: RegisteredPart) -> str:
    layers: tuple[str, ...] = ()
    built = pictures.on_meta(part)
    if built is not None:
        layers = built.layers
    return layers[len(layers) // 2] if layers else "LAYER"


SLOTS = {"losses": "loss", "metrics": "metric", "psf": "estimator", "steps": "degradation", "choices": "degradation"}
"""Kind of the parts below a key, where the key is not the kind itself; it decides between parts of one name."""


def _uses(registry: Registry) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """By part, the recipes and suites that name it."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for user in (*registry.of_kind("recipe"), *registry.of_kind("suite")):
        content = recipes.load_yaml(user.load())
        if user.kind == "recipe":
            content = dict(recipes.Recipe(content, user.name).check(registry).content)
        for named in sorted(set(_named(content, "", registry))):
            found.setdefault(named, []).append((user.kind, user.name))
    return found


def _named(value: Any, key: str, registry: Registry) -> Iterator[tuple[str, str]]:
    """Kinds and names of the parts that a piece of a recipe or a suite names."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _named({"part": item} if key == "metrics" and isinstance(item, str) else item, key, registry)
    elif isinstance(value, Mapping):
        if isinstance(value.get("part"), str):
            kinds = [part.kind for part in registry.parts if part.name == value["part"] and KINDS[part.kind]]
            slot = SLOTS.get(key, key)
            if kinds:
                yield (slot if slot in kinds else kinds[0]), value["part"]
        for below, item in value.items():
            yield from _named(item, below, registry)


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


class Linker:
    """Links names of parts, where a page shows them as code, to their pages."""

    CODE = re.compile(r"(?P<kind>\b[\w-]+\s+)?<code>(?P<name>[a-z][\w-]*/[a-z0-9][\w-]*)</code>")
    ORDER = ("restorer", "metric", "degradation", "generator", "loss", "recipe")

    def __init__(self) -> None:
        self.places: dict[tuple[str, str], str] = {}

    def learn(self, found: Book) -> None:
        """Take the places of a book."""
        self.places = found.places

    def link(self, content: str, where: str) -> str:
        """A page's HTML with links; names within links, headings and blocks stay as they are."""
        pieces = re.split(r"(<a [^>]*>.*?</a>|<h\d[^>]*>.*?</h\d>|<pre[^>]*>.*?</pre>)", content, flags=re.DOTALL)
        return "".join(
            piece if index % 2 else self.CODE.sub(lambda match: self._linked(match, where), piece) for index, piece in enumerate(pieces)
        )

    def _linked(self, match: re.Match[str], where: str) -> str:
        before, name = match["kind"] or "", html.unescape(match["name"])
        kinds = [kind for kind, known in self.places if known == name]
        if not kinds:
            return match[0]
        said = before.strip().lower().removesuffix("s")
        kind = said if said in kinds else next((kind for kind in self.ORDER if kind in kinds), kinds[0])
        goal = self.places[kind, name]
        if goal == where:
            return match[0]
        address = posixpath.relpath(goal, posixpath.dirname(where) or ".").removesuffix(".md") + ".html"
        return f'{before}<a href="{address}"><code>{name}</code></a>'
