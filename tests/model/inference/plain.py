"""Linking as a plain loop over groups, spans and candidates: the reference for the arrays of `model.inference`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from e2emern.model.document import Text
from e2emern.model.inference.bank import encode_names
from e2emern.model.inference.candidates import Found, has_marks, has_numbers, marks_of, numbers_of
from e2emern.model.inference.cascade import Cascade
from e2emern.model.inference.features import COMPARED_NAMES, FEATURES, LEAST_CONFIDENCE, NO_DEPTH, spelling
from e2emern.model.inference.grouping import Group, Span
from e2emern.model.inference.resolver import EVIDENCE, NEVER, OFTEN
from e2emern.model.inference.states import States
from e2emern.model.network import BilinearAttention
from e2emern.model.tagging import tag_mention
from e2emern.model.vocabulary import normalise

Link = tuple[str | None, str | None, tuple[float, float, float] | None]
"""Id of the concept, the evidence that decided, and the scores of mid, high and link."""


@torch.inference_mode()
def link(cascade: Cascade, texts: Sequence[Text], states: States, spans: Sequence[Span]) -> list[tuple[Group, Link]]:
    """Link each group of spans by itself."""
    return [(group, _link(cascade, group, states, spans)) for group in cascade.group(texts, spans)]


def _link(cascade: Cascade, group: Group, states: States, spans: Sequence[Span]) -> Link:
    model, bank, vocabulary = cascade.model, cascade.bank, cascade.vocabulary
    members = [spans[at] for at in group.spans]
    spelt = [each for each in members if normalise(each.text) == normalise(group.words)] or members
    pooled = torch.stack([_own(states, each)[slice(*_pieces(states, each))].mean(0) for each in spelt]).mean(0)
    attention = getattr(model, "attention", None)
    context = pooled / pooled.norm()
    if isinstance(attention, BilinearAttention):
        context = pooled @ attention.product / len(pooled) ** 0.5
    [name] = encode_names(model, [group.words], tokenizer=cascade.tokenizer, tokens=cascade.tokens)
    vectors = bank.vectors(torch.arange(len(bank)))
    cosines = vectors @ name / vectors.norm(dim=1) / name.norm()
    similar = vectors @ context
    found = Found(
        group,
        sorted(group.found.named, key=lambda concept: not group.found.named[concept]),
        _ranked(cascade, cosines, group.entity_type),
        [] if group.found.match == "exact" else _ranked(cascade, similar, group.entity_type),
    )
    concepts = [at for at in found.merged(12) if _fits(cascade, at, group)]
    if not concepts:
        return None, None, None
    rows = [np.flatnonzero(bank.owner == at) for at in concepts]
    nearest = [of[int(cosines[of].argmax())] for of in rows]
    mid, high = zip(*[_levels(cascade, vectors[row], members, states) for row in nearest], strict=True)
    table = _table(
        cascade, group, concepts, mid, high,
        similarity=[float(similar[of].max()) for of in rows],
        likeness=[float(cosines[of].max()) for of in rows],
    )  # fmt: skip
    scores = _utilities(cascade, table)
    best = int(np.argmax(scores))
    ner = min(max(max(each.score for each in members), 1e-4), 1 - 1e-4)
    marked = group.found.marked
    free = [1.0, np.log(ner / (1 - ner)), float(ner < LEAST_CONFIDENCE), max(0.0, marked), max(0.0, -marked)]
    none = float(np.dot(free, cascade.resolver.none_weights))
    if none > scores[best]:
        return None, None, None
    probability = 1 / (np.exp(none - scores[best]) + sum(np.exp(each - scores[best]) for each in scores))
    scored = (1 / (1 + float(np.exp(-mid[best]))), float(np.exp(high[best])), float(probability))
    return vocabulary.concepts[concepts[best]].mesh_id, _evidence(cascade, table, best), scored


def _own(states: States, span: Span) -> Tensor:
    begin = int(states.begin[span.window])
    return states.rows[begin : begin + len(states.windows[span.window])].float()


def _pieces(states: States, span: Span) -> tuple[int, int]:
    return states.windows[span.window].pieces_of(span.first, span.last)


def _ranked(cascade: Cascade, scores: Tensor, kind: str) -> list[int]:
    best: dict[int, float] = {}
    for at, score in zip(cascade.bank.owner.tolist(), scores.tolist(), strict=True):
        if cascade.vocabulary.concepts[at].entity_type == kind:
            best[at] = max(best.get(at, -np.inf), score)
    return sorted(best, key=lambda at: -best[at])[:12]


def _fits(cascade: Cascade, at: int, group: Group) -> bool:
    known = at in group.found.named or at in group.found.heads or at in group.found.trained
    concept = cascade.vocabulary.concepts[at]
    return known or (has_marks(marks_of(group.words), concept) and has_numbers(numbers_of(group.words), concept))


def _levels(cascade: Cascade, entity: Tensor, members: Sequence[Span], states: States) -> tuple[float, float]:
    """Return the best mid and high scores of an entity, (D,), in the windows and words of spans."""
    model, shared = cascade.model, entity[None, None]
    mid, high = [], []
    for span in members:
        hidden = _own(states, span)[None]
        attended = model.attend(hidden, torch.ones(hidden.shape[:2]), shared)
        mid.append(float(model.mid(attended, shared)) if model.config.use_mid else 0.0)
        if model.config.use_high:
            words = states.windows[span.window].first[span.first : span.last]
            logged = model.high(hidden, attended, shared)[0, 0, torch.from_numpy(words)].log_softmax(-1)
            tags = tag_mention(span.last - span.first, span.entity_type, tags=model.config.tags)
            high.append(float(logged[torch.arange(len(tags)), tags].mean()))
    return max(mid), max(high, default=0.0)


def _table(
    cascade: Cascade,
    group: Group,
    concepts: Sequence[int],
    mid: Sequence[float],
    high: Sequence[float],
    *,
    similarity: Sequence[float],
    likeness: Sequence[float],
) -> np.ndarray:
    found, rows = group.found, []
    exact = found.match == "exact"
    alike = {normalise(cascade.vocabulary.concepts[at].name) for at in found.named}
    for place, at in enumerate(concepts):
        concept, named = cascade.vocabulary.concepts[at], at in found.named
        trained = found.trained.get(at, 0)
        values = {
            "exact_preferred": exact and found.named.get(at, False),
            "exact": named and exact,
            "variant": named and not exact,
            "sole": named and len(alike) == 1,
            "trained": trained / max(1, sum(found.trained.values())),
            "often_trained": np.log1p(trained),
            "similarity": similarity[place],
            "lead": similarity[place] - max(similarity),
            "likeness": likeness[place],
            "likeness_lead": likeness[place] - max(likeness),
            "mid": mid[place],
            "high": high[place],
            "descriptor": concept.record_type == "descriptor",
            "supplementary": concept.record_type == "supplementary",
            "spelling": 1.0 if named else max(spelling(group.words, name) for name in concept.names[:COMPARED_NAMES]),
            "prior": np.log1p(cascade.resolver.prior.get(concept.mesh_id, 0)),
            "depth": min((tree.count(".") for tree in concept.tree_numbers), default=NO_DEPTH),
            "names": np.log(len(concept.names)),
            "head": at in found.heads,
            "disease": group.entity_type == "Disease",
        }
        rows.append([float(values[name]) for name in FEATURES])
    return np.array(rows, np.float32)


def _utilities(cascade: Cascade, table: np.ndarray) -> np.ndarray:
    resolver = cascade.resolver
    scores: np.ndarray = table @ resolver.weights + np.tanh(table @ resolver.hidden.T + resolver.bias) @ resolver.output
    exact, sole, prior, trained = (table[:, FEATURES.index(name)] for name in ("exact", "sole", "prior", "trained"))
    named = (exact > 0) & (sole > 0)
    if named.any() and not any((~named) & ((prior >= OFTEN) | (trained > 0))):
        scores = np.where(named, scores, scores - NEVER)
    return scores


def _evidence(cascade: Cascade, table: np.ndarray, best: int) -> str:
    rest = np.delete(table, best, axis=0)
    rival = rest[_utilities(cascade, rest).argmax()] if len(rest) else np.zeros_like(table[best])
    without = np.repeat(table[best][None], len(EVIDENCE), axis=0)
    for row, names in zip(without, EVIDENCE.values(), strict=True):
        for name in names:
            row[FEATURES.index(name)] = rival[FEATURES.index(name)]
    return list(EVIDENCE)[int((_utilities(cascade, table[best][None]) - _utilities(cascade, without)).argmax())]
