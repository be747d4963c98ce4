"""The settings of an installation: the folder of the tables, the files to fetch, the model and the vocabulary.

They are read in the process of the flow run, so each host may have its own: first from the environment
(`E2EMERN_HOME`), then from the TOML file that `E2EMERN_CONFIG` names (`home = "/data/home"`). The parameters of a flow
run override both.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from e2emern.flows.deployments import DeploymentChanges
from e2emern.tasks.errors import InputError
from e2emern.tasks.evaluation.drift import DriftLimits
from e2emern.tasks.ingest.addresses import check_address
from e2emern.tasks.retention import Retention
from e2emern.warehouse.snapshots.publish_gate import Limits

CONFIG = "E2EMERN_CONFIG"
"""The variable that names the TOML file."""

Device = Literal["auto", "cpu", "cuda"]
"""Where the model runs; `auto` is cuda if available."""


def _absolute(path: Path) -> Path:
    """Refuse a relative path: each flow runs in its own folder, so the path would mean another folder in each run."""
    if not path.is_absolute():
        raise ValueError(f"found {str(path)!r}, expected an absolute path")
    return path


def _words(given: object) -> object:
    return given.split() if isinstance(given, str) else given


def _without_password(source: str) -> str:
    try:
        check_address(source)
    except InputError as error:
        raise ValueError(str(error)) from error
    return source


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
SourceAddress = Annotated[
    str,
    Field(min_length=1, json_schema_extra={"pattern": r"^(?!\w[\w+.-]*:/+.*@)"}),  # refused before it is stored
    AfterValidator(_without_password),
]
Words = Annotated[list[SourceAddress], NoDecode, BeforeValidator(_words)]


class Settings(BaseSettings):
    """The settings of an installation; docs/settings.md lists them."""

    model_config = SettingsConfigDict(env_prefix="E2EMERN_", env_ignore_empty=True, extra="forbid")

    home: AbsolutePath = Field(description="Folder of the tables; an absolute path, the same on every host.")
    sources: Words = Field(
        default=["https://ftp.ncbi.nlm.nih.gov/pubmed/updatefiles/"],
        min_length=1,
        description="What a night fetches: folders, or URLs of HTTP listings; separated by spaces in the environment.",
    )
    pattern: str = Field(default="*.xml.gz", description="Which files of the sources to fetch.")
    max_gb: float = Field(default=10.0, gt=0, description="Largest file to fetch, in GB.")
    model: str | None = Field(
        default=None,
        description="Version of a model in the home, or a model folder; default: that of the current snapshot.",
    )
    mesh: str | None = Field(
        default=None,
        description="Version of MeSH in the home, or an entities table; default: that of the current snapshot.",
    )
    recipe: str | None = Field(
        default=None,
        description="Recipe of `retrain`: a TOML file, or the name of a bundled one; default: `continue`.",
    )
    data: AbsolutePath | None = Field(
        default=None, description="Folder of the gold files that the recipe names, for `retrain`."
    )
    gold: Annotated[list[str], NoDecode, BeforeValidator(_words)] = Field(
        default=[],
        description="Gold files that judge challengers, besides corrections; separated by spaces in the environment.",
    )
    max_hours: float | None = Field(
        default=None,
        gt=0,
        description="Budget of the training of `retrain`, which ends after the last epoch that fits; none by default.",
    )
    explorer: Annotated[SourceAddress, Field(pattern="^https?://")] | None = Field(
        default=None, description="Address at which readers reach the explorer; artifacts of runs link to it."
    )
    device: Device = Field(
        default="auto", description="Where the model runs on this host; `auto` is cuda if there is a GPU."
    )
    processes: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = Field(
        default=1,
        description="Processes of a worker that run the model, each with its own memory; `auto`: one per core.",
    )
    batch: int = Field(
        default=10_000,
        ge=1,
        description="Records that one flow run annotates with one load of the model, estimated from file sizes. "
        "A larger file is split into parts of this many documents. A killed worker loses at most its current part.",
    )
    poll: float = Field(default=10.0, gt=0, description="Seconds between two checks of unfinished batches.")
    patience: float = Field(
        default=300.0,
        gt=0,
        description="Seconds until a batch that a worker took but did not start is sent again; doubled each time.",
    )
    unlocked: float = Field(
        default=60.0,
        gt=0,
        description="Seconds without a lock on its sources after which a running batch is considered lost.",
    )

    publish_every: float = Field(
        default=1.0,
        gt=0,
        description="Hours until an unfinished night publishes what is done, so that a first load can be queried.",
    )
    drift: DriftLimits = Field(default=DriftLimits(), description="Limits of drift; a table (`DriftLimits`).")
    publishing: Limits = Field(default=Limits(), description="Limits of the publish gate; a table (`Limits`).")
    retention: Retention = Field(
        default=Retention(), description="How long each kind of data is kept; a table, see [retention](retention.md)."
    )
    deployments: dict[str, DeploymentChanges] = Field(
        default={}, description="Changes to the bundled deployments; tables that `deploy` and `check` read."
    )

    ncbi_url: SourceAddress = Field(
        default="https://eutils.ncbi.nlm.nih.gov/entrez/eutils/", description="E-utilities, for `annotate --pmids`."
    )
    ncbi_api_key: SecretStr | None = Field(
        default=None, description="NCBI API key, for ten requests a second instead of three."
    )
    ncbi_email: str | None = Field(
        default=None, description="Your e-mail address: NCBI writes to it before blocking you."
    )

    def in_force(self) -> str:
        """Return the settings that differ from the defaults, in one line; the values of secrets are hidden."""
        given = {name: getattr(self, name) for name in type(self).model_fields if name != "deployments"}
        fields = type(self).model_fields
        return ", ".join(f"{name} = {value}" for name, value in given.items() if value != fields[name].default)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources by precedence: the arguments, the environment, the TOML file."""
        config = os.environ.get(CONFIG)
        file = (TomlConfigSettingsSource(settings_cls, Path(config)),) if config else ()
        return (init_settings, env_settings, *file)


def read_settings(**given: Any) -> Settings:
    """Return the settings; arguments that are not None override the environment and the TOML file.

    Raises InputError if the TOML file cannot be read, or if a setting is unknown, missing or invalid.
    """
    config = os.environ.get(CONFIG)
    if config and not Path(config).is_file():
        raise InputError(f"{CONFIG}: {config}: no such file")
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{config}: not a TOML file ({error})") from error
    except ValidationError as error:
        raise InputError("; ".join(_line(one["loc"], one["type"], one["msg"]) for one in error.errors())) from error


def _line(place: Sequence[int | str], kind: str, message: str) -> str:
    name = ".".join(str(part) for part in place if not isinstance(part, int))
    if kind == "missing":
        return f"no {name}; set E2EMERN_{name.upper()}, or {name} in the file that {CONFIG} names"
    if kind == "extra_forbidden" and name == place[0]:
        return f"unknown setting {name}: expected one of {', '.join(Settings.model_fields)}"
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown setting {name}"
    return f"setting {name}: {message.removeprefix('Value error, ')}"
