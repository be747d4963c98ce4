"""Measure this host, and plan a first load: `bench`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from e2emern.defaults import MESH, MODEL
from e2emern.flows.cli.application import app, say
from e2emern.flows.cli.options import Device, Mesh, OnDevice

if TYPE_CHECKING:
    from e2emern.tasks.host_speed import Speed

_BASELINE = 40_000_000
_TABLES, _DUMPS = 1_800.0, 1_500.0  # bytes a document on disk (docs/operations.md)
_LOST = 1_800.0  # seconds that a lost batch may cost
_ROUND = 1_000  # records


@app.command(epilog="Example: e2emern bench pubmed26n0001.xml.gz")
def bench(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE...]", help="Text to annotate.", show_default="sentences of the bundled sample"),
    ] = None,
    documents: Annotated[
        int, typer.Option(min=1, metavar="N", help="Documents of the first load to plan for.")
    ] = _BASELINE,
    model: Annotated[Path, typer.Option(metavar="DIR", help="Model folder.", show_default="the bundled one")] = MODEL,
    mesh: Mesh = MESH,
    device: OnDevice = Device.AUTO,
    seconds: Annotated[float, typer.Option(min=1, metavar="S", help="Seconds to measure for, without loading.")] = 40.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Measure how many abstracts per second this host annotates, with one process and several, and plan a first load.

    Writes nothing. Give a dump file to measure real text: the sample repeats its names and is faster.
    """
    from e2emern.tasks.host_speed import documents_of, documents_of_sample, measure

    source = documents_of(files) if files else documents_of_sample()
    speeds = []
    for speed in measure(source, model=model, mesh=mesh, device=device.value, seconds=seconds):
        speeds.append(speed)
        if not as_json:
            print(_line(speed))
    plan = _plan(speeds, documents)
    if as_json:
        print(json.dumps({"speeds": [asdict(one) for one in speeds], **plan}, indent=1))
        return
    print(
        f"{documents:,} documents of this length take {plan['hours']:,.1f} hours on this host with processes = "
        f"{plan['processes']}, {plan['hours'] / 10:,.1f} on ten like it\n"
        f"disk: {plan['tables_gb']:,.1f} GB for the tables, {plan['dumps_gb']:,.1f} GB for the dump files\n"
        f"batch = {plan['batch']}: a lost batch of this many records costs {plan['batch_minutes']:,.0f} minutes; "
        "a file with more records is split into parts of this size"
    )
    if not files:
        say("measured with sentences of the bundled sample; real text is slower: e2emern bench FILE")


def _line(speed: Speed) -> str:
    cpu = f", {speed.per_cpu_second:,.1f} a CPU second" if speed.per_cpu_second else ""
    plural = "process " if speed.processes == 1 else "processes"
    return (
        f"{speed.processes:>3} {plural} of {speed.threads} threads: {speed.per_second:,.1f} abstracts a second{cpu} "
        f"({speed.documents:,} of {speed.words / speed.documents:,.0f} words in {speed.seconds:,.1f} s)"
    )


def _plan(speeds: list[Speed], documents: int) -> dict[str, float]:
    """Return the time and space that a first load takes with the fastest number of processes."""
    best = max(speeds, key=lambda one: one.per_second)
    batch = max(1, int(_LOST * best.per_second / _ROUND)) * _ROUND
    return {
        "documents": documents,
        "processes": best.processes,
        "hours": documents / best.per_second / 3600,
        "tables_gb": documents * _TABLES / 1e9,
        "dumps_gb": documents * _DUMPS / 1e9,
        "batch": batch,
        "batch_minutes": batch / best.per_second / 60,
    }
