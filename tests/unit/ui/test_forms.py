"""Fields from schemas, and options from what was set; every restorer that is installed takes what its fields give."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le, Lt
from torch import Tensor

from restorekit import UserError, config, discovery, recipes
from restorekit.hooks import Part
from restorekit.images import Degraded
from restorekit.interfaces import Estimator, Features, Restorer
from restorekit.registries import RegisteredPart, Registry
from restorekit.ui import forms
from restorekit.ui.forms import OWN_MODEL, Field


class Varied(Restorer):
    """Has options of every sort.

    Args:
        count: how often,
            at least once.
    """

    uses = frozenset({"mask"})

    def __init__(
        self,
        *,
        count: Annotated[int, Ge(1)] = 3,
        share: Annotated[float, Ge(0), Le(1)] = 0.5,
        open_share: Annotated[float, Gt(0), Lt(1)] = 0.5,
        odd_share: Annotated[float, Interval(ge=0, le=1)] = 0.123456,
        level: Annotated[int, Interval(ge=0, le=9)] = 4,
        huge: Annotated[int, Ge(0), Le(10**9)] = 4,
        weight: Annotated[float, Gt(0)] | None = None,
        side: Annotated[int, Ge(16)] | Literal["auto"] | None = "auto",
        sigma: float | tuple[float, float] = 0.1,
        kind: Literal["soft", "hard"] = "soft",
        layers: tuple[str, ...] | None = None,
        flag: bool = True,
        maybe: Literal[1, 2] | None = None,
        title: str = "no",
        file: Path | None = None,
        features: Features | None = None,
    ) -> None:
        self.options = dict(locals())

    def restore(self, degraded: Degraded) -> Tensor:
        return degraded.image


class NeedsFile(Restorer):
    def __init__(self, *, file: Path) -> None:
        self.file = file

    def restore(self, degraded: Degraded) -> Tensor:
        return degraded.image


class NeedsPart(Restorer):
    def __init__(self, *, psf: Estimator) -> None:
        self.psf = psf

    def restore(self, degraded: Degraded) -> Tensor:
        return degraded.image


class FileEstimator(Estimator):
    def __init__(self, *, file: Path | None = None) -> None:
        super().__init__()
        self.file = file

    def forward(self, image: Tensor) -> Tensor:
        return image


def part(target: type, name: str, kind: str = "restorer", **more: Any) -> RegisteredPart:
    record = Part(kind, name, f"{__name__}:{target.__name__}", summary=f"does {name}", paper="textbook", licence="MIT", **more)
    found = RegisteredPart(record, "test", "restorekit-test", "1.2", 1)
    object.__setattr__(found, "load", lambda: target)
    return found


@pytest.fixture(scope="module")
def registry() -> Registry:
    own = (
        part(Varied, "varied"),
        part(NeedsFile, "needs-file"),
        part(FileEstimator, "file-estimator", "estimator"),
        part(NeedsPart, "needs-part", example={"psf": {"part": "core/l0", "size": 9}}),
    )
    return Registry([*discovery.registry().parts, *own])


@pytest.fixture(scope="module")
def catalogue(registry: Registry) -> forms.Catalogue:
    return forms.catalogue(registry, {}, accept_models=True)


@pytest.fixture(scope="module")
def fields(catalogue: forms.Catalogue) -> dict[str, Field]:
    return {field.name: field for field in catalogue.offers["test/varied"].fields}


def test_kinds_follow_from_types_and_bounds(fields: dict[str, Field]) -> None:
    kinds = {name: field.kind for name, field in fields.items()}
    assert kinds == {
        "count": "number",
        "share": "slider",
        "open_share": "number",  # a slider would offer its ends
        "odd_share": "number",  # a slider has no place for its default
        "level": "slider",
        "huge": "number",
        "weight": "text",  # null is an answer
        "side": "text",
        "sigma": "text",
        "kind": "choice",
        "layers": "text",
        "flag": "switch",
        "maybe": "choice",
        "title": "text",
    }
    assert (fields["share"].low, fields["share"].high, fields["share"].step) == (0, 1, 0.01)
    assert (fields["level"].low, fields["level"].high, fields["level"].step) == (0, 9, 1)
    assert (fields["count"].low, fields["count"].high, fields["count"].whole) == (1, None, True)
    assert fields["weight"].null
    assert not fields["count"].null
    assert fields["count"].help == "how often, at least once."
    assert fields["weight"].type == "float > 0 or null"
    assert fields["maybe"].labels == ("1", "2", "null")


def test_what_is_shown_at_first_changes_nothing(catalogue: forms.Catalogue) -> None:
    for offer in catalogue.offers.values():
        settings = offer.settings({field.name: field.shown for field in offer.fields})
        assert set(settings) == {field.name for field in offer.fields if field.kind == "part"}, offer.name
        assert offer.settings({field.name: None for field in offer.fields if not field.null}).keys() == settings.keys()


@pytest.mark.parametrize(
    ("name", "shown", "option"),
    [
        ("count", 5, 5),
        ("count", 5.0, 5),  # as JSON from a browser
        ("share", 0.25, 0.25),
        ("share", 1, 1),
        ("weight", "2.5", 2.5),
        ("weight", "1e-4", 1e-4),
        ("side", "64", 64),
        ("side", "null", None),
        ("sigma", "[0.1, 0.2]", [0.1, 0.2]),
        ("kind", "hard", "hard"),
        ("layers", "[a, b]", ["a", "b"]),
        ("flag", False, False),
        ("maybe", "2", 2),
        ("title", "true", "true"),
    ],
)
def test_what_is_set_becomes_an_option_that_the_schema_takes(
    catalogue: forms.Catalogue, registry: Registry, name: str, shown: Any, option: Any
) -> None:
    settings = catalogue.offers["test/varied"].settings({name: shown})
    assert settings == {name: option}
    assert type(settings[name]) is type(option)
    _, problems = config.check(Varied, settings, registry=registry)
    assert problems == []


def test_an_empty_field_is_null_or_the_default(fields: dict[str, Field]) -> None:
    assert fields["side"].read("") is None
    assert fields["weight"].read(None) is None
    assert fields["count"].read(None) == 3
    assert fields["title"].read("") == "no"
    assert fields["kind"].read(None) == "soft"


@pytest.mark.parametrize(
    ("name", "shown", "said"),
    [
        ("kind", "harsh", "kind: got 'harsh'; expected one of soft, hard"),
        ("kind", {"part": "x"}, "kind: got"),
        ("maybe", 2, "maybe: got '2'; expected one of 1, 2, null"),
        ("sigma", "[0.1", "sigma"),
    ],
)
def test_what_cannot_be_read_is_refused(catalogue: forms.Catalogue, name: str, shown: Any, said: str) -> None:
    with pytest.raises(UserError) as refusal:
        catalogue.offers["test/varied"].settings({name: shown})
    assert said in str(refusal.value)


@pytest.mark.parametrize(("name", "shown"), [("count", 0), ("count", True), ("share", 2), ("weight", "x"), ("flag", "yes"), ("level", 1.5)])
def test_the_schema_refuses_the_rest(catalogue: forms.Catalogue, registry: Registry, name: str, shown: Any) -> None:
    settings = catalogue.offers["test/varied"].settings({name: shown})
    _, problems = config.check(Varied, settings, registry=registry)
    assert len(problems) == 1
    assert problems[0].startswith(f"{name}: got ")


def test_no_field_takes_a_path_of_the_machine(catalogue: forms.Catalogue) -> None:
    varied = catalogue.offers["test/varied"]
    assert "file" not in {field.name for field in varied.fields}
    assert varied.left == ("features (features part or null)",)
    assert "test/needs-file" not in catalogue.offers
    assert catalogue.missing["test/needs-file"] == "needs file (path), which only the command line takes"
    assert "ignored" not in varied.settings({"file": "/etc/passwd", "ignored": 1})
    assert varied.settings({"file": "/etc/passwd"}) == {}


def test_required_parts_are_chosen_by_name(catalogue: forms.Catalogue, registry: Registry) -> None:
    (field,) = catalogue.offers["test/needs-part"].fields
    assert (field.kind, field.default) == ("part", "core/l0")
    for name in field.choices:
        _, problems = config.check(NeedsPart, {"psf": name}, registry=registry)
        assert problems == [], name
    assert {"core/l0", "test/file-estimator"} <= set(field.choices)


def test_every_installed_restorer_is_offered_or_said_to_be_missing(catalogue: forms.Catalogue, registry: Registry) -> None:
    restorers = {part.name for part in registry.of_kind("restorer")}
    assert restorers == {*catalogue.offers, *catalogue.missing} - {OWN_MODEL} | {forms.NETWORK}
    assert next(iter(catalogue.offers)) == registry.default_for("restore").name
    for name, reason in catalogue.missing.items():
        assert "path" in reason, name
    for name, offer in catalogue.offers.items():
        assert offer.uses <= {"psf", "mask", "reference", "references"}, name


def test_every_offered_restorer_takes_its_fields(catalogue: forms.Catalogue, registry: Registry) -> None:
    for name, offer in catalogue.offers.items():
        target = registry.find("restorer", forms.NETWORK if name == OWN_MODEL else name).load()
        _, problems = config.check(target, {field.name: field.default for field in offer.fields}, registry=registry)
        assert problems == [], name
        assert all(field.help for field in offer.fields if not name.startswith("test/")), name


def test_model_files_come_beside_the_methods(registry: Registry) -> None:
    given = {Path("/a/mine.safetensors"): frozenset({"reference"}), Path("/b/mine.safetensors"): frozenset[str]()}
    found = forms.catalogue(registry, given, accept_models=False)
    assert OWN_MODEL not in found.offers
    one, two = found.offers["mine"], found.offers["mine (2)"]
    assert (one.model, one.uses) == (Path("/a/mine.safetensors"), {"reference"})
    assert (two.model, two.uses) == (Path("/b/mine.safetensors"), set())
    assert {field.name for field in one.fields} == {"tile", "style"}


@pytest.mark.parametrize(
    ("spec", "refused"),
    [
        ({"part": "deblurgan/compact", "width": 8}, False),
        ({"part": "deblurgan/compact", "psf": "core/l0"}, False),
        ({"part": "deblurgan/compact", "psf": {"part": "test/file-estimator", "file": "secret.npy"}}, True),
        ({"part": "deblurgan/compact", "psf": {"part": "test/file-estimator"}}, False),
        ({"part": "deblurgan/fpn", "weights": "/home/me/secret.pth"}, True),
        ({"part": "deblurgan/fpn", "backbone": "hf-hub:somebody/something"}, True),
        ({"part": "deblurgan/fpn", "weights": "pyproject.toml"}, True),
        ({"part": "deblurgan/fpn", "weights": "random"}, False),
    ],
)
def test_uploaded_models_name_no_files(registry: Registry, spec: dict[str, Any], refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    if not refused:
        forms.refuse_paths("generator", spec, registry, "generator")
        return
    with pytest.raises(UserError, match="names a file of this machine"):
        forms.refuse_paths("generator", spec, registry, "generator")


def test_every_recipe_passes_as_an_uploaded_model_would(registry: Registry) -> None:
    for recipe in registry.of_kind("recipe"):
        content = recipes.recipe(recipe.name, registry=registry).check(registry).content
        forms.refuse_paths("generator", content.get("generator"), registry, "generator")
