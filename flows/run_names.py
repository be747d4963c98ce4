"""Names of flow runs: the flow, its scheduled date (UTC), and the home."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from prefect.runtime import flow_run

from e2emern.flows.settings import read_settings
from e2emern.tasks.errors import InputError


def named(flow: str) -> Callable[[], str]:
    """Return a function that names the current run of a flow, such as `nightly 2026-11-30 home`."""

    def name() -> str:
        home = flow_run.parameters.get("home")
        with suppress(InputError):  # the run itself reports it
            home = home or read_settings().home
        words = [flow, f"{flow_run.scheduled_start_time:%Y-%m-%d}", *([Path(home).name] if home else [])]
        return " ".join(words)

    return name
