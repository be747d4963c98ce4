"""Roles of documents: each has one role, and a document that a model has seen does not judge it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from e2emern.model.corpus import GoldDocument
from e2emern.model.seen import Seen
from e2emern.tasks.training.roles import Roles, assign, is_reserved
from tests.model import tiny

RESERVED = ("11113", "11118", "11120")  # by their hash; the other numbers up to 11130 are not


def documents(*ids: str, corpus: str = "mine", split: str = "train") -> list[GoldDocument]:
    return [replace(tiny.gold()[0], corpus=corpus, split=split, document_id=one) for one in ids]


def ids(roles: Roles) -> tuple[list[str], list[str], list[str]]:
    return tuple([one.document_id for one in part] for part in (roles.train, roles.fit, roles.judged))  # type: ignore[return-value]


def test_a_quarter_of_what_no_model_has_seen_judges() -> None:
    gold = documents(*(str(11111 + at) for at in range(20)))
    assert tuple(one.document_id for one in gold if is_reserved(one)) == RESERVED
    roles = assign(
        of_train=documents("11111", "11113", "11114"),
        of_dev=documents("11112", "11118", split="dev"),
        corrected=documents("11120", "11114", corpus="corrections"),
        auxiliary=documents("11113", "11121", corpus="other"),
        named=[],
        seen=Seen(),
    )
    assert ids(roles) == (["11111", "11114", "11121"], ["11112"], ["11113", "11120", "11118"])
    assert [f"{one.corpus}/{one.split}" for one in roles.judged] == ["mine/gate", "corrections/gate", "mine/gate"]
    assert roles.train[1].corpus == "corrections"  # in place of the gold with its id


def test_seen_documents_do_not_judge_and_trained_ones_do_not_fit() -> None:
    roles = assign(
        of_train=documents("11111", "11113"),
        of_dev=documents("11112", "11115", "11118", split="dev"),
        corrected=[],
        named=[],
        seen=Seen(trained=frozenset({"11113", "11115"}), fitted=frozenset({"11118"})),
    )
    assert ids(roles) == (["11111", "11113"], ["11112", "11118"], [])
    assert roles.known == 2


def test_named_documents_judge_instead_of_the_reserved_gold_with_the_corrections_held_back() -> None:
    roles = assign(
        of_train=documents("11111", "11113"),
        of_dev=documents("11112", split="dev"),
        corrected=documents("11120", corpus="corrections"),
        named=documents("11112", "11116", corpus="named", split="dev"),
        seen=Seen(trained=frozenset({"11116"})),
    )
    assert ids(roles) == (["11111", "11113"], [], ["11112", "11120"])
    assert [one.split for one in roles.judged] == ["dev", "gate"]


number = st.integers(11111, 11140).map(str)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(number, unique=True, max_size=12), min_size=7, max_size=7))
def test_no_document_has_two_roles(drawn: list[list[str]]) -> None:
    train, dev, corrected, auxiliary, named, trained, fitted = drawn
    seen = Seen(trained=frozenset(trained), fitted=frozenset(fitted))
    roles = assign(
        of_train=documents(*train), of_dev=documents(*dev), corrected=documents(*corrected, corpus="corrections"),
        auxiliary=documents(*auxiliary, corpus="other"), named=documents(*named, corpus="named"), seen=seen,
    )  # fmt: skip
    learned, fit, judged = (set(part) for part in ids(roles))
    assert not learned & (fit | judged)
    assert not fit & judged
    assert not judged & seen.all
    assert not fit & seen.trained
    again = replace(seen, trained=seen.trained | learned, fitted=seen.fitted | fit)  # what the challenger has seen
    assert not judged & again.all
