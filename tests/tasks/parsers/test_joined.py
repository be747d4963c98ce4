"""PubTator files that were joined without a line end between them, and annotation lines with any damage."""

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from e2emern.model.document import Annotation, Document
from e2emern.tasks.parsers.pubtator import parse_pubtator
from e2emern.tasks.parsers.records import Failure

SETTINGS = settings(max_examples=150, deadline=None)


def read(content: bytes):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "source"
        path.write_bytes(content)
        return list(parse_pubtator(path))


def texts(records):
    return [(each.document_id, each.title, each.abstract) for each in records if isinstance(each, Document)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "71|t|Gout.\n71|a|Rash in men.72|t|Acne.\n72|a|Seen.\n",
            [("71", "Gout.", "Rash in men."), ("72", "Acne.", "Seen.")],
        ),
        (
            "71|t|Gout.\n71|a|Rash in 201972|t|Acne.\n72|a|Seen.\n",
            [("71", "Gout.", "Rash in 2019"), ("72", "Acne.", "Seen.")],
        ),
        ("71|t|Gout in72|t|Acne.\n72|a|Seen.\n", [("71", "Gout in", ""), ("72", "Acne.", "Seen.")]),
        ("71|t|Gout.\n71|a|Rash.PMC2|t|Acne.\nPMC2|a|\n", [("71", "Gout.", "Rash."), ("PMC2", "Acne.", "")]),
        ("71|t|Gout.\n71|a|Rash.72|t|Acne.\n\n72|a|Seen.", [("71", "Gout.", "Rash."), ("72", "Acne.", "Seen.")]),
        ("71|t|Gout.\n71|a|Rash.72|t|Acne.\n72\tCID\tD1\tD2\n", [("71", "Gout.", "Rash."), ("72", "Acne.", "")]),
        ("71|t|Gout.\n71|a|Rash.\ufeff72|t|Acne.\n72|a|Seen.", [("71", "Gout.", "Rash."), ("72", "Acne.", "Seen.")]),
        ("71|t|Gout.\r\n71|a|Rash.\r72|t|Acne.\r\n72|a|No.", [("71", "Gout.", "Rash."), ("72", "Acne.", "No.")]),
        ("71|t|Gout.\n71|a|Rash.71|t|Gout.\n71|a|Rash.", [("71", "Gout.", "Rash.")] * 2),
        ("71|t|Go71|t|Gout.\n71|a|Rash.", [("71", "Go", ""), ("71", "Gout.", "Rash.")]),
        ("71|t|Gout.\n71|a|\n\n7|72|t|Acne.\n72|a|Seen.", [("71", "Gout.", ""), ("72", "Acne.", "Seen.")]),
        ("71|t|Gout.\n71|a|\n772|t|Acne.\n72|a|Seen.", [("71", "Gout.", ""), ("72", "Acne.", "Seen.")]),
    ],
    ids=[
        "after an abstract",
        "after a digit",
        "after a title",
        "PMC id",
        "blank line before the abstract",
        "proven by a relation",
        "byte order mark",
        "cut line end",
        "the same record again",
        "the same record after a part of it",
        "cut after an id's bar",
        "cut within an id",
    ],
)
def test_joined_records_are_separated(content, expected):
    assert texts(read(content.encode())) == expected


def test_an_identifier_ends_where_the_next_record_begins():
    first, second = read(
        b"71|t|Gout\n71|a|\n71\t0\t4\tGout\tDisease\tMESH:D00607372|t|Acne\n72|a|\n72\t0\t4\tAcne\tDisease"
    )
    assert first.annotations == (Annotation(0, 4, "Gout", "Disease", ("MESH:D006073",)),)
    assert second.annotations == (Annotation(0, 4, "Acne", "Disease"),)
    assert (first.invalid_annotations, second.invalid_annotations) == ((), ())


@pytest.mark.parametrize(
    "content",
    [
        "71|t|Decay as exp(-2|t|)\n71|a|exp(-3|t|)\n",
        "71|t|Since 1998|t|\n71|a|More\n",
        "71|t|Gout\n71|a|At 1998|t|\n71\t0\t4\tGout\tDisease\tD1\n",
        "71|t|a|t|b\n71|a|71|a|c\n",
        "71|t|Gout\n1\t0\t4\tGout\tDisease\tD1\n",
    ],
)
def test_vertical_bars_in_a_text_are_not_separated(content):
    (document,) = read(content.encode())
    lines = content.split("\n")
    assert document.title == lines[0][5:]
    assert lines[1].startswith("1\t") or document.abstract == lines[1][5:]


_words = st.text("abc é𝛼.,;:1239()", max_size=12).map(str.strip)
_ids = st.one_of(st.integers(1, 10**8).map(str), st.integers(1, 99).map("PMC{}".format))


@st.composite
def _files(draw, letter):
    """A valid file whose texts all contain a letter of their own, with the ids and texts of its documents."""
    lines, expected = [], []
    for document_id in draw(st.lists(_ids, min_size=1, max_size=3, unique=True)):
        title, abstract = f"{letter}{draw(_words)}{letter}", draw(st.sampled_from(["", letter])) + draw(_words)
        lines += [f"{document_id}|t|{title}", f"{document_id}|a|{abstract}"]
        for _ in range(draw(st.integers(0, 2))):
            lines.append(f"{document_id}\t0\t1\t{letter}\tDisease\tMESH:D{draw(st.integers(0, 999999))}")
        lines += [""] * draw(st.integers(0, 2))
        expected.append((document_id, title, abstract))
    return (draw(st.sampled_from(["\n", "\r\n"])).join(lines) + draw(st.sampled_from(["", "\n"]))).encode(), expected


@SETTINGS
@given(first=_files("X"), second=_files("Y"), mark=st.booleans(), data=st.data())
def test_joining_two_files_mixes_nothing_wherever_the_first_was_cut(first, second, mark, data):
    assume(second[1][0][0] not in [each[0] for each in first[1]])  # two titles of one id are not trusted
    kept = data.draw(st.integers(0, len(first[0])))
    records = read(first[0][:kept] + b"\xef\xbb\xbf" * mark + second[0])
    found = texts(records)
    # an abstract may be blank, and its passage left out
    assert [each for each in found if "Y" in each[1]] == [(i, t, a if a.strip() else "") for i, t, a in second[1]]
    for _, title, abstract in found:
        assert not ("X" in title + abstract and "Y" in title + abstract)
    for record in records:
        if isinstance(record, Document):
            for annotation in record.annotations:
                assert all(len(each) <= len("MESH:D999999") for each in annotation.identifiers)


@SETTINGS
@given(
    at=st.integers(0, 100),
    length=st.integers(0, 40),
    put=st.binary(max_size=6) | st.text("0123456789\t.;,|- ta\r", max_size=6).map(str.encode),
)
def test_any_bytes_in_an_annotation_line_keep_all_documents(at, length, put):
    lines = [f"{name}|t|Gout\n{name}|a|Rash.\n{name}\t0\t4\tGout\tDisease\tD006073\n" for name in ("71", "72", "73")]
    line = b"72\t0\t4\tGout\tDisease\tD006073"
    damaged = (line[: at % (len(line) + 1)] + put + line[at % (len(line) + 1) + length :]).replace(b"\n", b"")
    assume(b"|t|" not in damaged and b"|a|" not in damaged)
    records = read("\n".join(lines).encode().replace(line, damaged))
    assert texts(records) == [("71", "Gout", "Rash."), ("72", "Gout", "Rash."), ("73", "Gout", "Rash.")]
    assert not [record for record in records if isinstance(record, Failure)]


@SETTINGS
@given(seed=st.integers(0, 2**32), place=st.sampled_from([2, 3, 6]))
def test_any_damage_to_an_annotation_line_keeps_all_documents(seed, place):
    chance = random.Random(seed)
    lines = [
        line.encode()
        for line in (
            *("71|t|Gout", "71|a|Rash.", "71\t0\t4\tGout\tDisease\tMESH:D006073", "71\t5\t9\tRash\tDisease\tD005076"),
            *("72|t|Acne", "72|a|Pain.", "72\t0\t4\tAcne\tDisease\tMESH:D000152", ""),
            *("73|t|Cold", "73|a|Cough."),
        )
    ]
    damaged = bytearray(lines[place])
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(damaged) + 1)
        damaged[at : at + chance.randint(0, 3)] = chance.choice(
            [b"", b"\t", b"\t\t", b"-", b";", b"7", b"|", b"\xff", b"\0", b"\r", b" ", b"1e9", b"\xc3\xa9"]
        )
    lines[place] = bytes(damaged)
    records = read(b"\n".join(lines))
    assert not [record for record in records if isinstance(record, Failure)]
    assert texts(records) == [("71", "Gout", "Rash."), ("72", "Acne", "Pain."), ("73", "Cold", "Cough.")]
