"""Find diseases and chemicals in biomedical text, and link them to MeSH.

    nlp = e2emern.load()                    load the model
    doc = nlp("Metformin treats ...")       annotate a text: doc.mentions
    for doc in nlp.pipe(texts): ...         annotate many
    e2emern.annotate(frame, text="text")    annotate a column of a DataFrame
    home = e2emern.open_home("home")        read the tables that `e2emern annotate` publishes

Every error that a caller can cause or fix is an `e2emern.Error` with a message of one line.

The sub-packages flows, tasks, model, warehouse and defaults are links to the folders of these names in the repository.
An installation has nothing else at the top of its site-packages, so that a module `tasks` of another project does not
replace ours. They may change in every release; the names in `__all__` are the public interface. Slow imports wait
until a name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e2emern.doc import Candidate, Doc, Mention, Scores
    from e2emern.home import Answer, Concept, Home, open_home
    from e2emern.pipeline import Pipeline, annotate, load
    from e2emern.tasks.errors import InputError
    from e2emern.warehouse.errors import Error, QueryRefusedError, WarehouseError

__all__ = [
    "Answer",
    "Candidate",
    "Concept",
    "Doc",
    "Error",
    "Home",
    "InputError",
    "Mention",
    "Pipeline",
    "QueryRefusedError",
    "Scores",
    "WarehouseError",
    "__version__",
    "annotate",
    "load",
    "open_home",
]

_MODULES = {
    "doc": ("Candidate", "Doc", "Mention", "Scores"),
    "home": ("Answer", "Concept", "Home", "open_home"),
    "pipeline": ("Pipeline", "annotate", "load"),
    "tasks.errors": ("InputError",),
    "warehouse.errors": ("Error", "QueryRefusedError", "WarehouseError"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__version__: str


def __getattr__(name: str) -> Any:
    """Import the module of a public name when it is first used."""
    if name == "__version__":
        from importlib.metadata import version

        return version("e2emern")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
