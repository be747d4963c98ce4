"""The parts of an installation share their settings; tests/e2e runs them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from e2emern.flows.cli import app
from e2emern.flows.installation import PREFECT_FILE, UNITS, copy_files, deploy, environment
from e2emern.tasks.errors import InputError
from tests.conftest import ROOT

DEFAULTS = {
    "PREFECT_API_URL": "http://127.0.0.1:4200/api",
    "PREFECT_API_AUTH_STRING": "e2emern:secret",
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
AUTH = {"PREFECT_API_AUTH_STRING": "e2emern:secret"}


def test_settings_that_are_missing_get_their_defaults(tmp_path: Path) -> None:
    home = {"E2EMERN_CONFIG": "", "E2EMERN_HOME": str(tmp_path / "home")}
    assert environment(AUTH, folder=tmp_path) == DEFAULTS | home
    (tmp_path / "e2emern.toml").touch()
    config = {"E2EMERN_CONFIG": str(tmp_path / "e2emern.toml"), "E2EMERN_HOME": ""}
    assert environment(AUTH, folder=tmp_path) == DEFAULTS | config


def test_settings_that_are_given_stay(tmp_path: Path) -> None:
    given = dict.fromkeys([*DEFAULTS, "E2EMERN_CONFIG", "E2EMERN_HOME", "PATH"], "given")
    assert environment(given, folder=tmp_path) == given


def test_the_authentication_string_is_made_on_first_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    made = environment({}, folder=tmp_path)["PREFECT_API_AUTH_STRING"]
    assert made.startswith("e2emern:")
    assert environment({}, folder=tmp_path)["PREFECT_API_AUTH_STRING"] == made


def test_the_package_has_the_files_of_the_repository() -> None:
    assert PREFECT_FILE.samefile(ROOT / "prefect.yaml")
    assert UNITS.samefile(ROOT / "deploy")


def test_deployments_and_units_are_copied_once(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["deploy", "--copy", str(tmp_path / "own")])
    assert done.exit_code == 0
    units = [f"e2emern-{name}.service" for name in ("coordinator", "server", "trainer@", "worker@")]
    containers = ["Dockerfile", "Dockerfile.dockerignore", "kubernetes-pool.json", "kubernetes.yaml"]
    names = sorted([*containers, "automations.yaml", *units, "prefect.env", "prefect.yaml", "slurm.sh"])
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == names
    copied = yaml.safe_load((tmp_path / "own" / "prefect.yaml").read_text("utf-8"))
    assert "nightly" in [one["name"] for one in copied["deployments"]]
    with pytest.raises(InputError, match=r"prefect\.yaml: exists; copy into another folder, or move it aside"):
        copy_files(tmp_path / "own")


def test_a_missing_file_is_reported_before_a_server_is_asked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"own\.yaml: no such file"):
        deploy(tmp_path / "own.yaml")


def test_a_limit_needs_queues() -> None:
    done = CliRunner().invoke(app, ["worker", "--limit", "2"])
    assert done.exit_code == 2
    assert "needs --work-queue" in done.output
