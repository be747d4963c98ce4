"""The models of a home: kept whole, one of them the champion, every change recorded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from e2emern.warehouse.doctor import examine
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.home_format import make_home
from e2emern.warehouse.layout import Home
from e2emern.warehouse.registry.models import (
    add_model,
    champion,
    changes,
    check_kept,
    get_model,
    models,
    promote,
    roll_back_model,
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def folder(tmp_path: Path, name: str) -> Path:
    made = tmp_path / name
    made.mkdir()
    (made / "config.json").write_text('{"span_threshold": 0.5}')
    (made / "model.safetensors").write_bytes(name.encode())
    (made / "corpus.parquet").write_bytes(b"not a part of a model")
    (made / "checkpoint").mkdir()
    return made


def test_a_model_is_copied_with_all_its_files(home: Home, tmp_path: Path) -> None:
    kept = add_model(home, folder(tmp_path, "one"), version="aaa")
    assert kept.files == {"config.json": 23, "model.safetensors": 3}
    assert kept.read("config.json") == {"span_threshold": 0.5}
    assert kept.read("metrics.json") is None
    assert models(home) == [kept]
    assert get_model(home, "aaa") == kept
    assert champion(home) is None


def test_a_model_is_added_once_and_leftovers_of_a_kill_are_deleted(home: Home, tmp_path: Path) -> None:
    make_home(home)
    remains = home.model("aaa").with_name(".adding-aaa")
    remains.mkdir(parents=True)
    (remains / "config.json").write_text("half")
    first = add_model(home, folder(tmp_path, "one"), version="aaa")
    assert add_model(home, tmp_path / "one", version="aaa") == first
    with pytest.raises(WarehouseError, match=r"has model aaa with a different model\.safetensors; nothing was added: "):
        add_model(home, folder(tmp_path, "two"), version="aaa")
    assert [path.name for path in first.folder.parent.iterdir() if path.is_dir()] == ["aaa"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "bank.safetensors"])
def test_a_kept_model_with_another_file_is_refused(home: Home, tmp_path: Path, name: str) -> None:
    """A flipped bit in the champion made an unpromoted model the published one."""
    made = folder(tmp_path, "one")
    for each in ("tokenizer.json", "bank.safetensors"):
        (made / each).write_bytes(b"content")
    kept = add_model(home, made, version="aaa")
    check_kept(kept.folder, version="aaa")
    check_kept(made, version="of a folder elsewhere")
    with pytest.raises(WarehouseError, match="holds model bbb; move it away and add that model"):
        check_kept(kept.folder, version="bbb")
    path = kept.folder / name
    content = bytearray(path.read_bytes())
    content[1] ^= 1
    path.write_bytes(content)
    what = f"{path} is not the file that was added"
    with pytest.raises(WarehouseError, match=re.escape(what)):
        check_kept(kept.folder, version="aaa")
    with pytest.raises(WarehouseError, match=re.escape(what)):
        add_model(home, made, version="aaa")
    found = [(one.code, one.path, one.what, one.repaired) for one in examine(home, repair=True)]
    assert found == [("damaged-model", f"models/aaa/{name}", "is not the file that was added", None)]
    record = kept.folder / "added.json"
    record.write_bytes(record.read_bytes().replace(b'"added": "2', b'"added": "3'))
    assert [(one.code, one.what) for one in examine(home)] == [("damaged-model", "is not a valid record")]
    record.unlink()
    assert [(one.code, one.what) for one in examine(home)] == [("damaged-model", "has no added.json")]


def test_a_damaged_history_does_not_change_the_champion(home: Home, tmp_path: Path) -> None:
    add_model(home, folder(tmp_path, "one"), version="aaa")
    promote(home, "aaa", over=None)
    path = home.root / "models" / "champion.json"
    path.write_bytes(path.read_bytes().replace(b"aaa", b"aab"))
    with pytest.raises(WarehouseError, match=r"is not a valid champion history; restore it"):
        champion(home)
    assert [(one.code, one.repaired) for one in examine(home, repair=True)] == [("damaged-champion", None)]


def test_promotions_and_rollbacks_are_a_stack_with_a_history(home: Home, tmp_path: Path) -> None:
    for name in ("aaa", "bbb"):
        add_model(home, folder(tmp_path, name), version=name)
    promote(home, "aaa", over=None, evaluation="e1")
    promote(home, "bbb", over="aaa", why="it reads better")
    assert champion(home) == "bbb"
    assert roll_back_model(home, why="it does not").champion == "aaa"
    assert champion(home) == "aaa"
    assert roll_back_model(home).champion is None
    assert champion(home) is None
    assert [(one.left, one.champion, one.evaluation, one.why, one.rollback) for one in changes(home)] == [
        (None, "aaa", "e1", None, False),
        ("aaa", "bbb", None, "it reads better", False),
        ("bbb", "aaa", None, "it does not", True),
        ("aaa", None, None, None, True),
    ]
    with pytest.raises(WarehouseError, match=r"the champion of .* is the bundled model; no promotion is left to undo"):
        roll_back_model(home)
    promote(home, "bbb", over=None)
    assert roll_back_model(home).champion is None


def test_what_cannot_be_promoted(home: Home, tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=r"has no model aaa; found none \(e2emern models list\)"):
        promote(home, "aaa", over=None)
    for name in ("aaa", "bbb"):
        add_model(home, folder(tmp_path, name), version=name)
    promote(home, "aaa", over=None)
    with pytest.raises(WarehouseError, match="model aaa is the champion already; nothing was changed"):
        promote(home, "aaa", over=None)
    with pytest.raises(WarehouseError, match="the champion is model aaa by now, but model bbb was compared with the b"):
        promote(home, "bbb", over=None)
    assert champion(home) == "aaa"


def test_a_damaged_history_is_reported(home: Home, tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="nowhere is not a folder; expected a model folder"):
        add_model(home, tmp_path / "nowhere", version="aaa")
    history = home.root / "models" / "champion.json"
    history.parent.mkdir(parents=True, exist_ok=True)
    history.write_text('[{"when": ')
    with pytest.raises(WarehouseError, match=r"champion\.json is not a valid champion history; restore it"):
        champion(home)
    history.write_text('[{"when": "now"}]')
    with pytest.raises(
        WarehouseError, match=r"champion\.json is not a valid champion history; restore it from a backup"
    ):
        champion(home)
