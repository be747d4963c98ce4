"""House rules: which package may import which, and limits for every module."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT = {
    "e2emern": {"e2emern", "tasks", "model", "warehouse", "defaults"},
    "flows": {"flows", "tasks", "model", "warehouse", "defaults"},
    "tasks": {"tasks", "model", "warehouse", "defaults"},
    "model": {"model", "defaults"},
    "warehouse": {"warehouse"},
    "experiments": {"experiments", "model", "defaults"},
    "defaults": {"defaults"},
}
MUST_NOT_IMPORT = {
    "model": {"prefect", "duckdb", "bioc", "syntok", "abbreviations"},
    "warehouse": {"torch", "transformers", "prefect"},
    "experiments": {"prefect", "duckdb", "bioc", "syntok", "abbreviations"},
}
INSTALLED = {"flows", "tasks", "model", "warehouse", "defaults"}
"""Folders that are sub-packages of `e2emern`."""
SUBFOLDERS_MAY_IMPORT: dict[str, set[str]] = {
    "model/inference": set(),
    "model/evaluation": {"model/inference"},
    "model/training": {"model/inference", "model/evaluation"},
    "tasks/parsers": set(),
    "tasks/exporters": {"tasks/parsers"},
    "tasks/ingest": {"tasks/parsers"},
    "tasks/mesh": {"tasks/parsers"},
    "tasks/training": {"tasks/parsers"},
    "tasks/evaluation": {"tasks/parsers", "tasks/training"},
    "warehouse/registry": set(),
    "warehouse/sources": set(),
    "warehouse/snapshots": {"warehouse/registry", "warehouse/sources"},
    "warehouse/mesh": {"warehouse/snapshots"},
    "warehouse/queries": {"warehouse/registry", "warehouse/snapshots", "warehouse/sources"},
    "flows/report": set(),
    "flows/explorer": set(),
    "flows/cli": {"flows/explorer", "flows/report"},
}
"""Which other subfolders of its package a subfolder may import, in an order that excludes circles."""

LONGEST_FILE, LONGEST_FUNCTION = 400, 60  # lines
MODULES = sorted(
    path.relative_to(ROOT)
    for package in [*MAY_IMPORT, "benchmarks", "tests"]
    for path in (ROOT / package).glob("*.py" if package == "e2emern" else "**/*.py")  # the rest of it are links
)
IN_PACKAGES = [path for path in MODULES if path.parts[0] in MAY_IMPORT]


@cache
def parsed(module: Path) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


@cache
def imported_modules(module: Path) -> set[str]:
    """All imports of a module, at the top or inside functions, each with the imported name.

    `e2emern.tasks`, the folder's name in the installed package, counts as `tasks`; every other name of the package is
    its public interface.
    """
    found: set[str] = set()
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(module.parts[: -node.level]) if node.level else ""
            found |= {".".join(filter(None, (package, node.module, alias.name))) for alias in node.names}
    below = {name: name.removeprefix("e2emern.") for name in found}
    return {short if short.split(".")[0] in INSTALLED else name for name, short in below.items()}


def imported(module: Path) -> set[str]:
    """The first part of the name of everything that a module imports."""
    return {name.split(".")[0] for name in imported_modules(module)}


def test_our_folders_are_imported_from_the_package() -> None:
    """Without the prefix, a module would be loaded twice, and `tasks` may belong to another project."""
    wrong = set()
    for module in MODULES:
        for node in ast.walk(parsed(module)):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            wrong |= {(module, name) for name in named if name.split(".")[0] in INSTALLED}
    assert wrong == set()


def test_every_package_is_checked() -> None:
    assert {path.parts[0] for path in IN_PACKAGES} == set(MAY_IMPORT)


def test_imports_go_one_way() -> None:
    ours = {*MAY_IMPORT, "benchmarks", "tests"}
    wrong = {module: imported(module) & ours - MAY_IMPORT[module.parts[0]] for module in IN_PACKAGES}
    assert {module: names for module, names in wrong.items() if names} == {}


def test_packages_do_not_import_libraries_of_others() -> None:
    wrong = {module: imported(module) & MUST_NOT_IMPORT.get(module.parts[0], set()) for module in IN_PACKAGES}
    assert {module: names for module, names in wrong.items() if names} == {}


def test_subfolders_import_only_those_listed_before_them() -> None:
    packages = set(MAY_IMPORT) - {"e2emern"}  # it has only links
    folders = [folder for package in packages for folder in (ROOT / package).iterdir() if list(folder.glob("*.py"))]
    found = {str(folder.relative_to(ROOT)) for folder in folders}
    assert set(SUBFOLDERS_MAY_IMPORT) == found
    before: set[str] = set()
    for folder, others in SUBFOLDERS_MAY_IMPORT.items():
        assert others <= before, folder
        before.add(folder)


def test_imports_of_subfolders() -> None:
    for folder, allowed in SUBFOLDERS_MAY_IMPORT.items():
        for module in (module for module in MODULES if module.is_relative_to(folder)):
            names = {"/".join(name.split(".")[:2]) for name in imported_modules(module)}
            others = names & set(SUBFOLDERS_MAY_IMPORT) - {folder}
            assert {other for other in others if other.split("/")[0] == module.parts[0]} <= allowed, module


def test_no_function_is_longer_than_60_lines() -> None:
    lines = {
        f"{module.as_posix()}:{node.name}": node.end_lineno - node.lineno + 1
        for module in IN_PACKAGES
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    }
    assert {name: count for name, count in lines.items() if count > LONGEST_FUNCTION} == {}


def test_modules_without_a_model_do_not_import_torch() -> None:
    light = [
        f"e2emern.flows.{name}"
        for name in ("cli", "nightly", "backfill", "drift", "doctor", "prune", "explorer.server")
    ]
    code = f"import sys, {', '.join(light)}; print(sorted({{'torch', 'transformers'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_every_module_has_a_docstring() -> None:
    ours = [path for path in MODULES if path.parts[0] != "tests"]
    assert [module for module in ours if not ast.get_docstring(parsed(module))] == []


def test_no_file_is_longer_than_400_lines() -> None:
    lines = {module: len((ROOT / module).read_text(encoding="utf-8").splitlines()) for module in MODULES}
    assert {module: count for module, count in lines.items() if count > LONGEST_FILE} == {}


def test_imports_inside_functions_and_of_submodules_are_seen(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("import a.b\nfrom c.d import e\ndef f():\n    import g as h\n", encoding="utf-8")
    assert imported(module) == {"a", "c", "g"}


def test_each_deployed_file_explains_how_to_run_it() -> None:
    """Its docstring has the command, with parameters that the flow has."""
    for deployed in yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))["deployments"]:
        module, flow = deployed["entrypoint"].rsplit(".", 1)
        path = module.removeprefix("e2emern.").replace(".", "/")
        tree = ast.parse((ROOT / f"{path}.py").read_text("utf-8"))
        text = " ".join((ast.get_docstring(tree) or "").split())
        assert f"prefect deployment run {deployed['name']}/{deployed['name']}" in text
        (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == flow]
        assert set(re.findall(r"--param '?(\w+)=", text)) <= {one.arg for one in function.args.args}
