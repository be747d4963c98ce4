"""Hard negatives of the model's own: the concepts that it takes most easily for a right one.

As in ANCE (Xiong et al. 2021, arXiv 2007.00808) they are found anew as training goes on: at the end of an epoch, with
the names of the whole vocabulary encoded by the weights that are then.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from ..inference.bank import encode_names
from ..network import E2emernModel
from ..vocabulary import Vocabulary

NEAREST = 16  # concepts that are kept for each


@torch.inference_mode()
def nearest_wrong(
    model: E2emernModel,
    concepts: Sequence[int],
    *,
    vocabulary: Vocabulary,
    tokenizer: PreTrainedTokenizerBase,
    random: np.random.Generator,
    tokens: int = 4096,
) -> dict[int, list[int]]:
    """Returns, for each of `concepts`, the others of its type whose names are nearest to one of its own.

    A name of every concept is drawn, and all names of `concepts` are compared with them, by cosine.

    Args:
        model: in evaluation mode.
        concepts: positions in the vocabulary.
        random: draws the names.
        tokens: word pieces a batch.
    """
    drawn = [concept.names[int(random.integers(len(concept.names)))] for concept in vocabulary.concepts]
    bank = F.normalize(encode_names(model, drawn, tokenizer=tokenizer, tokens=tokens), dim=-1)
    asked = [(at, name) for at in concepts for name in vocabulary.concepts[at].names]
    named = encode_names(model, [name for _, name in asked], tokenizer=tokenizer, tokens=tokens)
    nearest, begin = {}, 0
    for at in concepts:
        end = begin + len(vocabulary.concepts[at].names)
        within = vocabulary.slice_of(vocabulary.concepts[at].entity_type)
        likeness = (F.normalize(named[begin:end], dim=-1) @ bank[within].T).amax(0)
        likeness[at - within.start] = -torch.inf  # itself
        best = likeness.topk(min(NEAREST, len(likeness) - 1)).indices + within.start
        nearest[at] = best.tolist()
        begin = end
    return nearest
