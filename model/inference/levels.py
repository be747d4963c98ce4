"""The mid and high levels of the cascade: scores of the candidates of groups of spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from e2emern.model.inference.bank import EntityBank
from e2emern.model.inference.grouping import Group, Span
from e2emern.model.inference.timings import Report
from e2emern.model.network import Attended, E2emernModel
from e2emern.model.tagging import tag_mention
from e2emern.model.tokenization import Window, batches_of, pad


@dataclass(frozen=True, slots=True)
class _Batch:
    """Windows and the candidates asked of each: B windows of N pieces, K candidates, hidden size D."""

    states: Tensor  # (B, N, D)
    entities: Tensor  # (B, K, D)
    attended: Attended
    columns: dict[tuple[int, int], np.ndarray]  # (row, group): the columns of the group's candidates


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
        spans: Sequence[Span],
        windows: Sequence[Window],
        hidden: Sequence[Tensor],
        report: Report,
    ) -> None:
        """Score the candidates of each group by the mid and high levels, in every window with one of its spans."""
        asked: dict[int, list[tuple[int, int]]] = {}  # window: (group, span)
        for at, group in enumerate(groups):
            group.mid = np.full(len(group.concepts), -np.inf, np.float32)
            group.high = np.full(len(group.concepts), -np.inf, np.float32)
            if len(group.concepts):
                for span in group.spans:
                    asked.setdefault(spans[span].window, []).append((at, span))
        order = list(asked)
        for batch in batches_of([len(windows[at]) for at in order], tokens=self.tokens):
            chosen = [order[at] for at in batch]
            of_batch = [asked[at] for at in chosen]
            if self.model.config.use_mid or self.model.config.use_high:
                with report.timed("mid"):
                    made = self._attend(of_batch, [hidden[at] for at in chosen], groups)
                    if self.model.config.use_mid:
                        self._score_mid(made, groups)
                if self.model.config.use_high:
                    with report.timed("high"):
                        self._score_high(made, of_batch, groups, spans, windows)
        for group in groups:  # of a level that is switched off
            group.mid[np.isinf(group.mid)] = 0.0
            group.high[np.isinf(group.high)] = 0.0

    def _attend(self, asked: list[list[tuple[int, int]]], hidden: Sequence[Tensor], groups: Sequence[Group]) -> _Batch:
        """Return the windows of a batch with the candidates asked of each, and the attention between them."""
        states = torch.nn.utils.rnn.pad_sequence(list(hidden), batch_first=True)
        lengths = torch.tensor([len(state) for state in hidden])
        mask = (torch.arange(states.shape[1])[None] < lengths[:, None]).to(states.device)
        groups_of = [list(dict.fromkeys(group for group, _ in row)) for row in asked]
        rows = [np.concatenate([groups[g].rows for g in mine]) for mine in groups_of]
        entities = self.bank.vectors(pad(rows, padding=0)[0].to(states.device)).to(states.dtype)
        columns: dict[tuple[int, int], np.ndarray] = {}
        for row, mine in enumerate(groups_of):
            begin = 0
            for g in mine:
                columns[row, g] = np.arange(begin, begin + len(groups[g].rows))
                begin += len(groups[g].rows)
        return _Batch(states, entities, self.model.attend(states, mask, entities), columns)

    def _score_mid(self, batch: _Batch, groups: Sequence[Group]) -> None:
        """Give each group the mid level's scores, keeping the best of its windows."""
        logits = self.model.mid(batch.attended, batch.entities).float().cpu().numpy()
        for (row, g), columns in batch.columns.items():
            np.maximum(groups[g].mid, logits[row, columns], out=groups[g].mid)

    def _score_high(
        self,
        batch: _Batch,
        asked: list[list[tuple[int, int]]],
        groups: Sequence[Group],
        spans: Sequence[Span],
        windows: Sequence[Window],
    ) -> None:
        """Give each group the high level's mean log-probability of its spans' tags, keeping the best of its spans.

        Only a span's own words are read: (S, W) words and (S, K) candidates.
        """
        attended = batch.attended
        pairs = [(row, g, spans[span]) for row, owned in enumerate(asked) for g, span in owned]
        words = [windows[span.window].first[span.first : span.last] for _, _, span in pairs]
        at, real = pad(words, padding=0)
        picked, _ = pad([batch.columns[row, g] for row, g, _ in pairs], padding=0)
        row_of = torch.tensor([row for row, _, _ in pairs])[:, None]
        own = Attended(attended.weights[row_of, picked.clamp(max=attended.weights.shape[1] - 1)],
                       attended.features[row_of, picked])  # fmt: skip
        high = self.model.high(batch.states[row_of, at], own, batch.entities[row_of, picked]).float().log_softmax(-1)
        tagged = [tag_mention(s.last - s.first, s.entity_type, tags=self.model.config.tags) for _, _, s in pairs]
        wanted, _ = pad([np.asarray(each) for each in tagged], padding=0)
        index = wanted[:, None, :, None].expand(*high.shape[:3], 1).to(high.device)
        logged = high.gather(-1, index).squeeze(-1).cpu() * real[:, None]
        means = (logged.sum(-1) / real.sum(-1, keepdim=True)).numpy()
        for (_, g, _), mean in zip(pairs, means, strict=True):
            np.maximum(groups[g].high, mean[: len(groups[g].rows)], out=groups[g].high)
