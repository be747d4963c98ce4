"""Merge the shipped deployments with what operators set on the server and in the settings file.

A deployment is merged from three places; later ones take precedence: `prefect.yaml`, the server (parameters,
schedules, limits, tags, which triggers are enabled), and the table `deployments` of the settings. So an upgrade keeps
what was set in Prefect's UI, and the settings file overrides it. Nothing is removed: what the file no longer names
stays on the server, and `kept` lists it.

All three have the form of an entry of `prefect.yaml`.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from e2emern.tasks.errors import InputError

Entry = dict[str, Any]
"""A deployment in the form of `prefect.yaml`."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScheduleChanges(_Table):
    """Changes to a shipped schedule, or a new schedule with the parameters of its runs."""

    cron: str | None = None
    timezone: str | None = None
    active: bool | None = None
    parameters: dict[str, Any] = Field(default={}, description="For example the home, if it is not the first one.")


class TriggerChanges(_Table):
    """Changes to a shipped trigger."""

    enabled: bool | None = None
    parameters: dict[str, Any] = {}


class DeploymentChanges(_Table):
    """Changes to a deployment in this installation; schedules and triggers by name."""

    parameters: dict[str, Any] = {}
    schedules: dict[str, ScheduleChanges] = {}
    triggers: dict[str, TriggerChanges] = {}


def merge(shipped: Entry, existing: Entry | None, changes: DeploymentChanges) -> Entry:
    """Return a deployment merged from the shipped one, the one on the server if there is one, and the settings.

    Raises InputError if the settings name a trigger that is not shipped, or a new schedule without a time.
    """
    name = shipped["name"]
    merged = deepcopy(shipped)
    on_server = existing or {}
    merged |= {each: on_server[each] for each in ("concurrency_limit", "tags", "paused") if each in on_server}
    if variables := on_server.get("work_pool", {}).get("job_variables"):
        merged["work_pool"] = merged["work_pool"] | {"job_variables": variables}
    if parameters := shipped.get("parameters", {}) | on_server.get("parameters", {}) | changes.parameters:
        merged["parameters"] = parameters
    schedules = deepcopy(shipped.get("schedules", []) if existing is None else on_server.get("schedules", []))
    for slug, change in changes.schedules.items():
        _set_schedule(name, schedules, slug, change, shipped.get("schedules", []))
    if schedules or "schedules" in shipped:
        merged["schedules"] = schedules
    enabled = {one["name"]: one["enabled"] for one in on_server.get("triggers", [])}
    for trigger in merged.get("triggers", []):
        trigger["enabled"] = enabled.get(trigger["name"], trigger["enabled"])
        if own := changes.triggers.get(trigger["name"]):
            trigger["enabled"] = trigger["enabled"] if own.enabled is None else own.enabled
            trigger["parameters"] = trigger.get("parameters", {}) | own.parameters
    names = [one["name"] for one in shipped.get("triggers", [])]
    if unknown := [each for each in changes.triggers if each not in names]:
        expected = f"expected one of {', '.join(names)}" if names else "it has none"
        raise InputError(f"setting deployments.{name}.triggers: no trigger {unknown[0]!r}; {expected}")
    return merged


def _set_schedule(name: str, schedules: list[Entry], slug: str, change: ScheduleChanges, shipped: list[Entry]) -> None:
    found = next((one for one in schedules if one.get("slug") == slug), None)
    if found is None:
        new: Entry = {"slug": slug, "timezone": "UTC", "active": True}
        schedules.append(found := new | next((deepcopy(one) for one in shipped if one.get("slug") == slug), {}))
    given = change.model_dump(exclude_unset=True, exclude_none=True)
    if "cron" in given:
        found.pop("interval", None), found.pop("rrule", None)
    found |= given
    if not found.keys() & {"cron", "interval", "rrule"}:
        raise InputError(f"setting deployments.{name}.schedules.{slug}: no cron; set it, for example '30 2 * * *'")


def differences(before: Entry, after: Entry) -> list[str]:
    """Return a line for each difference between two states of a deployment, with the old and the new value."""
    was, is_now = _values(before), _values(after)
    return [
        f"{after['name']}: {label}: {was.get(label, 'none')} -> {is_now.get(label, 'none')}"
        for label in dict.fromkeys((*was, *is_now))
        if was.get(label) != is_now.get(label)
    ]


def kept(shipped: Entry, existing: Entry, merged: Entry, changes: DeploymentChanges) -> list[str]:
    """Return a line for each value that was set on the server and is in neither file."""
    of_files = _values(merge(shipped, None, changes))
    on_server, result, name = _values(existing), _values(merged), merged["name"]
    return [
        f"{name}: {label}: {result[label]}, set on the server; the files have {of_files.get(label, 'none')}"
        for label in result
        if result[label] == on_server.get(label) and result[label] != of_files.get(label)
    ] + [
        f"{name}: {label}: removed on the server; the files have {of_files[label]}"
        for label in of_files
        if label not in result and label not in on_server
    ]


def _values(entry: Entry) -> dict[str, str]:
    """Return the values of a deployment that matter to an operator, by label."""
    found = {"flow": entry["entrypoint"], "queue": entry["work_pool"]["work_queue_name"]}
    if limit := entry.get("concurrency_limit"):
        found["runs at a time"] = str(limit["limit"])
    if entry.get("paused"):
        found["state"] = "paused"
    if tags := entry.get("tags"):
        found["tags"] = ", ".join(tags)
    found |= {f"job variable {name}": repr(one) for name, one in entry["work_pool"].get("job_variables", {}).items()}
    found |= {f"parameter {name}": repr(one) for name, one in entry.get("parameters", {}).items()}
    for schedule in entry.get("schedules", []):
        time = next((f"{kind} {schedule[kind]}" for kind in ("cron", "interval", "rrule") if kind in schedule), "")
        time = time.removeprefix("cron ")
        words = [time, schedule.get("timezone") or "UTC"]
        words += [] if schedule.get("active", True) else ["inactive"]
        words += [f"{name}={value}" for name, value in schedule.get("parameters", {}).items()]
        label = f"schedule {schedule.get('slug') or time}"
        found[label] = " ".join(words) if label not in found else f"{found[label]}; {' '.join(words)}"
    for trigger in entry.get("triggers", []):
        own = {name: one for name, one in trigger.get("parameters", {}).items() if not isinstance(one, dict)}
        words = ["on" if trigger["enabled"] else "off", *(f"{name}={value}" for name, value in own.items())]
        found[f"trigger {trigger['name']}"] = " ".join(words)
    return found
