"""Read gold corpora, and join them into the Parquet file that training and evaluation read.

PubTator text holds documents with concepts. Types are normalized to the annotated ones, and of documents with the same
id the first is kept. Columns of tokens and B, I, O tags (`.tsv`) hold single sentences with spans of one type.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path

import pyarrow as pa

from e2emern.model.corpus import GoldDocument, GoldMention, read_corpus, write_corpus
from e2emern.model.document import Annotation, Document, Sentence
from e2emern.model.errors import FileError
from e2emern.model.evaluation.corpus_statistics import statistics
from e2emern.model.notation import ENTITY_TYPES, normalize_id
from e2emern.model.vocabulary import Vocabulary
from e2emern.tasks.abbreviations import find_abbreviations
from e2emern.tasks.errors import InputError, SourceError
from e2emern.tasks.models import read_vocabulary
from e2emern.tasks.parsers.pubtator import parse_pubtator
from e2emern.tasks.parsers.records import Failure
from e2emern.tasks.passed_over import PassedOver
from e2emern.tasks.sentences import split_sentences
from e2emern.warehouse.wording import by_kind, plural

_log = logging.getLogger(__name__)

NAMED = re.compile(r"([^/=]+)/([^/=]+)=(.+)")
"""A gold file with the names of its corpus and split: CORPUS/SPLIT=FILE."""


def join_corpora(
    named: Sequence[str],
    *,
    annotates: Sequence[str] = (),
    output: Path,
    mesh: Path | None = None,
    log: Callable[[str], None] = print,
) -> None:
    """Write gold files as one corpus.

    Each is named `CORPUS/SPLIT=FILE`. `annotates` has `CORPUS=TYPE,...` for each corpus that does not mark both types.
    With an entities table `mesh`, `log` reports how many gold ids it lacks. Raises InputError if a name or a type is
    not valid, a corpus of `annotates` has no file, a file cannot be read or has no usable annotation, or a document is
    in a split twice. Then nothing is written.
    """
    vocabulary = read_vocabulary(mesh) if mesh else None
    marked: dict[str, tuple[str, ...]] = {}
    for each in annotates:
        corpus, _, kinds = each.partition("=")
        marked[corpus] = tuple(kinds.split(","))
        if not set(marked[corpus]) <= set(ENTITY_TYPES):
            raise InputError(f"--annotates {each}: expected CORPUS=TYPE, of {' and '.join(ENTITY_TYPES)}")
    files: list[tuple[str, str, Path]] = []
    for name in named:
        matched = NAMED.fullmatch(name)
        if not matched:
            raise InputError(f"{name}: expected CORPUS/SPLIT=FILE, such as bc5cdr/train=CDR.PubTator")
        files.append((matched[1], matched[2], Path(matched[3])))
    corpora = {corpus for corpus, _, _ in files}
    if unknown := sorted(marked.keys() - corpora):
        raise InputError(f"--annotates {unknown[0]}: no file is of this corpus, but of {', '.join(sorted(corpora))}")
    documents: list[GoldDocument] = []
    for corpus, split, path in files:
        types = marked.get(corpus, ENTITY_TYPES)
        documents += read_split(path, corpus=corpus, split=split, annotated_types=types, log=log)
    _check_once(documents)
    if vocabulary and (unknown_ids := describe_unknown_ids(documents, vocabulary)):
        log(unknown_ids)
    write_corpus(documents, output)


def find_gold(named: Sequence[str], *, log: Callable[[str], None] = _log.warning) -> list[GoldDocument]:
    """Return the documents of all names, in order; `log` reports annotations passed over, as in `read_gold`.

    Each name is `CORPUS/SPLIT=FILE` or `FILE`; the file is PubTator text or a Parquet file of `e2emern corpus`. Without
    CORPUS/SPLIT, a PubTator file called `CORPUS.SPLIT.PubTator` or `.PubTator.txt` takes both from its name, any other
    is split `gold` of a corpus with its name, and a Parquet file gives all its splits. A PubTator file marks all
    mentions of the types that occur in it.

    Raises InputError if a file cannot be read, has no gold mention of our types, or a document is given twice.
    """
    found = [document for name in named for document in _read(name, log)]
    _check_once(found)
    return found


def read_statistics(gold: Sequence[GoldDocument], *, mesh: Path, log: Callable[[str], None] = _log.warning) -> pa.Table:
    """Return statistics of gold corpora, one row per split and one for all splits; ids are made canonical.

    `log` reports how many ids the vocabulary lacks. Raises InputError if the vocabulary cannot be read.
    """
    vocabulary = read_vocabulary(mesh)
    if unknown_ids := describe_unknown_ids(gold, vocabulary):
        log(unknown_ids)
    return pa.Table.from_pylist([asdict(one) for one in statistics(gold, canonical=vocabulary.canonical)])


def describe_unknown_ids(documents: Sequence[GoldDocument], vocabulary: Vocabulary) -> str | None:
    """Return how many gold ids a vocabulary lacks, with the most frequent one; None if it has all."""
    given = [concept for document in documents for mention in document.mentions for concept in mention.concepts]
    unknown = Counter(concept for concept in given if vocabulary.canonical(concept) not in vocabulary.position)
    if not unknown:
        return None
    ((example, _),) = unknown.most_common(1)
    verb = "is" if unknown.total() == 1 else "are"
    return (
        f"{unknown.total():,} of {plural(len(given), 'gold id')} {verb} not in the vocabulary of MeSH "
        f"{vocabulary.version}, such as {example}"
    )


def _check_once(documents: Sequence[GoldDocument]) -> None:
    """Check that no document is twice in a split. Raises InputError."""
    seen: set[tuple[str, str, str]] = set()
    for document in documents:
        key = (document.corpus, document.split, document.document_id)
        if key in seen:
            raise InputError(f"document {key[2]} is twice in {key[0]}/{key[1]}; name each gold file once")
        seen.add(key)


def read_split(
    path: Path, *, corpus: str, split: str, annotated_types: tuple[str, ...], log: Callable[[str], None]
) -> list[GoldDocument]:
    """Return the documents of a gold file, PubTator or columns of tags (`.tsv`), and log their number.

    Raises SourceError if the file cannot be read, and InputError if none of its annotations can be used.
    """
    if path.suffix == ".tsv":
        found = list(read_tagged(path, corpus=corpus, split=split, annotated_types=annotated_types))
    else:
        found = read_gold(path, corpus=corpus, split=split, annotated_types=annotated_types, log=log)
    mentions = sum(len(document.mentions) for document in found)
    log(f"{corpus}/{split}: {plural(len(found), 'document')}, {plural(mentions, 'mention')}")
    return found


def read_gold(
    path: Path,
    *,
    corpus: str,
    split: str,
    annotated_types: tuple[str, ...] = ENTITY_TYPES,
    log: Callable[[str], None] = _log.warning,
) -> list[GoldDocument]:
    """Return the documents of a gold PubTator file, each id once; the file marks all mentions of `annotated_types`.

    `log` reports the annotations passed over: other types, by type, and invalid ones, by kind of error with a few
    examples. Raises SourceError if the file or one of its documents is damaged, since gold must be complete, and
    InputError if no annotation can be used.
    """
    documents: dict[str, GoldDocument] = {}
    passed_over = PassedOver()
    for record in parse_pubtator(path):
        if isinstance(record, Failure):
            raise SourceError(record.reason, path=path, where=record.position)
        if isinstance(record, Document) and record.document_id not in documents:
            documents[record.document_id] = gold_document(
                record, corpus=corpus, split=split, annotated_types=annotated_types, passed_over=passed_over
            )
    if reason := passed_over.reason(annotated_types):
        raise InputError(reason, path=path)
    if summary := passed_over.summary():
        log(f"{path.name}: {summary}")
    if passed_over.invalid:
        number = plural(passed_over.invalid.total(), "invalid annotation")
        log(f"{path.name}: {number}: {by_kind(passed_over.invalid)}")
        for example in passed_over.examples:
            log(f"{path.name}: for example, {example}")
    return list(documents.values())


def gold_document(
    document: Document,
    *,
    corpus: str,
    split: str,
    annotated_types: tuple[str, ...] = ENTITY_TYPES,
    passed_over: PassedOver,
) -> GoldDocument:
    """Convert an annotated document to a gold document; mentions of other types are only counted."""
    text = document.text
    return GoldDocument(
        corpus=corpus,
        split=split,
        document_id=document.document_id,
        annotated_types=annotated_types,
        text=text,
        sentences=split_sentences(document),
        abbreviations=tuple(sorted(find_abbreviations(text).items())),
        mentions=tuple(_mention(*usable) for usable in passed_over.usable(document, types=annotated_types)),
    )


def read_tagged(path: Path, *, corpus: str, split: str, annotated_types: tuple[str, ...]) -> Iterator[GoldDocument]:
    """Yield the sentences of a file of tokens with B, I or O tags (CoNLL-2003's columns), one document per sentence.

    Tokens are joined by single spaces, since the original spacing is lost. The tags have no type, so the file annotates
    one type only.

    Raises:
        SourceError: the file cannot be read, several types are given, or a line is not a token and a tag.
    """
    if len(annotated_types) != 1:
        raise SourceError(f"tags without types; name the type: --annotates {corpus}=Disease", path=path)
    try:
        rows = enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1)
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"cannot be read ({getattr(error, 'strerror', None) or error})", path=path) from error
    for filled, lines in groupby(rows, key=lambda row: bool(row[1].strip())):
        if not filled:
            continue
        number, tokens, spans, end = 0, list[str](), list[list[int]](), -1
        for number, line in lines:
            token, _, tag = line.rpartition("\t")
            if not token or tag not in {"B", "I", "O"}:
                raise SourceError(
                    f"found {line!r}, expected a token, a tab and B, I or O", path=path, where=f"line {number}"
                )
            start, end = end + 1, end + 1 + len(token)
            if tag == "B" or (tag == "I" and (not spans or spans[-1][1] != start - 1)):
                spans.append([start, end])
            elif tag == "I":
                spans[-1][1] = end
            tokens.append(token)
        text = " ".join(tokens)
        mentions = tuple(GoldMention(begin, last, annotated_types[0], ()) for begin, last in spans)
        yield GoldDocument(
            corpus, split, f"{path.name}:{number}", annotated_types, text, (Sentence(0, len(text), text),), (), mentions
        )


def read_prepared(path: Path, *, splits: Sequence[str] | None = None) -> list[GoldDocument]:
    """Read the documents of a corpus file, or of some of its splits. Raises InputError if it lacks one."""
    try:
        return read_corpus(path, splits=splits)
    except FileError as error:
        raise InputError(error.reason, path=path) from error


def _read(name: str, log: Callable[[str], None]) -> list[GoldDocument]:
    matched = NAMED.fullmatch(name)
    path = Path(matched[3] if matched else name)
    if not path.is_file():
        raise InputError("no such gold file (setting gold, or --gold); expected FILE or CORPUS/SPLIT=FILE", path=path)
    if path.suffix == ".parquet":
        return read_prepared(path, splits=[f"{matched[1]}/{matched[2]}"] if matched else None)
    if matched:
        corpus, split = matched[1], matched[2]
    else:
        stem, _, called = path.name.removesuffix(path.suffix).removesuffix(".PubTator").partition(".")
        corpus, split = stem, called or "gold"
    documents = read_gold(path, corpus=corpus, split=split, log=log)
    occurring = {mention.entity_type for document in documents for mention in document.mentions}
    if not occurring:
        raise InputError("found no valid annotation; expected PubTator text with gold mentions", path=path)
    types = tuple(kind for kind in ENTITY_TYPES if kind in occurring)
    return [replace(document, annotated_types=types) for document in documents]


def _mention(annotation: Annotation, entity_type: str) -> GoldMention:
    concepts = tuple(identifier for identifier in annotation.identifiers if normalize_id(identifier) is not None)
    return GoldMention(
        start=annotation.start,
        end=annotation.end,
        entity_type=entity_type,
        concepts=concepts,
        composite=len(concepts) > 1,
    )
