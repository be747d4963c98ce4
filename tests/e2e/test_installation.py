"""An installation set up by the commands of README.md, and the findings of the preflight when it is disturbed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime
from typing import Any

import yaml

from tests.conftest import ROOT
from tests.e2e.installation import Installation, wait_for
from tests.pages import block

DESCRIBED: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text())


def test_what_is_deployed_is_what_the_file_says(installation: Installation, note: Callable[[str], None]) -> None:
    deployed = {one["name"]: one for one in installation.post("deployments/filter")}
    assert set(deployed) == {one["name"] for one in DESCRIBED["deployments"]}
    for described in DESCRIBED["deployments"]:
        found = deployed[described["name"]]
        pool = described["work_pool"]
        assert (found["work_pool_name"], found["work_queue_name"]) == (pool["name"], pool["work_queue_name"])
        assert found["entrypoint"] == described["entrypoint"]
        assert found["enforce_parameter_schema"]
        schedules = [
            {"slug": one["slug"], "active": one["active"]}
            | {name: one["schedule"][name] for name in ("cron", "timezone")}
            for one in found["schedules"]
        ]
        assert schedules == described.get("schedules", [])
        limit = found["global_concurrency_limit"]
        assert (limit and limit["limit"]) == described.get("concurrency_limit", {}).get("limit")
    assert installation.queues() == [("default", 1), ("annotate", 2), ("train", 3), ("backfill", 4)]
    automations = installation.post("automations/filter")
    triggers = [one for each in DESCRIBED["deployments"] for one in each.get("triggers", [])]
    alerts = yaml.safe_load((ROOT / "deploy" / "automations.yaml").read_text())["automations"]
    assert {one["name"] for one in automations} == {one["name"] for one in (*triggers, *alerts)}
    note(f"{len(deployed)} deployments, {len(automations)} triggers")


def test_the_server_plans_the_nights(installation: Installation, note: Callable[[str], None]) -> None:
    (nightly,) = [one for one in DESCRIBED["deployments"] if one["name"] == "nightly"]
    minute, hour, *_ = nightly["schedules"][0]["cron"].split()
    wanted = {"deployments": {"name": {"any_": ["nightly"]}}, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    planned = wait_for(lambda: installation.post("flow_runs/filter", wanted), what="nights are planned")
    times = [datetime.fromisoformat(run["expected_start_time"]) for run in planned if run["auto_scheduled"]]
    assert times
    assert {(time.hour, time.minute) for time in times} == {(int(hour), int(minute))}
    assert len({time.date() for time in times}) == len(times)
    note(f"{len(times)} nights planned")


def test_the_preflight_and_the_workers_report_a_queue_that_is_missing(
    installation: Installation, note: Callable[[str], None]
) -> None:
    """Prefect's worker would silently take nothing from any of its queues; `e2emern deploy` fixes it."""
    installation.wait_until_well()
    with installation.paused("train"):
        assert installation.check() == (0, {})  # a warning
    installation.delete_queue("backfill")
    missing = "work pool e2emern has no queue backfill (found default, annotate, train); run: e2emern deploy"
    code, found = installation.check()
    assert (code, found["queues"]) == (2, missing.removesuffix("; run: e2emern deploy"))
    unit = installation.unit("e2emern-worker@.service", "0")
    started = subprocess.run(
        unit.command,
        cwd=installation.folder,
        env=installation.environment() | unit.variables,
        capture_output=True,
        text=True,
    )
    assert (started.returncode, started.stdout, started.stderr) == (1, "", f"e2emern: {missing}\n")

    log = installation.folder / "workers.log"
    wait_for(
        lambda: f"e2emern: this worker takes no runs: {missing}\n" in log.read_text(), what="the worker reports it"
    )
    _deploy_over_what_operators_set(installation)
    assert installation.queues() == [("default", 1), ("annotate", 2), ("train", 3), ("backfill", 4)]
    wait_for(lambda: "e2emern: this worker takes runs again\n" in log.read_text(), what="the worker works again")
    exports = "\n".join(block("operations", "export PREFECT_API_URL")).replace(":4200", f":{installation.port}")
    installation.shell(f"{exports}\nprefect deployment delete prune/prune")
    assert installation.check() == (2, {"deployments": "prune is missing"})
    installation.deploy()
    installation.wait_until_well()
    note("the preflight: all well, a deleted queue and deployment; an upgrade keeps what operators set")


LOCAL = """
[deployments.nightly.schedules.night]
cron = "0 1 * * *"
[deployments.retrain.parameters]
backfill = true
"""


def _deploy_over_what_operators_set(installation: Installation) -> None:
    """Cause: `e2emern deploy` erased a second home's schedule, parameters of `retrain`, and which triggers were on."""
    installation.schedule("nightly", "0 4 * * *", home="/other")
    installation.configure("retrain", encoder="recipe")
    installation.enable("e2emern drift", on=False)
    changes = "nightly: schedule night: 30 2 * * * UTC -> 0 1 * * * UTC; retrain: parameter backfill: none -> True"
    assert installation.check(settings=LOCAL)[1]["deployments"] == changes
    printed = installation.deploy(settings=LOCAL).splitlines()
    assert "deployments" not in installation.check(settings=LOCAL)[1]
    assert [line.removeprefix("e2emern: ") for line in printed if " -> " in line or "kept: " in line] == [
        "nightly: schedule night: 30 2 * * * UTC -> 0 1 * * * UTC",
        "retrain: parameter backfill: none -> True",
        "kept: nightly: schedule 0 4 * * *: 0 4 * * * UTC inactive home=/other, set on the server; the files have none",
        "kept: retrain: parameter encoder: 'recipe', set on the server; the files have none",
        "kept: retrain: trigger e2emern drift: off, set on the server; the files have on",
    ]
    deployed = {one["name"]: one for one in installation.post("deployments/filter")}
    crons = {one["schedule"]["cron"]: one["parameters"] for one in deployed["nightly"]["schedules"]}
    assert crons == {"0 1 * * *": {}, "0 4 * * *": {"home": "/other"}}
    assert deployed["retrain"]["parameters"] == {"encoder": "recipe", "backfill": True}
    enabled = {one["name"]: one["enabled"] for one in installation.post("automations/filter")}
    assert not enabled["e2emern drift"]
    installation.configure("retrain")
    installation.enable("e2emern drift")
