"""Measures the effect of corrections: some documents of a corpus are corrected, and both models scored on others.

    python -m experiments.corrections --data corpora/ --output build/corrections

The champion is the bundled model, which has seen no document of BioRED. 40 documents of BioRED's train part are put
into the corrections of a home, as a user would; `e2emern models retrain` then continues the champion with the recipe
`continue`. The gate judges on BioRED's dev part, 45 more documents of train and the corrections that are held back.
`e2emern evaluate` scores both models on the other documents of train, which neither training nor the gate has seen, and
on the dev splits of NCBI and BC5CDR, whose corpora both have learned: these show what was forgotten. If interrupted,
run it again: it resumes.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from e2emern.defaults import MESH, MODEL
from e2emern.model.files import write_text

CORRECTED, JUDGING = "biored.train.PubTator", "biored.dev.PubTator"
LEARNED = ("ncbi-disease.dev.PubTator", "bc5cdr.dev.PubTator")
PROTOCOLS = ("ner", "document")

Run = Callable[[Sequence[str]], str]


def experiment(
    data: Path,
    output: Path,
    *,
    documents: int = 40,
    judging: int = 45,
    champion: Path = MODEL,
    config: str | None = None,
    mesh: Path = MESH,
    learned: Sequence[str] = LEARNED,
    device: str = "auto",
    run: Run | None = None,
) -> dict[str, Any]:
    """Retrain with corrected documents, score both models, and return the figures, also as `corrections.json`.

    Args:
        data: folder of the gold files.
        output: folder of the home and of the figures.
        documents: number of corrected documents.
        judging: number of further documents to judge on, besides the dev part.
        champion: model folder of the home's champion; the bundled model in a home without another.
        config: recipe; `continue` by default.
        learned: gold files that the champion was trained on.
        run: runs a command of `e2emern` and returns what it printed.

    Raises:
        ValueError: the corpus has too few documents, or the retraining made no challenger.
        subprocess.CalledProcessError: a command failed.
    """
    run = run or run_command
    home = output / "home"
    judges, others = output / "biored.judging.PubTator", output / "biored.others.PubTator"
    split(data / CORRECTED, {home / "corrections" / CORRECTED: documents, judges: judging}, rest=others)
    common = ["--mesh", str(mesh), "--device", device]
    recipe = ["--config", config] if config else []
    gate = [word for path in (data / JUDGING, judges) for word in ("--gold", str(path))]
    words = ["models", "retrain", *recipe, "--data", str(data), *gate, "--home", str(home)]
    summary = run([*words, *common]).strip()
    made = re.match(r"model (\w+) ", summary)
    if made is None:
        raise ValueError(summary)
    gold = [others, *(data / name for name in learned)]
    models = ["--model", str(home / "models" / made[1]), "--against", str(champion)]
    scores = output / "scores"
    protocols = [word for protocol in PROTOCOLS for word in ("--protocol", protocol)]
    run(["evaluate", *map(str, gold), *models, *protocols, *common, "--output", str(scores)])
    comparison = json.loads((scores / "evaluation.json").read_text(encoding="utf-8"))["comparison"]
    found = {"corrected": documents, "judging": judging, "summary": summary, "comparison": comparison}
    write_text(output / "corrections.json", json.dumps(found, indent=1) + "\n")
    return found


def split(gold: Path, parts: Mapping[Path, int], *, rest: Path) -> None:
    """Divide the documents of a gold file among files: the given number for each of `parts`, and the rest.

    The division is the same each time. Raises ValueError if none would be left.
    """
    blocks = [f"{block.strip()}\n\n" for block in gold.read_text(encoding="utf-8").split("\n\n") if block.strip()]
    if len(blocks) <= sum(parts.values()):
        raise ValueError(f"{gold}: {len(blocks)} documents, expected more than {sum(parts.values())}")
    order = np.random.default_rng(0).permutation(len(blocks)).tolist()
    first = 0
    for path, documents in (*parts.items(), (rest, len(blocks))):
        chosen = sorted(order[first : first + documents])
        write_text(path, "".join(blocks[at] for at in chosen))
        first += documents


def run_command(words: Sequence[str]) -> str:
    """Run a command of e2emern, and return what it printed."""
    print("e2emern", *words, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "e2emern.flows.cli", *words]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment from the command line; return 1 after an error, which is one line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.corrections",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the gold files")
    parser.add_argument("--output", type=Path, default=Path("build/corrections"), help="folder of home and figures")
    parser.add_argument("--documents", type=int, default=40, help="number of documents to correct (40)")
    parser.add_argument("--judging", type=int, default=45, help="number of further documents to judge on (45)")
    parser.add_argument("--config", help="TOML file or shipped recipe (continue)")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args(arguments)
    try:
        found = experiment(
            given.data,
            given.output,
            documents=given.documents,
            judging=given.judging,
            config=given.config,
            device=given.device,
        )
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    print(found["summary"])
    print(json.dumps(found["comparison"], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
