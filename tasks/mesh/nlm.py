"""Parse NLM's MeSH files, `desc20XX.xml` and `supp20XX.xml`, as streams.

Format: https://www.nlm.nih.gov/mesh/xml_data_elements.html (descriptors and supplementary concept records).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from lxml import etree

from e2emern.tasks.mesh.records import (
    DESCRIPTOR,
    ENTRY,
    PERMUTED,
    SUPPLEMENTARY,
    LeftOut,
    MeshConcept,
    MeshRecord,
    checked_tree_numbers,
    named,
    type_of,
)
from e2emern.tasks.parsers.records import Failure, RecordError
from e2emern.tasks.parsers.xml_stream import elements, flat_text, position_of, wrong_root

DESCRIPTORS_ROOT, SUPPLEMENTARY_ROOT = "DescriptorRecordSet", "SupplementalRecordSet"

_DESCRIPTOR_ID = re.compile(r"D[0-9]{6,12}")
_SUPPLEMENTARY_ID = re.compile(r"C[0-9]{6,12}")
_OMIM = re.compile(r"\bOMIM:?\s*([0-9]{6})\b")  # in the note of a rare disease

# SCRClass: 1 substances, 2 protocols, 3 rare diseases, 4 organisms, 5 population groups, 6 anatomy.
_SUBSTANCE, _PROTOCOL, _DISEASE = "1", "2", "3"


def parse_descriptors(path: Path) -> Iterator[MeshRecord]:
    """Yield each DescriptorRecord of a file in order. Memory does not grow with the file.

    Raises SourceError if the file cannot be read to its end, is not well-formed XML, or declares entities.
    """
    yield from _parse(path, {DESCRIPTORS_ROOT: ("DescriptorRecord",)}, "DescriptorUI", _descriptor)


def parse_supplementary(path: Path, *, headings: Mapping[str, str | None]) -> Iterator[MeshRecord]:
    """Yield each SupplementalRecord of a file in order. Memory does not grow with the file.

    `headings` maps descriptors to their entity types, None for one that is neither a disease nor a chemical. The class
    of a record gives its type; a protocol has the type of the descriptors it is mapped to. Raises SourceError as
    `parse_descriptors` does.
    """
    yield from _parse(
        path,
        {SUPPLEMENTARY_ROOT: ("SupplementalRecord",)},
        "SupplementalRecordUI",
        lambda element, record: _supplementary(element, record, headings),
    )


def _parse(
    path: Path,
    roots: Mapping[str, tuple[str, ...]],
    identifier: str,
    read: Callable[[etree._Element, int], MeshRecord],
) -> Iterator[MeshRecord]:
    tags = {tag for each in roots.values() for tag in each}
    for record, (element, before) in enumerate(elements(path, roots)):
        try:
            if element.tag not in tags:
                raise RecordError(wrong_root(element, " or ".join(roots)))
            yield read(element, record)
        except RecordError as error:
            mesh_id = _text(element.find(identifier))[:100] or None
            yield Failure(record, position_of(element, before), str(error), mesh_id)


def _descriptor(element: etree._Element, record: int) -> MeshRecord:
    mesh_id = _identifier(element.find("DescriptorUI"), _DESCRIPTOR_ID)
    tree_numbers = checked_tree_numbers([_text(number) for number in element.iterfind("TreeNumberList/TreeNumber")])
    entity_type = type_of(tree_numbers)
    if entity_type is None:
        return LeftOut(mesh_id)
    concept = _concept(element, record, mesh_id, entity_type, DESCRIPTOR, name="DescriptorName")
    return replace(concept, tree_numbers=tree_numbers)


def _supplementary(element: etree._Element, record: int, headings: Mapping[str, str | None]) -> MeshRecord:
    mesh_id = _identifier(element.find("SupplementalRecordUI"), _SUPPLEMENTARY_ID)
    mapped_to = tuple(
        dict.fromkeys(  # a star marks a major heading
            _identifier(heading, _DESCRIPTOR_ID, marked="*")
            for heading in element.iterfind("HeadingMappedToList/HeadingMappedTo/DescriptorReferredTo/DescriptorUI")
        )
    )
    entity_type = _supplementary_type(element.get("SCRClass", _SUBSTANCE), mapped_to, headings)
    if entity_type is None:
        return LeftOut(mesh_id)
    concept = _concept(element, record, mesh_id, entity_type, SUPPLEMENTARY, name="SupplementalRecordName")
    omim = _OMIM.findall(_text(element.find("Note"))) if entity_type == "Disease" else ()
    return replace(concept, mapped_to=mapped_to, aliases=tuple(dict.fromkeys(omim)))


def _supplementary_type(scr_class: str, mapped_to: tuple[str, ...], headings: Mapping[str, str | None]) -> str | None:
    if scr_class == _PROTOCOL:
        unknown = [heading for heading in mapped_to if heading not in headings]
        if unknown:
            raise RecordError(f"mapped to {unknown[0]}, which no source has; also import the descriptors of its year")
        types = {headings[heading] for heading in mapped_to}
        return "Chemical" if "Chemical" in types else None
    return {_SUBSTANCE: "Chemical", _DISEASE: "Disease"}.get(scr_class)


def _concept(
    element: etree._Element, record: int, mesh_id: str, entity_type: str, record_type: str, *, name: str
) -> MeshConcept:
    """Return the fields that both kinds of records share; `name` is the tag of the preferred name."""
    terms = [
        (_text(term.find("String")), PERMUTED if term.get("IsPermutedTermYN") == "Y" else ENTRY)
        for term in element.iterfind("ConceptList/Concept/TermList/Term")
    ]
    names, kinds = named(_text(element.find(f"{name}/String")), terms)
    return MeshConcept(
        record=record,
        position=f"line {element.sourceline}",
        mesh_id=mesh_id,
        entity_type=entity_type,
        record_type=record_type,
        names=names,
        kinds=kinds,
    )


def _identifier(element: etree._Element | None, form: re.Pattern[str], *, marked: str = "") -> str:
    found = _text(element).removeprefix(marked)
    if not found:
        raise RecordError("no identifier")
    if not form.fullmatch(found):
        raise RecordError(f"identifier {found[:40]!r}, expected one such as {form.pattern[0]}000001")
    return found


def _text(element: etree._Element | None) -> str:
    return "" if element is None else " ".join(flat_text(element).split())
