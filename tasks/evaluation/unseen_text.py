"""Split text without gold into a part to learn names from, and a part in which to look for unseen names.

    python -m e2emern.tasks.evaluation.unseen_text pubmed.txt.xz litcovid.json --output unseen

A digest of its text decides where a document belongs, so the split never changes. A tenth of the passages is for
learning, and another tenth is held out; of the documents, which are fewer and newer, one half each. `train.txt` has
one passage per line; `pubmed.dev.txt` and `litcovid.dev.jsonl` are for `tasks.evaluation.unseen_names`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from e2emern.model.cli import fails_in_one_line
from e2emern.model.document import Document
from e2emern.model.files import write_text
from e2emern.model.training.pretrain import read_lines
from e2emern.tasks.parsers import parse

PASSAGES, DOCUMENTS = 10, 2  # one in this many is held out, and another one is for learning
SHORTEST = 60  # letters of a passage to learn from; shorter ones are headings


def part_of(text: str, parts: int) -> int:
    """Return the part that a text belongs to: 0 is held out, and 1 is learned from."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % parts


@fails_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Write the three files."""
    parser = argparse.ArgumentParser(prog="python -m e2emern.tasks.evaluation.unseen_text", description=__doc__)
    parser.add_argument("passages", type=Path, help="passages, one per line, plain or .xz")
    parser.add_argument("documents", type=Path, help="documents in any format that annotate reads")
    parser.add_argument("--output", type=Path, required=True, help="folder")
    options = parser.parse_args(arguments)
    lines = [line.strip() for chunk in read_lines(options.passages) for line in chunk if line.strip()]
    passages = [line for line in lines if part_of(line, PASSAGES) == 0]
    train, documents = [line for line in lines if part_of(line, PASSAGES) == 1], []
    for document in parse(options.documents):
        if isinstance(document, Document):
            texts = [" ".join(passage.text.split()) for passage in document.passages]
            if part_of(whole := " ".join(texts), DOCUMENTS) == 0:
                documents.append(json.dumps({"id": document.document_id, "text": whole}))
            else:
                train += [text for text in texts if len(text) >= SHORTEST]
    options.output.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train.txt", train), ("pubmed.dev.txt", passages), ("litcovid.dev.jsonl", documents)):
        write_text(options.output / name, "".join(f"{row}\n" for row in rows))
        print(f"{name}: {len(rows):,} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
