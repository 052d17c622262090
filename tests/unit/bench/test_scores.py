from __future__ import annotations

import inspect
import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from restorekit.bench.names import BASELINE
from restorekit.bench.scores import LEVEL, Record, Scores

Values = dict[str, dict[tuple[str, str], float | None]]


def rows(values: Values) -> list[dict[str, Any]]:
    return [
        {
            "method": method,
            "image": image,
            "degradation": degradation,
            "draw": 0,
            "metric": "m",
            "status": "failed" if value is None else "ok",
            "value": value if value is None or math.isfinite(value) else str(value),
        }
        for method, found in values.items()
        for (image, degradation), value in found.items()
    ]


def scores(values: Values, degradations: str = "d", **options: Any) -> Scores:
    return Scores(rows(values), "m", list(degradations), seed=1, **options)


def test_intervals_agree_with_scipys_bootstrap() -> None:
    values = np.random.default_rng(0).normal(30, 2, 24)
    found = scores({"a": {(str(i), "d"): float(v) for i, v in enumerate(values)}}).mean("a")
    assert found is not None
    assert found.value == pytest.approx(values.mean())
    name = "rng" if "rng" in inspect.signature(scipy.stats.bootstrap).parameters else "random_state"  # renamed in scipy 1.15
    seed = {name: np.random.default_rng(2)}
    expected = scipy.stats.bootstrap((values,), np.mean, method="percentile", **seed).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.1)
    assert expected.high - expected.low > 1


def test_intervals_draw_whole_images() -> None:
    # Four degradations of one image say no more than one: the interval must not shrink.
    values = np.random.default_rng(0).normal(30, 2, 12)
    one = scores({"a": {(str(i), "d"): float(v) for i, v in enumerate(values)}}).mean("a")
    four = scores({"a": {(str(i), d): float(v) for i, v in enumerate(values) for d in "defg"}}, "defg").mean("a")
    assert one is not None
    assert four is not None
    assert (four.low, four.high) == pytest.approx((one.low, one.high))
    single = scores({"a": {("1", d): 3.0 for d in "de"}}, "de").mean("a")
    assert single is not None
    assert single.low is None


def test_a_method_that_fails_somewhere_is_not_compared_there() -> None:
    base: dict[tuple[str, str], float | None] = {("1", "d"): 1.0, ("2", "d"): 2.0, ("3", "d"): 30.0, ("1", "e"): 5.0, ("2", "e"): None}
    values: Values = {BASELINE: base, "b": {**base, ("3", "d"): None}, "c": {**base, ("1", "d"): 7.0, ("1", "e"): None}}
    on_d, on_e, both = (scores(values, names) for names in ("d", "e", "de"))
    assert {cell[0] for cell in on_d.scored} == {"1", "2", "3"}
    assert {cell[0] for cell in on_e.scored} == {"1"}  # nobody has the other image
    found = both.mean(BASELINE)
    assert found is not None
    assert found.value == pytest.approx(38 / 4)
    assert on_d.mean("b") is None
    assert both.mean("c") is None
    gain = on_d.gain("b")
    assert gain is not None
    assert (gain.value, gain.cells) == (0.0, 2)
    gain = on_d.gain("c")
    assert gain is not None
    assert (gain.value, gain.cells) == (2.0, 3)
    assert on_e.gain("c") is on_d.gain(BASELINE) is None


def test_infinite_scores_leave_their_image_out_for_everybody() -> None:
    values: Values = {
        BASELINE: {("1", "d"): math.inf, ("2", "d"): math.inf, ("3", "d"): math.inf},
        "keeps-one": {("1", "d"): math.inf, ("2", "d"): 50.0, ("3", "d"): 40.0},
        "keeps-none": {("1", "d"): 10.0, ("2", "d"): 30.0, ("3", "d"): 20.0},
    }
    found = scores(values)
    means = {method: found.mean(method) for method in values}
    assert {cell[0] for cell in found.cells} == {"2", "3"}  # a method that is perfect throughout decides nothing
    assert means[BASELINE] is not None
    assert (means[BASELINE].value, means[BASELINE].infinite) == (math.inf, 3)
    assert means["keeps-one"] is not None
    assert (means["keeps-one"].value, means["keeps-one"].infinite, means["keeps-one"].cells) == (45.0, 1, 2)
    assert means["keeps-none"] is not None
    assert means["keeps-none"].value == 25.0  # not 20, which would be over another image too
    assert found.gain("keeps-one") is None
    assert found.records().keys() == {"keeps-one", "keeps-none"}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from([1.0, 2.0, 3.5, math.inf, None]), min_size=4, max_size=4),
        min_size=1,
        max_size=4,
    )
)
def test_every_mean_is_over_the_same_images(table: list[list[float | None]]) -> None:
    values: Values = {str(m): {(str(i), "d"): v for i, v in enumerate(line)} for m, line in enumerate(table)}
    found = scores(values)
    counts = {mean.cells for method in values if (mean := found.mean(method)) is not None and math.isfinite(mean.value)}
    assert counts <= {len(found.cells)}
    for method, line in values.items():
        mean = found.mean(method)
        if mean is not None and math.isfinite(mean.value):
            assert mean.value == pytest.approx(np.mean([line[cell[:2]] for cell in found.cells]))


def holm(differences: dict[tuple[str, str], Any]) -> dict[tuple[str, str], int]:
    """Wilcoxon's test pair by pair, rejected by Holm's rule as it is written in textbooks."""
    tests = {
        pair: scipy.stats.wilcoxon(d, method="asymptotic", correction=True).pvalue if d.any() else 1.0 for pair, d in differences.items()
    }
    found = dict.fromkeys(tests, 0)
    for k, pair in enumerate(sorted(tests, key=lambda pair: tests[pair])):
        if tests[pair] > LEVEL / (len(tests) - k):
            break
        found[pair] = 1 if np.median(differences[pair]) > 0 else -1
    return found


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize("images", [4, 12, 68])
def test_wins_are_those_of_scipys_test_with_holms_correction(images: int, higher: bool) -> None:
    rng = np.random.default_rng(images)
    base = rng.normal(25, 3, images)
    methods = {"same": base, "equal": base + rng.normal(0, 0.2, images), "better": base + rng.normal(1, 0.3, images), "worse": base - 2}
    found = scores(
        {name: {(str(i), "d"): float(v) for i, v in enumerate(line)} for name, line in {BASELINE: base, **methods}.items()},
        higher_is_better=higher,
    ).records()
    every = {BASELINE: base, **methods}
    # Images are sorted by their names; the test does not depend on their order.
    expected = holm({(a, b): every[a] - every[b] for a, b in itertools.combinations(every, 2)})
    for name in every:
        outcomes = [(v if a == name else -v) * (1 if higher else -1) for (a, b), v in expected.items() if name in (a, b)]
        assert found[name] == Record(*(outcomes.count(v) for v in (1, 0, -1))), name
    if images == 4:
        assert all(record.ties == 4 for record in found.values())  # four images cannot show anything
    if images == 68:
        assert found["same"].ties >= 1
        assert (found["better"] if higher else found["worse"]).wins == 4
