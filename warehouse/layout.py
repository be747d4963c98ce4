"""Define the path of every file in a home, and turn names into safe file names.

Names of sources, models and vocabularies may come from a download, so none is used as a path unchanged. Everything
except ASCII letters, digits, `_`, `-` and inner dots is percent-encoded (RFC 3986). A long name is cut and ends with
`~` and a digest of the whole name. Two names never give the same file name.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from e2emern.warehouse.errors import NameRefusedError, WarehouseError

CHECKSUMS = frozenset({".md5", ".sha256"})
"""Suffixes of checksum files, which lie in the folder of the dumps but are not dumps."""
LONGEST_NAME = 120  # bytes; file systems allow 255, and digests and suffixes come after
_UNUSABLE = re.compile(r"[?\\\x00-\x1f\x7f]")
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")  # what percent-encoding leaves as it is
_DIGEST = re.compile(r"[0-9a-f]{16}(-[1-9][0-9]*)?\Z")


@dataclass(frozen=True, slots=True, order=True)
class SourceKey:
    """One input file: its name and its digest.

    The digest is the first 16 hex digits of the SHA-256 of the file (`digest_file`). For a dump file, `-` and the
    version of the parser (`tasks.parsers.version`) follow: another parser may make other rows from the same file, so
    its rows are another version of the source, with files of their own.

    Raises `NameRefusedError` for a name that is empty, has a NUL or is not valid Unicode, and for a malformed
    digest.
    """

    name: str
    digest: str

    def __hash__(self) -> int:
        return hash(self.name)  # the generated method is slower, and a nightly run needs many hashes

    def __post_init__(self) -> None:
        file_name(self.name)
        if not _DIGEST.match(self.digest):
            raise NameRefusedError(
                f"digest of source {self.name!r}: found {self.digest!r}, expected 16 lower-case hex digits, "
                "optionally with - and the version of the parser"
            )

    @property
    def content(self) -> str:
        """The digest of the file, without the version of the parser."""
        return self.digest.partition("-")[0]

    @property
    def parser(self) -> int | None:
        """The version of the parser that read the file, None for a file that is not a dump file."""
        return int(self.digest.partition("-")[2] or 0) or None

    @property
    def stem(self) -> str:
        """Name of the source's files without suffix; unique for every key."""
        return f"{file_name(self.name)}.{self.digest}"


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of model and vocabulary: with a source, the key of its mentions."""

    model: str
    mesh: str

    @property
    def columns(self) -> dict[str, str]:
        """The columns of every mention that hold these versions."""
        return {"model_version": self.model, "mesh_version": self.mesh}

    @property
    def folder(self) -> str:
        """Name of the folder of the files of these versions."""
        return f"{file_name(self.model)}@{file_name(self.mesh)}"

    def __str__(self) -> str:
        return f"{self.model}@{self.mesh}"


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds all tables, models and snapshots. Returns paths; creates no files.

    Raises `NameRefusedError` for a path that DuckDB cannot open: it takes `\\` as a separator of folders, and what
    follows `?` as an option.
    """

    root: Path

    def __post_init__(self) -> None:
        path = os.fsencode(self.root.absolute()).decode("utf-8", "backslashreplace")
        if _UNUSABLE.search(path):
            raise NameRefusedError(
                f"home {path!r}: its path must not contain '?', backslashes, control characters or bytes that are not "
                "UTF-8, since DuckDB cannot open it; choose another folder"
            )

    def __str__(self) -> str:
        return str(self.root)

    def check(self) -> None:
        """Check that the folder exists. Raises `WarehouseError` if not."""
        if not self.root.is_dir():
            if self.root.exists():
                raise WarehouseError("is a file; expected the folder of the tables", path=self.root)
            raise WarehouseError("does not exist; annotate something into it first", path=self.root)

    @property
    def format(self) -> Path:
        """The file that names the format of the home (`warehouse.home_format`)."""
        return self.root / "format.json"

    def documents(self, key: SourceKey) -> Path:
        """Path of the documents of a source."""
        return self.root / "documents" / f"{key.stem}.parquet"

    def deletions(self, key: SourceKey) -> Path:
        """Path of the deletions of a source."""
        return self.root / "deletions" / f"{key.stem}.parquet"

    def failures(self, key: SourceKey) -> Path:
        """Path of the records of a source that parsing could not use; the same for every model."""
        return self.root / "failures" / f"{key.stem}.parquet"

    def unread(self, key: SourceKey, versions: Versions) -> Path:
        """Path of the documents of a source that one model could not read."""
        return self.root / "failures" / versions.folder / f"{key.stem}.parquet"

    def mentions_folder(self, versions: Versions) -> Path:
        """Folder of the mentions that one model linked to one vocabulary."""
        return self.root / "mentions" / versions.folder

    def mentions_folders(self, model: str) -> list[Path]:
        """Folders of the mentions that a model found, for all vocabularies."""
        return sorted((self.root / "mentions").glob(f"{file_name(model)}@*/"))

    def mentions(self, key: SourceKey, versions: Versions) -> Path:
        """Path of the mentions of a source. The file is written last: when it exists, the source is done."""
        return self.mentions_folder(versions) / f"{key.stem}.parquet"

    def files(self, key: SourceKey, versions: Versions) -> dict[str, str]:
        """Paths of the files of a source by kind, relative to the home, as strings: a snapshot names thousands."""
        file, of_model = f"{key.stem}.parquet", versions.folder
        return {
            "documents": f"documents/{file}",
            "mentions": f"mentions/{of_model}/{file}",
            "failures": f"failures/{file}",
            "unread": f"failures/{of_model}/{file}",
            "deletions": f"deletions/{file}",
        }

    def parts(self, key: SourceKey, versions: Versions) -> Path:
        """Folder of the mentions of the finished parts of a large source, until the whole source is done."""
        return self.root / "parts" / versions.folder / key.stem

    def claim(self, key: SourceKey, versions: Versions, of: str = "") -> Path:
        """Path of the file that a worker locks while it annotates a source, or the part of it that `of` names."""
        return self.mentions_folder(versions) / f".claim-{key.stem}{of and f'~{of}'}"

    def compacted(self, path: str, group: str) -> str:
        """Path of the merged file of a group that includes `path`, a file of a source or of an earlier group.

        Both are relative to the home.
        """
        folder = path.removeprefix("compacted/").rpartition("/")[0]
        return f"compacted/{folder}/{group}.parquet"

    def entities(self, mesh_version: str) -> Path:
        """Path of the vocabulary."""
        return self.root / "entities" / f"{file_name(mesh_version)}.parquet"

    def entity_tree(self, mesh_version: str) -> Path:
        """Path of the table of ancestors of every concept in the vocabulary."""
        return self.root / "entities" / f"{file_name(mesh_version)}~tree.parquet"

    def entity_failures(self, mesh_version: str) -> Path:
        """Path of the records that the import of the vocabulary could not use; absent if there were none."""
        return self.root / "entities" / f"{file_name(mesh_version)}~failures.parquet"

    def model(self, model_version: str) -> Path:
        """Folder of a model."""
        return self.root / "models" / file_name(model_version)

    def run(self, run_id: str) -> Path:
        """Path of the record of a run."""
        return self.root / "runs" / f"{file_name(run_id)}.json"

    def run_claim(self, run_id: str) -> Path:
        """Path of the file that a run locks until it ends."""
        return self.root / "runs" / f".claim-{file_name(run_id)}"

    def snapshot(self, number: int) -> Path:
        """Path of a snapshot."""
        return self.root / "snapshots" / f"{number}.duckdb"

    @property
    def dumps(self) -> Path:
        """Folder into which `ingest` downloads dump files."""
        return self.root / "dumps"

    @property
    def corrections(self) -> Path:
        """Folder of the corrected documents, to be trained on."""
        return self.root / "corrections"

    @property
    def to_correct(self) -> Path:
        """Folder of the documents that are worth correcting."""
        return self.root / "to-correct"

    @property
    def training(self) -> Path:
        """Folder of the retrainings; safe to delete."""
        return self.root / "training"

    @property
    def inputs(self) -> Path:
        """Folder of the input piped into `annotate` or fetched by PMID."""
        return self.root / "inputs"

    @property
    def digests(self) -> Path:
        """Cache of the digests of input files; safe to delete."""
        return self.root / "digests.json"

    @property
    def banks(self) -> Path:
        """Folder of the cached entity banks (vocabularies encoded by models); safe to delete."""
        return self.root / "banks"

    @property
    def quarantine(self) -> Path:
        """Folder of the files that `doctor --repair` took away."""
        return self.root / "quarantine"

    @property
    def snapshots(self) -> Path:
        """The folder of all snapshots."""
        return self.root / "snapshots"

    @property
    def runs(self) -> Path:
        """The folder of all run records."""
        return self.root / "runs"

    @property
    def runs_checkpoint(self) -> Path:
        """The checkpoint that sums up the runs that have ended; safe to delete."""
        return self.root / "runs-checkpoint.json"

    @property
    def warehouse(self) -> Path:
        """The current snapshot: a relative symbolic link into `snapshots/`."""
        return self.root / "warehouse.duckdb"

    @property
    def lock(self) -> Path:
        """File that a publisher locks."""
        return self.root / "publish.lock"


@lru_cache(maxsize=100_000)  # an old home has many names, and a nightly run needs each several times
def file_name(name: str) -> str:
    """Return a file name that is safe on any file system and unique for every `name`.

    Raises `NameRefusedError` for a name that is empty, has a NUL or is not valid Unicode.
    """
    if not name or "\0" in name:
        raise NameRefusedError(f"name {name!r} is empty or has a NUL; rename the input")
    if len(name) <= LONGEST_NAME and _PLAIN.fullmatch(name):  # almost all names
        return name
    try:
        encoded = quote(name, safe="").replace("~", "%7E")
    except UnicodeEncodeError as error:
        raise NameRefusedError(f"name {name!r} is not valid Unicode; rename the input") from error
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    if len(encoded) <= LONGEST_NAME:
        return encoded
    return f"{encoded[: LONGEST_NAME - 33]}~{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def natural(name: str) -> list[str | int]:
    """Return a sort key that puts part2 before part10: texts and numbers in turn."""
    return [part for text, number in re.findall(r"(\D*)(\d*)", name) for part in (text, int(number or 0))]


def digest_file(path: Path) -> str:
    """Return the first 16 hex digits of the SHA-256 of a file, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
