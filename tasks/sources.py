"""Find the input files of a run, and identify each by its file name and digest."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from e2emern.tasks.errors import InputError, SourceError
from e2emern.tasks.parsers import ARCHIVES, TABLES, detect_format
from e2emern.tasks.parsers.archives import members
from e2emern.tasks.parsers.columns import GUESSED, Columns
from e2emern.tasks.parsers.source_reader import Input, Member, open_source
from e2emern.tasks.parsers.version import PARSER
from e2emern.warehouse.errors import NameRefusedError
from e2emern.warehouse.layout import CHECKSUMS, Home, SourceKey
from e2emern.warehouse.sources.hash_cache import digesting

# A mark that occurs once in each document: of PubMed XML, MEDLINE text, BioC XML, BioC JSON, PubTator.
_RECORD = re.compile(rb"<MedlineCitation[ >]|<PubmedBookArticle>|PMID- |<document>|\"passages\"|\|t\|")
_CHECKSUMS = tuple(CHECKSUMS)
_LONGEST_MARK = 18  # bytes, less one: a mark may be cut by the end of a chunk


@dataclass(frozen=True, slots=True)
class Source:
    """An input file, with its size and digest when it was found.

    The digest is that of the file. It includes the names of `columns` with which a table or an archive is read.
    """

    path: Path
    key: SourceKey
    bytes: int
    columns: Columns = GUESSED


Report = Callable[[str, str], None]
"""Called with a path that cannot be an input, and the reason."""


def refuse(path: str, reason: str) -> None:
    """Raise an InputError: the `Report` for a run that needs every input."""
    raise InputError(reason, path=path)


def find_sources(
    inputs: Iterable[str | Path], *, home: Home | None = None, columns: Columns = GUESSED, report: Report = refuse
) -> list[Source]:
    """Return the input files named by files, folders and glob patterns, in order and without duplicates.

    A folder means all files below it, except hidden ones, checksums, and the home if it is inside. A file whose digest
    the home has cached (`warehouse.sources.hash_cache`) is not read. `columns` are those of tables. Unreadable entries
    of a folder or pattern, such as a broken link or a pipe, are passed to `report`. Raises InputError if an input
    matches nothing, or two files with the same name have different content.
    """
    sources: dict[str, Source] = {}
    paths = find_files(inputs, home=home, report=report)
    with digesting(home) as digest:
        for path in paths:
            try:
                of_table = _of_table(path, columns)
                found = digest(path)
                source = Source(path, source_key(path, of_table.digest(found.digest)), found.bytes, of_table)
            except OSError as error:
                report(str(path), f"cannot be read ({error.strerror or error})")
                continue
            except NameRefusedError as error:
                report(str(path), str(error))
                continue
            known = sources.setdefault(path.name, source)
            if known.key != source.key:
                raise InputError(
                    f"{known.path} and {path} have the same name but different content; rename one of them"
                )
    return list(sources.values())


def source_key(path: Path, digest: str) -> SourceKey:
    """Return the key of a dump file with this digest, as the parser of this release reads it."""
    return SourceKey(path.name, f"{digest}-{PARSER}")


def find_files(inputs: Iterable[str | Path], *, home: Home | None = None, report: Report = refuse) -> list[Path]:
    """Return the paths of `find_sources` without reading a file. Raises InputError if an input matches nothing."""
    return [path for given in inputs for path in _files(str(given), home, report)]


def count_records(source: Source) -> int:
    """Estimate the number of documents of a source, to estimate the time left; much faster than parsing."""
    if source.path.suffix == ".parquet":  # a documents file of a home too
        with suppress(OSError, pa.ArrowException):
            return int(pq.read_metadata(source.path).num_rows)
    count = 0
    with suppress(SourceError, OSError):
        form = detect_format(source.path, name=source.key.name, columns=source.columns)
        if form not in ARCHIVES:
            return _count_records(source.path, form)
        for member in members(source.path, form):
            with suppress(SourceError):
                if isinstance(member, Member):
                    count += _count_records(member, detect_format(member, columns=source.columns))
    return count


def _count_records(path: Input, form: str) -> int:
    if form == "text":
        return 1
    count, tail = 0, b""
    with suppress(SourceError), open_source(path) as opened:
        for chunk in opened.chunks():
            if form in TABLES:
                count += chunk.count(b"\n")
                continue
            text, end = tail + chunk, 0
            for match in _RECORD.finditer(text):
                count, end = count + 1, match.end()
            tail = text[max(end, len(text) - _LONGEST_MARK) :]
    return count


def _of_table(path: Path, columns: Columns) -> Columns:
    """Return the columns with which a file is read; none for a file that is neither a table nor an archive."""
    if not columns:
        return GUESSED
    with suppress(SourceError):
        if detect_format(path, columns=columns) in (*TABLES, *ARCHIVES):
            return columns
    return GUESSED


def _files(given: str, home: Home | None, report: Report) -> Iterator[Path]:
    path = Path(given)
    if not given:
        raise InputError("an input without a name; expected a file, a folder or a pattern")
    try:
        exists = path.exists()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path=_printable(path)) from error
    if path.is_dir():
        found, problems = _below(path, home)
        if not found and not problems:
            raise InputError("the folder holds no file", path=given)
        for each, reason in problems:
            report(_printable(each), reason)
        yield from found
    elif exists or not glob.has_magic(given):
        if not exists:
            raise InputError("no such file or folder", path=_printable(path))
        if problem := _problem(path):
            raise InputError(problem, path=_printable(path))
        yield path
    else:
        matches = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
        if not matches:
            raise InputError("no file matches", path=given)
        for match in map(Path, matches):
            if match.is_dir():
                yield from _files(str(match), home, report)
            elif problem := _problem(match):
                report(_printable(match), problem)
            else:
                yield match


def _below(folder: Path, home: Home | None) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Return the files below a folder, sorted, and the paths that cannot be read, with the reasons."""
    files: list[Path] = []
    problems: list[tuple[Path, str]] = []
    root = home.root.resolve() if home else None
    if root and not root.is_relative_to(folder.resolve()):
        root = None  # the folder is in the home or elsewhere

    def walk(at: Path) -> None:
        try:
            with os.scandir(at) as listed:
                entries = sorted(listed, key=attrgetter("name"))
        except OSError as error:
            problems.append((at, f"cannot be read ({error.strerror})"))
            return
        for entry in entries:
            if entry.name.startswith(".") or entry.name.endswith(_CHECKSUMS):
                continue
            each = Path(entry.path)
            if root and each.resolve().is_relative_to(root):
                continue
            if entry.name.isascii() and _is_regular(entry):
                files.append(each)
            elif problem := _problem(each):
                problems.append((each, problem))
            elif each.is_dir():
                walk(each)
            else:
                files.append(each)

    walk(folder)
    return files, sorted(problems)


def _is_regular(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a regular file; most file systems list that."""
    try:
        return entry.is_file(follow_symlinks=False)
    except OSError:
        return False


def _problem(path: Path) -> str | None:
    """Return why a path is neither a folder nor a file that can be read, or None."""
    if _printable(path) != str(path):
        return "its name is not UTF-8; rename it"
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return "a broken link" if path.is_symlink() else f"cannot be read ({error.strerror})"
    if stat.S_ISDIR(mode):
        return "a link to a folder is not followed; name the folder itself" if path.is_symlink() else None
    return None if stat.S_ISREG(mode) else "not a regular file but a pipe, socket or device"


def _printable(path: Path) -> str:
    """Return a path as text, with escapes in place of bytes that are not UTF-8."""
    text = str(path)
    return text if text.isascii() else os.fsencode(text).decode("utf-8", "backslashreplace")
