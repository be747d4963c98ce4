"""A built wheel holds what the packages need, and works in a project that has modules of the same names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("flows", "tasks", "model", "warehouse", "defaults")
LARGE = ("*.safetensors", "*.parquet", "__pycache__")  # slow to pack


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel is built from, without the large files."""
    folder = tmp_path_factory.mktemp("wheel") / "source"
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "e2emern", folder / "e2emern", ignore=shutil.ignore_patterns(*LARGE))
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    built = subprocess.run([*build, "--wheel-dir", source.parent, source], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (made,) = source.parent.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with only the wheel installed, and links to the large files that it was built without."""
    target = tmp_path_factory.mktemp("installed")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", target, wheel]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for pattern in LARGE[:2]:
        for file in (ROOT / "e2emern" / "defaults").rglob(pattern):
            (target / file.relative_to(ROOT)).symlink_to(file)
    return target


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python on the installed wheel in the folder of a project that has modules of our folders' names."""
    (tmp_path / "model.py").write_text("NAME = 'their model'\n")
    for name in ("tasks", "flows", "warehouse", "defaults"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"NAME = 'their {name}'\n")

    def in_project(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(installed)])}
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)

    return in_project


def test_a_wheel_declares_types_and_holds_the_data(source: Path, wheel: Path) -> None:
    """Cause: pyproject.toml named py.typed, but the file was missing."""
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    assert {f"e2emern/{name}/py.typed" for name in PACKAGES} <= packed
    assert {"e2emern/py.typed", "e2emern/prefect.yaml", "e2emern/deploy/e2emern-server.service"} <= packed
    assert {name.split("/")[0] for name in packed if ".dist-info/" not in name} == {"e2emern"}
    shipped = {path.relative_to(source).as_posix() for path in (source / "e2emern").rglob("*")}
    assert {name for name in shipped if (source / name).is_file()} <= packed


def test_an_installed_wheel_works_next_to_modules_of_the_same_names(
    run: Callable[..., subprocess.CompletedProcess[str]], installed: Path
) -> None:
    """Cause: `tasks` and `model` were top-level packages, in conflict with a project's own `model.py`."""
    code = """
import sys, e2emern, model, tasks, flows, warehouse, defaults
print(e2emern.__file__, e2emern.__version__)
print(model.NAME, tasks.NAME, flows.NAME, warehouse.NAME, defaults.NAME)
doc = e2emern.load(device="cpu")("Aspirin relieves headache.")
print([(mention.text, mention.mesh_id) for mention in doc.mentions])
try:
    e2emern.open_home("home")
except e2emern.Error as error:
    print(error)
"""
    done = run("-c", code)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"{installed / 'e2emern' / '__init__.py'} {version}",
        "their model their tasks their flows their warehouse their defaults",
        "[('Aspirin', 'D001241'), ('headache', 'D006261')]",
        "home does not exist; annotate something into it first",
    ]


def test_the_installed_command_needs_no_clone(
    run: Callable[..., subprocess.CompletedProcess[str]], installed: Path, tmp_path: Path
) -> None:
    command = installed / "bin" / "e2emern"
    assert run(command, "--version").stdout.startswith("e2emern ")
    done = run(command, "deploy", "--copy", tmp_path / "own")
    assert done.stderr.splitlines()[0] == f"e2emern: wrote {tmp_path / 'own' / 'prefect.yaml'}"
    assert (tmp_path / "own" / "prefect.yaml").read_bytes() == (ROOT / "prefect.yaml").read_bytes()
    assert len(list((tmp_path / "own").glob("*.service"))) == 4
