"""The settings of an installation: their sources, the errors of wrong ones, and the page that lists them.

`python -m tests.flows.test_settings` rewrites the table of docs/settings.md.
"""

from __future__ import annotations

import re
from dataclasses import asdict, is_dataclass
from pathlib import Path

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import ValidationError, validate

from e2emern.flows.nightly import nightly
from e2emern.flows.settings import Settings, read_settings
from e2emern.tasks.errors import InputError
from e2emern.tasks.evaluation.drift import DriftLimits
from e2emern.warehouse.snapshots.publish_gate import Limits
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "settings.md"
TABLE = re.compile(r"(?<=<!-- settings -->\n\n).*?(?=\n\n<!-- /settings -->)", re.DOTALL)


def settings_table() -> str:
    lines = ["| TOML | environment | default | |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "must be given" if field.is_required() else f"`{field.default}`"
        if field.default in (None, {}):
            default = ""
        if is_dataclass(field.default):
            default = ", ".join(f"`{key} = {value}`" for key, value in asdict(field.default).items())
        lines.append(f"| `{name}` | `E2EMERN_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFIG", *(name.upper() for name in Settings.model_fields)):
        monkeypatch.delenv(f"E2EMERN_{name}", raising=False)


def test_the_page_lists_them() -> None:
    found = TABLE.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    assert found.group() == settings_table()


def test_arguments_override_the_environment_which_overrides_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "e2emern.toml"
    file.write_text('home = "/file"\nsources = ["/a", "/b"]\ndevice = "cpu"\nbatch = 3\n')
    monkeypatch.setenv("E2EMERN_CONFIG", str(file))
    monkeypatch.setenv("E2EMERN_HOME", "/environment")
    monkeypatch.setenv("E2EMERN_BATCH", "4")
    monkeypatch.setenv("E2EMERN_MODEL", "")
    found = read_settings(batch=5, device=None)
    assert (found.home, found.sources, found.device, found.batch) == (Path("/environment"), ["/a", "/b"], "cpu", 5)
    assert (found.model, found.pattern) == (None, "*.xml.gz")
    assert read_settings(ncbi_api_key="s3cret").in_force() == (
        "home = /environment, sources = ['/a', '/b'], device = cpu, batch = 4, ncbi_api_key = **********"
    )
    file.write_text('home = "/file"\n[drift]\nvolume = 9.0\n[publishing]\nunlinked = 0.5\n')
    assert (read_settings().drift, read_settings().publishing) == (DriftLimits(volume=9.0), Limits(unlinked=0.5))
    monkeypatch.setenv("E2EMERN_SOURCES", "/c  https://example.org/dumps/")
    assert read_settings().sources == ["/c", "https://example.org/dumps/"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no home; set E2EMERN_HOME, or home in the file that E2EMERN_CONFIG names"),
        ('home = "here"', "setting home: found 'here', expected an absolute path"),
        ('home = "/h"\nbatch = 0', "setting batch: Input should be greater than or equal to 1"),
        ('home = "/h"\ndevice = "tpu"', "setting device: Input should be 'auto', 'cpu' or 'cuda'"),
        ('home = "/h"\nsources = [""]', "setting sources: String should have at least 1 character"),
        (
            'home = "/h"\nsources = ["/a", "https://me:s3cret@h/a/"]',
            "setting sources: https://h/a/: an address with a user name or password is refused, since it would be "
            "kept in logs; write them into ~/.netrc: machine HOST login NAME password PASSWORD",
        ),
        ('home = "/h"\nmax_gb = 0', "setting max_gb: Input should be greater than 0"),
        ('home = "/h"\n[drift]\nvolumes = 1', "unknown setting drift.volumes"),
        ('home = "/h"\n[publishing]\nunlinked = "x"', "setting publishing.unlinked: Input should be a valid number, "),
        ('home = "/h"\nsources = []', "setting sources: List should have at least 1 item after validation, not 0"),
    ],
)
def test_wrong_ones_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "e2emern.toml"
    file.write_text(text)
    monkeypatch.setenv("E2EMERN_CONFIG", str(file))
    with pytest.raises(InputError) as raised:
        read_settings()
    assert str(raised.value).startswith(message)


def test_an_address_with_a_password_is_refused_before_a_run_is_stored() -> None:
    """The server of Prefect checks parameters against this schema before it creates a flow run."""
    schema = parameter_schema(nightly).model_dump_for_openapi()
    validate({"sources": ["https://host/a%40b/", "/mnt/a@b"]}, schema, raise_on_error=True)
    with pytest.raises(ValidationError):
        validate({"sources": ["https://me:s3cret@host/"]}, schema, raise_on_error=True)


def test_unknown_settings_and_invalid_files_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "e2emern.toml"
    monkeypatch.setenv("E2EMERN_CONFIG", str(file))
    with pytest.raises(InputError, match=rf"^E2EMERN_CONFIG: {file}: no such file$"):
        read_settings()
    file.write_text('home = "/h"\nhoem = "/h"')
    with pytest.raises(InputError, match=r"^unknown setting hoem: expected one of home, sources, "):
        read_settings()
    file.write_text("home = ")
    with pytest.raises(InputError, match=rf"^{file}: not a TOML file \(Invalid value"):
        read_settings()
    file.write_bytes(b"\xff\xfeh")
    with pytest.raises(InputError, match=rf"^{file}: not a TOML file \('utf-8' codec can't decode"):
        read_settings()


if __name__ == "__main__":
    PAGE.write_text(TABLE.sub(lambda _: settings_table(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
