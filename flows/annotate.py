"""The main job: find sources, annotate those that are not done, publish a snapshot, account for every record.

`annotate_sources` does this in the current process, without Prefect. `flows.pool` sends the work to the workers of a
pool. The model is loaded once, and only if there is something to annotate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from e2emern.defaults import MESH
from e2emern.model.inference.timings import Report
from e2emern.model.progress import Progress, silent
from e2emern.tasks.annotate import Annotated, PartsWritten, already_annotated, annotate_source
from e2emern.tasks.chunks import Annotator, InProcess, LostProcessError, Processes
from e2emern.tasks.devices import describe_device, pick_device
from e2emern.tasks.errors import InputError, ProblemsError, problems_in_lines
from e2emern.tasks.models import keep_vocabulary, load, read_versions
from e2emern.tasks.parsers.columns import GUESSED, Columns
from e2emern.tasks.processes import Wanted, count_processes
from e2emern.tasks.resolve import find_mesh, find_model
from e2emern.tasks.sources import Source, count_records, find_sources
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.files import sweep
from e2emern.warehouse.home_format import make_home, open_home
from e2emern.warehouse.invalid import InvalidAnnotations, invalid_annotations
from e2emern.warehouse.layout import Home, SourceKey, Versions
from e2emern.warehouse.snapshots.publish import publish
from e2emern.warehouse.snapshots.publish_gate import Limits
from e2emern.warehouse.snapshots.reader import Snapshot, shown_sources
from e2emern.warehouse.sources.counts import SourceSummary, pending
from e2emern.warehouse.sources.history import read_history, recorded_run
from e2emern.warehouse.sources.runs import RunRecord
from e2emern.warehouse.wording import examples


@dataclass(slots=True)
class Outcome:
    """The result of a run. `seconds` is the wall-clock time from the loaded model to the end of the last source."""

    versions: Versions
    annotated: list[Annotated] = field(default_factory=list)
    parts: dict[SourceKey, PartsWritten] = field(default_factory=dict)  # of large sources that others complete
    unchanged: list[SourceSummary] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # source name to the reason
    withdrawn: list[str] = field(default_factory=list)  # source names that stay withdrawn
    snapshot: Snapshot | None = None
    seconds: float = 0.0

    @property
    def report(self) -> Report:
        """The counts and times of the levels, summed over all sources."""
        total = Report()
        for report in (*(one.report for one in self.annotated), *(one.report for one in self.parts.values())):
            total += report
        return total

    @property
    def carried(self) -> int:
        """Number of documents whose mentions were reused, since their text was annotated before."""
        return sum(one.summary.counts.carried for one in self.annotated)

    def invalid_annotations(self, home: Home) -> InvalidAnnotations:
        """Return the invalid annotations of the sources that were annotated."""
        summaries = (one.summary for one in self.annotated)
        return invalid_annotations(home, [one.key for one in summaries if one.counts.invalid_annotations])

    @property
    def problems(self) -> list[str]:
        """One line for each source with missing records."""
        summaries = [*(one.summary for one in self.annotated), *self.unchanged]
        damaged = [f"{one.key.name}: damaged: {one.error}" for one in summaries if one.status == "damaged"]
        return damaged + [f"{name}: {reason}" for name, reason in self.failed.items()]


class IncompleteError(ProblemsError):
    """Some sources were damaged or could not be read; all others are done. `outcome` lists both."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.problems)
        self.outcome = outcome


def annotate_sources(
    inputs: Sequence[str | Path],
    home: Path,
    *,
    model: Path | None = None,
    mesh: Path = MESH,
    device: str = "auto",
    processes: Wanted = 1,
    columns: Columns = GUESSED,
    problems: Mapping[str, str] | None = None,
    publishing: bool = True,
    each: Callable[..., Annotated] = annotate_source,
    progress: Progress = silent,
) -> Outcome:
    """Annotate the sources that are not done, publish if `publishing`, and return the outcome.

    `each` annotates one source.

    The model runs in this process or in `processes` others; `auto` is one per core, or one for a GPU.
    `columns` are those of tables. `problems` maps what could not become an input to the reason: it counts as failed.

    `progress` counts the word pieces of the bank, if it has to be built, and then the documents of all sources.

    Raises InputError if the input, the model or the device cannot be used, and WarehouseError if the home cannot be
    used. Raises IncompleteError if some sources are damaged, after all others are done and published.
    """
    place = open_home(home)
    mesh = find_mesh(mesh, home=place)
    folder = find_model(model, home=place)
    versions = read_versions(folder, mesh)
    number = count_processes(processes, device=pick_device(device))
    options = {"device": describe_device(device), "processes": str(number)}
    passed_over = dict(problems or {})
    sources = find_sources(inputs, home=place, columns=columns, report=passed_over.__setitem__)
    begin_in(place)
    keep_vocabulary(place, mesh, mesh_version=versions.mesh)
    work = local_worker(place, model=folder, mesh=mesh, device=device, processes=number, each=each, progress=progress)
    sources, withdrawn = without_withdrawn(sources, place, named=inputs)
    return run_sources(
        sources,
        place,
        versions=versions,
        options=options,
        work=work,
        publishing=publishing,
        passed_over=passed_over,
        withdrawn=withdrawn,
    )


def without_withdrawn(
    sources: list[Source], home: Home, *, named: Iterable[str | Path] = ()
) -> tuple[list[Source], list[str]]:
    """Return the sources that are not withdrawn, and the names of the others; a `named` file is no longer withdrawn."""
    withdrawn = read_history(home).withdrawn
    files = {Path(each) for each in named}
    stay = {source.key for source in sources if source.key in withdrawn and source.path not in files}
    return [one for one in sources if one.key not in stay], [one.key.name for one in sources if one.key in stay]


Work = Callable[[list[Source], Outcome], None]
"""A function that annotates the given sources and adds the result of each to the outcome."""


def run_sources(
    sources: list[Source],
    home: Home,
    *,
    versions: Versions,
    options: dict[str, str],
    work: Work,
    publishing: bool = True,
    over: Snapshot | None = None,
    limits: Limits | None = None,
    passed_over: Mapping[str, str] | None = None,
    withdrawn: Sequence[str] = (),
) -> Outcome:
    """Record a run, annotate the sources that are not done with `work`, publish, and return the outcome.

    `limits` are those of the publish gate. `passed_over` are files that cannot be sources, with the reasons: they count
    as failed. `withdrawn` are the names of files that stay withdrawn.

    Raises what `work` raises, and WarehouseError if nothing can be published, for example because the current
    snapshot is no longer `over`. Raises IncompleteError if some sources are damaged, after all others are done and
    published.
    """
    outcome = Outcome(versions, failed=dict(passed_over or {}), withdrawn=list(withdrawn))
    keys = [source.key for source in sources]
    waiting = set(pending(home, set(keys), versions))
    with recorded_run(
        home,
        keys,
        versions,
        todo=waiting,
        options=options,
        with_outcomes=lambda run: _with_outcomes(run, outcome),
    ):
        todo = [source for source in sources if source.key in waiting]
        outcome.unchanged = _done_before([one for one in sources if one.key not in waiting], home, versions)
        if todo:
            work(todo, outcome)
        if publishing and (outcome.annotated or outcome.unchanged):
            outcome.snapshot = _published(home, outcome, over=outcome.snapshot or over, limits=limits)
    if outcome.problems:
        raise IncompleteError(outcome)
    return outcome


def _done_before(sources: Sequence[Source], home: Home, versions: Versions) -> list[SourceSummary]:
    """Return the record counts of sources that are done, from the snapshot if published, otherwise from their files."""
    shown = shown_sources(home, versions) if sources else {}
    return [
        shown[source.key.stem][0]
        if source.key.stem in shown
        else already_annotated(source, home=home, versions=versions)
        for source in sources
    ]


def _published(home: Home, outcome: Outcome, *, over: Snapshot | None, limits: Limits | None) -> Snapshot:
    """Publish. If that is refused, add the problems as notes to the error: nothing else reports them."""
    try:
        return publish(home, outcome.versions, operation="annotate", over=over, limits=limits)
    except WarehouseError as error:
        for line in problems_in_lines(outcome.problems):
            error.add_note(line)
        raise


def local_worker(
    home: Home,
    *,
    model: Path,
    mesh: Path,
    device: str,
    processes: int = 1,
    each: Callable[..., Annotated | PartsWritten] = annotate_source,
    progress: Progress = silent,
) -> Work:
    """Return a function that annotates sources one by one; an unreadable source does not stop the others.

    The model runs in this process or in `processes` others. Raises LostProcessError if one of them is killed.
    """

    def work(todo: list[Source], outcome: Outcome) -> None:
        total = None if progress is silent else sum(map(count_records, todo))
        with _annotator(
            home, model=model, mesh=mesh, device=device, processes=processes, progress=progress
        ) as annotator:
            begun, before = time.monotonic(), 0
            for source in todo:
                report = _after(before, total, progress, only=len(todo) == 1)
                try:
                    done = each(source, annotator=annotator, home=home, progress=report)
                    if isinstance(done, PartsWritten):
                        outcome.parts[source.key] = done
                        continue
                    outcome.annotated.append(done)
                    before += done.summary.counts.documents
                except LostProcessError:
                    raise
                except InputError as error:
                    outcome.failed[source.key.name] = error.in_file if error.path == source.path else str(error)
                except WarehouseError as error:
                    outcome.failed[source.key.name] = str(error)
            outcome.seconds = time.monotonic() - begun

    return work


def _annotator(
    home: Home, *, model: Path, mesh: Path, device: str, processes: int, progress: Progress
) -> AbstractContextManager[Annotator]:
    """Return an annotator that runs in this process, or in several."""
    if processes == 1:
        return nullcontext(InProcess(load(model, mesh, home=home, device=device, progress=progress)))
    return Processes(
        read_versions(model, mesh),
        count=processes,
        model=model,
        mesh=mesh,
        home=home,
        device=device,
    )


def _after(before: int, total: int | None, progress: Progress, *, only: bool) -> Progress:
    """Return a `Progress` for one source that counts on from the `before` documents of the sources before it.

    If it is the `only` source, its exact total is known once it is parsed; for a share of a source, that is less.
    """
    return lambda what, done, of_source: progress(what, before + done, (only and of_source) or total)


def begin_in(home: Home) -> None:
    """Create the home if needed, and delete unfinished files of killed runs. Raises InputError."""
    try:
        make_home(home)
    except OSError as error:
        raise InputError(f"cannot be used as a home ({error.strerror}); give a folder", path=home.root) from error
    sweep(home.root)


def _with_outcomes(run: RunRecord, outcome: Outcome) -> RunRecord:
    annotated = {one.summary.key: one for one in outcome.annotated}
    outcomes = []
    for source in run.sources:
        one = replace(source, outcome="not reached")
        if done := annotated.get(source.key):
            state = "annotated" if done.summary.status == "complete" else "damaged"
            one = replace(one, outcome=state, error=done.summary.error, seconds=_rounded(done.report))
        elif some := outcome.parts.get(source.key):
            one = replace(one, outcome="part", written=some.written, parts=some.parts, seconds=_rounded(some.report))
        elif source.outcome == "unchanged":
            one = source
        elif source.name in outcome.failed:
            one = replace(one, outcome="failed", error=outcome.failed[source.name])
        outcomes.append(one)
    report = outcome.report
    stages = {
        "carried": outcome.carried,
        "sentences": report.sentences,
        "spans_found": report.spans_found,
        "candidates_scored": report.candidates_scored,
        "mentions_linked": report.mentions_linked,
        "seconds": _rounded(report),
        "remembered": report.shares,
    }
    return replace(run, sources=tuple(outcomes), stages=stages, error=examples(outcome.problems) or None)


def _rounded(report: Report) -> dict[str, float]:
    return {stage: round(seconds, 3) for stage, seconds in report.seconds.items()}
