"""The content of a folder that survives a power loss: a model of a disk that keeps only flushed data.

POSIX promises no more. The content of a file is safe once `fsync` of the file returned, and a name in a folder once
`fsync` of the folder returned; everything else may or may not survive, in any order.
"""

from __future__ import annotations

import hashlib
import os
import random
import stat
from dataclasses import dataclass, field
from pathlib import Path

Entry = int | str
"""The inode of a file or folder, or the target of a symbolic link."""


@dataclass(slots=True)
class DiskModel:
    """The flushed content of a folder. Inodes are held open, so that the system gives none of their numbers again."""

    root: Path
    contents: Path | None = None  # holds each surviving content once, with links to it
    _folders: dict[int, dict[str, Entry]] = field(default_factory=dict)  # flushed names
    _files: dict[int, bytes] = field(default_factory=dict)  # flushed contents
    _held: dict[int, tuple[int, os.stat_result]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._flush_all(self.root)

    def flush(self, descriptor: int) -> None:
        """Note an `fsync` of an open file or folder."""
        path = Path(f"/proc/self/fd/{descriptor}")
        inode = self._hold(path)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            self._folders[inode] = self._names(path)
        else:
            self._files[inode] = path.read_bytes()

    def lose_power(self, place: Path, *, rng: random.Random | None = None) -> None:
        """Write the surviving content as a new folder: all flushed data, and with `rng`, some of the other data."""
        self._restore(self._hold(self.root), place, rng)

    def _flush_all(self, folder: Path) -> None:
        self._folders[self._hold(folder)] = self._names(folder)
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                self._flush_all(path)
            elif path.is_file() and not path.is_symlink():
                self._files[self._hold(path)] = path.read_bytes()

    def _names(self, folder: Path) -> dict[str, Entry]:
        return {path.name: str(path.readlink()) if path.is_symlink() else self._hold(path) for path in folder.iterdir()}

    def _hold(self, path: Path) -> int:
        status = path.stat()
        if status.st_ino not in self._held:
            self._held[status.st_ino] = (os.open(path, os.O_PATH), status)
        return status.st_ino

    def _restore(self, inode: int, place: Path, rng: random.Random | None) -> None:
        descriptor, status = self._held[inode]
        now = Path(f"/proc/self/fd/{descriptor}")
        chance = rng is not None and rng.random() < 0.5  # that this file or folder is as it is now
        if stat.S_ISDIR(status.st_mode):
            place.mkdir(parents=True)
            names = self._folders.get(inode, {})
            if chance and os.fstat(descriptor).st_nlink:
                names = self._names(now)
            for name, entry in names.items():
                if isinstance(entry, str):
                    (place / name).symlink_to(entry)
                else:
                    self._restore(entry, place / name, rng)
        else:
            self._write(place, now.read_bytes() if chance else self._files.get(inode, b""), status)

    def _write(self, place: Path, content: bytes, status: os.stat_result) -> None:
        kept = place
        if self.contents:
            self.contents.mkdir(exist_ok=True)
            digest = hashlib.sha256(content).hexdigest()
            kept = self.contents / f"{digest}-{status.st_mode & 0o777}-{status.st_mtime_ns}"
        if not kept.exists():
            kept.write_bytes(content)
            kept.chmod(status.st_mode & 0o777)
            os.utime(kept, ns=(status.st_atime_ns, status.st_mtime_ns))
        if kept != place:
            place.hardlink_to(kept)
