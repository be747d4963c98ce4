"""Gold documents for training and evaluation, in one Parquet file.

`e2emern corpus` prepares the file once, with sentences and abbreviations, so that training needs neither a parser nor a
sentence splitter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from e2emern.model.document import Sentence, Text
from e2emern.model.errors import FileError
from e2emern.model.files import read_table, write_table

_SPAN = pa.struct([("start", pa.int32()), ("end", pa.int32())])
_PAIR = pa.struct([("short", pa.string()), ("long", pa.string())])
_MENTION = pa.struct(
    [
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("entity_type", pa.string()),
        ("concepts", pa.list_(pa.string())),
        ("composite", pa.bool_()),
    ]
)
CORPUS_SCHEMA = pa.schema(
    [
        ("corpus", pa.string()),
        ("split", pa.string()),
        ("document_id", pa.string()),
        ("annotated_types", pa.list_(pa.string())),
        ("text", pa.string()),
        ("sentences", pa.list_(_SPAN)),
        ("abbreviations", pa.list_(_PAIR)),
        ("mentions", pa.list_(_MENTION)),
    ]
)


@dataclass(frozen=True, slots=True)
class GoldMention:
    """A mention as its corpus annotates it; `concepts` is empty if the corpus gives -1."""

    start: int
    end: int
    entity_type: str
    concepts: tuple[str, ...]
    composite: bool = False  # the span names several concepts, as in "breast and ovarian cancer"


@dataclass(frozen=True, slots=True)
class GoldDocument:
    """An annotated document, with the sentences and abbreviations that inference would find in it."""

    corpus: str
    split: str
    document_id: str
    annotated_types: tuple[str, ...]
    text: str
    sentences: tuple[Sentence, ...]
    abbreviations: tuple[tuple[str, str], ...]
    mentions: tuple[GoldMention, ...]


def text_of(document: GoldDocument) -> Text:
    """Return the part of a gold document that the cascade reads."""
    return Text(document.sentences, dict(document.abbreviations))


def write_corpus(documents: Iterable[GoldDocument], path: Path) -> int:
    """Write the documents to `path`, whole or not at all, and return their number."""
    rows = [
        {
            "corpus": document.corpus,
            "split": document.split,
            "document_id": document.document_id,
            "annotated_types": list(document.annotated_types),
            "text": document.text,
            "sentences": [{"start": s.start, "end": s.end} for s in document.sentences],
            "abbreviations": [{"short": short, "long": long} for short, long in document.abbreviations],
            "mentions": [
                {
                    "start": m.start,
                    "end": m.end,
                    "entity_type": m.entity_type,
                    "concepts": list(m.concepts),
                    "composite": m.composite,
                }
                for m in document.mentions
            ],
        }
        for document in documents
    ]
    write_table(pa.Table.from_pylist(rows, schema=CORPUS_SCHEMA), path)
    return len(rows)


def read_corpus(path: Path, *, splits: Iterable[str] | None = None) -> list[GoldDocument]:
    """Read the documents of `path`; with `splits` (`corpus/split`), those of the named splits only.

    Raises:
        FileError: the file cannot be read, or lacks a column of `CORPUS_SCHEMA` or a named split.
    """
    expected = "a corpus as `e2emern corpus` writes it"
    table = read_table(path, columns=CORPUS_SCHEMA.names, expected=expected, schema=CORPUS_SCHEMA)
    wanted = None if splits is None else set(splits)
    documents = []
    seen = set()
    for row in table.to_pylist():
        name = f"{row['corpus']}/{row['split']}"
        seen.add(name)
        if wanted is not None and name not in wanted:
            continue
        text = row["text"]
        documents.append(
            GoldDocument(
                corpus=row["corpus"],
                split=row["split"],
                document_id=row["document_id"],
                annotated_types=tuple(row["annotated_types"]),
                text=text,
                sentences=tuple(Sentence(s["start"], s["end"], text[s["start"] : s["end"]]) for s in row["sentences"]),
                abbreviations=tuple((pair["short"], pair["long"]) for pair in row["abbreviations"]),
                mentions=tuple(
                    GoldMention(m["start"], m["end"], m["entity_type"], tuple(m["concepts"]), m["composite"])
                    for m in row["mentions"]
                ),
            )
        )
    if wanted is not None and wanted - seen:
        raise FileError(f"no split {', '.join(sorted(wanted - seen))}; it holds {', '.join(sorted(seen))}", path)
    return documents
