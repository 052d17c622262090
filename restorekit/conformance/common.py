"""Checks that every part undergoes, and those of parts that are data files."""

from __future__ import annotations

import inspect

from restorekit import config, recipes
from restorekit.bench import suite
from restorekit.conformance.subject import Check, Failed, Skipped, Subject, interface
from restorekit.errors import ConfigError, MissingPackage, UserError

RESERVED = {"part": "names the part itself", "weight": "belongs to the recipe's slot"}


def target_imports(subject: Subject) -> None:
    """The target can be imported."""
    try:
        subject.registered.load()
    except (UserError, SystemExit) as cause:
        raise Failed(str(cause), f"check the target {subject.registered.part.target!r} in the manifest") from cause


def is_described(subject: Subject) -> None:
    """The manifest gives a one-line summary, a paper and a licence."""
    part = subject.registered.part
    for field in ("summary", "paper", "licence"):
        text = getattr(part, field)
        if not text.strip():
            raise Failed(f"no {field}", f"add {field}=... to the Part in the manifest")
        if "\n" in text:
            raise Failed(f"the {field} has several lines", "make it one line")


def former_name_is_free(subject: Subject) -> None:
    """The former name, if there is one, is not the name of another part now."""
    former = f"{subject.registered.namespace}/{subject.registered.part.renamed_from}"
    if any(part.kind == subject.kind and part.name == former for part in subject.registry.parts):
        raise Failed(f"there is a {subject.kind} {former}, which recipes with the old name would get", "give the other part another name")


ALL: tuple[Check, ...] = (target_imports, is_described, former_name_is_free)
"""For parts of every kind."""


def implements_its_interface(subject: Subject) -> None:
    """The class derives from the interface of its kind and implements all of it."""
    wanted = interface(subject.kind)
    target = subject.target
    if not isinstance(target, type) or not issubclass(target, wanted):
        raise Failed(f"{subject.registered.part.target} is no {wanted.__name__}", f"derive it from restorekit.interfaces.{wanted.__name__}")
    if inspect.isabstract(target):
        missing = ", ".join(sorted(vars(target)["__abstractmethods__"]))
        raise Failed(f"{target.__name__} lacks {missing}", f"implement {missing} as restorekit.interfaces.{wanted.__name__} says")


def signature_is_a_schema(subject: Subject) -> None:
    """The constructor takes annotated keyword-only options, and no catch-all."""
    try:
        options = config.options_of(subject.target)
    except TypeError as fault:
        raise Failed(str(fault), "def __init__(self, *, width: int = 8) -> None") from fault
    reserved = [name for name in RESERVED if name in options and (name == "part" or subject.kind in ("loss", "adversarial"))]
    if reserved:
        raise Failed(f"an option is called {reserved[0]}, which {RESERVED[reserved[0]]}", "rename the option")


def example_builds(subject: Subject) -> None:
    """The part can be built from its example."""
    target = subject.target
    try:
        subject.make()
    except MissingPackage as absent:
        raise Skipped(str(absent)) from absent
    except UserError as fault:
        options = ", ".join(f"{name}: {option.type}" for name, option in config.options_of(target).items())
        raise Failed(str(fault), f"example=... in the manifest must fit the options ({options or 'none'})") from fault


def configuration_round_trips(subject: Subject) -> None:
    """The options pass their own schema, defaults included, and survive JSON."""
    target, plain = subject.target, subject.plain()
    again, problems = config.check(target, plain, registry=subject.registry, owner=subject.name)
    for name, option in config.options_of(target).items():
        if not option.required:
            problems += config.check(target, {**plain, name: option.default}, registry=subject.registry, owner=subject.name)[1]
    if problems:
        raise Failed("; ".join(dict.fromkeys(problems)), "make the default or its annotation fit the other")
    if again != plain:
        changed = ", ".join(name for name in plain if again.get(name) != plain[name])
        raise Failed(f"{changed} changed on the way through JSON", "use numbers, text, lists and mappings with text keys")


SCHEMA: tuple[Check, ...] = (implements_its_interface, signature_is_a_schema, example_builds, configuration_round_trips)
"""For parts that are classes."""


def recipe_is_whole(subject: Subject) -> None:
    """Every part and option of the recipe exists and fits."""
    subject.target  # noqa: B018 - skips where there is no file
    try:
        recipes.recipe(subject.name, registry=subject.registry).check(subject.registry)
    except UserError as fault:
        raise Failed(str(fault), f"correct {subject.target}") from fault


RECIPE: tuple[Check, ...] = (recipe_is_whole,)


def suite_is_whole(subject: Subject) -> None:
    """Every key, degradation and metric of the suite exists and fits."""
    try:
        recipes.load_yaml(subject.target)
    except UserError as fault:
        raise Failed(str(fault), f"correct {subject.target}") from fault
    try:
        suite.load(subject.name, registry=subject.registry)
    except ConfigError as fault:
        raise Failed(str(fault), f"correct {subject.target}") from fault
    except UserError as absent:  # kernels that lie in a data set
        raise Skipped(str(absent)) from absent


SUITE: tuple[Check, ...] = (suite_is_whole,)
