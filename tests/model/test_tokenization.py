from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertModel

from e2emern.model.document import Sentence
from e2emern.model.tokenization import batches_of, longest_window, make_windows, pad, positions_of
from tests.model import tiny

TOKENIZER = tiny.tokenizer()


def test_words_keep_their_offsets_in_the_document() -> None:
    documents = [[Sentence(0, 1, " ")], [Sentence(0, 1, " "), Sentence(100, 113, "breast tumors")]]
    [window] = make_windows(documents, tokenizer=TOKENIZER, max_pieces=32)
    assert (window.document, window.sentence) == (1, 1)
    assert window.first.tolist() == [1, 2]
    assert list(zip(window.start.tolist(), window.end.tolist(), strict=True)) == [(100, 106), (107, 113)]
    assert len(window) == 5  # [CLS] breast tumor ##s [SEP]


@pytest.mark.parametrize(
    ("start", "end", "words"), [(107, 113, (1, 2)), (100, 113, (0, 2)), (106, 107, None), (103, 108, (0, 2))]
)
def test_words_of_a_span_are_those_it_overlaps(start: int, end: int, words: tuple[int, int] | None) -> None:
    [window] = make_windows([[Sentence(100, 113, "breast tumors")]], tokenizer=TOKENIZER, max_pieces=32)
    assert window.words_of(start, end) == words


def test_a_sentence_longer_than_the_encoder_reads_becomes_several_windows() -> None:
    text = "severe breast cancer and renal failure after cisplatin"
    windows = make_windows([[Sentence(0, len(text), text)]], tokenizer=TOKENIZER, max_pieces=6)
    assert all(len(window) <= 6 for window in windows)
    words = [text[s:e] for w in windows for s, e in zip(w.start.tolist(), w.end.tolist(), strict=True)]
    assert words == text.split()


def test_a_sentence_without_word_pieces_gives_no_window() -> None:
    assert make_windows([[Sentence(0, 2, "\u200b\x07")]], tokenizer=TOKENIZER, max_pieces=8) == []
    assert make_windows([], tokenizer=TOKENIZER, max_pieces=8) == []


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=80))
def test_windows_of_any_text_cover_its_words_once_and_in_order(text: str) -> None:
    windows = make_windows([[Sentence(5, 5 + len(text), text)]], tokenizer=TOKENIZER, max_pieces=8)
    starts = [start for window in windows for start in window.start.tolist()]
    assert starts == sorted(starts)
    assert all(
        s >= 5 and e <= 5 + len(text) for w in windows for s, e in zip(w.start.tolist(), w.end.tolist(), strict=True)
    )
    assert all(len(window) <= 8 for window in windows)


def test_batches_hold_similar_lengths_within_the_budget() -> None:
    batches = [batch.tolist() for batch in batches_of([3, 9, 4, 9, 2], tokens=18)]
    assert batches == [[1, 3], [2, 0, 4]]
    assert [batch.tolist() for batch in batches_of([50], tokens=18)] == [[0]]
    assert batches_of([], tokens=18) == []


def test_padding_is_masked() -> None:
    ids, mask = pad([np.array([5, 6]), np.array([7])], padding=0)
    assert ids.tolist() == [[5, 6], [7, 0]]
    assert mask.tolist() == [[1, 1], [1, 0]]


@pytest.mark.parametrize(("kind", "positions"), [("bert", 64), ("roberta", 63)])
def test_a_window_is_as_long_as_the_encoder_reads(kind: str, positions: int) -> None:
    encoder = tiny.encoder(kind=kind)
    assert (positions_of(encoder), longest_window(encoder)) == (positions, positions)
    text = "cancer " * 100
    windows = make_windows([[Sentence(0, len(text), text)]], tokenizer=TOKENIZER, max_pieces=positions)
    ids, mask = pad([window.ids for window in windows], padding=0)
    assert ids.shape[1] == positions
    assert encoder(input_ids=ids, attention_mask=mask).last_hidden_state.isfinite().all()


def test_a_window_has_256_pieces_at_most() -> None:
    assert longest_window(BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1))) == 256
