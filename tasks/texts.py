"""Prepare the text of a document for the model."""

from __future__ import annotations

from model.document import Document, Text
from tasks.abbreviations import find_abbreviations
from tasks.sentences import split_sentences


def text_of(document: Document) -> Text:
    """Return the sentences of a document, and the abbreviations that it defines."""
    return Text(split_sentences(document), find_abbreviations(document.text))
