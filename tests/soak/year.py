"""A year of dump files: a baseline and a file each night, with revisions, deletions, and files issued again or damaged.

Texts consist of sentences that the tiny model knows by heart, so its mentions are known in advance.
"""

from __future__ import annotations

import gzip
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

SENTENCES = (
    "The patients had severe breast cancer.",
    "Colon cancer was treated with cisplatin.",
    "Aspirin caused renal failure and headache.",
    "Familial mediterranean fever after treated patients.",
    "No patients with rash.",
)


@dataclass(frozen=True, slots=True)
class Article:
    """One record: a document of some sentences, the first of which is its title; without any, it has no PMID."""

    pmid: int
    sentences: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        return SENTENCES[self.sentences[0]]

    @property
    def abstract(self) -> str:
        return " ".join(SENTENCES[one] for one in self.sentences[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump:
    """One dump file as it is issued. `readable` articles precede the damage; None if it is intact."""

    name: str
    articles: tuple[Article, ...]
    deleted: tuple[int, ...] = ()
    readable: int | None = None

    def write(self, folder: Path) -> None:
        """Write the file whole, as a download does."""
        content = ("<PubmedArticleSet>" + "\n".join(map(_xml, self.articles[: self.readable]))).encode()
        if self.readable is None:
            marks = "".join(f"<PMID>{pmid}</PMID>" for pmid in self.deleted)
            content += f"<DeleteCitation>{marks}</DeleteCitation></PubmedArticleSet>".encode()
        else:
            content += b"<PubmedArticle><MedlineCitation><PMID"
        if self.name.endswith(".gz"):
            content = b"garbage" if self.readable == 0 else gzip.compress(content, mtime=0)
        beside = folder / f".{self.name}"
        beside.write_bytes(content)
        beside.replace(folder / self.name)


def make_year(nights: int, rng: random.Random) -> list[list[Dump]]:
    """Return the dump files issued before the first night (the baseline) and in each night."""
    pmids = list(range(1000, 1040))
    baseline = [_dump(number, [_article(pmid, rng) for pmid in pmids[number::3]]) for number in range(3)]
    year, issued, repairs = [baseline], list(baseline), list[Dump]()
    for night in range(nights):
        tonight = repairs
        repairs = []
        new = range(pmids[-1] + 1, pmids[-1] + 1 + rng.randint(2, 6))
        revised = rng.sample(pmids, 3)
        articles = [_article(pmid, rng) for pmid in (*new, *revised)]
        articles += [Article(0)] * (night % 4 == 1)  # one without a PMID
        articles += [rng.choice([one for one in issued[-1].articles if one.pmid] or articles)]  # as it was
        pmids += new
        deleted = rng.sample(pmids, 2) if night % 2 else []
        kind: Literal["sound", "cut", "garbage"] = {3: "cut", 6: "garbage"}.get(night % 9, "sound")  # type: ignore[assignment]
        dump = _dump(
            len(issued), articles, deleted=deleted, gz=kind == "garbage" or (kind == "sound" and night % 3 == 0)
        )
        tonight.append(dump if kind == "sound" else replace(dump, readable=0 if kind == "garbage" else 2))
        if kind != "sound":
            repairs.append(dump)
        issued.append(dump)
        if night % 5 == 4:  # an earlier file is issued again, with other content
            again = rng.choice(issued[:-2])
            again = replace(again, articles=tuple(_article(one.pmid, rng) for one in again.articles[1:] if one.pmid))
            issued = [again if one.name == again.name else one for one in issued]
            tonight.append(again)
        year.append(tonight)
    return year


def _dump(number: int, articles: list[Article], *, deleted: list[int] | None = None, gz: bool = False) -> Dump:
    name = f"pubmed30n{number + 1:04d}.xml{'.gz' if gz else ''}"
    return Dump(name=name, articles=tuple(articles), deleted=tuple(deleted or ()))


def _article(pmid: int, rng: random.Random) -> Article:
    return Article(pmid, tuple(rng.choices(range(len(SENTENCES)), k=rng.randint(2, 4))))


def _xml(article: Article) -> str:
    if not article.pmid:
        return "<PubmedArticle><MedlineCitation><Article/></MedlineCitation></PubmedArticle>"
    return (
        f"<PubmedArticle><MedlineCitation><PMID>{article.pmid}</PMID><Article>"
        f"<ArticleTitle>{article.title}</ArticleTitle><Abstract><AbstractText>{article.abstract}</AbstractText>"
        "</Abstract></Article></MedlineCitation></PubmedArticle>"
    )
