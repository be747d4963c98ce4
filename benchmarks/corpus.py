"""Writes PubMed files of any length for the measurements: the same file for the same arguments.

The abstracts are passages of PubMed text, if a file of them is given. Otherwise they combine the sentences of the
bundled sample in varied order, which is realistic in length but not in variety. The rest of a record is invented and as
large as in NLM's files, about 10 kB: the speed of a parser relative to lxml depends on how much it may skip.
"""

from __future__ import annotations

import gzip
import lzma
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from xml.sax.saxutils import escape

from e2emern.defaults import SAMPLE
from e2emern.model.document import Document
from e2emern.tasks.parsers.pubmed import parse_pubmed
from e2emern.tasks.sentences import split_sentences

SHORTEST, LONGEST = 50, 500  # words of a passage that is used as an abstract
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Corpus:
    """A file that was written: its abstracts, the words of their text, its bytes before any compression."""

    path: Path
    abstracts: int
    words: int
    bytes: int
    text: str  # origin of the text

    def described(self) -> dict[str, object]:
        """Return the figures of the file for a result."""
        return {
            "abstracts": self.abstracts,
            "words_per_abstract": round(self.words / self.abstracts, 1),
            "bytes_per_record": round(self.bytes / self.abstracts),
            "text": self.text,
        }


def write_pubmed(path: Path, *, abstracts: int, passages: Path | None = None) -> Corpus:
    """Write a PubMed file, gzip if its name ends in .gz.

    Args:
        path: the file to write.
        abstracts: number of articles.
        passages: an xz file of PubMed text, one passage per line; None for the sentences of the bundled sample.
    """
    texts = _from_sample() if passages is None else _from_passages(passages)
    words = size = 0
    opened = gzip.open(path, "wb", compresslevel=6) if path.suffix == ".gz" else path.open("wb")
    with opened as file:
        for part in _file(islice(texts, abstracts)):
            if isinstance(part, int):
                words += part
            else:
                size += file.write(part.encode())
    said = (
        "the bundled sample's sentences in varied order"
        if passages is None
        else f"PubMed passages of {SHORTEST} to {LONGEST} words ({passages.name})"
    )
    return Corpus(path, abstracts, words, size, said)


def _file(texts: Iterator[tuple[str, str]]) -> Iterator[str | int]:
    """Return the pieces of the file, and after each article the words of its text."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<PubmedArticleSet>\n'
    for number, (title, abstract) in enumerate(texts):
        yield _ARTICLE.format(pmid=90_000_001 + number, title=_escaped(title), abstract=_escaped(abstract))
        yield len(title.split()) + len(abstract.split())
    yield "</PubmedArticleSet>\n"


def _from_sample() -> Iterator[tuple[str, str]]:
    """Yield, endlessly, a title and six to fourteen sentences of the sample."""
    documents = [record for record in parse_pubmed(SAMPLE) if isinstance(record, Document)]
    titles = [document.title for document in documents if document.title]
    sentences = [
        sentence.text
        for document in documents
        for sentence in split_sentences(document)
        if sentence.start > len(document.title)
    ]
    chance = random.Random(2)
    while True:
        yield chance.choice(titles), " ".join(chance.sample(sentences, chance.randint(6, 14)))


def _from_passages(path: Path) -> Iterator[tuple[str, str]]:
    """Yield passages endlessly in varied order; roughly the first sentence is the title."""
    for passage in cycle(_passages(path)):
        title, stop, abstract = passage.partition(". ")
        yield title + stop.strip(), abstract


@cache
def _passages(path: Path) -> list[str]:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        passages = [line.strip() for line in file if SHORTEST <= len(line.split()) <= LONGEST]
    random.Random(2).shuffle(passages)
    return passages


def _escaped(text: str) -> str:
    return escape(_NO_XML.sub(" ", text))


_AUTHORS = "".join(
    f"""
          <Author ValidYN="Y">
            <LastName>{last}</LastName>
            <ForeName>{first}</ForeName>
            <Initials>{first[0]}</Initials>
            <AffiliationInfo>
              <Affiliation>Department of Imagined {field}, Faculty of Medicine, University of Nowhere, \
1 Made-up Street, Nowhere, Utopia. Electronic address: {last}@nowhere.example.</Affiliation>
            </AffiliationInfo>
          </Author>"""
    for last, first, field in (
        ("Okonjo", "Maren", "Oncology"),
        ("Lindqvist", "Ada", "Pharmacology"),
        ("Tavares", "Rui Pedro", "Neurology"),
        ("Nakata", "Yuki", "Cardiology"),
        ("Steinacker", "Jo", "Statistics"),
    )
)
_CHEMICALS = "".join(
    f"""
        <Chemical>
          <RegistryNumber>0</RegistryNumber>
          <NameOfSubstance UI="{mesh_id}">{name}</NameOfSubstance>
        </Chemical>"""
    for mesh_id, name in (("D001241", "Aspirin"), ("D002945", "Cisplatin"), ("D013629", "Tamoxifen"))
)
_HEADINGS = "".join(
    f"""
        <MeshHeading>
          <DescriptorName UI="{mesh_id}" MajorTopicYN="N">{name}</DescriptorName>
          <QualifierName UI="Q000188" MajorTopicYN="Y">drug therapy</QualifierName>
        </MeshHeading>"""
    for mesh_id, name in (
        ("D001943", "Breast Neoplasms"),
        ("D006333", "Heart Failure"),
        ("D003924", "Diabetes Mellitus, Type 2"),
        ("D006973", "Hypertension"),
        ("D001249", "Asthma"),
        ("D004827", "Epilepsy"),
        ("D010300", "Parkinson Disease"),
        ("D015179", "Colorectal Neoplasms"),
        ("D001172", "Arthritis, Rheumatoid"),
        ("D051437", "Renal Insufficiency"),
    )
)
_HISTORY = "".join(
    f"""
        <PubMedPubDate PubStatus="{status}">
          <Year>2021</Year>
          <Month>{month}</Month>
          <Day>17</Day>
          <Hour>6</Hour>
          <Minute>0</Minute>
        </PubMedPubDate>"""
    for month, status in enumerate(("received", "revised", "accepted", "entrez", "pubmed", "medline"), start=1)
)
_REFERENCES = "".join(
    f"""
        <Reference>
          <Citation>Ann Imagin Med. 2001;{number}(2):100-106</Citation>
          <ArticleIdList>
            <ArticleId IdType="pubmed">8000000{number}</ArticleId>
          </ArticleIdList>
        </Reference>"""
    for number in range(1, 9)
)
_ARTICLE = f"""  <PubmedArticle>
    <MedlineCitation Status="MEDLINE" Owner="NLM">
      <PMID Version="1">{{pmid}}</PMID>
      <DateCompleted>
        <Year>2021</Year>
        <Month>05</Month>
        <Day>17</Day>
      </DateCompleted>
      <DateRevised>
        <Year>2021</Year>
        <Month>12</Month>
        <Day>31</Day>
      </DateRevised>
      <Article PubModel="Print">
        <Journal>
          <ISSN IssnType="Print">9990-0011</ISSN>
          <JournalIssue CitedMedium="Internet">
            <Volume>21</Volume>
            <Issue>1</Issue>
            <PubDate>
              <Year>2021</Year>
              <Month>Mar</Month>
              <Day>17</Day>
            </PubDate>
          </JournalIssue>
          <Title>Annals of imagined medicine</Title>
          <ISOAbbreviation>Ann Imagin Med</ISOAbbreviation>
        </Journal>
        <ArticleTitle>{{title}}</ArticleTitle>
        <Pagination>
          <MedlinePgn>100-106</MedlinePgn>
        </Pagination>
        <ELocationID EIdType="doi" ValidYN="Y">10.9999/imagined.{{pmid}}</ELocationID>
        <Abstract>
          <AbstractText>{{abstract}}</AbstractText>
        </Abstract>
        <AuthorList CompleteYN="Y">{_AUTHORS}
        </AuthorList>
        <Language>eng</Language>
        <PublicationTypeList>
          <PublicationType UI="D016428">Journal Article</PublicationType>
          <PublicationType UI="D013485">Research Support, Non-U.S. Gov't</PublicationType>
        </PublicationTypeList>
      </Article>
      <MedlineJournalInfo>
        <Country>Utopia</Country>
        <MedlineTA>Ann Imagin Med</MedlineTA>
        <NlmUniqueID>9999999</NlmUniqueID>
        <ISSNLinking>9990-0011</ISSNLinking>
      </MedlineJournalInfo>
      <ChemicalList>{_CHEMICALS}
      </ChemicalList>
      <CitationSubset>IM</CitationSubset>
      <MeshHeadingList>{_HEADINGS}
      </MeshHeadingList>
    </MedlineCitation>
    <PubmedData>
      <History>{_HISTORY}
      </History>
      <PublicationStatus>ppublish</PublicationStatus>
      <ArticleIdList>
        <ArticleId IdType="pubmed">{{pmid}}</ArticleId>
        <ArticleId IdType="doi">10.9999/imagined.{{pmid}}</ArticleId>
      </ArticleIdList>
      <ReferenceList>{_REFERENCES}
      </ReferenceList>
    </PubmedData>
  </PubmedArticle>
"""
