"""One source: every record accounted for, whatever the file or the model does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from e2emern.model.document import Mention, Text
from e2emern.model.inference.cascade import Cascade
from e2emern.model.inference.timings import Report
from e2emern.tasks.annotate import annotate_source
from e2emern.tasks.chunks import InProcess
from e2emern.tasks.documents import parse_source, read_documents
from e2emern.tasks.errors import SourceError
from e2emern.tasks.models import load
from e2emern.tasks.sources import find_sources
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home, Versions
from e2emern.warehouse.schemas import MENTIONS
from e2emern.warehouse.sources.counts import SourceCounts, read_source_summary
from tests.flows.world import World, articles, pubmed


@pytest.fixture(scope="module")
def cascade(world: World, tmp_path_factory: pytest.TempPathFactory) -> Cascade:
    return load(world.model, world.mesh, home=Home(tmp_path_factory.mktemp("banks")), device="cpu")


class Odd:
    """A cascade that misbehaves with each batch of texts before it answers."""

    def __init__(self, cascade: Cascade, odd: Callable[[Sequence[Text], list[list[Mention]]], None]) -> None:
        self.cascade, self.odd = cascade, odd
        self.model_version, self.mesh_version = cascade.model_version, cascade.mesh_version

    def annotate(self, texts: Sequence[Text]) -> tuple[list[list[Mention]], Report]:
        mentions, report = self.cascade.annotate(texts)
        self.odd(texts, mentions)
        return mentions, report


def read(folder: Path, table: str) -> list[dict[str, object]]:
    return [row for path in folder.rglob(f"{table}/**/*.parquet") for row in pq.read_table(path).to_pylist()]


def run(path: Path, home: Path, cascade: object) -> SourceCounts:
    (source,) = find_sources([path])
    return annotate_source(source, annotator=InProcess(cascade), home=Home(home)).summary.counts  # type: ignore[arg-type]


def test_every_record_becomes_a_row(cascade: Cascade, tmp_path: Path) -> None:
    path = tmp_path / "dump.xml"
    path.write_text(pubmed([*articles(3, first=100), (7, "", "")], deleted=[1, 2], bad=1))
    counts = run(path, tmp_path / "home", cascade)
    assert counts == SourceCounts(parsed=7, documents=4, annotated=3, without_text=1, failed=1, deleted=2)
    assert [row["document_id"] for row in read(tmp_path / "home", "documents")] == ["100", "101", "102", "7"]
    assert [(row["record"], row["pmid"]) for row in read(tmp_path / "home", "deletions")] == [(5, 1), (6, 2)]
    assert [(row["record"], row["reason"]) for row in read(tmp_path / "home", "failures")] == [(4, "no PMID")]
    mentions = read(tmp_path / "home", "mentions")
    assert list(mentions[0]) == MENTIONS.names
    assert [(m["document_id"], m["start"], m["end"], m["text"], m["mesh_id"]) for m in mentions[:3]] == [
        ("100", 24, 37, "breast cancer", "D001"),
        ("100", 63, 76, "breast cancer", "D001"),
        ("100", 102, 115, "breast cancer", "D001"),
    ]


def test_another_abstract_and_a_vernacular_title_have_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "dump.nbib"
    path.write_text("PMID- 7\nTI  - [Not Available].\nOAB - PIP: Pills cause a rash.\nOABL- eng\nTT  - Gicht.\n")
    (source,) = find_sources([path])
    summary = parse_source(source, home=Home(tmp_path / "home"), report=Report())
    (row,) = read(tmp_path / "home", "documents")
    assert (summary.format, row["title"], row["abstract"]) == ("medline", "", "Pills cause a rash.")
    assert (row["abstract_type"], row["vernacular_title"]) == ("PIP", "Gicht.")


def test_the_same_source_gives_the_same_bytes(cascade: Cascade, tmp_path: Path) -> None:
    path = tmp_path / "dump.xml"
    path.write_text(pubmed(articles(300, first=100), bad=2))
    for name in ("one", "two"):
        run(path, tmp_path / name, cascade)
    files = [sorted(each.relative_to(tmp_path / "one") for each in (tmp_path / "one").rglob("*.parquet"))]
    assert len(files[0]) == 5
    assert all((tmp_path / "one" / each).read_bytes() == (tmp_path / "two" / each).read_bytes() for each in files[0])


def test_a_document_that_the_model_cannot_read_is_a_failure(cascade: Cascade, tmp_path: Path) -> None:
    def choke(texts: Sequence[Text], mentions: list[list[Mention]]) -> None:
        if any("Aspirin" in sentence.text for text in texts for sentence in text.sentences):
            raise RuntimeError("too much\naspirin")

    path = tmp_path / "dump.xml"
    path.write_text(
        pubmed([(1, "No patients with rash.", "x"), (2, "Aspirin caused headache.", ""), (3, "Headache.", "")])
    )
    counts = run(path, tmp_path / "home", Odd(cascade, choke))
    assert counts == SourceCounts(parsed=3, documents=3, annotated=2, without_text=0, failed=1, deleted=0)
    (failure,) = read(tmp_path / "home", "failures")
    assert (failure["record"], failure["document_id"], failure["reason"]) == (
        1,
        "2",
        "model: RuntimeError: too much aspirin",
    )
    assert {row["document_id"] for row in read(tmp_path / "home", "mentions")} == {"3"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: [replace(m, start=m.start + 1)], "mention 'Headache' at 1-8, but the text there is 'eadache'"),
        (lambda m: [m, m], "mention 'Headache' at 0-8 twice"),
    ],
)
def test_a_mention_that_is_not_in_its_text(
    cascade: Cascade, tmp_path: Path, change: Callable[[Mention], list[Mention]], reason: str
) -> None:
    def shift(texts: Sequence[Text], mentions: list[list[Mention]]) -> None:
        mentions[1] = change(mentions[1][0])

    path = tmp_path / "dump.xml"
    path.write_text(pubmed([(1, "Headache.", ""), (2, "Headache.", ""), (3, "Headache.", "")]))
    counts = run(path, tmp_path / "home", Odd(cascade, shift))
    assert (counts.annotated, counts.failed) == (2, 1)
    (failure,) = read(tmp_path / "home", "failures")
    assert (failure["document_id"], failure["reason"]) == ("2", reason)
    assert [row["document_id"] for row in read(tmp_path / "home", "mentions")] == ["1", "3"]


def test_the_good_records_of_a_damaged_source_are_kept(cascade: Cascade, tmp_path: Path) -> None:
    path = tmp_path / "dump.xml"
    path.write_text(pubmed(articles(5, first=100))[:-150])
    counts = run(path, tmp_path / "home", cascade)
    assert counts == SourceCounts(parsed=5, documents=4, annotated=4, without_text=0, failed=1, deleted=0)
    (failure,) = read(tmp_path / "home", "failures")
    assert (failure["record"], failure["position"]) == (4, "after record 3")
    (mentions,) = (tmp_path / "home" / "mentions").rglob("*.parquet")
    summary = read_source_summary(mentions)
    assert (summary.status, summary.error) == ("damaged", failure["reason"])
    assert str(tmp_path) not in str(summary.error)


@pytest.mark.parametrize("content", ["", "hello", "<PubmedArticleSet><PubmedArticle>", "<html></html>"])
def test_a_source_without_one_record_leaves_nothing(cascade: Cascade, tmp_path: Path, content: str) -> None:
    path = tmp_path / "dump.xml"
    path.write_text(content)
    with pytest.raises(SourceError, match=f"^{path}: "):
        run(path, tmp_path / "home", cascade)
    assert [each for each in (tmp_path / "home").rglob("*") if each.is_file()] == []


def test_a_source_that_changed_since_it_was_found_leaves_nothing(cascade: Cascade, tmp_path: Path) -> None:
    path = tmp_path / "dump.xml"
    path.write_text(pubmed(articles(2, first=100)))
    (source,) = find_sources([path])
    path.write_text(path.read_text().replace("100", "200"))
    with pytest.raises(SourceError, match="changed while it was read"):
        annotate_source(source, annotator=InProcess(cascade), home=Home(tmp_path / "home"))
    assert [each for each in (tmp_path / "home").rglob("*") if each.is_file()] == []


def counting(cascade: Cascade, texts_read: list[int]) -> Odd:
    return Odd(cascade, lambda texts, mentions: texts_read.append(len(texts)))


def test_the_same_text_is_not_annotated_again(cascade: Cascade, tmp_path: Path) -> None:
    """A file issued again: two records change, one moves, one is new, one becomes empty; the others are reused."""
    old, new = tmp_path / "old" / "dump.xml", tmp_path / "new" / "dump.xml"
    for path in (old, new):
        path.parent.mkdir()
    before = [*articles(6, first=100), (7, "No word.", "")]
    after = [before[6], *before[1:3], (103, "Headache.", ""), (104, "", ""), before[5], (900, "Headache.", "")]
    old.write_text(pubmed(before))
    new.write_text(pubmed(after))
    run(old, tmp_path / "home", cascade)
    texts_read: list[int] = []
    counts = run(new, tmp_path / "home", counting(cascade, texts_read))
    assert counts == SourceCounts(parsed=7, documents=7, annotated=6, without_text=1, failed=0, deleted=0, carried=4)
    assert texts_read == [2]
    (one,), (other,) = find_sources([old]), find_sources([new])
    rows = read(tmp_path / "home", "mentions")
    for pmid, was, now in ((101, 1, 1), (102, 2, 2), (105, 5, 5)):
        found = [
            [row | {"digest": "", "record": 0} for row in rows if (row["digest"], row["pmid"]) == (key.digest, pmid)]
            for key in (one.key, other.key)
        ]
        assert found[0] == found[1] != []
        assert {row["record"] for row in rows if (row["digest"], row["pmid"]) == (one.key.digest, pmid)} == {was}
        assert {row["record"] for row in rows if (row["digest"], row["pmid"]) == (other.key.digest, pmid)} == {now}
    kept = Home(tmp_path / "home").mentions(other.key, Versions(cascade.model_version, cascade.mesh_version))
    assert [row["record"] for row in pq.read_table(kept).to_pylist()] == sorted(
        row["record"] for row in rows if row["digest"] == other.key.digest
    )
    whole = annotate_source(other, annotator=InProcess(cascade), home=Home(tmp_path / "afresh"))
    columns = ("record", "start", "end", "mesh_id", "how")
    assert [[row[name] for name in columns] for row in read(tmp_path / "afresh", "mentions")] == [
        [row[name] for name in columns] for row in pq.read_table(kept).to_pylist()
    ]
    assert (whole.summary.counts.carried, whole.mentions) == (0, len(pq.read_table(kept)))


def test_reused_mentions_have_the_pmid_of_their_own_document(cascade: Cascade, tmp_path: Path) -> None:
    def full_text(infons: dict[str, str]) -> str:
        passage = {"offset": 0, "infons": infons, "text": "Headache.", "annotations": [], "relations": []}
        return json.dumps({"documents": [{"id": "PMC7", "infons": {}, "passages": [passage], "relations": []}]})

    home, carried = tmp_path / "home", []
    for name, infons in (("one", {}), ("two", {"article-id_pmid": "123"})):
        (tmp_path / f"{name}.json").write_text(full_text(infons))
        carried.append(run(tmp_path / f"{name}.json", home, cascade).carried)
    assert carried == [0, 1]
    assert sorted((row["source"], row["pmid"]) for row in read(home, "mentions")) == [
        ("one.json", None),
        ("two.json", 123),
    ]


def damage(path: Path) -> None:
    """The footer stays as it is, the pages do not."""
    content, group = bytearray(path.read_bytes()), pq.read_metadata(path).row_group(0)
    for column in map(group.column, range(group.num_columns)):
        content[column.data_page_offset : column.data_page_offset + 8] = b"\xff" * 8
    path.write_bytes(content)


def test_stored_documents_that_are_damaged_are_reported(cascade: Cascade, tmp_path: Path) -> None:
    (path := tmp_path / "dump.xml").write_text(pubmed(articles(300, first=100)))
    run(path, tmp_path / "home", cascade)
    (documents,) = (tmp_path / "home" / "documents").glob("*.parquet")
    damage(documents)
    with pytest.raises(WarehouseError, match=f"^{documents} is damaged .*; see e2emern doctor \\(damaged-file\\)$"):
        list(read_documents(documents))


def test_an_unreadable_earlier_source_only_affects_its_own_documents(cascade: Cascade, tmp_path: Path) -> None:
    for name, records in (("a.xml", articles(3, first=100)), ("b.xml", articles(3, first=101))):
        (tmp_path / name).write_text(pubmed(records))
        run(tmp_path / name, tmp_path / "home", cascade)
    (damaged,) = (tmp_path / "home" / "mentions").rglob("a.xml.*.parquet")
    damage(damaged)
    (tmp_path / "c.xml").write_text(pubmed(articles(4, first=100)))
    assert run(tmp_path / "c.xml", tmp_path / "home", cascade).carried == 3  # 101 to 103, which b.xml has


def test_chunks_of_a_source_are_bounded_whatever_its_records_are(tmp_path: Path) -> None:
    (path := tmp_path / "bad.PubTator").write_text("1|t|Rash.\n1|a|\n\n" + "no record\n\n" * 3_000)
    written: list[int] = []

    class Counting(Report):
        @contextmanager
        def timed(self, stage: str) -> Iterator[None]:
            written.append(stage == "write")
            yield

    (source,) = find_sources([path])
    summary = parse_source(source, home=Home(tmp_path / "home"), report=Counting())
    assert summary.unusable == 3_000
    assert sum(written) > 3_000 // 256


def test_nothing_is_reused_from_another_model_or_from_failures(cascade: Cascade, tmp_path: Path) -> None:
    def choke(texts: Sequence[Text], mentions: list[list[Mention]]) -> None:
        raise RuntimeError("no")

    first, second = tmp_path / "a.xml", tmp_path / "b.xml"
    first.write_text(pubmed([(1, "Headache.", "")]))
    second.write_text(pubmed([(1, "Headache.", ""), (2, "Headache.", "")]))
    run(first, tmp_path / "home", Odd(cascade, choke))
    assert run(second, tmp_path / "home", cascade).carried == 0
    other = Odd(cascade, lambda texts, mentions: None)
    other.model_version = "other"
    assert run(second, tmp_path / "home", other).carried == 0
    third = tmp_path / "c.xml"
    third.write_text(pubmed([(1, "Headache.", "")]))
    assert run(third, tmp_path / "home", cascade).carried == 1


def test_another_model_reads_the_parsed_documents(cascade: Cascade, tmp_path: Path) -> None:
    """Each model has separate failures; those of parsing are reported once. The dump itself is not needed again."""

    def choke(texts: Sequence[Text], mentions: list[list[Mention]]) -> None:
        if any("Aspirin" in sentence.text for text in texts for sentence in text.sentences):
            raise RuntimeError("no")

    path = tmp_path / "dump.xml"
    path.write_text(pubmed([(1, "Aspirin.", ""), (2, "Headache.", "")], bad=1))
    (source,) = find_sources([path])
    home = Home(tmp_path / "home")
    other = Odd(cascade, choke)
    other.model_version = "other"
    assert annotate_source(source, annotator=InProcess(cascade), home=home).summary.counts.failed == 1
    path.unlink()
    assert annotate_source(source, annotator=InProcess(other), home=home).summary.counts.failed == 2  # type: ignore[arg-type]
    failures = {
        str(each.parent.relative_to(home.root)): [row["reason"] for row in pq.read_table(each).to_pylist()]
        for each in (home.root / "failures").rglob("*.parquet")
    }
    assert failures == {
        "failures": ["no PMID"],
        f"failures/{cascade.model_version}@tiny": [],
        "failures/other@tiny": ["model: RuntimeError: no"],
    }


@pytest.mark.parametrize("table", ["documents", "deletions", "failures"])
def test_a_missing_or_damaged_file_of_parsing_is_written_again(cascade: Cascade, tmp_path: Path, table: str) -> None:
    path = tmp_path / "dump.xml"
    path.write_text(pubmed(articles(2, first=100), deleted=[1], bad=1))
    home = tmp_path / "home"
    counts = run(path, home, cascade)
    before = {each: each.read_bytes() for each in home.rglob("*.parquet")}
    (made,) = (home / table).glob("*.parquet")
    if table == "documents":
        made.write_bytes(b"PAR1")
    else:
        made.unlink()
    assert run(path, home, cascade) == counts
    assert {each: each.read_bytes() for each in home.rglob("*.parquet")} == before


def test_full_texts_and_annotations_that_do_not_fit(cascade: Cascade, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("9|t|Headache.\n9|a|\n9\t0\t8\tHeadache\tDISEASE\tmesh:D005|-1\n9\t0\t4\tnone\tDisease\tD005\n")
    counts = run(path, tmp_path / "home", cascade)
    assert counts == SourceCounts(
        parsed=1, documents=1, annotated=1, without_text=0, failed=0, deleted=0, invalid_annotations=1
    )
    (document,) = read(tmp_path / "home", "documents")
    assert document["annotations"] == [
        {
            "start": 0,
            "end": 8,
            "text": "Headache",
            "entity_type": "DISEASE",
            "identifiers": ["mesh:D005", "-1"],
            "normalized_type": "Disease",
            "normalized_ids": ["D005"],
        }
    ]
