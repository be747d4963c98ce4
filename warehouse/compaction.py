"""Merges the files of many small sources into few, so that a query opens tens of files and not thousands.

The files of a source stay: they are the unit of work, and what is merged can be made again from them at any time. Only
small files are merged, so that big ones are not stored twice. A merged file is named after its sources, whole or
absent, and never changed; a snapshot names it in place of theirs, and each of its rows keeps its origin.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
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
    """Sources whose files are merged into files of one name."""

    name: str
    keys: tuple[SourceKey, ...]


def plan(sizes: Mapping[SourceKey, int], *, standing: Sequence[Group] = ()) -> list[Group]:
    """Returns the groups of sources to merge, from the bytes of each current source in order of rank.

    Groups that stand are kept as they are until `LOOSE` small sources are outside of them; then these join the groups
    that are not full, each of which stays together. All sources of a group that stands are current.
    """
    grouped = {key for group in standing for key in group.keys}
    loose = [key for key, size in sizes.items() if size < SMALL and key not in grouped]
    if len(loose) < LOOSE:
        return list(standing)
    groups = [group for group in standing if _bytes(group.keys, sizes) >= FULL]
    keys: list[SourceKey] = []
    for unit in (*(group.keys for group in standing if group not in groups), *((key,) for key in loose)):
        keys += unit
        if _bytes(keys, sizes) >= FULL:
            groups.append(_group(keys, sizes))
            keys = []
    return groups + ([_group(keys, sizes)] if len(keys) > 1 else [])


def merge(home: Home, group: Group, files: Mapping[SourceKey, Mapping[str, Path]]) -> dict[str, Path]:
    """Returns the merged file of each kind of `files`, and writes those that are not there yet.

    `files` may give the merged file of sources that stand merged, where all of them are in the group. Raises
    `SchemaMismatchError` when a file has other columns than the first.
    """
    merged = {}
    for kind, example in files[group.keys[0]].items():
        merged[kind] = home.compacted(example, group.name)
        if merged[kind].exists():
            continue
        with TableWriter(merged[kind], pq.read_schema(example).remove_metadata()) as writer:
            for path in dict.fromkeys(files[key][kind] for key in group.keys):
                with pq.ParquetFile(path) as file:
                    for batch in file.iter_batches():
                        writer.append(batch)
    return merged


def _bytes(keys: Iterable[SourceKey], sizes: Mapping[SourceKey, int]) -> int:
    return sum(sizes[key] for key in keys)


def _group(keys: Sequence[SourceKey], sizes: Mapping[SourceKey, int]) -> Group:
    said = "\n".join(sorted(f"{key.stem} {sizes[key]}" for key in keys))
    return Group(hashlib.sha256(said.encode()).hexdigest()[:16], tuple(keys))
