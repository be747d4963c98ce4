"""The files of deploy/: units, image, Kubernetes. What cannot run here is rendered and compared with the code."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.server.api import collections_data
from prefect.utilities.templating import apply_values

from e2emern.flows.settings import Settings
from tests.conftest import ROOT
from tests.pages import typed

DEPLOY = ROOT / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))
IMAGE = (DEPLOY / "Dockerfile").read_text("utf-8")
ITEMS: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text("utf-8"))["items"]
POOL: dict[str, Any] = json.loads((DEPLOY / "kubernetes-pool.json").read_text("utf-8"))
PREFECT_WORKERS = Path(collections_data.__path__[0]) / "views" / "aggregate-worker-metadata.json"
TORCH = next(
    line for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines() if line.startswith("torch==")
)


def test_there_are_units() -> None:
    assert len(UNITS) == 4


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs the Debian package systemd")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_scores_3_of_10_or_better(unit: Path) -> None:
    """`systemd-analyze security` rates exposure from 0 to 10; above the threshold it exits with 1."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=30", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_is_made_of_what_is_in_the_clone_by_the_steps_of_make_install() -> None:
    python = re.search(r"^FROM python:(\S+)-slim$", IMAGE, re.MULTILINE)
    assert python is not None
    assert f'requires-python = ">={python[1]}"' in (ROOT / "pyproject.toml").read_text("utf-8")
    copied = [source for line in re.findall(r"^COPY (.*)$", IMAGE, re.MULTILINE) for source in line.split()[:-1]]
    assert [(ROOT / source).exists() for source in copied] == [True, True]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for flags in ("--requirement requirements.lock", "--no-deps --no-build-isolation"):
        assert flags in IMAGE
        assert flags in makefile
    variables = dict(re.findall(r"(\w+)=(\S+)", IMAGE[IMAGE.index("ENV ") :]))
    env = dict(line.split("=", 1) for line in (DEPLOY / "prefect.env").read_text("utf-8").splitlines() if "=" in line)
    shared = {name for name in variables if name in env}
    assert shared == {"PREFECT_HOME", "PREFECT_SERVER_EPHEMERAL_ENABLED", "PREFECT_SERVER_ANALYTICS_ENABLED"}
    assert {name: variables[name] for name in shared} == {name: env[name] for name in shared}
    assert Settings.model_fields.keys() >= {name.removeprefix("E2EMERN_").lower() for name in variables} - {
        name.lower() for name in shared
    }
    assert executable(json.loads(IMAGE[IMAGE.index("CMD ") + 4 :].strip()))


def test_the_image_leaves_out_what_it_does_not_need_and_keeps_what_is_installed() -> None:
    left_out = [line for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[0] != "#"]
    linked = {path.resolve().name for path in (ROOT / "e2emern").iterdir() if path.is_symlink()}
    assert linked == {"defaults", "deploy", "flows", "model", "prefect.yaml", "tasks", "warehouse"}
    assert {*linked, "e2emern", "pyproject.toml", "requirements.lock", "README.md", "LICENSE"}.isdisjoint(left_out)
    assert {".*", "home", "build", "tests"} <= set(left_out)  # secrets and tables among them


def executable(words: list[str]) -> bool:
    """Whether a command of a container exists: a module of ours, or an entry point of this project or of Prefect."""
    if words[:2] == ["python", "-m"]:
        return importlib.util.find_spec(words[2]) is not None
    scripts = [one.name for name in ("e2emern", "prefect") for one in distribution(name).entry_points]
    return words[0] in scripts


def containers() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each container of the manifests, with the specification of its pod."""
    pods = [item["spec"]["template"]["spec"] for item in ITEMS if item["kind"] == "Deployment"]
    return [(one, pod) for pod in pods for one in (*pod.get("initContainers", []), *pod["containers"])]


def names(kind: str) -> set[str]:
    return {item["metadata"]["name"] for item in ITEMS if item["kind"] == kind}


def test_every_container_of_kubernetes_has_a_command_an_image_and_what_it_mounts() -> None:
    assert len(containers()) == 5
    for one, pod in containers():
        assert executable(one["args"]), one["args"]
        assert one["image"] == "e2emern"
        assert one["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert pod["securityContext"]["runAsUser"] == int(re.findall(r"--uid (\d+)", IMAGE)[0])
        assert {mount["name"] for mount in one["volumeMounts"]} <= {volume["name"] for volume in pod["volumes"]}
        check_names(pod, one)


def check_names(pod: dict[str, Any], container: dict[str, Any]) -> None:
    """Check that claims, maps and secrets are among those of the manifests, or made by the command at their top."""
    for volume in pod["volumes"]:
        claim, settings = volume.get("persistentVolumeClaim"), volume.get("configMap")
        assert (
            (claim["claimName"] in names("PersistentVolumeClaim")) if claim else settings["name"] in names("ConfigMap")
        )
    for given in container["envFrom"]:
        secret = given.get("secretRef")
        assert secret == {"name": "e2emern"} if secret else given["configMapRef"]["name"] in names("ConfigMap")
    assert "kubectl create secret generic e2emern " in (DEPLOY / "kubernetes.yaml").read_text("utf-8")


def test_kubernetes_serves_the_queues_and_reads_settings_that_exist() -> None:
    served = [re.findall(r"--work-queue (\S+)", " ".join(one["args"])) for one, _ in containers()]
    assert [queues for queues in served if queues] == [["default"], ["annotate", "backfill"], ["train"]]
    maps = {item["metadata"]["name"]: item["data"] for item in ITEMS if item["kind"] == "ConfigMap"}
    (server,) = names("Service")
    assert maps["e2emern-environment"]["PREFECT_API_URL"] == f"http://{server}:4200/api"
    file = Path(maps["e2emern-environment"]["E2EMERN_CONFIG"])
    settings = Settings(**tomllib.loads(maps["e2emern"][file.name]))
    mounts = {mount["mountPath"] for one, _ in containers() for mount in one["volumeMounts"]}
    assert {str(file.parent), str(settings.home.parent)} <= mounts


def test_the_template_of_a_kubernetes_pool_renders_a_job_and_lets_no_run_choose_its_command() -> None:
    """Rendered as Prefect does; compared with the template that Prefect's server lists for pools of this type."""
    listed = json.loads(PREFECT_WORKERS.read_text("utf-8"))["prefect-kubernetes"]["kubernetes"]
    default = listed["default_base_job_configuration"]
    assert POOL["job_configuration"].keys() <= default["job_configuration"].keys()
    assert {"command", "env"}.isdisjoint(POOL["variables"]["properties"])
    used = set(re.findall(r"{{ (\w+) }}", json.dumps(POOL["job_configuration"])))
    assert used == POOL["variables"]["properties"].keys()

    defaults = {name: one["default"] for name, one in POOL["variables"]["properties"].items() if "default" in one}
    job = apply_values(POOL["job_configuration"], defaults | {"name": "nightly"})["job_manifest"]
    theirs = default["job_configuration"]["job_manifest"]
    assert (job["apiVersion"], job["kind"]) == (theirs["apiVersion"], theirs["kind"])
    pod = job["spec"]["template"]["spec"]
    assert pod.keys() >= {"parallelism", "completions", "restartPolicy", "containers"}  # Prefect's worker wants them
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": 0}
    assert container["image"] == "e2emern"
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    check_names(pod, container)


@pytest.mark.parametrize(
    ("command", "build"),
    [
        (typed("deployment", "make torch BUILD=cu130"), "cu130"),
        (typed("deployment", "make torch BUILD=cpu"), "cpu"),
    ],
)
def test_make_torch_chooses_the_build_of_the_locked_version(tmp_path: Path, command: str, build: str) -> None:
    """Among empty wheels, pip chooses the wanted build, not the newer release, nor another build."""
    for folder, version in (
        ("pypi", TORCH.removeprefix("torch==")),
        ("pypi", "99.0"),
        (f"whl/{build}", f"{TORCH.removeprefix('torch==')}+{build}"),
        (f"whl/{build}", f"99.0+{build}"),
    ):
        write_wheel(tmp_path / folder / "torch", version)
    settings = [f"TORCH_INDEX=file://{tmp_path}/whl", "INSTALLED=/", "BIN=/venv/bin"]
    printed = [*shlex.split(command), "--no-print-directory", "--dry-run", *settings]
    made = subprocess.run(printed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    pip = made[made.index("/venv/bin/pip") :].replace("/venv/bin/pip", f"{sys.executable} -m pip --isolated")
    pip = pip.replace("--quiet", f"--no-deps --dry-run --ignore-installed --index-url file://{tmp_path}/pypi")
    done = subprocess.run(["sh", "-c", pip], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"Would install {TORCH.replace('==', '-')}+{build}\n" in done.stdout


def write_wheel(folder: Path, version: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"torch-{version}.dist-info"
    with zipfile.ZipFile(folder / f"torch-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        wheel.writestr(f"{name}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}/RECORD", "")
    links = "".join(f'<a href="{wheel.name.replace("+", "%2B")}">{wheel.name}</a>\n' for wheel in folder.glob("*.whl"))
    (folder / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")
