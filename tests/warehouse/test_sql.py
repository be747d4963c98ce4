"""One query reads the tables, and nothing else on the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.warehouse.homes import MESH, MODEL, add_source, add_vocabulary, document, key, mention
from warehouse.errors import QueryRefusedError, WarehouseError
from warehouse.layout import Home
from warehouse.snapshot import publish
from warehouse.sql import is_cut, query


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("it's [a] home*"))
    add_vocabulary(home)
    add_source(
        home,
        key("pubmed21n0001.xml", "1"),
        [document(0, "11"), document(1, "12")],
        mentions=[mention(0, "11"), mention(1, "12", "D001241"), mention(1, "12", None, start=4)],
    )
    publish(home, model_version=MODEL, mesh_version=MESH)
    return home


def test_rows(home: Home) -> None:
    answer = query(home, "SELECT document_id, mesh_id FROM mentions ORDER BY document_id, start;")
    assert answer.to_pylist() == [
        {"document_id": "11", "mesh_id": "D001943"},
        {"document_id": "12", "mesh_id": "D001241"},
        {"document_id": "12", "mesh_id": None},
    ]
    assert not is_cut(answer)


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT count(*) FROM documents -- a comment", [(2,)]),
        ("FROM snapshot SELECT number, documents", [(1, 2)]),
        ("WITH one AS (SELECT 1 AS a) SELECT a + 1 FROM one", [(2,)]),
        ("VALUES (1), (2)", [(1,), (2,)]),
        ("SELECT number FROM snapshot WHERE false", []),
    ],
)
def test_forms_of_select(home: Home, sql: str, rows: list[tuple[object, ...]]) -> None:
    assert [tuple(row.values()) for row in query(home, sql).to_pylist()] == rows


def test_describe_names_the_columns(home: Home) -> None:
    assert query(home, "DESCRIBE entity_tree")["column_name"].to_pylist() == ["mesh_id", "ancestor_id"]
    assert query(home, "SHOW TABLES").num_rows == 17


def test_row_limit(home: Home) -> None:
    cut = query(home, "SELECT * FROM range(100000000000)", limit_rows=3)
    assert cut.to_pylist() == [{"range": 0}, {"range": 1}, {"range": 2}]
    assert is_cut(cut)
    whole = query(home, "SELECT * FROM range(3)", limit_rows=3)
    assert whole.num_rows == 3
    assert not is_cut(whole)
    assert is_cut(query(home, "SELECT * FROM range(1)", limit_rows=0))


def test_time_limit(home: Home) -> None:
    endless = "SELECT count(*) FROM range(1000000000000) AS a, range(1000) AS b WHERE a.range + b.range < 0"
    with pytest.raises(QueryRefusedError, match=r"^the query took longer than 0.2 s; ask for less or allow more$"):
        query(home, endless, timeout_s=0.2)


def test_memory_limit(home: Home) -> None:
    with pytest.raises(QueryRefusedError, match=r"Out of Memory|max_temp_directory_size"):
        query(home, "SELECT list(range) FROM range(100000000)", memory_limit="50MB")


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT * FROM mention", 'Table with name mention does not exist! Did you mean "mentions"?'),
        (
            "SELECT mesh FROM mentions",
            'Referenced column "mesh" not found in FROM clause! Candidate bindings: "mesh_id"',
        ),
        ("SELEC 1", 'Parser Error: syntax error at or near "SELEC"'),
        ("SELECT CAST('x' AS INTEGER)", "Conversion Error: Could not convert string 'x' to INT32"),
        ("", "found 0 statements, expected one SELECT"),
        ("SELECT 1; SELECT 2", "found 2 statements, expected one SELECT"),
        ("SELECT ?", "Invalid Input Error: "),
    ],
)
def test_wrong_query(home: Home, sql: str, message: str) -> None:
    with pytest.raises(QueryRefusedError) as caught:
        query(home, sql)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "sql",
    [
        "COPY documents TO '/tmp/stolen.csv'",
        "COPY (SELECT 1) TO '{parquet}' (FORMAT parquet, USE_TMP_FILE false)",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{parquet}' (FORMAT parquet, USE_TMP_FILE false)",
        "ATTACH '/tmp/other.duckdb'",
        "ATTACH ':memory:' AS other",
        "DETACH warehouse",
        "USE memory",
        "SET memory_limit = '100GB'",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "SET VARIABLE a = 1",
        "INSTALL httpfs",
        "LOAD httpfs",
        "PRAGMA database_list",
        "PRAGMA profiling_output = '/tmp/profile'",
        "CALL enable_logging(storage = 'file', storage_config = {{'path': '/tmp/log'}})",
        "CREATE TABLE mine AS SELECT 1",
        "CREATE TEMP TABLE mine AS SELECT 1",
        "CREATE TABLE memory.main.mine AS SELECT 1",
        "CREATE VIEW mine AS SELECT 1",
        "DROP VIEW documents",
        "ALTER TABLE sources ADD COLUMN a INTEGER",
        "INSERT INTO sources SELECT * FROM sources",
        "UPDATE sources SET bytes = 0",
        "DELETE FROM sources",
        "EXPORT DATABASE '/tmp/all'",
        "IMPORT DATABASE '/tmp/all'",
        "CHECKPOINT",
        "VACUUM",
        "BEGIN",
        "PREPARE p AS SELECT 1",
        "CREATE SECRET (TYPE s3)",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/proc/self/environ')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_text('{home}/publish.lock')",
        "SELECT * FROM read_parquet('{folder}/*.parquet')",
        "SELECT * FROM read_parquet('{folder}/../../outside.parquet')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM glob('{home}/*')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM read_csv('https://example.org/x.csv')",
        "SELECT getenv('HOME')",
        "SELECT * FROM enable_logging(storage = 'file', storage_config = {{'path': '/tmp/log'}})",
        "SELECT * FROM home",  # a Python variable of the caller
    ],
)
def test_no_way_out(home: Home, sql: str) -> None:
    parquet = home.documents(key("pubmed21n0001.xml", "1"))
    before = parquet.read_bytes()
    files = sorted(home.root.rglob("*"))
    quoted = [str(path).replace("'", "''") for path in (parquet, home.root, parquet.parent)]
    with pytest.raises(QueryRefusedError) as caught:
        query(home, sql.format(parquet=quoted[0], home=quoted[1], folder=quoted[2]))
    assert "\n" not in str(caught.value)
    assert parquet.read_bytes() == before
    assert sorted(home.root.rglob("*")) == files


def test_no_snapshot(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=r"absent is not there; annotate something into it first$"):
        query(Home(tmp_path / "absent"), "SELECT 1")
    with pytest.raises(WarehouseError, match=r"has no snapshot yet; annotate something into it first$"):
        query(Home(tmp_path), "SELECT 1")
