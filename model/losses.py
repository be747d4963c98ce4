"""The joint loss (equations 1 to 4), with partial annotation masked, and our candidate loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def tag_loss(logits: Tensor, allowed: Tensor, weights: Tensor) -> Tensor:
    """Equations 1 and 3: mean negative log-likelihood of the tags, over the tokens that count.

    A corpus that annotates one type says nothing about the others: there an O token may be O or any tag
    of the other types, and the loss is that of their summed probability. With one allowed tag it is the
    cross-entropy.

    Args:
        logits: (..., L).
        allowed: (..., L) bool, the tags that the annotation does not exclude, at least one a token.
        weights: (...), 0 for tokens that do not count (padding, word pieces inside a word).
    """
    log_probabilities = logits.float().log_softmax(-1).masked_fill(~allowed, -torch.inf)
    # Tokens that do not count may allow nothing; their loss must be finite for its gradient to be zero.
    log_probabilities = torch.where(allowed.any(-1, keepdim=True), log_probabilities, 0.0)
    losses = -log_probabilities.logsumexp(-1)
    return (losses * weights).sum() / weights.sum().clamp(min=1)


def mention_loss(logits: Tensor, contained: Tensor, weights: Tensor) -> Tensor:
    """Equation 2: binary cross-entropy of "the text mentions e", (B, M), positives and negatives balanced.

    Every sentence is compared with every entity of the batch, so negatives outnumber positives by far;
    each side is averaged on its own. `weights` is 0 where the annotation does not say (an entity of a type
    the corpus does not annotate).
    """
    losses = F.binary_cross_entropy_with_logits(logits.float(), contained.float(), reduction="none") * weights
    positive = (losses * contained).sum() / (weights * contained).sum().clamp(min=1)
    negative = (losses * ~contained).sum() / (weights * ~contained).sum().clamp(min=1)
    return (positive + negative) / 2


def candidate_loss(scores: Tensor, right: Tensor) -> Tensor:
    """Cross-entropy of a gold span's concept among the entities of the batch (InfoNCE; ours).

    The bilinear attention's scores, averaged over the words of a span, are also what candidates are found
    with; this loss teaches them to.

    Args:
        scores: (S, M), one row per gold span.
        right: (S, M) bool, the span's concepts, at least one a row.
    """
    log_probabilities = scores.float().log_softmax(-1).masked_fill(~right, -torch.inf)
    return -log_probabilities.logsumexp(-1).mean() if len(scores) else scores.sum()
