"""Compare nights of young and old homes: CPU seconds of a night, of `status` and of `trace`, by runs and sources.

A night finds the dump files, annotates those that are new (here their rows are given), publishes, and reads the status.
As in operation, each is a new process, which has nothing of the home in memory; imports do not count.
`python -m benchmarks.age [--runs N ...] [--sources N ...] [--profile]` prints a row for each number of sources, and
for each number of run records a night with nothing new and one with a new file.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.measuring import Result, Setting
from e2emern.flows.annotate import Outcome, begin_in, run_sources, without_withdrawn
from e2emern.tasks.annotate import Annotated
from e2emern.tasks.sources import Source, find_sources
from e2emern.warehouse.layout import Home
from e2emern.warehouse.queries.status import status
from e2emern.warehouse.queries.trace import trace
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.sources.history import CHECKPOINT_EVERY
from e2emern.warehouse.sources.runs import RunRecord, SourceOutcome, write_run
from tests.warehouse.homes import VERSIONS, add_source, add_vocabulary, document

RUNS = (CHECKPOINT_EVERY, 365, 3_650)
SOURCES = 2_000
_OLD_S = 1_700_000_000  # modification time of the dump files: the digest of a new file is not cached


def night_over_age(setting: Setting) -> Result:
    """CPU seconds of a night after ten years of nights, over those after 64 nights, for the same 2,000 files.

    The new file has one document. `seconds` has every pair of runs and sources. With few abstracts, sources and runs
    are few too.
    """
    most = min(SOURCES, setting.many)
    ages = RUNS if most == SOURCES else (CHECKPOINT_EVERY, 2 * CHECKPOINT_EVERY)
    seconds: dict[str, list[float]] = {}
    for sources in sorted({most // 20 or 1, most}):
        home = _home(setting.folder / f"age-{sources}", sources)
        for runs in ages:
            _add_runs(home, runs)
            _night(home)  # makes the checkpoint
            name = f"{runs} runs, {sources} sources"
            seconds[name] = [round(_night(home), 3) for _ in range(setting.rounds)]
    few, many = (seconds[f"{runs} runs, {most} sources"] for runs in (ages[0], ages[-1]))
    ratios = sorted(after / before for before, after in zip(few, many, strict=True))
    return {
        "ratio": round(ratios[len(ratios) // 2], 2),
        "min": round(ratios[0], 2),
        "max": round(ratios[-1], 2),
        "target": "<= 1.5",
        "seconds": seconds,
    }


def _home(folder: Path, sources: int) -> Home:
    home = Home(folder)
    fsync = os.fsync
    os.fsync = lambda fd: None  # else making the home takes most of the time
    try:
        add_vocabulary(home)
        for number in range(sources):
            _add_dump(home, number)
        for source in find_sources([home.dumps], home=home):
            add_source(home, source.key, [document(0, source.path.stem[1:])])
        publish(home, VERSIONS)
    finally:
        os.fsync = fsync
    return home


def _add_dump(home: Home, number: int) -> None:
    home.dumps.mkdir(exist_ok=True)
    dump = home.dumps / f"s{number}.xml"
    dump.write_text(str(number))
    os.utime(dump, (_OLD_S, _OLD_S))


def _add_runs(home: Home, upto: int) -> None:
    """Add runs, each of which annotated one source of the home."""
    keys = [source.key for source in find_sources([home.dumps], home=home)]
    for number in range(sum(1 for _ in home.runs.glob("*.json")), upto):
        moment = f"2026-01-01T00:00:{number % 60:02d}+00:00"
        key = keys[number % len(keys)]
        one = SourceOutcome(name=key.name, digest=key.digest, outcome="annotated")
        run = RunRecord(run_id=f"{number + 1:08d}-x", started=moment, finished=moment, host="h", sources=(one,))
        write_run(home, replace(run, versions={"model": VERSIONS.model, "mesh": VERSIONS.mesh}, unchanged=number))


def _seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _night(home: Home, *, new: bool = True) -> float:
    """Return the CPU seconds of a night with one new file or nothing new."""
    if new:
        _add_dump(home, sum(1 for _ in home.dumps.iterdir()))
    return _seconds(lambda: _do_night(home))


def _do_night(home: Home) -> None:
    def work(todo: list[Source], outcome: Outcome) -> None:
        for source in todo:
            summary = add_source(home, source.key, [document(0, source.path.stem[1:])])
            outcome.annotated.append(Annotated(summary=summary, mentions=1))

    found = find_sources([home.dumps], home=home)
    begin_in(home)
    sources, _withdrawn = without_withdrawn(found, home)
    run_sources(sources, home, versions=VERSIONS, options={}, work=work)
    status(home)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[100, 1_000, 3_650])
    parser.add_argument("--sources", type=int, nargs="+", default=[100, 2_000, 10_000])
    parser.add_argument("--nights", type=int, default=3, help="of which the median counts")
    parser.add_argument("--profile", action="store_true", help="print where a night with nothing new spends its time")
    options = parser.parse_args(arguments)
    ages = [f"{runs:,} runs: {night}" for runs in options.runs for night in ("nothing new", "one file")]
    columns = ["sources", *ages, "status", "trace"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    with TemporaryDirectory(prefix="e2emern-age-") as folder, get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        small = pool.apply(_home, (Path(folder) / "small", 1))
        for sources in options.sources:
            home = pool.apply(_home, (Path(folder) / str(sources), sources))
            cells = []
            for runs in options.runs:
                pool.apply(_add_runs, (home, runs))
                pool.apply(_night, (home,))  # makes the checkpoint
                for work in (_night_without, _night) + (_status, _trace) * (runs == options.runs[-1]):
                    cells.append(median(pool.apply(_cold, (work, home, small)) for _ in range(options.nights)))
            print(f"| {sources:,} | {' | '.join(f'{cell:.2f} s' for cell in cells)} |", flush=True)
            if options.profile:
                pool.apply(_profile, (home, small))
            shutil.rmtree(home.root)  # thousands of files: there is room for one home
    return 0


def _cold(work: Callable[[Home], float], home: Home, small: Home) -> float:
    """Return the CPU seconds of `work` in a process that has done it only in a small home."""
    work(small)  # imports what is imported on first use
    return work(home)


def _night_without(home: Home) -> float:
    return _night(home, new=False)


def _status(home: Home) -> float:
    return _seconds(lambda: status(home))


def _trace(home: Home) -> float:
    return _seconds(lambda: trace(home, "0"))


def _profile(home: Home, small: Home) -> None:
    _night_without(small)
    with cProfile.Profile() as profile:
        _night_without(home)
    pstats.Stats(profile).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    sys.exit(main())
