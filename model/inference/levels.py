"""The mid and high levels of the cascade: scores of the candidates of groups of spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from e2emern.model.inference.bank import EntityBank
from e2emern.model.inference.candidates import Candidates
from e2emern.model.inference.grouping import Group, Span
from e2emern.model.inference.segments import ranges_of, starts_of
from e2emern.model.inference.states import States
from e2emern.model.inference.timings import Report
from e2emern.model.network import Attended, E2emernModel
from e2emern.model.tagging import tag_mention
from e2emern.model.tokenization import batches_of, pad

WIDER = 4  # size of the mid level's batches relative to the encoder's, which needs more memory per word piece


@dataclass(frozen=True, slots=True)
class _Asked:
    """The pairs of window and candidate to score: the candidates of a group, in every window with one of its spans.

    The P questions are grouped into Q pairs of a window and a group, ordered by window.
    """

    pairs: np.ndarray  # int64 (Q, 2): window, group
    first: np.ndarray  # int64 (Q + 1,), the first question of each pair, and their number
    candidates: np.ndarray  # int64 (P,), positions among the candidates
    entities: np.ndarray  # int64 (P,), positions among the distinct entities


@dataclass(eq=False, repr=False, kw_only=True)
class Levels:
    """Scores candidates by the mid and high levels of a model.

    Attributes:
        tokens: word pieces in one batch.
    """

    model: E2emernModel
    bank: EntityBank
    tokens: int

    def score(
        self,
        groups: Sequence[Group],
        candidates: Candidates,
        spans: Sequence[Span],
        states: States,
        report: Report,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the mid and the high level's score of each candidate, (C,) each: the best of its windows and spans.

        A level that is switched off scores 0.
        """
        mid, high = (np.full(len(candidates.concepts), -np.inf, np.float32) for _ in range(2))
        config = self.model.config
        if len(mid) and (config.use_mid or config.use_high):
            with report.timed("mid"):
                of_spans = [(spans[at].window, g, at) for g, group in enumerate(groups) for at in group.spans]
                rows, entity = np.unique(candidates.rows, return_inverse=True)
                asked = _ask(of_spans, candidates, entity)
                entities = self.bank.vectors(_moved(rows, states.rows)).to(states.rows.dtype)
                features, order = self._attend(asked, entities, states)
                if config.use_mid:
                    weights, bias = self.model.mid_classifier(entities)
                    asks = _moved(asked.entities[order], entities)
                    logits = ((features * weights[asks]).sum(-1) + bias[asks]).float().cpu().numpy()
                    np.maximum.at(mid, asked.candidates[order], logits)
            if config.use_high:
                with report.timed("high"):
                    self._score_high(
                        high, of_spans, asked, features, np.argsort(order), entities, candidates, spans, states
                    )
        for scores in (mid, high):
            scores[np.isinf(scores)] = 0.0
        return mid, high

    def _attend(self, asked: _Asked, entities: Tensor, states: States) -> tuple[Tensor, np.ndarray]:
        """Return h_a of the questions in some order, (P, D), and this order, int64 (P,)."""
        windows, begun = np.unique(asked.pairs[:, 0], return_index=True)
        first = asked.first[np.append(begun, len(asked.pairs))]
        counts = np.diff(first)
        longest = np.maximum([len(states.windows[at]) for at in windows], counts)
        queries = self.model.attention.queries(entities)
        found, order = [], []
        for batch in batches_of(longest.tolist(), tokens=WIDER * self.tokens):
            hidden, mask = states.padded(windows[batch])
            live = np.arange(int(counts[batch].max())) < counts[batch, None]
            questions = np.where(live, first[batch, None] + np.arange(live.shape[1]), first[batch, None])
            asks = queries[_moved(asked.entities[questions], queries)]
            found.append(self.model.attention(hidden, mask, asks).features[_moved(live, queries)])
            order.append(questions[live])
        return torch.cat(found), np.concatenate(order)

    def _score_high(
        self,
        best: np.ndarray,
        of_spans: list[tuple[int, int, int]],
        asked: _Asked,
        features: Tensor,
        places: np.ndarray,
        entities: Tensor,
        candidates: Candidates,
        spans: Sequence[Span],
        states: States,
    ) -> None:
        """Raise `best` to the mean log-probability of the spans' tags: only a span's own words are read.

        (S, W) words and (S, K) candidates in a batch. `places` are the rows of `features` of the questions.
        """
        counts = np.diff(candidates.first)
        of_spans = [each for each in of_spans if counts[each[1]]]
        at = {(window, group): place for place, (window, group) in enumerate(asked.pairs.tolist())}
        pair = np.array([at[window, group] for window, group, _ in of_spans])
        asks, mine = asked.first[pair], counts[asked.pairs[pair, 1]]
        words = np.array([spans[span].last - spans[span].first for _, _, span in of_spans])
        means, order = [], []
        # Nearly all groups have the most candidates, so spans of as many words make the least padding.
        for batch in batches_of((words * mine.max()).tolist(), tokens=self.tokens):
            some = [spans[of_spans[each][2]] for each in batch]
            hidden, real = states.words(some)
            live = np.arange(int(mine[batch].max())) < mine[batch, None]
            questions = np.where(live, asks[batch, None] + np.arange(live.shape[1]), asks[batch, None])
            picked = _moved(asked.entities[questions], entities)
            own = Attended(features[:0], features[_moved(places[questions], entities)])
            logged = self.model.high(hidden, own, entities[picked]).float().log_softmax(-1)  # (S, K, W, L)
            tagged = [tag_mention(s.last - s.first, s.entity_type, tags=self.model.config.tags) for s in some]
            wanted = pad([np.asarray(each) for each in tagged], padding=0)[0].to(logged.device)
            of_words = logged.gather(-1, wanted[:, None, :, None].expand(*logged.shape[:3], 1)).squeeze(-1)
            counted = _moved(real, logged)[:, None]
            means.append(((of_words * counted).sum(-1) / counted.sum(-1))[_moved(live, logged)])
            order.append(asked.candidates[questions[live]])
        np.maximum.at(best, np.concatenate(order), torch.cat(means).cpu().numpy())


def _ask(of_spans: list[tuple[int, int, int]], candidates: Candidates, entity: np.ndarray) -> _Asked:
    """Return the questions of all spans (their windows, groups and positions), given the entity of each candidate."""
    counts = np.diff(candidates.first)
    pairs = sorted({(window, group) for window, group, _ in of_spans if counts[group]})
    asked = np.array(pairs, np.int64).reshape(-1, 2)
    lengths = counts[asked[:, 1]]
    places = ranges_of(candidates.first[asked[:, 1]], lengths)
    return _Asked(asked, starts_of(lengths), places, entity[places])


def _moved(index: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(index).to(like.device)
