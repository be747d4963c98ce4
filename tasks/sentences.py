"""Split a document into sentences, each with its code-point offsets in the document's text.

syntok finds the sentence ends. `benchmarks/sentences.py` measures why: it splits none of the 31,153 gold mentions of
the corpora and misses no plain sentence end, so its rules are used unchanged. This module adds that a sentence never
crosses a passage and is never longer than `MAX_SENTENCE`, and that its text is a slice, not rebuilt from tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from syntok import segmenter
from syntok.tokenizer import Tokenizer

from e2emern.model.document import Document, Passage, Sentence

MAX_SENTENCE = 1000
"""The longest sentence in code points: tables in full texts have no full stop, and an encoder's input is bounded."""

_TOKENIZER = Tokenizer(replace_not_contraction=False)  # stateless
_OPENING = "".join(sorted(segmenter.State.opening_brackets))
_BRACKETS = re.escape(_OPENING + "".join(sorted(segmenter.State.closing_brackets)))
_STOPS = re.escape("".join(sorted(segmenter.State.terminals)))
_PLAIN = rf"[^\s{_BRACKETS}{_STOPS}]++"  # a word without brackets and stops
_BRACKET = re.compile(f"[{_BRACKETS}]")
_PLAIN_WORDS = re.compile(rf"(?<!\S){_PLAIN} ++((?:{_PLAIN} +)+)(?={_PLAIN}(?!\S))")
# Characters that only one of syntok and `re` treats as white space; bracketed symbols that are one token to syntok.
_UNLIKE = re.compile(rf"[\x1c-\x1f\u200b]|(?<!\S)(?=\S\S)[^\w\s]*[{_BRACKETS}](?:[^\w\s]|_)*(?!\S)|_[{_BRACKETS}]")


def split_sentences(document: Document) -> tuple[Sentence, ...]:
    """Return the sentences of every passage in order, with half-open code-point offsets into `document.text`.

    A sentence never crosses a passage, neither begins nor ends with white space, and is at most `MAX_SENTENCE`
    code points long. Every character that is not white space lies in exactly one sentence.
    """
    return tuple(sentence for passage in document.passages for sentence in _sentences(passage))


def sentence_starts(text: str) -> list[int]:
    """Return the starts of the sentences of a text, ascending from 0, before long ones are split.

    syntok gets one paragraph at a time: its own `analyze` pads each with all the text before it, in quadratic time.
    Only the offset of a sentence's first token is used, since tokens omit hyphens and zero-width spaces.
    """
    starts = [
        offset + sentence[0].offset
        for offset, paragraph in segmenter.preprocess_with_offsets(text)
        for sentence in segmenter.segment(_TOKENIZER.tokenize(_thinned(paragraph)))
    ]
    return [0, *starts[1:]]


def _thinned(text: str) -> str:
    """Blank the words that no rule of syntok reads, which saves half of its time.

    Its rules read a stop or bracket, the tokens next to it, and those within brackets. So in each run of words that are
    outside brackets and contain neither, only the first and the last are kept.
    """
    if _UNLIKE.search(text):
        return text
    parts, depth, begin, copied = [], 0, 0, 0
    for bracket in [*_BRACKET.finditer(text), None]:
        end = bracket.start() if bracket else len(text)
        if not depth:
            for run in _PLAIN_WORDS.finditer(text, begin, end):
                parts += [text[copied : run.start(1)], " " * (run.end(1) - run.start(1))]
                copied = run.end(1)
        if bracket:
            depth = depth + 1 if bracket[0] in _OPENING else max(0, depth - 1)
            begin = bracket.end()
    return "".join([*parts, text[copied:]])


def _sentences(passage: Passage) -> Iterator[Sentence]:
    text = passage.text
    starts = sentence_starts(text)
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        for first, last in _split_long(text, start, end):
            stripped = text[first:last].strip()
            if stripped:
                begin = passage.offset + text.index(stripped, first)
                yield Sentence(begin, begin + len(stripped), stripped)


def _split_long(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Split `text[start:end]` into pieces of at most `MAX_SENTENCE`, preferably after ";" or ",", or at a space."""
    while end - start > MAX_SENTENCE:
        window = text[start : start + MAX_SENTENCE]
        cut = 0
        for pattern in (r".*[;:,|]\s", r".*\s"):
            found = re.match(pattern, window, re.DOTALL)
            if found and found.end() > MAX_SENTENCE // 2:
                cut = found.end()
                break
        cut = cut or MAX_SENTENCE
        yield start, start + cut
        start += cut
    yield start, end
