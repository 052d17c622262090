"""The registry: an immutable value whose errors say what to type instead."""

from __future__ import annotations

import dataclasses
import re
import warnings
from pathlib import Path

import pytest

import restorekit as rk
from restorekit.errors import ConfigError, RegistryError, UnknownName, UserError
from restorekit.hooks import KINDS, Part
from restorekit.registries import PluginInfo, PluginProblem, RegisteredPart, Registry


def part(
    kind: str = "loss", name: str = "l1", target: str = "restorekit.builtin.losses:L1", *, of: str = "mine", **fields
) -> RegisteredPart:
    return RegisteredPart(Part(kind, name, target, **fields), of, f"dist-{of}", "1.0", 1)


def registry(*parts: RegisteredPart, problems: tuple[PluginProblem, ...] = ()) -> Registry:
    plugins = [PluginInfo(of, f"dist-{of}", "1.0", 1, 1) for of in sorted({p.namespace for p in parts})]
    return Registry(parts, plugins, problems)


MINE = registry(
    part(),
    part(name="ssim"),
    part("metric", "ssim", "restorekit.builtin.metrics:Ssim"),
    part(of="yours"),
    part("restorer", "identity", "restorekit.builtin.restorers:Identity"),
    part("generator", "unet", "nowhere:Unet"),
)


def test_two_parts_of_one_name_are_an_error_that_names_both_distributions() -> None:
    with pytest.raises(RegistryError, match=r"loss mine/l1 is offered twice: by dist-mine and by other\. Uninstall one"):
        registry(part(), RegisteredPart(part().part, "mine", "other", "2.0", 1))


def test_one_name_may_serve_several_kinds() -> None:
    assert [p.kind for p in MINE.named("mine/ssim")] == ["loss", "metric"]
    assert [p.kind for p in MINE.named("ssim")] == ["loss", "metric"]
    assert [p.kind for p in MINE.named("metric:mine/ssim")] == ["metric"]


def test_parts_are_sorted_and_cannot_be_changed() -> None:
    assert [(p.kind, p.name) for p in MINE.parts] == sorted((p.kind, p.name) for p in MINE.parts)
    with pytest.raises(dataclasses.FrozenInstanceError):
        MINE.parts[0].namespace = "core"  # type: ignore[misc]
    with pytest.raises(TypeError):
        MINE.parts[0] = part()  # type: ignore[index]
    with pytest.raises(AttributeError):
        MINE.parts = ()  # type: ignore[misc]


def test_a_bare_name_will_do_where_it_is_unique() -> None:
    assert MINE.find("loss", "ssim").name == "mine/ssim"
    with pytest.raises(UnknownName, match=r"loss 'l1' could be mine/l1 or yours/l1: give the full name"):
        MINE.find("loss", "l1")
    with pytest.raises(UnknownName, match=r"'l1' could be mine/l1 or yours/l1: give the full name"):
        MINE.named("l1")


@pytest.mark.parametrize(
    ("look_up", "message"),
    [
        (lambda: MINE.find("loss", "mine/l2"), r"no loss called 'mine/l2'\. Did you mean .*mine/l1.* See them all: restorekit list loss"),
        (lambda: MINE.find("loss", "sism"), r"no loss called 'sism'\. Did you mean mine/ssim\?"),
        (lambda: MINE.find("losses", "l1"), r"no kind 'losses'\. Did you mean loss\? Kinds: generator"),
        (lambda: MINE.of_kind("metrics"), r"no kind 'metrics'\. Did you mean metric"),
        (
            lambda: MINE.find("loss", "mien/l1"),
            r"no plugin 'mien' is installed\. Did you mean mine\? Plugins are named after their namespace: pip install restorekit-mien",
        ),
        (lambda: MINE.named("qqqqqq"), r"no part called 'qqqqqq'\. See them all: restorekit list"),
        (lambda: MINE.named("metric:l1"), r"no metric called 'l1'.* restorekit list metric"),
        (lambda: MINE.create("loss", "mine/l1", wieght=1), r"wieght: not an option of mine/l1\. Options: none"),
        (lambda: MINE.default_for("restore"), r"no installed plugin brings a default method to restore.*pip install restorekit-deblurgan"),
    ],
)
def test_a_wrong_name_says_what_to_type_instead(look_up, message: str) -> None:
    with pytest.raises(UserError, match=message):
        look_up()


def test_a_part_of_a_plugin_that_did_not_load_says_why() -> None:
    problem = PluginProblem("ill", "dist-ill", "3.1", "import", "No module named 'x'.")
    with pytest.raises(
        UnknownName, match=r"ill/net: the plugin ill \(dist-ill 3\.1\) did not load, at stage import: No module named 'x'\."
    ):
        registry(part(), problems=(problem,)).find("generator", "ill/net")


def test_a_target_that_cannot_be_loaded_names_the_distribution() -> None:
    with pytest.raises(
        UserError, match=r"generator mine/unet of dist-mine 1\.0 cannot be loaded: target nowhere:Unet: ModuleNotFoundError"
    ):
        MINE.create("generator", "mine/unet")
    with pytest.raises(UserError, match=r"FileNotFoundError: absent\.yaml is not in the package"):
        part("recipe", "r", "restorekit:absent.yaml").load()


def test_a_renamed_part_still_works_for_one_release_and_warns() -> None:
    renamed = registry(part(name="abs", renamed_from="l1-old"))
    for name in ("l1-old", "mine/l1-old"):
        with pytest.warns(FutureWarning, match=f"{name} is now called mine/abs") as caught:
            assert renamed.find("loss", name).name == "mine/abs"
        assert caught[0].filename == __file__
        with pytest.warns(FutureWarning) as caught:
            assert renamed.named(name)[0].name == "mine/abs"
        assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert renamed.find("loss", "abs").name == "mine/abs"


def test_one_default_is_taken_and_several_must_be_chosen_from() -> None:
    one = part("restorer", "a", "m:A", default_for="restore")
    two = part("restorer", "b", "m:B", of="yours", default_for="restore")
    assert registry(one, part()).default_for("restore") is one
    with pytest.raises(UnknownName, match=r"choose one with --with mine/a or yours/b"):
        registry(one, two).default_for("restore")


def test_create_builds_with_checked_options() -> None:
    loss = rk.registry().create("loss", "core/charbonnier")
    assert type(loss).__name__ == "Charbonnier"
    with pytest.raises(ConfigError):
        rk.registry().create("loss", "core/charbonnier", epsilon="x", nothing=1)


def test_every_installed_part_knows_where_it_comes_from() -> None:
    parts = rk.registry().parts
    assert {p.kind for p in parts} <= set(KINDS)
    assert len({(p.kind, p.name) for p in parts}) == len(parts)
    for found in parts:
        assert re.fullmatch(r"[a-z0-9-]+/[a-z0-9._-]+", found.name)
        assert found.name.partition("/")[0] == found.namespace
        assert found.distribution.startswith("restorekit")
        assert found.version
        assert found.interface == 1


def test_source_is_the_file_that_the_part_is_written_in() -> None:
    source = rk.registry().find("loss", "core/l1").source()
    assert isinstance(source, Path)
    assert source.name == "losses.py"
    suite = rk.registry().find("suite", "core/photos").source()
    assert suite is not None
    assert suite.suffix == ".yaml"


def test_the_discovered_registry_is_made_once() -> None:
    assert rk.registry() is rk.registry()
