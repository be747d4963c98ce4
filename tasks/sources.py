"""Find the input files of a run, and identify each by its file name and digest."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import InputError, SourceError
from tasks.parsers.source_reader import open_source
from warehouse.layout import CHECKSUMS, Home, SourceKey
from warehouse.sources.hash_cache import digesting

# A mark that each document of a format has once: PubMed XML, MEDLINE text, BioC XML, BioC JSON, PubTator.
_RECORD = re.compile(rb"<MedlineCitation[ >]|<PubmedBookArticle>|PMID- |<document>|\"passages\"|\|t\|")
_LONGEST_MARK = 18  # bytes, less one: a mark may be cut by the end of a chunk


@dataclass(frozen=True, slots=True)
class Source:
    """An input file, with its size and digest when it was found."""

    path: Path
    key: SourceKey
    bytes: int


def find_sources(inputs: Iterable[str | Path], *, home: Home | None = None) -> list[Source]:
    """Return the input files named by files, folders and glob patterns, in order and without duplicates.

    A folder means all files below it, except hidden ones, checksums, and the home if it is inside. A file whose digest
    the home has cached (`warehouse.sources.hash_cache`) is not read. Raises InputError if an input matches
    nothing, a file cannot be read, or two files of one name have different content.
    """
    sources: dict[str, Source] = {}
    paths = find_files(inputs, home=home)
    with digesting(home) as digest:
        for path in paths:
            try:
                source = Source(path, SourceKey(path.name, digest(path)), path.stat().st_size)
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
            known = sources.setdefault(path.name, source)
            if known.key != source.key:
                raise InputError(f"{known.path} and {path} have one name and different content; rename one of them")
    return list(sources.values())


def find_files(inputs: Iterable[str | Path], *, home: Home | None = None) -> list[Path]:
    """Return the paths of `find_sources` without reading a file. Raises InputError if an input matches nothing."""
    return [path for given in inputs for path in _files(str(given), home)]


def count_records(source: Source) -> int:
    """Estimate the number of documents of a source, to estimate the time left; much faster than parsing."""
    if source.path.suffix == ".parquet":  # a documents file of a home
        with suppress(OSError, pa.ArrowException):
            return int(pq.read_metadata(source.path).num_rows)
    count, tail = 0, b""
    with suppress(SourceError), open_source(source.path) as opened:
        for chunk in opened.chunks():
            text, end = tail + chunk, 0
            for match in _RECORD.finditer(text):
                count, end = count + 1, match.end()
            tail = text[max(end, len(text) - _LONGEST_MARK) :]
    return count


def _files(given: str, home: Home | None) -> Iterator[Path]:
    path = Path(given)
    if not given:
        raise InputError("an input without a name; expected a file, a folder or a pattern")
    if path.is_dir():
        found = [each for each in sorted(path.rglob("*")) if each.is_file() and _is_dump(each.relative_to(path))]
        if home and (root := home.root.resolve()).is_relative_to(path.resolve()):
            found = [each for each in found if not each.resolve().is_relative_to(root)]
        if not found:
            raise InputError(f"{given}: the folder holds no file")
        yield from found
    elif path.exists() or not glob.has_magic(given):
        if not path.exists():
            raise InputError(f"{given}: no such file or folder")
        yield path
    else:
        matches = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
        if not matches:
            raise InputError(f"{given}: no file matches")
        for match in matches:
            if not Path(match).exists():  # a link to nothing
                raise InputError(f"{match}: no such file or folder")
            yield from _files(match, home)


def _is_dump(path: Path) -> bool:
    return path.suffix not in CHECKSUMS and not any(part.startswith(".") for part in path.parts)
