"""Write brat's standoff format: for each document the files `NAME.txt`, its text, and `NAME.ann`, its annotations.

Format: https://brat.nlplab.org/standoff.html. The text has one passage on each line; offsets count its code points. An
annotation is a line `T1`, one with a concept has a normalization line `N1` for each of its concepts. A span that
contains a line end is a discontinuous annotation: one fragment for each line.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
import shutil
import tarfile
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from e2emern.model.document import Document, Mention
from e2emern.tasks.exporters.grouping import identifier, spans

# brat splits the columns of an annotation at tabs, and some readers end a line at any of the others.
FORBIDDEN = re.compile(r"[\t\v\f\r\x1c-\x1e\x85\u2028\u2029]")
SUBSTITUTE = " "

_CONFIGURATION = "annotation.conf"
_TYPES = "[entities]\nChemical\nDisease\n[relations]\n[events]\n[attributes]\n"
_LONGEST_NAME = 120  # of a file, without its suffix
_FRAGMENT = re.compile(r"[^\n]*[^\n\s][^\n]*")


def write(annotated: Iterable[tuple[Document, list[Mention]]], out: BinaryIO) -> None:
    """Write a tar archive of the files; the texts must be free of FORBIDDEN characters."""
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:

        def add(name: str, text: str) -> None:
            data = text.encode()
            member = tarfile.TarInfo(name)  # no time: the same documents give the same bytes
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))

        _write_files(annotated, add)


def write_folder(annotated: Iterable[tuple[Document, list[Mention]]], folder: Path) -> None:
    """Write a folder of the files, complete or not at all. Raises OSError if it exists and is not empty."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f".writing-{os.getpid()}-{secrets.token_hex(8)}"
    temporary.mkdir()
    try:
        _write_files(annotated, lambda name, text: (temporary / name).write_bytes(text.encode()))
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def file_name(document_id: str) -> str:
    """Return the name of a document's files, without a suffix: its id, with `%2F` and the like for unsafe characters.

    A long name is cut, and a digest of the id follows.
    """
    name = quote(document_id, safe="")
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 17]}-{hashlib.sha256(document_id.encode()).hexdigest()[:16]}"


def _write_files(annotated: Iterable[tuple[Document, list[Mention]]], add: Callable[[str, str], object]) -> None:
    add(_CONFIGURATION, _TYPES)
    for document, mentions in annotated:
        name = file_name(document.document_id)
        add(f"{name}.txt", "".join(f"{passage.text}\n" for passage in document.passages))
        add(f"{name}.ann", "".join(f"{line}\n" for line in _annotations(document, mentions)))


def _annotations(document: Document, mentions: list[Mention]) -> Iterator[str]:
    offsets, shifts, at = [], [], 0
    for passage in document.passages:
        offsets.append(passage.offset)
        shifts.append(at - passage.offset)
        at += len(passage.text) + 1
    concepts = 0
    for number, span in enumerate(spans(mentions), start=1):
        begin = span.start + shifts[bisect_right(offsets, span.start) - 1]
        fragments = list(_FRAGMENT.finditer(span.text))
        if not fragments:  # only white space
            continue
        places = ";".join(f"{begin + found.start()} {begin + found.end()}" for found in fragments)
        yield f"T{number}\t{span.entity_type} {places}\t{' '.join(found[0] for found in fragments)}"
        for mention in span.mentions:
            if mention.mesh_id is not None:
                concepts += 1
                name = " ".join((mention.mesh_name or mention.mesh_id).split())
                yield f"N{concepts}\tReference T{number} {identifier(mention.mesh_id)}\t{name}"
