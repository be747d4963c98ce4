"""The `prune` deployment: delete what the home no longer keeps, unless a run is active in it.

`e2emern prune` does the same from a shell. Prefect's own old runs are deleted by the server (`flows.server`); this flow
warns if they are not.

Deploy it with `e2emern deploy`, which also schedules it, and try it with
`prefect deployment run prune/prune --param dry_run=true`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterEndTime
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

from e2emern.flows.artifacts import artifact_key
from e2emern.flows.run_names import named
from e2emern.flows.settings import read_settings
from e2emern.tasks.retention import Freed, active_work, apply_retention, in_words
from e2emern.warehouse.home_format import open_home
from e2emern.warehouse.layout import Home
from e2emern.warehouse.wording import examples, plural

_SLACK = timedelta(days=1)  # the server looks for old runs every hour, while it is up


@flow(name="prune", flow_run_name=named("prune"), persist_result=False)
def prune(home: Path | None = None, dry_run: bool = False) -> State[None] | None:
    """Delete old snapshots and their files, abandoned mentions, retrainings, refused models, and dump files.

    The settings [retention] say what is kept; docs/retention.md explains them. While a night or another run is active
    in the home, it deletes nothing, and ends as Skipped.

    Args:
        home: folder of the tables; without it that of the settings.
        dry_run: delete nothing, and show what would be deleted.
    """
    log = get_run_logger()
    settings = read_settings(home=home)
    place = open_home(settings.home)
    if active := active_work(place):
        why = f"nothing was deleted: {active}"
        _show(place, [], why)
        return Completed(name="Skipped", message=why)
    freed = apply_retention(place.root, settings.retention, dry=dry_run)
    done = "would delete" if dry_run else "deleted"
    lines = [f"{done} {line}" for line in in_words(freed)] or ["nothing to delete"]
    for line in lines:
        log.info(line)
    _show(place, freed, "\n\n".join(lines))
    days = settings.retention.server_days
    if old := _old_runs(days):
        log.warning(
            f"{plural(old, 'run')} on the Prefect server ended more than {days:g} days ago; a server that was started "
            "with e2emern server or its unit deletes them"
        )
    return None


def _show(home: Home, freed: list[Freed], description: str) -> None:
    """Create the table of what was deleted as an artifact of the run: a row for each kind."""
    rows = [
        {
            "kind": one.what,
            "deleted": examples(one.names, separator=", ", most=3) if one.names else "",
            "files": one.files,
            "MB": round(one.bytes / 1e6, 1),
        }
        for one in freed
    ]
    create_table_artifact(rows, key=artifact_key("prune", home.root.name), description=description)


def _old_runs(days: float) -> int:
    """Return how many runs the Prefect server should have deleted (at most the 200 that one answer holds)."""
    before = datetime.now(UTC) - timedelta(days=days) - _SLACK
    ended = FlowRunFilter(end_time=FlowRunFilterEndTime(before_=before))  # type: ignore[arg-type]  # pydantic parses it
    with get_client(sync_client=True) as client:
        return len(client.read_flow_runs(flow_run_filter=ended))
