"""Table 3 of the paper: how much attention each word of a sentence gets for an entity.

The sentences are our own. If the attention ignores the entity, the rows of two entities are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from e2emern.model.document import Sentence
from e2emern.model.inference.attention import attention_over
from e2emern.model.pretrained import load_model
from e2emern.model.vocabulary import Vocabulary

Case = tuple[str, tuple[str, ...]]  # a sentence, and the concepts to attend for

CASES: tuple[Case, ...] = (
    ("Valproic acid ended the seizures, but the convulsions came back after its withdrawal.", ("D012640", "D014635")),
    ("Mutations of the VHL gene cause von Hippel-Lindau disease and renal cell carcinoma.", ("D006623", "D002292")),
    ("Acute kidney injury developed within three days in rats that were given cisplatin.", ("D058186", "D002945")),
)
_BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Attention:
    """The attention that each word of a sentence gets for an entity; the rest of 1 goes to the special pieces."""

    row: str
    mesh_id: str
    name: str
    words: tuple[str, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Attention:
        """Read one from JSON."""
        return cls(kept["row"], kept["mesh_id"], kept["name"], tuple(kept["words"]), tuple(kept["weights"]))


def attend(row: str, folder: Path, *, vocabulary: Vocabulary, cases: Sequence[Case], device: str) -> list[Attention]:
    """Return the attention of a trained model in every case whose concepts the vocabulary holds."""
    model, tokenizer, _ = load_model(folder, device=device, dtype=torch.float32)
    found = []
    for text, concepts in cases:
        known = [vocabulary.concepts[vocabulary.position[c]] for c in concepts if c in vocabulary.position]
        if not known:
            continue
        for concept in known:
            words = attention_over(Sentence(0, len(text), text), concept.name, model=model, tokenizer=tokenizer)
            spelled, weights = tuple(text[one.start : one.end] for one in words), tuple(one.weight for one in words)
            found.append(Attention(row, concept.mesh_id, concept.name, spelled, weights))
    return found


def draw(attentions: Sequence[Attention]) -> str:
    """Draw the attentions to one sentence as text: under each word a bar, relative to the row's greatest."""
    words = attentions[0].words
    titles = [f"{each.row}, {each.name}" for each in attentions]
    margin = max(map(len, titles))
    lines = [f"{'':{margin}}  {' '.join(words)}"]
    for title, each in zip(titles, attentions, strict=True):
        most = max(each.weights) or 1.0
        bars = [
            _BARS[round(weight / most * (len(_BARS) - 1))] * len(word)
            for word, weight in zip(words, each.weights, strict=True)
        ]
        lines.append(f"{title:{margin}}  {' '.join(bars)}".rstrip())
    return "\n".join(lines)
