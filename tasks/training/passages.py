"""Choose the passages of a text that teacher models tag (`tasks.training.distill`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from e2emern.model.inference.listed_names import ListedNames
from e2emern.model.vocabulary import Vocabulary, normalise

RICH = 0.04  # minimum share of words that are names; a third of the passages of PubMed reach it
SHORTEST_NAME = 5  # letters of a name that counts
SHORT = 20  # words; shorter passages count as if they had this many
OF_ONE_NAME = 8  # passages chosen for each name

Chosen = tuple[str, frozenset[str]]
"""A passage, and the names whose sentences are wanted."""


def rich_in_names(lines: Sequence[str], vocabulary: Vocabulary, *, seed: int) -> list[Chosen]:
    """Return the passages that are rich in names, in random order, without requesting sentences of particular names."""
    names = {name.lower() for name in vocabulary.names if " " not in name and len(name) >= SHORTEST_NAME}
    rich = []
    for at, line in enumerate(lines):
        words = line.lower().split()
        if sum(word.strip(".,;()") in names for word in words) >= RICH * max(SHORT, len(words)):
            rich.append(at)
    return [(lines[rich[at]], frozenset()) for at in np.random.default_rng(seed).permutation(len(rich))]


def with_rare_names(lines: Sequence[str], listed: ListedNames, *, seed: int) -> list[Chosen]:
    """Return passages in random order, each with its listed names that are still rare.

    A name is rare until `OF_ONE_NAME` passages with it are chosen.
    """
    chosen: list[Chosen] = []
    seen: Counter[str] = Counter()
    for at in np.random.default_rng(seed).permutation(len(lines)).tolist():
        names = {normalise(lines[at][start:end]) for start, end, _ in listed.find(lines[at])}
        if rare := frozenset(name for name in names if seen[name] < OF_ONE_NAME):
            seen.update(names)
            chosen.append((lines[at], rare))
    return chosen
