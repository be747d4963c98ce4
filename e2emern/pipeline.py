"""Annotate texts from Python: load a model once, then call it with one text, many texts, or a column of a DataFrame."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from e2emern.doc import Candidate, Doc, Mention, Scores
from e2emern.tasks.errors import InputError
from e2emern.tasks.texts import BATCH_TEXTS, AnnotatedText, annotate_texts, load_for_texts, processes_for_texts
from e2emern.warehouse.home_format import open_home

if TYPE_CHECKING:
    import pandas as pd

    from e2emern.model.inference.cascade import Cascade
    from e2emern.tasks.chunks import Processes

COLUMNS = ("start", "end", "text", "type", "mesh_id", "mesh_name", "low", "mid", "high", "link", "how")
"""The columns of `annotate` after the id."""


def load(
    *,
    model: str | Path | None = None,
    mesh: str | Path | None = None,
    home: str | Path | None = None,
    device: str = "auto",
    processes: int | Literal["auto"] = 1,
    candidates: int = 5,
) -> Pipeline:
    """Load a model and a vocabulary, ready to annotate.

    Args:
        model: a model folder, or with `home` the version of a model in it; by default the champion of the home, or the
            bundled model without a home.
        mesh: an entities table, or with `home` a version of MeSH in it; by default the bundled one.
        home: the home in which versions are looked up. It also keeps the encoded names of a vocabulary that the model
            was not shipped with; without a home, the user's cache folder (`$XDG_CACHE_HOME/e2emern`) does.
        device: `auto`, `cpu` or `cuda`; `auto` is cuda if available.
        processes: number of processes for `pipe` and `annotate`, each with its own copy of the model; `auto` is one per
        core as far as memory allows, or one for a GPU. With several, a script needs `if __name__ == "__main__":`
        around its calls, since each process imports it.
        candidates: maximum number of concepts to return for each mention; 0 for none.

    Raises:
        InputError: the model, the vocabulary, the number of processes or the device cannot be used.
        WarehouseError: the home does not exist, or another release made it.
    """
    if candidates < 0:
        raise InputError(f"candidates: found {candidates}, expected 0 or more")
    place = None if home is None else open_home(Path(home))
    if place is not None:
        place.check()
    cache = _cache()
    others = processes_for_texts(model, mesh, home=place, cache=cache, device=device, processes=processes)
    cascade = load_for_texts(model, mesh, home=place, cache=cache, device=device)
    return Pipeline(cascade, candidates=candidates, processes=others)


@dataclass(frozen=True, slots=True, repr=False)
class Pipeline:
    """A loaded model: call it with a text, or `pipe` with many. Use it in one thread at a time.

    >>> doc = nlp("Metformin lowers the risk of gout.")
    >>> [(mention.text, mention.type, mention.mesh_id) for mention in doc.mentions]
    [('Metformin', 'Chemical', 'D008687'), ('gout', 'Disease', 'D006073')]
    """

    cascade: Cascade
    candidates: int = 5
    processes: Processes | None = None

    @property
    def model_version(self) -> str:
        """The version of the model, as the tables of a home record it."""
        return self.cascade.model_version

    @property
    def mesh_version(self) -> str:
        """The version of the vocabulary."""
        return self.cascade.mesh_version

    def __call__(self, text: str) -> Doc:
        """Return a text with its mentions. Raises InputError if it is not a str, or the model cannot read it."""
        (doc,) = replace(self, processes=None).pipe([text])
        if doc.error:
            raise InputError(doc.error)
        return doc

    def pipe(self, texts: Iterable[str], *, batch_size: int = BATCH_TEXTS) -> Iterator[Doc]:
        """Yield each text with its mentions, in order; read at most `batch_size` texts ahead (twice that per process).

        A text that the model cannot read gives a document with an `error` and no mentions, and the others continue.
        Blank lines separate paragraphs.

        >>> texts = ["Aspirin relieves headache.", "No finding."]
        >>> [len(doc.mentions) for doc in nlp.pipe(texts, batch_size=32)]
        [2, 0]

        Raises:
            InputError: a text is not a str, `batch_size` is less than 1, or a process was killed.
        """
        if isinstance(texts, str):
            raise InputError("texts: found a str, expected several; call the pipeline itself with one text")
        if batch_size < 1:
            raise InputError(f"batch_size: found {batch_size}, expected 1 or more")
        for found in annotate_texts(
            _checked(texts),
            cascade=self.cascade,
            processes=self.processes,
            candidates=self.candidates,
            batch_size=batch_size,
        ):
            yield _doc(found)

    def __repr__(self) -> str:
        return f"Pipeline(model={self.model_version!r}, mesh={self.mesh_version!r})"


def annotate(
    frame: pd.DataFrame,
    *,
    text: str = "text",
    id: str | None = None,  # noqa: A002  # the name that users of DataFrames expect
    nlp: Pipeline | None = None,
    batch_size: int = BATCH_TEXTS,
) -> pd.DataFrame:
    """Return the mentions in a column of texts, one row each, in the order of the texts.

    Missing texts have no mentions. Texts that the model cannot read are counted in a warning; the result's
    `attrs["errors"]` has the reason for each id.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"pmid": [1, 2], "abstract": ["Aspirin relieves headache.", None]})
    >>> found = e2emern.annotate(frame, text="abstract", id="pmid", nlp=nlp)
    >>> found[["pmid", "start", "end", "text", "mesh_id"]]
       pmid  start  end      text  mesh_id
    0     1      0    7   Aspirin  D001241
    1     1     17   25  headache  D006261

    Args:
        frame: a pandas DataFrame.
        text: the column with the texts.
        id: the column that identifies a text; by default the index.
        nlp: what `load` returned; by default the bundled model, which is loaded for this call.
        batch_size: texts to annotate at a time.

    Raises:
        InputError: a column is missing, a text is not a str, or the model cannot be loaded.
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"frame: found {type(frame).__name__}, expected a pandas DataFrame")
    for column in filter(None, (text, id)):
        if column not in frame.columns:
            raise InputError(f"no column {column!r}; found {', '.join(map(str, frame.columns)) or 'none'}")
    name = id or str(frame.index.name or "id")
    if name in COLUMNS:
        raise InputError(f"id: found {name!r}, which is a column of the result; rename it")
    ids = list(frame.index if id is None else frame[id])
    texts = ["" if _is_missing(value, pd.NA) else value for value in frame[text]]
    nlp = nlp or load()
    rows: list[dict[str, Any]] = []
    errors: dict[Any, str] = {}
    for key, doc in zip(ids, nlp.pipe(texts, batch_size=batch_size), strict=True):
        if doc.error:
            errors[key] = doc.error
        rows += [{name: key} | _row(mention) for mention in doc.mentions]
    found = pd.DataFrame(rows, columns=[name, *COLUMNS])
    if errors:
        found.attrs["errors"] = errors
        first, why = next(iter(errors.items()))
        warnings.warn(f"{len(errors)} of {len(texts)} texts not annotated; {first}: {why}", stacklevel=2)
    return found


def _is_missing(value: object, missing: object) -> bool:
    return value is None or value is missing or (isinstance(value, float) and math.isnan(value))


def _row(mention: Mention) -> dict[str, Any]:
    scores = mention.scores
    values = {"low": scores.low, "mid": scores.mid, "high": scores.high, "link": scores.link}
    return {column: values[column] if column in values else getattr(mention, column) for column in COLUMNS}


def _checked(texts: Iterable[str]) -> Iterator[str]:
    for at, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"text {at}: found {type(text).__name__}, expected str")
        yield text


def _doc(found: AnnotatedText) -> Doc:
    mentions = tuple(
        Mention(
            start=one.start,
            end=one.end,
            text=one.text,
            type=one.entity_type,
            mesh_id=one.mesh_id,
            mesh_name=one.mesh_name,
            scores=Scores(low=one.ner_score, mid=one.mid_score, high=one.high_score, link=one.link_score),
            how=one.how,
            candidates=tuple(
                Candidate(
                    mesh_id=each.mesh_id,
                    mesh_name=each.mesh_name,
                    scores=Scores(low=one.ner_score, mid=each.mid_score, high=each.high_score, link=each.link_score),
                )
                for each in candidates
            ),
        )
        for one, candidates in zip(found.mentions, found.candidates, strict=True)
    )
    return Doc(text=found.text, mentions=mentions, error=found.error)


def _cache() -> Path:
    """Return the folder of this user's cache (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "e2emern"
