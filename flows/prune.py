"""The `prune` deployment: delete what the settings `retention` no longer keep of a home.

Prefect's server deletes its own old runs, logs and artifacts (`flows.server`); this flow only counts them.

Deploy it with `e2emern deploy`, which also schedules it, and run it now with
`prefect deployment run prune/prune --param dry_run=true`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.logging import get_run_logger

from e2emern.flows.artifacts import artifact_key
from e2emern.flows.run_names import named
from e2emern.flows.settings import read_settings
from e2emern.tasks.retention import apply_retention, in_words


@flow(name="prune", flow_run_name=named("prune"), persist_result=False)
def prune(home: Path | None = None, dry_run: bool = False) -> None:
    """Delete old snapshots and their files, abandoned mentions, retrainings, refused models, and dump files.

    Args:
        home: folder of the tables; without it that of the settings.
        dry_run: delete nothing, and say what would be.
    """
    settings = read_settings(home=home)
    freed = apply_retention(settings.home, settings.retention, dry=dry_run)
    table = [
        {"what": one.what, "files": one.files, "MB": round(one.bytes / 1e6, 1), "names": one.names} for one in freed
    ]
    table.append(
        {"what": "runs of Prefect", "files": count_runs(settings.retention.server_days), "MB": None, "names": ()}
    )
    did = "would be deleted" if dry_run else "deleted"
    create_table_artifact(table, key=artifact_key("prune", settings.home.name), description=did)
    for line in in_words(freed):
        get_run_logger().info(f"{did}: {line}")


def count_runs(days: float) -> int:
    """Return how many runs ended so many days ago; the server deletes them within the hour, in batches."""
    before = datetime.now(UTC) - timedelta(days=days)
    ended = FlowRunFilter.model_validate({"end_time": {"before_": before, "is_null_": False}})
    with get_client(sync_client=True) as client:
        return client.count_flow_runs(flow_run_filter=ended)
