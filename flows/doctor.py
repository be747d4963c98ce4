"""The `doctor` deployment: examine the home, and fail if findings remain.

Deploy it with `e2emern deploy`, which also schedules it, and run it now with
`prefect deployment run doctor/doctor --param repair=true`.
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger

from e2emern.flows.artifacts import artifact_key
from e2emern.flows.run_names import named
from e2emern.flows.settings import read_settings
from e2emern.tasks.errors import InputError
from e2emern.warehouse.doctor import CODES, examine
from e2emern.warehouse.layout import Home
from e2emern.warehouse.wording import examples, plural


@flow(name="doctor", flow_run_name=named("doctor"), persist_result=False)
def doctor(home: Path | None = None, repair: bool = False) -> None:
    """Check every file of the home against the published snapshots, and find files that do not belong there.

    Fails if findings remain; docs/doctor.md explains what to do for each code.

    Args:
        home: folder of the tables; by default that of the settings.
        repair: repair what can be repaired safely.
    """
    place = Home(read_settings(home=home).home)
    findings = examine(place, repair=repair)
    table = [
        {"code": one.code, "path": one.path, "what": one.what, "means": CODES[one.code], "repaired": one.repaired or ""}
        for one in findings
    ]
    create_table_artifact(table, key=artifact_key("doctor", place.root.name), description="docs/doctor.md has the rest")
    remain = [one for one in findings if one.repaired is None]
    get_run_logger().info(f"{place.root}: {plural(len(findings), 'finding')}, {len(findings) - len(remain):,} repaired")
    if remain:
        listed = examples([f"{one.code} {one.path}" for one in remain])
        raise InputError(f"{plural(len(remain), 'finding')} left: {listed}; see docs/doctor.md")
