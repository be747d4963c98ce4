"""Register the deployments of a file, merged with the server's and with the settings: `e2emern deploy` starts this.

It first prints what will change, and which values that only the server has are kept (`flows.deployments`). The
preflight makes the same comparison (`compare_shipped`).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.schema_tools.validation import ValidationError, validate
from pydantic import ValidationError as InvalidError

from e2emern.flows.deployments import DeploymentChanges, Entry, differences, kept, merge
from e2emern.flows.installation import PREFECT_FILE
from e2emern.flows.queues import QUEUES, connect, create_queues, report
from e2emern.flows.settings import read_settings
from e2emern.tasks.errors import InputError
from e2emern.warehouse.wording import one_line, plural

_PAGE = 200  # entries in one answer of the server


def main() -> None:
    """Print what changes, create the queues, and register the deployments."""
    parser = argparse.ArgumentParser(prog="python -m e2emern.flows.deploying", allow_abbrev=False)
    parser.add_argument("file", type=Path, help="the deployments, in the form of prefect.yaml")
    parser.add_argument("--dry-run", action="store_true", help="only print what would change")
    given = parser.parse_args()
    try:
        sys.exit(deploy(given.file, dry=given.dry_run))
    except InputError as error:
        report(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def deploy(file: Path, *, dry: bool) -> int:
    """Do what the module says, and return the exit code of Prefect. Raises InputError before anything is changed."""
    described, changes = _read(file), read_settings().deployments
    _check_changes(described["deployments"], changes)
    with connect() as client:
        compared = compare(client, described["deployments"], changes)
        compared.print()
        if dry:
            return 0
        create_queues(client)
    report(f"work pool e2emern has the queues {', '.join(QUEUES)}")
    return _register(described | {"deployments": compared.merged})


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What `e2emern deploy` would register, compared with the server.

    Attributes:
        merged: the deployments to register, in the form of `prefect.yaml`.
        missing: names of those that the server lacks.
        changed: a line for each difference from the server.
        kept: a line for each value that only the server has.
        others: names of the deployments that are only on the server.
    """

    merged: tuple[Entry, ...]
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    kept: tuple[str, ...]
    others: tuple[str, ...]

    def print(self) -> None:
        """Report what changes and what is kept."""
        lines = [*(f"{name}: new" for name in self.missing), *self.changed]
        stay = [
            f"{name}: not in the file; delete it with: prefect deployment delete FLOW/{name}" for name in self.others
        ]
        for line in lines or ["nothing changes"]:
            report(line)
        for line in (*self.kept, *stay):
            report(f"kept: {line}")


def compare_shipped(client: SyncPrefectClient) -> Compared:
    """Return what deploying `prefect.yaml` with the settings would change. Raises InputError for a wrong table."""
    shipped, changes = _read(PREFECT_FILE)["deployments"], read_settings().deployments
    _check_changes(shipped, changes)
    return compare(client, shipped, changes)


def _check_changes(shipped: Sequence[Entry], changes: Mapping[str, DeploymentChanges]) -> None:
    """Check the tables `deployments` of the settings. Raises InputError."""
    names = [one["name"] for one in shipped]
    if unknown := [name for name in changes if name not in names]:
        raise InputError(f"setting deployments: no deployment {unknown[0]!r}; expected one of {', '.join(names)}")
    for one in shipped:
        _check(merge(one, None, changes.get(one["name"], DeploymentChanges())))


def read_existing(client: SyncPrefectClient, shipped: Sequence[Entry]) -> dict[str, Entry]:
    """Return the deployments on the server by name, in the form of `prefect.yaml`.

    The triggers of a deployment are the automations that start it and have the name of one of its shipped triggers.
    """
    triggers = {one["name"]: {each["name"] for each in one.get("triggers", [])} for one in shipped}
    found: dict[str, Entry] = {}
    for one in client.read_deployments(limit=_PAGE):
        limit = one.global_concurrency_limit
        found[one.name] = {
            "name": one.name,
            "entrypoint": one.entrypoint or "",
            "work_pool": {
                "name": one.work_pool_name,
                "work_queue_name": one.work_queue_name,
                "job_variables": one.job_variables or {},
            },
            "parameters": one.parameters or {},
            "schedules": [_schedule(each) for each in one.schedules or []],
            "tags": one.tags,
            "paused": one.paused,
            "triggers": [
                {
                    "name": each.name,
                    "enabled": each.enabled,
                    "parameters": getattr(each.actions[0], "parameters", None) or {},
                }
                for each in client.read_resource_related_automations(f"prefect.deployment.{one.id}")
                if each.name in triggers.get(one.name, ())
            ],
        }
        if limit:
            strategy = one.concurrency_options.collision_strategy.value if one.concurrency_options else "ENQUEUE"
            found[one.name]["concurrency_limit"] = {"limit": limit.limit, "collision_strategy": strategy}
    return found


def _schedule(found: DeploymentSchedule) -> Entry:
    """Return a schedule in the form of `prefect.yaml`."""
    schedule = found.schedule
    times: Entry = {"timezone": getattr(schedule, "timezone", None)}
    if isinstance(schedule, CronSchedule):
        times |= {"cron": schedule.cron} | ({} if schedule.day_or else {"day_or": False})
    elif isinstance(schedule, IntervalSchedule):
        times |= {"interval": schedule.interval.total_seconds(), "anchor_date": str(schedule.anchor_date)}
    elif isinstance(schedule, RRuleSchedule):
        times["rrule"] = schedule.rrule
    entry = {"slug": found.slug, "active": found.active, "parameters": found.parameters}
    return times | {name: value for name, value in entry.items() if value not in (None, {})}


def _read(file: Path) -> dict[str, Any]:
    """Return the content of a file of deployments. Raises InputError for any other file."""
    try:
        described = yaml.safe_load(file.read_text("utf-8"))
        if all(isinstance(one["name"], str) for one in described["deployments"]):
            return dict(described)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError) as error:
        raise InputError(f"is not a file of deployments ({one_line(error)})", path=file) from error
    raise InputError("has a deployment without a name", path=file)


def compare(client: SyncPrefectClient, shipped: Sequence[Entry], changes: Mapping[str, DeploymentChanges]) -> Compared:
    """Merge the shipped deployments with the server's and with the settings, and compare the result with the server."""
    existing = read_existing(client, shipped)
    merged, changed, stay = list[Entry](), list[str](), list[str]()
    for one in shipped:
        own, before = changes.get(one["name"], DeploymentChanges()), existing.get(one["name"])
        merged.append(after := merge(one, before and _without_unknown(before, one["entrypoint"]), own))
        _check(after)
        if before is not None:
            stay += kept(one, before, after, own)
        changed += differences(before or merge(one, None, DeploymentChanges()), after)
    names = [one["name"] for one in shipped]
    return Compared(
        merged=tuple(merged),
        missing=tuple(name for name in names if name not in existing),
        changed=tuple(changed),
        kept=tuple(stay),
        others=tuple(sorted(existing.keys() - set(names))),
    )


def _without_unknown(existing: Entry, entrypoint: str) -> Entry:
    """Return a deployment of the server without parameters that its flow no longer has: its runs would fail."""
    names = _schema(entrypoint)["properties"].keys()

    def known(given: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in given.items() if name in names}

    schedules = [one | {"parameters": known(one.get("parameters", {}))} for one in existing["schedules"]]
    return existing | {"parameters": known(existing["parameters"]), "schedules": schedules}


def _schema(entrypoint: str) -> dict[str, Any]:
    """Return the schema of the parameters of a flow."""
    return load_flow_from_entrypoint(entrypoint).parameters.model_dump_for_openapi()


def _check(entry: Entry) -> None:
    """Check the times and the parameters of a deployment. Raises InputError."""
    name = entry["name"]
    for schedule in entry.get("schedules", []):
        if "cron" in schedule:
            try:
                CronSchedule(cron=schedule["cron"], timezone=schedule.get("timezone"))
            except InvalidError as error:
                reason = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise InputError(f"deployment {name}: schedule {schedule.get('slug', '')}: {reason}") from error
    schema = _schema(entry["entrypoint"])
    for where, given in _parameters(entry):
        if unknown := sorted(given.keys() - schema["properties"].keys()):
            raise InputError(
                f"deployment {name}: {where}: no parameter {unknown[0]!r}; expected one of "
                f"{', '.join(schema['properties'])}"
            )
        try:
            validate(given, schema, raise_on_error=True, ignore_required=True)
        except ValidationError as error:
            raise InputError(f"deployment {name}: {where}: {one_line(error)}") from error


def _parameters(entry: Entry) -> list[tuple[str, dict[str, Any]]]:
    """Return all parameters that a deployment gives to runs, without those that an event fills in."""
    found = [("parameters", entry.get("parameters", {}))]
    for kind, name in (("schedules", "slug"), ("triggers", "name")):
        for one in entry.get(kind, []):
            given = one.get("parameters", {})
            plain = {each: value for each, value in given.items() if "__prefect_kind" not in str(value)}
            found.append((f"{kind.removesuffix('s')} {one.get(name, '')}", plain))
    return found


def _register(described: Mapping[str, Any]) -> int:
    """Register deployments, and return Prefect's exit code; its output is shown only if it fails."""
    with tempfile.TemporaryDirectory(prefix="e2emern-deploy-") as folder:
        merged = Path(folder) / "prefect.yaml"
        merged.write_text(yaml.safe_dump(dict(described), sort_keys=False), "utf-8")
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(merged)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
    else:
        report(f"{plural(len(described['deployments']), 'deployment')} registered")
    return done.returncode


if __name__ == "__main__":
    main()
