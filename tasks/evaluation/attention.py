"""The attention of the mid level over the words of example sentences, as in Table 3 of the paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from e2emern.model.document import Sentence
from e2emern.tasks.models import load_whole

EXAMPLES = (
    ("Valproic acid ended the seizures, but the convulsions came back after its withdrawal.",
     ("Seizures", "Valproic Acid")),
    ("Mutations of the VHL gene cause von Hippel-Lindau disease and renal cell carcinoma.",
     ("von Hippel-Lindau Disease", "Carcinoma, Renal Cell")),
)  # fmt: skip
"""Example sentences with the preferred names of the concepts to show."""


@dataclass(frozen=True, slots=True)
class Attended:
    """The words of a sentence, each with its share of the attention for a concept, from 0 to 1."""

    concept: str
    words: Sequence[tuple[str, float]]


def attention_in_examples(folder: Path, *, device: str) -> Iterator[Attended]:
    """Yield the attention of a model in each example; nothing for a model without the mid level.

    Raises InputError if the model folder is invalid.
    """
    from e2emern.model.inference.attention import attention_over

    model, tokenizer, _ = load_whole(folder, device=device)
    if not model.config.use_mid:
        return
    for text, concepts in EXAMPLES:
        for concept in concepts:
            words = attention_over(Sentence(0, len(text), text), concept, model=model, tokenizer=tokenizer)
            yield Attended(concept, [(text[one.start : one.end], one.weight) for one in words])
