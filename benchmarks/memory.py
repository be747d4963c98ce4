"""The peak memory while a long file is annotated and published, in a separate process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.measuring import Result, Setting, corpus_of
from benchmarks.peak import peak_bytes
from e2emern.flows.annotate import annotate_sources

ROOT = Path(__file__).resolve().parent.parent


def peak_memory(setting: Setting) -> Result:
    """Return the peak of resident memory in gigabytes (10^9 bytes), from loading the model to publishing."""
    corpus = corpus_of(setting, name="long.xml.gz", abstracts=setting.many)
    options = [
        corpus.path,
        setting.folder / "long-home",  # separate: text that was annotated before is not annotated again
        setting.model.resolve(),
        setting.mesh.resolve(),
        setting.device,
    ]
    command = [sys.executable, "-m", "benchmarks.memory", *map(str, options)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return {**json.loads(done.stdout.splitlines()[-1]), "target": "< 4", **corpus.described()}


def main() -> None:
    file, home, model, mesh, device = sys.argv[1:]
    outcome = annotate_sources([file], Path(home), model=Path(model), mesh=Path(mesh), device=device)
    documents = sum(one.summary.counts.documents for one in outcome.annotated)
    print(
        json.dumps(
            {
                "gigabytes": round(peak_bytes() / 1e9, 3),
                "documents": documents,
                "mentions": sum(one.mentions for one in outcome.annotated),
            }
        )
    )


if __name__ == "__main__":
    main()
