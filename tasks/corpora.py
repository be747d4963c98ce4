"""Gold corpora become the one Parquet file that training and evaluation read.

PubTator text holds documents with concepts; types are folded to the ones we annotate, and a document that stands
twice is kept once. Columns of tokens and B, I, O tags (`.tsv`) hold single sentences with spans of one type.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from model.corpus import GoldDocument, GoldMention, write_corpus
from model.document import Annotation, Document, Sentence
from tasks.errors import InputError, SourceError
from tasks.parsers.pubtator import parse_pubtator
from tasks.parsers.records import Failure
from warehouse.wording import counted

from .abbreviations import find_abbreviations
from .sentences import split_sentences

_log = logging.getLogger(__name__)

NAMED = re.compile(r"([^/=]+)/([^/=]+)=(.+)")
"""A gold file and what to call it: CORPUS/SPLIT=FILE."""
ANNOTATED = ("Disease", "Chemical")

_TYPES = {
    "Disease": "Disease",
    "DiseaseClass": "Disease",
    "SpecificDisease": "Disease",
    "Modifier": "Disease",
    "CompositeMention": "Disease",
    "DiseaseOrPhenotypicFeature": "Disease",
    "Chemical": "Chemical",
    "ChemicalEntity": "Chemical",
}


def join_corpora(
    named: Sequence[str], *, annotates: Sequence[str] = (), output: Path, tell: Callable[[str], None] = print
) -> None:
    """Write gold files as one corpus.

    Each is named `CORPUS/SPLIT=FILE`. `annotates` has `CORPUS=TYPE,...` for each corpus that does not mark both types.
    Raises InputError where a name or a type is none, no file is of a corpus of `annotates`, a file cannot be read, or
    a document stands twice in a split; nothing is written then.
    """
    marked: dict[str, tuple[str, ...]] = {}
    for each in annotates:
        corpus, _, kinds = each.partition("=")
        marked[corpus] = tuple(kinds.split(","))
        if not set(marked[corpus]) <= set(ANNOTATED):
            raise InputError(f"--annotates {each}: expected CORPUS=TYPE, of {' and '.join(ANNOTATED)}")
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
        types = marked.get(corpus, ANNOTATED)
        documents += read_split(path, corpus=corpus, split=split, annotated_types=types, tell=tell)
    check_once(documents)
    write_corpus(documents, output)


def check_once(documents: Sequence[GoldDocument]) -> None:
    """Check that no document stands twice in a split. Raises InputError."""
    seen: set[tuple[str, str, str]] = set()
    for document in documents:
        key = (document.corpus, document.split, document.document_id)
        if key in seen:
            raise InputError(f"document {key[2]} stands twice in {key[0]}/{key[1]}; name each gold file once")
        seen.add(key)


def read_split(
    path: Path, *, corpus: str, split: str, annotated_types: tuple[str, ...], tell: Callable[[str], None]
) -> list[GoldDocument]:
    """Return the documents of a gold file, PubTator or columns of tags (`.tsv`), and tell how many there are.

    Raises SourceError where the file cannot be read.
    """
    read = read_tagged if path.suffix == ".tsv" else read_gold
    found = list(read(path, corpus=corpus, split=split, annotated_types=annotated_types))
    mentions = sum(len(document.mentions) for document in found)
    tell(f"{corpus}/{split}: {counted(len(found), 'document')}, {counted(mentions, 'mention')}")
    return found


def read_gold(
    path: Path, *, corpus: str, split: str, annotated_types: tuple[str, ...] = ANNOTATED
) -> Iterator[GoldDocument]:
    """Reads a gold PubTator file; `annotated_types` are the types of which it marks every mention.

    Raises:
        SourceError: the file is damaged, or one of its documents is: gold must be whole. Single annotations
            that do not fit their text are left out, with a warning in the log.
    """
    seen: set[str] = set()
    for record in parse_pubtator(path):
        if isinstance(record, Failure):
            raise SourceError(f"{path}: {record.position}: {record.reason}")
        if not isinstance(record, Document) or record.document_id in seen:
            continue
        seen.add(record.document_id)
        for invalid in record.invalid_annotations:
            _log.warning("%s: %s, document %s: %s", path.name, invalid.position, record.document_id, invalid.reason)
        yield gold_document(record, corpus=corpus, split=split, annotated_types=annotated_types)


def gold_document(
    document: Document, *, corpus: str, split: str, annotated_types: tuple[str, ...] = ANNOTATED
) -> GoldDocument:
    """Makes a gold document of one that a source annotates: types are folded, mentions of others are left out."""
    text = document.text
    return GoldDocument(
        corpus=corpus,
        split=split,
        document_id=document.document_id,
        annotated_types=annotated_types,
        text=text,
        sentences=split_sentences(document),
        abbreviations=tuple(sorted(find_abbreviations(text).items())),
        mentions=tuple(
            _mention(annotation)
            for annotation in document.annotations
            if _TYPES.get(annotation.entity_type) in annotated_types
        ),
    )


def read_tagged(path: Path, *, corpus: str, split: str, annotated_types: tuple[str, ...]) -> Iterator[GoldDocument]:
    """Reads sentences of tokens with B, I or O tags (CoNLL-2003's columns), one document a sentence.

    Tokens are joined by single spaces, the original spacing being lost. The B and I of such a file name no type, so
    it annotates one type only.

    Raises:
        SourceError: the file cannot be read, several types are named, or a line is no token and tag.
    """
    if len(annotated_types) != 1:
        raise SourceError(f"{path}: tags without types; say which one: --annotates {corpus}=Disease")
    try:
        rows = enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1)
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    for filled, lines in groupby(rows, key=lambda row: bool(row[1].strip())):
        if not filled:
            continue
        number, tokens, spans, end = 0, list[str](), list[list[int]](), -1
        for number, line in lines:
            token, _, tag = line.rpartition("\t")
            if not token or tag not in {"B", "I", "O"}:
                raise SourceError(f"{path}: line {number}: found {line!r}, expected a token, a tab and B, I or O")
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


def _mention(annotation: Annotation) -> GoldMention:
    concepts = tuple(identifier for identifier in annotation.identifiers if identifier != "-1")
    return GoldMention(
        start=annotation.start,
        end=annotation.end,
        entity_type=_TYPES[annotation.entity_type],
        concepts=concepts,
        composite=len(concepts) > 1,
    )
