"""Find the gold documents that a user names, in PubTator files or prepared splits, and compute their statistics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa

from model.corpus import GoldDocument, read_corpus
from model.evaluation.corpus_statistics import statistics
from model.notation import ENTITY_TYPES
from tasks.errors import InputError
from tasks.training.corpora import NAMED, check_once, describe_unknown_ids, read_gold
from tasks.vocabulary import read_vocabulary

_log = logging.getLogger(__name__)


def find_gold(named: Sequence[str], *, log: Callable[[str], None] = _log.warning) -> list[GoldDocument]:
    """Return the documents of all names, in order; `log` reports annotations passed over, as in `read_gold`.

    Each name is `CORPUS/SPLIT=FILE` or `FILE`; the file is PubTator text or a Parquet file of `e2emern corpus`. Without
    CORPUS/SPLIT, a PubTator file called `CORPUS.SPLIT.PubTator` or `.PubTator.txt` takes both from its name, any other
    is split `gold` of a corpus with its name, and a Parquet file gives all its splits. A PubTator file marks all
    mentions of the types that occur in it.

    Raises InputError if a file cannot be read, has no gold mention of our types, or a document is given twice.
    """
    found = [document for name in named for document in _read(name, log)]
    check_once(found)
    return found


def read_statistics(gold: Sequence[GoldDocument], *, mesh: Path, log: Callable[[str], None] = _log.warning) -> pa.Table:
    """Return statistics of gold corpora, one row per split and one for all splits; ids are made canonical.

    `log` reports how many ids the vocabulary lacks. Raises InputError if the vocabulary cannot be read.
    """
    vocabulary = read_vocabulary(mesh)
    if unknown_ids := describe_unknown_ids(gold, vocabulary):
        log(unknown_ids)
    return pa.Table.from_pylist([asdict(one) for one in statistics(gold, canonical=vocabulary.canonical)])


def _read(name: str, log: Callable[[str], None]) -> list[GoldDocument]:
    matched = NAMED.fullmatch(name)
    path = Path(matched[3] if matched else name)
    if not path.is_file():
        raise InputError(f"{path}: no such gold file; expected FILE or CORPUS/SPLIT=FILE")
    if path.suffix == ".parquet":
        try:
            return read_corpus(path, splits=[f"{matched[1]}/{matched[2]}"] if matched else None)
        except (ValueError, OSError, pa.ArrowException) as error:
            raise InputError(f"{path}: {str(error).removeprefix(f'{path}: ').splitlines()[0]}") from error
    if matched:
        corpus, split = matched[1], matched[2]
    else:
        stem, _, called = path.name.removesuffix(path.suffix).removesuffix(".PubTator").partition(".")
        corpus, split = stem, called or "gold"
    documents = read_gold(path, corpus=corpus, split=split, log=log)
    occurring = {mention.entity_type for document in documents for mention in document.mentions}
    if not occurring:
        raise InputError(f"{path}: found no valid annotation; expected PubTator text with gold mentions")
    types = tuple(kind for kind in ENTITY_TYPES if kind in occurring)
    return [replace(document, annotated_types=types) for document in documents]
