"""Output for people fits on a screen, whatever a home holds and however many errors there are."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from e2emern.flows.annotate import annotate_sources
from e2emern.flows.cli import app
from e2emern.flows.cli.application import Examples, report_examples
from e2emern.flows.cli.render import STATUS_LINES, STATUS_WIDTH, print_status, show_outcome
from e2emern.warehouse.home_format import make_home
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.status import Status, status
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.reader import Snapshot
from e2emern.warehouse.sources.runs import RunRecord, SourceOutcome
from tests.flows.world import World
from tests.warehouse.homes import VERSIONS, add_source, add_vocabulary, document, key

NAMES = st.text(max_size=30) | st.text(min_size=150, max_size=300) | st.just("line\nof\r\nseveral\u2028lines")
COUNTS = st.integers(min_value=1, max_value=10**12)
BY_REASON = st.dictionaries(NAMES, COUNTS, max_size=60)

SNAPSHOTS = st.builds(
    Snapshot,
    number=COUNTS,
    created=st.just(datetime(2026, 1, 1, tzinfo=UTC)),
    operation=st.just("annotate"),
    previous=st.none(),
    model_version=NAMES,
    mesh_version=NAMES,
    **dict.fromkeys(
        ["sources", "damaged", "documents", "mentions", "linked", "concepts", "failures", "deletions", "superseded"],
        COUNTS,
    ),
    accepted=st.none(),
    exceeded=st.none(),
    fingerprint=st.just("0"),
)
OUTCOMES = st.builds(SourceOutcome, name=NAMES, digest=st.just("0" * 16), outcome=NAMES)
RUNS = st.builds(
    RunRecord,
    run_id=NAMES,
    started=st.just("2026-01-01T00:00:00+00:00"),
    finished=st.none() | st.just("2026-01-01T01:00:00+00:00"),
    host=NAMES,
    sources=st.lists(OUTCOMES, max_size=40).map(tuple),
    error=st.none() | NAMES,
)
STATUSES = st.builds(
    Status,
    last_run=st.none() | RUNS,
    snapshot=st.none() | SNAPSHOTS,
    champion=st.none() | NAMES,
    backlog=st.lists(NAMES, max_size=40).map(tuple),
    failures=BY_REASON,
    invalid_annotations=BY_REASON,
    damaged=st.dictionaries(NAMES, NAMES, max_size=60),
)


def printed(shown: Status) -> list[str]:
    output = io.StringIO()
    print_status(shown, console=Console(file=output))
    return output.getvalue().splitlines()


@given(STATUSES)
def test_status_fits_on_one_screen(shown: Status) -> None:
    lines = printed(shown)
    assert len(lines) <= STATUS_LINES == 40
    assert max(map(len, lines)) <= STATUS_WIDTH == 160


def test_lines_that_status_omits_are_counted(tmp_path: Path) -> None:
    home = Home(tmp_path)
    add_vocabulary(home)
    invalid = [{"position": "line 1", "kind": f"kind {at % 12:02}", "reason": f"found {at}"} for at in range(7748)]
    failures = [(at, f"record {at}: found {'x' * (at % 15 + 1)!r} as {'y' * (at % 15 + 1)}") for at in range(1, 500)]
    add_source(home, key("a"), [document(0, "1") | {"invalid_annotations": invalid}], failures=failures)
    for number in range(13):
        add_source(home, key(f"cut{number:02}"), error="truncated at byte 7")
    publish(home, VERSIONS)
    lines = printed(status(home))
    assert lines[2] == "  499 failures, 0 deletions, 0 superseded"
    assert lines[4:7] == [f"damaged: cut0{number}: truncated at byte 7" for number in range(3)]
    assert lines[13:16] == [
        "damaged: cut09: truncated at byte 7",
        "and 3 more damaged sources",
        "34 failures: record N: found ... as yy",
    ]
    assert lines[25] == "and 5 more kinds of failure; see e2emern query failures"
    assert lines[26].startswith("7,748 invalid annotations: 646 kind 00, 646 kind 01, ")
    assert lines[26].endswith("…")
    assert len(lines) == 27


def test_annotate_counts_invalid_annotations_by_kind(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, home = tmp_path / "notes.pubtator", Home(tmp_path / "home")
    outside = "".join(f"9\t{at}\t{at + 4}\tnone\tDisease\tD005\n" for at in range(100, 150))
    path.write_text(f"9|t|Headache.\n9|a|\n9\t0\t8\tHeadache\tDisease\tD005\n9\t0\t4\tnone\tDisease\tD005\n{outside}")
    outcome = annotate_sources([path], home.root, model=world.model, mesh=world.mesh, device="cpu")
    output = io.StringIO()
    show_outcome(outcome, home, console=Console(file=output))
    lines = output.getvalue().splitlines()
    assert lines[0].startswith("1 document, 1 mention of 1 concept, 0 failures in ")
    assert lines[4] == f"51 invalid annotations; see e2emern query invalid-annotations --home {home.root}"
    assert len(lines) == 6
    found = outcome.invalid_annotations(home)
    report_examples(found.kinds, found.examples)
    reported = capsys.readouterr().err.splitlines()
    assert reported[:3] == [
        "e2emern: 51 invalid annotations: 50 outside the text, 1 other words at its offsets",
        "e2emern: for example, notes.pubtator: line 4: document 9: found 'Head' at 0-4, expected 'none'",
        "e2emern: for example, notes.pubtator: line 5: document 9: 'none' at 100-104 lies outside the text of 0-10",
    ]
    assert len(reported) == 11


def test_examples_of_each_kind() -> None:
    lines: list[str] = []
    listed = Examples(lines.append, most=2)
    for at in range(5):
        listed.add("fetched", f"fetched {at}")
    listed.add("failed", "failed 0")
    listed.finish()
    assert lines == ["fetched 0", "fetched 1", "failed 0", "fetched: and 3 more"]
    lines.clear()
    every = Examples(lines.append, most=None)
    for at in range(50):
        every.add("fetched", f"fetched {at}")
    every.finish()
    assert lines == [f"fetched {at}" for at in range(50)]


def test_the_doctor_lists_ten_findings_of_a_code_or_all(tmp_path: Path) -> None:
    make_home(Home(tmp_path))
    (tmp_path / "documents").mkdir()
    for number in range(12):
        (tmp_path / "documents" / f"{number:02}.txt").touch()
    found = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path)]).stdout.splitlines()
    assert len(found) == 11
    assert found[0].startswith("foreign-file  documents/00.txt: ")
    assert found[10] == "foreign-file: and 2 more"
    every = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path), "--all"]).stdout.splitlines()
    assert [line.split(":")[0] for line in every] == [
        f"foreign-file  documents/{number:02}.txt" for number in range(12)
    ]


def test_ingest_lists_ten_files_and_counts_the_others(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(12):
        (tmp_path / "in" / f"{number:02}.txt").write_text("one")
    arguments = ["ingest", str(tmp_path / "in"), "--home", str(tmp_path / "home"), "--pattern", "*.txt"]
    lines = CliRunner().invoke(app, arguments).stderr.splitlines()
    assert len(lines) == 11
    assert lines[10] == "e2emern: fetched: and 2 more"
