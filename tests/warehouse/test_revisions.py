"""Which source outranks which."""

from __future__ import annotations

from tests.warehouse.homes import key
from warehouse.revisions import precedence, sightings
from warehouse.runs import RunRecord, SourceOutcome


def run(run_id: str, *names: tuple[str, str]) -> RunRecord:
    sources = tuple(SourceOutcome(name=name, digest=digest * 16, outcome="annotated") for name, digest in names)
    return RunRecord(run_id=run_id, started="2026-01-01T00:00:00+00:00", host="h", sources=sources)


def test_pubmed_files_rank_by_name_whenever_they_came() -> None:
    names = ["pubmed21n1000.xml.gz", "pubmed22n0001.xml.gz", "updates/pubmed21n0999.xml.gz", "pubmed21n0001.xml.gz"]
    seen = sightings([run(str(at), (name, "0")) for at, name in enumerate(names)])
    current, reissued = precedence([key(name) for name in names], seen)
    assert [one.name for one in current] == [
        "pubmed21n0001.xml.gz",
        "updates/pubmed21n0999.xml.gz",
        "pubmed21n1000.xml.gz",
        "pubmed22n0001.xml.gz",
    ]
    assert reissued == []


def test_other_files_rank_by_their_first_run_and_below_pubmed() -> None:
    seen = sightings([run("1", ("z.txt", "0")), run("2", ("part10", "0"), ("part9", "0")), run("3", ("z.txt", "0"))])
    keys = [key("pubmed21n0001.xml"), key("part10"), key("part9"), key("z.txt"), key("unrecorded")]
    current, _ = precedence(keys, seen)
    assert [one.name for one in current] == ["unrecorded", "z.txt", "part9", "part10", "pubmed21n0001.xml"]


def test_of_one_name_the_content_met_last_is_current() -> None:
    a1, a2 = key("a", "1"), key("a", "2")
    assert precedence([a1, a2], sightings([run("1", ("a", "1")), run("2", ("a", "2"))])) == ([a2], [a1])
    runs = [run("1", ("a", "1")), run("2", ("a", "2")), run("3", ("a", "1"))]
    assert precedence([a1, a2], sightings(runs)) == ([a1], [a2])
    assert precedence([a1, a2], sightings([run("1", ("a", "1"))])) == ([a1], [a2])


def test_sightings() -> None:
    assert sightings([run("1", ("a", "1")), run("2", ("b", "1")), run("3", ("a", "1"))]) == {
        key("a", "1"): ("1", "3"),
        key("b", "1"): ("2", "2"),
    }
