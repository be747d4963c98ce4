"""Any document that is exported is the same when it is read again."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from bioc import biocjson, biocxml, pubtator
from hypothesis import given, settings
from hypothesis import strategies as st

from e2emern.model.document import Annotation, Document, InvalidAnnotation, Mention, Passage
from e2emern.tasks.export import export
from e2emern.tasks.exporters.brat import FORBIDDEN as BRAT_FORBIDDEN
from e2emern.tasks.exporters.pubtator import FORBIDDEN
from e2emern.tasks.parsers import parse

Annotated = list[tuple[Document, list[Mention]]]

# Any code point that UTF-8 has; few of them, so that the control and line characters come up often.
_texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\x00\t\n\r\x85\u2028𝛽é |"), max_size=40)


@st.composite
def _documents(draw: st.DrawFn) -> tuple[Document, list[Mention]]:
    title, abstract = (text if text.strip() else "" for text in (draw(_texts), draw(_texts)))
    placed = (Passage("title", 0, title), Passage("abstract", len(title) + 1, abstract))
    passages = tuple(passage for passage in placed if passage.text)
    document = Document(str(draw(st.integers(1, 10**8))), 0, passages)
    mentions = []
    for passage in passages:
        # as the model gives them, from a character that is not white space to another
        inked = [at for at, character in enumerate(passage.text) if not character.isspace()]
        start = draw(st.sampled_from(inked))
        words = passage.text[start : draw(st.sampled_from(inked[inked.index(start) :])) + 1]
        ids = draw(st.sampled_from([(None,), ("D003920",), ("C537734", "114480")]))
        at = passage.offset + start
        mentions += [Mention(at, at + len(words), words, "Disease", 0, 0.5, mesh_id=each) for each in ids]
    return document, mentions


def _written(form: str, annotated: Annotated, folder: Path) -> str:
    export(annotated, folder / "out", form=form)
    return (folder / "out").read_bytes().decode()


def _expected(mentions: list[Mention]) -> list[tuple[int, int, str]]:
    grouped: dict[tuple[int, int], list[str]] = {}
    names = {None: "-", "D003920": "MESH:D003920", "C537734": "MESH:C537734", "114480": "OMIM:114480"}
    for mention in mentions:
        grouped.setdefault((mention.start, mention.end), []).append(names[mention.mesh_id])
    return [(start, end, "|".join(ids)) for (start, end), ids in grouped.items()]


@settings(max_examples=60, deadline=None)
@given(st.lists(_documents(), max_size=3))
def test_any_text_comes_back_from_bioc(tmp_path_factory: pytest.TempPathFactory, annotated: Annotated) -> None:
    folder = tmp_path_factory.mktemp("bioc")
    as_json = biocjson.loads(_written("bioc-json", annotated, folder)).documents
    as_xml = list(biocxml.BioCXMLDocumentReader(io.BytesIO(_written("bioc-xml", annotated, folder).encode())))
    for documents in (as_json, as_xml):
        assert [each.id for each in documents] == [document.document_id for document, _ in annotated]
        for read, (document, mentions) in zip(documents, annotated, strict=True):
            assert [(each.offset, len(each.text)) for each in read.passages] == [
                (each.offset, len(each.text)) for each in document.passages
            ]
            found = []
            for passage in read.passages:
                for annotation in passage.annotations:
                    location = annotation.total_span
                    at = location.offset - passage.offset
                    assert passage.text[at : at + location.length] == annotation.text
                    found.append((location.offset, location.end, annotation.infons["identifier"]))
            assert found == _expected(mentions)
    for read, (document, _) in zip(as_json, annotated, strict=True):
        assert [each.text for each in read.passages] == [each.text for each in document.passages]


def _as_pubtator(document: Document, mentions: list[Mention]) -> tuple[str, list[tuple[int, int, str]]]:
    """The parts of a document in PubTator text: its text without surrounding white space, and its mentions."""
    title, abstract = (FORBIDDEN.sub(" ", text) for text in (document.title, document.abstract))
    shifts = [
        len(title.lstrip()) - len(title),
        len(title.strip()) - len(title) + len(abstract.lstrip()) - len(abstract),
    ]
    found = []
    for start, end, ids in _expected(mentions):
        shift = shifts[start > len(title)]
        found.append((start + shift, end + shift, ids))
    return f"{title.strip()} {abstract.strip()}", found


@settings(max_examples=100, deadline=None)
@given(_documents())
def test_any_text_comes_back_from_pubtator(
    tmp_path_factory: pytest.TempPathFactory, annotated: tuple[Document, list[Mention]]
) -> None:
    document, mentions = annotated
    written = _written("pubtator", [annotated], tmp_path_factory.mktemp("pubtator"))
    text, expected = _as_pubtator(document, mentions)
    title, abstract, *lines, after, end = written.split("\n")
    assert (after, end) == ("", "")
    assert title.removeprefix(f"{document.document_id}|t|") + " " + abstract[len(document.document_id) + 3 :] == text
    found = [pubtator.loads_ann(line) for line in lines]
    assert [(each.start, each.end, each.id) for each in found] == expected
    assert [each.text for each in found] == [text[each.start : each.end] for each in found]
    for read in pubtator.loads(written):  # none of a document without text
        assert (read.pmid, f"{read.title} {read.abstract}") == (document.document_id, text)
        assert [(each.start, each.end, each.id) for each in read.annotations] == expected
        assert [read.text[each.start : each.end] for each in read.annotations] == [each.text for each in found]


@pytest.mark.parametrize("form", ["pubtator", "bioc-xml", "bioc-json"])
@settings(max_examples=60, deadline=None)
@given(annotated=st.lists(_documents(), min_size=1, max_size=3))
def test_any_text_comes_back_from_our_own_parsers(
    tmp_path_factory: pytest.TempPathFactory, form: str, annotated: Annotated
) -> None:
    path = tmp_path_factory.mktemp("own") / "out"
    export(annotated, path, form=form)
    for record, (read, (document, mentions)) in enumerate(zip(parse(path), annotated, strict=True)):
        assert isinstance(read, Document)
        assert (read.record, read.document_id) == (record, document.document_id)
        found = [(each.start, each.end, "|".join(each.identifiers) or "-") for each in read.annotations]
        assert found == (_as_pubtator(document, mentions)[1] if form == "pubtator" else _expected(mentions))


@settings(max_examples=60, deadline=None)
@given(st.lists(_documents(), max_size=3, unique_by=lambda each: each[0].document_id))
def test_any_text_comes_back_from_brat(tmp_path_factory: pytest.TempPathFactory, annotated: Annotated) -> None:
    folder = tmp_path_factory.mktemp("brat") / "out"
    export(annotated, folder, form="brat")
    assert len(list(folder.iterdir())) == 1 + 2 * len(annotated)
    for document, mentions in annotated:
        text, lines = ((folder / f"{document.document_id}.{end}").read_bytes().decode() for end in ("txt", "ann"))
        assert text == "".join(BRAT_FORBIDDEN.sub(" ", passage.text) + "\n" for passage in document.passages)
        spans, ids = [], dict[str, list[str]]()
        for line in lines.splitlines():
            name, what, words = line.split("\t")
            if name.startswith("N"):
                _, of, identifier = what.split(" ")
                ids.setdefault(of, []).append(identifier)
                continue
            kind, _, places = what.partition(" ")
            fragments = [tuple(map(int, place.split(" "))) for place in places.split(";")]
            assert (kind, words) == ("Disease", " ".join(text[start:end] for start, end in fragments))
            first = document.passages[0].offset  # 0 in brat's text
            spans.append((name, first + fragments[0][0], first + fragments[-1][1]))
        assert [(start, end, "|".join(ids.get(name, ["-"]))) for name, start, end in spans] == _expected(mentions)


@settings(max_examples=60, deadline=None)
@given(st.lists(_documents(), max_size=3))
def test_any_text_comes_back_from_conll(tmp_path_factory: pytest.TempPathFactory, annotated: Annotated) -> None:
    found: list[tuple[str, str, list[tuple[int, int, str]]]] = []
    for line in _written("conll", annotated, tmp_path_factory.mktemp("conll")).split("\n"):
        if not line:
            continue
        token, start, end, concept, tag = line.split("\t")
        if token == "-DOCSTART-":
            found.append((concept, "", []))
            continue
        name, text, mentions = found[-1]
        found[-1] = (name, text.ljust(int(start)) + token, mentions)
        if tag == "B-Disease":
            mentions.append((int(start), int(end), concept))
        elif tag == "I-Disease":
            mentions[-1] = (mentions[-1][0], int(end), concept)
    assert [each[0] for each in found] == [document.document_id for document, _ in annotated]
    for (_, text, read), (document, mentions) in zip(found, annotated, strict=True):
        assert text == re.sub(r"\s", " ", document.text).rstrip()
        assert read == _expected(mentions)


_facts = st.none() | st.text(max_size=5)
_invalid = st.builds(InvalidAnnotation, st.text(max_size=9), st.text(max_size=9), st.text(max_size=9))


@settings(max_examples=60, deadline=None)
@given(annotated=st.lists(_documents(), min_size=1, max_size=3), data=st.data())
def test_any_document_comes_back_from_json_lines(
    tmp_path_factory: pytest.TempPathFactory, annotated: Annotated, data: st.DataObject
) -> None:
    documents = []
    for record, (document, mentions) in enumerate(annotated):
        spans = [(mention.start, mention.end, mention.text) for mention in mentions]
        documents.append(
            replace(
                document,
                record=record,
                pmid=data.draw(st.none() | st.integers(1, 10**9)),
                version=data.draw(st.integers(1, 9)),
                journal=data.draw(_facts),
                published=data.draw(_facts),
                language=data.draw(_facts),
                annotations=tuple(
                    Annotation(*span, "Disease", tuple(data.draw(st.lists(st.text(max_size=9), max_size=2))))
                    for span in spans
                ),
                invalid_annotations=tuple(data.draw(st.lists(_invalid, max_size=2))),
            )
        )
    path = tmp_path_factory.mktemp("lines") / "out"
    export(
        [(document, mentions) for document, (_, mentions) in zip(documents, annotated, strict=True)], path, form="jsonl"
    )
    assert list(parse(path)) == documents
