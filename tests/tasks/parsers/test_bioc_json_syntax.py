"""BioC JSON as files hold it: arrays, lines, escapes, and broken JSON."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2emern.model.document import Annotation
from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers.bioc_json import parse_bioc_json

ONE = '{"id": "1", "passages": []}'
TWO = '{"_id": "2|None", "id": "2", "relations": [{"id": "9"}], "passages": []}'


@pytest.mark.parametrize(
    "content",
    [
        f'{{"documents": [{ONE}, {TWO}], "source": "s"}}',
        f"[{ONE}, {TWO}]",
        f"{ONE}\n{TWO}\n",
        f'{{"documents": [{ONE}]}}\n{{"documents": [{TWO}]}}',
        f'[{{"documents": [{ONE}]}}, {{"documents": [{TWO}]}}]',
        f'[[{{"notice": "free"}}, {{"cite": ["us"]}}], [{ONE}], [{TWO}]]',
        f'{{"PubTator3": [{ONE}, {TWO}]}}',
        f'\ufeff{{"infons": {{"id": "x", "documents": "y"}}, "documents": [{ONE}, {TWO}]}}',
    ],
    ids=[
        "collection",
        "list",
        "lines",
        "collections",
        "list of collections",
        "LitCovid",
        "PubTator 3",
        "byte order mark",
    ],
)
def test_the_shapes_of_bioc_json(write, content):
    assert [document.document_id for document in parse_bioc_json(write(content))] == ["1", "2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "source: JSON without BioC documents; expected objects with 'passages'"),
        ('{"a": 1}', "source: JSON without BioC documents"),
        ("[" * 100, "source: JSON nested deeper than 64; expected BioC"),
        ('{"documents": [{"a": ' + "[" * 100_000, "source: JSON nested deeper than 64; expected BioC"),
        ("[{]", "source: in the bytes up to 3: not well-formed JSON"),
        ('{"documents": [', "source: in the bytes up to 15: not well-formed JSON .*; download the file again$"),
        ('{"documents": [1e999]}', "source: in the bytes up to 22: not well-formed JSON"),
        ('{"documents": [' + "9" * 5000 + "]}", "not well-formed JSON"),
    ],
)
def test_json_that_is_not_bioc(write, content, message):
    with pytest.raises(SourceError, match=message):
        list(parse_bioc_json(write(content)))


def test_documents_before_broken_json_are_kept(write):
    records = parse_bioc_json(write(b'{"documents": [' + ONE.encode() + b', {"id": "\xff"}]}'))
    assert next(records).document_id == "1"
    with pytest.raises(SourceError, match="invalid bytes in UTF8 string"):
        next(records)


@pytest.mark.parametrize(
    ("escaped", "read"),
    [
        (r"\ud83d\ude00", "😀"),
        (r"\ude00", "�"),
        (r"\uD83D", "�"),
        (r"\ud83d\u2026", "�…"),
        (r"\ud83d\u0041", "�A"),
        (r"\ud83d\n", "�\n"),
        (r"\ud83d\ud83d\ude00", "�😀"),
        (r"\\ud83d", r"\ud83d"),
        (r"\\\ud83d", "\\�"),
    ],
)
def test_half_a_surrogate_pair_is_one_character(write, escaped, read):
    """YAJL loses the rest of the file after it, or joins it with the following escape to one character."""
    gout = json.dumps(
        {"text": "Gout", "infons": {"type": "Disease"}, "locations": [{"offset": len(read) + 1, "length": 4}]}
    )
    content = f'{{"id": "1", "passages": [{{"offset": 0, "text": "{escaped} Gout", "annotations": [{gout}]}}]}}'
    document, last = parse_bioc_json(write(f"{content}\n{ONE}"))
    assert document.text == f"{read} Gout"
    assert document.annotations == (Annotation(len(read) + 1, len(read) + 5, "Gout", "Disease"),)
    assert last.document_id == "1"


_ESCAPES = [*r"\ud83d \uDE00 \uDBFF \u00e9 \u2026 \\ \" \n \/".split(), "u", "d83d", "d", "x", "é"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(_ESCAPES), min_size=1, max_size=8).map("".join))
def test_escapes_are_read_alike_wherever_a_piece_of_the_file_ends(tmp_path_factory, escaped):
    path = tmp_path_factory.mktemp("escapes") / "source"
    path.write_text(f'{{"id":"1","passages":[{{"offset":0,"text":"x{escaped}"}}]}}', encoding="utf-8")
    expected = "x" + re.sub("[\ud800-\udfff]", "\ufffd", json.loads(f'"{escaped}"'))
    for size in range(1, path.stat().st_size + 1):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("e2emern.tasks.parsers.source_reader.CHUNK", size)
            (document,) = parse_bioc_json(path)
        assert document.text == expected
