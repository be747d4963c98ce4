"""A snapshot file of somebody else runs no SQL and reads nothing outside its home."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from e2emern.warehouse.doctor import examine
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.sql import query
from e2emern.warehouse.queries.status import status
from e2emern.warehouse.snapshots import opening
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.reader import read_snapshot
from e2emern.warehouse.snapshots.refs import recorded_root, relocate
from tests.warehouse.homes import MESH, VERSIONS, add_source, add_vocabulary, document, key, mention

TREE = "SELECT mesh_id, ancestor_id FROM read_parquet([home() || '/' || path FOR path IN "
ADVICE = "use only a home that you trust; e2emern doctor --repair sets the file aside"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("sound") / "home")
    home.root.mkdir()
    add_vocabulary(home)
    (home.root.parent / "outside.parquet").write_bytes(home.entity_tree(MESH).read_bytes())
    for source in ("a.xml", "b.xml"):  # document 11 is in both: the views read one file in part
        add_source(
            home,
            key(source, "1"),
            [document(0, "11"), document(1, source)],
            mentions=[mention(0, "11"), mention(1, source, "D001241")],
        )
    publish(home, VERSIONS)
    return home.root


@pytest.fixture
def home(sound: Path, tmp_path: Path) -> Home:
    return Home(shutil.copytree(sound, tmp_path / "it's [a] home*", symlinks=True))


def _change(home: Home, *statements: str) -> Path:
    path = home.snapshot(1).resolve()
    path.chmod(0o644)
    with duckdb.connect(str(path)) as connection:
        for sql in statements:
            connection.execute(sql)
    path.chmod(0o444)
    return path


SECRET = "SELECT content FROM read_text('/etc/passwd')"


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (f"CREATE OR REPLACE MACRO home() AS ({SECRET})", "a foreign macro home"),
        (f"CREATE OR REPLACE MACRO home() AS coalesce(({SECRET}), '/x')", "a foreign macro home"),
        (f"CREATE MACRO lower(x) AS ({SECRET})", "a foreign macro lower"),
        (f"CREATE MACRO stolen() AS TABLE {SECRET}", "a foreign macro stolen"),
        (f"CREATE OR REPLACE VIEW documents AS {SECRET}", "a view documents that e2emern did not write"),
        (f"CREATE OR REPLACE VIEW annotations AS {SECRET}", "a view annotations that e2emern did not write"),
        (
            f"CREATE OR REPLACE VIEW entity_tree AS {TREE}['entities/2024~tree.parquet']]) WHERE mesh_id <> 'D001943'",
            "a view entity_tree that e2emern did not write",
        ),
        (
            f"CREATE OR REPLACE VIEW entity_tree AS {TREE}['entities/../../outside.parquet']])",
            "the path 'entities/../../outside.parquet', which is outside the home",
        ),
        (f"DROP TABLE files; CREATE VIEW files AS {SECRET}", "a view files that e2emern did not write"),
        (f"DROP TABLE snapshot; CREATE VIEW snapshot AS {SECRET}", "a view snapshot that e2emern did not write"),
        ("UPDATE files SET path = '../' || path", "the path '../"),
        ("UPDATE files SET path = '/etc/x.parquet'", "the path '/etc/x.parquet', which is outside the home"),
        ("UPDATE files SET path = 'a/../../x'", "the path 'a/../../x', which is outside the home"),
        ("CREATE SCHEMA other", "a foreign schema other"),
        ("CREATE TABLE more(a INTEGER, b VARCHAR AS (current_query()))", "a foreign computed column b of table more"),
        ("CREATE TABLE more(a INTEGER CHECK (a > 0))", "a foreign rule of table more"),
    ],
)
def test_foreign_content_is_refused(home: Home, statement: str, found: str) -> None:
    path = _change(home, statement)
    with pytest.raises(WarehouseError) as refused:
        read_snapshot(home)
    assert str(refused.value).startswith(f"{path} holds {found}")
    assert str(refused.value).endswith(f"; {ADVICE}")
    assert "\n" not in str(refused.value)


def test_every_reader_refuses_it(home: Home) -> None:
    path = _change(home, f"CREATE MACRO stolen() AS TABLE {SECRET}")
    readers: list[Callable[[], object]] = [lambda: recorded_root(path), lambda: status(home), lambda: relocate(home)]
    for reader in readers:
        with pytest.raises(WarehouseError, match="holds a foreign macro stolen; use only a home that you trust"):
            reader()


def test_a_query_refuses_it_and_doctor_sets_it_aside(home: Home) -> None:
    path = _change(home, f"CREATE MACRO lower(x) AS ({SECRET})")
    with pytest.raises(WarehouseError) as refused:
        query(home, "SELECT lower('A')")
    assert str(refused.value) == f"{path} holds a foreign macro lower; {ADVICE}"
    (damaged, *_) = examine(home, repair=True)
    assert (damaged.code, damaged.what) == ("damaged-snapshot", f"holds a foreign macro lower; {ADVICE}")
    assert not path.exists()


def test_another_kind_of_database_is_refused(home: Home) -> None:
    path = home.snapshot(1)
    path.chmod(0o644)
    path.write_bytes(b"SQLite format 3\0" + bytes(4096))
    with pytest.raises(WarehouseError, match=r"1\.duckdb cannot be opened: "):
        read_snapshot(home)


def test_a_snapshot_of_ours_is_opened_from_any_folder(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.root.parent)
    relative = Home(Path(os.path.relpath(home.root)))
    assert read_snapshot(relative).documents == 3
    assert query(relative, "SELECT count(*) AS n FROM mentions").to_pylist() == [{"n": 3}]


def test_a_file_is_checked_again_once_it_changed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: dict[tuple[str | int, ...], str] = {}
    monkeypatch.setattr(opening, "_checked", checked)
    read_snapshot(home)
    assert checked == {}  # it is so young that a later change could look the same
    monkeypatch.setattr(opening, "_YOUNG_NS", -1)
    read_snapshot(home)
    assert len(checked) == 1
    read_snapshot(home)
    assert len(checked) == 1
    _change(home, "CREATE MACRO lower(x) AS 'never'")
    with pytest.raises(WarehouseError, match="holds a foreign macro lower"):
        read_snapshot(home)
