"""A built wheel holds what the packages need: their types, queries, recipes and sample."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.conftest import ROOT

PACKAGES = ("flows", "tasks", "model", "warehouse", "defaults")
LARGE = ("*.safetensors", "*.parquet", "__pycache__")  # slow to pack


def test_a_wheel_declares_types_and_holds_the_data(tmp_path: Path) -> None:
    """pyproject.toml named py.typed, and there was none."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "e2emern", source / "e2emern", ignore=shutil.ignore_patterns(*LARGE))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    built = subprocess.run([*build, "--wheel-dir", tmp_path, source], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    assert {f"e2emern/{name}/py.typed" for name in PACKAGES} <= packed
    assert {name.split("/")[0] for name in packed if ".dist-info/" not in name} == {"e2emern"}
    shipped = {path.relative_to(source).as_posix() for path in (source / "e2emern").rglob("*")}
    assert {name for name in shipped if (source / name).is_file()} <= packed
