"""Measure the effect of corrections: mentions that the champion gets wrong, and how many the challenger gets right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from e2emern.model.corpus import GoldDocument
from e2emern.model.document import Mention
from e2emern.model.evaluation.evaluate import annotate_gold
from e2emern.model.inference.cascade import Cascade
from e2emern.model.vocabulary import Vocabulary
from e2emern.tasks.training.roles import GATE
from e2emern.warehouse.wording import plural

Item = tuple[int, int, str]  # start, end and type of a mention


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The effect of corrections on the mentions of the corrected documents.

    A mention is wrong if it is missed, has a concept that the correction does not give, or should not exist.

    Attributes:
        corrected: mentions that the champion gets wrong; the challenger gets `now_right` of them right.
        no_longer_right: mentions that the champion gets right and the challenger wrong.
        held_back: those of `corrected` in documents that the challenger was not trained on.
        held_back_now_right: those of `now_right` in these documents.
    """

    corrected: int = 0
    now_right: int = 0
    no_longer_right: int = 0
    held_back: int = 0
    held_back_now_right: int = 0


def effect_of(documents: Sequence[GoldDocument], *, before: Cascade, after: Cascade) -> Effect:
    """Return the effect of corrections: both models annotate the raw text of the corrected documents."""
    (found_before, _), (found_after, _) = (annotate_gold(cascade, documents) for cascade in (before, after))
    counts = dict.fromkeys(Effect.__slots__, 0)
    for document, one, other in zip(documents, found_before, found_after, strict=True):
        was, now = (wrong_mentions(document, found, vocabulary=before.vocabulary) for found in (one, other))
        counts["corrected"] += len(was)
        counts["now_right"] += len(was - now)
        counts["no_longer_right"] += len(now - was)
        if document.split == GATE:
            counts["held_back"] += len(was)
            counts["held_back_now_right"] += len(was - now)
    return Effect(**counts)


def wrong_mentions(document: GoldDocument, found: Sequence[Mention], *, vocabulary: Vocabulary) -> set[Item]:
    """Return the mentions that a model gets wrong in a document, of the types that the document marks."""
    wanted = {
        (one.start, one.end, one.entity_type): {vocabulary.canonical(concept) for concept in one.concepts}
        for one in document.mentions
    }
    given: dict[Item, set[str]] = {}
    for one in found:
        if one.entity_type in document.annotated_types:
            concepts = given.setdefault((one.start, one.end, one.entity_type), set())
            concepts |= {vocabulary.canonical(one.mesh_id)} if one.mesh_id else set()
    extra = {item for item in given if item not in wanted}
    return extra | {item for item, concepts in wanted.items() if not _is_right(concepts, given.get(item))}


def _is_right(wanted: set[str], given: set[str] | None) -> bool:
    """Return whether a span was found, and linked to one of its concepts if it has any."""
    return given is not None and (not wanted or bool(wanted & given))


def describe(effect: Effect) -> str:
    """Return the effect in a line."""
    line = f"{plural(effect.corrected, 'corrected mention')}, {effect.now_right} now right"
    if effect.no_longer_right:
        line += f", {effect.no_longer_right} others no longer"
    if effect.held_back:
        line += f"; of {effect.held_back} in documents held back, {effect.held_back_now_right} now right"
    return line
