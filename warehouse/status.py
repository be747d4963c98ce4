"""What a home holds and how it stands, for a person to read at a glance."""

from __future__ import annotations

from dataclasses import dataclass

from warehouse.errors import WarehouseError
from warehouse.layout import Home
from warehouse.runs import RunRecord, read_runs
from warehouse.snapshot import Snapshot, current_snapshot, open_snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state of a home. `snapshot` is None before the first publish, `last_run` before the first run."""

    last_run: RunRecord | None
    snapshot: Snapshot | None
    failures_by_reason: dict[str, int]  # most frequent first
    damaged: dict[str, str]  # source -> what is damaged

    @property
    def linked_share(self) -> float:
        """Share of mentions with a concept, 0 where there is no mention."""
        if self.snapshot is None or self.snapshot.mentions == 0:
            return 0.0
        return self.snapshot.linked / self.snapshot.mentions


def status(home: Home) -> Status:
    """Returns the state of a home. Raises `WarehouseError` when it is not there or its snapshot cannot be opened."""
    if not home.root.is_dir():
        raise WarehouseError(f"{home.root} is not there; annotate something into it first")
    runs = read_runs(home)
    snapshot = current_snapshot(home)
    failures: dict[str, int] = {}
    damaged: dict[str, str] = {}
    if snapshot is not None:
        with open_snapshot(home) as connection:
            failures = dict(
                connection.execute(
                    "SELECT reason, count(*) AS n FROM failures GROUP BY ALL ORDER BY n DESC, reason"
                ).fetchall()
            )
            damaged = dict(
                connection.execute(
                    "SELECT source, coalesce(error, '') FROM sources WHERE current AND status = 'damaged' ORDER BY rank"
                ).fetchall()
            )
    return Status(last_run=runs[-1] if runs else None, snapshot=snapshot, failures_by_reason=failures, damaged=damaged)
