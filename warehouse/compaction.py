"""Merges the files of many small sources into few, so that a query opens tens of files and not thousands.

The files of a source stay: they are the unit of work, and what is merged can be made again from them at any time. Only
small files are merged, so that big ones are not stored twice. A merged file is named after its sources, whole or
absent, and never changed; a snapshot names it in place of theirs, and each of its rows keeps its origin.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from warehouse.layout import Home, SourceKey
from warehouse.parquet import TableWriter

SMALL = 8 * 1024 * 1024  # bytes: a source whose files are bigger together stays by itself
FULL = 64 * 1024 * 1024  # bytes: a group that has reached this takes in no more
LOOSE = 64  # so many small sources outside of groups are left alone; the next publish with more merges them


@dataclass(frozen=True, slots=True)
class Group:
    """Sources whose files are merged."""

    keys: tuple[SourceKey, ...]

    @property
    def name(self) -> str:
        """The name of the merged files, which no other set of sources has."""
        return hashlib.sha256("\n".join(sorted(key.stem for key in self.keys)).encode()).hexdigest()[:16]


def plan(sizes: Mapping[SourceKey, int], *, standing: Iterable[Group] = ()) -> list[Group]:
    """Returns the groups of sources to merge, from the bytes of each current source in order of rank.

    Groups that stand are kept as they are until `LOOSE` small sources are outside of them; then all but the full ones
    are made anew. A group that has lost a source is none any more.
    """
    small = {key: size for key, size in sizes.items() if size < SMALL}
    standing = [group for group in standing if all(key in small for key in group.keys)]
    grouped = {key for group in standing for key in group.keys}
    if len(small.keys() - grouped) < LOOSE:
        return standing
    groups = [group for group in standing if sum(small[key] for key in group.keys) >= FULL]
    full = {key for group in groups for key in group.keys}
    keys: list[SourceKey] = []
    size = 0
    for key in small:
        if key in full:
            continue
        keys.append(key)
        size += small[key]
        if size >= FULL:
            groups.append(Group(tuple(keys)))
            keys, size = [], 0
    return groups + ([Group(tuple(keys))] if len(keys) > 1 else [])


def merge(home: Home, group: Group, files: Mapping[SourceKey, Mapping[str, Path]]) -> dict[str, Path]:
    """Returns the merged file of each kind of `files`, and writes those that are not there yet.

    Raises `SchemaMismatchError` when a file has other columns than the first.
    """
    merged = {}
    for kind, example in files[group.keys[0]].items():
        merged[kind] = home.compacted(example, group.name)
        if merged[kind].exists():
            continue
        with TableWriter(merged[kind], pq.read_schema(example).remove_metadata()) as writer:
            for key in group.keys:
                with pq.ParquetFile(files[key][kind]) as file:
                    for batch in file.iter_batches():
                        writer.append(batch)
    return merged
