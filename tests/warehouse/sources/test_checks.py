"""A mention has the words of its document, and a document the text of its digest, or nothing is published."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from e2emern.warehouse.errors import PublishRefusedError, WarehouseError
from e2emern.warehouse.layout import Home
from tests.warehouse.homes import add_source, document, key, mention, publish_it

ONE = key("a.xml", "1")
PASSAGES = [
    {"section": "title", "offset": 0, "text": "Café 𝒳 for pain"},  # 15 code points, the seventh outside the BMP
    {"section": "abstract", "offset": 16, "text": "Not in 𝒳-linked pain."},
]
DIGEST = hashlib.sha256("0\tCafé 𝒳 for pain\n16\tNot in 𝒳-linked pain.\n".encode()).hexdigest()
WORDS = [(0, "Café"), (5, "𝒳"), (11, "pain"), (16, "Not"), (23, "𝒳-linked"), (32, "pain.")]


def add(home: Home, words: list[tuple[int, str]], **changes: Any) -> None:
    mentions = [mention(0, "1", start=start) | {"end": start + len(text), "text": text} for start, text in words]
    add_source(home, ONE, [document(0, "1") | {"passages": PASSAGES} | changes, document(1, "2")], mentions=mentions)


def test_words_are_counted_in_code_points(home: Home) -> None:
    add(home, WORDS, text_sha256=DIGEST)
    assert publish_it(home).mentions == len(WORDS)


@pytest.mark.parametrize(
    ("start", "text"),
    [
        (12, "pain"),  # one too far
        (10, "pain"),
        (22, "𝒳-linked"),
        (12, "ain Not"),  # of two passages
        (15, " "),  # between them
        (33, "ain.."),  # beyond the last
        (99, "pain"),
    ],
)
def test_other_words(home: Home, start: int, text: str) -> None:
    add(home, [*WORDS, (start, text)])
    with pytest.raises(PublishRefusedError) as caught:
        publish_it(home)
    assert str(caught.value) == (
        f"a.xml: document 1 (record 0) at {start}-{start + len(text)} lacks the words of its mention {text!r}; "
        "delete its mentions file and annotate again"
    )


def test_another_text(home: Home) -> None:
    add(home, WORDS, text_sha256=DIGEST[:-1] + ("0" if DIGEST[-1] != "0" else "1"))
    with pytest.raises(PublishRefusedError, match=r"^a\.xml: document 1 \(record 0\): text_sha256 does not fit its"):
        publish_it(home)


@pytest.mark.parametrize("kind", ["documents", "mentions", "failures", "unread", "deletions"])
def test_a_flipped_bit_before_the_first_publish(home: Home, kind: str) -> None:
    add_source(
        home, ONE, [document(0, "1"), document(1, "2")], deletions=[(2, 5)], failures=[(3, "bad")], unread=[(1, "long")]
    )
    path = {
        "documents": home.documents(ONE),
        "mentions": next((home.root / "mentions").rglob("*.parquet")),
        "failures": home.failures(ONE),
        "unread": next((home.root / "failures").glob("*/*.parquet")),
        "deletions": home.deletions(ONE),
    }[kind]
    content = bytearray(path.read_bytes())
    content[content.index(b"\x28\xb5\x2f\xfd") + 8] ^= 1  # in the first page, which begins like any zstd frame
    path.write_bytes(content)
    with pytest.raises(WarehouseError) as caught:
        publish_it(home)
    assert str(caught.value).startswith(f"{path} is damaged (")
    assert str(caught.value).endswith("; see e2emern doctor (damaged-file)")
