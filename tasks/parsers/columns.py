"""Choose the columns of a table that hold the documents: those named by the user, or those with the usual names."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

from e2emern.model.document import Document, Passage
from e2emern.tasks.parsers.citation import PMID
from e2emern.tasks.parsers.foreign import not_utf8
from e2emern.tasks.parsers.records import RecordError
from e2emern.tasks.parsers.text import flat

_PMIDS = ("pmid", "pubmedid", "pubmed")
_USUAL = {
    "id": ("documentid", "docid", "id", *_PMIDS, "uid", "recordid", "noteid", "articleid", "doi", "key"),
    "title": ("title", "articletitle", "ti"),
    "abstract": ("abstract", "abstracttext", "ab"),
    "text": (
        "text",
        "fulltext",
        "body",
        "content",
        "document",
        "note",
        "notetext",
        "sentence",
        "passage",
        "description",
    ),
}
_MOST_SHOWN = 12  # names of columns in a message
_UNDECODED = re.compile("[\ud800-\udfff]")  # a byte that is not UTF-8, as Python decodes it with surrogates
_FLOAT = re.compile(r"([0-9]+)\.0+")  # pandas writes whole numbers so in a column that has gaps


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of the columns with the id and the texts of a document; None if there is none."""

    id: str | None = None
    title: str | None = None
    abstract: str | None = None
    text: str | None = None

    def __bool__(self) -> bool:
        return bool(self.id or self.title or self.abstract or self.text)

    @property
    def texts(self) -> dict[str, str]:
        """The columns of text by the section that each becomes, in the order of the document."""
        return {name: column for name, column in asdict(self).items() if column is not None and name != "id"}

    @property
    def names(self) -> list[str]:
        """The names of all these columns."""
        return list(dict.fromkeys(column for column in asdict(self).values() if column is not None))

    def __str__(self) -> str:
        parts = [f"{name} from {column!r}" for name, column in self.texts.items()]
        return ", ".join([f"id from {self.id!r}" if self.id is not None else "ids from the row numbers", *parts])

    def digest(self, of_file: str) -> str:
        """Return the digest of a file that is read with these columns; that of the file if none is named."""
        if not self:
            return of_file
        return hashlib.sha256("\0".join([of_file, *map(repr, asdict(self).values())]).encode()).hexdigest()[:16]


GUESSED = Columns()
"""No column is named, so all are guessed."""


def choose_columns(names: Sequence[str], given: Columns, *, surely: bool = False) -> Columns:
    """Return the columns to read from a table with these column names.

    A column that `given` names is read; if it names texts, no others are read. The rest are found by their usual names.
    `surely` also requires an id. Raises RecordError, which lists the names, if no text is found.
    """
    chosen = replace(given)
    for field in fields(Columns):
        named = getattr(given, field.name)
        if named is not None:
            chosen = replace(chosen, **{field.name: _named(named, names)})
        elif field.name == "id" or not given.texts:
            usual = next((name for each in _USUAL[field.name] for name in names if _plain(name) == each), None)
            chosen = replace(chosen, **{field.name: usual})
    if not chosen.texts or (surely and chosen.id is None):
        raise RecordError(
            f"no text column among {_listed(names)}; name columns with --id-column, --title-column, "
            "--abstract-column or --text-column"
        )
    repeated = [name for name in chosen.names if Counter(names)[name] > 1]
    if repeated:
        raise RecordError(f"{Counter(names)[repeated[0]]} columns are named {repeated[0]!r}; rename them")
    return chosen


def read_row(row: Mapping[str, object], columns: Columns, *, record: int, name: str) -> Document:
    """Return the document of a row; without a column of ids its id is `NAME:ROW`, from 1.

    Texts are laid out with a space between them, each as long as its cell. Raises RecordError.
    """
    document_id, pmid = f"{name}:{record + 1}", None
    if columns.id is not None:
        document_id = _text(row.get(columns.id), columns.id).strip()
        if not document_id:
            raise RecordError(f"no id in column {columns.id!r}")
        if _plain(columns.id) in _PMIDS:
            whole = _FLOAT.fullmatch(document_id)
            number = whole[1] if whole else document_id
            if PMID.fullmatch(number):
                pmid = int(number)
                document_id = str(pmid)
    return Document(document_id=document_id, record=record, passages=tuple(_passages(row, columns)), pmid=pmid)


def row_id(row: Mapping[str, object], columns: Columns) -> str | None:
    """Return the id of a row that cannot be used, if it is known."""
    found = row.get(columns.id) if columns.id is not None else None
    if isinstance(found, bytes):
        found = found.decode("utf-8", "surrogateescape")
    if not isinstance(found, str | int):
        return None
    return str(found)[:100].encode("utf-8", "backslashreplace").decode() or None  # a table holds no half character


def _passages(row: Mapping[str, object], columns: Columns) -> Iterator[Passage]:
    at = 0
    for section, column in columns.texts.items():
        text = flat(_text(row.get(column), column))
        if text.strip():
            yield Passage("abstract" if section == "text" else section, at, text)
            at += len(text) + 1


def _text(value: object, column: str) -> str:
    if value is None or value != value:  # NaN, which pandas writes for a missing text
        return ""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RecordError(f"column {column!r} holds a value of type {type(value).__name__}, expected text")
    text = str(value)
    if "\0" in text:
        raise RecordError(f"column {column!r} holds a NUL character")
    if found := _UNDECODED.search(text):
        line, at = text.encode("utf-8", "surrogateescape"), len(text[: found.start()].encode())
        raise RecordError(f"column {column!r}: {not_utf8(line, at)}")
    return text


def _named(named: str, names: Sequence[str]) -> str:
    found = [name for name in names if name == named] or [name for name in names if _plain(name) == _plain(named)]
    if not found:
        raise RecordError(f"no column {named!r}; the columns are {_listed(names)}")
    return found[0]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in names[:_MOST_SHOWN])
    more = len(names) - _MOST_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown or "none"
