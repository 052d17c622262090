"""Nothing that is there is replaced unless it is asked for: results, and what is written beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from restorekit.cli import batch
from restorekit.errors import TrainingError, UserError

Run = Callable[..., Any]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_degrade_replaces_and_skips_as_restore_does(run: Run, photo: Path, tmp_path: Path) -> None:
    Image.open(photo).save(photo.parent / "dog.png")
    out, params = tmp_path / "out", tmp_path / "params"
    command = ("degrade", photo.parent, out, "--with", "core/gaussian-blur", "--save-params", params)
    assert run(*command).code == 0
    first = contents(tmp_path)
    refused = run(*command)
    assert (refused.code, "--overwrite" in refused.err, "--skip-existing" in refused.err) == (2, True, True)
    (out / "dog.png").unlink()
    refused = run(*command, "--skip-existing")  # the parameters of dog.png may be those of another picture
    assert (refused.code, "--save-params" in refused.err) == (2, True)
    assert contents(tmp_path) == {name: data for name, data in first.items() if name != "out/dog.png"}
    (params / "dog.png" / "psf.npy").unlink()
    (params / "dog.png" / "psf.png").unlink()
    assert [row["output"] for row in run(*command, "--skip-existing", "--json").lines] == [str(out / "dog.png")]
    assert contents(tmp_path) == first
    assert run(*command, "--seed", "5", "--overwrite").code == 0
    assert contents(tmp_path).keys() == first.keys()
    assert contents(tmp_path)["params/cat.png/psf.npy"] != first["params/cat.png/psf.npy"]


def test_parameters_of_an_earlier_picture_are_not_replaced(run: Run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "notes.txt").write_text("mine")
    command = ("degrade", photo, "--with", "core/mask", "--save-params", tmp_path / "p")
    assert run(*command[:2], tmp_path / "a.png", *command[2:]).code == 0
    before = contents(tmp_path)
    refused = run(*command[:2], tmp_path / "b.png", *command[2:], "--seed", "1")
    assert (refused.code, str(tmp_path / "p") in refused.err, "--overwrite" in refused.err) == (2, True, True)
    assert contents(tmp_path) == before
    assert run(*command[:2], tmp_path / "b.png", *command[2:], "--seed", "1", "--overwrite").code == 0
    assert contents(tmp_path)["p/mask.png"] != before["p/mask.png"]


def test_comparisons_are_not_replaced(run: Run, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "cat-compared.png").write_bytes(b"mine")
    refused = run("restore", photo, "-o", out, "--with", "test/negative", "--compare")
    assert (refused.code, "cat-compared.png: there already" in refused.err) == (2, True)
    assert contents(out) == {"cat-compared.png": b"mine"}
    assert run("restore", photo, "-o", out, "--with", "test/negative", "--compare", "--overwrite").code == 0
    assert Image.open(out / "cat-compared.png").width > 200
    Image.open(photo).save(photo.with_suffix(".jpg"))
    refused = run("restore", photo.parent, "-o", tmp_path / "other", "--with", "test/negative", "--compare", "--overwrite")
    assert (refused.code, "another file of --compare" in refused.err) == (2, True)


def test_an_animation_is_no_result_and_no_input(run: Run, photo: Path, tmp_path: Path) -> None:
    for out, animation, words in (("a.png", tmp_path / "a.png", "a result"), ("b.png", photo, "an input")):
        refused = run("restore", photo, "-o", tmp_path / out, "--with", "test/negative", "--animation", animation, "--overwrite")
        assert (refused.code, f"--animation would write over {words}" in refused.err) == (2, True)
    (tmp_path / "way.gif").write_bytes(b"mine")
    refused = run("restore", photo, "-o", tmp_path / "a.png", "--with", "test/negative", "--animation", tmp_path / "way.gif")
    assert (refused.code, "way.gif: there already" in refused.err) == (2, True)


def test_pictures_of_earlier_steps_are_not_replaced_and_inputs_never(run: Run, photo: Path, tmp_path: Path) -> None:
    Image.open(photo).save(tmp_path / "out-040.png")
    command = ("--with", "test/negative", "--save-every", "10")
    refused = run("restore", photo, "-o", tmp_path / "out.png", *command)
    assert (refused.code, "out-040.png: there already" in refused.err) == (2, True)
    refused = run("restore", tmp_path / "out-040.png", "-o", tmp_path / "out.png", *command, "--overwrite")
    assert (refused.code, "--save-every would write over an input" in refused.err) == (2, True)


def test_tables_of_scores_are_not_replaced(run: Run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("mine")
    command = ("score", photo, photo, "--metric", "core/ssim", "--csv", tmp_path / "s.csv")
    assert (run(*command).code, (tmp_path / "s.csv").read_text()) == (2, "mine")
    assert (run(*command, "--overwrite").code, "ssim" in (tmp_path / "s.csv").read_text()) == (0, True)


def test_what_is_there_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for name in ("a", "nowhere"):
        with pytest.raises(UserError, match=f"-o .*{name}: there already"):
            batch.refuse_existing([tmp_path / "new", tmp_path / name], "-o", overwrite=False)
    batch.refuse_existing([tmp_path / "a"], "-o", overwrite=True)


def test_a_model_without_its_run_is_not_replaced(tmp_path: Path) -> None:
    from restorekit.engine import folders

    (tmp_path / "model.safetensors").write_bytes(b"mine")
    with pytest.raises(TrainingError, match="holds a model already"):
        folders.check(tmp_path, resume=False, init=False)
    assert folders.check(tmp_path / "new", resume=False, init=False) == tmp_path / "new"
