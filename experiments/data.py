"""The data of the experiments, reduced to a budget; the same for every row and seed.

Thresholds and the resolver are fitted on documents of the training splits that are not used for training, so that the
dev splits are only scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from e2emern.model.corpus import GoldDocument, read_corpus, write_corpus
from e2emern.model.evaluation.slices import Slicer
from e2emern.model.files import write_table
from e2emern.model.vocabulary import Vocabulary, normalise


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of the data is used, and for how many epochs.

    Attributes:
        documents: number from each training split; None: all but those to tune on.
        tuning: number of further documents from each training split, for thresholds and the resolver.
        dev: number from each dev split; None: all.
        concepts: number of concepts in addition to those that the documents name; None: all.
        epochs: number of epochs over the training documents.
    """

    documents: int | None
    tuning: int
    dev: int | None
    concepts: int | None
    epochs: int


# Time for all rows with three seeds: minutes, four hours on one core, and one or two hours on a GPU.
BUDGETS = {
    "tiny": Budget(documents=4, tuning=4, dev=4, concepts=200, epochs=1),
    "short": Budget(documents=200, tuning=50, dev=150, concepts=5_000, epochs=2),
    "full": Budget(documents=None, tuning=80, dev=None, concepts=None, epochs=8),
}


@dataclass(frozen=True, slots=True)
class Data:
    """The documents of all rows and seeds, in memory and in the files that training reads.

    Attributes:
        corpus: Parquet file whose `train` splits are trained on, and whose `tune` splits are tuned on.
        mesh: entities table.
    """

    corpus: Path
    mesh: Path
    vocabulary: Vocabulary
    train: tuple[GoldDocument, ...]
    tune: tuple[GoldDocument, ...]
    dev: tuple[GoldDocument, ...]

    @property
    def slicer(self) -> Slicer:
        return Slicer.of(self.train, canonical=self.vocabulary.canonical)

    def described(self) -> dict[str, object]:
        """Return a description of the data: counts, and a digest of texts and gold."""
        parts = {"train": self.train, "tune": self.tune, "dev": self.dev}
        corpora = sorted({document.corpus for part in parts.values() for document in part})
        return {
            "documents": {
                corpus: {name: sum(d.corpus == corpus for d in part) for name, part in parts.items()}
                for corpus in corpora
            },
            "concepts": len(self.vocabulary.concepts),
            "names": len(self.vocabulary.names),
            "mesh_version": self.vocabulary.version,
            "vocabulary": self.vocabulary.digest,
            "digest": sha256(repr([self.train, self.tune, self.dev]).encode()).hexdigest()[:16],
        }


def prepare(
    budget: Budget,
    *,
    corpus: Path,
    mesh: Path,
    train: Sequence[str],
    dev: Sequence[str],
    always: Sequence[str],
    folder: Path,
) -> Data:
    """Reduce a corpus and a vocabulary to a budget, and write both to `folder`.

    Args:
        corpus: prepared corpus (`model.corpus`).
        mesh: entities table.
        train, dev: splits, as `corpus/split`.
        always: concepts to keep in the vocabulary in any case.

    Raises:
        ValueError: a split is not in the corpus, or holds too few documents to tune on and to train on.
    """
    chosen: dict[str, list[GoldDocument]] = {"train": [], "tune": [], "dev": []}
    for split in train:
        documents = _shuffled(read_corpus(corpus, splits=[split]))
        if len(documents) <= budget.tuning:
            raise ValueError(f"{corpus}: {split} has {len(documents)} documents, expected more than {budget.tuning}")
        last = None if budget.documents is None else budget.tuning + budget.documents
        chosen["tune"] += [replace(document, split="tune") for document in documents[: budget.tuning]]
        chosen["train"] += [replace(document, split="train") for document in documents[budget.tuning : last]]
    for split in dev:
        chosen["dev"] += _shuffled(read_corpus(corpus, splits=[split]))[: budget.dev]
    folder.mkdir(parents=True, exist_ok=True)
    write_corpus([*chosen["train"], *chosen["tune"]], folder / "corpus.parquet")
    named = [c for part in chosen.values() for document in part for m in document.mentions for c in m.concepts]
    _write_vocabulary(mesh, folder / "mesh.parquet", named=[*named, *always], others=budget.concepts)
    return Data(
        folder / "corpus.parquet",
        folder / "mesh.parquet",
        Vocabulary.read(folder / "mesh.parquet"),
        *(tuple(chosen[part]) for part in ("train", "tune", "dev")),
    )


def unseen_shares(data: Data) -> dict[str, dict[str, float]]:
    """Return the left part of the paper's Figure 4: the share of dev sentences with words unseen in training.

    Returns: by corpus, the share with a mention whose words training never annotates (`mention`), and with such a
    mention or a word that no training sentence contains (`word or mention`).
    """
    words = {word for d in data.train for sentence in d.sentences for word in normalise(sentence.text).split()}
    strings = {normalise(d.text[m.start : m.end]) for d in data.train for m in d.mentions}
    shares = {}
    for corpus in sorted({document.corpus for document in data.dev}):
        found = []
        for document in (d for d in data.dev if d.corpus == corpus):
            new = [m for m in document.mentions if normalise(document.text[m.start : m.end]) not in strings]
            for s in document.sentences:
                mention = any(s.start <= m.start < s.end for m in new)
                found.append((mention, mention or not words.issuperset(normalise(s.text).split())))
        means = np.mean(found, axis=0).round(4).tolist()
        shares[corpus] = {"mention": means[0], "word or mention": means[1]}
    return shares


def _shuffled(documents: list[GoldDocument]) -> list[GoldDocument]:
    return [documents[at] for at in np.random.default_rng(0).permutation(len(documents))]


def _write_vocabulary(source: Path, path: Path, *, named: Sequence[str], others: int | None) -> None:
    """Write the named concepts, and a number of random others."""
    table = pq.read_table(source)
    if others is not None:
        whole = Vocabulary.read(source)
        kept = {whole.canonical(concept) for concept in named}
        identifiers = [str(each) for each in table["mesh_id"].to_pylist()]
        rest = [each for each in identifiers if each not in kept]
        drawn = np.random.default_rng(0).permutation(len(rest))[:others]
        kept |= {rest[at] for at in drawn}
        table = table.filter(pa.array([each in kept for each in identifiers]))
    write_table(table, path)
