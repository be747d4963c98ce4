"""Groups spans of a document that have the same meaning, so that they are linked together.

Repeats of a string form one group. An abbreviation belongs to the group of its long form (Schwartz and Hearst 2003),
and so does a name in brackets after another name. A span that names several concepts ("breast and ovarian cancer")
belongs to a group for each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from e2emern.model.inference.lookup import LookedUp, LookUps
from e2emern.model.vocabulary import Vocabulary

LONGEST_SHORT_FORM = 10  # letters of a short form in or before brackets

_OPENING = re.compile(r" ?[(\[]")
_CLOSING = (")", "]", ";", ",")
_IN_BRACKETS = re.compile(r"\s?[(\[]([^()\[\]]+)[)\]]")


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
    listed: bool = False  # found only by its name (`listed_names`)
    names: tuple[Span, ...] = ()  # listed names within it, which count if it is left out
    around: tuple[int, int] | None = None  # start and end of the span whose `names` hold this one


@dataclass(frozen=True, slots=True)
class Group:
    """The spans of a document that are linked together, and what their words can mean.

    The words are the long form, a part of a composite mention, or the span's own words.
    """

    found: LookedUp
    spans: list[int]

    @property
    def words(self) -> str:
        return self.found.words

    @property
    def entity_type(self) -> str:
        return self.found.entity_type


def with_names(spans: Sequence[Span]) -> list[Span]:
    """Return the spans, each followed by the listed names within it."""
    found = []
    for span in spans:
        found.append(span)
        found += [replace(name, around=(span.start, span.end)) for name in span.names if _is_within(name, span)]
    return found


def _is_within(name: Span, span: Span) -> bool:
    inside = span.start <= name.start and name.end <= span.end and (name.start, name.end) != (span.start, span.end)
    return inside and name.entity_type == span.entity_type


def group_spans(spans: Sequence[Span], *, abbreviations: Sequence[Mapping[str, str]], look_ups: LookUps) -> list[Group]:
    """Group spans by document, type and words, and look up the words; an abbreviation counts as its long form.

    Short forms within the words are expanded ("HCV infection"), and removed in brackets ("hepatitis C virus (HCV)
    infection").
    """
    meant = []
    for span in spans:
        words = abbreviations[span.document].get(span.text, span.text)
        expanded = _expanded(words, abbreviations[span.document])
        whole = expanded == words or look_ups.is_name(words, span.entity_type)
        meant.append((words if whole else expanded, span.entity_type))
    groups: dict[tuple[int, str, str], Group] = {}
    for at, (span, parts) in enumerate(zip(spans, look_ups.of(meant), strict=True)):
        for part in parts:
            groups.setdefault((span.document, span.entity_type, part.folded), Group(part, [])).spans.append(at)
    return list(groups.values())


def _expanded(words: str, short_forms: Mapping[str, str]) -> str:
    """Return the words without the short forms in brackets, and with the long forms of all others."""
    if not short_forms:
        return words
    bare = _IN_BRACKETS.sub(lambda found: "" if found[1] in short_forms else found[0], words)
    return " ".join(short_forms.get(word, word) for word in bare.split()) or words


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
