"""The process that annotates pasted text for the explorer; `flows.explorer.annotator` starts it.

Standard input: a JSON object with home, model, mesh and device, then one object a request. Standard output: one JSON
object for each, with `error` if something is wrong. It ends when its input closes.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2emern.model.document import MENTION_FIELDS, Candidate, Document, Mention, Passage, Sentence
from e2emern.tasks.documents import text_of
from e2emern.tasks.errors import InputError
from e2emern.tasks.models import load
from e2emern.tasks.resolve import find_mesh, find_model
from e2emern.tasks.texts import annotate_texts
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.layout import Home
from e2emern.warehouse.wording import one_line

if TYPE_CHECKING:
    from e2emern.model.inference.cascade import Cascade

CANDIDATES = 5  # of a mention
_ROOM = 4 * 1024**3  # bytes of memory beyond what the loaded model takes


def main() -> None:
    """Load the model, and answer the requests of standard input until it closes."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not reach the answers

    def answered(answer: Callable[[], dict[str, Any]]) -> bool:
        try:
            line = answer()
        except (InputError, WarehouseError) as error:
            line = {"error": one_line(error)}
        except MemoryError:
            line = {"error": "the text needs too much memory; shorten it"}
        except Exception as error:  # a fault of one text must not end the process
            line = {"error": f"unexpected {type(error).__name__}: {one_line(error)}"}
        out.write(json.dumps(line) + "\n")
        out.flush()
        return "error" not in line

    loaded: list[Cascade] = []

    def started() -> dict[str, Any]:
        loaded.append(_load(**json.loads(sys.stdin.readline())))
        return {"versions": _versions(loaded[0])}

    def asked(line: str) -> dict[str, Any]:
        return _answer(loaded[0], json.loads(line))

    if answered(started):
        for line in sys.stdin:
            answered(partial(asked, line))


def _load(*, home: str, model: str | None, mesh: str, device: str) -> Cascade:
    place = Home(Path(home))
    folder = find_model(model, home=place)
    cascade = load(folder, find_mesh(Path(mesh), home=place), home=place, device=device)
    used = int(Path("/proc/self/statm").read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE") if _has_proc() else None
    if used is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (used + _ROOM, hard))
    return cascade


def _has_proc() -> bool:
    return Path("/proc/self/statm").exists()


def _versions(cascade: Cascade) -> dict[str, str]:
    return {"model": cascade.model_version, "mesh": cascade.mesh_version}


def _answer(cascade: Cascade, request: dict[str, Any]) -> dict[str, Any]:
    if "sentence" in request:
        return _attention(cascade, request["sentence"], request["concept"])
    if "passages" in request:
        return {"mentions": _with_candidates(cascade, request["passages"]), "versions": _versions(cascade)}
    (found,) = annotate_texts([request["text"]], cascade=cascade, candidates=CANDIDATES)
    if found.error:
        raise InputError(found.error)
    rows = [_row(*each) for each in zip(found.mentions, found.candidates, strict=True)]
    return {"mentions": rows, "versions": _versions(cascade)}


def _with_candidates(cascade: Cascade, passages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from e2emern.model.inference.ranking import rank_candidates

    text = text_of(Document("document", 0, tuple(Passage(**each) for each in passages)))
    if not text.sentences:
        return []
    (mentions,), linked, _ = cascade.annotate_with_evidence([text])
    (candidates,) = rank_candidates(linked, [mentions], cascade=cascade, most=CANDIDATES)
    return [_row(*each) for each in zip(mentions, candidates, strict=True)]


def _row(mention: Mention, candidates: Sequence[Candidate]) -> dict[str, Any]:
    fields = {name: getattr(mention, name) for name in MENTION_FIELDS}
    return fields | {"candidates": [asdict(one) for one in candidates]}


def _attention(cascade: Cascade, sentence: str, concept: str) -> dict[str, Any]:
    from e2emern.model.inference.attention import attention_over

    place = cascade.vocabulary.position.get(concept)
    if place is None:
        raise InputError(f"{concept} is not a concept of MeSH {cascade.mesh_version}")
    name = cascade.vocabulary.concepts[place].name
    words = attention_over(Sentence(0, len(sentence), sentence), name, model=cascade.model, tokenizer=cascade.tokenizer)
    return {
        "name": name,
        "words": [{"text": sentence[word.start : word.end], "weight": word.weight} for word in words],
        "versions": _versions(cascade),
    }
