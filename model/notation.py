"""Normalize entity types and concept ids as corpora and dumps write them; the only table of these spellings.

Sources: the NCBI disease corpus (Dogan, Leaman and Lu 2014), BC5CDR (Li et al. 2016), BioRED (Luo et al. 2022), the DDI
corpus (Herrero-Zazo et al. 2013), the BioNLP shared tasks, PubTator 3 and NLM's linked data (https://id.nlm.nih.gov/mesh/).
"""

from __future__ import annotations

import re

ENTITY_TYPES = ("Disease", "Chemical")
"""The types that we annotate."""

_SPELLINGS = {
    "Disease": (
        "Disease", "Diseases", "Disorder", "Disorders", "DiseaseOrDisorder", "DiseaseOrPhenotypicFeature",
        "SpecificDisease", "Modifier", "DiseaseClass", "CompositeMention",
    ),
    "Chemical": (
        "Chemical", "Chemicals", "ChemicalEntity", "ChemicalSubstance", "SimpleChemical", "SmallMolecule",
        "Drug", "Drugs",
    ),
}  # fmt: skip
_IGNORED = re.compile(r"[\s_-]+")  # in a type, in addition to its case
_NO_ID = frozenset({"", "-", "-1", "none", "null", "nil", "na", "n/a", "nan", "cui-less", "cuiless", "cui_less"})

_OMIM = re.compile(r"o?mim\s*[:_]\s*|https?://(?:www\.)?omim\.org/(?:\w+/)*", re.IGNORECASE)
_PREFIX = re.compile(rf"(?:mesh|msh)\s*[:_]\s*|{_OMIM.pattern}", re.IGNORECASE)
_URL_OF_MESH = re.compile(r"https?://\S*mesh\S*?[/=:_]([CD][0-9]{6,9})(?![0-9])\S*", re.IGNORECASE)
_ENTREZ = re.compile(r"https?://(?:www\.)?ncbi\.nlm\.nih\.gov/mesh/6([78])([0-9]{6})/?", re.IGNORECASE)
_LONGEST_URL = 500  # characters
_MESH_ID = re.compile(r"[cd][0-9]+")


def _folded(entity_type: str) -> str:
    return _IGNORED.sub("", entity_type).casefold()


_TYPES = {_folded(spelling): kind for kind, spellings in _SPELLINGS.items() for spelling in spellings}


def normalize_type(written: str) -> str | None:
    """Return `Disease` or `Chemical` for a spelling of either, None for another type.

    Case, white space, `_` and `-` do not count.
    """
    return _TYPES.get(_folded(written))


def normalize_id(written: str) -> str | None:
    """Return a concept id as vocabularies write it: `D006073`, `C537734`, OMIM's bare `114480`; None if it is not one.

    Prefixes of MeSH and OMIM in any case, their URLs, trailing asterisks and surrounding white space are removed.
    Ids of other namespaces, such as `CHEBI:15365`, are kept unchanged.
    """
    bare, before = written, None
    while bare != before:
        before, bare = bare, bare.strip().strip("<>").rstrip("*").strip()
        short = bare[:_LONGEST_URL]
        if found := _URL_OF_MESH.fullmatch(short):
            bare = found[1]
        elif found := _ENTREZ.fullmatch(
            short
        ):  # descriptor numbers begin with 68, those of supplementary records with 67
            bare = ("C" if found[1] == "7" else "D") + found[2]
        elif found := _PREFIX.match(bare):
            bare = bare[found.end() :]
    if bare.casefold() in _NO_ID:
        return None
    return bare.upper() if _MESH_ID.fullmatch(bare) else bare


def is_omim(written: str) -> bool:
    """Return whether a source writes an id as one of OMIM."""
    return _OMIM.match(written.strip()) is not None
