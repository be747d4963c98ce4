"""Parse PubMed's text format, called PubMed, MEDLINE or .nbib; E-utilities return it as `medline`.

Format: https://pubmed.ncbi.nlm.nih.gov/help/#save-medline-format and https://www.nlm.nih.gov/bsd/mms/medlineelements.html.
A record begins with its PMID and ends with a blank line; a field is a tag of four places, `- ` and its value, which
continues on lines that begin with six spaces. Text is laid out as `title + " " + abstract`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from e2emern.model.document import Document
from e2emern.tasks.parsers.annotations import shown
from e2emern.tasks.parsers.citation import PMID, abstract_of, iso_date, passages, plain, title_of
from e2emern.tasks.parsers.records import Failure, Record, RecordError
from e2emern.tasks.parsers.source_reader import Input, open_source

_FIELD = re.compile(r"([A-Z][A-Z0-9 ]{3})-(?: (.*))?")
_CONTINUED = " " * 6
_START = "PMID-"
# Of files joined by `cat`, the first may lack its last line end.
_JOINED = re.compile(r"(.*\S)(PMID- *[0-9]{1,18}\s*)")
_ONCE = ("PMID", "TI", "BTI", "AB", "DP", "CTDT", "JT", "TA")
_DATE = re.compile(r"([0-9]{4})(?: ([A-Za-z]{3,9}))?(?: ([0-9]{1,2}))?")
_CONTRIBUTED = re.compile(r"([0-9]{4})/?([0-9]{2})/?([0-9]{2})")
_TYPED = re.compile(r"(AAMC|AIDS|KIE|PIP|NASA|Publisher|plain-language-summary): *(.*)")

_Line = tuple[int, str]  # 1-based number, text


def is_medline(line: str) -> bool:
    """Return whether a line is the first of a record."""
    return line.startswith(_START)


def parse_medline(path: Input) -> Iterator[Record]:
    """Yield the records of a MEDLINE text in order, each a Document or a Failure.

    A record without a PMID, with a line that is not a field, or with a second value of a unique field is a Failure, so
    that the text of two records is never mixed. The English OAB is the abstract of a record without AB.
    Raises SourceError if the file cannot be read to its end, after the records that precede the damage.
    """
    with open_source(path, expected="PubMed's MEDLINE text") as source:
        for record, lines in enumerate(_blocks(source.lines())):
            fields, at = _Fields(), 0
            try:
                for line in lines:
                    at = line[0]
                    fields.add(line[1])
                at = lines[0][0]
                yield _document(record, fields)
            except RecordError as error:
                yield Failure(record, f"line {at}", str(error), fields.first("PMID")[:100] or None)


class _Fields:
    """The fields of one record, each with its values in order."""

    def __init__(self) -> None:
        self._values: dict[str, list[list[str]]] = {}
        self._last: list[str] | None = None  # the lines of the value that may continue

    def add(self, line: str) -> None:
        """Take the next line. Raises RecordError if it is not a field, or repeats a unique field."""
        if line.startswith(_CONTINUED) and self._last is not None:
            self._last.append(line)
            return
        found = _FIELD.fullmatch(line)
        if not found:
            raise RecordError(f"{shown(line)} is not a field of a MEDLINE record, such as 'TI  - Gout'")
        tag = found[1].rstrip()
        values = self._values.setdefault(tag, [])
        if values and tag in _ONCE:
            raise RecordError(f"a second {tag} in one record; put a blank line between records")
        self._last = [found[2] or ""]
        values.append(self._last)

    def all(self, tag: str) -> list[str]:
        """Return every value of a field, in order."""
        return [plain(" ".join(lines)) for lines in self._values.get(tag, ())]

    def first(self, tag: str) -> str:
        """Return the first value of a field, empty if there is none."""
        return next(iter(self.all(tag)), "")


def _blocks(lines: Iterator[_Line]) -> Iterator[list[_Line]]:
    """Group the lines by record: a blank line ends one, and a PMID begins one."""
    block: list[_Line] = []
    for number, line in lines:
        joined = None if line.startswith(_START) else _JOINED.fullmatch(line)
        for part in joined.groups() if joined else (line,):
            if block and (not part.strip() or is_medline(part)):
                yield block
                block = []
            if part.strip():
                block.append((number, part))
    if block:
        yield block


def _document(record: int, fields: _Fields) -> Document:
    pmid = fields.first("PMID")
    if not PMID.fullmatch(pmid):
        raise RecordError(f"PMID is {shown(pmid)}, expected a number above 0" if pmid else "no PMID")
    abstract, abstract_type = fields.first("AB"), None
    if not abstract:
        abstract, abstract_type = _other_abstract(fields)
    title = title_of(fields.first("TI")) or title_of(fields.first("BTI"))
    return Document(
        document_id=str(int(pmid)),
        record=record,
        passages=passages(title, abstract),
        pmid=int(pmid),
        journal=fields.first("JT") or fields.first("TA") or None,
        published=_published(fields),
        language=fields.first("LA") or None,
        vernacular_title=fields.first("TT") or None,
        abstract_type=abstract_type,
    )


def _other_abstract(fields: _Fields) -> tuple[str, str | None]:
    """Return the first English OAB that has text, and its type, which precedes the text."""
    languages = fields.all("OABL")
    for at, value in enumerate(fields.all("OAB")):
        typed = _TYPED.fullmatch(value)
        text = abstract_of(typed[2] if typed else value)
        language = languages[at] if at < len(languages) else "eng"
        if text and language.lower() in ("eng", "en"):
            return text, typed[1] if typed else "OAB"
    return "", None


def _published(fields: _Fields) -> str | None:
    """Return the date of a chapter's contribution, or of publication."""
    if contributed := _CONTRIBUTED.fullmatch(fields.first("CTDT")):
        return iso_date(*contributed.groups())
    written = fields.first("DP")
    parts = _DATE.fullmatch(written)
    return iso_date(*(part or "" for part in parts.groups())) if parts else iso_date(written)
