"""Count the annotations of the input that a command does not use, by type and by kind of error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from e2emern.model.document import Annotation, Document, InvalidAnnotation
from e2emern.model.notation import ENTITY_TYPES, normalize_type
from e2emern.warehouse.wording import MOST_EXAMPLES, by_kind, plural

_LONGEST_TYPE = 40  # characters of a type in a report


@dataclass(slots=True)
class PassedOver:
    """The annotations of a file that are not used.

    Attributes:
        used: number of annotations that are used.
        types: annotations of other types, by the type as the file writes it.
        wordless: annotations of our types without a letter or digit.
        invalid: annotations that do not fit their text, by kind of error.
        examples: of the invalid ones, at most `MOST_EXAMPLES`, one line each.
    """

    used: int = 0
    types: Counter[str] = field(default_factory=Counter)
    wordless: int = 0
    invalid: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def usable(self, document: Document, *, types: Sequence[str]) -> list[tuple[Annotation, str]]:
        """Return the annotations of these types, each with its normalized type, and count the others."""
        found: list[tuple[Annotation, str]] = []
        for annotation in document.annotations:
            kind = normalize_type(annotation.entity_type)
            if kind is not None and kind in types:
                found.append((annotation, kind))
            else:
                self.types[annotation.entity_type.strip()[:_LONGEST_TYPE] or "without a type"] += 1
        for invalid in document.invalid_annotations:
            self.count(invalid)
        self.used += len(found)
        return found

    def count(self, invalid: InvalidAnnotation) -> None:
        """Count an invalid annotation, and keep the first ones as examples."""
        self.invalid[invalid.kind] += 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(f"{invalid.position}: {invalid.reason}")

    def reason(self, types: Sequence[str] = ENTITY_TYPES) -> str | None:
        """Return why no annotation of a file can be used, with the types found and expected; None if any can be used.

        If all annotations of a file are invalid, their types are unknown, and None is returned.
        """
        if self.used or (self.invalid and not self.types):
            return None
        total = self.types.total()
        return (
            f"0 of {plural(total, 'annotation')} usable: found {by_kind(self.types) or 'none'}, "
            f"expected {' or '.join(types)} in any known spelling"
        )

    def summary(self) -> str | None:
        """Return the count of each unused type; None if every type is used."""
        parts = [by_kind(self.types)] if self.types else []
        if self.wordless:
            parts.append(f"{self.wordless:,} without a letter or digit")
        return f"passed over: {', '.join(parts)}" if parts else None
