"""`query`, `trace`, `doctor` and the limits of `sql`, as a user sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from e2emern.flows.cli import app
from e2emern.flows.cli.options import TIMEOUT_S
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries import library, sql
from e2emern.warehouse.snapshots.publish import publish
from tests.flows.command import run
from tests.warehouse.homes import VERSIONS, add_run, add_source, add_vocabulary, document, key, mention

ONE, TWO = key("pubmed26n0001.xml", "1"), key("pubmed26n0002.xml", "2")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("questions"))
    add_vocabulary(home)
    add_source(home, ONE, [document(0, "11"), document(1, "12")], mentions=[mention(0, "11"), mention(1, "12", None)])
    add_run(home, ONE, run_id="20260101T000000.000000Z-00000000")
    publish(home, VERSIONS)
    add_source(home, TWO, [], deletions=[(0, 11)])
    publish(home, VERSIONS)
    return home.root


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_every_question_is_listed_with_what_it_answers() -> None:
    listed = " ".join(invoke("query").output.split())
    for asked in library().values():
        assert f"{asked.name} {asked.description}" in listed


def test_answers_as_json_csv_and_table(home: Path) -> None:
    unlinked = ("query", "unlinked", "--type", "Disease", "--home", home)
    assert json.loads(invoke(*unlinked, "--format", "json").stdout) == [
        {
            "words": "a",
            "entity_type": "Disease",
            "mentions": 1,
            "documents": 1,
            "ner_score": 0.5,
            "example": "12",
        }
    ]
    header, row = invoke(*unlinked, "--format", "csv").stdout.splitlines()
    assert (header, row) == ("words,entity_type,mentions,documents,ner_score,example", "a,Disease,1,1,0.5,12")
    assert "| a     | Disease     |" in invoke(*unlinked).stdout


def test_a_type_is_given_in_any_case(home: Path) -> None:
    answers = [invoke("query", "unlinked", "--type", kind, "--home", home).stdout for kind in ("Disease", "disease ")]
    assert answers[0] == answers[1]
    ended = invoke("query", "unlinked", "--type", "Gene", "--home", home)
    assert str(ended.exception) == "'Gene' is not an entity type, expected Chemical or Disease"


def test_a_document_is_shown_with_its_concepts(home: Path) -> None:
    ended = invoke("show", "12", "11", "12", "--home", home)
    assert str(ended.exception) == "11: not in the current snapshot; e2emern trace 11 shows its history"
    text, table = ended.stdout.split("\n\n", 1)
    assert text == "12\n[A|-] title\n2021"
    assert [cell.strip() for cell in table.splitlines()[3].strip("|").split("|")] == [
        "null", "null", "Disease", "1", "A", "null",
    ]  # fmt: skip
    assert invoke("show", "12", "--min-score", "0.5", "--home", home).stdout == "12\nA title\n2021\n\nno mentions\n"


def test_exports_as_a_table_and_as_a_folder(home: Path, tmp_path: Path) -> None:
    for form, options, mentions in (
        ("tsv", [], "1 mention"),
        ("parquet", ["--min-score", "0.5"], "0 mentions"),
        ("conll", [], "1 mention"),
        ("brat", ["--branch", "C04"], "1 mention"),
    ):
        ended = invoke("export", "--format", form, *options, "--home", home, "--output", tmp_path / form)
        assert ended.stderr == f"e2emern: wrote 1 document with {mentions} to {tmp_path / form}\n"
    assert (tmp_path / "tsv").read_text().splitlines()[1].split("\t")[:8] == [
        "12",
        "12",
        "0",
        "0",
        "1",
        "A",
        "Disease",
        "",
    ]
    assert (tmp_path / "brat" / "12.ann").read_text() == "T1\tDisease 0 1\tA\n"
    assert invoke("export", "--format", "csv", "--min-score", "2", "--home", home, "--output", "x").exit_code == 2


def test_the_sql_of_a_question_can_be_printed_and_run(home: Path) -> None:
    printed = invoke("query", "unlinked", "--sql").stdout
    given = ["--param", "type=Disease", "--format", "csv", "--home", str(home)]
    ended = CliRunner().invoke(app, ["sql", "-", *given], input=printed)
    assert ended.stdout.splitlines()[1] == "a,Disease,1,1,0.5,12"
    numbers = ["SELECT $a::INTEGER + 1 AS x, $b IS NULL AS y", "--param", "a=2", "--param", "b=", "--format", "csv"]
    assert invoke("sql", *numbers, "--home", home).stdout == "x,y\n3,True\n"
    assert "--param a: expected NAME=VALUE" in str(invoke("sql", "SELECT $a", "--param", "a", "--home", home).exception)


VALUES = {"concept": "D001943", "type": "Disease", "text": "1", "integer": "2021", "number": "0.5"}


@pytest.mark.parametrize(
    "name", [name for name, asked in library().items() if "snapshot" not in {one.kind for one in asked.parameters}]
)
def test_the_sql_of_every_question_takes_its_parameters(home: Path, name: str) -> None:
    given = {one.name: VALUES[one.kind] for one in library()[name].parameters}
    options = [each for parameter, value in given.items() for each in (f"--{parameter.replace('_', '-')}", value)]
    params = [each for parameter, value in given.items() for each in ("--param", f"{parameter}={value}")]
    common = ["--home", str(home), "--format", "csv"]
    asked = invoke("query", name, *options, *common)
    own = CliRunner().invoke(app, ["sql", "-", *params, *common], input=invoke("query", name, "--sql").stdout)
    assert (asked.exit_code, own.exit_code) == (0, 0)
    assert own.stdout == asked.stdout


@pytest.mark.parametrize("value", ["007", "1_000", "nan", "inf", "PMC12", "12"])
def test_a_parameter_is_the_text_that_was_given(home: Path, value: str) -> None:
    query = "SELECT $id AS given, id = $id AS same FROM (VALUES ('PMC12'), ('12')) AS ids(id) ORDER BY id"
    lines = invoke("sql", query, "--param", f"id={value}", "--home", home, "--format", "csv").stdout.splitlines()
    assert lines == ["given,same", f"{value},{value == '12'}", f"{value},{value == 'PMC12'}"]


@pytest.mark.parametrize(
    ("query", "param", "lines"),
    [
        ("FROM range(5) LIMIT $n", "n=2", ["range", "0", "1"]),
        ("FROM range($n)", "n=1", ["range", "0"]),
        ("FROM range(5) WHERE range >= $n", "n=4", ["range", "4"]),
        ("SELECT DATE '2021-05-01' > $day AS later, 0.7 > $x AS more", "day=2021-04-30", ["later,more", "True,True"]),
    ],
)
def test_a_parameter_is_cast_to_the_type_it_is_compared_with(
    home: Path, query: str, param: str, lines: list[str]
) -> None:
    given = ["--param", param, "--param", "x=0.5"] if "$x" in query else ["--param", param]
    assert invoke("sql", query, *given, "--home", home, "--format", "csv").stdout.splitlines() == lines


def test_values_that_python_and_json_lack(home: Path) -> None:
    query = (
        "SELECT 'infinity'::TIMESTAMP AS a, '-infinity'::DATE AS b, DATE '10000-01-01' AS c, "
        "['infinity'::TIMESTAMPTZ, NULL] AS d, {'x': TIMESTAMP '12000-05-01 10:00:00'} AS e, "
        "MAP {'a': 'nan'::DOUBLE} AS f, MAP {'k': DATE '10000-01-01'} AS g"
    )
    answer = invoke("sql", query, "--format", "json", "--home", home).stdout
    assert "NaN" not in answer
    expected = {"a": "infinity", "b": "-infinity", "c": "10000-01-01", "d": ["infinity", None]}
    expected |= {"e": {"x": "12000-05-01 10:00:00.000000"}, "f": [["a", None]], "g": [["k", "10000-01-01"]]}
    assert json.loads(answer) == [expected]
    row = invoke("sql", query, "--format", "csv", "--home", home).stdout.splitlines()[1]
    assert row.startswith('infinity,-infinity,10000-01-01,"[""infinity"", null]",')
    assert "| infinity | -infinity | 10000-01-01 | infinity, null |" in invoke("sql", query, "--home", home).stdout


def test_a_carriage_return_ends_no_row_of_csv(home: Path) -> None:
    printed = invoke("sql", "SELECT 'a' || chr(13) || 'b' AS x, 1 AS y", "--format", "csv", "--home", home).stdout_bytes
    assert printed == b'x,y\n"a\rb","1"\n'


def test_an_output_that_is_not_utf_8(home: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    for form, expected in (("csv", b"a\n\xe9 ?\n"), ("json", b'[{"a": "\\u00e9 \\u03b2"}]\n')):
        command = [
            sys.executable,
            "-m",
            "e2emern.flows.cli",
            "sql",
            "SELECT 'é β' AS a",
            "--home",
            home,
            "--format",
            form,
        ]
        ended = subprocess.run(command, capture_output=True, env=environment, timeout=300, check=False)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, expected, b"")


@pytest.mark.parametrize(
    ("encoding", "line"),
    [
        ("utf-8", "e2emern: standard input: found byte 0xff, expected text in utf-8\n"),
        ("utf-8:surrogateescape", "e2emern: the query: found a byte that is not UTF-8 at character 8\n"),
    ],
)
def test_a_query_that_is_not_utf_8(home: Path, encoding: str, line: str) -> None:
    command = [sys.executable, "-m", "e2emern.flows.cli", "sql", "-", "--home", home]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    ended = subprocess.run(command, input=b"SELECT '\xff'", capture_output=True, env=environment, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr.decode()) == (1, b"", line)


def test_values_that_json_lacks(home: Path) -> None:
    query = (
        "SELECT 1 AS a, 2 AS a, 1.0 / 0 AS x, [0.0 / 0] AS y, INTERVAL 3 DAY + INTERVAL 5 SECOND AS z, {'b': NULL} AS c"
    )
    answer = invoke("sql", query, "--format", "json", "--home", home).stdout
    expected = {"a": 1, "a_1": 2, "x": None, "y": [None], "z": "3 days 0:00:05", "c": {"b": None}}
    assert json.loads(answer) == [expected]
    assert "NaN" not in answer
    row = invoke("sql", query, "--format", "csv", "--home", home).stdout.splitlines()[1]
    assert row == '1,2,inf,[null],3 days 0:00:05,"{""b"": null}"'
    assert "| 3 days 0:00:05 | b: null |" in invoke("sql", query, "--home", home).stdout


def test_an_earlier_snapshot(home: Path) -> None:
    lost = invoke("query", "new-mentions", "--since", 1, "--home", home, "--format", "csv").stdout.splitlines()[1]
    assert lost == "D001943,Breast Neoplasms,0,1,[]"


def test_a_limit_and_the_sql(home: Path) -> None:
    cut = invoke("query", "sources", "--home", home, "--limit", 1, "--format", "csv")
    assert len(cut.stdout.splitlines()) == 2
    assert cut.stderr == "e2emern: cut after 1 row; raise --limit for more\n"
    assert invoke("query", "sources", "--sql").stdout == library()["sources"].sql


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["query", "words", "--home", "{home}"], 2, "Missing option '--concept'"),
        (["query", "coverage", "--year", "now", "--home", "{home}"], 2, "Invalid value for '--year'"),
        (["query", "coverage", "--under", "x", "--home", "{home}"], 2, "No such option: --under"),
        (["query", "none", "--home", "{home}"], 2, "No such command 'none'"),
        (["status", "--home", ""], 2, "Invalid value for '--home' (env var: 'E2EMERN_HOME'): the value is empty"),
    ],
)
def test_wrong_usage(home: Path, arguments: list[str], code: int, message: str) -> None:
    ended = invoke(*(each.format(home=home) for each in arguments))
    assert ended.exit_code == code
    assert message in ended.output


def test_one_limit_of_time_for_the_command_line_and_the_library() -> None:
    assert TIMEOUT_S == sql.TIMEOUT_S


def test_help_lists_options_and_defaults() -> None:
    printed = " ".join(invoke("query", "co-mentions", "--help").output.split())
    assert "--disease ID_OR_NAME Only this disease and all below it." in printed
    assert "--least N Only pairs in at least this many documents. [default: 1]" in printed
    assert "Example: e2emern query co-mentions" in printed


def test_the_history_of_a_document(home: Path) -> None:
    lines = invoke("trace", "11", "--home", home).stdout.splitlines()
    assert lines[0] == "document 11: not shown by the current snapshot"
    assert lines[1] == (
        "revision version 1, published 2021, text 0df7aa72457e: deleted by pubmed26n0002.xml (2222222222222222)"
    )
    assert lines[2].startswith("  pubmed26n0001.xml (1111111111111111) record 0, processed ")
    assert lines[3] == "  A title"
    assert lines[4] == "withdrawal: pubmed26n0002.xml (2222222222222222) record 0"
    assert lines[5].startswith("snapshot 1, from ")
    assert lines[5].endswith("UTC: shown from pubmed26n0001.xml (1111111111111111) record 0; model small-1, MeSH 2024")
    assert lines[6].endswith("UTC: deleted; model small-1, MeSH 2024")
    assert len(lines) == 7


def test_a_document_with_its_mentions_and_history(home: Path) -> None:
    """Cause: text, words and names of the concepts were not shown."""
    shown = invoke("trace", "12", "--home", home).stdout
    assert shown.startswith(
        "12\n"
        "[A|-] title\n"
        "\n"
        "+-------+---------+---------+-----------+------+-----+------+------+------+\n"
        "| words | type    | mesh_id | mesh_name | link | ner | mid  | high | how  |\n"
        "+-------+---------+---------+-----------+------+-----+------+------+------+\n"
        "| A     | Disease | null    | null      | null | 0.5 | null | null | null |\n"
        "+-------+---------+---------+-----------+------+-----+------+------+------+\n"
        "\n"
        "History\n"
        "revision version 1, published 2021, text 0df7aa72457e: shown\n"
        "  pubmed26n0001.xml (1111111111111111) record 1, processed "
    )
    assert "1 mention, 0 linked: model small-1, MeSH 2024\n" in shown
    read = json.loads(invoke("trace", "12", "--home", home, "--format", "json").stdout)
    assert (read["document_id"], read["passages"][0]["text"], read["mentions"][0]["text"]) == ("12", "A title", "A")


def test_a_revised_document_and_one_without_text(tmp_path: Path) -> None:
    home = Home(tmp_path)
    add_vocabulary(home)
    add_source(home, ONE, [document(0, "11", text="Old"), document(1, "12", text="")], mentions=[mention(0, "11")])
    add_source(home, TWO, [document(0, "11", version=2, text="A new title")])
    publish(home, VERSIONS)
    revised = invoke("trace", "11", "--home", tmp_path).stdout
    assert revised.startswith("11\n[A|D001943] new title\n\n")
    history = revised.partition("History\n")[2].splitlines()
    assert [line for line in history if not line.startswith("  pubmed26")][:3] == [
        "revision version 1, published 2021, text 4c4a784c7ce7: revised by pubmed26n0002.xml (2222222222222222)",
        "  Old",
        "revision version 2, published 2021, text 300ff6ccabab: shown",
    ]
    bare = invoke("trace", "12", "--home", tmp_path).stdout
    assert bare.startswith("12\n\nno title and no abstract\n\nno mentions\n\nHistory\nrevision version 1, ")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["query", "words", "--concept", "Brest Neoplasms", "--home", "{home}"],
            "e2emern: 'Brest Neoplasms' is neither an id nor a name of a concept; did you mean 'Breast Neoplasms', ",
        ),
        (["trace", "99", "--home", "{home}"], "e2emern: {home} has no document '99'; give a PMID or "),
        (
            [
                "sql",
                "SELECT count(*) FROM range(1000000000) a, range(1000000000)",
                "--timeout",
                "0.2",
                "--home",
                "{home}",
            ],
            "e2emern: the query took longer than 0.2 s; ask for less or allow more time",
        ),
        (["doctor", "--home", "{home}/none"], "e2emern: {home}/none does not exist; annotate something into it first"),
        (["mesh", "list", "--home", "{home}/none"], "e2emern: {home}/none does not exist; annotate something into it"),
        (
            ["models", "list", "--home", "{home}/none"],
            "e2emern: {home}/none does not exist; annotate something into it",
        ),
        (["status", "--home", "{home}/publish.lock"], "e2emern: {home}/publish.lock is a file; expected the folder of"),
    ],
)
def test_errors_are_one_line(home: Path, arguments: list[str], line: str) -> None:
    ended = run(*(each.format(home=home) for each in arguments))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(line.format(home=home))
    assert ended.stderr.count("\n") == 1


def test_the_doctor(tmp_path: Path) -> None:
    home = Home(tmp_path)
    nothing = invoke("doctor", "--home", tmp_path)
    assert (nothing.exit_code, nothing.stderr) == (0, f"e2emern: {tmp_path} is sound, but has no snapshot\n")
    add_vocabulary(home)
    add_source(home, ONE, [document(0, "11")])
    publish(home, VERSIONS)
    sound = invoke("doctor", "--home", tmp_path)
    assert (sound.exit_code, sound.stdout, sound.stderr) == (0, "", f"e2emern: {tmp_path} is sound\n")
    (tmp_path / "documents" / ".writing-1-a").touch()
    (tmp_path / "documents" / "notes.txt").touch()
    found = invoke("doctor", "--home", tmp_path)
    assert found.exit_code == 1
    assert found.stdout.splitlines() == [
        "foreign-file  documents/notes.txt: is not a Parquet file (the file was not written by e2emern)",
        "leftover  documents/.writing-1-a: 0 bytes (a writer ended before it had finished the file)",
    ]
    assert found.stderr == "e2emern: 2 findings, 0 repaired; see docs/doctor.md, or try --repair\n"
    repaired = invoke("doctor", "--home", tmp_path, "--repair")
    assert repaired.exit_code == 1
    assert repaired.stdout.splitlines()[1].endswith("finished the file); deleted")
    assert repaired.stderr == "e2emern: 2 findings, 1 repaired; see docs/doctor.md\n"
