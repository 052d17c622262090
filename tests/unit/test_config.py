"""Options against a constructor's signature: what is accepted, and how mistakes are worded."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le, MinLen
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import restorekit as rk
from restorekit import config
from restorekit.errors import ConfigError, UserError
from restorekit.hooks import Part
from restorekit.interfaces import Degradation, Loss
from restorekit.registries import PluginInfo, RegisteredPart, Registry
from restorekit.settings import DataSettings, TrainSettings

if TYPE_CHECKING:
    from decimal import Decimal


class Everything:
    def __init__(
        self,
        *,
        width: Annotated[int, Gt(0)],
        rate: Annotated[float, Ge(0), Le(1)] = 0.5,
        flag: bool = False,
        mode: Literal["fast", "slow"] = "fast",
        text: str = "",
        file: Path | None = None,
        span: tuple[float, float] = (1.0, 2.0),
        blocks: tuple[int, ...] = (1, 2),
        sigma: float | tuple[float, float] = 0.1,
        names: Annotated[tuple[str, ...], MinLen(1)] = ("a",),
        table: dict[str, float] | None = None,
    ) -> None:
        self.values = dict(vars_of(locals()))


def vars_of(values: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if k not in ("self", "__class__")}


class Inner(Loss):
    def __init__(self, *, power: Annotated[float, Gt(0)] = 1.0) -> None:
        super().__init__()
        self.power = power

    def forward(self, restored: Any, target: Any, degraded: Any) -> Any:
        return (restored - target).abs().pow(self.power).mean()


class Outer(Loss):
    def __init__(self, *, inner: Loss, spare: Loss | None = None, others: tuple[Loss, ...] = (), low: int = 0, high: int = 1) -> None:
        super().__init__()
        if low > high:
            raise ValueError(f"low is {low}, above high, {high}")
        self.inner, self.spare, self.others = inner, spare, nn.ModuleList(others)

    def forward(self, restored: Any, target: Any, degraded: Any) -> Any:
        return self.inner(restored, target, degraded)


class Choosy:
    def __init__(self, *, steps: tuple[Degradation, ...] | None = None) -> None:
        self.steps = steps


class CatchAll(Loss):
    def __init__(self, **options: Any) -> None:
        super().__init__()

    def forward(self, restored: Any, target: Any, degraded: Any) -> Any:
        return restored.mean()


def _registered(name: str, cls: type) -> RegisteredPart:
    class Local(RegisteredPart):
        def load(self) -> Any:
            return cls

    return Local(Part("loss", name, f"{__name__}:{cls.__name__}"), "test", "test-dist", "1.0", 1)


REGISTRY = Registry(
    [_registered("inner", Inner), _registered("outer", Outer), _registered("catch-all", CatchAll)],
    [PluginInfo("test", "test-dist", "1.0", 1, 3)],
)


def check(options: dict[str, Any], target: Any = Everything, **more: Any) -> tuple[dict[str, Any], list[str]]:
    return config.check(target, options, registry=REGISTRY, owner="test/part", **more)


def problems(**options: Any) -> list[str]:
    return check({"width": 8, **options})[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widht": 3}, "widht: not an option of test/part. Did you mean width? Options: width, rate, flag"),
        ({"width": 0}, "width: got 0; expected int > 0"),
        ({"width": 8.5}, "width: got 8.5; expected int > 0"),
        ({"width": "8"}, "width: got '8'; expected int > 0"),
        ({"width": True}, "width: got True; expected int > 0"),
        ({"width": None}, "width: got None; expected int > 0"),
        ({"rate": 1.5}, "rate: got 1.5; expected float >= 0 and <= 1"),
        ({"rate": "1e-4"}, "rate: got '1e-4'; expected float"),
        ({"rate": True}, "rate: got True; expected float"),
        ({"rate": math.nan}, "rate: got nan; expected float"),
        ({"flag": "no"}, "flag: got 'no'; expected true | false"),
        ({"flag": 1}, "flag: got 1; expected true | false"),
        ({"mode": "fats"}, "mode: got 'fats'; expected fast | slow"),
        ({"text": 3}, "text: got 3; expected text"),
        ({"span": [1.0]}, "span: got [1.0]; expected [float, float]"),
        ({"span": [1.0, 2.0, 3.0]}, "span: got [1.0, 2.0, 3.0]; expected [float, float]"),
        ({"blocks": 3}, "blocks: got 3; expected list of int"),
        ({"blocks": [1, "2"]}, "blocks: got [1, '2']; expected list of int"),
        ({"sigma": [0.1]}, "sigma: got [0.1]; expected float or [float, float]"),
        ({"names": []}, "names: got []; expected list of text of at least 1"),
        ({"table": {"a": "b"}}, "table: got {'a': 'b'}; expected mapping of text to float or null"),
        ({"text": b"bytes"}, "text: got b'bytes'; expected text"),
        ({"text": object}, "expected text"),
    ],
)
def test_a_wrong_value_says_what_was_given_and_what_is_expected(options: dict[str, Any], message: str) -> None:
    (problem,) = problems(**options)
    assert message in problem


def test_a_missing_option_says_what_it_needs() -> None:
    assert check({})[1] == ["width: missing; test/part needs it: int > 0"]


def test_every_mistake_is_found_at_once_with_its_place() -> None:
    found = check({"width": -1, "rate": 2, "spam": 1}, where="generator")[1]
    assert [problem.partition(":")[0] for problem in found] == ["generator.spam", "generator.width", "generator.rate"]


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 1},
        {"span": [1, 2]},
        {"span": (1, 2)},
        {"blocks": []},
        {"blocks": (1, 2, 3)},
        {"sigma": 0.2},
        {"sigma": [0.1, 0.2]},
        {"file": "a.yaml"},
        {"file": Path("a.yaml")},
        {"file": None},
        {"table": {"a": 1.5}},
        {"text": "no"},
    ],
)
def test_a_legal_value_is_accepted(options: dict[str, Any]) -> None:
    assert problems(**options) == []


def test_defaults_are_filled_in_and_the_result_is_json() -> None:
    checked, _ = check({"width": 8, "file": Path("x")})
    assert checked == json.loads(json.dumps(checked))
    assert checked["span"] == [1.0, 2.0]
    assert checked["file"] == "x"
    assert check(checked)[0] == checked


def test_the_constructor_gets_the_types_that_it_declares() -> None:
    checked, _ = check({"width": 8, "file": "x", "blocks": [3], "rate": 1, "sigma": [1, 2]})
    made = config.construct(Everything, checked, registry=REGISTRY, where="")
    assert made.values == {
        **{"width": 8, "rate": 1.0, "flag": False, "mode": "fast", "text": "", "span": (1.0, 2.0)},
        **{"file": Path("x"), "blocks": (3,), "sigma": (1.0, 2.0), "names": ("a",), "table": None},
    }
    assert isinstance(made.values["rate"], float)


@settings(max_examples=50, deadline=None)
@given(
    width=st.integers(1, 10**6),
    rate=st.floats(0, 1),
    flag=st.booleans(),
    mode=st.sampled_from(["fast", "slow"]),
    text=st.text(),
    blocks=st.lists(st.integers(-5, 5)),
    sigma=st.one_of(st.floats(-9, 9), st.tuples(st.floats(-9, 9), st.floats(-9, 9))),
    table=st.none() | st.dictionaries(st.text(), st.floats(-9, 9)),
)
def test_legal_options_round_trip_through_json(**options: Any) -> None:
    checked, found = check(options)
    assert not found
    again, found = check(json.loads(json.dumps(checked)))
    assert not found
    assert again == checked
    made = config.construct(Everything, again, registry=REGISTRY, where="").values
    for name, value in options.items():
        assert made[name] == (tuple(value) if isinstance(value, list) else value)


@settings(max_examples=30, deadline=None)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_no_value_of_yaml_breaks_the_check(value: Any) -> None:
    for name in config.options_of(Everything):
        checked, found = check({"width": 1, name: value})
        assert (name in checked) != bool(found)
        assert all(problem.startswith(f"{name}: ") and len(problem) < 200 for problem in found)
    assert isinstance(check({"inner": value}, Outer)[1], list)


NESTED = [
    ({"inner": "test/innr"}, "generator.inner.part: no loss called 'test/innr'. Did you mean test/inner"),
    ({"inner": "tset/inner"}, "generator.inner.part: no loss 'tset/inner': no plugin 'tset' is installed. Did you mean test?"),
    ({"inner": {"part": "test/inner", "powre": 2}}, "generator.inner.powre: not an option of test/inner. Did you mean power?"),
    ({"inner": {"part": "test/inner", "power": 0}}, "generator.inner.power: got 0; expected float > 0"),
    ({"inner": {"power": 2}}, "generator.inner: got {'power': 2}; expected a part: {part: NAME, option: value}. See: restorekit list loss"),
    ({"inner": 3}, "generator.inner: got 3; expected a part"),
    ({"inner": None}, "generator.inner: got None; expected a part"),
    ({}, "generator.inner: missing; test/part needs it: loss part"),
    ({"inner": "test/inner", "others": "test/inner"}, "generator.others: got 'test/inner'; expected a list of loss parts"),
    (
        {"inner": "test/inner", "others": ["test/inner", {"part": "test/inner", "power": -1}]},
        "generator.others.1.power: got -1; expected float > 0",
    ),
    ({"inner": {"part": "test/outer", "inner": {"part": "test/inner", "power": "2"}}}, "generator.inner.inner.power: got '2'"),
    (
        {"inner": "test/catch-all"},
        "generator.inner: test/catch-all is at fault, not you: CatchAll: *options would swallow misspelt options",
    ),
    ({"inner": nn.Identity()}, "generator.inner: got Identity(); expected a part"),
    ({"inner": Path("x")}, "expected a part"),
]


@pytest.mark.parametrize(("options", "message"), NESTED)
def test_a_mistake_in_a_nested_part_has_its_dotted_place(options: dict[str, Any], message: str) -> None:
    (problem,) = check(options, Outer, where="generator")[1]
    assert message in problem


def test_nested_parts_are_stored_in_full_and_built() -> None:
    checked, found = check({"inner": "inner", "others": [{"part": "inner", "power": 3}]}, Outer)
    assert not found
    assert checked["inner"] == {"part": "test/inner", "power": 1.0}
    assert checked["spare"] is None
    made = REGISTRY.create("loss", "test/outer", **checked)
    assert (made.inner.power, made.others[0].power, made.spare) == (1.0, 3.0, None)


def test_an_instance_of_the_right_kind_is_taken_as_it_is() -> None:
    inner = Inner(power=2.0)
    assert REGISTRY.create("loss", "test/outer", inner=inner, others=(inner,)).inner is inner


def test_an_optional_list_of_parts_may_be_null() -> None:
    assert config.options_of(Choosy)["steps"].slot == config.Slot("degradation", many=True, optional=True)
    checked, found = check({"steps": None}, Choosy)
    assert not found
    assert config.construct(Choosy, checked, registry=REGISTRY, where="").steps is None


def test_a_refused_combination_has_its_place() -> None:
    with pytest.raises(ConfigError, match=r"^test/outer: low is 5, above high, 1$"):
        REGISTRY.create("loss", "test/outer", inner="inner", low=5)
    with pytest.raises(ConfigError, match=r"^test/outer\.inner: low is 5, above high, 1$"):
        REGISTRY.create("loss", "test/outer", inner={"part": "test/outer", "inner": "inner", "low": 5})


def test_create_reports_every_mistake() -> None:
    with pytest.raises(ConfigError) as caught:
        REGISTRY.create("loss", "test/outer", inner={"part": "inner", "power": -1}, low="x", hihg=2)
    assert len(caught.value.problems) == 3
    assert str(caught.value) == "\n".join(caught.value.problems)


def positional(width: int = 1) -> None: ...
def star(*widths: int) -> None: ...
def bare(*, width=1) -> None: ...
def absent(*, width: Decimal | None = None) -> None: ...


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (positional, "option width must be keyword-only"),
        (star, r"\*widths would swallow"),
        (bare, "option width needs a type annotation"),
        (absent, "an annotation cannot be read: name 'Decimal' is not defined"),
    ],
)
def test_a_signature_that_is_no_schema_is_the_plugins_fault(target: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        config.options_of(target)


def test_a_class_without_a_constructor_has_no_options() -> None:
    class Plain:
        pass

    class Network(nn.Module):
        pass

    assert config.options_of(Plain) == config.options_of(Network) == {}


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Annotated[int, Interval(gt=0, le=9)], "int > 0 and <= 9"),
        (Annotated[float, Ge(0)] | None, "float >= 0 or null"),
        (tuple[Annotated[int, Ge(1)], ...], "list of int >= 1"),
        (list[str], "list of text"),
        (Literal["a", 2], "a | 2"),
        (dict[str, int], "mapping of text to int"),
    ],
)
def test_types_are_described_in_words(annotation: Any, words: str) -> None:
    assert config.describe(annotation) == words


@pytest.mark.parametrize("settings", [DataSettings, TrainSettings])
def test_the_defaults_of_the_settings_are_legal(settings: type) -> None:
    checked, found = config.check(settings, {}, registry=REGISTRY)
    assert not found
    assert config.construct(settings, checked, registry=REGISTRY, where="") == settings()


def test_every_installed_part_has_a_schema_or_says_why() -> None:
    for part in rk.registry().parts:
        if part.kind not in ("recipe", "suite"):
            try:
                target = part.load()
            except UserError:
                continue  # the conformance check target-imports reports it
            for option in config.options_of(target).values():
                assert option.type
                assert "typing" not in option.type
