"""Show the mentions of a text in HTML: one self-contained fragment, readable without colour.

A mark has its type and concept in words after it, and the types have borders of different styles. Everything from the
text or the vocabulary is escaped, and isolated from the direction of the text around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from e2emern.doc import Mention

_STYLES = {
    "Disease": "background:#fde2c8;border-bottom:2px solid",
    "Chemical": "background:#cfe5f7;border-bottom:2px dashed",
}
_STYLE = "background:#e6e6e6;border-bottom:2px dotted"
_MARK = "color:#1a1a1a;padding:0 .15em;border-radius:.2em;"
_LABEL = "font-size:.75em;margin-left:.3em;unicode-bidi:isolate"
_TEXT = "white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.7;max-width:48em;unicode-bidi:isolate"


def html_of(text: str, mentions: Sequence[Mention], *, title: str | None = None, error: str | None = None) -> str:
    """Return a text with its mentions marked, in HTML."""
    head = f"<strong>{escape(title)}</strong>" if title else ""
    if error:
        head += f"<p><strong>Not annotated:</strong> {escape(error)}</p>"
    return f'<div class="e2emern">{head}<div dir="auto" style="{_TEXT}">{_marked(text, mentions)}</div></div>'


def _marked(text: str, mentions: Sequence[Mention]) -> str:
    """Split the text at every start and end of a mention, and mark the pieces inside mentions, which may overlap."""
    places = sorted({0, len(text), *(at for one in mentions for at in (one.start, one.end))})
    parts = []
    for start, end in pairwise(places):
        piece = escape(_visible(text[start:end]))
        covering = [one for one in mentions if one.start <= start and end <= one.end]
        if not covering:
            parts.append(piece)
            continue
        ending = [one for one in covering if one.end == end]
        labels = "".join(f'<span style="{_LABEL}">{_label(one)}</span>' for one in ending)
        style = _STYLES.get(covering[0].type, _STYLE)
        parts.append(f'<mark style="{_MARK}{style}" title="{_title(covering)}">{piece}{labels}</mark>')
    return "".join(parts)


def _label(mention: Mention) -> str:
    return escape(f"{mention.type} {mention.mesh_id or 'unlinked'}")


def _title(mentions: Sequence[Mention]) -> str:
    """Return each concept with the probability of its link, or of the span if it is not linked."""
    lines = [
        f"{one.mesh_name} ({one.mesh_id}), link {one.scores.link:.2f}"
        if one.scores.link is not None
        else f"{one.type}, not linked, span {one.scores.low:.2f}"
        for one in mentions
    ]
    return escape(_visible("; ".join(lines)))


def _visible(text: str) -> str:
    """Replace the characters that HTML cannot represent: controls and lone surrogates."""
    return "".join("\ufffd" if _is_unsafe(each) else each for each in text)


def _is_unsafe(character: str) -> bool:
    code = ord(character)
    return (code < 0x20 and character not in "\t\n") or 0x7F <= code <= 0x9F or 0xD800 <= code <= 0xDFFF
