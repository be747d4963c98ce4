"""Fetch from a local folder: copy matching files, and copy them again if their size or time changes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from e2emern.tasks.errors import InputError
from e2emern.tasks.ingest.download_folder import DownloadFolder, Version, is_safe, matches, read_md5
from e2emern.tasks.ingest.outcome import FileOutcome, Log
from e2emern.warehouse.layout import natural


def copy_folder(
    folder: Path,
    downloads: DownloadFolder,
    *,
    pattern: str,
    limit: int | None,
    taken: set[str],
    log: Log,
    check: bool = False,
) -> None:
    """Copy the first `limit` matching files of a folder, and report the outcome of each to `log`.

    With `check`, copy none: a file that is missing, or has changed since, is reported as failed.
    `taken` are the names that earlier sources used; the names of this one are added. Raises InputError if the folder
    holds no matching file, or is the download folder itself.
    """
    if folder.resolve() == downloads.folder.resolve():
        raise InputError("is the download folder itself; annotate it directly", path=folder)
    try:
        names = sorted((each.name for each in folder.iterdir() if matches(each.name, pattern)), key=natural)
    except OSError as error:
        raise InputError(f"cannot be listed ({error.strerror})", path=folder) from error
    if not names:
        raise InputError(f"no file matches {pattern}", path=folder)
    for name in names[:limit]:
        if not is_safe(name):
            shown = os.fsencode(name).decode("utf-8", "backslashreplace")
            log(
                FileOutcome(
                    shown, "failed", reason="its name is refused: only letters, digits, '.', '_' and '-' are allowed"
                )
            )
        elif name in taken:
            log(FileOutcome(name, "failed", reason="an earlier source has a file of this name"))
        elif not (folder / name).is_file():
            log(FileOutcome(name, "failed", reason="not a regular file"))
        else:
            taken.add(name)
            try:
                log(_compare(folder / name, downloads) if check else _copy(folder / name, downloads))
            except OSError as error:
                log(FileOutcome(name, "failed", reason=f"cannot be copied ({error.strerror or error})"))


def _compare(path: Path, downloads: DownloadFolder) -> FileOutcome:
    kept = downloads.kept(path.name)
    if kept and kept.version == _version(path):
        return FileOutcome(path.name, "unchanged", kept.bytes)
    reason = "changed since it was copied" if (downloads.folder / path.name).exists() else "listed, but not copied"
    return FileOutcome(path.name, "failed", reason=reason)


def _copy(path: Path, downloads: DownloadFolder) -> FileOutcome:
    name, version = path.name, _version(path)
    kept = downloads.kept(name)
    if kept and kept.version == version:
        return FileOutcome(name, "unchanged", kept.bytes)
    if fault := downloads.check_limits(version.bytes or 0, version.bytes or 0):
        return FileOutcome(name, "failed", reason=fault)
    with path.open("rb") as source, downloads.begin(name, version) as part:
        shutil.copyfileobj(source, part, 1 << 20)
    md5 = downloads.digest(name)
    companion = path.with_name(f"{name}.md5")
    if _version(path) != version:
        fault = "changed while it was copied; ingest it again when it is complete"
    elif companion.is_file():
        try:
            expected = read_md5(companion.read_text(errors="replace"), name=name)
            fault = None if md5 == expected else f"its MD5 is {md5}, but {companion.name} says {expected}"
        except ValueError as error:
            fault = str(error)
    else:
        fault = downloads.check_end(name, delimited=True)
    if fault:
        downloads.discard(name)
        return FileOutcome(name, "failed", reason=fault)
    return FileOutcome(name, "fetched", downloads.finish(name, version, md5).bytes)


def _version(path: Path) -> Version:
    stat = path.stat()
    return Version(url=path.resolve().as_uri(), modified=str(stat.st_mtime_ns), bytes=stat.st_size)
