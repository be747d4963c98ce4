"""Measures the project against its own parts: `make bench`, or `python -m benchmarks [--size full] [--only NAME]`.

Every figure is a ratio of two sides measured in alternation in one run, a rate per second of CPU, a peak, or seconds of
CPU; `benchmarks/results.json` has them with the machine, the model and the sizes. If a figure misses its target, the
exit code is 1. The sentence splitters have a separate command, `benchmarks.sentences`.
"""

from __future__ import annotations

import argparse
import json
import operator
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.age import night_over_age
from benchmarks.annotation import annotate_over_encoder, linking_over_encoder
from benchmarks.ceiling import host_ceiling
from benchmarks.explorer import explorer_pages
from benchmarks.factorised import factorised_over_pairwise
from benchmarks.measuring import Result, Setting, machine
from benchmarks.memory import peak_memory
from benchmarks.parsing import pubmed_parse_over_lxml
from benchmarks.pipeline import annotate_over_pipeline
from benchmarks.training import train_over_encoder
from benchmarks.warehouse import warehouse_over_file
from e2emern.defaults import MESH, MODEL
from e2emern.tasks.errors import InputError
from e2emern.tasks.models import read_versions
from e2emern.warehouse.files import atomic_write

BENCHMARKS: dict[str, Callable[[Setting], Result]] = {
    "annotate_over_encoder": annotate_over_encoder,
    "linking_over_encoder": linking_over_encoder,
    "annotate_over_pipeline": annotate_over_pipeline,
    "host_ceiling": host_ceiling,
    "factorised_over_pairwise": factorised_over_pairwise,
    "pubmed_parse_over_lxml": pubmed_parse_over_lxml,
    "train_over_encoder": train_over_encoder,
    "peak_memory": peak_memory,
    "warehouse_over_file": warehouse_over_file,
    "night_over_age": night_over_age,
    "explorer_pages": explorer_pages,
}
# Abstracts in a timed round, abstracts while memory is watched, and mentions of the warehouse.
SIZES = {"small": (256, 2_000, 20_000_000), "full": (2_000, 30_000, 100_000_000)}
RESULTS = Path(__file__).parent / "results.json"
PASSAGES = Path("../shared/data/text/pubmed-text.txt.xz")


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    timed, many, mentions = SIZES[options.size]
    try:
        versions = read_versions(options.model, options.mesh)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    results: Result = {
        "machine": machine(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks", *given]),
        "size": options.size,
        "model": versions.model,
        "mesh": versions.mesh,
    }
    with TemporaryDirectory(prefix="benchmarks-") as folder:
        setting = Setting(
            folder=Path(folder),
            abstracts=options.abstracts or timed,
            many=options.abstracts or many,
            mentions=options.mentions or mentions,
            rounds=options.rounds,
            model=options.model,
            mesh=options.mesh,
            device=options.device,
            passages=options.passages if options.passages.is_file() else None,
        )
        missed: list[str] = []
        print(f"{'benchmark':26s}{'result':>9s}{'least':>9s}{'most':>9s}   target    seconds", flush=True)
        for name in options.only or BENCHMARKS:
            begun = time.perf_counter()
            result = BENCHMARKS[name](setting)
            print(_row(name, result, time.perf_counter() - begun), flush=True)
            results[name] = result | {"reached": reached(result), "command": _command(name, options)}
            missed += [] if reached(result) else [name]
    output = options.output or (None if options.only else RESULTS)
    if output is None:
        print(json.dumps(results, indent=2))
    else:
        with atomic_write(output) as file:
            file.write(json.dumps(results, indent=2).encode() + b"\n")
        print(f"written to {output}")
    if missed:
        print(f"below target: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small", help="how much to measure (small)")
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="measure only this one; may be repeated")
    parser.add_argument("--abstracts", type=int, help="number of abstracts, instead of that of the size")
    parser.add_argument("--mentions", type=int, help="number of generated mentions, instead of that of the size")
    parser.add_argument("--rounds", type=int, default=3, help="number of times that both sides are measured (3)")
    parser.add_argument("--model", type=Path, default=MODEL, help="model folder")
    parser.add_argument("--mesh", type=Path, default=MESH, help="entities table")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--passages", type=Path, default=PASSAGES, help="PubMed text, used if the file exists")
    parser.add_argument("--output", type=Path, help="file to write (benchmarks/results.json; none with --only)")
    return parser


def reached(result: Result) -> bool:
    """Return whether a result is on the right side of its target, such as ">= 0.70"; true without a target."""
    if "target" not in result:
        return True
    sign, limit = str(result["target"]).split()
    return _SIGNS[sign](_figure(result), float(limit))


_SIGNS: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le, "<": operator.lt}


def _figure(result: Result) -> float:
    return float(str(next(result[name] for name in ("ratio", "gigabytes", "cpu_seconds") if name in result)))


def _row(name: str, result: Result, seconds: float) -> str:
    shown = [_figure(result), result.get("min", ""), result.get("max", "")]
    return f"{name:26s}{''.join(f'{each:>9}' for each in shown)}   {result.get('target', ''):8s}{seconds:9.1f}"


def _command(name: str, options: argparse.Namespace) -> str:
    """Return the command that repeats one measurement alone."""
    words = ["python", "-m", "benchmarks", "--only", name]
    for option in ("size", "abstracts", "mentions", "rounds", "model", "mesh", "device", "passages"):
        value = getattr(options, option)
        if value != _parser().get_default(option):
            words += [f"--{option}", str(value)]
    return shlex.join(words)


if __name__ == "__main__":
    sys.exit(main())
