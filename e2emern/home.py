"""Read a home from Python: SQL, mentions as a DataFrame, documents and concepts. Nothing is written.

A snapshot is immutable, and each call reads exactly one, so others may publish at the same time. In a `with`
block, all calls read the snapshot that was current at its start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2emern.doc import Doc, Mention, Scores
from e2emern.model.document import Document, Passage
from e2emern.tasks.errors import InputError
from e2emern.warehouse import home_format
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home as _Layout
from e2emern.warehouse.queries.answers import MEMORY, TIMEOUT_S
from e2emern.warehouse.snapshots.refs import existing_number

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def open_home(path: str | Path, *, snapshot: int | None = None) -> Home:
    """Open the home at a path, to read its current snapshot or an earlier one by its number.

    Raises WarehouseError if the folder, or the snapshot, does not exist, or another release made the home.
    """
    layout = home_format.open_home(Path(path))
    existing_number(layout, snapshot)
    return Home(layout, snapshot=snapshot)


@dataclass(frozen=True, slots=True)
class Home:
    """A home opened for reading. Every call reads snapshot number `snapshot`; if that is None, the one current then.

    >>> home.sql("SELECT count(*) AS documents FROM documents").to_pandas()
       documents
    0          2
    >>> home.mentions(concept="Aspirin")[["document_id", "start", "end", "text"]]
      document_id  start  end     text
    0         101      0    7  Aspirin
    >>> home.concept("headache").documents
    1
    """

    layout: _Layout
    snapshot: int | None = None

    @contextmanager
    def pinned(self) -> Iterator[Home]:
        """Yield this home pinned to its current snapshot, so that all calls in the block read the same data.

        >>> with home.pinned() as same:
        ...     documents = same.sql("SELECT document_id FROM documents").to_pandas()
        ...     mentions = same.mentions()

        Only `e2emern snapshots prune` deletes an old snapshot; a later call then raises WarehouseError.
        """
        yield replace(self, snapshot=existing_number(self.layout, self.snapshot))

    def sql(
        self,
        query: str,
        parameters: Mapping[str, object] | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        memory_limit: str = MEMORY,
    ) -> Answer:
        """Return all rows of one SELECT; docs/tables.md describes the tables.

        >>> [row["text"] for row in home.sql("SELECT text FROM mentions WHERE mesh_id = $id", {"id": "D006261"})]
        ['headache']

        The query runs in a process that can read only the tables.

        Args:
            query: a SELECT, DESCRIBE, SHOW or SUMMARIZE in the SQL of DuckDB.
            parameters: values for `$name` in the query.
            timeout_s: time limit in seconds.
            memory_limit: memory limit for the query and for its answer, in DuckDB's notation.

        Raises:
            QueryRefusedError: the query is wrong, or exceeds a limit; an answer is never truncated.
            WarehouseError: the snapshot cannot be read.
        """
        from e2emern.warehouse.queries import sql

        return Answer(
            sql.query(
                self.layout,
                query,
                parameters=parameters,
                number=self.snapshot,
                timeout_s=timeout_s,
                memory_limit=memory_limit,
            )
        )

    def mentions(
        self,
        *,
        concept: str | None = None,
        descendants: bool = True,
        document: str | int | None = None,
        type: str | None = None,  # noqa: A002  # the name of the column in a document
        min_score: float | None = None,
    ) -> pd.DataFrame:
        """Return the mentions that meet all conditions, one row each, ordered by document and start.

        Args:
            concept: id or name, such as `D003920` or `Diabetes Mellitus`.
            descendants: include the concepts below it in the MeSH trees.
            document: id of a document; a PMID for PubMed.
            type: Disease or Chemical.
            min_score: minimum probability of the link; excludes mentions without a concept.

        Raises:
            QueryRefusedError: the concept or the type is unknown, or the answer exceeds a limit.
            WarehouseError: the snapshot cannot be read.
        """
        from e2emern.warehouse.queries.mentions import read_mentions

        table = read_mentions(
            self.layout,
            concept=concept,
            descendants=descendants,
            document=None if document is None else str(document),
            entity_type=type,
            min_score=min_score,
            number=self.snapshot,
        )
        return Answer(table).to_pandas()

    def document(self, id: str | int) -> Doc:  # noqa: A002  # the name of the field in a document
        """Return a document with its mentions, by its id; the id of a PubMed document is its PMID.

        Raises WarehouseError if the snapshot does not show it.
        """
        from e2emern.warehouse.queries.documents import annotated_row

        row = annotated_row(self.layout, str(id), number=self.snapshot)
        if row is None:
            raise WarehouseError(f"has no document {id}; give a PMID or the source's own id", path=self.layout.root)
        passages = tuple(Passage(**passage) for passage in row["passages"])
        return Doc(
            id=row["document_id"],
            text=Document("", 0, passages).text,
            mentions=tuple(map(_mention, row["mentions"])),
            meta={name: row[name] for name in ("pmid", "title", "journal", "published", "language", "source")},
        )

    def concept(self, id_or_name: str) -> Concept:
        """Return a concept by its id or one of its names, ignoring case.

        Raises QueryRefusedError if no concept has the name (the message lists similar names) or several have it.
        """
        from e2emern.warehouse.queries.mentions import read_concept

        if not isinstance(id_or_name, str):
            raise InputError(f"concept: found {type(id_or_name).__name__}, expected str")
        row = read_concept(self.layout, id_or_name, number=self.snapshot)
        lists = {name: tuple(row[name]) for name in ("names", "tree_numbers")}
        return Concept(type=row.pop("entity_type"), **row | lists)

    def __repr__(self) -> str:
        at = "" if self.snapshot is None else f", snapshot={self.snapshot}"
        return f"Home({str(self.layout)!r}{at})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """A concept of the vocabulary, and how often it and the concepts below it are mentioned.

    Attributes:
        names: all names, the preferred one first.
        type: Disease or Chemical.
        tree_numbers: its positions in the MeSH trees.
        record_type: descriptor, supplementary or omim.
        mentions: number of mentions, including those of the concepts below it.
        documents: number of documents with such a mention.
    """

    mesh_id: str
    name: str
    names: tuple[str, ...]
    type: str
    tree_numbers: tuple[str, ...]
    record_type: str
    mentions: int
    documents: int


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """All rows of the answer to a query: as a DataFrame, as an Arrow table, or one by one as dicts."""

    table: pa.Table

    def to_arrow(self) -> pa.Table:
        """Return the rows as an Arrow table."""
        return self.table

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a DataFrame."""
        return self.table.to_pandas()

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self.table.column_names)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.table.to_batches():
            yield from batch.to_pylist()

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        return f"Answer({len(self):,} rows of {', '.join(self.columns)})"

    def _repr_html_(self) -> str:
        return str(self.to_pandas()._repr_html_())  # type: ignore[operator]  # pandas-stubs leaves it out


def _mention(row: Mapping[str, Any]) -> Mention:
    scores = Scores(low=row["ner_score"], mid=row["mid_score"], high=row["high_score"], link=row["link_score"])
    same = {name: row[name] for name in ("start", "end", "text", "mesh_id", "mesh_name", "how")}
    return Mention(type=row["entity_type"], scores=scores, **same)
