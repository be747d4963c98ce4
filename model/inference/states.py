"""The encoder's output for the windows of a chunk of documents: H of all of them in one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from e2emern.model.inference.grouping import Span
from e2emern.model.inference.segments import owners_of, ranges_of, starts_of
from e2emern.model.tokenization import Window


@dataclass(frozen=True, slots=True)
class States:
    """H of all windows: one row for each word piece, (pieces, D).

    Attributes:
        begin: int64 (windows,), the row of each window's first piece.
    """

    rows: Tensor
    windows: Sequence[Window]
    begin: np.ndarray

    def padded(self, windows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return H of some windows, (B, N, D), and which pieces are real, bool (B, N); padding repeats some row."""
        lengths = np.array([len(self.windows[at]) for at in windows])
        places = np.arange(int(lengths.max()))
        index = np.minimum(self.begin[windows, None] + places, len(self.rows) - 1)
        return self.rows[self._moved(index)], self._moved(places < lengths[:, None])

    def first_pieces(self) -> Tensor:
        """Return the row of the first piece of each word of all windows: int64 (words,)."""
        index = [begin + window.first for begin, window in zip(self.begin.tolist(), self.windows, strict=True)]
        return self._moved(np.concatenate([np.zeros(0, np.int64), *index]))

    def words(self, spans: Sequence[Span]) -> tuple[Tensor, np.ndarray]:
        """Return h of the first piece of each word of spans, (S, W, D), and which words are real, bool (S, W)."""
        lengths = np.array([span.last - span.first for span in spans])
        real = np.arange(int(lengths.max())) < lengths[:, None]
        index = np.zeros(real.shape, np.int64)
        index[real] = np.concatenate(
            [self.begin[span.window] + self.windows[span.window].first[span.first : span.last] for span in spans]
        )
        return self.rows[self._moved(index)], real

    def means(self, spans: Sequence[Span]) -> Tensor:
        """Return the mean of h over the word pieces of each span: float32 (S, D)."""
        pieces = np.array([self.windows[s.window].pieces_of(s.first, s.last) for s in spans], np.int64).reshape(-1, 2)
        begin = self.begin[[span.window for span in spans]] + pieces[:, 0] if spans else pieces[:, 0]
        lengths = pieces[:, 1] - pieces[:, 0]
        return means_of_runs(self.rows[self._moved(ranges_of(begin, lengths))].float(), starts_of(lengths))

    def _moved(self, index: np.ndarray) -> Tensor:
        return torch.from_numpy(index).to(self.rows.device)


def means_of_runs(values: Tensor, first: np.ndarray) -> Tensor:
    """Return the mean of the rows of each run (`segments`): (elements, D) to (runs, D)."""
    owners = torch.from_numpy(owners_of(first)).to(values.device)
    lengths = torch.from_numpy(np.diff(first)).to(values.device)
    sums = values.new_zeros(len(first) - 1, values.shape[-1]).index_add_(0, owners, values)
    return sums / lengths[:, None]
