"""Notifications: the alerts of `deploy/automations.yaml`, and the blocks of Prefect that they notify.

An alert that is already on the server is kept, since an operator may have changed its times or disabled it. Only
missing blocks named `e2emern` are added to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import DoNothing, SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore
from pydantic import ValidationError

from e2emern.flows.installation import UNITS
from e2emern.tasks.errors import InputError
from e2emern.warehouse.wording import one_line

FILE = UNITS / "automations.yaml"
BLOCK = "e2emern"
"""The name of the blocks that are notified; blocks of several types may have it."""

_PAGE = 200


def register(client: SyncPrefectClient, *, file: Path = FILE) -> list[str]:
    """Create the alerts of a file that are missing, and add blocks to the others. Return a line for each change.

    Raises InputError for a file that does not describe automations.
    """
    blocks = find_blocks(client)
    existing = read_alerts(client)
    lines = []
    for described in read_file(file):
        wanted = [
            SendNotification(
                type="send-notification",  # Prefect sends what is set, and leaves defaults out
                block_document_id=one,
                subject=described["subject"],
                body=described["body"],
            )
            for one in blocks.values()
        ]
        name = described["name"]
        if (found := existing.get(name)) is None:
            client.create_automation(_automation(described, wanted or [DoNothing()], file))
            lines.append(f"{name}: new")
            continue
        missing = [one for one in wanted if one.block_document_id not in notified(found)]
        if missing:
            kept = [one for one in found.actions if not isinstance(one, DoNothing)]
            content = {each: getattr(found, each) for each in AutomationCore.model_fields if each != "owner_resource"}
            client.update_automation(found.id, AutomationCore(**content | {"actions": [*kept, *missing]}))
            lines.append(f"{name}: notifies {', '.join(blocks)}")
    if not blocks:
        lines.append(
            f"nobody is notified: no notification block has the name {BLOCK} (docs/operations.md#notifications)"
        )
    return lines


def read_alerts(client: SyncPrefectClient) -> dict[str, Automation]:
    """Return the automations on the server by name."""
    return {one.name: one for one in client.read_automations(limit=_PAGE)}


def notified(alert: Automation) -> set[UUID]:
    """Return the blocks that an alert notifies."""
    return {one.block_document_id for one in alert.actions if isinstance(one, SendNotification)}


def find_blocks(client: SyncPrefectClient) -> dict[str, UUID]:
    """Return the notification blocks of our name, by type and name: `slack-webhook/e2emern`."""
    found = {}
    for one in client.read_block_documents(limit=_PAGE, include_secrets=False):
        capable = one.block_schema is not None and "notify" in one.block_schema.capabilities
        if one.name == BLOCK and capable and one.block_type:
            found[f"{one.block_type.slug}/{one.name}"] = one.id
    return found


def read_file(file: Path) -> list[dict[str, Any]]:
    """Return the automations that a file describes. Raises InputError if it is not such a file."""
    try:
        described: list[dict[str, Any]] = yaml.safe_load(file.read_text("utf-8"))["automations"]
        if all({"name", "trigger", "subject", "body"} <= one.keys() for one in described):
            return described
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"is not a file of automations ({one_line(error)})", path=file) from error
    raise InputError("has an automation without name, trigger, subject or body", path=file)


def _automation(described: dict[str, Any], actions: Sequence[Any], file: Path) -> AutomationCore:
    content = {name: value for name, value in described.items() if name not in ("subject", "body")}
    try:
        return AutomationCore.model_validate(content | {"actions": list(actions)})
    except ValidationError as error:
        raise InputError(f"{described['name']}: {one_line(error)}", path=file) from error
