"""The gain from never encoding (sentence, entity) pairs.

The paper's network scores one entity at a time, and encodes the sentence again for each. Here a sentence is
encoded once and scored against all entities by two matrix products (`E2emernModel.score_bank`). Both give the same
scores.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import Result, Setting, alternated, cascade_of, spread
from e2emern.defaults import SAMPLE
from e2emern.model.document import Document
from e2emern.model.network import E2emernModel
from e2emern.model.pretrained import load_model
from e2emern.model.tokenization import make_windows, pad
from e2emern.tasks.parsers.pubmed import parse_pubmed
from e2emern.tasks.sentences import split_sentences

SENTENCES, ENTITIES = 16, 256
CLOSE = 1e-4  # largest allowed difference between two scores of a pair, in float32


@torch.inference_mode()
def factorised_over_pairwise(setting: Setting) -> Result:
    """Return how many times faster a batch is scored against N entities at once than pair by pair.

    Raises ValueError if the scores differ.
    """
    cascade = cascade_of(setting)
    model, tokenizer, _ = load_model(setting.model, device=str(cascade.model.device), dtype=torch.float32)
    documents = [record for record in parse_pubmed(SAMPLE) if isinstance(record, Document)]
    sentences = [sentence for document in documents for sentence in split_sentences(document)][:SENTENCES]
    windows = make_windows([sentences], tokenizer=tokenizer, max_pieces=cascade.max_pieces)
    ids, mask = (part.to(model.device) for part in pad([each.ids for each in windows], padding=tokenizer.pad_token_id))
    rows = np.linspace(0, len(cascade.bank) - 1, min(ENTITIES, len(cascade.bank))).astype(np.int64)
    entities = cascade.bank.vectors(torch.from_numpy(rows).to(model.device))
    difference = float((at_once(model, ids, mask, entities) - pair_by_pair(model, ids, mask, entities)).abs().max())
    if difference > CLOSE:
        raise ValueError(f"scores of the same pairs differ by {difference:.2g}, expected at most {CLOSE:g}")
    seconds = alternated(
        lambda: at_once(model, ids, mask, entities),
        lambda: pair_by_pair(model, ids, mask, entities),
        rounds=setting.rounds,
    )
    return {
        **spread(seconds, sides=("factorised", "pairwise")),
        "largest_difference": difference,
        "sentences": len(windows),
        "entities": len(entities),
        "pairs": len(windows) * len(entities),
        "precision": "float32",
    }


def at_once(model: E2emernModel, ids: Tensor, mask: Tensor, entities: Tensor) -> Tensor:
    """Score (B, M) of every sentence and entity, each sentence encoded once."""
    return model.score_bank(model.encode(ids, mask), mask, entities).cpu()


def pair_by_pair(model: E2emernModel, ids: Tensor, mask: Tensor, entities: Tensor) -> Tensor:
    """Return the same scores with the sentence encoded for every entity, all pairs of one entity in a batch."""
    columns = []
    for entity in entities:
        one = entity[None, None]  # (1, 1, D)
        columns.append(model.mid(model.attend(model.encode(ids, mask), mask, one), one).cpu())
    return torch.cat(columns, dim=1)
