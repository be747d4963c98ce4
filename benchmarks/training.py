"""The share of the encoder in a training step.

Batches are from the bundled sample, with the mentions that the model finds as gold.
"""

from __future__ import annotations

from itertools import islice

import torch

from benchmarks.measuring import Result, Setting, alternated, cascade_of, spread
from e2emern.defaults import SAMPLE
from e2emern.model.corpus import GoldDocument, GoldMention, write_corpus
from e2emern.model.document import Document, Text
from e2emern.model.training.losses import groups_of_names
from e2emern.model.training.recipe import Recipe
from e2emern.model.training.samples import Batch
from e2emern.model.training.trainer import Trainer, make_trainer
from e2emern.tasks.parsers.pubmed import parse_pubmed
from e2emern.tasks.sentences import split_sentences

BATCHES = 4  # in a round


def train_over_encoder(setting: Setting) -> Result:
    """Return the seconds of the bare encoder, forward and backward, over those of whole training steps."""
    trainer = trainer_of(setting)
    batches = list(islice(trainer.sampler.epoch(0), BATCHES))
    encode(trainer, batches[:1])
    steps(trainer, 1)
    seconds = alternated(lambda: steps(trainer, len(batches)), lambda: encode(trainer, batches), rounds=setting.rounds)
    pieces = sum(int(batch.mask.sum()) for batch in batches)
    return {
        **spread(seconds, sides=("steps", "encoder")),
        "target": ">= 0.85",
        "batches": len(batches),
        "pieces_of_text": pieces,
        "pieces_of_names": sum(int(batch.name_mask.sum()) for batch in batches),
        "pieces_of_text_per_second": round(pieces * len(seconds) / sum(first for first, _ in seconds)),
        "precision": trainer.recipe.precision,
    }


def trainer_of(setting: Setting) -> Trainer:
    """Return a training that continues the model, with the default recipe, on its own mentions of the sample."""
    cascade = cascade_of(setting)
    documents = [record for record in parse_pubmed(SAMPLE) if isinstance(record, Document)]
    sentences = [split_sentences(document) for document in documents]
    found, _ = cascade.annotate([Text(each) for each in sentences])
    corpus = setting.folder / "training.parquet"
    gold = [
        GoldDocument(
            corpus="sample",
            split="train",
            document_id=document.document_id,
            annotated_types=("Disease", "Chemical"),
            text=document.text,
            sentences=split,
            abbreviations=(),
            mentions=tuple(
                GoldMention(m.start, m.end, m.entity_type, (m.mesh_id,) if m.mesh_id else ()) for m in mentions
            ),
        )
        for document, split, mentions in zip(documents, sentences, found, strict=True)
    ]
    write_corpus(gold, corpus)
    return make_trainer(
        Recipe(encoder=str(setting.model.resolve()), train=("sample/train",)).on(str(cascade.model.device)),
        corpus=corpus,
        vocabulary=cascade.vocabulary,
        made_from={},
        output=setting.folder,
        folder=setting.folder,
        device=str(cascade.model.device),
        log=lambda line: None,
    )


def steps(trainer: Trainer, count: int) -> None:
    """Run whole training steps, from drawing a batch to new weights; a small rate keeps the weights nearly constant."""
    for batch in islice(trainer.sampler.epoch(0), count):
        trainer.take_step([batch], 1e-6)


def encode(trainer: Trainer, batches: list[Batch]) -> None:
    """Run the encoder alone, forward and backward, over the texts and the names of batches."""
    model, device = trainer.model, trainer.model.device
    for drawn in batches:
        batch = drawn.to(str(device))
        groups = [(batch.ids, batch.mask), *groups_of_names(batch.name_ids, batch.name_mask)]
        with trainer.autocast():
            hidden = [model.encode(ids, mask) for ids, mask in groups]
        torch.autograd.backward(hidden, [torch.full_like(states, 1e-6) for states in hidden])
        model.zero_grad()
    if device.type == "cuda":
        torch.cuda.synchronize()
