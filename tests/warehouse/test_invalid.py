"""Invalid annotations of sources: counted by kind, with few examples however many there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.invalid import InvalidAnnotations, invalid_annotations
from e2emern.warehouse.layout import Home
from tests.warehouse.homes import add_source, document, key


def invalid(line: int, kind: str) -> dict[str, str]:
    return {"position": f"line {line}", "kind": kind, "reason": f"found '{line}'"}


def test_counts_by_kind_and_examples_of_every_kind(tmp_path: Path) -> None:
    home, one, two, three = Home(tmp_path), key("a.txt"), key("b.txt"), key("c.txt")
    add_source(home, one, [document(0, "1") | {"invalid_annotations": [invalid(at, "no type") for at in range(2)]}])
    outside = [invalid(at, "outside the text") for at in range(7000)]
    add_source(home, two, [document(0, "2"), document(1, "3") | {"invalid_annotations": outside}])
    add_source(home, three, [document(0, "4")])
    found = invalid_annotations(home, [three, two, one])
    assert list(found.kinds.items()) == [("outside the text", 7000), ("no type", 2)]
    assert found.total == 7002
    assert len(found.examples) == 10
    assert found.examples[:5] == [
        "a.txt: line 0: document 1: found '0'",
        "b.txt: line 0: document 3: found '0'",
        "a.txt: line 1: document 1: found '1'",
        "b.txt: line 1: document 3: found '1'",
        "b.txt: line 2: document 3: found '2'",
    ]
    assert invalid_annotations(home, [three]) == invalid_annotations(home, []) == InvalidAnnotations({}, [])


def test_more_files_than_one_query_reads(tmp_path: Path) -> None:
    home, sources = Home(tmp_path), [key(f"{number:03}.txt") for number in range(70)]
    for source in sources:
        add_source(home, source, [document(0, "1") | {"invalid_annotations": [invalid(1, "no type")]}])
    found = invalid_annotations(home, sources)
    assert found.kinds == {"no type": 70}
    assert found.examples == [f"{number:03}.txt: line 1: document 1: found '1'" for number in range(10)]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=r"^invalid annotations cannot be read: "):
        invalid_annotations(Home(tmp_path), [key("a.txt")])
