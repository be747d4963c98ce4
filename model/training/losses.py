"""The joint loss (equations 1 to 4), with partial annotation masked, and our candidate loss.

Every loss is a sum over a batch, divided by the totals of the whole batch (`Totals`). So the losses of the parts of a
batch that does not fit into memory add up to that of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from e2emern.model.network import BilinearAttention, E2emernModel, mean_pooled
from e2emern.model.training.samples import Batch

NAME_GROUPS = 2  # groups of names of similar length, to save padding


@dataclass(frozen=True, slots=True)
class Losses:
    """The joint loss of a batch (equation 4) and its parts."""

    total: Tensor
    low: Tensor
    mid: Tensor
    high: Tensor
    candidate: Tensor

    def values(self) -> list[float]:
        """Return the total and its parts as numbers, in the order of the fields."""
        parts = (self.total, self.low, self.mid, self.high, self.candidate)
        values: list[float] = torch.stack([part.detach().float() for part in parts]).tolist()
        return values


@dataclass(frozen=True, slots=True)
class Totals:
    """The divisors of the losses of a batch: its counted tokens, pairs and spans."""

    tokens: Tensor
    asked: Tensor
    positives: Tensor
    negatives: Tensor
    spans: int

    @classmethod
    def of(cls, batch: Batch) -> Totals:
        """Return the totals of a whole batch."""
        positives = (batch.known * batch.contained).sum()
        return cls(
            batch.counted.sum(),
            batch.asked_counted.sum(),
            positives,
            batch.known.sum() - positives,
            len(batch.span_row),
        )


def joint_loss(model: E2emernModel, batch: Batch, *, totals: Totals | None = None) -> Losses:
    """Run all levels on a batch; the loss of a level that is switched off is zero.

    Args:
        totals: of the whole batch, if `batch` is a part of one.
    """
    config, totals = model.config, totals or Totals.of(batch)
    groups = groups_of_names(batch.name_ids, batch.name_mask) if config.reads_entities else []
    hidden, *named = _encode(model, [(batch.ids, batch.mask), *groups])
    low = tag_loss(model.low(hidden), batch.allowed, batch.counted, total=totals.tokens)
    mid = high = candidate = torch.zeros((), device=hidden.device)
    if not groups:
        return Losses(low, low, mid, high, candidate)
    names = torch.cat([mean_pooled(states, shown) for states, (_, shown) in zip(named, groups, strict=True)])
    if config.use_mid:
        shared = names.unsqueeze(0)
        logits = model.mid(model.attend(hidden, batch.mask, shared), shared)
        mid = mention_loss(logits, batch.contained, batch.known, positives=totals.positives, negatives=totals.negatives)
    if isinstance(model.attention, BilinearAttention) and config.candidate_weight and len(batch.span_row):
        spans = torch.einsum("sn,snd->sd", batch.span_pieces.to(hidden.dtype), hidden[batch.span_row])
        scores = model.attention.scores(spans.unsqueeze(0), names.unsqueeze(0))[0].T
        candidate = candidate_loss(scores, batch.span_right, total=totals.spans)
    if config.use_high:
        asked = names[batch.asked]  # (B, K, D)
        logits = model.high(hidden, model.attend(hidden, batch.mask, asked), asked)
        high = tag_loss(logits, batch.asked_tags, batch.asked_counted, total=totals.asked)
    levels = config.low_weight * low + config.mid_weight * mid + config.high_weight * high
    total = levels + config.candidate_weight * candidate
    return Losses(total, low, mid, high, candidate)


def tag_loss(logits: Tensor, allowed: Tensor, weights: Tensor, *, total: Tensor | None = None) -> Tensor:
    """Return the loss of equations 1 and 3: mean negative log-likelihood of the tags, over the tokens that count.

    A corpus that annotates one type does not exclude the others: an O token may be O or any tag of the other types, and
    the loss is that of their summed probability. With one allowed tag it is the cross-entropy.

    Args:
        logits: (..., L).
        allowed: (..., L) bool, the tags that the annotation does not exclude, at least one a token.
        weights: (...), 0 for tokens that do not count (padding, word pieces inside a word).
        total: divisor of the sum; by default the sum of the weights.
    """
    log_probabilities = logits.float().log_softmax(-1).masked_fill(~allowed, -torch.inf)
    # Tokens that do not count may allow nothing; their loss must be finite for its gradient to be zero.
    log_probabilities = torch.where(allowed.any(-1, keepdim=True), log_probabilities, 0.0)
    losses = -log_probabilities.logsumexp(-1)
    return (losses * weights).sum() / (weights.sum() if total is None else total).clamp(min=1)


def mention_loss(
    logits: Tensor,
    contained: Tensor,
    weights: Tensor,
    *,
    positives: Tensor | None = None,
    negatives: Tensor | None = None,
) -> Tensor:
    """Return the loss of equation 2: binary cross-entropy of "the text mentions e", (B, M), with balanced sides.

    Every sentence is compared with every entity of the batch, so that negatives far outnumber positives; each side is
    averaged separately. `weights` is 0 if the annotation is silent (an entity of a type that the corpus does not
    annotate). The sides are divided by `positives` and `negatives`, or else by their weights.
    """
    losses = F.binary_cross_entropy_with_logits(logits.float(), contained.float(), reduction="none") * weights
    right = (weights * contained).sum() if positives is None else positives
    wrong = (weights * ~contained).sum() if negatives is None else negatives
    positive = (losses * contained).sum() / right.clamp(min=1)
    negative = (losses * ~contained).sum() / wrong.clamp(min=1)
    return (positive + negative) / 2


def candidate_loss(scores: Tensor, right: Tensor, *, total: int | None = None) -> Tensor:
    """Return the cross-entropy of a gold span's concept among the entities of the batch (InfoNCE; ours).

    The bilinear attention's scores, averaged over the words of a span, also retrieve candidates; this loss trains them
    for that.

    Args:
        scores: (S, M), one row per gold span.
        right: (S, M) bool, the span's concepts, at least one a row.
        total: divisor of the sum; by default S.
    """
    log_probabilities = scores.float().log_softmax(-1).masked_fill(~right, -torch.inf)
    return -log_probabilities.logsumexp(-1).sum() / max(1, len(scores) if total is None else total)


def groups_of_names(ids: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Split names, sorted by length, into groups of equal size; each is as wide as its longest name."""
    parts = []
    for some, shown in zip(ids.tensor_split(NAME_GROUPS), mask.tensor_split(NAME_GROUPS), strict=True):
        if len(some):
            width = int(shown.sum(1).max())
            parts.append((some[:, :width], shown[:, :width]))
    return parts


def _encode(model: E2emernModel, groups: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """Return H of each group of (ids, mask), with one look-up of the word embeddings for all.

    The gradient of a look-up is as large as the embeddings, no matter how few pieces it reads.
    """
    flat = torch.cat([ids.flatten() for ids, _ in groups])
    embedded = model.encoder.get_input_embeddings()(flat).split([ids.numel() for ids, _ in groups])
    return [
        model.encoder(inputs_embeds=rows.view(*ids.shape, -1), attention_mask=mask).last_hidden_state
        for rows, (ids, mask) in zip(embedded, groups, strict=True)
    ]
