"""A component for spaCy: `nlp.add_pipe("e2emern")`, which spaCy finds after `pip install 'e2emern[spacy]'`.

Mentions become entities with the id of their concept as `kb_id_`, as `tasks.exporters.docbin.add_mentions` describes;
each mention in `span._.e2emern` also has its candidates.

The annotations are not postponed: spaCy reads the types of the options from the signature.
"""

from collections.abc import Iterable, Iterator

from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc
from spacy.util import minibatch

from e2emern.pipeline import Pipeline, load
from e2emern.tasks.errors import InputError
from e2emern.tasks.exporters.docbin import NAME, add_extension, add_mentions
from e2emern.tasks.texts import BATCH_TEXTS


class Component(Pipe):  # type: ignore[misc]  # spaCy is not installed where types are checked
    """Adds the mentions of a loaded model to documents of spaCy."""

    def __init__(self, name: str, pipeline: Pipeline) -> None:
        self.name = name
        self.pipeline = pipeline
        add_extension()

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
                    add_mentions(doc, annotated.to_dict()["mentions"])
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
