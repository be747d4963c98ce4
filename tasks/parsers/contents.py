"""What a file is that no parser reads: files that servers and browsers give in the place of records."""

from __future__ import annotations

import codecs
import re

_HTML = re.compile(rb"(?:<!--.*?-->|\s)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_JSON_ERROR = re.compile(rb'\{\s*"error"\s*:\s*"([^"]{0,80})')
_JSON_ANSWER = re.compile(rb'\{\s*"header"\s*:\s*\{\s*"type"\s*:\s*"e[a-z]+"')
_NO_ABSTRACTS = "an answer of E-utilities without abstracts; fetch the records with efetch"
_ROOTS = {
    "eFetchResult": "an error message of E-utilities; fetch the records again",
    "eSearchResult": _NO_ABSTRACTS,
    "eSummaryResult": _NO_ABSTRACTS,
    "html": "an HTML page; download the file itself",
    "article": "a full text in JATS XML, which is not read; get it as BioC",
    "pmc-articleset": "full texts in JATS XML, which are not read; get them as BioC",
}
_STARTS = (
    (b"%PDF-", "a PDF document; get the records as PubMed XML or as text"),
    (b"TY  - ", "RIS citations; save them from PubMed in its own format (.nbib)"),
    (codecs.BOM_UTF16_LE, "text in UTF-16; convert it to UTF-8"),
    (codecs.BOM_UTF16_BE, "text in UTF-16; convert it to UTF-8"),
)


def describe_start(start: bytes, *, xml: bool) -> str | None:
    """Return what a file is that starts with these bytes, and what to do; None if it is of no such kind.

    `xml` says that they begin a mark-up.
    """
    if xml:
        return _ROOTS["html"] if _HTML.match(start) else None
    if found := _JSON_ERROR.match(start):
        return f"an error message of a server ({found[1].decode('utf-8', 'replace')}); download it again"
    if _JSON_ANSWER.match(start):
        return _NO_ABSTRACTS
    return next((what for mark, what in _STARTS if start.startswith(mark)), None)


def describe_root(tag: str) -> str | None:
    """Return what an XML file is with this root element, and what to do; None if it is of no such kind."""
    return _ROOTS.get(tag)
