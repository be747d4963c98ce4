"""JSON lines of our own export, with all fields, and with damaged lines."""

import json
from dataclasses import fields

import pytest

from e2emern.model.document import Annotation, Document, InvalidAnnotation, Mention, Passage
from e2emern.tasks.export import export
from e2emern.tasks.parsers import detect_format, parse
from e2emern.tasks.parsers.records import Failure

PASSAGES = [
    {"section": "title", "offset": 0, "text": "Old gout 𝛼"},
    {"section": "abstract", "offset": 12, "text": "Urate."},
]
GOUT = {"start": 4, "end": 8, "text": "gout", "entity_type": "Disease", "identifiers": ["p|SUB|1", "D006073"]}
LINE = {"document_id": "7", "record": 90, "passages": PASSAGES, "pmid": 7}


def lines(*raws):
    return "".join(json.dumps(raw) + "\n" for raw in raws)


def test_a_document_with_all_its_fields(write):
    invalid = {"position": "line 3", "kind": "no type", "reason": "'x' has no type"}
    raw = {
        **{"version": 2, "journal": "J", "published": "2021-03", "language": "eng"},
        **{"vernacular_title": "Gicht", "abstract_type": "PIP"},
        **{"annotations": [GOUT], "invalid_annotations": [invalid], "mentions": [{"start": 0}], "more": {}},
        **LINE,
    }
    path = write(lines(raw))
    assert detect_format(path) == "jsonl"
    assert list(parse(path)) == [
        Document(
            document_id="7",
            record=0,
            passages=(Passage("title", 0, "Old gout 𝛼"), Passage("abstract", 12, "Urate.")),
            pmid=7,
            version=2,
            journal="J",
            published="2021-03",
            language="eng",
            vernacular_title="Gicht",
            abstract_type="PIP",
            annotations=(Annotation(4, 8, "gout", "Disease", ("p|SUB|1", "D006073")),),
            invalid_annotations=(InvalidAnnotation("line 3", "no type", "'x' has no type"),),
        )
    ]


@pytest.mark.parametrize(
    ("broken", "reason", "document_id"),
    [
        (b'{"document_id": "8", "pass', "not a JSON value", None),
        (b"[" * 100_000, "not a JSON value", None),
        (b"5", "found '5', expected an object", None),
        (b'{"passages": []}', "line without document_id", None),
        (b'{"document_id": " ", "passages": []}', "line without document_id", None),
        (b'{"document_id": "8"}', "passages: found 'None', expected a list of objects", "8"),
        (b'{"document_id": "8", "passages": [5]}', "passages: found '[5]', expected a list of objects", "8"),
        (b'{"document_id": "8", "passages": [{"offset": 0, "text": 5}]}', "text: found '5', expected a text", "8"),
        (b'{"document_id": "8\xf6"}', "byte 0xF6 is not UTF-8; the file looks like Latin-1 (Windows-1252)", None),
    ],
)
def test_a_broken_line_is_a_failure_and_the_next_is_read(write, broken, reason, document_id):
    first, failure, last = parse(write(lines(LINE).encode() + b"\n" + broken + b"\n" + lines(LINE).encode()))
    assert (first.record, last.record) == (0, 2)
    assert isinstance(failure, Failure)
    assert (failure.record, failure.position, failure.document_id) == (1, "line 3", document_id)
    assert failure.reason.startswith(reason)


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (5, "malformed annotation"),
        ({**GOUT, "start": 5}, "other words at its offsets"),
        ({**GOUT, "end": 99}, "outside the text"),
        ({**GOUT, "end": None}, "offsets are not numbers"),
    ],
)
def test_an_invalid_annotation_is_part_of_its_document(write, annotation, kind):
    (document,) = parse(write(lines({**LINE, "annotations": [GOUT, annotation]})))
    assert document.annotations == (Annotation(4, 8, "gout", "Disease", ("p|SUB|1", "D006073")),)
    assert [(each.position, each.kind) for each in document.invalid_annotations] == [("line 1", kind)]


def test_annotations_that_are_not_a_list_are_invalid(write):
    (document,) = parse(write(lines({**LINE, "annotations": 5})))
    assert [each.kind for each in document.invalid_annotations] == ["malformed annotation"]


def test_every_field_of_a_document_comes_back(tmp_path):
    """A field that is added to `Document` must be read back, too."""
    invalid = InvalidAnnotation("line 3", "no type", "'x' has no type")
    facts = {field.name: field.name for field in fields(Document)}
    document = Document(
        **{
            **facts,
            "record": 0,
            "pmid": 7,
            "version": 2,
            "passages": (Passage("title", 3, " Gout\t\n"), Passage("intro", 20, "𝛼")),
            "annotations": (Annotation(4, 8, "Gout", "Disease", ("D006073",)),),
            "invalid_annotations": (invalid,),
        }
    )
    export([(document, [Mention(4, 8, "Gout", "Disease", 0, 0.5)])], tmp_path / "out", form="jsonl")
    assert list(parse(tmp_path / "out")) == [document]


def test_passages_without_a_usable_offset_are_laid_out(write):
    raw = {**LINE, "passages": [{"section": "title", "text": "Gout."}, {"section": "abstract", "text": "Pain."}]}
    (document,) = parse(write(lines(raw)))
    assert document.passages == (Passage("title", 0, "Gout."), Passage("abstract", 6, "Pain."))
    assert [each.kind for each in document.invalid_annotations] == ["offsets assigned"]


def test_half_a_surrogate_pair_is_one_character(write):
    text = r"{'document_id': '7', 'passages': [{'offset': 0, 'text': 'a\ud83d b\ud83d\ude00'}]}".replace("'", '"')
    (document,) = parse(write(text))
    assert document.text == "a\ufffd b😀"
