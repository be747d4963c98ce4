"""The history of a home: what its runs did with each source, which gives the order of sources and who annotated them.

The records of runs are the history. The file `runs-checkpoint.json` sums up runs that have ended, so that a night in an
old home reads a few records instead of thousands. It is safe to delete: a later run makes it again from the records.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from importlib.metadata import version
from operator import attrgetter
from typing import Any, Final

from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.files import atomic_write, revalidate
from e2emern.warehouse.layout import Home, SourceKey, Versions, file_name
from e2emern.warehouse.sealed import seal, unseal
from e2emern.warehouse.sources.runs import (
    RunRecord,
    SourceOutcome,
    begin_run,
    check_names,
    claimed_run,
    end_killed,
    finish_run,
    read_run,
    write_run,
)

CHECKPOINT_EVERY: Final = 64
"""A checkpoint is written when this many runs have ended since the last one."""

WITHDRAWN: Final = "withdrawn"
"""The outcome of a source in the record of its withdrawal."""

_NOT_DONE = ("unchanged", "failed", "not reached", "part")
_LOG = logging.getLogger("e2emern")


@dataclass(frozen=True, slots=True)
class _Annotators:
    """The last run that annotated a source with one model and vocabulary, and the last that began to."""

    certain: str = ""
    begun: str = ""


@dataclass(frozen=True, slots=True)
class _Met:
    """What the runs did with one source. Run ids sort by time, so the order in which runs are added does not matter."""

    first: str
    last: str
    withdrawn: str = ""  # the last run that withdrew it
    annotators: Mapping[tuple[str, str], _Annotators] = field(default_factory=dict)  # by model and MeSH


class History:
    """All runs, oldest first, and what they did with each source.

    The runs that a checkpoint sums up come without their sources; `read_run` gives them with all.
    """

    def __init__(self, runs: Iterable[RunRecord] = ()) -> None:
        self.runs: list[RunRecord] = []
        self._met: dict[SourceKey, _Met] = {}
        self._first: dict[tuple[str, str], str] = {}  # the first run that recorded a content, by name and content
        self._latest: dict[str, SourceKey] = {}
        for run in runs:
            self.add(run)

    def copy(self) -> History:
        """Return a history to which runs can be added without changing this one."""
        copied = History()
        copied.runs, copied._met = self.runs.copy(), self._met.copy()
        copied._first, copied._latest = self._first.copy(), self._latest.copy()
        return copied

    def add(self, run: RunRecord) -> None:
        """Add a run with what it did."""
        self.runs.append(run)
        versions = (run.versions.get("model", ""), run.versions.get("mesh", ""))
        for source in run.sources:
            key = source.key
            met = self._met.get(key) or _Met(run.run_id, run.run_id)
            withdrawn, annotators = met.withdrawn, dict(met.annotators)
            one = annotators.get(versions, _Annotators())
            if source.outcome == WITHDRAWN:
                withdrawn = max(withdrawn, run.run_id)
            elif source.outcome == "begun":
                annotators[versions] = replace(one, begun=max(one.begun, run.run_id))
            elif source.outcome not in _NOT_DONE:
                annotators[versions] = replace(one, certain=max(one.certain, run.run_id))
            self._set(key, _Met(min(met.first, run.run_id), max(met.last, run.run_id), withdrawn, annotators))

    def _set(self, key: SourceKey, met: _Met) -> None:
        self._met[key] = met
        content = (key.name, key.content)
        if met.first < self._first.setdefault(content, met.first):
            self._first[content] = met.first
        latest = self._latest.setdefault(key.name, key)
        if latest != key and (self._met[latest].last, latest.digest) < (met.last, key.digest):
            self._latest[key.name] = key

    def seen(self, key: SourceKey) -> tuple[str, str] | None:
        """The first run that recorded the content of a source, with any parser, and the last one of the source.

        None if no run recorded the source.
        """
        met = self._met.get(key)
        return (self._first[key.name, key.content], met.last) if met else None

    @property
    def latest(self) -> Mapping[str, SourceKey]:
        """The source of each name whose content was recorded last."""
        return self._latest

    @property
    def withdrawn_by(self) -> dict[str, str]:
        """The run that withdrew each name, unless content of this name was recorded since."""
        of_latest = ((name, self._met[key]) for name, key in self._latest.items())
        return {name: met.withdrawn for name, met in of_latest if met.withdrawn == met.last}

    @property
    def withdrawn(self) -> frozenset[SourceKey]:
        """All recorded contents of the names that are withdrawn."""
        names = self.withdrawn_by
        return frozenset(key for key in self._met if key.name in names) if names else frozenset()

    def annotator(self, key: SourceKey, versions: Versions) -> str | None:
        """Return the run that annotated a source with one model and vocabulary; None if no run did.

        A killed run did not record its outcome. If no run is known to have annotated the source, the last one that
        began it counts.
        """
        met = self._met.get(key)
        one = met and met.annotators.get((versions.model, versions.mesh))
        return (one.certain or one.begun or None) if one else None

    def to_json(self) -> dict[str, Any]:
        """Return the ended runs, without their sources, and what they did with each source."""
        sources = [
            [
                key.name,
                key.digest,
                met.first,
                met.last,
                met.withdrawn,
                [[*of, one.certain, one.begun] for of, one in met.annotators.items()],
            ]
            for key, met in self._met.items()
        ]
        return {"runs": [asdict(replace(run, sources=())) for run in self.runs], "sources": sources}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> History:
        """Return what `to_json` has written. Raises ValueError, TypeError or KeyError if it is malformed."""
        history = cls()
        history.runs = [RunRecord(**fields | {"sources": ()}) for fields in content["runs"]]
        for name, digest, first, last, withdrawn, annotators in content["sources"]:
            by = {(model, mesh): _Annotators(certain, begun) for model, mesh, certain, begun in annotators}
            history._set(SourceKey(name, digest), _Met(first, last, withdrawn, by))
        return history


def read_history(home: Home) -> History:
    """Return the history of a home, from its checkpoint and the records that came since.

    Raises `WarehouseError` for a malformed record. A checkpoint that is damaged, or sums up a record that is gone, is
    ignored: then all records are read.
    """
    return _read_history(home)[0]


def _read_history(home: Home) -> tuple[History, int]:
    """Return the history, and the number of its records that the checkpoint does not sum up."""
    history, since = _read(home)
    for run in since:
        history.add(run)
    history.runs.sort(key=attrgetter("run_id"))
    return history, len(since)


def sum_up(home: Home, *, least: int | None = None) -> None:
    """Write a checkpoint if at least `least` runs, by default `CHECKPOINT_EVERY`, have ended since the last one."""
    history, since = _read(home)
    ended = [run for run in since if run.finished]
    if len(ended) >= (CHECKPOINT_EVERY if least is None else least):
        for run in ended:
            history.add(run)
        with atomic_write(home.runs_checkpoint) as file:
            file.write(seal(history.to_json()))


def read_checkpoint(home: Home) -> History:
    """Return what the checkpoint sums up. Raises `WarehouseError` if it is not as it was written."""
    try:
        return History.from_json(unseal(home.runs_checkpoint.read_bytes()))
    except FileNotFoundError:
        return History()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WarehouseError("is damaged (e2emern doctor: damaged-checkpoint)", path=home.runs_checkpoint) from error


@lru_cache(maxsize=1)  # a night reads the history four times
def _kept_checkpoint(home: Home, inode: int, size: int, mtime_ns: int) -> History:
    return read_checkpoint(home)


def _read(home: Home) -> tuple[History, list[RunRecord]]:
    """Return the history of the checkpoint, and the records that it does not sum up."""
    revalidate(home.runs)
    records: set[str] = set()
    with suppress(FileNotFoundError), os.scandir(home.runs) as entries:
        records = {entry.name.removesuffix(".json") for entry in entries if entry.name.endswith(".json")}
    history = History()
    with suppress(WarehouseError, FileNotFoundError):  # the doctor reports a damaged one
        found = home.runs_checkpoint.stat()
        history = _kept_checkpoint(home, found.st_ino, found.st_size, found.st_mtime_ns).copy()
    summed = {file_name(run.run_id) for run in history.runs}
    if not summed <= records:
        history, summed = History(), set()
    return history, [read_run(home.runs / f"{name}.json") for name in sorted(records - summed)]


@contextmanager
def recorded_run(
    home: Home,
    keys: Iterable[SourceKey],
    versions: Versions,
    *,
    todo: Collection[SourceKey],
    options: Mapping[str, Any],
    with_outcomes: Callable[[RunRecord], RunRecord],
) -> Iterator[None]:
    """Record a run with its sources before the block, and with their outcomes after it, also if an exception ends it.

    An unchanged source is counted. It is listed only if it was withdrawn, or other content with its name was recorded
    since, because it is now current again. So the length of a record depends on what the run changed.

    Args:
        home: home of the run.
        keys: sources of the run.
        versions: versions of the model and of MeSH.
        todo: those of the sources that the run is to annotate.
        options: options of the run.
        with_outcomes: adds what the run has done so far with each source, and the error if there is one. The record
        does not list sources that are only counted nor, at the end, those that were done already.

    Raises:
        WarehouseError: two sources have the same name but different content.
    """
    history, not_summed = _read_history(home)
    for killed in end_killed(home, history.runs):
        _LOG.warning(f"run {killed} was killed; its unfinished work is done again")
    run = begin_run(history.runs, versions={"e2emern": version("e2emern"), **asdict(versions)}, options=options)
    if run.warning:
        _LOG.warning(run.warning)
    unique = list(dict.fromkeys(keys))
    check_names(unique)
    withdrawn, latest = history.withdrawn_by, history.latest

    def changes(key: SourceKey) -> bool:
        return key.name in withdrawn or latest.get(key.name) != key

    listed = [key for key in unique if key in todo or changes(key)]
    begun = [SourceOutcome(key.name, key.digest, "begun" if key in todo else "unchanged") for key in listed]
    run = replace(run, sources=tuple(begun), unchanged=len(unique) - len(listed))

    def write(full: RunRecord) -> None:
        kept = tuple(one for one in full.sources if one.outcome != "unchanged" or changes(one.key))
        write_run(home, replace(full, sources=kept, unchanged=full.unchanged + len(full.sources) - len(kept)))

    with claimed_run(home, run):
        write(run)
        try:
            yield
        except BaseException as error:
            write(finish_run(with_outcomes(run), error=f"{type(error).__name__}: {error}".splitlines()[0]))
            raise
        write(finish_run(with_outcomes(run)))
    if not_summed + 1 >= CHECKPOINT_EVERY:
        sum_up(home)
