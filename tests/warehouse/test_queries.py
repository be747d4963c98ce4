"""Every named query answers, by the rows it should, on a home small enough to count by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from e2emern.warehouse.errors import QueryRefusedError
from e2emern.warehouse.layout import Home, SourceKey
from e2emern.warehouse.queries import library
from e2emern.warehouse.queries.concepts import find_concept
from e2emern.warehouse.queries.saved import answer
from e2emern.warehouse.queries.sql import is_cut
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.sources.runs import RunRecord, SourceOutcome, write_run
from tests.warehouse.homes import MESH, MODEL, VERSIONS, add_source, add_vocabulary, document, key, mention

FIRST, SECOND = "20260101T000000.000000Z-00000000", "20260102T000000.000000Z-00000000"
STARTED, AGAIN = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
BREAST, NEOPLASMS, ASPIRIN, SITES = "D001943", "D009369", "D001241", "D009371"


def paper(record: int, document_id: str, published: str | None, journal: str = "Cell", **more: Any) -> dict[str, Any]:
    return document(record, document_id) | {"published": published, "journal": journal} | more


def outside(line: int) -> dict[str, str]:
    """An invalid annotation at a line."""
    return {"position": f"line {line}", "kind": "outside the text", "reason": f"at {line}0"}


def said(
    record: int, document_id: str, text: str, mesh_id: str | None, *, start: int, sentence: int = 0, **more: Any
) -> dict[str, Any]:
    row = mention(record, document_id, mesh_id, start=start)
    kind = "Chemical" if mesh_id == ASPIRIN or text == "xyz" else "Disease"
    row |= {"end": start + len(text), "text": text, "sentence": sentence, "entity_type": kind}
    linked: dict[str, Any] = {"link_score": 0.75, "how": "name"} if mesh_id else {}
    return row | linked | more


def noted(
    start: int, text: str, entity_type: str, identifier: str, *, normalized: tuple[str | None, list[str]]
) -> dict[str, Any]:
    """A mention that a source carries itself, as `annotate` writes it."""
    row = {"start": start, "end": start + len(text), "text": text, "entity_type": entity_type}
    return row | {"identifiers": [identifier], "normalized_type": normalized[0], "normalized_ids": normalized[1]}


def ran(home: Home, run_id: str, started: datetime, outcomes: dict[SourceKey, str]) -> None:
    met = tuple(SourceOutcome(name=key.name, digest=key.digest, outcome=outcome) for key, outcome in outcomes.items())
    versions = {"e2emern": "0.1.0", "model": MODEL, "mesh": MESH}
    moment = started.isoformat()
    write_run(
        home,
        RunRecord(run_id=run_id, started=moment, host="here", finished=moment, versions=versions, sources=met),
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two snapshots: two documents; then a third and a fourth, and another text of the second."""
    home = Home(tmp_path_factory.mktemp("queries"))
    add_vocabulary(home)
    one = key("pubmed26n0001.xml", "1")
    add_source(
        home,
        one,
        [
            paper(0, "11", "2020-03", invalid_annotations=[outside(9), outside(5), {**outside(7), "kind": "no type"}]),
            paper(1, "12", "2021", "Nature", invalid_annotations=[outside(12)]),  # revised by the second source
        ],
        failures=[(2, "no PMID"), (3, "found 'x' at 5-6, expected 'y'")],
        mentions=[
            said(0, "11", "breast cancer", BREAST, start=0),
            said(0, "11", "Aspirin", ASPIRIN, start=20),
            said(0, "11", "Breast cancer", BREAST, start=40, sentence=1, link_score=0.25, how="spelling"),
            said(1, "12", "cancer", NEOPLASMS, start=0),
        ],
    )
    ran(home, FIRST, STARTED, {one: "annotated"})
    publish(home, VERSIONS)
    two = key("pubmed26n0002.xml", "2")
    note = noted(0, "cancer", "Disease", "MESH:D009369", normalized=("Disease", ["D009369"]))
    invalid = noted(3, "cer", "disease", "D001943", normalized=("Disease", ["D001943"]))
    add_source(
        home,
        two,
        [
            paper(0, "12", "2021", "Nature", invalid_annotations=[outside(3)]),
            paper(1, "13", "2021-07", annotations=[note, invalid]),
            paper(2, "14", None),
        ],
        failures=[(3, "found 'zz' at 15-17, expected 'y'")],
        mentions=[
            said(0, "12", "cancer", NEOPLASMS, start=0),
            said(0, "12", "xyz", None, start=20),
            said(1, "13", "cancer", NEOPLASMS, start=0),
            said(1, "13", "cancer", BREAST, start=10),
            said(1, "13", "aspirin", ASPIRIN, start=20, sentence=1),
            said(1, "13", "XYZ", None, start=30, entity_type="Chemical"),
            said(1, "13", "breast cancer", BREAST, start=50, sentence=1),
        ],
    )
    ran(home, SECOND, AGAIN, {one: "unchanged", two: "annotated"})
    publish(home, VERSIONS)
    return home


ANSWERS: list[tuple[str, dict[str, Any], list[tuple[Any, ...]]]] = [
    (
        "top-concepts",
        {},
        [
            (BREAST, "Breast Neoplasms", "Disease", 4, 2),
            (ASPIRIN, "Aspirin", "Chemical", 2, 2),
            (NEOPLASMS, "Neoplasms", "Disease", 2, 2),
        ],
    ),
    ("top-concepts", {"under": SITES, "year": 2021}, [(BREAST, "Breast Neoplasms", "Disease", 2, 1)]),
    ("top-concepts", {"type": "Chemical"}, [(ASPIRIN, "Aspirin", "Chemical", 2, 2)]),
    ("top-concepts", {"under": SITES, "min_score": 0.5}, [(BREAST, "Breast Neoplasms", "Disease", 3, 2)]),
    ("top-concepts", {"min_score": 0.76}, []),
    ("documents-of", {"concept": BREAST, "min_score": 0.76}, []),
    ("timeline", {"concept": "Neoplasms", "min_score": 0.76}, []),
    ("narrower", {"concept": "neoplasms", "min_score": 0.76}, [(SITES, "Neoplasms by Site", 0, 0, 0)]),
    ("words", {"concept": BREAST, "min_score": 0.76}, []),
    ("co-mentions", {"min_score": 0.76}, []),
    ("co-mentioned-in", {"disease": BREAST, "chemical": ASPIRIN, "min_score": 0.76}, []),
    ("crosswalk", {}, []),
    ("narrower", {"concept": "neoplasms"}, [(SITES, "Neoplasms by Site", 4, 2, 1)]),
    ("timeline", {"concept": "Neoplasms"}, [(2020, 1, 2, 1000.0), (2021, 2, 4, 1000.0)]),
    ("timeline", {"concept": "Aspirin"}, [(2020, 1, 1, 1000.0), (2021, 1, 1, 500.0)]),
    (
        "first-appearance",
        {"concept": NEOPLASMS},
        [
            (BREAST, "Breast Neoplasms", "2020-03", "11", FIRST, STARTED, 2),
            (NEOPLASMS, "Neoplasms", "2021", "12", SECOND, AGAIN, 2),
        ],
    ),
    ("words", {"concept": BREAST}, [("breast cancer", 3, 2, 2, 0.583), ("cancer", 1, 1, 1, 0.75)]),
    (
        "documents-of",
        {"concept": SITES},
        [
            ("13", 13, "A title", "Cell", "2021-07", 2, ["breast cancer", "cancer"]),
            ("11", 11, "A title", "Cell", "2020-03", 2, ["Breast cancer", "breast cancer"]),
        ],
    ),
    ("documents-of", {"concept": ASPIRIN, "year": 2020}, [("11", 11, "A title", "Cell", "2020-03", 1, ["Aspirin"])]),
    (
        "co-mentions",
        {"disease": NEOPLASMS},
        [
            (BREAST, "Breast Neoplasms", ASPIRIN, "Aspirin", 2, 2, 2.0, 1.0),
            (NEOPLASMS, "Neoplasms", ASPIRIN, "Aspirin", 1, 0, 1.0, 0.0),
        ],
    ),
    ("co-mentions", {"least": 2}, [(BREAST, "Breast Neoplasms", ASPIRIN, "Aspirin", 2, 2, 2.0, 1.0)]),
    (
        "co-mentioned-in",
        {"disease": BREAST, "chemical": "aspirin"},
        [
            ("13", 13, "A title", "2021-07", ["breast cancer", "cancer"], ["aspirin"], [1]),
            ("11", 11, "A title", "2020-03", ["Breast cancer", "breast cancer"], ["Aspirin"], [0]),
        ],
    ),
    ("unlinked", {}, [("xyz", "Chemical", 2, 2, 0.5, "12")]),
    ("unlinked", {"type": "Disease"}, []),
    (
        "ambiguous",
        {"least": 1},
        [
            (
                "cancer",
                3,
                1,
                2,
                [
                    {"mesh_id": NEOPLASMS, "name": "Neoplasms", "mentions": 2},
                    {"mesh_id": BREAST, "name": "Breast Neoplasms", "mentions": 1},
                ],
            )
        ],
    ),
    ("ambiguous", {}, []),
    (
        "low-confidence",
        {"concept": NEOPLASMS},
        [("11", 40, 53, "Breast cancer", BREAST, "Breast Neoplasms", "spelling", 0.5, None, None, 0.25)],
    ),
    ("low-confidence", {"under": 0.2}, []),
    (
        "evidence",
        {},
        [
            ("Disease", "name", True, 5, 3, 0.5, 0.5, 0.75),
            ("Chemical", "name", True, 2, 2, 0.2, 0.5, 0.75),
            ("Disease", "spelling", True, 1, 1, 0.1, 0.5, 0.25),
            ("Chemical", None, False, 2, 2, 0.2, 0.5, None),
        ],
    ),
    ("agreement", {}, [("pubmed26n0002.xml", "Disease", 2, 1, 1, 0.5, 0.5)]),
    (
        "coverage",
        {},
        [("Cell", 3, 2, 0.667, 8, 2.67, 0.875), ("Nature", 1, 1, 1.0, 2, 2.0, 0.5)],
    ),
    ("coverage", {"year": 2020}, [("Cell", 1, 1, 1.0, 3, 3.0, 1.0)]),
    (
        "failures",
        {},
        [
            (
                "found ... at N-N, expected ...",
                2,
                2,
                {
                    "source": "pubmed26n0001.xml",
                    "position": "line 3",
                    "reason": "found 'x' at 5-6, expected 'y'",
                },
            ),
            ("no PMID", 1, 1, {"source": "pubmed26n0001.xml", "position": "line 2", "reason": "no PMID"}),
        ],
    ),
    (
        "invalid-annotations",
        {},
        [
            (
                "pubmed26n0001.xml",
                "outside the text",
                2,
                1,
                {"document_id": "11", "position": "line 5", "reason": "at 50"},
            ),
            ("pubmed26n0001.xml", "no type", 1, 1, {"document_id": "11", "position": "line 7", "reason": "at 70"}),
            (
                "pubmed26n0002.xml",
                "outside the text",
                1,
                1,
                {"document_id": "12", "position": "line 3", "reason": "at 30"},
            ),
        ],
    ),
    (
        "invalid-annotations",
        {"name": "n0002"},
        [
            (
                "pubmed26n0002.xml",
                "outside the text",
                1,
                1,
                {"document_id": "12", "position": "line 3", "reason": "at 30"},
            )
        ],
    ),
    (
        "sources",
        {"name": "n0001"},
        [("pubmed26n0001.xml", "1" * 16, True, "complete", 4, 2, 1, 0, 2, 4, 4, FIRST, STARTED)],
    ),
    (
        "new-documents",
        {},
        [
            ("13", "A title", "2021-07", "pubmed26n0002.xml", "new"),
            ("14", "A title", None, "pubmed26n0002.xml", "new"),
            ("12", "A title", "2021", "pubmed26n0002.xml", "revised"),
        ],
    ),
    ("new-concepts", {"since": 1}, []),
    (
        "new-mentions",
        {"since": 1},
        [
            (ASPIRIN, "Aspirin", 1, 0, ["13"]),
            (BREAST, "Breast Neoplasms", 1, 0, ["13"]),
            (NEOPLASMS, "Neoplasms", 1, 0, ["13"]),
        ],
    ),
    ("new-mentions", {"under": SITES}, [(BREAST, "Breast Neoplasms", 1, 0, ["13"])]),
    (
        "lineage",
        {"document": "12"},
        [
            (0, 6, "cancer", NEOPLASMS, "pubmed26n0002.xml", "2" * 16, 0, SECOND, AGAIN, "0.1.0", MODEL, MESH),
            (20, 23, "xyz", None, "pubmed26n0002.xml", "2" * 16, 0, SECOND, AGAIN, "0.1.0", MODEL, MESH),
        ],
    ),
]


@pytest.mark.parametrize(("name", "given", "rows"), ANSWERS, ids=lambda value: value if isinstance(value, str) else "")
def test_answers(home: Home, name: str, given: dict[str, Any], rows: list[tuple[Any, ...]]) -> None:
    assert [tuple(row.values()) for row in answer(home, name, given).to_pylist()] == rows


@pytest.fixture(scope="module")
def composite(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Words that name two concepts, one of them an entry of OMIM, in a source with annotations of its own."""
    home = Home(tmp_path_factory.mktemp("composite"))
    add_vocabulary(home)
    words = "breast and familial cancer"
    notes = [
        noted(0, words, "Disease", "omim:114480", normalized=("Disease", ["114480"])),
        noted(0, words, "SpecificDisease", "D009369*", normalized=("Disease", ["D009369"])),
        noted(50, "BRCA1", "Gene", "672", normalized=(None, [])),
    ]
    add_source(
        home,
        key("a.PubTator"),
        [paper(0, "11", "2020", annotations=notes)],
        mentions=[said(0, "11", words, concept, start=0) for concept in (BREAST, "C562840", "OMIM:114480")]
        + [said(0, "11", "breast cancer", BREAST, start=100)],
    )
    publish(home, VERSIONS)
    return home


def test_words_of_several_concepts_count_once_for_concepts_above_them(composite: Home) -> None:
    assert answer(composite, "timeline", {"concept": NEOPLASMS})["mentions"].to_pylist() == [2]
    assert answer(composite, "documents-of", {"concept": NEOPLASMS})["mentions"].to_pylist() == [2]
    assert answer(composite, "narrower", {"concept": NEOPLASMS})["mentions"].to_pylist() == [2]


def test_words_of_several_concepts_are_not_ambiguous(composite: Home) -> None:
    assert answer(composite, "ambiguous", {"least": 1}).num_rows == 0


def test_agreement_distinguishes_types_and_recognizes_omim_ids(composite: Home) -> None:
    rows = [tuple(row.values()) for row in answer(composite, "agreement").to_pylist()]
    assert rows == [("a.PubTator", "Disease", 2, 2, 1, 1.0, 0.5), ("a.PubTator", "Gene", 1, 0, 0, 0.0, 0.0)]


def test_every_query_is_answered_here() -> None:
    assert {name for name, _, _ in ANSWERS} == set(library())


def test_limit(home: Home) -> None:
    cut = answer(home, "top-concepts", limit_rows=1)
    assert (cut["mesh_id"].to_pylist(), is_cut(cut)) == ([BREAST], True)


@pytest.mark.parametrize(
    ("text", "mesh_id"),
    [
        ("D001943", BREAST),
        ("d001943", BREAST),
        ("MESH:D001943", BREAST),
        ("BREAST neoplasms ", BREAST),
        ("breast cancer", "OMIM:114480"),
        ("omim:114480", "OMIM:114480"),
    ],
)
def test_concepts_by_id_or_name(home: Home, text: str, mesh_id: str) -> None:
    assert find_concept(home, text) == mesh_id


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("none", {}, "no query is named 'none'; expected one of agreement, "),
        ("words", {}, "words needs a value for concept: the concept, without those below it"),
        ("words", {"year": 1}, "words has no parameter 'year'; expected concept"),
        ("evidence", {"year": 1}, "evidence has no parameter 'year'; expected none"),
        (
            "words",
            {"concept": "Brest Neoplasm"},
            "'Brest Neoplasm' is neither an id nor a name of a concept; did you mean 'Breast Neoplasms', 'Neoplasms'",
        ),
        ("words", {"concept": "qqq"}, "'qqq' is neither an id nor a name of a concept"),
        ("words", {"concept": "'; DROP TABLE x; --"}, '"\'; DROP TABLE x; --" is neither an id nor a name'),
        ("new-concepts", {"since": 7}, "{home} has no snapshot 7; it keeps 1, 2"),
    ],
)
def test_invalid_requests_are_refused(home: Home, name: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(QueryRefusedError) as caught:
        answer(home, name, given)
    assert str(caught.value).startswith(message.format(home=home.root))
    assert "\n" not in str(caught.value)
