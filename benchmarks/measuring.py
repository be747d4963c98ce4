"""Shared by the benchmarks: settings, input files, measuring two sides in alternation, the machine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median

import torch

from benchmarks.corpus import Corpus, write_pubmed
from e2emern.defaults import MESH, MODEL
from e2emern.model.inference.cascade import Cascade
from e2emern.tasks.models import load
from e2emern.warehouse.layout import Home

Result = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The settings of a run of the benchmarks."""

    folder: Path  # for temporary files and tables
    abstracts: int  # in each timed round
    many: int  # abstracts annotated while memory is measured
    mentions: int = 20_000  # rows that are generated for the queries
    rounds: int = 3
    model: Path = MODEL
    mesh: Path = MESH
    device: str = "auto"
    passages: Path | None = None  # an xz file of PubMed text; None: the bundled sample's sentences

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")


@cache
def cascade_of(setting: Setting) -> Cascade:
    """Return the model with its whole bank, loaded once for all benchmarks."""
    return load(setting.model, setting.mesh, home=setting.home, device=setting.device)


@cache
def corpus_of(setting: Setting, *, name: str, abstracts: int) -> Corpus:
    """Return a PubMed file, written once for all benchmarks that read it."""
    return write_pubmed(setting.folder / name, abstracts=abstracts, passages=setting.passages)


def alternated(
    first: Callable[[], object],
    second: Callable[[], object],
    *,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[tuple[float, float]]:
    """Return the seconds of both sides in each round: A B A B A B, so that a slow hour of the machine falls on both."""
    seconds = []
    for _ in range(rounds):
        begun = clock()
        first()
        between = clock()
        second()
        seconds.append((between - begun, clock() - between))
    return seconds


def spread(seconds: Sequence[tuple[float, float]], *, sides: tuple[str, str]) -> Result:
    """Return how many times as long the second side took: median, least and greatest of the rounds, all seconds."""
    ratios = [second / first for first, second in seconds]
    return {
        "ratio": round(median(ratios), 3),
        "min": round(min(ratios), 3),
        "max": round(max(ratios), 3),
        "seconds": {name: [round(each[side], 4) for each in seconds] for side, name in enumerate(sides)},
    }


def machine() -> Result:
    """Return a description of the machine, and how busy it was with other work."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _cpu() -> str:
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
