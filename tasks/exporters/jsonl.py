"""Write JSON lines: one document per line with all its fields, and its mentions in `mentions`.

Nothing is grouped or renamed: the keys are the field names of `model.document`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import BinaryIO

from e2emern.model.document import Document, Mention


def write(annotated: Iterable[tuple[Document, list[Mention]]], out: BinaryIO) -> None:
    """Write one JSON object per line."""
    for document, mentions in annotated:
        line = {**asdict(document), "mentions": [asdict(mention) for mention in mentions]}
        for annotation in line["annotations"]:
            del annotation["line"]  # line of the input file, which the tables do not store
        out.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
