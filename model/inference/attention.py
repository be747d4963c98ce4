"""The attention of the mid level over the words of a sentence for an entity, as in Table 3 of the paper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from e2emern.model.document import Sentence
from e2emern.model.inference.bank import encode_names
from e2emern.model.network import E2emernModel
from e2emern.model.tokenization import longest_window, make_windows


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the document, by its code points, and its share of the attention, from 0 to 1."""

    start: int
    end: int
    weight: float


@torch.inference_mode()
def attention_over(
    sentence: Sentence, name: str, *, model: E2emernModel, tokenizer: PreTrainedTokenizerBase
) -> list[Word]:
    """Return the attention that each word of a sentence gets for an entity, encoded from its preferred name.

    The rest of 1 goes to the special pieces. If a sentence is longer than the encoder reads, each of its windows has
    its own shares.
    """
    windows = make_windows([[sentence]], tokenizer=tokenizer, max_pieces=longest_window(model.encoder))
    entity = encode_names(model, [name], tokenizer=tokenizer).to(model.device)[None]
    words = []
    for window in windows:
        ids = torch.from_numpy(window.ids.astype(np.int64))[None].to(model.device)
        mask = torch.ones_like(ids)
        hidden = model.encode(ids, mask)
        weights = model.attend(hidden, mask, entity.to(hidden.dtype)).weights[0, 0].float().cpu().numpy()
        for place, (start, end) in enumerate(zip(window.start.tolist(), window.end.tolist(), strict=True)):
            of_word = weights[slice(*window.pieces_of(place, place + 1))]
            words.append(Word(start, end, round(float(of_word.sum()), 4)))
    return words
