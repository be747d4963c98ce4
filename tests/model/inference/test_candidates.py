"""Numbers that distinguish one concept from another."""

from __future__ import annotations

import pytest

from e2emern.model.document import Concept
from e2emern.model.inference.candidates import has_numbers, numbers_of


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("SCA type 14", {14}), ("SCA14", {14}), ("MPS IX", {9}), ("MPS IVA", {4}), ("Type I and II", {1, 2}),
        ("2,4-D", {2, 4}), ("vitamin C", set()), ("civil VIX", set()), ("type XIV", {14}), ("", set()),
    ],
)  # fmt: skip
def test_numbers_of_a_name(words: str, numbers: set[int]) -> None:
    assert numbers_of(words) == numbers


@pytest.mark.parametrize(
    ("words", "names", "can_be"),
    [
        ("SCA type 14", ("Spinocerebellar Ataxia 1", "SCA1"), False),
        ("SCA type 14", ("Spinocerebellar Ataxias",), True),
        ("SCA type 14", ("Spinocerebellar Ataxia 14",), True),
        ("MPS IX", ("Mucopolysaccharidosis IV", "MPS IVA"), False),
        ("type 2 diabetic", ("Diabetes Mellitus, Type 1", "IDDM"), False),
        ("type II diabetic", ("Diabetes Mellitus, Type 2",), True),
        ("vitamin B-6", ("Vitamin B 6", "pyridoxine"), True),
        ("diabetic", ("Diabetes Mellitus, Type 1",), True),
    ],
)
def test_numbers_must_agree(words: str, names: tuple[str, ...], can_be: bool) -> None:
    assert has_numbers(numbers_of(words), Concept("D1", "Disease", names)) is can_be
