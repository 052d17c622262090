"""Whose file is whose, and until when."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from restorekit import UserError
from restorekit.ui import store as stores
from restorekit.ui.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, keep=3600)


def test_results_are_for_who_asked_for_them(store: Store) -> None:
    anna, bert = store.welcome(), store.welcome()
    token, folder = store.place(anna)
    (folder / "result.png").write_bytes(b"anna's")
    found = store.result(anna, token, "result.png")
    assert found is not None
    assert found.read_bytes() == b"anna's"
    assert store.result(bert, token, "result.png") is None
    assert store.result("nobody", token, "result.png") is None
    assert store.result(anna, "another", "result.png") is None


@pytest.mark.parametrize("name", ["", ".", "..", "../secret", "/etc/passwd", "missing.png", ".hidden", "a/b", "result.png\0"])
def test_nothing_else_is_served(store: Store, name: str) -> None:
    anna = store.welcome()
    token, folder = store.place(anna)
    (folder.parent / "secret").write_bytes(b"")
    (folder / ".hidden").write_bytes(b"")
    assert store.result(anna, token, name) is None


def test_uploads_are_for_who_brought_them(store: Store, tmp_path: Path) -> None:
    anna, bert = store.welcome(), store.welcome()
    file = tmp_path / "photo.png"
    file.write_bytes(b"x")
    store.brought(anna, str(file))
    assert store.upload(anna, str(file)) == file
    with pytest.raises(UserError, match="no longer there"):
        store.upload(bert, str(file))
    with pytest.raises(UserError, match="no longer there"):
        store.upload(anna, "/etc/passwd")


def test_old_files_are_deleted_and_new_ones_stay(store: Store, tmp_path: Path) -> None:
    anna = store.welcome()
    token, folder = store.place(anna)
    old, new = folder / "old.png", folder / "new.png"
    upload = tmp_path / "hash" / "photo.png"
    upload.parent.mkdir()
    for file in (old, new, upload):
        file.write_bytes(b"x")
    store.brought(anna, str(upload))
    for path in (old, upload, upload.parent):
        os.utime(path, (time.time() - 3700,) * 2)
    assert store.sweep() == 2
    assert [old.exists(), new.exists(), upload.exists()] == [False, True, False]
    assert store.result(anna, token, "new.png") == new
    assert not store.may_see(anna, str(upload))
    assert store.sweep(time.time() + 7200) == 1
    assert store.result(anna, token, "new.png") is None


def test_visitors_are_forgotten_only_by_number(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "VISITORS", 3)
    seen = [store.welcome() for _ in range(5)]
    assert [store.known(one) for one in seen] == [False, False, True, True, True]
    with pytest.raises(UserError, match="load the page again"):
        store.place(seen[0])


def test_stop_is_for_one_visitor(store: Store) -> None:
    anna, bert = store.welcome(), store.welcome()
    store.stop(anna).set()
    assert not store.stop(bert).is_set()
    store.stop_all()
    assert store.stop(bert).is_set()
