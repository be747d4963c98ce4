"""The expected content of the tables, computed by simple code that shares nothing with the project."""

from __future__ import annotations

from collections.abc import Mapping

from tests.soak.year import Dump

# The mentions that the tiny model knows: words, entity type, and the concept and its name in each version of MeSH.
KNOWN = {
    "breast cancer": ("Disease", {"tiny": ("D001", "Breast Neoplasms"), "next": ("D001", "Breast Carcinoma")}),
    "Colon cancer": ("Disease", {"tiny": ("D002", "Colonic Neoplasms"), "next": ("D100", "Colorectal Neoplasms")}),
    "cisplatin": ("Chemical", dict.fromkeys(("tiny", "next"), ("C007", "Cisplatin"))),
    "Aspirin": ("Chemical", dict.fromkeys(("tiny", "next"), ("D006", "Aspirin"))),
    "renal failure": ("Disease", dict.fromkeys(("tiny", "next"), ("D004", "Renal Insufficiency"))),
    "headache": ("Disease", dict.fromkeys(("tiny", "next"), ("D005", "Headache"))),
    "Familial mediterranean fever":
        ("Disease", dict.fromkeys(("tiny", "next"), ("D003", "Familial Mediterranean Fever"))),
}  # fmt: skip
Rows = dict[str, list[list[object]]]


def expected(issued: Mapping[str, Dump], *, model: str, mesh: str) -> Rows:
    """Return the rows of documents, mentions, failures and counts, given the content last issued of each name."""
    standing: dict[int, tuple[str, int, str, str]] = {}
    counts: list[list[object]] = []
    failures: list[list[object]] = []
    for name in sorted(issued):
        dump = issued[name]
        if dump.readable == 0:
            continue
        articles = dump.articles[: dump.readable]
        for record, article in enumerate(articles):
            if article.pmid:
                standing[article.pmid] = (name, record, article.title, article.abstract)
            else:
                failures.append([name, record, "no PMID"])
        deleted = dump.deleted if dump.readable is None else ()
        for pmid in deleted:
            standing.pop(pmid, None)
        bad = sum(not article.pmid for article in articles)
        cut = dump.readable is not None
        if cut:
            failures.append([name, len(articles), "damage"])
        parsed = len(articles) + len(deleted) + cut
        counts.append([name, parsed, len(articles) - bad, bad + cut, len(deleted), "damaged" if cut else "complete"])
    documents: list[list[object]] = []
    mentions: list[list[object]] = []
    for pmid, (name, record, title, abstract) in standing.items():
        documents.append([str(pmid), name, record, title, abstract])
        text = f"{title} {abstract}"
        for words, (kind, concepts) in KNOWN.items():
            at = text.find(words)
            while at >= 0:
                found = [str(pmid), name, record, at, at + len(words), words, kind, *concepts[mesh], model, mesh]
                mentions.append(found)
                at = text.find(words, at + 1)
    rows = {"documents": documents, "mentions": mentions, "failures": failures, "counts": counts}
    return {table: sorted(listed, key=str) for table, listed in rows.items()}
