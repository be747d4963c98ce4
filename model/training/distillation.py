"""Sentences that teacher models have tagged, to train a student (knowledge distillation, Hinton et al. 2015).

An ensemble is better than each of its models, and a single model can learn its predictions from unannotated text. The
teachers' mean probabilities of each word's tags are kept, not just the best tag: their uncertainty carries information.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from e2emern.model.errors import first_line
from e2emern.model.network import E2emernModel
from e2emern.model.seen import Seen, parse_seen
from e2emern.model.tokenization import Window, batches_of, pad, pieces_digest
from e2emern.model.training.recipe import RecipeError

_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("pieces", pa.list_(pa.int32())),  # ids of the sentence's word pieces, special ones included
    ("first", pa.list_(pa.int32())),  # the first piece of each word
    ("probabilities", pa.list_(pa.float16())),  # of the tags of each word, in the order of the tags
]
SILVER_SCHEMA = pa.schema(_COLUMNS)
SEEN = b"seen"  # metadata: the documents that the teachers have seen


@dataclass(frozen=True, slots=True)
class SilverBatch:
    """Tensors of some tagged sentences: B sentences of N pieces, L tags."""

    ids: Tensor  # (B, N)
    mask: Tensor  # (B, N)
    probabilities: Tensor  # (B, N, L) at the first piece of every word, zero elsewhere

    def to(self, device: str) -> SilverBatch:
        """Return the same batch on a device."""
        return SilverBatch(*(getattr(self, name).to(device, non_blocking=True) for name in self.__slots__))

    def split(self, parts: int) -> list[SilverBatch]:
        """Return the batch in at most `parts` parts of its sentences."""
        split = (getattr(self, name).tensor_split(min(parts, len(self.ids))) for name in self.__slots__)
        return [SilverBatch(*part) for part in zip(*split, strict=True)]


class Silver:
    """Tagged sentences in an endless sequence of batches of similar length; each pass has a different order.

    Args:
        sentences: for each, the ids of its pieces, the first piece of each word, and probabilities (words, L).
        padding: id of the padding piece.
        tokens: word pieces a batch.
    """

    def __init__(
        self, sentences: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], *, padding: int, tokens: int, seed: int
    ) -> None:
        self.sentences, self.padding, self.seed = sentences, padding, seed
        self._batches = batches_of([len(pieces) for pieces, _, _ in sentences], tokens=tokens)

    def __len__(self) -> int:
        return len(self._batches)

    def batch(self, number: int) -> SilverBatch:
        """Return the batch of this number, from 0 on without end; the same number gives the same batch."""
        seen, place = divmod(number, len(self))
        order = np.random.default_rng((self.seed, seen)).permutation(len(self))
        chosen = [self.sentences[at] for at in self._batches[order[place]]]
        ids, mask = pad([pieces for pieces, _, _ in chosen], padding=self.padding)
        probabilities = np.zeros((*ids.shape, chosen[0][2].shape[1]), np.float32)
        for row, (_, first, of_words) in enumerate(chosen):
            probabilities[row, first] = of_words
        return SilverBatch(ids, mask, torch.from_numpy(probabilities))


def silver_loss(model: E2emernModel, batch: SilverBatch, *, total: Tensor | None = None) -> Tensor:
    """Return mean cross-entropy of the low level's tags to the teachers' probabilities, over words.

    Args:
        total: number of words that the sum is divided by; by default those of the batch.
    """
    logged = model.low(model.encode(batch.ids, batch.mask)).float().log_softmax(-1)
    return -(batch.probabilities * logged).sum() / (words_of(batch) if total is None else total).clamp(min=1)


def words_of(batch: SilverBatch) -> Tensor:
    """Return the number of words of a batch."""
    return (batch.probabilities.sum(-1) > 0).sum()


@torch.inference_mode()
def tag_windows(
    models: Sequence[E2emernModel], windows: Sequence[Window], *, padding: int, tokens: int = 4096
) -> list[np.ndarray]:
    """Return the mean probabilities of the models' tags for the words of each window: float32 (words, L).

    Args:
        padding: id of the padding piece.
        tokens: word pieces a batch.
    """
    tagged = [np.empty(0, np.float32)] * len(windows)
    for batch in batches_of([len(window) for window in windows], tokens=tokens):
        chosen = [windows[at] for at in batch]
        ids, mask = pad([window.ids for window in chosen], padding=padding)
        every = [
            model.low(model.encode(ids.to(model.device), mask.to(model.device))).float().softmax(-1).cpu()
            for model in models
        ]
        mean = torch.stack(every).mean(0).numpy()
        for row, at in enumerate(batch.tolist()):
            tagged[at] = mean[row, windows[at].first]
    return tagged


def silver_table(windows: Sequence[Window], tagged: Sequence[np.ndarray]) -> pa.Table:
    """Return windows and their words' probabilities as rows of `SILVER_SCHEMA`."""
    rows = {
        "pieces": [window.ids for window in windows],
        "first": [window.first for window in windows],
        "probabilities": [each.astype(np.float16).ravel() for each in tagged],
    }
    return pa.table(rows, schema=SILVER_SCHEMA)


def described(table: pa.Table, *, tags: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> pa.Table:
    """Return the table with the tags and the digest of the word pieces in its metadata."""
    return table.replace_schema_metadata({"tags": " ".join(tags), "pieces": pieces_digest(tokenizer)})


def read_silver(
    path: Path, *, tags: Sequence[str], tokenizer: PreTrainedTokenizerBase, tokens: int, seed: int
) -> Silver:
    """Read a file that `e2emern silver` wrote.

    Raises:
        RecipeError: it is not such a file, or has other tags or other word pieces.
    """
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise RecipeError(f"{path}: cannot be read as tagged sentences: {first_line(error)}") from error
    if table.schema.remove_metadata() != SILVER_SCHEMA or not table.num_rows:
        raise RecipeError(f"{path}: expected tagged sentences, as `e2emern silver` writes them")
    wanted, found = described(table, tags=tags, tokenizer=tokenizer).schema.metadata, table.schema.metadata or {}
    if any(found.get(key) != value for key, value in wanted.items()):
        raise RecipeError(f"{path}: its sentences were tagged by models with other tags or other word pieces")
    sentences = list(_sentences(table, labels=len(tags)))
    return Silver(sentences, padding=int(tokenizer.pad_token_id), tokens=tokens, seed=seed)


def seen_by_teachers(path: Path) -> Seen | None:
    """Return the documents that the teachers of a file of tagged sentences have seen; None if it does not name them."""
    try:
        return parse_seen((pq.read_schema(path).metadata or {})[SEEN])
    except (OSError, pa.ArrowException, ValueError, TypeError, KeyError):  # `read_silver` reports a damaged file
        return None


def _sentences(table: pa.Table, *, labels: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    columns = [table.column(name) for name in SILVER_SCHEMA.names]
    ends = [np.cumsum(pc.list_value_length(column).to_numpy())[:-1] for column in columns]
    values = [pc.list_flatten(column).to_numpy() for column in columns]
    rows = (np.split(flat, at) for flat, at in zip(values, ends, strict=True))
    for pieces, first, probabilities in zip(*rows, strict=True):
        yield pieces, first, probabilities.reshape(-1, labels).astype(np.float32)
