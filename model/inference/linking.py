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
from functools import lru_cache
from itertools import pairwise

import numpy as np

from ..document import Concept
from ..spelling import american
from ..vocabulary import Vocabulary, normalise

FEATURES = (
    "exact_preferred",  # the words are the concept's preferred name
    "exact",  # they are one of its names
    "variant",  # they are, but for plural and word order
    "sole",  # no other concept of the type bears them, but one of the same preferred name: diseases stand in OMIM too
    "retired",  # a supplementary record that bears them, where a descriptor of after 2015 does too
    "similarity",  # best score of a name against the words in their sentences
    "lead",  # that score less the best of all candidates
    "likeness",  # cosine of the encoded words and the likest name
    "likeness_lead",
    "mid",  # logit of the mid level, best sentence
    "high",  # log-probability of the words under the high level, best mention
    "descriptor",
    "supplementary",
    "spelling",  # how many letter trigrams the words share with the concept's likest name
    "prior",  # log of 1 + how often a thousand training documents name the concept
    "depth",  # of its highest place in the trees; 5 without any
    "names",  # log of how many it has
    "head",  # words that are no name end with one of its names, as "DOX cardiomyopathy" does
    "disease",  # of entity type Disease
)
COMPARED_NAMES = 4  # of a concept, for the spelling: more cost more than they tell
MOST_HEADS = 2
NO_DEPTH = 5
LONGEST_SHORT_FORM = 10  # letters; of a name that another in brackets explains

_OPENING = re.compile(r" ?[(\[]")
_CLOSING = (")", "]", ";", ",")
# A number of two digits after capitals, "FK317"; a single capital that is no Roman numeral and no "E. coli".
_MARK = re.compile(r"(?<=[A-Z])[ -]?(\d{2,})|(?<![^\W_'’])([A-HJ-UWYZ])(?![^\W_]|\.)")
_PART = re.compile(r"\d+|[^\W\d_]+")
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


def features_of(group: Group, *, vocabulary: Vocabulary, prior: Mapping[str, float]) -> np.ndarray:
    """The evidence for each candidate of a group: float32 (K, features).

    Args:
        prior: how often a thousand training documents name each concept.
    """
    count = len(group.concepts)
    if not count:
        return np.zeros((0, len(FEATURES)), np.float32)
    concepts = [vocabulary.concepts[at] for at in group.concepts.tolist()]
    named = np.array([at in group.named for at in group.concepts.tolist()])
    exact = group.match == "exact"
    kinds = np.array([concept.record_type for concept in concepts])
    bearers = {normalise(vocabulary.concepts[at].name) for at in group.named}
    recent = exact and any(_is_recent(vocabulary.concepts[at].mesh_id) for at in group.named)
    columns = {
        "exact_preferred": [exact and group.named.get(at, False) for at in group.concepts.tolist()],
        "exact": named & exact,
        "variant": named & (not exact),
        "sole": named & (len(bearers) == 1),
        "retired": named & recent & (kinds == "supplementary"),
        "similarity": group.similarity,
        "lead": group.similarity - group.similarity.max(),
        "likeness": group.likeness,
        "likeness_lead": group.likeness - group.likeness.max(),
        "mid": group.mid,
        "high": group.high,
        "descriptor": kinds == "descriptor",
        "supplementary": kinds == "supplementary",
        "spelling": [
            1.0 if bears else max(spelling(group.words, name) for name in concept.names[:COMPARED_NAMES])
            for bears, concept in zip(named, concepts, strict=True)
        ],
        "prior": [np.log1p(prior.get(concept.mesh_id, 0)) for concept in concepts],
        "depth": [min((tree.count(".") for tree in concept.tree_numbers), default=NO_DEPTH) for concept in concepts],
        "names": [np.log(len(concept.names)) for concept in concepts],
        "head": [at in group.heads for at in group.concepts.tolist()],
        "disease": [group.entity_type == "Disease"] * count,
    }
    return np.stack([np.asarray(columns[name], np.float32) for name in FEATURES], axis=1)


def marks_of(words: str) -> frozenset[str]:
    """The parts of a name that tell it from its like: the C of "hepatitis C", the 317 of "FK317"."""
    return frozenset((number or letter).lower() for number, letter in _MARK.findall(words))


def bears_marks(marks: frozenset[str], concept: Concept) -> bool:
    """Whether all of the marks stand in names of the concept."""
    return not marks or marks <= {part for name in concept.names for part in _PART.findall(name.lower())}


def spelling(words: str, name: str) -> float:
    """Dice coefficient of the letter trigrams of two normalised names, from 0 to 1 (Dice 1945)."""
    mine, other = _trigrams(words), _trigrams(name)
    return 2 * len(mine & other) / max(1, len(mine) + len(other))


def _is_recent(mesh_id: str) -> bool:
    return mesh_id.startswith("D") and len(mesh_id) > 7  # nine digits: NLM's since 2016


@lru_cache(maxsize=20_000)
def _trigrams(name: str) -> frozenset[str]:
    padded = f" {normalise(name)} "
    return frozenset(padded[at : at + 3] for at in range(len(padded) - 2))
