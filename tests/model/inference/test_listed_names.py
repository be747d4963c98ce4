"""Names of the vocabulary found in text without a model."""

from __future__ import annotations

import pytest

from e2emern.model.document import Concept
from e2emern.model.inference.listed_names import ListedNames
from e2emern.model.vocabulary import Vocabulary

VOCABULARY = Vocabulary(
    [
        Concept("D000086382", "Disease", ("COVID-19", "2019-nCoV infection"), "descriptor", ("C01.748",)),
        Concept("D000163", "Disease", ("Acquired Immunodeficiency Syndrome", "AIDS"), "descriptor", ("C20.673",)),
        Concept("D004630", "Disease", ("Emergencies",), "descriptor", ("C23.550.291.781", "N06.850.376")),
        Concept("D003924", "Disease", ("Diabetes Mellitus, Type 2", "MODY", "type 2 diabetes"), "descriptor", ("C18",)),
        Concept("125853", "Disease", ("Diabetes mellitus, type 2", "type 2 diabetes"), "omim"),
        Concept(
            "C000596361", "Chemical", ("osimertinib", "Apollo", "Tagrisso XR", "25 mg dose", "--"), "supplementary"
        ),
        Concept("D006861", "Chemical", ("Hydrogen Peroxide", "H2O2"), "descriptor", ("D01.248",)),
        Concept("D013048", "Chemical", ("Specimen Handling Agents", "MODY"), "descriptor", ("D02",)),
        Concept("C081743", "Chemical", ("troponin subunit", "--"), "supplementary", (), ("D014336",)),
        Concept("D014336", "Chemical", ("Troponin",), "descriptor", ("D12.776",)),
        Concept("D007251", "Disease", ("Influenza, Human", "influenza"), "descriptor", ("C01.748.310",)),
        Concept("D001835", "Disease", ("Body Weight",), "descriptor", ("C23.888.144",)),
        Concept("D002244", "Chemical", ("Carbon",), "descriptor", ("D01.268.150",)),
        Concept("D002245", "Chemical", ("Carbon Dioxide",), "descriptor", ("D01.200.200",)),
        Concept("D004367", "Chemical", ("Dry Ice", "Carbon Dioxide"), "descriptor", ("D01.200.200.150",)),
        Concept("D004097", "Chemical", ("Dihydrotachysterol", "AT 10"), "descriptor", ("D10.570",)),
    ],
    version="1",
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("COVID-19 and covid 19.", [("COVID-19", "Disease"), ("covid 19", "Disease")]),
        ("osimertinib-induced 2019-nCoV infection", [("osimertinib", "Chemical"), ("2019-nCoV infection", "Disease")]),
        ("type 2 diabetes", [("type 2 diabetes", "Disease")]),  # OMIM repeats it
        ("AIDS aids", [("AIDS", "Disease")]),  # in capitals only
        ("H2O2 of 25 mg dose; tagrisso xr", [("H2O2", "Chemical"), ("tagrisso xr", "Chemical")]),
        ("Apollo and MODY, emergencies, Troponin subunit", []),  # trade name, two types, trees that nobody annotates
        ("hydrogen. Peroxide (hydrogen) peroxide", []),  # not over punctuation
        ("Acquired immunodeficiency syndrome", [("Acquired immunodeficiency syndrome", "Disease")]),
        ("influenza, influenza virus; H1N1 influenza viruses", [("influenza", "Disease")]),  # not the virus
        ("influenza (virus)", [("influenza", "Disease")]),
        ("carbon, carbon dioxide", [("carbon", "Chemical")]),  # part of a longer name, although two concepts have that
        ("At 10 weeks, body weight", []),
        ("", []),
    ],
)
def test_names_in_text(text: str, found: list[tuple[str, str]]) -> None:
    listed = ListedNames(VOCABULARY)
    assert [(text[start:end], kind) for start, end, kind in listed.find(text)] == found
