"""Tags of words to spans and back.

The tags of a model are O and, for each entity type X, those of its scheme. BIO has B-X for the first word of a mention
and I-X for the others. BIOES also has E-X for the last one, and S-X for a mention of one word (Ratinov and Roth, CoNLL
2009).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TAG_SCHEMES = ("BIO", "BIOES")


@dataclass(frozen=True, slots=True)
class WordSpan:
    """A run of words tagged as one mention: words first..last (half-open) of a window, and its probability."""

    first: int
    last: int
    entity_type: str
    score: float


def tag_names(entity_types: Sequence[str], *, scheme: str) -> list[str]:
    """Return the tags of a scheme in order: O, then those of the first type, of the second, ..."""
    return ["O"] + [f"{place}-{kind}" for kind in entity_types for place in scheme if place != "O"]


def tag_mention(words: int, entity_type: str, *, tags: list[str]) -> list[int]:
    """Return the tag of each of the words of a mention."""
    places = "B" + "I" * (words - 1)
    if _marks_ends(tags):
        places = "S" if words == 1 else f"B{'I' * (words - 2)}E"
    return [tags.index(f"{place}-{entity_type}") for place in places]


def find_word_spans(
    log_probabilities: np.ndarray, words: np.ndarray, *, tags: list[str], recall_bias: float = 0.0
) -> list[list[WordSpan]]:
    """Return the spans of each window, decoded from the log-probabilities of its words' tags (windows, longest, L).

    With a `recall_bias`, decode a second time with the tag O made less probable by that much, in log-odds. Add those
    spans that touch none of the first: they have low confidence, and a later stage decides.
    """
    if not recall_bias:
        return _spans_of_windows(decode_tags(log_probabilities, words, tags=tags), log_probabilities, words, tags=tags)
    biased = log_probabilities - np.float32(recall_bias) * np.eye(1, len(tags), dtype=np.float32)
    both = decode_tags(np.concatenate([log_probabilities, biased]), np.tile(words, 2), tags=tags)
    chosen, likelier = np.split(both, 2)
    likelier[(likelier == chosen).all(1)] = 0
    found, added = (_spans_of_windows(each, log_probabilities, words, tags=tags) for each in (chosen, likelier))
    for sure, further in zip(found, added, strict=True):
        if further:
            sure += [span for span in further if not any(a.first < span.last and span.first < a.last for a in sure)]
    return found


def _spans_of_windows(
    chosen: np.ndarray, log_probabilities: np.ndarray, words: np.ndarray, *, tags: list[str]
) -> list[list[WordSpan]]:
    found: list[list[WordSpan]] = [[] for _ in words]
    for row in np.flatnonzero(chosen.any(1)).tolist():
        count = words[row]
        found[row] = spans_of(chosen[row, :count], np.exp(log_probabilities[row, :count]), tags=tags)
    return found


def decode_tags(log_probabilities: np.ndarray, words: np.ndarray, *, tags: list[str]) -> np.ndarray:
    """Return the most probable valid tag sequences: the best tags of the words if valid, otherwise by Viterbi.

    In a valid sequence I-X and E-X follow only B-X or I-X; in BIOES, only I-X or E-X follow these two.

    Args:
        log_probabilities: (windows, longest, L), one row per word.
        words: (windows,), how many words of each window are real.

    Returns: int (windows, longest), 0 past the last word.
    """
    closed = _marks_ends(tags)
    allowed = np.array([[_may_follow(before, tag, closed=closed) for tag in tags] for before in tags])
    chosen = log_probabilities.argmax(2)
    chosen[np.arange(chosen.shape[1]) >= words[:, None]] = 0
    framed = np.pad(chosen, ((0, 0), (1, 1)))  # a sentence starts and ends outside of mentions
    invalid = np.flatnonzero(~allowed[framed[:, :-1], framed[:, 1:]].all(1))
    if len(invalid):
        chosen[invalid] = _viterbi(log_probabilities[invalid], words[invalid], allowed)
    return chosen


def _viterbi(log_probabilities: np.ndarray, words: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    count, longest, labels = log_probabilities.shape
    transition = np.where(allowed, 0.0, -np.inf)
    best = log_probabilities[:, 0] + transition[0]
    came_from = np.zeros(log_probabilities.shape, np.int64)
    stay = np.arange(labels)
    for word in range(1, longest):
        reached = best[:, :, None] + transition
        live = (word < words)[:, None]  # finished windows keep their best tag
        came_from[:, word] = np.where(live, reached.argmax(1), stay)
        best = np.where(live, reached.max(1) + log_probabilities[:, word], best)
    chosen = np.zeros((count, longest), np.int64)
    chosen[:, -1] = (best + transition[:, 0]).argmax(1)
    rows = np.arange(count)
    for word in range(longest - 1, 0, -1):
        chosen[:, word - 1] = came_from[rows, word, chosen[:, word]]
    chosen[np.arange(longest) >= words[:, None]] = 0
    return chosen


def spans_of(chosen: np.ndarray, probabilities: np.ndarray, *, tags: list[str]) -> list[WordSpan]:
    """Return the spans of one window, from its tags (words,) and tag probabilities (words, L).

    A span's score is the product of its tags' probabilities and, in BIO, the probability that the next word does not
    continue it: words are taken as independent.
    """
    spans = []
    tagged, word = chosen.tolist(), 0
    while word < len(tagged):
        tag = tagged[word]
        if tag == 0:
            word += 1
            continue
        kind = tags[tag][2:]
        last = word + 1
        while last < len(tagged) and tags[tagged[last]] in (f"I-{kind}", f"E-{kind}"):
            last += 1
        spans.append(WordSpan(word, last, kind, _score(word, last, kind, chosen[word:last], probabilities, tags)))
        word = last
    return spans


def probability_of(first: int, last: int, entity_type: str, probabilities: np.ndarray, *, tags: list[str]) -> float:
    """Return the probability of a span of words first..last of one window, whatever its tags (words, L) say."""
    chosen = np.array(tag_mention(last - first, entity_type, tags=tags))
    return _score(first, last, entity_type, chosen, probabilities, tags)


def _score(
    first: int, last: int, entity_type: str, chosen: np.ndarray, probabilities: np.ndarray, tags: list[str]
) -> float:
    score = float(probabilities[np.arange(first, last), chosen].prod())
    if last < len(probabilities) and not _marks_ends(tags):
        score *= 1.0 - float(probabilities[last, tags.index(f"I-{entity_type}")])
    return score


def _marks_ends(tags: list[str]) -> bool:
    return any(tag.startswith("E-") for tag in tags)


def _may_follow(before: str, tag: str, *, closed: bool) -> bool:
    within = before[0] in "BI"
    return within and before[2:] == tag[2:] if tag[0] in "IE" else not (closed and within)
