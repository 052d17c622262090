"""Recipes: read, changed, checked as a whole, and hashed."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import restorekit as rk
from restorekit import recipes
from restorekit.builtin.network import Box
from restorekit.errors import ConfigError, UserError
from restorekit.hooks import Part
from restorekit.registries import PluginInfo, RegisteredPart, Registry

CORE = rk.registry()


def _part(kind: str, name: str, target: str) -> RegisteredPart:
    return RegisteredPart(Part(kind, name, target), "small", "small-dist", "1.0", 1)


REGISTRY = Registry(
    [p for p in CORE.parts if p.namespace == "core"]
    + [
        _part("generator", "box", "restorekit.builtin.network:Box"),
        _part("critic", "tiny", "restorekit.conformance.probes:TinyCritic"),
    ],
    [*(p for p in CORE.plugins if p.namespace == "core"), PluginInfo("small", "small-dist", "1.0", 1, 2)],
)

GOOD: dict[str, Any] = {
    "recipe": 1,
    "task": "deblur",
    "degradation": [{"part": "core/gaussian-blur", "sigma": [0.5, 1.5]}, {"part": "gaussian-noise", "sigma": 0.02}],
    "generator": "small/box",
    "critic": {"part": "small/tiny"},
    "adversarial": {"part": "core/wgan-gp", "weight": 0.01},
    "losses": ["core/l1", {"part": "core/charbonnier", "weight": 2}],
    "data": {"crop": 64, "zoom": [0.5, 1.0]},
    "train": {"learning_rate": 1e-4},
}


def good(**changes: Any) -> rk.Recipe:
    content = {**copy.deepcopy(GOOD), **changes}
    return rk.recipe({key: value for key, value in content.items() if value is not ...})


def problems(**changes: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        good(**changes).check(REGISTRY)
    return list(caught.value.problems)


def write(folder: Path, text: str, name: str = "recipe.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_checked_recipe_is_whole_and_plain() -> None:
    content = good().check(REGISTRY).content
    assert content["degradation"]["part"] == "core/sequence"
    assert content["degradation"]["steps"][1]["part"] == "core/gaussian-noise"
    assert content["generator"]["part"] == "small/box"
    assert (content["losses"][0]["part"], content["losses"][0]["weight"]) == ("core/l1", 1.0)
    assert content["losses"][1]["weight"] == 2
    assert content["adversarial"]["weight"] == 0.01
    assert content["data"]["batch"] == 8
    assert content["train"]["betas"] == [0.9, 0.99]
    assert content == json.loads(json.dumps(content))


def test_checking_twice_changes_nothing() -> None:
    once = good().check(REGISTRY)
    assert once.check(REGISTRY) == once
    assert once.check(REGISTRY).hash == once.hash


def test_check_leaves_the_recipe_as_it_was() -> None:
    recipe = good()
    recipe.check(REGISTRY)
    assert recipe.content == good().content


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"genrator": "small/box"}, "genrator: not a key of a recipe. Did you mean generator? Keys: recipe, task, degradation"),
        ({"recipe": 2}, "recipe: got 2; this restorekit reads version 1: write recipe: 1 as the first line"),
        ({"recipe": True}, "recipe: got True; this restorekit reads version 1"),
        ({"recipe": ...}, "recipe: got None; this restorekit reads version 1"),
        ({"task": 3}, "task: got 3; expected text"),
        ({"generator": ...}, "generator: missing; a recipe needs a network: {part: NAME}. See: restorekit list generator"),
        ({"generator": None}, "generator: missing"),
        ({"generator": "small/bxo"}, "generator.part: no generator called 'small/bxo'. Did you mean small/box?"),
        ({"generator": {"part": "small/box", "width": 3}}, "generator.width: not an option of small/box. Options: none"),
        ({"generator": ["small/box"]}, "generator: got ['small/box']; expected a part: {part: NAME, option: value}"),
        ({"critic": ...}, "critic: missing; adversarial is given, and adversarial training needs both. See: restorekit list critic"),
        ({"adversarial": ...}, "adversarial: missing; critic is given"),
        ({"losses": {"part": "core/l1"}}, "losses: got {'part': 'core/l1'}; expected a list"),
        (
            {"losses": ["core/l1", {"part": "core/charbonier"}]},
            "losses.1.part: no loss called 'core/charbonier'. Did you mean core/charbonnier?",
        ),
        ({"losses": [{"part": "core/l1", "weight": -1}]}, "losses.0.weight: got -1; expected float >= 0"),
        ({"losses": [{"part": "core/l1", "weight": "1"}]}, "losses.0.weight: got '1'; expected float >= 0"),
        ({"losses": [{"part": "core/l1", "weight": float("inf")}]}, "losses.0.weight: got inf; expected float >= 0"),
        ({"losses": [], "critic": ..., "adversarial": ...}, "losses: missing; give at least one loss, or a critic"),
        ({"degradation": [{"part": "core/gaussian-noise", "sigma": -1}]}, "degradation.steps.0.sigma: got -1; expected float >= 0"),
        ({"data": {"corp": 3}}, "data.corp: not an option of data. Did you mean crop? Options: train, degraded"),
        ({"data": {"crop": 4}}, "data.crop: got 4; expected int >= 8"),
        ({"data": {"zoom": [1.0, 0.5]}}, "data: zoom: got [1.0, 0.5]; expected [low, high]"),
        ({"data": 3}, "data: got 3; expected keys and values"),
        ({"data": []}, "data: got []; expected keys and values"),
        ({"train": {"schedule": "cosin"}}, "train.schedule: got 'cosin'; expected cosine | linear | constant"),
        ({"train": {"learning_rate": "1e-4"}}, "train.learning_rate: got '1e-4'; expected float > 0"),
        ({"generator": Box()}, "it holds Python objects; a recipe names its parts"),
    ],
)
def test_a_mistake_says_where_and_what_to_type(changes: dict[str, Any], message: str) -> None:
    (problem,) = problems(**changes)
    assert problem.startswith(f"recipe: {message}")


def test_three_mistakes_are_all_shown_at_once() -> None:
    found = problems(
        generator={"part": "small/box", "widht": 3}, losses=[{"part": "core/charbonnier", "weight": "x"}], train={"steps": 0, "seeed": 1}
    )
    places = [re.match(r"recipe: ([\w.]+):", problem)[1] for problem in found]  # type: ignore[index]
    assert places == ["generator.widht", "losses.0.weight", "train.seeed", "train.steps"]


def test_mistakes_name_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "recipe: 1\ngenerator: small/box\nlosses: [core/l1]\ntrain: {stpes: 3}\n")
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(path))}: train\.stpes: not an option of train\. Did you mean steps\?"):
        rk.recipe(path).check(REGISTRY)


def test_yaml_is_version_1_2(tmp_path: Path) -> None:
    text = "rate: 1e-4\nnegative: -2E+3\nno: no\nyes: yes\noff: off\nflag: true\nnothing:\noctal: 010\ntime: 12:30\n"
    found = recipes.load_yaml(write(tmp_path, text))
    assert found == {
        **{"rate": 1e-4, "negative": -2000.0, "no": "no", "yes": "yes", "off": "off", "flag": True, "nothing": None},
        **{"octal": 10, "time": "12:30"},
    }
    assert isinstance(found["rate"], float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r'line 3: found duplicate key "a"; each key once'),
        ("train:\n  steps: 1\n  steps: 2\n", r'line 3: found duplicate key "steps"'),
        ("a: [1, 2\nb: 3\n", r"line \d, column \d: not YAML"),
        ("a: 1\n b: 2\n", r"line 2, column \d: not YAML"),
        ("a: !!python/object:os.system x\n", r"line 1, column \d+: not YAML"),
        ("a: 1\n---\nb: 2\n", r"not YAML"),
        ("- 1\n- 2\n", "expected keys and values, got list"),
        ("", "expected keys and values, got NoneType"),
        ("a\tb: \x00", "not YAML"),
    ],
)
def test_a_file_that_is_no_recipe_says_where(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError, match=message) as caught:
        rk.recipe(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_suggests_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, "recipe: 1\n", "deblur.yaml")
    with pytest.raises(
        UserError, match=r"deblrr\.yaml: no such file\. Did you mean deblur\.yaml\? Registered recipes: restorekit list recipe"
    ):
        rk.recipe(tmp_path / "deblrr.yaml")
    with pytest.raises(UserError, match=r"no such file"):
        rk.recipe(tmp_path / "nowhere" / "x.yaml")


def test_a_folder_or_binary_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x80\x81")
    for name in ("folder.yaml", "binary.yaml"):
        with pytest.raises(UserError, match=f"{name}: cannot be read"):
            rk.recipe(tmp_path / name)


def test_a_name_that_is_not_registered_is_refused_with_help() -> None:
    with pytest.raises(UserError, match="no recipe called 'defualt'"):
        rk.recipe("defualt", registry=REGISTRY)


@pytest.mark.parametrize("part", [p.name for p in CORE.of_kind("recipe")])
def test_a_registered_recipe_is_found_by_its_name(part: str) -> None:
    try:
        CORE.find("recipe", part).load()
    except UserError as absent:
        pytest.skip(f"conformance reports it: {absent}")
    assert rk.recipe(part).origin == part


def test_set_replaces_adds_and_numbers() -> None:
    recipe = good()
    changed = recipe.set("losses.0.weight", 0.5).set("train.steps", 7).set("degradation.0.sigma", (1, 2)).set("task", "x")
    assert changed.content["losses"][0] == {"part": "core/l1", "weight": 0.5}
    assert changed.content["train"] == {"learning_rate": 1e-4, "steps": 7}
    assert changed.content["degradation"][0]["sigma"] == [1, 2]
    assert recipe.content == good().content
    assert rk.recipe({"data": None}).set("data.crop", 64).content == {"data": {"crop": 64}}
    assert rk.recipe({"generator": "small/box"}).set("generator.blocks", 6).content == {"generator": {"part": "small/box", "blocks": 6}}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("losses.2.weight", "losses has items 0 to 1, got '2'"),
        ("losses.-1.weight", "losses has items 0 to 1, got '-1'"),
        ("losses.²", "losses has items 0 to 1, got '²'"),
        ("losses.first", "losses has items 0 to 1, got 'first'"),
        ("data.crop.size", "data.crop is 64 and has no size"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(key: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"recipe: {key}: {message}")):
        good().set(key, 1)


def test_an_empty_list_has_no_items() -> None:
    with pytest.raises(ConfigError, match="losses is an empty list, got '0'"):
        good(losses=[]).set("losses.0.weight", 1)


def test_a_misspelt_override_is_found_by_check() -> None:
    with pytest.raises(ConfigError, match=r"train\.stpes: not an option of train\. Did you mean steps\?"):
        good().set("train.stpes", 3).check(REGISTRY)


def test_the_hash_ignores_comments_and_the_order_of_keys(tmp_path: Path) -> None:
    first = write(tmp_path, "recipe: 1\ngenerator: {part: small/box}\nlosses: [core/l1]\ntrain: {steps: 5, seed: 1}\n", "a.yaml")
    second = write(
        tmp_path,
        "# a remark\ntrain:\n  seed: 1   # luck\n  steps: 5\nlosses: [core/l1]\ngenerator:\n  part: small/box\nrecipe: 1\n",
        "b.yaml",
    )
    assert rk.recipe(first).hash == rk.recipe(second).hash
    assert rk.recipe(first) == rk.recipe(second)
    assert rk.recipe(first).hash != rk.recipe(second).set("train.steps", 6).hash


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.text("abcdefgh_", min_size=1, max_size=5)


def shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=50, deadline=None)
@given(content=st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
def test_the_canonical_form_round_trips_whatever_the_order(content: dict[str, Any]) -> None:
    recipe = rk.recipe(content)
    again = rk.recipe(json.loads(recipe.canonical))
    assert again.content == content
    assert again.canonical == recipe.canonical == rk.recipe(shuffled(content)).canonical
    assert again.hash == recipe.hash


@given(
    content=st.dictionaries(KEYS, VALUES, max_size=3),
    path=st.lists(KEYS | st.integers(0, 3).map(str), min_size=1, max_size=4),
    value=VALUES,
)
def test_set_puts_the_value_there_and_nowhere_else_or_refuses(content: dict[str, Any], path: list[str], value: Any) -> None:
    recipe, before = rk.recipe(content), copy.deepcopy(content)
    try:
        changed = recipe.set(".".join(path), value)
    except ConfigError:
        return
    finally:
        assert recipe.content == before == content
    at: Any = changed.content
    for step in path:
        at = at[int(step)] if isinstance(at, list) else at[step]
    assert at == value
    assert changed.set(".".join(path), value) == changed
    untouched = {key: item for key, item in before.items() if key != path[0]}
    assert {key: item for key, item in changed.content.items() if key != path[0]} == untouched


@settings(max_examples=50, deadline=None)
@given(content=st.dictionaries(st.sampled_from([*recipes.KEYS, "spam"]), VALUES))
def test_no_content_breaks_the_check(content: dict[str, Any]) -> None:
    found: tuple[str, ...] = ()
    try:
        rk.recipe(content).check(REGISTRY)
    except ConfigError as fault:
        found = fault.problems
    assert all(problem.startswith("recipe: ") for problem in found)
    assert found or "generator" in content


@settings(deadline=None)
@given(text=st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    message = "here: "
    try:
        recipes.parse_yaml(text, "here")
    except UserError as fault:
        message = str(fault)
    assert message.startswith("here: ")
    assert "\n" not in message
