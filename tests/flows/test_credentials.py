"""The authentication string of the server: made once, readable only by its owner."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from prefect.settings.models.server.services import ServerServicesDBVacuumSettings

from e2emern.flows.server import safe_settings
from tests.conftest import ROOT


def printed(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "e2emern.flows.credentials"]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PREFECT_HOME": str(folder)}, capture_output=True, text=True
    )


def test_every_call_prints_the_string_that_the_first_one_created(tmp_path: Path) -> None:
    folder = tmp_path / "not yet there"
    with ThreadPoolExecutor(4) as pool:
        found = {done.stdout for done in pool.map(printed, [folder] * 4)}
    (line,) = found
    assert line.startswith("e2emern:")
    assert len(line) > 40
    assert [path.name for path in folder.iterdir()] == ["e2emern-auth"]
    assert (folder / "e2emern-auth").stat().st_mode & 0o777 == 0o600


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    printed(tmp_path)
    path = tmp_path / "e2emern-auth"
    path.chmod(0o644)
    done = printed(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"e2emern: {path} can be read by others; run: chmod 600 {path}\n"


def test_the_server_is_safe_whatever_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    settings = safe_settings({"PREFECT_API_AUTH_STRING": "", "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "false"})
    assert settings["PREFECT_SERVER_API_AUTH_STRING"] == (tmp_path / "e2emern-auth").read_text().strip()
    assert settings["PREFECT_SERVER_CSRF_PROTECTION_ENABLED"] == "true"
    assert settings["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4200"

    given = {"PREFECT_API_AUTH_STRING": "a:b", "PREFECT_SERVER_API_HOST": "10.0.0.7", "PREFECT_SERVER_API_PORT": "80"}
    settings = safe_settings(given)
    assert settings["PREFECT_SERVER_API_AUTH_STRING"] == "a:b"
    assert settings["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://10.0.0.7:80"


def test_the_server_deletes_old_runs_logs_and_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = safe_settings({"PREFECT_API_AUTH_STRING": "a:b"}, keep_days=2)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    vacuum = ServerServicesDBVacuumSettings()
    assert vacuum.enabled_vacuum_types == {"events", "flow_runs", "orphans"}
    assert vacuum.retention_period == timedelta(days=2)
