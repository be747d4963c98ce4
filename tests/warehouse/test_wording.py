"""How counts and lists are written in messages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from e2emern.warehouse.wording import by_kind, cut, examples, one_line, plural


def test_counts() -> None:
    assert [plural(number, "source") for number in (0, 1, 2000)] == ["0 sources", "1 source", "2,000 sources"]
    assert by_kind({}) == ""
    assert by_kind({"Species": 1, "Gene": 1200, "Cell": 1}) == "1,200 Gene, 1 Cell, 1 Species"


def test_many_kinds_are_cut() -> None:
    assert by_kind({f"kind {at:02}": 20 - at for at in range(13)}).endswith("11 kind 09, 27 of 3 other kinds")


def test_the_first_items_and_the_number_of_others() -> None:
    assert examples([]) == ""
    assert examples(["a", "b"]) == "a; b"
    assert examples([str(number) for number in range(10)]) == "0; 1; 2; 3; 4; 5; 6; 7; 8; 9"
    assert examples([str(number) for number in range(1200)], separator=", ", most=2) == "0, 1, and 1,198 more"


def test_long_lines_are_cut() -> None:
    assert cut("found\n 'a'\r\tat 3", 20) == "found 'a' at 3"
    assert cut("0123456789", 10) == "0123456789"
    assert cut("0123456789x", 10) == "012345678…"


@given(st.text(), st.integers(min_value=1, max_value=50))
def test_a_cut_line_is_one_line_of_that_width(text: str, width: int) -> None:
    line = cut(text, width)
    assert len(line) <= width
    assert len(line.splitlines()) <= 1


def test_an_error_is_one_line() -> None:
    assert one_line(ValueError("Binder Error:\n  no column\tx\n")) == "Binder Error: no column x"
    assert one_line(MemoryError()) == "MemoryError"
