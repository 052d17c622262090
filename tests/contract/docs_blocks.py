"""The code blocks of the documents: finding them, checking what they say without doing it, and doing it.

A comment directly above a block says how it is tested where it is not simply run:

    <!-- test: slow -->                            checked; run by `make test-slow`
    <!-- test: slow --set train.steps=1 -->        the same, with these added to each ``restorekit train``
    <!-- test: slow 2000=1 -->                     the same for Python, with the one in place of the other
    <!-- test: parse, needs four GPUs -->          checked only, for the reason given
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from restorekit import config, recipes
from restorekit.bench import suite
from restorekit.cli import app
from restorekit.cli.common import parse_settings
from restorekit.hooks import KINDS
from restorekit.registries import Registry

ROOT = Path(__file__).parents[2]

PLACES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "docs/pages/**/*.md",
    "benchmarks/*.md",
    "plugins/*/README.md",
    "plugins/*/*/weights/*.md",
)

FENCE = re.compile(
    r"^(?:[ ]*<!-- test: (?P<note>[^\n]*?) -->\n)?(?P<indent>[ ]*)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)

UNCHECKED = ("cd", "source", "pytest", "tensorboard", "git")
"""Programs that a block may call and that say nothing of restorekit."""


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, its language (empty means shell), its text and what the comment above it says."""

    path: Path
    line: int
    language: str
    text: str
    note: str

    @property
    def place(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"

    @property
    def how(self) -> str:
        """``run``, ``slow`` or ``parse``."""
        return re.split(r"[ ,]", self.note, maxsplit=1)[0] or "run"

    @property
    def shell(self) -> bool:
        return self.language in ("", "sh")


def documents() -> list[Path]:
    """Every document that a user reads."""
    return [path for pattern in PLACES for path in sorted(ROOT.glob(pattern))]


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a document."""
    return list(blocks_of(path.read_text(encoding="utf-8"), path))


def blocks_of(text: str, path: Path) -> Iterator[Block]:
    for found in FENCE.finditer(text):
        indent = len(found["indent"])
        inside = "".join(line[indent:] if line[:indent].isspace() else line for line in found["text"].splitlines(keepends=True))
        yield Block(path, text[: found.start()].count("\n") + 1, found["language"], inside, found["note"] or "")


def commands(text: str) -> list[list[str]]:
    """The commands of a shell block, as words; without comments, environment variables and launchers."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words and words[0] in ("torchrun", "srun"):
            words = words[words.index("restorekit") :]
        if words:
            found.append(words)
    return found


def mistakes(block: Block, registry: Registry) -> list[str]:
    """What a block says that is not so, without running it."""
    if block.shell:
        return [f"{' '.join(words)}: {what}" for words in commands(block.text) for what in _command(words, registry)]
    if block.language == "yaml":
        return _yaml(block.text, registry)
    if block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "python":
        compile(block.text, block.place, "exec")
    elif block.language not in ("text", "json"):
        return [f"a block of {block.language}: use sh, python, yaml, toml, json or text"]
    return []


def _command(words: Sequence[str], registry: Registry) -> list[str]:
    program, *arguments = words
    if program == "restorekit":
        return command_line(arguments, registry)
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        return [f"no target {word}" for word in arguments if "=" not in word and word not in targets]
    if program in ("pip", "python") and "install" in arguments:
        return _requirements([word for word in arguments[arguments.index("install") + 1 :] if word[0] not in "-."])
    if program == "python":
        return _script(arguments)
    return [] if program in UNCHECKED else [f"{program}: not a program that documents use"]


def _script(arguments: Sequence[str]) -> list[str]:
    if arguments[0] == "-m":
        return [] if arguments[1].startswith("restorekit") else [f"python -m {arguments[1]}"]
    script = ROOT / arguments[0]
    if not script.is_file():
        return ["no such script"]
    text = script.read_text(encoding="utf-8")
    return [f"the script has no {word}" for word in arguments[1:] if word.startswith("--") and word.partition("=")[0] not in text]


def _requirements(words: Sequence[str]) -> list[str]:
    known = {}
    for path in (ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        known[project["name"]] = set(project.get("optional-dependencies", {}))
    problems = []
    for word in words:
        name, _, extras = word.partition("[")
        if name not in known:
            problems.append(f"{name} is none of ours")
        problems += [
            f"{name} has no extra {extra}" for extra in extras.rstrip("]").split(",") if extra and extra not in known.get(name, ())
        ]
    return problems


def command_line(arguments: Sequence[str], registry: Registry) -> list[str]:
    """What is wrong with a call of ``restorekit``: options that do not exist, parts and their options."""
    context: click.Context | None = None
    command: click.Command = app
    rest = list(arguments)
    try:
        while True:
            context = command.make_context(command.name or "restorekit", rest, parent=context)
            rest = [*context._protected_args, *context.args] if isinstance(command, click.Group) else []
            if not isinstance(command, click.Group) or not rest:
                break
            _, found, rest = command.resolve_command(context, rest)
            assert found is not None
            command = found
        return _parts(command.name or "", context.params, registry)
    except click.exceptions.Exit:  # --help
        return []
    except Exception as fault:
        return [str(fault) or type(fault).__name__]


def _parts(command: str, given: Mapping[str, Any], registry: Registry) -> list[str]:
    settings = parse_settings(given.get("settings", ()))
    if command == "train":
        if not given["recipe"].endswith(".yaml"):
            chosen = recipes.recipe(given["recipe"], registry=registry)
            if given["data"] is not None:
                chosen = chosen.set("data.train", str(given["data"]))
            for key, value in settings.items():
                chosen = chosen.set(key, value)
            chosen.check(registry)
        return []
    named: list[tuple[str, str, bool]] = []  # kind, name, whether the settings are its options
    if command in ("restore", "degrade"):
        named.append(("restorer" if command == "restore" else "degradation", given["name"] or registry.default_for("restore").name, True))
    elif command == "import":
        named.append(("generator", given["name"], False))
    elif command == "score":
        named += [("metric", name, False) for name in given.get("metrics", ())]
    elif command == "run":
        named += [("restorer", name, False) for name in (*given["methods"], *given["more"])]
        named.append(("suite", given["suite"], False))
    elif command == "info":
        if "." not in given["name"] and "mine/" not in given["name"]:  # not a file, nor a part that a document writes
            registry.named(given["name"])
        return []
    problems = []
    for kind, name, sets in named:
        if not re.fullmatch(r"[a-z][\w-]*/[a-z0-9][\w-]*", name) or name.partition("/")[0] not in {
            part.namespace for part in registry.parts
        }:
            continue  # a file, a folder or an address
        if kind == "metric" and name in {part.name for part in registry.of_kind("set-metric")}:
            continue
        content = recipes.Recipe({"part": registry.find(kind, name).name}, name)
        for key, value in settings.items() if sets else ():
            content = content.set(key, value)
        if sets:
            problems += config.check_part(kind, content.content, registry=registry, where="")[1]
    return problems


def _yaml(text: str, registry: Registry) -> list[str]:
    content = recipes.parse_yaml(text, "the block")
    if not isinstance(content, Mapping):
        return ["not a mapping"]
    if "recipe" in content:
        recipes.Recipe(content, "the block").check(registry)
        return []
    if "suite" in content:
        unknown = [f"suite: no key {key}" for key in content if key not in suite.KEYS]
        return [*unknown, *_nested(content, registry)]
    return _nested(content, registry)


def _nested(value: Any, registry: Registry, key: str = "") -> list[str]:
    """Mistakes in parts that a piece of YAML names, wherever they are."""
    if isinstance(value, list):
        return [problem for item in value for problem in _nested(item, registry, key)]
    if not isinstance(value, Mapping):
        return []
    if isinstance(value.get("part"), str):
        kinds = [part.kind for part in registry.named(value["part"]) if KINDS[part.kind]]
        kind = {"losses": "loss", "metrics": "metric"}.get(key, key)
        rest = {name: item for name, item in value.items() if name != "weight"}
        return config.check_part(kind if kind in kinds else kinds[0], rest, registry=registry, where=key)[1]
    return [problem for below, item in value.items() for problem in _nested(item, registry, below)]
