"""The paper's own protocol, only for comparison with the paper: the gold entities are given.

Each sentence is paired with every concept that gold names in it, and with wrong ones of the same types. The high level
finds the tokens that mention the concept. A mention is correct if its tokens equal gold's, and every span found for a
wrong concept is a false positive. (The scorer released with the paper counts neither those nor misses.) Real text comes
without gold entities, so this protocol does not measure how well a model annotates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from e2emern.model.corpus import GoldDocument
from e2emern.model.evaluation.scores import Counts, Tally, Verdict
from e2emern.model.evaluation.slices import ALL
from e2emern.model.inference.cascade import Cascade
from e2emern.model.progress import Progress, silent
from e2emern.model.tagging import find_word_spans
from e2emern.model.tokenization import Window, batches_of, make_windows, pad

_EVERYWHERE = frozenset({ALL})
_TOKENS = 1024  # word pieces in a batch: the gate is (sentences, entities, pieces, hidden size)


@dataclass(frozen=True, slots=True)
class Question:
    """A sentence, and for each concept asked about the words (first, last, type) that mention it; none if wrong."""

    window: Window
    answers: dict[int, set[tuple[int, int, str]]]


@torch.inference_mode()
def count_paper(
    cascade: Cascade,
    documents: Sequence[GoldDocument],
    *,
    wrong: int = 1,
    seed: int = 0,
    progress: Progress = silent,
) -> Counts:
    """Count the high level's correct results in every document, under the protocol `paper`.

    Args:
        wrong: number of wrong concepts for each right one.

    Raises:
        ValueError: the model has no high level.
    """
    if not cascade.model.config.use_high:
        raise ValueError("the model has no high level, which the protocol `paper` needs")
    questions = ask(cascade, documents, wrong=wrong, seed=seed)
    tally = Tally(documents)
    for at, document in enumerate(documents):
        for kind in document.annotated_types:
            tally.add("paper", at, kind, Verdict())
    done = 0
    for batch in batches_of([len(question.window) for question in questions], tokens=_TOKENS):
        asked = [questions[at] for at in batch]
        for question, found in zip(asked, _answers(cascade, asked), strict=True):
            for concept, spans in found.items():
                kind = cascade.vocabulary.concepts[concept].entity_type
                gold = question.answers[concept]
                verdict = Verdict(
                    [_EVERYWHERE] * len(gold & spans),
                    [_EVERYWHERE] * len(spans - gold),
                    [_EVERYWHERE] * len(gold - spans),
                )
                tally.add("paper", question.window.document, kind, verdict)
        done += len(batch)
        progress("sentences asked", done, len(questions))
    return tally.counts


def ask(cascade: Cascade, documents: Sequence[GoldDocument], *, wrong: int, seed: int) -> list[Question]:
    """Return the sentences that mention a concept of the vocabulary, with their questions."""
    vocabulary = cascade.vocabulary
    random = np.random.default_rng(seed)
    windows = make_windows(
        (document.sentences for document in documents),
        tokenizer=cascade.tokenizer,
        max_pieces=cascade.max_pieces,
    )
    questions = []
    for window in windows:
        document = documents[window.document]
        answers: dict[int, set[tuple[int, int, str]]] = {}
        for m in document.mentions:
            words = window.words_of(m.start, m.end)
            for identifier in m.concepts if words else ():
                concept = vocabulary.position.get(vocabulary.canonical(identifier))
                if concept is not None and words and vocabulary.concepts[concept].entity_type == m.entity_type:
                    answers.setdefault(concept, set()).add((*words, m.entity_type))
        right = set(answers)
        for concept in sorted(right):
            alike = vocabulary.slice_of(vocabulary.concepts[concept].entity_type)
            drawn = random.integers(alike.start, alike.stop, size=wrong).tolist()
            answers |= {other: set() for other in drawn if other not in right}
        if answers:
            questions.append(Question(window, answers))
    return questions


def _answers(cascade: Cascade, questions: Sequence[Question]) -> list[dict[int, set[tuple[int, int, str]]]]:
    """Return the spans that the high level finds for every concept asked of every sentence."""
    model, tags = cascade.model, cascade.model.config.tags
    ids, mask = pad([question.window.ids for question in questions], padding=cascade.tokenizer.pad_token_id)
    ids, mask = ids.to(model.device), mask.to(model.device)
    states = model.encode(ids, mask)
    concepts = [list(question.answers) for question in questions]
    # The first row of a concept is that of its preferred name.
    rows, _ = pad([cascade.bank.first_row[columns] for columns in concepts], padding=0)
    entities = cascade.bank.vectors(rows.to(model.device)).to(states.dtype)
    high = model.high(states, model.attend(states, mask, entities), entities)
    found = []
    for row, (question, columns) in enumerate(zip(questions, concepts, strict=True)):
        first = torch.from_numpy(question.window.first.astype(np.int64)).to(model.device)
        logged = high[row, : len(columns), first].float().log_softmax(-1).cpu().numpy()
        words = np.full(len(columns), len(first))
        spans = find_word_spans(logged, words, tags=tags)
        found.append(
            {
                concept: {(span.first, span.last, span.entity_type) for span in mine}
                for concept, mine in zip(columns, spans, strict=True)
            }
        )
    return found
