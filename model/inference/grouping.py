"""Groups spans of a document that mean the same, so that they are linked as one.

Repeats of a string form one group. An abbreviation belongs to the group of its long form (Schwartz and Hearst 2003),
and so does a name in brackets after another name. A span that names several concepts ("breast and ovarian cancer")
belongs to a group for each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from e2emern.model.inference.training_strings import TrainingStrings
from e2emern.model.spelling import american
from e2emern.model.vocabulary import Vocabulary, normalise

MOST_HEADS = 2  # concepts that match the head noun
LONGEST_SHORT_FORM = 10  # letters of a short form in or before brackets

_OPENING = re.compile(r" ?[(\[]")
_CLOSING = (")", "]", ";", ",")
_IN_BRACKETS = re.compile(r"\s?[(\[]([^()\[\]]+)[)\]]")
_JOINED = re.compile(r"\s*(?:,\s*(?:and/or|and|or)?|/|\band/or\b|\band\b|\bor\b)\s+|/")


@dataclass(frozen=True, slots=True)
class Span:
    """A span of a document to be linked, and its window."""

    document: int
    start: int
    end: int
    text: str
    entity_type: str
    score: float  # probability of the low level
    window: int  # position among the windows
    first: int  # words first..last of the window
    last: int
    listed: bool = False  # found by its name alone (`listed_names`)


@dataclass(slots=True)
class Group:
    """The spans of a document that are linked as one, their candidates and the evidence."""

    words: str  # what is looked up: the long form, a part of a composite mention, or the span's own words
    entity_type: str
    spans: list[int]
    match: str = "none"  # how the words agree with a name: exact, variant or none
    named: dict[int, bool] = field(default_factory=dict)  # concepts with that name; whether it is the preferred one
    heads: list[int] = field(default_factory=list)  # concepts that match the head noun, see `heads_of`
    trained: dict[int, int] = field(default_factory=dict)  # training mentions with these words, by concept
    marked: float = 0.0  # log-odds of the words being a mention in training text
    concepts: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # candidates (K,), as found
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # bank row of each one's nearest name
    similarity: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    likeness: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    mid: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    high: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))


def group_spans(
    spans: Sequence[Span],
    *,
    abbreviations: Sequence[Mapping[str, str]],
    vocabulary: Vocabulary,
    strings: TrainingStrings | None = None,
) -> list[Group]:
    """Group spans by document, type and words, and look up the words; an abbreviation counts as its long form.

    Short forms within the words are expanded ("HCV infection"), and removed in brackets ("hepatitis C virus (HCV)
    infection").

    Args:
        strings: what the training documents call the concepts.
    """
    groups: dict[tuple[int, str, str], Group] = {}
    for at, span in enumerate(spans):
        short_forms = abbreviations[span.document]
        words = short_forms.get(span.text, span.text)
        if vocabulary.look_up(words, entity_type=span.entity_type)[0] != "exact":
            words = _expanded(words, short_forms)
        if vocabulary.look_up(words, entity_type=span.entity_type)[0] != "exact":
            words = american(words)
        for part in parts_of(words, entity_type=span.entity_type, vocabulary=vocabulary):
            key = (span.document, span.entity_type, normalise(part) or part)
            if key not in groups:
                groups[key] = Group(part, span.entity_type, [])
                groups[key].match, groups[key].named = vocabulary.look_up(part, entity_type=span.entity_type)
                if strings is not None:
                    counts = strings.concepts(part, entity_type=span.entity_type)
                    groups[key].trained = {
                        vocabulary.position[each]: n for each, n in counts.items() if each in vocabulary.position
                    }
                    groups[key].marked = strings.marked(part, entity_type=span.entity_type)
                if groups[key].match != "exact":
                    groups[key].heads = heads_of(part, entity_type=span.entity_type, vocabulary=vocabulary)
            groups[key].spans.append(at)
    return list(groups.values())


def _expanded(words: str, short_forms: Mapping[str, str]) -> str:
    """Return the words without the short forms in brackets, and with the long forms of all others."""
    bare = _IN_BRACKETS.sub(lambda found: "" if found[1] in short_forms else found[0], words)
    return " ".join(short_forms.get(word, word) for word in bare.split()) or words


def parts_of(words: str, *, entity_type: str, vocabulary: Vocabulary) -> list[str]:
    """Split coordinated names: "breast and ovarian cancer" gives "breast cancer" and "ovarian cancer".

    Words that are a name, or that have a part that is not one, stay whole.
    """
    joined = _JOINED.split(words)
    if len(joined) < 2 or vocabulary.look_up(words, entity_type=entity_type)[1]:
        return [words]
    *firsts, last = joined
    tails = last.split()
    for shared in range(len(tails)):  # "cancer" of "ovarian cancer"; the longest shared tail first, no tail last
        tail = " ".join(tails[shared + 1 :])
        parts = [f"{first} {tail}".strip() for first in firsts] + [last]
        owners = [vocabulary.look_up(part, entity_type=entity_type)[1] for part in parts]
        if all(owners) and len({frozenset(owner) for owner in owners}) == len(parts):
            return parts
    return [words]


def heads_of(words: str, *, entity_type: str, vocabulary: Vocabulary) -> list[int]:
    """Return the concepts, two at most, named by the longest suffix that is a name: "tumors" of "ocular tumors"."""
    split = words.split()
    for begin in range(1, len(split)):
        if found := vocabulary.look_up(" ".join(split[begin:]), entity_type=entity_type)[1]:
            return list(found)[:MOST_HEADS]
    return []


def appositions(
    spans: Sequence[Span], *, texts: Sequence[str], vocabulary: Vocabulary, across_types: bool = False
) -> list[dict[str, str]]:
    """Return short form to long form of names next to each other in brackets, "aspirin (ASA)", for each document.

    The short form is the shorter one: one word of a few letters. The long form must be a name of the vocabulary.

    Args:
        texts: the text of each document; the spans' offsets refer to it.
        across_types: include pairs of different types, if the short form is in capitals and not a name of its own
            type: "TDF" taken for a disease in "tenofovir (TDF)".
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
    """Return the short forms and, of the given words, their plurals or singulars: SSRIs if SSRI is explained."""
    others = {each: each[:-1] if each.endswith("s") else f"{each}s" for each in words if each.rstrip("s").isupper()}
    return {each: explained[other] for each, other in others.items() if other in explained} | dict(explained)


def _is_nameless(span: Span, vocabulary: Vocabulary) -> bool:
    """Return whether a span is in capitals and not a name of its type."""
    return span.text.isupper() and not vocabulary.look_up(span.text, entity_type=span.entity_type)[1]
