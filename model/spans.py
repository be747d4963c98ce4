"""Reads spans off the tags of the low level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class WordSpan:
    """A run of words tagged as one mention: words first..last (half-open) of a window, and its probability."""

    first: int
    last: int
    entity_type: str
    score: float


def decode_tags(log_probabilities: np.ndarray, words: np.ndarray, *, tags: list[str]) -> np.ndarray:
    """The most probable tag sequences in which I-X follows only B-X or I-X (Viterbi).

    Args:
        log_probabilities: (windows, longest, L), one row per word.
        words: (windows,), how many words of each window are real.

    Returns: int (windows, longest), 0 past the last word.
    """
    count, longest, _ = log_probabilities.shape
    allowed = np.array([[_may_follow(before, tag) for tag in tags] for before in tags])
    transition = np.where(allowed, 0.0, -np.inf)
    start = np.where([not tag.startswith("I-") for tag in tags], 0.0, -np.inf)
    best = log_probabilities[:, 0] + start
    came_from = np.zeros(log_probabilities.shape, np.int64)
    stay = np.arange(len(tags))
    for word in range(1, longest):
        reached = best[:, :, None] + transition
        live = (word < words)[:, None]  # finished windows keep their best tag
        came_from[:, word] = np.where(live, reached.argmax(1), stay)
        best = np.where(live, reached.max(1) + log_probabilities[:, word], best)
    chosen = np.zeros((count, longest), np.int64)
    chosen[:, -1] = best.argmax(1)
    rows = np.arange(count)
    for word in range(longest - 1, 0, -1):
        chosen[:, word - 1] = came_from[rows, word, chosen[:, word]]
    chosen[np.arange(longest) >= words[:, None]] = 0
    return chosen


def spans_of(chosen: np.ndarray, probabilities: np.ndarray, *, tags: list[str]) -> list[WordSpan]:
    """The spans of one window, from its tags (words,) and tag probabilities (words, L).

    A span's score is the probability of its tags and of the word after it not going on, each word taken
    as independent of the others.
    """
    spans = []
    word = 0
    while word < len(chosen):
        tag = int(chosen[word])
        if tag == 0:
            word += 1
            continue
        kind = tags[tag].removeprefix("B-").removeprefix("I-")
        inside = tags.index(f"I-{kind}")
        last = word + 1
        while last < len(chosen) and chosen[last] == inside:
            last += 1
        score = float(probabilities[word, tag]) * float(probabilities[word + 1 : last, inside].prod())
        if last < len(chosen):
            score *= 1.0 - float(probabilities[last, inside])
        spans.append(WordSpan(word, last, kind, score))
        word = last
    return spans


def _may_follow(before: str, tag: str) -> bool:
    return not tag.startswith("I-") or before[2:] == tag[2:]
