"""The server keeps its records in PostgreSQL, set up by the commands of docs/deployment.md."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.e2e.installation import Installation
from tests.pages import typed


class Cluster:
    """PostgreSQL on loopback, in a folder of its own; `run` runs a command as its owner and superuser."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self._programs = folder, programs
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def run(self, command: str, *words: str, **variables: str) -> str:
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # PostgreSQL refuses to run as root
        env = os.environ | {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "postgres"} | variables
        path = str(self._programs / command)
        done = subprocess.run([*user, path, *words], env=env, cwd="/", capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    found = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
    if found is None or (os.geteuid() == 0 and not shutil.which("runuser")):
        pytest.skip("needs PostgreSQL (Debian: apt install postgresql)")
    with TemporaryDirectory(prefix="e2emern-postgresql-") as made:  # pytest's own folders are closed to other users
        folder = Path(made)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        cluster = Cluster(folder, Path(found).resolve().parent)
        cluster.run("initdb", "--pgdata", made, "--username", "postgres", "--auth", "trust")
        options = f"-p {cluster.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={made}"
        cluster.run("pg_ctl", "--pgdata", made, "--wait", "--log", f"{made}/log", "-o", options, "start")
        yield cluster
        cluster.run("pg_ctl", "--pgdata", made, "--wait", "--mode", "immediate", "stop")


def test_the_records_of_the_server_are_in_postgresql(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: Callable[[str], None]
) -> None:
    for command in (
        typed("deployment", "sudo -u postgres createuser --pwprompt prefect"),
        typed("deployment", "sudo -u postgres createdb --owner prefect prefect"),
    ):
        program, *words = command.removeprefix("sudo -u postgres ").split()
        cluster.run(program, *(word for word in words if word != "--pwprompt"))  # trusted here: no password is asked
    url = f"postgresql+asyncpg://prefect@127.0.0.1:{cluster.port}/prefect"
    installation = Installation(tmp_path, {"home": str(tmp_path / "home"), "device": "cpu"})
    plain = installation.environment
    monkeypatch.setattr(installation, "environment", lambda: plain() | {"PREFECT_API_DATABASE_CONNECTION_URL": url})
    try:
        installation.start_server(by=typed("operations", "e2emern server"))
        installation.deploy(by=typed("operations", "e2emern deploy"))
        count = cluster.run(
            "psql", "--dbname", "prefect", "--tuples-only", "--command", "SELECT count(*) FROM deployment"
        )
        assert int(count) == len(installation.post("deployments/filter"))
    finally:
        installation.stop()
    note("Prefect's records in PostgreSQL")
