"""Little files in the formats of NLM and CTD, and a supplementary file of any size.

`python -m tests.tasks.mesh.files FILE MEGABYTES` writes one such.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

COLUMNS = "DiseaseName DiseaseID AltDiseaseIDs Definition ParentIDs TreeNumbers ParentTreeNumbers Synonyms SlimMappings"
_SYLLABLES = "ab cy dro fen gli ket lo mab nib ola pro quin ra sta tri vex zol".split()


def descriptor(mesh_id: str, name: str, trees: Sequence[str], *terms: tuple[str, str]) -> str:
    """A DescriptorRecord; `terms` are (name, whether it is a permuted term: Y or N)."""
    numbers = "".join(f"<TreeNumber>{number}</TreeNumber>" for number in trees)
    return (
        f'<DescriptorRecord DescriptorClass = "1"><DescriptorUI>{mesh_id}</DescriptorUI>'
        f"<DescriptorName><String>{escape(name)}</String></DescriptorName>"
        f"<TreeNumberList>{numbers}</TreeNumberList>{_concepts([(name, 'N'), *terms])}</DescriptorRecord>\n"
    )


def supplementary(
    mesh_id: str,
    name: str,
    mapped_to: Sequence[str],
    *terms: tuple[str, str],
    scr_class: str = "1",
    note: str = "",
    sources: Sequence[str] = (),
) -> str:
    """A SupplementalRecord; a star before an id of `mapped_to` is kept."""
    headings = "".join(
        f"<HeadingMappedTo><DescriptorReferredTo><DescriptorUI>{heading}</DescriptorUI>"
        f"<DescriptorName><String>Heading</String></DescriptorName></DescriptorReferredTo></HeadingMappedTo>"
        for heading in mapped_to
    )
    listed = "".join(f"<Source>{source}</Source>" for source in sources)
    return (
        f'<SupplementalRecord SCRClass = "{scr_class}"><SupplementalRecordUI>{mesh_id}</SupplementalRecordUI>'
        f"<SupplementalRecordName><String>{escape(name)}</String></SupplementalRecordName>"
        f"<Note>{escape(note)}\n  </Note>"
        f"<HeadingMappedToList>{headings}</HeadingMappedToList><SourceList>{listed}</SourceList>"
        f"{_concepts([(name, 'N'), *terms])}</SupplementalRecord>\n"
    )


def descriptors(*records: str) -> str:
    """A desc20XX.xml of records."""
    return (
        f'<?xml version="1.0"?>\n<DescriptorRecordSet LanguageCode = "eng">\n{"".join(records)}</DescriptorRecordSet>\n'
    )


def supplements(*records: str) -> str:
    """A supp20XX.xml of records."""
    return _whole("SupplementalRecordSet", records)


def medic(*rows: Sequence[str]) -> str:
    """A CTD_diseases.tsv; a row begins with name, id, other ids, definition, parents, tree numbers."""
    header = "# Report created: Thu Jan 01 00:00:00 EST 2026\n# Fields:\n# " + "\t".join(COLUMNS.split()) + "\n#\n"
    return header + "".join("\t".join([*row, *[""] * (9 - len(row))]) + "\n" for row in rows)


def write_supplementary(path: Path, *, megabytes: float, seed: int = 0) -> int:
    """Writes substances with notes and synonyms such as NLM's have, two kilobytes each, and returns how many."""
    chance = random.Random(seed)
    count = 0
    with path.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0"?>\n<SupplementalRecordSet LanguageCode = "eng">\n')
        while file.tell() < megabytes * 1e6:
            for _ in range(100):
                count += 1
                file.write(_substance(count, chance))
        file.write("</SupplementalRecordSet>\n")
    return count


def _substance(number: int, chance: random.Random) -> str:
    def name() -> str:
        return "".join(chance.choices(_SYLLABLES, k=5)) + f"-{chance.randrange(10_000)}"

    return supplementary(
        f"C{number:09}",
        f"{name()} {number}",
        [f"*D{chance.randrange(1_000_000):06}" for _ in range(chance.randint(1, 3))],
        *((f"{name()} {number}", "N") for _ in range(chance.randint(1, 6))),
        note=" ".join(name() for _ in range(20)),
        sources=[name() for _ in range(4)],
    )


def _whole(root: str, records: Iterable[str]) -> str:
    return f'<?xml version="1.0"?>\n<{root} LanguageCode = "eng">\n{"".join(records)}</{root}>\n'


def _concepts(terms: Iterable[tuple[str, str]]) -> str:
    listed = "".join(
        f'<Term  ConceptPreferredTermYN="{"N" if at else "Y"}"  IsPermutedTermYN="{permuted}"  LexicalTag="NON"  '
        f'RecordPreferredTermYN="{"N" if at else "Y"}"><TermUI>T{at:06}</TermUI>'
        f"<String>{escape(name)}</String></Term>"
        for at, (name, permuted) in enumerate(terms)
    )
    return (
        '<ConceptList><Concept PreferredConceptYN="Y"><ConceptUI>M0000001</ConceptUI>'
        f"<TermList>{listed}</TermList></Concept></ConceptList>"
    )


if __name__ == "__main__":
    print(write_supplementary(Path(sys.argv[1]), megabytes=float(sys.argv[2])), "records")
