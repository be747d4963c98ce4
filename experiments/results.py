"""The results: a JSON file of figures to read and commit, and the counts that they are computed from.

`results.json` has the provenance of the results, the figures of every run (a row with a seed), their mean and range,
and the gain of ours over each row. `results.parquet` has the counts of every document of every run, so that a later
row can be compared with ours without running ours again. Both are written atomically, the JSON file last, so the runs
that it names are finished.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from e2emern.model.evaluation.comparison import Difference, compare, figure, mean_and_range
from e2emern.model.evaluation.scores import Cell, Counts, summed
from e2emern.model.files import read_table, write_table, write_text
from experiments.attention import Attention
from experiments.rows import CLAIMS, OURS, ROWS

_WORDS = ("row", "corpus", "split", "protocol", "slice", "entity_type")
_NUMBERS = ("seed", "document", "tp", "fp", "fn")  # document: its position in the split
_COLUMNS: list[pa.Field[Any]] = [
    *(pa.field(name, pa.string()) for name in _WORDS),
    *(pa.field(name, pa.int32()) for name in _NUMBERS),
]
_COUNTS = pa.schema(_COLUMNS)
MEAN = "mean"  # as corpus and type: the mean over all of them


class ResultsError(ValueError):
    """The results cannot be resumed; the message is one line that says what to do."""


@dataclass(slots=True)
class Results:
    """The results of all rows.

    Attributes:
        made_from: budget, recipe, encoder and data: the same for all runs.
        runs: counts by row and seed.
        commits: the commit of the code of a run, if known.
        unseen: see `data.unseen_shares`.
    """

    made_from: dict[str, Any]
    runs: dict[tuple[str, int], Counts] = field(default_factory=dict)
    commits: dict[tuple[str, int], str | None] = field(default_factory=dict)
    unseen: dict[str, dict[str, float]] = field(default_factory=dict)
    attention: list[Attention] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, *, made_from: dict[str, Any]) -> Results:
        """Read the results of `path`, if any.

        Raises:
            ResultsError: they were made from something else, or are damaged.
        """
        if not path.exists():
            return cls(made_from)
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            counts = _read_counts(_counts_path(path))
            results = cls(
                kept["made_from"],
                {(run["row"], run["seed"]): counts[run["row"], run["seed"]] for run in kept["runs"]},
                {(run["row"], run["seed"]): run["commit"] for run in kept["runs"]},
                kept["unseen"],
                [Attention.of(each) for each in kept["attention"]],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ResultsError(f"{path}: not valid results ({error!r}); name another --output") from error
        made_from = json.loads(json.dumps(made_from))
        for key in made_from:
            if results.made_from.get(key) != made_from[key]:
                found = f"{results.made_from.get(key)} there, {made_from[key]} now"
                raise ResultsError(f"{path} was made from another {key} ({found}); name another --output")
        return results

    def write(self, path: Path) -> None:
        """Write both files."""
        _write_counts(self.runs, _counts_path(path))
        content = {
            "made_from": self.made_from,
            "rows": list(self.means()),
            "gains": list(self.gains()),
            "unseen": self.unseen,
            "attention": [asdict(each) for each in self.attention],
            "runs": [
                {"row": row, "seed": seed, "commit": self.commits.get((row, seed)), "figures": _figures(counts)}
                for (row, seed), counts in self._ordered()
            ],
        }
        write_text(path, _compact(content))

    def means(self) -> Iterator[dict[str, Any]]:
        """Yield the figures of each row: mean and range over its seeds, and the mean over corpora and types."""
        for row in self._rows():
            runs = [counts for (name, _), counts in self._ordered() if name == row]
            values: dict[tuple[str, ...], list[float]] = {}
            for counts in runs:
                of_run: dict[tuple[str, ...], list[float]] = {}
                for cell in sorted(counts):
                    value = float(figure(counts[cell].sum(0), cell.protocol))
                    values.setdefault((cell.protocol, cell.slice, cell.corpus, cell.entity_type), []).append(value)
                    of_run.setdefault((cell.protocol, cell.slice, MEAN, MEAN), []).append(value)
                for key, found in of_run.items():
                    values.setdefault(key, []).append(sum(found) / len(found))
            for key, seeds in sorted(values.items()):
                mean, least, greatest = (round(each, 4) for each in mean_and_range(seeds))
                yield {
                    "row": row,
                    **_place(key),
                    "mean": mean,
                    "least": least,
                    "greatest": greatest,
                    "seeds": len(seeds),
                }

    def gains(self) -> Iterator[dict[str, Any]]:
        """Yield the gain of one row over another, for the pairs that are compared, with its 95 % interval.

        The counts of the seeds that both rows have are summed by document, and documents are resampled (paired
        bootstrap).
        """
        for better, worse in self._pairs():
            pooled = self._pooled(better, worse)
            comparison = compare(pooled[worse], pooled[better])
            wholes: dict[tuple[str, ...], Difference] = {
                (protocol, "all", MEAN, MEAN): each for protocol, each in comparison.overall.items()
            }
            wholes |= self._sliced(better, worse, pooled)
            cells = {(c.protocol, c.slice, c.corpus, c.entity_type): each for c, each in comparison.cells.items()}
            for key, found in sorted((wholes | cells).items()):
                interval = {"gain": round(found.value, 4), "low": round(found.low, 4), "high": round(found.high, 4)}
                yield {"better": better, "worse": worse, **_place(key), **interval}

    def _sliced(self, better: str, worse: str, pooled: Mapping[str, Counts]) -> dict[tuple[str, ...], Difference]:
        """Return the mean over corpora and types within each slice, which `compare` leaves out."""
        found: dict[tuple[str, ...], Difference] = {}
        for part in sorted({cell.slice for cell in pooled[better]} - {"all"}):
            whole = {
                name: {_as_whole(cell): each for cell, each in counts.items() if cell.slice == part}
                for name, counts in pooled.items()
            }
            for protocol, each in compare(whole[worse], whole[better]).overall.items():
                found[protocol, part, MEAN, MEAN] = each
        return found

    def _pairs(self) -> list[tuple[str, str]]:
        rows = self._rows()
        wanted = [(OURS, row) for row in rows if row != OURS] + [(claim.better, claim.worse) for claim in CLAIMS]
        return [pair for pair in dict.fromkeys(wanted) if set(pair) <= set(rows) and self._have_a_seed(*pair)]

    def _have_a_seed(self, *rows: str) -> bool:
        seeds = [{seed for name, seed in self.runs if name == row} for row in rows if ROWS[row].is_random]
        return bool(set.intersection(*seeds))

    def _pooled(self, *rows: str) -> dict[str, Counts]:
        """Return the counts of some rows, summed over seeds: those in common, for rows on which the seed matters."""
        seeds = {row: {seed for name, seed in self.runs if name == row} for row in rows}
        shared = set.intersection(*(seeds[row] for row in rows if ROWS[row].is_random))
        pooled: dict[str, Counts] = {}
        for row in rows:
            runs = [self.runs[row, seed] for seed in sorted(shared if ROWS[row].is_random else seeds[row])]
            pooled[row] = {cell: np.sum([counts[cell] for counts in runs], axis=0) for cell in runs[0]}
        return pooled

    def _rows(self) -> list[str]:
        return [row for row in ROWS if any(name == row for name, _ in self.runs)]

    def _ordered(self) -> list[tuple[tuple[str, int], Counts]]:
        order = list(ROWS)
        return sorted(self.runs.items(), key=lambda item: (order.index(item[0][0]), item[0][1]))


def _place(key: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(("protocol", "slice", "corpus", "entity_type"), key, strict=True))


def _as_whole(cell: Cell) -> Cell:
    return Cell(cell.corpus, cell.split, cell.protocol, "all", cell.entity_type)


def _figures(counts: Counts) -> list[dict[str, Any]]:
    return [
        {
            **_place((cell.protocol, cell.slice, cell.corpus, cell.entity_type)),
            "value": round(float(figure(counts[cell].sum(0), cell.protocol)), 4),
            **asdict(summed(counts[cell])),
        }
        for cell in sorted(counts)
    ]


def _counts_path(path: Path) -> Path:
    return path.with_suffix(".parquet")


def _write_counts(runs: Mapping[tuple[str, int], Counts], path: Path) -> None:
    tables = []
    for (row, seed), counts in sorted(runs.items()):
        for cell in sorted(counts):
            size = len(counts[cell])
            same = {"row": row, "seed": seed, **asdict(cell)}
            columns = {key: [value] * size for key, value in same.items()} | {"document": list(range(size))}
            columns |= dict(zip(("tp", "fp", "fn"), counts[cell].T.tolist(), strict=True))
            tables.append(pa.Table.from_pydict(columns, schema=_COUNTS))
    write_table(pa.concat_tables(tables) if tables else _COUNTS.empty_table(), path)


def _read_counts(path: Path) -> dict[tuple[str, int], Counts]:
    found: dict[tuple[str, int], dict[Cell, list[list[int]]]] = {}
    for row in read_table(path, columns=_COUNTS.names, expected="counts", schema=_COUNTS).to_pylist():
        cell = Cell(row["corpus"], row["split"], row["protocol"], row["slice"], row["entity_type"])
        documents = found.setdefault((row["row"], row["seed"]), {}).setdefault(cell, [])
        documents.append([row["tp"], row["fp"], row["fn"]])
    return {run: {cell: np.array(rows, np.int64) for cell, rows in cells.items()} for run, cells in found.items()}


def _compact(content: dict[str, Any]) -> str:
    """Return JSON with one line for each row of a list, so that diffs are readable."""

    def line(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    parts = []
    for key, value in content.items():
        if isinstance(value, list) and value:
            rows = ",\n  ".join(line(each) for each in value)
            parts.append(f" {line(key)}: [\n  {rows}\n ]")
        else:
            parts.append(f" {line(key)}: {line(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
