"""BioC XML and BioC JSON: the same table of documents in both, since they share all but their syntax."""

import json
from xml.sax.saxutils import escape, quoteattr

import pytest
from bioc import BioCAnnotation, BioCCollection, BioCDocument, BioCLocation, BioCPassage, biocjson, biocxml

from e2emern.model.document import Annotation, Document, Passage
from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers.bioc_json import parse_bioc_json
from e2emern.tasks.parsers.bioc_xml import parse_bioc_xml
from e2emern.tasks.parsers.records import Failure


def as_json(documents):
    return json.dumps({"source": "s", "date": "", "key": "", "infons": {}, "documents": documents})


def as_xml(documents):
    return "<collection><source>s</source><date/><key/>{}</collection>".format("".join(map(_xml_document, documents)))


def _xml_document(raw):
    identifier = f"<id>{raw['id']}</id>" if "id" in raw else ""
    passages = "".join(_xml_passage(passage, "passage") for passage in raw.get("passages", ()))
    return f"\n<document>{identifier}{_xml_infons(raw)}{passages}{_xml_annotations(raw)}</document>"


def _xml_passage(raw, tag):
    offset = f"<offset>{raw['offset']}</offset>" if "offset" in raw else ""
    text = f"<text>{escape(raw['text'])}</text>" if "text" in raw else ""
    sentences = "".join(_xml_passage(sentence, "sentence") for sentence in raw.get("sentences", ()))
    return f"<{tag}>{_xml_infons(raw)}{offset}{text}{sentences}{_xml_annotations(raw)}</{tag}>"


def _xml_annotations(raw):
    return "".join(
        f"<annotation>{_xml_infons(annotation)}"
        + "".join(f'<location offset="{at["offset"]}" length="{at["length"]}"/>' for at in annotation["locations"])
        + f"<text>{escape(annotation['text'])}</text></annotation>"
        for annotation in raw.get("annotations", ())
    )


def _xml_infons(raw):
    return "".join(f"<infon key={quoteattr(k)}>{escape(str(v))}</infon>" for k, v in raw.get("infons", {}).items())


@pytest.fixture(params=["xml", "json"])
def parsed(request, write):
    """Parse documents, given in the shape of BioC JSON, in each of the two formats."""

    def parsed(*documents):
        if request.param == "xml":
            return list(parse_bioc_xml(write(as_xml(documents))))
        return list(parse_bioc_json(write(as_json(documents))))

    return parsed


def annotation(start, text, *more, **infons):
    spans = [(start, len(text)), *more] if not more else [(start, 4), *more]
    return {
        "text": text,
        "infons": {"type": "Disease", **infons},
        "locations": [{"offset": offset, "length": length} for offset, length in spans],
    }


def passage(offset, text, section=None, annotations=(), **infons):
    infons = {**infons, **({"type": section} if section else {})}
    return {"offset": offset, "text": text, "infons": infons, "annotations": list(annotations)}


def test_an_abstract(parsed):
    gout = annotation(0, "Gout", identifier="MESH:D006073")
    urate = annotation(10, "Urate & 𝛼", identifier="-")
    assert parsed(
        {
            "id": "7",
            "passages": [
                passage(0, "Gout.", "title", [gout], journal="J Gout; 2021 Mar 7", year="2021"),
                passage(6, "Of 𝛼 Urate & 𝛼.", "abstract", [dict(urate, locations=[{"offset": 11, "length": 9}])]),
            ],
        }
    ) == [
        Document(
            document_id="7",
            record=0,
            passages=(Passage("title", 0, "Gout."), Passage("abstract", 6, "Of 𝛼 Urate & 𝛼.")),
            pmid=7,
            journal="J Gout",
            published="2021",
            annotations=(
                Annotation(0, 4, "Gout", "Disease", ("MESH:D006073",)),
                Annotation(11, 20, "Urate & 𝛼", "Disease", ()),
            ),
        )
    ]


def test_a_full_text_keeps_its_sections_and_offsets(parsed):
    (document,) = parsed(
        {
            "id": "55",
            "passages": [
                passage(0, "Gout", "front", section_type="TITLE", **{"article-id_pmid": "7", "article-id_pmc": "55"}),
                passage(5, "Aim", "abstract_title_1", section_type="ABSTRACT"),
                passage(9, "", "paragraph", section_type="INTRO"),
                passage(20, " Urate. ", "paragraph", section_type="INTRO"),
                passage(30, "Other"),
            ],
        }
    )
    assert document.pmid == 7
    assert document.passages == (
        Passage("title", 0, "Gout"),
        Passage("abstract", 5, "Aim"),
        Passage("intro", 20, " Urate. "),
        Passage("", 30, "Other"),
    )


@pytest.mark.parametrize(
    ("document_id", "section", "infons", "pmid"),
    [
        ("7", "title", {}, 7),
        ("7", "front", {}, 7),
        ("7", "paragraph", {}, None),
        ("7", None, {}, None),
        ("PMC7", "title", {}, None),
        ("7", "title", {"article-id_pmc": "PMC7"}, None),
        ("7", "title", {"article-id_pmc": "PMC9"}, 7),
        ("7", "title", {"article-id_pmid": "8"}, 8),
        ("9" * 30, "title", {}, None),
    ],
)
def test_the_id_of_an_abstract_is_a_pmid(parsed, document_id, section, infons, pmid):
    (document,) = parsed({"id": document_id, "passages": [passage(0, "Gout", section, **infons)]})
    assert document.pmid == pmid


def test_sentences_make_the_text_of_a_passage(parsed):
    sentences = [
        {"offset": 3, "text": "Gout.", "annotations": [annotation(3, "Gout")]},
        {"offset": 10, "text": "Pain.", "annotations": [annotation(10, "Pain")]},
    ]
    (document,) = parsed({"id": "1", "passages": [{"offset": 3, "sentences": sentences}]})
    assert document.passages == (Passage("", 3, "Gout.  Pain."),)
    assert [document.text[found.start : found.end] for found in document.annotations] == ["Gout", "Pain"]


def test_annotations_may_be_at_the_document_and_have_several_locations(parsed):
    whole = annotation(4, "gout or pain", (12, 4))
    parts = annotation(4, "gout pain", (12, 4))
    (found,) = parsed({"id": "1", "passages": [passage(0, "Old gout or pain.")], "annotations": [whole, parts]})
    assert found.annotations == (Annotation(4, 16, "gout or pain", "Disease"),)
    assert [invalid.reason for invalid in found.invalid_annotations] == ["'gout pain' has 2 locations"]


@pytest.mark.parametrize(
    ("infons", "identifiers"),
    [
        ({"identifier": "MESH:D1;MESH:D2"}, ("MESH:D1", "MESH:D2")),
        ({"MESH": "D1|D2"}, ("D1", "D2")),
        ({"Identifier": "", "OMIM": "1"}, ("1",)),
        ({}, ()),
    ],
)
def test_identifiers_of_annotations(parsed, infons, identifiers):
    (document,) = parsed({"id": "1", "passages": [passage(0, "Gout", None, [annotation(0, "Gout", **infons)])]})
    assert document.annotations[0].identifiers == identifiers


@pytest.mark.parametrize(
    ("wrong", "kind", "reason"),
    [
        (annotation(1, "Gout"), "outside the text", "'Gout' at 1-5 lies outside the text of 0-4"),
        (annotation(0, "gout"), "other words at its offsets", "found 'Gout' at 0-4, expected 'gout'"),
        (annotation(3, "Gout"), "outside the text", "'Gout' at 3-7 lies outside the text of 0-4"),
        (annotation(-1, "Gout"), "outside the text", "'Gout' at -1-3 lies outside the text of 0-4"),
        (annotation(0, ""), "end not after start", "'' at 0-0 is empty or reversed"),
        (dict(annotation(0, "Gout"), locations=[]), "malformed annotation", "'Gout' has no location"),
        (
            dict(annotation(0, "Gout"), locations=[{"offset": "x", "length": 4}]),
            "offsets are not numbers",
            "found offset 'x', expected a number",
        ),
        (
            dict(annotation(0, "Gout"), locations=[{"offset": 0, "length": "1.5"}]),
            "offsets are not numbers",
            "found offset '1.5', expected a number",
        ),
        (
            dict(annotation(0, "Gout"), locations=[{"offset": "0;6", "length": 4}]),
            "discontinuous offsets",
            "found offsets '0;6', expected one number",
        ),
    ],
)
def test_an_invalid_annotation_is_part_of_its_document(parsed, wrong, kind, reason):
    good = annotation(0, "Gout")
    (document,) = parsed({"id": "1", "passages": [passage(0, "Gout", None, [good, wrong])]})
    assert document.annotations == (Annotation(0, 4, "Gout", "Disease"),)
    (invalid,) = document.invalid_annotations
    assert (invalid.kind, invalid.reason) == (kind, reason)


@pytest.mark.parametrize(
    ("broken", "reason", "document_id"),
    [
        ({"passages": []}, "document without id", None),
        ({"id": " ", "passages": []}, "document without id", None),
    ],
)
def test_a_malformed_record_is_a_failure_and_the_next_is_read(parsed, broken, reason, document_id):
    good = {"id": "1", "passages": [passage(0, "Gout")]}
    first, failure, last = parsed(good, broken, good)
    assert (first.record, last.record) == (0, 2)
    assert failure.position in ("line 3", "document 2")
    assert failure == Failure(1, failure.position, reason, document_id)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (5, "document is '5', expected an object"),
        ([], "document is '[]', expected an object"),
        ({"id": "2"}, "passages: found 'None', expected a list"),
        ({"id": "2", "passages": {}}, "passages: found '{}', expected a list"),
        ({"id": "2", "passages": ["x"]}, "passage 1 is 'x', expected an object"),
        ({"id": "2", "passages": [{"offset": 0, "text": 5}]}, "text: found '5', expected a text"),
        (
            {"id": "2", "passages": [{"offset": 0, "sentences": [1]}]},
            "sentence 1 of passage 1 is '1', expected an object",
        ),
    ],
)
def test_json_with_another_structure_is_a_failure(write, broken, reason):
    _, failure, last = parse_bioc_json(write(as_json([{"id": "1", "passages": []}, broken, {"id": 3, "passages": []}])))
    assert failure.reason == reason
    assert (last.document_id, last.record) == ("3", 2)


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"annotations": 1}, "malformed annotation"),
        ({"annotations": ["x"]}, "malformed annotation"),
        ({"annotations": [{"text": 5, "locations": []}]}, "malformed annotation"),
        ({"annotations": [{"text": "Gout", "locations": [7]}]}, "malformed annotation"),
        ({"annotations": [{"text": "Gout", "locations": {"offset": 0}}]}, "malformed annotation"),
        ({"annotations": [dict(annotation(0, "Gout"), infons="x")]}, "malformed annotation"),
        ({"annotations": [dict(annotation(0, "Gout"), locations=[{"length": 4}])]}, "offsets are not numbers"),
        ({"annotations": [dict(annotation(0, "Gout"), locations=[{"offset": True}])]}, "offsets are not numbers"),
        ({"infons": "x"}, "malformed infons"),
    ],
)
def test_errors_in_parts_that_annotation_does_not_need_do_no_harm(write, wrong, kind):
    raw = {"id": "1", "passages": [{"offset": 0, "text": "Gout", **wrong}], "relations": 5}
    (document,) = parse_bioc_json(write(as_json([raw])))
    assert document.passages == (Passage("", 0, "Gout"),)
    assert [(one.position, one.kind) for one in document.invalid_annotations] == [("document 1", kind)]


def _gout(offset, start, section="abstract"):
    """A passage with an annotation at its own offset; without an offset if that is None."""
    raw = passage(offset, "Old gout.", section, [annotation(start, "gout")])
    return {key: value for key, value in raw.items() if key != "offset" or value is not None}


@pytest.mark.parametrize(
    ("passages", "offsets", "starts", "moved"),
    [
        ([_gout(None, 4), _gout(None, 14)], [0, 10], [4, 14], "passage 1, passage 2"),
        ([_gout(0, 4), _gout(None, 14)], [0, 10], [4, 14], "passage 2"),
        ([_gout(0, 4), _gout(0, 4)], [0, 10], [4, 14], "passage 2"),
        ([_gout(0, 4), _gout(3, 7), _gout(30, 34)], [0, 10, 30], [4, 14, 34], "passage 2"),
        ([_gout(20, 24), _gout(0, 4)], [20, 30], [24, 34], "passage 2"),
        ([_gout("ten", 4), _gout(-1, 14)], [0, 10], [4, 14], "passage 1, passage 2"),
        ([_gout(0.5, 4), _gout(30_000_000, 30_000_004)], [0, 10], [4, 14], "passage 1, passage 2"),
        ([_gout(50_000, 50_004), _gout(100_018, 100_022)], [50_000, 50_010], [50_004, 50_014], "passage 2"),
        ([_gout(0, 4)] * 5, [0, 10, 20, 30, 40], [4, 14, 24, 34, 44], "passage 2, passage 3, passage 4 and 1 more"),
    ],
    ids=["none", "one", "from 0 each", "overlap", "descending", "no numbers", "far", "too many gaps", "many"],
)
def test_passages_without_a_usable_offset_are_laid_out(parsed, passages, offsets, starts, moved):
    (document,) = parsed({"id": "1", "passages": passages})
    assert [each.offset for each in document.passages] == offsets
    assert [each.text for each in document.passages] == ["Old gout."] * len(offsets)
    assert [each.start for each in document.annotations] == starts
    (invalid,) = document.invalid_annotations
    assert invalid.kind == "offsets assigned"
    assert invalid.reason == f"{moved}: no usable offset, an overlap or a large gap; laid out after the text before"


def test_the_gaps_of_a_document_are_bounded(parsed):
    (document,) = parsed({"id": "1", "passages": [_gout(50_000, 50_004), _gout(100_009, 100_013)]})
    assert [each.offset for each in document.passages] == [50_000, 100_009]
    assert document.invalid_annotations == ()
    passages = [passage(at * 90_000, "Gout.", sentences=[]) for at in range(200)]
    passages[1] = {"offset": 90_000, "sentences": [{"offset": at, "text": "A."} for at in (90_000, 95_000, 19_999_999)]}
    (document,) = parsed({"id": "1", "passages": passages})
    assert [each.offset for each in document.passages[:4]] == [0, 90_000, 95_006, 95_012]
    assert len(document.text) == 95_005 + 198 * 6


def test_annotations_that_do_not_fit_assigned_offsets_are_invalid(parsed):
    (document,) = parsed({"id": "1", "passages": [_gout(None, 4), _gout(None, 99)]})
    assert [each.start for each in document.annotations] == [4]
    assert [each.kind for each in document.invalid_annotations] == ["outside the text", "offsets assigned"]


@pytest.mark.parametrize("offset", ["0.0", " 0 "])
def test_offsets_may_be_numbers_without_a_fraction(parsed, offset):
    (document,) = parsed({"id": "1", "passages": [passage(offset, "Gout", None, [annotation(0, "Gout")])]})
    assert document.annotations == (Annotation(0, 4, "Gout", "Disease"),)
    assert document.invalid_annotations == ()


@pytest.mark.parametrize(
    ("first", "second", "text", "moved"),
    [
        (0, 3, "Gout. Pain.", "sentence 2 of passage 1"),
        (0, None, "Gout. Pain.", "sentence 2 of passage 1"),
        (None, 7, "Gout.  Pain.", "sentence 1 of passage 1"),
    ],
)
def test_sentences_without_a_usable_offset_are_laid_out(write, first, second, text, moved):
    sentences = [
        {"offset": first, "text": "Gout.", "annotations": [annotation(first or 0, "Gout")]},
        {"offset": second, "text": "Pain.", "annotations": [annotation(6 if second is None else second, "Pain")]},
    ]
    raw = {"id": "1", "passages": [{"offset": 0, "sentences": sentences}]}
    (document,) = parse_bioc_json(write(as_json([raw])))
    assert document.text == text
    assert [document.text[found.start : found.end] for found in document.annotations] == ["Gout", "Pain"]
    assert [each.reason.partition(":")[0] for each in document.invalid_annotations] == [moved]


@pytest.mark.parametrize("limit", ["MAX_VALUES", "MAX_STRING"])
def test_an_endless_document_is_refused(write, monkeypatch, limit):
    monkeypatch.setattr(f"e2emern.tasks.parsers.bioc_json.{limit}", 1000)
    content = '{"documents": [{"a": %s' % ("[" + "1," * 2000 if limit == "MAX_VALUES" else '"' + "x" * 200_000)
    with pytest.raises(SourceError, match=r"more than 1,000 (values|bytes)"):
        list(parse_bioc_json(write(content)))


def test_what_the_bioc_package_writes_is_read(write):
    made = BioCPassage()
    made.offset, made.text, made.infons = 2, "Gout", {"type": "title"}
    found = BioCAnnotation()
    found.text, found.infons = "Gout", {"type": "Disease", "identifier": "MESH:D006073"}
    found.add_location(BioCLocation(2, 4))
    made.add_annotation(found)
    document = BioCDocument()
    document.id = "7"
    document.add_passage(made)
    collection = BioCCollection()
    collection.add_document(document)
    expected = [
        Document(
            "7",
            0,
            (Passage("title", 2, "Gout"),),
            pmid=7,
            annotations=(Annotation(2, 6, "Gout", "Disease", ("MESH:D006073",)),),
        )
    ]
    assert list(parse_bioc_xml(write(biocxml.dumps(collection)))) == expected
    assert list(parse_bioc_json(write(biocjson.dumps(collection)))) == expected
