"""How counts are written in messages."""

from __future__ import annotations

from warehouse.wording import by_kind, counted


def test_counts() -> None:
    assert [counted(number, "source") for number in (0, 1, 2000)] == ["0 sources", "1 source", "2,000 sources"]
    assert by_kind({}) == ""
    assert by_kind({"Species": 1, "Gene": 1200, "Cell": 1}) == "1,200 Gene, 1 Cell, 1 Species"


def test_many_kinds_are_cut() -> None:
    assert by_kind({f"kind {at:02}": 20 - at for at in range(13)}).endswith("11 kind 09, 27 of 3 other kinds")
