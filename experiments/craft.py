"""Split the paragraphs of CRAFT by articles: a fifth for dev, the others for training.

    python -m experiments.craft craft.paragraphs.PubTator --output corpora

A digest of its id decides whether an article is held out, so the split never changes. `craft.train.PubTator` has only
the paragraphs that mark a chemical: there are many others, and they teach little.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from e2emern.model.cli import fails_in_one_line
from e2emern.model.files import write_text

ONE_IN = 5  # articles


def split_paragraphs(text: str) -> dict[str, list[str]]:
    """Return the paragraphs of `train` and `dev`: PubTator records, whose ids are `ARTICLE.NUMBER`."""
    found: dict[str, list[str]] = {"train": [], "dev": []}
    for record in filter(None, (each.strip("\n") for each in text.split("\n\n"))):
        if is_held_out(record.partition("|")[0].partition(".")[0]):
            found["dev"].append(record)
        elif "\tChemical\t" in record:
            found["train"].append(record)
    return found


def is_held_out(article: str) -> bool:
    """Return whether an article is kept for dev."""
    return int(hashlib.sha256(article.encode()).hexdigest(), 16) % ONE_IN == 0


@fails_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Write `craft.train.PubTator` and `craft.dev.PubTator`."""
    parser = argparse.ArgumentParser(prog="python -m experiments.craft", description=__doc__)
    parser.add_argument("paragraphs", type=Path, help="PubTator file, a record for each paragraph")
    parser.add_argument("--output", type=Path, required=True, help="folder")
    options = parser.parse_args(arguments)
    for split, records in split_paragraphs(options.paragraphs.read_text(encoding="utf-8")).items():
        write_text(options.output / f"craft.{split}.PubTator", "".join(f"{record}\n\n" for record in records))
        print(f"{split}: {len(records):,} paragraphs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
