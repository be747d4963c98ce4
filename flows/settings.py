"""What an installation is told once: where its tables are, what it fetches, what it annotates with.

Read where a flow runs, so that each host may have its own: from the environment (`E2EMERN_HOME`), then from the TOML
file that `E2EMERN_CONFIG` names (`home = "/data/home"`). A parameter of a flow run goes before both.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from tasks.errors import InputError

CONFIG = "E2EMERN_CONFIG"
"""The variable that names the TOML file."""

Device = Literal["auto", "cpu", "cuda"]
"""Where the model runs; `auto` is cuda where there is one."""


def _absolute(path: Path) -> Path:
    """Refuse a path that would mean another folder in every process: workers run each flow in a folder of its own."""
    if not path.is_absolute():
        raise ValueError(f"found {str(path)!r}, expected an absolute path")
    return path


def _words(given: object) -> object:
    return given.split() if isinstance(given, str) else given


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Words = Annotated[list[Annotated[str, Field(min_length=1)]], NoDecode, BeforeValidator(_words)]


class Settings(BaseSettings):
    """The settings of an installation; docs/settings.md lists them."""

    model_config = SettingsConfigDict(env_prefix="E2EMERN_", env_ignore_empty=True, extra="forbid")

    home: AbsolutePath = Field(description="Folder of the tables; absolute, the same on every host.")
    sources: Words = Field(
        default=["https://ftp.ncbi.nlm.nih.gov/pubmed/updatefiles/"],
        min_length=1,
        description="What a night fetches: folders, or addresses of HTTP listings; in the environment between spaces.",
    )
    pattern: str = Field(default="*.xml.gz", description="Which files of the sources.")
    model: str | None = Field(
        default=None,
        description="Version of a model in the home, or a model folder; without it that of the tables.",
    )
    mesh: str | None = Field(
        default=None, description="Version of MeSH in the home, or an entities table; without it that of the tables."
    )
    device: Device = Field(default="auto", description="Where the model runs; `auto` is cuda where there is one.")
    batch: int = Field(default=8, ge=1, description="Sources that one flow run annotates, loading the model once.")
    poll: float = Field(default=10.0, gt=0, description="Seconds between two looks at the batches under way.")
    patience: float = Field(
        default=300.0, gt=0, description="Seconds after which a batch that a worker took and never began is lost."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Returns the sources in their order: what is given, the environment, the TOML file."""
        config = os.environ.get(CONFIG)
        file = (TomlConfigSettingsSource(settings_cls, Path(config)),) if config else ()
        return (init_settings, env_settings, *file)


def read_settings(**given: Any) -> Settings:
    """Returns the settings; those given that are not None go before all others.

    Raises InputError where the TOML file cannot be read, and where a setting is unknown, missing or of another form.
    """
    config = os.environ.get(CONFIG)
    if config and not Path(config).is_file():
        raise InputError(f"{CONFIG}: {config}: no such file")
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{config}: is no TOML file ({error})") from error
    except ValidationError as error:
        raise InputError("; ".join(_told(one["loc"], one["type"], one["msg"]) for one in error.errors())) from error


def _told(place: Sequence[int | str], kind: str, message: str) -> str:
    name = str(place[0])
    if kind == "missing":
        return f"no {name}; set E2EMERN_{name.upper()}, or {name} in the file that {CONFIG} names"
    if kind == "extra_forbidden":
        return f"unknown setting {name}: expected one of {', '.join(Settings.model_fields)}"
    return f"setting {name}: {message.removeprefix('Value error, ')}"
