"""Describe text that servers and browsers return instead of records. `foreign` describes other kinds of bytes."""

from __future__ import annotations

import re

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
_RIS = b"TY  - "


def describe_start(start: bytes) -> str | None:
    """Return what a text that starts with these bytes is, and what to do; None if it may hold records."""
    if found := _JSON_ERROR.match(start):
        return f"an error message of a server ({found[1].decode('utf-8', 'replace')}); download it again"
    if _JSON_ANSWER.match(start):
        return _NO_ABSTRACTS
    if start.startswith(_RIS):
        return "RIS citations; save them from PubMed in its own format (.nbib)"
    return None


def describe_root(tag: str) -> str | None:
    """Return what an XML file is with this root element, and what to do; None if it is not such a file."""
    return _ROOTS.get(tag)
