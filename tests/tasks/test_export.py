"""Exports parse again, with the `bioc` package, and give the same documents and mentions."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from bioc import BioCAnnotation, biocjson, biocxml, pubtator

from e2emern.model.document import Annotation, Document, InvalidAnnotation, Mention, Passage
from e2emern.tasks.errors import InputError
from e2emern.tasks.export import FORMATS, Exported, export, read_annotated
from e2emern.tasks.parsers import parse
from e2emern.warehouse.layout import Home
from e2emern.warehouse.snapshots.publish import publish
from tests.warehouse import homes

TITLE = "Tamoxifen in breast and ovarian cancer 𝛽."
ABSTRACT = "We saw fièvre and 🙂 hepatitis."


def _mention(document: Document, words: str, mesh_id: str | None, name: str | None, **scores: object) -> Mention:
    start = document.text.index(words)
    kind = "Chemical" if words == "Tamoxifen" else "Disease"
    defaults = {"ner_score": 0.9, "mid_score": 0.25, "high_score": 0.5, "link_score": 0.75, "how": "exact"}
    if mesh_id is None:
        defaults = {"ner_score": 0.9}
    return Mention(start, start + len(words), words, kind, 0, mesh_id=mesh_id, mesh_name=name, **{**defaults, **scores})


ABOUT_CANCER = Document(
    "99000001",
    0,
    (Passage("title", 0, TITLE), Passage("abstract", len(TITLE) + 1, ABSTRACT)),
    pmid=99000001,
    journal="Journal of Tests",
    published="2021-03",
    language="eng",
)
CANCER_MENTIONS = [
    _mention(ABOUT_CANCER, "Tamoxifen", "D013629", "Tamoxifen"),
    _mention(ABOUT_CANCER, "breast and ovarian cancer", "D001943", "Breast Neoplasms", ner_score=0.8),
    _mention(ABOUT_CANCER, "breast and ovarian cancer", "114480", "BREAST CANCER", ner_score=0.8, mid_score=None),
    _mention(ABOUT_CANCER, "hepatitis", None, None),
]
FULL_TEXT = Document(
    "PMC7", 1, (Passage("title", 0, "Fever"), Passage("intro", 20, "Malaria & <fever>."), Passage("table", 50, "x"))
)
FULL_TEXT_MENTIONS = [_mention(FULL_TEXT, "Malaria", "D008288", "Malaria")]
WITHOUT_TEXT = Document("99000003", 2, ())

Annotated = list[tuple[Document, list[Mention]]]
BOTH: Annotated = [(ABOUT_CANCER, CANCER_MENTIONS), (FULL_TEXT, FULL_TEXT_MENTIONS), (WITHOUT_TEXT, [])]


def test_pubtator_lines(tmp_path: Path) -> None:
    counts = export(BOTH, tmp_path / "out.txt", form="pubtator", skip_full_text=True)
    assert counts == Exported(documents=2, mentions=4, skipped=1, altered=0)
    assert (tmp_path / "out.txt").read_text() == (
        "99000001|t|Tamoxifen in breast and ovarian cancer 𝛽.\n"
        "99000001|a|We saw fièvre and 🙂 hepatitis.\n"
        "99000001\t0\t9\tTamoxifen\tChemical\tMESH:D013629\n"
        "99000001\t13\t38\tbreast and ovarian cancer\tDisease\tMESH:D001943|OMIM:114480\n"
        "99000001\t62\t71\thepatitis\tDisease\t-\n"
        "\n"
        "99000003|t|\n"
        "99000003|a|\n"
        "\n"
    )


def test_pubtator_refuses_full_text_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"PMC7 \(record 1\) has passages beyond .*'intro'.* with --skip-full-text"):
        export(BOTH, tmp_path / "out.txt", form="pubtator")
    assert list(tmp_path.iterdir()) == []


def test_pubtator_moves_passages_to_their_place(tmp_path: Path) -> None:
    """BioC abstracts may come in pieces, at any offset, and without a title."""
    document = Document("8", 0, (Passage("abstract", 10, "Malaria."), Passage("abstract", 30, "And gout.")))
    mentions = [_mention(document, "Malaria", "D008288", "Malaria"), _mention(document, "gout", "D006073", "Gout")]
    export([(document, mentions)], tmp_path / "out.txt", form="pubtator")
    assert (tmp_path / "out.txt").read_text() == (
        "8|t|\n8|a|Malaria. And gout.\n"
        "8\t1\t8\tMalaria\tDisease\tMESH:D008288\n8\t14\t18\tgout\tDisease\tMESH:D006073\n\n"
    )


def test_pubtator_writes_no_white_space_around_a_text(tmp_path: Path) -> None:
    """Cause: the reader of the `bioc` package drops it, so its offsets were off by one."""
    document = Document("8", 0, (Passage("title", 0, " \tGout. "), Passage("abstract", 9, "  Malaria and pain  ")))
    mentions = [
        _mention(document, "Gout", "D006073", "Gout"),
        _mention(document, "Malaria", "D008288", "Malaria"),
        _mention(document, "pain  ", "D010146", "Pain"),
    ]
    export([(document, mentions)], tmp_path / "out.txt", form="pubtator")
    assert (tmp_path / "out.txt").read_text() == (
        "8|t|Gout.\n8|a|Malaria and pain\n8\t0\t4\tGout\tDisease\tMESH:D006073\n"
        "8\t6\t13\tMalaria\tDisease\tMESH:D008288\n8\t18\t22\tpain\tDisease\tMESH:D010146\n\n"
    )


@pytest.mark.parametrize("form", ["bioc-xml", "bioc-json"])
def test_bioc_names_documents_whose_offsets_are_ours(tmp_path: Path, form: str) -> None:
    assigned = InvalidAnnotation("document 1", "offsets assigned", "passage 1: no usable offset")
    other = replace(assigned, kind="outside the text")
    documents = [replace(ABOUT_CANCER, invalid_annotations=each) for each in ((), (other,), (other, assigned))]
    export([(document, []) for document in documents], tmp_path / "out", form=form)
    with (tmp_path / "out").open("rb") as file:
        read = (biocxml.load(file) if form == "bioc-xml" else biocjson.load(file)).documents
    assert [document.infons.get("offsets") for document in read] == [None, None, "assigned"]


@pytest.mark.parametrize(
    ("title", "abstract", "text"),
    [
        ("Gout |t| > 2", "Rash |a| = 3", "Gout  t| > 2 Rash  a| = 3"),
        ("Gout|t|t|a|", "Rash||a|", "Gout t t a| Rash| a|"),
        ("", "Gout |t| Rash", " Gout  t| Rash"),
        ("Gout Rash ", "", "Gout Rash "),
        ("\u3000Gout\u00a0", "\tRash\n\n", "Gout Rash"),
    ],
)
def test_every_reader_reads_the_same_text(tmp_path: Path, title: str, abstract: str, text: str) -> None:
    """The reader of the `bioc` package reads every line with `|t|` or `|a|` as a title or an abstract."""
    placed = (Passage("title", 0, title), Passage("abstract", len(title) + 1, abstract))
    document = Document("7", 0, tuple(passage for passage in placed if passage.text))
    mentions = [_mention(document, words, "D1", "X") for words in ("Gout", "Rash")]
    export([(document, mentions)], tmp_path / "out", form="pubtator")
    (ours,) = parse(tmp_path / "out")
    (theirs,) = pubtator.loads((tmp_path / "out").read_text())
    assert isinstance(ours, Document)
    assert f"{theirs.title} {theirs.abstract}" == f"{ours.title} {ours.abstract}" == text
    for read in (ours, theirs):
        assert [each.text for each in read.annotations] == ["Gout", "Rash"]
        assert [text[each.start : each.end] for each in read.annotations] == ["Gout", "Rash"]


def test_pubtator_replaces_line_separators(tmp_path: Path) -> None:
    document = Document("9", 0, (Passage("title", 0, "Yellow\tfever\u2028now"), Passage("abstract", 17, "One\r\ntwo.")))
    counts = export(
        [(document, [_mention(document, "Yellow\tfever", "D015004", "Yellow Fever")])],
        tmp_path / "out.txt",
        form="pubtator",
    )
    assert counts == Exported(documents=1, mentions=1, altered=1)
    assert (tmp_path / "out.txt").read_text() == (
        "9|t|Yellow fever now\n9|a|One  two.\n9\t0\t12\tYellow fever\tDisease\tMESH:D015004\n\n"
    )


@pytest.mark.parametrize("form", ["bioc-xml", "bioc-json"])
def test_bioc_holds_every_passage_and_score(tmp_path: Path, form: str) -> None:
    assert export(BOTH, tmp_path / "out", form=form) == Exported(documents=3, mentions=5)
    with (tmp_path / "out").open("rb") as file:
        collection = biocxml.load(file) if form == "bioc-xml" else biocjson.load(file)
    assert (collection.source, collection.key) == ("e2emern", "docs/exports.md")
    cancer, full_text, empty = collection.documents
    assert [cancer.id, full_text.id, empty.id] == ["99000001", "PMC7", "99000003"]
    assert cancer.infons == {
        "pmid": "99000001",
        "journal": "Journal of Tests",
        "published": "2021-03",
        "year": "2021",
        "language": "eng",
    }
    assert [(passage.infons, passage.offset, passage.text) for passage in full_text.passages] == [
        ({"type": "title"}, 0, "Fever"),
        ({"type": "intro"}, 20, "Malaria & <fever>."),
        ({"type": "table"}, 50, "x"),
    ]
    assert [len(passage.annotations) for passage in full_text.passages] == [0, 1, 0]
    assert empty.passages == []
    tamoxifen, composite = cancer.passages[0].annotations
    (hepatitis,) = cancer.passages[1].annotations
    assert [tamoxifen.id, composite.id, hepatitis.id] == ["1", "2", "3"]
    assert tamoxifen.infons == {
        "type": "Chemical",
        "identifier": "MESH:D013629",
        "name": "Tamoxifen",
        "ner_score": "0.9",
        "mid_score": "0.25",
        "high_score": "0.5",
        "link_score": "0.75",
        "how": "exact",
    }
    assert (composite.text, composite.total_span.offset, composite.total_span.length) == (
        "breast and ovarian cancer",
        13,
        25,
    )
    assert composite.infons["identifier"] == "MESH:D001943|OMIM:114480"
    assert composite.infons["name"] == "Breast Neoplasms|BREAST CANCER"
    assert composite.infons["mid_score"] == "0.25|-"
    assert hepatitis.infons == {"type": "Disease", "identifier": "-", "ner_score": "0.9"}


def test_a_mention_is_searched_in_the_passage_it_begins_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a full text of thousands of passages and mentions would take minutes."""
    document = Document("PMC8", 0, tuple(Passage("methods", 10 * at, "gout gout") for at in range(200)))
    mentions = [Mention(at, at + 4, "gout", "Disease", 0, 0.5) for at in range(0, 2000, 5)]
    calls: list[object] = []

    def plural(read: Callable[[Any], Any]) -> property:
        return property(lambda this: calls.append(this) or read(this))

    monkeypatch.setattr(Passage, "end", plural(lambda passage: passage.offset + len(passage.text)))
    monkeypatch.setattr(BioCAnnotation, "total_span", plural(lambda annotation: annotation.locations[0]))
    assert export([(document, mentions)], tmp_path / "out", form="bioc-json") == Exported(documents=1, mentions=400)
    assert len(calls) < 2000
    (written,) = biocjson.loads((tmp_path / "out").read_text()).documents
    assert {len(passage.annotations) for passage in written.passages} == {2}


def test_bioc_xml_replaces_characters_that_xml_forbids(tmp_path: Path) -> None:
    document = Document("1\x02", 0, (Passage("title", 0, "A\x00gout\x0b\uffff"),), journal="J\x1f")
    counts = export(
        [(document, [_mention(document, "gout", "D006073", "Gout")])], tmp_path / "out.xml", form="bioc-xml"
    )
    assert counts == Exported(documents=1, mentions=1, altered=1)
    (read,) = biocxml.loads((tmp_path / "out.xml").read_text()).documents
    assert (read.id, read.infons["journal"], read.passages[0].text) == ("1�", "J�", "A�gout��")


def test_bioc_json_of_nothing_is_a_collection(tmp_path: Path) -> None:
    assert export([], tmp_path / "out.json", form="bioc-json") == Exported()
    assert biocjson.loads((tmp_path / "out.json").read_text()).documents == []


def test_jsonl_holds_every_field(tmp_path: Path) -> None:
    document = replace(ABOUT_CANCER, annotations=(Annotation(0, 9, "Tamoxifen", "Chemical", ("D013629",)),))
    export([(document, CANCER_MENTIONS)], tmp_path / "out.jsonl", form="jsonl")
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    expected = {**asdict(document), "mentions": [asdict(mention) for mention in CANCER_MENTIONS]}
    del expected["annotations"][0]["line"]
    assert json.loads(line) == json.loads(json.dumps(expected))
    assert json.loads(line)["mentions"][3]["mesh_id"] is None


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "docbin"])
def test_gz_compresses_the_same_bytes(tmp_path: Path, form: str) -> None:
    plain, packed, again = tmp_path / "plain.tar", tmp_path / "out.tar.gz", tmp_path / "other.tar.gz"
    for path in (plain, packed, again):
        export(BOTH, path, form=form, skip_full_text=True)
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    assert packed.read_bytes() == again.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.tar.gz", "out.tar.gz", "plain.tar"]


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "docbin"])
def test_dash_is_standard_output(tmp_path: Path, form: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    export(BOTH, tmp_path / "plain.tar", form=form, skip_full_text=True)
    export(BOTH, "-", form=form, skip_full_text=True)
    assert capfdbinary.readouterr().out == (tmp_path / "plain.tar").read_bytes()


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "docbin"])
def test_an_export_that_fails_keeps_the_previous_file(tmp_path: Path, form: str) -> None:
    (tmp_path / "out.tar").write_text("yesterday")

    def breaks() -> Annotated:
        yield BOTH[0]
        raise InputError("the home is damaged")

    with pytest.raises(InputError, match="the home is damaged"):
        export(breaks(), tmp_path / "out.tar", form=form)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.tar", "yesterday")]


def test_a_mention_with_other_words_than_its_document_is_an_error(tmp_path: Path) -> None:
    wrong = replace(CANCER_MENTIONS[0], start=1)
    with pytest.raises(InputError, match=r"99000001 \(record 0\) has 'amoxifen' at 1:9, expected .* 'Tamoxifen'"):
        export([(ABOUT_CANCER, [wrong])], tmp_path / "out", form="jsonl")


def test_an_unknown_format_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'xml': expected one of pubtator, bioc-xml, bioc-json, jsonl, brat, conll"):
        export([], tmp_path / "out", form="xml")


def test_an_output_that_cannot_be_a_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/out: cannot write the export: "):
        export([], tmp_path / "file" / "out", form="jsonl")
    with pytest.raises(InputError, match="cannot write the export: Is a directory"):
        export([], tmp_path, form="jsonl")


def test_bioc_reads_the_pubtator_file(tmp_path: Path) -> None:
    export(BOTH, tmp_path / "out.txt", form="pubtator", skip_full_text=True)
    with (tmp_path / "out.txt").open() as file:
        (read,) = pubtator.load(file)  # it drops documents without text
    assert (read.pmid, read.text) == ("99000001", f"{TITLE}\n{ABSTRACT}")
    pubtator.validate(read)
    assert [(each.start, each.end, each.text, each.type, each.id) for each in read.annotations] == [
        (0, 9, "Tamoxifen", "Chemical", "MESH:D013629"),
        (13, 38, "breast and ovarian cancer", "Disease", "MESH:D001943|OMIM:114480"),
        (62, 71, "hepatitis", "Disease", "-"),
    ]


def test_a_home_comes_back_as_documents_and_mentions(tmp_path: Path) -> None:
    home, source = Home(tmp_path), homes.key("a.xml")
    homes.add_vocabulary(home)
    first = homes.document(0, "11", text="Ague") | {
        "journal": "J",
        "annotations": [{"start": 0, "end": 1, "text": "A", "entity_type": "Disease", "identifiers": ["D1", "D2"]}],
    }
    homes.add_source(home, source, [first, homes.document(1, "PMC9")], mentions=[homes.mention(0, "11")])
    homes.add_run(home, source)
    publish(home, homes.VERSIONS)
    assert list(read_annotated(home)) == [
        (
            Document(
                "11",
                0,
                (Passage("title", 0, "Ague"),),
                pmid=11,
                journal="J",
                published="2021",
                language="eng",
                annotations=(Annotation(0, 1, "A", "Disease", ("D1", "D2")),),
            ),
            [Mention(0, 1, "A", "Disease", 0, 0.5, mesh_id="D001943")],
        ),
        (Document("PMC9", 1, (Passage("title", 0, "A title"),), published="2021", language="eng"), []),
    ]
    assert export(read_annotated(home), "-", form="pubtator") == Exported(documents=2, mentions=1)
