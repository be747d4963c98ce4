"""A component for spaCy: `nlp.add_pipe("e2emern")`, which spaCy finds after `pip install 'e2emern[spacy]'`.

Mentions become entities with the id of their concept as `kb_id_`. Entities cannot overlap and consist of whole tokens.
So `doc.spans["e2emern"]` has all mentions, and `doc.ents` those that overlap no earlier entity and no longer mention; a
mention that cuts a token is extended to its ends. `span._.e2emern` has the mentions of a span as plain data: offsets,
concepts, scores and candidates, the most probable concept first.

The annotations are not postponed: spaCy reads the types of the options from the signature.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc, Span
from spacy.util import filter_spans, minibatch

from e2emern.doc import Doc as Annotated
from e2emern.pipeline import Pipeline, load
from e2emern.tasks.errors import InputError
from e2emern.tasks.texts import BATCH_TEXTS

NAME = "e2emern"
"""Of the component, of its spans in `doc.spans`, and of the extension of a span."""


class Component(Pipe):  # type: ignore[misc]  # spaCy is not installed where types are checked
    """Adds the mentions of a loaded model to documents of spaCy."""

    def __init__(self, name: str, pipeline: Pipeline) -> None:
        self.name = name
        self.pipeline = pipeline
        if not Span.has_extension(NAME):
            Span.set_extension(NAME, default=())

    def __call__(self, doc: Doc) -> Doc:
        """Return a document with its mentions; a text that the model cannot read goes to spaCy's error handler."""
        for each in self.pipe([doc]):
            return each
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = BATCH_TEXTS) -> Iterator[Doc]:
        """Yield documents with their mentions."""
        for docs in minibatch(stream, size=batch_size):
            found = self.pipeline.pipe((doc.text for doc in docs), batch_size=batch_size)
            for doc, annotated in zip(docs, found, strict=True):
                if annotated.error:
                    self.get_error_handler()(self.name, self, [doc], InputError(annotated.error))
                else:
                    _add(doc, annotated)
                    yield doc


@Language.factory(  # type: ignore[untyped-decorator]  # spaCy is an extra
    NAME,
    assigns=["doc.ents", "doc.spans", f"span._.{NAME}"],
    default_config={"model": None, "mesh": None, "home": None, "device": "auto", "candidates": 5},
)
def make_component(
    nlp: Language, name: str, model: str | None, mesh: str | None, home: str | None, device: str, candidates: int
) -> Component:
    """Return a component; the options are those of `e2emern.load`."""
    return Component(name, load(model=model, mesh=mesh, home=home, device=device, candidates=candidates))


def _add(doc: Doc, annotated: Annotated) -> None:
    """Add the mentions to the spans and entities of a document."""
    mentions: dict[tuple[int, int, str], list[dict[str, Any]]] = {}
    for mention in annotated.to_dict()["mentions"]:
        mentions.setdefault((mention["start"], mention["end"], mention["type"]), []).append(mention)
    spans = []
    for (start, end, kind), its in mentions.items():
        its.sort(key=lambda one: one["scores"]["link"] or 0, reverse=True)
        place = doc.char_span(start, end, alignment_mode="expand")
        span = Span(doc, place.start, place.end, label=kind, kb_id=its[0]["mesh_id"] or "")
        span._.set(NAME, its)
        spans.append(span)
    doc.spans[NAME] = spans
    earlier = {token.i for span in doc.ents for token in span}
    free = [span for span in spans if earlier.isdisjoint(range(span.start, span.end))]
    doc.ents = [*doc.ents, *filter_spans(free)]
