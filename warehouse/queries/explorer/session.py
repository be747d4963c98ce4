"""Read the current snapshot of a home repeatedly: open it once, and share it among concurrent readers.

A session keeps the snapshot that it began with, so a page never mixes two snapshots. The next session after a
publish, a rollback or a relocation reads the new one; the old one is closed with its last session.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import duckdb

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries import library
from e2emern.warehouse.queries.answers import MEMORY, batches_of, check_unicode, is_cut, settings, table_of
from e2emern.warehouse.queries.explorer import MINE, Figure, Parameters, about, reads_mine, sql_of, used, whole_sql
from e2emern.warehouse.queries.nights import Night, nights_of
from e2emern.warehouse.quoting import literal
from e2emern.warehouse.snapshots.opening import prepare
from e2emern.warehouse.snapshots.reader import Snapshot, describe, open_snapshot
from e2emern.warehouse.snapshots.refs import shown_number
from e2emern.warehouse.wording import one_line

TIMEOUT_S = 20.0
MOST_ROWS = 1_000
_KEPT_FIGURES = 512
_NAMES_SQL = """
CREATE TABLE memory.main.names AS
SELECT mesh_id, entities.name, entity_type, lower(unnest(names)) AS words, coalesce(mentions, 0) AS mentions
FROM entities LEFT JOIN concepts USING (mesh_id)
"""
_FIND_SQL = """
WITH
    matching AS (
        SELECT *, CASE WHEN words = $text THEN 0 WHEN starts_with(words, $text) THEN 1 ELSE 2 END AS rank
        FROM memory.main.names WHERE contains(words, $text)
        UNION ALL
        SELECT *, 0 FROM memory.main.names WHERE lower(mesh_id) IN ($text, $id, 'omim:' || $id)
    ),
    best AS (
        SELECT mesh_id, name, entity_type, mentions, min(rank) AS rank, arg_min(words, (rank, length(words))) AS words
        FROM matching GROUP BY ALL
    )
SELECT mesh_id, name, entity_type, mentions, words FROM best
ORDER BY rank, mentions DESC, length(words), mesh_id LIMIT $most
"""
# The ids are literals, so that DuckDB skips files and row groups without them.
_EXCERPTS_SQL = """
SELECT document_id, passages, places
FROM (SELECT document_id, passages FROM documents WHERE document_id IN ({ids}))
JOIN (
    SELECT document_id, list(DISTINCT {{'start': start, 'end': "end"}}) AS places FROM mine
    WHERE document_id IN ({ids}) GROUP BY document_id
) USING (document_id)
"""

_Key = tuple[str, tuple[tuple[str, str | bool], ...]]


@dataclass(eq=False, slots=True)
class _Opened:
    """An open snapshot, what was read from it, and how many sessions use it."""

    key: tuple[int, int, int]
    closing: ExitStack
    connection: duckdb.DuckDBPyConnection
    snapshot: Snapshot
    sessions: int = 0
    stale: bool = False
    names: bool = False
    figures: OrderedDict[_Key, Figure] = field(default_factory=OrderedDict)
    nights: dict[int, list[Night]] = field(default_factory=dict)


class Snapshots:
    """The current snapshot of a home. `session` may be called by several threads at once."""

    def __init__(self, home: Home) -> None:
        """Open nothing yet."""
        self.home = home
        self._lock = threading.Lock()
        self._opened: _Opened | None = None

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Yield a session on the snapshot that is current now. Raises `WarehouseError` without a snapshot."""
        with self._lock:
            opened = self._current()
            cursor = opened.connection.cursor()
            opened.sessions += 1
        try:
            prepare(cursor, self.home.root.resolve())  # variables and time zones belong to a cursor
            cursor.execute("USE warehouse")
            yield Session(self.home, opened, cursor, self._lock)
        finally:
            cursor.close()
            with self._lock:
                opened.sessions -= 1
                self._close_unused(opened)

    def forget(self) -> None:
        """Forget the figures that were read, so that the next page reads them again."""
        with self._lock:
            if self._opened:
                self._opened.figures.clear()
                self._opened.nights.clear()

    def close(self) -> None:
        """Close the snapshot, with the last session that uses it."""
        with self._lock:
            if self._opened:
                self._opened.stale = True
                self._close_unused(self._opened)
                self._opened = None

    def _current(self) -> _Opened:
        """Return the current snapshot, opened; the lock is held."""
        number = shown_number(self.home)
        path = self.home.snapshot(number)
        try:
            found = path.stat()
        except OSError as error:
            raise WarehouseError(f"cannot be read: {one_line(error)}; try again", path=path) from error
        key = (number, found.st_ino, found.st_mtime_ns)
        if self._opened is None or self._opened.key != key:
            with ExitStack() as stack:
                config = stack.enter_context(settings(MEMORY))
                connection = stack.enter_context(open_snapshot(self.home, number, config=dict(config)))
                opened = _Opened(key, stack.pop_all(), connection, describe(self.home, connection))
            if self._opened:
                self._opened.stale = True
                self._close_unused(self._opened)
            self._opened = opened
        return self._opened

    def _close_unused(self, opened: _Opened) -> None:
        if opened.stale and not opened.sessions:
            opened.closing.close()


class Session:
    """One reader of one snapshot."""

    def __init__(self, home: Home, opened: _Opened, cursor: duckdb.DuckDBPyConnection, lock: threading.Lock) -> None:
        """Read an opened snapshot through a cursor of its connection; `Snapshots.session` makes both."""
        self.home, self.snapshot = home, opened.snapshot
        self._opened, self._cursor, self._lock = opened, cursor, lock
        self._mine: Parameters | None = None

    def figure(self, name: str, parameters: Parameters | None = None) -> Figure:
        """Return one figure with at most `MOST_ROWS` rows.

        Raises `QueryRefusedError` if it takes longer than `TIMEOUT_S` or needs too much memory.
        """
        given = dict(parameters or {})
        key = (name, tuple(sorted(given.items())))
        if (kept := self._opened.figures.get(key)) is not None:
            return kept
        check_unicode({f"${parameter}": value for parameter, value in given.items()})
        if reads_mine(name):
            self._read_mine(given)
        rows, cut = self._rows(sql_of(name), used(sql_of(name), given))
        made = Figure(name=name, about=about(name), sql=whole_sql(name, given), rows=tuple(rows), cut=cut)
        with self._lock:
            self._opened.figures[key] = made
            if len(self._opened.figures) > _KEPT_FIGURES:
                self._opened.figures.popitem(last=False)
        return made

    def named(self, name: str) -> Figure:
        """Return the answer of a named query (`warehouse.queries`) that has no parameters."""
        asked = library()[name]
        rows, cut = self._rows(asked.sql, {})
        return Figure(name=name, about=asked.description, sql=asked.sql, rows=tuple(rows), cut=cut)

    def excerpts(self, documents: Sequence[str], *, concept: str, below: bool) -> dict[str, dict[str, Any]]:
        """Return, by document id, the passages of documents and the positions of a concept's mentions in them."""
        if not documents:
            return {}
        ids = ", ".join(map(literal, documents))
        values: dict[str, str | bool] = {"concept": concept, "below": below}
        self._read_mine(values)
        rows, _ = self._rows(_EXCERPTS_SQL.format(ids=ids), {})
        return {row["document_id"]: row for row in rows}

    def concepts(self, text: str, *, most: int) -> list[dict[str, Any]]:
        """Return the concepts with `text` in a name: mesh_id, name, entity_type, mentions, words (the name).

        Whole names come first, then names that begin with the text; among these, the concepts that are mentioned most.
        """
        check_unicode({"the text": text})
        wanted = " ".join(text.lower().split())
        if not wanted:
            return []
        with self._lock:
            if not self._opened.names:
                self._cursor.execute(_NAMES_SQL)
                self._opened.names = True
        found, _ = self._rows(
            _FIND_SQL, {"text": wanted, "id": wanted.removeprefix("mesh:").removeprefix("omim:"), "most": most}
        )
        return found

    def nights(self, *, last: int) -> list[Night]:
        """Return the figures of the last nights, oldest first."""
        if last not in self._opened.nights:
            self._opened.nights[last] = nights_of(self._cursor, last=last)
        return self._opened.nights[last]

    def _read_mine(self, given: Parameters) -> None:
        needed = used(sql_of(MINE), given)
        if needed != self._mine:
            self._rows(f"CREATE OR REPLACE TEMP TABLE mine AS {whole_sql(MINE, needed)}", {})
            self._mine = needed

    def _rows(self, sql: str, values: dict[str, Any]) -> tuple[list[dict[str, Any]], bool]:
        with batches_of(self._cursor, sql, values, limit_rows=MOST_ROWS, timeout_s=TIMEOUT_S) as (schema, batches):
            answer = table_of(schema, batches, limit_rows=MOST_ROWS)
        return answer.to_pylist(), is_cut(answer)
