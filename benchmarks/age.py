"""Compare nights of young and old homes: CPU seconds of recording and publishing one new file, by runs and sources.

`python -m benchmarks.age [--runs N ...] [--sources N ...] [--profile]` prints a row for each number of sources, and
a column for each number of run records.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.measuring import Result, Setting
from e2emern.warehouse.layout import Home, SourceKey
from e2emern.warehouse.queries.status import status
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.sources.history import CHECKPOINT_EVERY, recorded_run
from e2emern.warehouse.sources.runs import RunRecord, SourceOutcome, write_run
from tests.warehouse.homes import VERSIONS, add_source, add_vocabulary, document, key

RUNS = (CHECKPOINT_EVERY, 365, 3_650)
SOURCES = 2_000


def night_over_age(setting: Setting) -> Result:
    """CPU seconds of a night after ten years of nights, over those after 64 nights, for the same 2,000 files.

    A night records the run, adds one file of one document, publishes, and reads the status. `seconds` has every pair of
    runs and sources. With few abstracts, sources and runs are few too.
    """
    most = min(SOURCES, setting.many)
    ages = RUNS if most == SOURCES else (CHECKPOINT_EVERY, 2 * CHECKPOINT_EVERY)
    seconds: dict[str, list[float]] = {}
    for sources in sorted({most // 20 or 1, most}):
        home = _home(setting.folder / f"age-{sources}", sources)
        for runs in ages:
            _add_runs(home, upto=runs, sources=sources)
            _night(home, -1)  # makes the checkpoint
            name = f"{runs} runs, {sources} sources"
            seconds[name] = [round(_night(home, runs + number), 3) for number in range(setting.rounds)]
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
            add_source(home, key(f"s{number}"), [document(0, str(number))])
        publish(home, VERSIONS)
    finally:
        os.fsync = fsync
    return home


def _add_runs(home: Home, *, upto: int, sources: int) -> None:
    """Add runs, each of which annotated one source of the home."""
    for number in range(sum(1 for _ in home.runs.glob("*.json")), upto):
        moment = f"2026-01-01T00:00:{number % 60:02d}+00:00"
        name = f"s{number % sources}"
        one = SourceOutcome(name=name, digest=key(name).digest, outcome="annotated")
        run = RunRecord(run_id=f"{number + 1:08d}-x", started=moment, finished=moment, host="h", sources=(one,))
        write_run(home, replace(run, versions={"model": VERSIONS.model, "mesh": VERSIONS.mesh}, unchanged=number))


def _night(home: Home, number: int) -> float:
    new = key(f"new{number}")
    known = [SourceKey(name, digest) for name, digest in _stems(home)]
    add_source(home, new, [document(0, f"9{number + 1:07d}")])
    begun = time.process_time()

    def outcomes(run: RunRecord) -> RunRecord:
        done = [replace(one, outcome="annotated" if one.key == new else "unchanged") for one in run.sources]
        return replace(run, sources=tuple(done))

    with recorded_run(home, [*known, new], VERSIONS, todo={new}, options={}, with_outcomes=outcomes):
        publish(home, VERSIONS)
    status(home)
    return time.process_time() - begun


def _stems(home: Home) -> list[list[str]]:
    return [path.stem.rsplit(".", 1) for path in sorted((home.root / "documents").glob("*.parquet"))]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[100, 1_000, 3_650])
    parser.add_argument("--sources", type=int, nargs="+", default=[100, 2_000, 10_000])
    parser.add_argument("--nights", type=int, default=3, help="of which the median counts")
    parser.add_argument("--profile", action="store_true", help="print where the last night spends its time")
    options = parser.parse_args(arguments)
    print(f"| sources | {' | '.join(f'{runs:,} runs' for runs in options.runs)} |")
    print(f"|---|{'---|' * len(options.runs)}", flush=True)
    with TemporaryDirectory(prefix="e2emern-age-") as folder:
        for sources in options.sources:
            home = _home(Path(folder) / str(sources), sources)
            cells = []
            for runs in options.runs:
                _add_runs(home, upto=runs, sources=sources)
                _night(home, -1)  # makes the checkpoint
                seconds = [_night(home, runs + number) for number in range(options.nights)]
                cells.append(f"{median(seconds):.2f} s")
            print(f"| {sources:,} | {' | '.join(cells)} |", flush=True)
        if options.profile:
            with cProfile.Profile() as profile:
                _night(home, runs + options.nights)
            pstats.Stats(profile).sort_stats("cumulative").print_stats(40)
    return 0


if __name__ == "__main__":
    sys.exit(main())
