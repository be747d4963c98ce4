"""Shared by PubMed XML and MEDLINE text: read a citation's title, abstract, dates and PMID.

Elements and fields: https://www.nlm.nih.gov/bsd/licensee/elements_descriptions.html.
"""

from __future__ import annotations

import re
from datetime import date
from html.entities import html5

from e2emern.model.document import Passage

PMID = re.compile(r"0*[1-9][0-9]{0,17}")

_YEAR = re.compile(r"(?<![0-9])[0-9]{4}(?![0-9])")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NO_TITLE = re.compile(
    r"\[?(?:title )?not available\.?\]?\.?|\[?no title(?: available)?\.?\]?\.?|\[?in process citation\.?\]?\.?"
    r"|\[article in [a-z, ]+\.?\]\.?",
    re.IGNORECASE,
)
_NO_ABSTRACT = re.compile(r"\[?(?:no )?abstract (?:not )?available(?: from the publisher)?\.?\]?\.?", re.IGNORECASE)
# Publishers deposit a formula as a whole LaTeX document; the last one of a cut text has no end.
_LATEX = re.compile(r"\\documentclass\b.*?\\begin\s*\{document\}(.*?)(?:\\end\s*\{document\}|$)", re.DOTALL)
_LATEX_LETTER = re.compile(r"\$*\s*\\(?:up|var)?([A-Za-z]+)\s*\$*")


def plain(text: str) -> str:
    """Return a text with every run of white space as one space, and formulas without the LaTeX that surrounds them.

    A formula that is one Greek letter becomes that letter.
    """
    if "\\documentclass" in text:
        text = _LATEX.sub(_formula, text)
    return " ".join(text.split())


def title_of(text: str) -> str:
    """Return a title; empty if PubMed writes that there is none, as in `[Not Available].`."""
    return "" if _NO_TITLE.fullmatch(text) else text


def abstract_of(text: str) -> str:
    """Return an abstract in another language or from another source; empty if PubMed writes that there is none."""
    return "" if _NO_ABSTRACT.fullmatch(text) else text


def passages(title: str, abstract: str) -> tuple[Passage, ...]:
    """Lay out `title + " " + abstract`, without a passage that is empty."""
    laid_out = (Passage("title", 0, title), Passage("abstract", len(title) + 1, abstract))
    return tuple(passage for passage in laid_out if passage.text)


def iso_date(year: str, month: str = "", day: str = "") -> str | None:
    """Return a date as ISO 8601, as precise as it is: a season or a range of months gives only the year."""
    if not _YEAR.fullmatch(year):
        found = _YEAR.search(year)
        return found[0] if found else None
    number = _month(month)
    if number is None:
        return year
    try:
        return date(int(year), number, int(day[:2])).isoformat()
    except ValueError:  # no day, or none of that month
        return f"{year}-{number:02}"


def _month(text: str) -> int | None:
    if re.fullmatch(r"0?[1-9]|1[0-2]", text):
        return int(text)
    name = text[:3].lower()
    return _MONTHS.index(name) + 1 if name in _MONTHS else None


def _formula(document: re.Match[str]) -> str:
    formula = document[1].strip()
    letter = _LATEX_LETTER.fullmatch(formula)
    return html5.get(f"{letter[1]};", formula) if letter else formula
