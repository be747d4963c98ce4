"""Network storage as NFS is by default: attributes are cached, and only a descriptor that can write is locked."""

from __future__ import annotations

import fcntl
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from errno import EBADF
from pathlib import Path
from typing import Any

import pytest


class _Entries:
    """The entries of a folder, like those of `os.scandir`."""

    def __init__(self, entries: list[Any]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> _Entries:
        return self

    def __next__(self) -> Any:
        return next(self._entries)

    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None: ...


@dataclass
class NetworkStorage:
    """The view of folders below `root` on this host.

    The host caches the listing of each folder, and which files were missing, until it has opened the folder `openings`
    times. Changes made within `elsewhere` come from another host.
    """

    root: Path
    openings: int = 1
    listed: dict[str, list[Any]] = field(default_factory=dict)
    missed: set[str] = field(default_factory=set)
    opened: dict[str, int] = field(default_factory=dict)
    is_elsewhere: bool = False

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        self.is_elsewhere = True
        try:
            yield
        finally:
            self.is_elsewhere = False

    def is_cached(self, path: Any) -> bool:
        return not self.is_elsewhere and isinstance(path, str | Path) and Path(path).is_relative_to(self.root)

    def change(self, path: Any) -> None:
        """Drop what is cached about a file and its folder, since this host has changed it."""
        if self.is_cached(path):
            self.missed.discard(str(path))
            self.listed.pop(str(Path(path).parent), None)

    def open_folder(self, path: Any) -> None:
        """Drop what is cached about a folder if it has been opened often enough."""
        if self.is_cached(path):
            self.opened[str(path)] = self.opened.get(str(path), 0) + 1
            if self.opened[str(path)] % self.openings == 0:
                self.listed.pop(str(path), None)
                self.missed = {one for one in self.missed if str(Path(one).parent) != str(path)}


def mount(root: Path, monkeypatch: pytest.MonkeyPatch) -> NetworkStorage:
    """Simulate network storage for this process's files below a folder."""
    storage = NetworkStorage(root)
    scandir: Callable[..., Any] = os.scandir
    listdir: Callable[..., Any] = os.listdir
    open_file: Callable[..., Any] = io.open
    open_descriptor: Callable[..., Any] = os.open
    flock, replace = fcntl.flock, os.replace

    def listing(path: Any = ".") -> Any:
        if not storage.is_cached(path):
            return scandir(path)
        with scandir(path) as entries:
            return _Entries(storage.listed.setdefault(str(path), list(entries)))

    def names(path: Any = ".") -> list[Any]:
        return [entry.name for entry in listing(path)] if storage.is_cached(path) else listdir(path)

    def opening(path: Any, mode: str = "r", *args: Any, **given: Any) -> Any:
        if storage.is_cached(path) and mode in ("r", "rb", "r+b") and str(path) in storage.missed:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        if set(mode) & set("wax"):
            storage.change(path)
        try:
            return open_file(path, mode, *args, **given)
        except FileNotFoundError:
            if storage.is_cached(path):
                storage.missed.add(str(path))
            raise

    def opening_descriptor(path: Any, *args: Any, **given: Any) -> int:
        descriptor: int = open_descriptor(path, *args, **given)
        if not isinstance(path, int) and os.path.isdir(path):  # noqa: PTH112 (may be bytes)
            storage.open_folder(path)
        return descriptor

    def locking(file: Any, operation: int) -> None:
        if operation & fcntl.LOCK_EX and fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(EBADF, os.strerror(EBADF))
        flock(file, operation)

    def replacing(source: Any, target: Any) -> None:
        replace(source, target)
        storage.change(source)
        storage.change(target)

    monkeypatch.setattr(os, "replace", replacing)
    monkeypatch.setattr(os, "scandir", listing)
    monkeypatch.setattr(os, "listdir", names)
    monkeypatch.setattr(os, "open", opening_descriptor)
    monkeypatch.setattr(io, "open", opening)
    monkeypatch.setattr(fcntl, "flock", locking)
    return storage
