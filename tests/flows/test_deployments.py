"""`e2emern deploy` merges the shipped file, the values set on the server, and the settings file."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2emern.flows.deploying import deploy
from e2emern.flows.deployments import DeploymentChanges, differences, kept, merge
from e2emern.tasks.errors import InputError

HOME = {"home": {"__prefect_kind": "jinja", "template": "{{ event.resource['e2emern.home'] }}"}}
NIGHTLY: dict[str, Any] = {
    "name": "nightly",
    "entrypoint": "e2emern.flows.nightly.nightly",
    "work_pool": {"name": "e2emern", "work_queue_name": "default"},
    "concurrency_limit": {"limit": 1, "collision_strategy": "ENQUEUE"},
    "schedules": [{"slug": "night", "cron": "30 2 * * *", "timezone": "UTC", "active": True}],
    "triggers": [{"name": "drift", "enabled": False, "expect": ["e2emern.drift"], "parameters": HOME}],
}
ON_SERVER: dict[str, Any] = NIGHTLY | {
    "work_pool": {"name": "e2emern", "work_queue_name": "default", "job_variables": {"labels": {"a": "b"}}},
    "concurrency_limit": {"limit": 2, "collision_strategy": "ENQUEUE"},
    "parameters": {"home": "/first", "pattern": "*.xml"},
    "schedules": [
        {"slug": "night", "cron": "30 3 * * *", "timezone": "UTC", "active": False},
        {"interval": 3600.0, "timezone": "UTC", "active": True, "parameters": {"home": "/second"}},
    ],
    "triggers": [{"name": "drift", "enabled": True, "parameters": {}}],
    "tags": ["ours"],
    "paused": True,
}
NO_CHANGES = DeploymentChanges()


def test_without_server_and_settings_the_shipped_deployment_is_used() -> None:
    before = deepcopy(NIGHTLY)
    assert merge(NIGHTLY, None, NO_CHANGES) == before == NIGHTLY


def test_values_set_on_the_server_are_kept_and_listed() -> None:
    merged = merge(NIGHTLY, ON_SERVER, NO_CHANGES)
    assert merged == ON_SERVER | {"triggers": [NIGHTLY["triggers"][0] | {"enabled": True}]}
    assert differences(ON_SERVER, merged) == []
    assert merge(NIGHTLY, merged, NO_CHANGES) == merged
    assert kept(NIGHTLY, ON_SERVER, merged, NO_CHANGES) == [
        "nightly: runs at a time: 2, set on the server; the files have 1",
        "nightly: state: paused, set on the server; the files have none",
        "nightly: tags: ours, set on the server; the files have none",
        "nightly: job variable labels: {'a': 'b'}, set on the server; the files have none",
        "nightly: parameter home: '/first', set on the server; the files have none",
        "nightly: parameter pattern: '*.xml', set on the server; the files have none",
        "nightly: schedule night: 30 3 * * * UTC inactive, set on the server; the files have 30 2 * * * UTC",
        "nightly: schedule interval 3600.0: interval 3600.0 UTC home=/second, set on the server; the files have none",
        "nightly: trigger drift: on, set on the server; the files have off",
    ]
    removed = ON_SERVER | {"schedules": []}
    assert merge(NIGHTLY, removed, NO_CHANGES)["schedules"] == []
    assert "nightly: schedule night: removed on the server; the files have 30 2 * * * UTC" in kept(
        NIGHTLY, removed, merge(NIGHTLY, removed, NO_CHANGES), NO_CHANGES
    )


def test_the_settings_file_overrides_the_server() -> None:
    changes = DeploymentChanges.model_validate(
        {
            "parameters": {"pattern": "*.gz"},
            "schedules": {
                "night": {"cron": "0 1 * * *", "active": True},
                "second": {"cron": "0 4 * * *", "parameters": {"home": "/second"}},
            },
            "triggers": {"drift": {"enabled": False, "parameters": {"backfill": True}}},
        }
    )
    merged = merge(NIGHTLY, ON_SERVER, changes)
    assert differences(ON_SERVER, merged) == [
        "nightly: parameter pattern: '*.xml' -> '*.gz'",
        "nightly: schedule night: 30 3 * * * UTC inactive -> 0 1 * * * UTC",
        "nightly: trigger drift: on -> off backfill=True",
        "nightly: schedule second: none -> 0 4 * * * UTC home=/second",
    ]
    assert merged["triggers"][0]["parameters"] == HOME | {"backfill": True}
    assert merge(NIGHTLY, merged, changes) == merged
    assert [line.split(": ")[1] for line in kept(NIGHTLY, ON_SERVER, merged, changes)] == [
        "runs at a time", "state", "tags", "job variable labels", "parameter home", "schedule interval 3600.0"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("[deployments.nigthly]", "setting deployments: no deployment 'nigthly'; expected one of nightly"),
        ("[deployments.nightly]\nparameter = 1", "unknown setting deployments.nightly.parameter"),
        ("[deployments.nightly.schedules.x]\ncrom = 1", "unknown setting deployments.nightly.schedules.x.crom"),
        (
            "[deployments.nightly.triggers.x]",
            "setting deployments.nightly.triggers: no trigger 'x'; expected one of drift",
        ),
        (
            "[deployments.nightly.schedules.x]\nactive = true",
            "setting deployments.nightly.schedules.x: no cron; set it, for example '30 2 * * *'",
        ),
    ],
)  # fmt: skip
def test_a_wrong_table_is_reported_before_a_server_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str, message: str
) -> None:
    deployments = tmp_path / "prefect.yaml"
    deployments.write_text(yaml.safe_dump({"name": "e2emern", "deployments": [NIGHTLY]}))
    assert raised(tmp_path, monkeypatch, deployments, settings) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deployments:\n  - entrypoint: x\n", "is not a file of deployments ('name')"),
        ("[", "is not a file of deployments (while parsing a flow node "),
        ("deployments:\n  - name: 1\n", "has a deployment without a name"),
    ],
)
def test_a_file_without_deployments_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    (tmp_path / "own.yaml").write_text(text)
    assert raised(tmp_path, monkeypatch, tmp_path / "own.yaml", "").startswith(f"{tmp_path / 'own.yaml'}: {message}")


def raised(folder: Path, monkeypatch: pytest.MonkeyPatch, file: Path, settings: str) -> str:
    """The error of a deployment with these settings; no server is configured."""
    config = folder / "e2emern.toml"
    config.write_text(f'home = "/data/home"\n{settings}\n')
    monkeypatch.setenv("E2EMERN_CONFIG", str(config))
    with pytest.raises(InputError) as error:
        deploy(file, dry=True)
    return str(error.value)
