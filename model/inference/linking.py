"""Gathers the evidence for each concept that a span may stand for.

Spans of one document that stand for the same words are one group: repeats of a string agree, and an
abbreviation is looked up by its long form (Schwartz and Hearst 2003), as is a name that stands in brackets
behind another. A span that names several concepts ("breast and ovarian cancer") belongs to a group for each.
`resolver` weighs what is gathered here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ..spelling import american
from ..vocabulary import Vocabulary, normalise

MOST_HEADS = 2
LONGEST_SHORT_FORM = 10  # letters; of a name that another in brackets explains

_OPENING = re.compile(r" ?[(\[]")
_CLOSING = (")", "]", ";", ",")
_IN_BRACKETS = re.compile(r"\s?[(\[]([^()\[\]]+)[)\]]")
_JOINED = re.compile(r"\s*(?:,\s*(?:and/or|and|or)?|/|\band/or\b|\band\b|\bor\b)\s+|/")


@dataclass(frozen=True, slots=True)
class Span:
    """Words of a document to be linked, with where the model can read them."""

    document: int
    start: int
    end: int
    text: str
    entity_type: str
    score: float  # probability of the low level
    window: int  # position among the windows
    first: int  # words first..last of the window
    last: int


@dataclass(slots=True)
class Group:
    """The spans of a document that are linked as one, their candidates and the evidence."""

    words: str  # what is looked up: the long form, a part of a composite mention, or the span's own words
    entity_type: str
    spans: list[int]
    match: str = "none"  # how the words agree with a name: exact, variant or none
    named: dict[int, bool] = field(default_factory=dict)  # concepts that bear the words, and as preferred name
    heads: list[int] = field(default_factory=list)  # concepts that bear the longest end of the words that is a name
    concepts: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # candidates (K,), as found
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # bank row of each one's likest name
    similarity: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    likeness: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    mid: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    high: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))


def group_spans(
    spans: Sequence[Span], *, abbreviations: Sequence[Mapping[str, str]], vocabulary: Vocabulary
) -> list[Group]:
    """Groups spans by document, type and words, an abbreviation counting as its long form, and looks the words up.

    Short forms within the words are spelt out, "HCV infection", and left out in brackets, "hepatitis C virus (HCV)
    infection".
    """
    groups: dict[tuple[int, str, str], Group] = {}
    for at, span in enumerate(spans):
        short_forms = abbreviations[span.document]
        words = short_forms.get(span.text, span.text)
        if vocabulary.look_up(words, entity_type=span.entity_type)[0] != "exact":
            words = _spelt_out(words, short_forms)
        if vocabulary.look_up(words, entity_type=span.entity_type)[0] != "exact":
            words = american(words)
        for part in parts_of(words, entity_type=span.entity_type, vocabulary=vocabulary):
            key = (span.document, span.entity_type, normalise(part) or part)
            if key not in groups:
                groups[key] = Group(part, span.entity_type, [])
                groups[key].match, groups[key].named = vocabulary.look_up(part, entity_type=span.entity_type)
                if groups[key].match != "exact":
                    groups[key].heads = heads_of(part, entity_type=span.entity_type, vocabulary=vocabulary)
            groups[key].spans.append(at)
    return list(groups.values())


def _spelt_out(words: str, short_forms: Mapping[str, str]) -> str:
    """Words without the short forms that they explain in brackets, and with the long form of others."""
    bare = _IN_BRACKETS.sub(lambda found: "" if found[1] in short_forms else found[0], words)
    return " ".join(short_forms.get(word, word) for word in bare.split()) or words


def parts_of(words: str, *, entity_type: str, vocabulary: Vocabulary) -> list[str]:
    """The names that joined words stand for: "breast and ovarian cancer" is "breast cancer" and "ovarian cancer".

    Words that are a name themselves, or of which a part is none, stay whole.
    """
    joined = _JOINED.split(words)
    if len(joined) < 2 or vocabulary.look_up(words, entity_type=entity_type)[1]:
        return [words]
    *firsts, last = joined
    tails = last.split()
    for shared in range(len(tails)):  # "cancer" of "ovarian cancer"; the longest shared tail first, none at the end
        tail = " ".join(tails[shared + 1 :])
        parts = [f"{first} {tail}".strip() for first in firsts] + [last]
        owners = [vocabulary.look_up(part, entity_type=entity_type)[1] for part in parts]
        if all(owners) and len({frozenset(owner) for owner in owners}) == len(parts):
            return parts
    return [words]


def heads_of(words: str, *, entity_type: str, vocabulary: Vocabulary) -> list[int]:
    """The concepts, two at most, that bear the longest end of the words that is a name: "tumors" of "ocular tumors"."""
    split = words.split()
    for begin in range(1, len(split)):
        if found := vocabulary.look_up(" ".join(split[begin:]), entity_type=entity_type)[1]:
            return list(found)[:MOST_HEADS]
    return []


def appositions(
    spans: Sequence[Span], *, texts: Sequence[str], vocabulary: Vocabulary, across_types: bool = False
) -> list[dict[str, str]]:
    """Names that another name beside them in brackets explains, as `aspirin` does in "aspirin (ASA)", by document.

    The shorter of the two, one word of a few letters, is explained; not where it is itself the better known name.

    Args:
        texts: the text of each document, laid out by the spans' code points.
        across_types: also where their types differ and the shorter is capitals that are no name of its own type, as
            where "TDF" was taken for a disease in "tenofovir (TDF)".
    """
    found: list[dict[str, str]] = [{} for _ in texts]
    ordered = sorted(spans, key=lambda span: (span.document, span.start))
    for left, right in pairwise(ordered):
        if left.document != right.document:
            continue
        text = texts[left.document]
        if _OPENING.fullmatch(text[left.end : right.start]) and text[right.end : right.end + 1] in _CLOSING:
            short, long = sorted((left, right), key=lambda span: len(span.text))
            known = vocabulary.look_up(long.text, entity_type=long.entity_type)[1]
            fits = " " not in short.text and len(short.text) <= min(LONGEST_SHORT_FORM, len(long.text) - 1)
            of_one_type = short.entity_type == long.entity_type
            if known and fits and (of_one_type or (across_types and _is_nameless(short, vocabulary))):
                found[left.document].setdefault(short.text, long.text)
    return found


def with_plurals(explained: Mapping[str, str], words: Iterable[str]) -> dict[str, str]:
    """What is explained, and those of the words that are its plural or singular: SSRIs where SSRI is."""
    others = {each: each[:-1] if each.endswith("s") else f"{each}s" for each in words if each.rstrip("s").isupper()}
    return {each: explained[other] for each, other in others.items() if other in explained} | dict(explained)


def _is_nameless(span: Span, vocabulary: Vocabulary) -> bool:
    """Whether a span is capitals that no concept of its type has as a name."""
    return span.text.isupper() and not vocabulary.look_up(span.text, entity_type=span.entity_type)[1]
