"""A query can read the tables, and nothing else on the machine."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from e2emern.warehouse.errors import QueryRefusedError, WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.sql import Request, is_cut, query
from e2emern.warehouse.queries.sql_child import restricted, send_answer
from e2emern.warehouse.snapshots.publish import publish
from tests.warehouse.homes import VERSIONS, add_source, add_vocabulary, document, key, mention


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
    publish(home, VERSIONS)
    return home


def test_rows(home: Home) -> None:
    answer = query(home, "SELECT document_id, mesh_id FROM mentions ORDER BY document_id, start;")
    assert answer.to_pylist() == [
        {"document_id": "11", "mesh_id": "D001943"},
        {"document_id": "12", "mesh_id": "D001241"},
        {"document_id": "12", "mesh_id": None},
    ]
    assert not is_cut(answer)


Asked = Callable[[str], tuple[pa.Table, str]]


@pytest.fixture(scope="module")
def asked(home: Home) -> Iterator[Asked]:
    """Return a function that answers in this process: a hundred processes would take a minute.

    It returns the answer and why the query is refused.
    """
    request = Request(home, "", {}, number=None, earlier=None, limit_rows=None, timeout_s=60, memory_limit="1GB")
    with restricted(request) as connection:

        def ask(sql: str) -> tuple[pa.Table, str]:
            out = io.BytesIO()
            problem = send_answer(replace(request, sql=sql), out, connection=connection)
            assert problem["failed"] is None
            return pa.ipc.open_stream(out.getvalue()).read_all(), problem["refused"] or ""

        yield ask


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT count(*) FROM documents -- a comment", [(2,)]),
        ("FROM snapshot SELECT number, documents", [(1, 2)]),
        ("WITH one AS (SELECT 1 AS a) SELECT a + 1 FROM one", [(2,)]),
        ("VALUES (1), (2)", [(1,), (2,)]),
        ("SELECT number FROM snapshot WHERE false", []),
        ("SELECT 1; -- a comment", [(1,)]),
        ("SELECT 1 UNION ALL (SELECT 2 INTERSECT SELECT 2)", [(1,), (2,)]),
        ("WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM t WHERE a < 3) FROM t", [(1,), (2,), (3,)]),
        ("WITH t AS MATERIALIZED (SELECT 1) SELECT (FROM t), EXISTS (FROM t)", [(1, True)]),
        ("FROM Range(1) AS a, generate_series(2, 2) AS b, unnest([3]) AS c", [(0, 2, 3)]),
        ("SELECT value FROM json_each('[7]')", [("7",)]),
        ("SELECT count(*) FROM query_table('documents')", [(2,)]),
        ("SELECT column_name FROM (DESCRIBE snapshot) LIMIT 1", [("number",)]),
        ("FROM (PIVOT (SELECT 1 AS a) ON a IN (1, 2) USING count(*))", [(1, 0)]),
        ("UNPIVOT (SELECT 1 AS a, 2 AS b) ON COLUMNS(*)", [("a", 1), ("b", 2)]),
        ("""SELECT '"type":"COPY_QUERY_NODE"' AS COPY_NODE""", [('"type":"COPY_QUERY_NODE"',)]),
        (f"SELECT {'+'.join(['1'] * 990)} AS deep", [(990,)]),
    ],
)
def test_forms_of_select(asked: Asked, sql: str, rows: list[tuple[object, ...]]) -> None:
    answer, refused = asked(sql)
    assert ([tuple(row.values()) for row in answer.to_pylist()], refused) == (rows, "")


def test_describe_names_the_columns(home: Home) -> None:
    assert query(home, "DESCRIBE entity_tree")["column_name"].to_pylist() == ["mesh_id", "ancestor_id"]
    assert query(home, "SHOW TABLES").num_rows == 19
    assert query(home, "SUMMARIZE entity_tree")["column_name"].to_pylist() == ["mesh_id", "ancestor_id"]


def test_row_limit(home: Home) -> None:
    cut = query(home, "SELECT * FROM range(100000000000)", limit_rows=3)
    assert cut.to_pylist() == [{"range": 0}, {"range": 1}, {"range": 2}]
    assert is_cut(cut)
    whole = query(home, "SELECT * FROM range(3)", limit_rows=3)
    assert whole.num_rows == 3
    assert not is_cut(whole)
    assert is_cut(query(home, "SELECT * FROM range(1)", limit_rows=0))


def test_without_a_limit_no_row_is_left_out(home: Home) -> None:
    answer = query(home, "SELECT range AS number FROM range(25000)")
    assert (answer.num_rows, answer["number"][-1].as_py(), is_cut(answer)) == (25_000, 24_999, False)


def test_an_answer_larger_than_the_memory_limit_is_refused(home: Home) -> None:
    with pytest.raises(QueryRefusedError) as refused:
        query(home, "SELECT * FROM range(100000000000)", memory_limit="10MiB")
    assert str(refused.value) == (
        "the answer needs more memory than 10.0 MiB; ask for fewer rows or columns, set limit_rows or raise "
        "memory_limit"
    )


def test_time_limit(home: Home) -> None:
    endless = "SELECT count(*) FROM range(1000000000000) AS a, range(1000) AS b WHERE a.range + b.range < 0"
    with pytest.raises(QueryRefusedError, match=r"^the query took longer than 0.2 s; ask for less or allow more time$"):
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
        (
            "WITH x AS (DELETE FROM sources) SELECT 1",
            "found DELETE within the query, expected only SELECT; the tables are read-only",
        ),
        ("FROM checkpoint()", "found FROM checkpoint(...), expected a table or a function that only reads: duckdb_col"),
    ],
)
def test_wrong_query(asked: Asked, sql: str, message: str) -> None:
    _, refused = asked(sql)
    assert message in refused
    assert "\n" not in refused


def test_what_is_wrong_reaches_the_caller(home: Home) -> None:
    with pytest.raises(QueryRefusedError, match=r"^the query: found a byte that is not UTF-8 at character 8$"):
        query(home, "SELECT '\udcff'")
    with pytest.raises(QueryRefusedError, match=r"^found 2 statements, expected one SELECT$"):
        query(home, "SELECT 1; SELECT 2")


@pytest.mark.parametrize(
    ("sql", "limit"),
    [  # DuckDB's own limits of memory and time let these through
        ("SELECT levenshtein(repeat('a', 400000), repeat('b', 400000))", "time"),
        ("SELECT length(lpad('a', 2000000000, 'b'))", "time"),
        ("SELECT len(list_resize([1], 500000000))", "memory"),
        ("SELECT len(range(100000000))", "memory"),
    ],
)
def test_functions_without_limits_of_their_own(home: Home, sql: str, limit: str) -> None:
    with pytest.raises(QueryRefusedError) as refused:
        query(home, sql, timeout_s=0.5 if limit == "time" else 60, memory_limit="100MB")
    if limit == "time":
        assert str(refused.value) == "the query took longer than 0.5 s; ask for less or allow more time"
    assert "\n" not in str(refused.value)


def test_the_child_ends_with_its_parent(home: Home) -> None:
    parent = (
        "import os, sys, threading\nfrom pathlib import Path\nfrom e2emern.warehouse.layout import Home\n"
        "from e2emern.warehouse.queries.sql import query\n"
        "def end():\n"
        "    me = os.getpid()\n"
        "    stats = [path.read_text().rsplit(')', 1) for path in Path('/proc').glob('[0-9]*/stat')]\n"
        "    children = [one.split(' ')[0] for one, rest in stats if int(rest.split()[1]) == me]\n"
        "    print(*children, flush=True)\n"
        "    os.kill(me, 9)\n"
        "threading.Timer(1, end).start()\n"
        "query(Home(Path(sys.argv[1])), \"SELECT levenshtein(repeat('a', 400000), repeat('b', 400000))\")\n"
    )
    ended = subprocess.run([sys.executable, "-c", parent, str(home.root)], capture_output=True, text=True, check=False)
    (child,) = ended.stdout.split()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()


COPY = "COPY (SELECT 1 AS a) TO '{parquet}' (FORMAT parquet, USE_TMP_FILE false)"
COPIES = f"WITH x AS ({COPY}) FROM x"
QUOTED = COPIES.replace("'", "''").replace("{parquet}", "{quoted}")


@pytest.mark.parametrize(
    "sql",
    [
        COPIES,
        f"WITH x AS ({COPY}) SELECT 1",
        f"WITH x AS ({COPY}) VALUES (1)",
        f"WITH x AS ({COPY}) TABLE x; -- a comment",
        f"WITH x AS MATERIALIZED ({COPY}) FROM x",
        f"WITH y AS (SELECT 1), x AS ({COPY}) FROM y",
        f"WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM t WHERE a < 3), x AS ({COPY}) FROM t",
        f"WITH y AS ({COPIES}) FROM y",
        f"(({COPIES}))",
        f"{COPIES} UNION ALL SELECT 1",
        f"SELECT 1 UNION ALL ({COPIES})",
        f"FROM ({COPIES})",
        f"SELECT ({COPIES})",
        f"SELECT 1 WHERE EXISTS ({COPIES})",
        f"SELECT 1 ORDER BY ({COPIES})",
        f"SELECT 1 LIMIT ({COPIES})",
        f"VALUES (({COPIES}))",
        f"SELECT list_transform([1], lambda a: ({COPIES}))",
        f"FROM sources, LATERAL ({COPIES})",
        f"FROM range(({COPIES}))",
        f"DESCRIBE {COPIES}",
        f"SUMMARIZE {COPIES}",
        f"EXPLAIN {COPIES}",
        f"EXPLAIN ANALYZE {COPIES}",
        f"PREPARE p AS {COPIES}",
        f"CREATE MACRO m() AS TABLE ({COPIES})",
        f"WITH x AS ({COPY}) PIVOT x ON Count USING count(*)",
        f"WITH x AS ({COPY}) FROM (PIVOT x ON Count IN (1) USING count(*))",
        f"WITH x AS ({COPY}) UNPIVOT x ON Count",
        "WITH x AS (COPY (SELECT 1 AS a) TO '{parquet}' (FORMAT csv, USE_TMP_FILE false, RETURN_STATS)) FROM x",
        "WITH x AS (COPY (SELECT 1 AS a, 2 AS b) TO '{parquet}' (FORMAT parquet, PARTITION_BY (a), OVERWRITE)) FROM x",
        "WITH x AS (COPY sources TO '{snapshot}' (FORMAT csv, USE_TMP_FILE false)) FROM x",
        "WITH x AS (COPY sources TO '{snapshot}.wal' (FORMAT csv, USE_TMP_FILE false)) FROM x",
        "WITH x AS (INSERT INTO sources FROM sources RETURNING *) FROM x",
        "WITH x AS (UPDATE sources SET bytes = 0 RETURNING *) FROM x",
        "WITH x AS (DELETE FROM sources RETURNING *) FROM x",
        "WITH x AS (TRUNCATE sources) FROM x",
        "WITH x AS (MERGE INTO sources USING sources AS s USING (source) WHEN MATCHED THEN DELETE) FROM x",
        f"FROM query('{QUOTED}')",
        f"FROM json_execute_serialized_sql(json_serialize_sql('{QUOTED}')::VARCHAR)",
        f"FROM system.main.\"JSON_execute_serialized_SQL\"(json_serialize_sql('{QUOTED}')::VARCHAR)",
        f"WITH y AS (FROM json_execute_serialized_sql(json_serialize_sql('{QUOTED}')::VARCHAR)) FROM y",
        f"SELECT (SELECT count(*) FROM json_execute_serialized_sql(json_serialize_sql('{QUOTED}')::VARCHAR))",
        f"DESCRIBE FROM json_execute_serialized_sql(json_serialize_sql('{QUOTED}')::VARCHAR)",
        "FROM query('FROM json_execute_serialized_sql(''{{}}'')')",
        "FROM enable_profiling(save_location => '{parquet}')",
        "FROM enable_logging(storage => 'file', storage_path => '{parquet}')",
        "FROM checkpoint('warehouse')",
        "FROM truncate_duckdb_logs()",
        "FROM read_duckdb('{snapshot}', table_name => 'sources')",
        "FROM arrow_scan(1, 2, 3)",
        "FROM pandas_scan(1)",
        "COPY documents TO '{parquet}.stolen.csv'",
        "COPY (SELECT 1) TO '{parquet}' (FORMAT parquet, USE_TMP_FILE false)",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{parquet}' (FORMAT parquet, USE_TMP_FILE false)",
        "ATTACH '{parquet}.other.duckdb'",
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
        "PRAGMA profiling_output = '{parquet}.profile'",
        "CALL enable_logging(storage = 'file', storage_config = {{'path': '{parquet}.log'}})",
        "CREATE TABLE mine AS SELECT 1",
        "CREATE TEMP TABLE mine AS SELECT 1",
        "CREATE TABLE memory.main.mine AS SELECT 1",
        "CREATE VIEW mine AS SELECT 1",
        "DROP VIEW documents",
        "ALTER TABLE sources ADD COLUMN a INTEGER",
        "INSERT INTO sources SELECT * FROM sources",
        "UPDATE sources SET bytes = 0",
        "DELETE FROM sources",
        "EXPORT DATABASE '{parquet}.all'",
        "IMPORT DATABASE '{parquet}.all'",
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
        "SELECT * FROM enable_logging(storage = 'file', storage_config = {{'path': '{parquet}.log'}})",
        "SELECT * FROM home",  # a Python variable of the caller
    ],
)
def test_no_way_out(home: Home, asked: Asked, sql: str) -> None:
    parquet = home.documents(key("pubmed21n0001.xml", "1"))
    places = {"parquet": parquet, "home": home.root, "folder": parquet.parent, "snapshot": home.snapshot(1).resolve()}
    named = {name: str(path).replace("'", "''") for name, path in places.items()}
    before = _contents(home)
    _, refused = asked(sql.format(**named, quoted=named["parquet"].replace("'", "''")))
    assert refused
    assert "\n" not in refused
    assert _contents(home) == before


def test_no_way_out_by_a_parameter(home: Home) -> None:
    parquet = str(home.documents(key("pubmed21n0001.xml", "1"))).replace("'", "''")
    copies = COPIES.format(parquet=parquet)
    with duckdb.connect() as connection:
        ((tree,),) = connection.execute("SELECT json_serialize_sql($sql)", {"sql": copies}).fetchall()
    before = _contents(home)
    with pytest.raises(QueryRefusedError, match=r"^found FROM json_execute_serialized_sql\(\.\.\.\), expected "):
        query(home, "FROM json_execute_serialized_sql($tree)", parameters={"tree": tree})
    with pytest.raises(QueryRefusedError, match=r"^\$text: found a byte that is not UTF-8 at character 1$"):
        query(home, "SELECT $text", parameters={"text": "a\udcff"})
    assert _contents(home) == before


def _contents(home: Home) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in home.root.rglob("*")}


def test_no_snapshot(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=r"absent does not exist; annotate something into it first$"):
        query(Home(tmp_path / "absent"), "SELECT 1")
    with pytest.raises(WarehouseError, match=r"has no snapshot yet; annotate something into it first$"):
        query(Home(tmp_path), "SELECT 1")
