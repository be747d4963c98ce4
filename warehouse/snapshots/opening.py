"""Open snapshot files that may come from somebody else, without running their SQL and without leaving the home.

A snapshot file can hold any view or macro, and a macro can replace a function of DuckDB such as `lower`. So a file is
attached while DuckDB may access only the home, and it is refused unless its views and its macro are those that
`warehouse.snapshots.views` writes, its tables only hold values, and its paths are inside the home.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb

from e2emern.warehouse.connecting import connect
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.quoting import literal, literal_path
from e2emern.warehouse.snapshots import views
from e2emern.warehouse.wording import one_line

_ADVICE = "use only a home that you trust; e2emern doctor --repair sets the file aside"
_LIST = re.compile(r"list_value\((?P<files>'[^']*'(?:, '[^']*')*)\)(?P<rest>(?:(?!list_value\().)*)", re.DOTALL)
_MACRO = re.compile(r"COALESCE\(getvariable\('(?P<variable>\w+)'\), '(?P<root>(?:[^']|'')*)'\)")
# What a snapshot never holds. Names of functions resolve to DuckDB's own, since the search path lacks the snapshot.
_FOREIGN = (
    "SELECT 'schema ' || schema_name FROM duckdb_schemas() WHERE database_name = $name AND NOT internal "
    "AND schema_name <> 'main'",
    "SELECT 'rule of table ' || table_name FROM duckdb_constraints() WHERE database_name = $name",
    "SELECT 'computed column ' || column_name || ' of table ' || table_name FROM duckdb_columns() "
    "WHERE database_name = $name AND NOT internal AND column_default IS NOT NULL",
    "SELECT 'index ' || index_name FROM duckdb_indexes() WHERE database_name = $name",
    "SELECT 'trigger ' || trigger_name FROM duckdb_triggers() WHERE database_name = $name",
    "SELECT 'type ' || type_name FROM duckdb_types() WHERE database_name = $name AND NOT internal",
)
_VIEWS = "SELECT view_name, sql FROM duckdb_views() WHERE database_name = $name AND NOT internal ORDER BY view_name"
# The conditions of `_inside`: a snapshot names five files per source, and must open fast.
_OUTSIDE = (
    "SELECT DISTINCT path FROM {table} WHERE starts_with(path, '/') OR list_contains(string_split(path, '/'), '..')"
)
_checked: dict[tuple[str | int, ...], str] = {}  # files that this process has checked, with their folders
_MOST_CHECKED = 1000
_YOUNG_NS = 2_000_000_000  # if the clock is coarse, a younger file could change again and look the same
_MACROS = (  # slow: DuckDB lists all of its own functions too
    "SELECT function_name, function_type, macro_definition FROM duckdb_functions() "
    "WHERE database_name = $name AND NOT internal"
)


@contextmanager
def connected(root: Path, *, config: dict[str, Any] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a DuckDB connection that accesses only the files under `root` and its own temporary folder."""
    with connect(config=config) as connection:
        prepare(connection, root)
        restrict(connection, directories=[root])
        yield connection


def prepare(connection: duckdb.DuckDBPyConnection, root: Path) -> None:
    """Make views read from this folder, whatever folder their snapshot names, and show times in UTC."""
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET VARIABLE {views.HOME_VARIABLE} = {literal(literal_path(root))}")


def restrict(
    connection: duckdb.DuckDBPyConnection, *, directories: Iterable[Path] = (), paths: Iterable[Path] = ()
) -> None:
    """Make all files inaccessible for a connection, except these; it cannot be undone."""
    # DuckDB asks both for the pattern that a view names and for the file it matches
    folders = [name for path in directories for name in (str(path), literal_path(path))]
    files = [name for path in paths for name in (str(path), literal_path(path))]
    for setting, names in (("allowed_directories", folders), ("allowed_paths", files)):
        connection.execute(f"SET {setting} = [{', '.join(map(literal, names))}]")
    connection.execute("SET enable_external_access = false")


def attach(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> str:
    """Attach a snapshot file read-only under a name, and return the folder, as a pattern, that its views read from.

    Raises `WarehouseError` if the file cannot be opened, or holds anything but what `warehouse.snapshots` writes.
    """
    try:
        connection.execute(f"ATTACH {literal(str(path))} AS {name} (READ_ONLY, TYPE duckdb)")
        file = path.stat()
        identity = (str(path), file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns)
        if (known := _checked.get(identity)) is not None:
            return known
        root, foreign = _macros(connection, name)
        found = f"a foreign macro {foreign}" if foreign else next(_unexpected(connection, name), None)
    except (duckdb.Error, OSError) as error:
        raise WarehouseError(f"cannot be opened: {one_line(error)}", path=path) from error
    if found:
        raise WarehouseError(f"holds {found}; {_ADVICE}", path=path)
    if time.time_ns() - file.st_ctime_ns > _YOUNG_NS:
        if len(_checked) == _MOST_CHECKED:
            _checked.clear()
        _checked[identity] = root
    return root


def _unexpected(connection: duckdb.DuckDBPyConnection, name: str) -> Iterator[str]:
    for sql in _FOREIGN:
        yield from (f"a foreign {what}" for (what,) in connection.execute(sql, {"name": name}).fetchall())
    paths: set[str] = set()
    for view, sql in connection.execute(_VIEWS, {"name": name}).fetchall():
        parts = _parts(sql)
        if sql != _expected(connection, view, parts):
            yield f"a view {view} that e2emern did not write"
        paths.update(path for files in parts.values() for path in files)
    outside = {path for path in paths if not _inside(path)}
    outside.update(path for (path,) in connection.execute(_OUTSIDE.format(table=f"{name}.main.files")).fetchall())
    yield from (f"the path {path!r}, which is outside the home" for path in sorted(outside))


def _expected(connection: duckdb.DuckDBPyConnection, view: str, parts: dict[str, list[str]]) -> str | None:
    """Return the text of a view over these files as DuckDB keeps it, None for an unknown view."""
    if view in views.LISTS:
        sql = views.LISTS[view][2]
    elif view in views.VIEWS and any(parts.values()):
        sql = views.view_sql(view, **{part: tuple(files) for part, files in parts.items()})
    else:
        return None
    ((body,),) = connection.execute("SELECT json_deserialize_sql(json_serialize_sql($sql))", {"sql": sql}).fetchall()
    return f"CREATE VIEW {view} AS {body.rstrip(';')};"


def _parts(sql: str) -> dict[str, list[str]]:
    """Return the files that the text of a view names, by the argument of `view_sql` that would write it."""
    parts: dict[str, list[str]] = {"whole": [], "partly": [], "merged": []}
    for each in _LIST.finditer(sql):
        kind = "merged" if f"({views.PLACE} = hidden_place)" in each["rest"] else "whole"
        kind = "partly" if "(record = hidden_place)" in each["rest"] else kind
        parts[kind] += re.findall(r"'([^']*)'", each["files"])
    return parts


def _macros(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[str, str | None]:
    """Return the folder in the macro `home`, and the name of a macro that `create_home` did not write, if any."""
    roots = []
    for macro, kind, definition in connection.execute(_MACROS, {"name": name}).fetchall():
        found = _MACRO.fullmatch(definition or "")
        if (macro, kind) != ("home", "macro") or not found or found["variable"] != views.HOME_VARIABLE:
            return "", macro
        roots.append(found["root"].replace("''", "'"))
    return (roots[0], None) if len(roots) == 1 else ("", "home")


def _inside(path: str) -> bool:
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts
