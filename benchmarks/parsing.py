"""The PubMed parser and bare lxml on the same file, in CPU time."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from lxml import etree

from benchmarks.measuring import Result, Setting, alternated, corpus_of, spread
from e2emern.tasks.parsers.pubmed import parse_pubmed

_RECORDS = ("PubmedArticle", "PubmedBookArticle")
_TIMES = 8  # records per abstract that is annotated in a round, since parsing is faster than that


def pubmed_parse_over_lxml(setting: Setting) -> Result:
    """Return the records per second of `parse_pubmed` over those of a bare `iterparse`, which clears each record.

    The iterparse yields whole records only, so that it spends no time in Python: no walk is faster. Both sides read
    plain XML; decompressing gzip would be the same work for both and hide the difference.
    """
    corpus = corpus_of(setting, name="parsed.xml", abstracts=_TIMES * setting.abstracts)
    return {**compare(corpus.path, rounds=setting.rounds), "target": ">= 0.50", **corpus.described()}


def compare(path: Path, *, rounds: int) -> Result:
    """Measure both sides in alternation. Raises ValueError if they do not find the same records."""
    ours, theirs = count_parsed(path), count_walked(path)
    if ours != theirs:
        raise ValueError(f"{path}: the parser found {ours} records, lxml {theirs}")
    seconds = alternated(lambda: count_parsed(path), lambda: count_walked(path), rounds=rounds, clock=time.process_time)
    return {
        **spread(seconds, sides=("parse_pubmed", "lxml")),
        "records_per_second": round(ours / median(parser for parser, _ in seconds)),
    }


def count_parsed(path: Path) -> int:
    """Parse every record."""
    return sum(1 for _ in parse_pubmed(path))


def count_walked(path: Path) -> int:
    """Walk over every record with nothing but lxml, and clear it."""
    count = 0
    for _, element in etree.iterparse(path, events=("end",), tag=_RECORDS):
        count += 1
        element.clear()
        parent = element.getparent()
        while parent is not None and element.getprevious() is not None:
            del parent[0]
    return count
