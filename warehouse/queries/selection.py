"""The sources that the current snapshot shows."""

from __future__ import annotations

from warehouse.layout import Home, SourceKey
from warehouse.snapshots.publish import open_snapshot


def current_sources(home: Home) -> list[SourceKey]:
    """Return the sources that the current snapshot shows, lowest rank first. Raises `WarehouseError` without one."""
    with open_snapshot(home) as connection:
        rows = connection.execute("SELECT source, digest FROM sources WHERE current ORDER BY rank").fetchall()
    return [SourceKey(name, digest) for name, digest in rows]
