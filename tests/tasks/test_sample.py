"""The bundled sample parses to the records that its comments describe."""

from __future__ import annotations

from collections import Counter

from e2emern.defaults import SAMPLE
from e2emern.model.document import Document
from e2emern.tasks.parsers import Deletion, Failure, parse

RECORDS = list(parse(SAMPLE))
DOCUMENTS = {record.document_id: record for record in RECORDS if isinstance(record, Document)}


def test_every_record_is_accounted_for() -> None:
    assert Counter(type(record).__name__ for record in RECORDS) == {"Document": 26, "Failure": 1, "Deletion": 1}
    assert [record.record for record in RECORDS] == list(range(28))
    assert list(DOCUMENTS) == [str(pmid) for pmid in range(99000001, 99000027)]


def test_the_malformed_record_and_the_deletion() -> None:
    failure, deletion = RECORDS[26:]
    assert isinstance(failure, Failure)
    assert (failure.document_id, failure.reason) == (None, "no PMID")
    assert deletion == Deletion(record=27, pmid=99000026, version=1)


def test_odd_articles() -> None:
    assert [name for name, each in DOCUMENTS.items() if not each.title] == ["99000018"]
    assert [name for name, each in DOCUMENTS.items() if not each.abstract] == ["99000015"]
    assert [name for name, each in DOCUMENTS.items() if each.version != 1] == ["99000023"]
    assert [name for name, each in DOCUMENTS.items() if each.language != "eng"] == ["99000009"]
    assert DOCUMENTS["99000009"].title.startswith("[Gaucher disease in adults")
    assert DOCUMENTS["99000018"].passages[0].text.startswith("Vancomycin (VAN) is often combined")
    assert DOCUMENTS["99000015"].title == (
        "Agranulocytosis after 18 years of clozapine for schizophrenia: was valproate to blame?"
    )


def test_markup_labels_and_characters() -> None:
    assert DOCUMENTS["99000001"].title == (
        "Tamoxifen for the prevention of breast and ovarian cancer in carriers of BRCA1 mutations."
    )
    assert DOCUMENTS["99000001"].abstract.startswith("BACKGROUND: Women who carry a mutation of BRCA1 have")
    assert "exceeded 5×103 U/l" in DOCUMENTS["99000004"].abstract
    assert "vitamin B12 deficiency and lactic acidosis" in DOCUMENTS["99000007"].title
    assert "carvedilol, a 𝛽-blocker, for its prevention" in DOCUMENTS["99000013"].abstract
    beyond_ascii = {each for document in DOCUMENTS.values() for each in document.text if not each.isascii()}
    assert beyond_ascii == set("µ×éôαβ𝛽")


def test_dates_and_journals() -> None:
    assert [DOCUMENTS[f"990000{n:02}"].published for n in (1, 2, 6, 19, 22)] == [
        "2021-03-17",
        "2019-11",
        "2017",
        "2015",
        "2024",
    ]
    assert {(each.published or "")[:4] for each in DOCUMENTS.values()} == {str(year) for year in range(2015, 2025)}
    assert DOCUMENTS["99000024"].journal == "Imaginary Respiratory Medicine"
    assert len({each.journal for each in DOCUMENTS.values()}) == 10


def test_abstracts_are_of_ordinary_length() -> None:
    words = [len(each.abstract.split()) for each in DOCUMENTS.values() if each.abstract]
    assert len(words) == 25
    assert (min(words), max(words)) == (167, 201)
