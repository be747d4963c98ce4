"""JSON lines: one document on each line, every field of it, and its mentions in `mentions`.

Nothing is grouped or renamed: the lines hold the fields of `model.document` under their own names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import BinaryIO

from model.document import Document, Mention


def write(annotated: Iterable[tuple[Document, list[Mention]]], out: BinaryIO) -> None:
    """Write one JSON object a line."""
    for document, mentions in annotated:
        line = {**asdict(document), "mentions": [asdict(mention) for mention in mentions]}
        for annotation in line["annotations"]:
            del annotation["line"]  # of the input file, which the tables do not keep
        out.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
