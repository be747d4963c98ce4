from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syntok import segmenter

from e2emern.model.document import Document, Passage
from e2emern.tasks.parsers.pubtator import parse_pubtator
from e2emern.tasks.sentences import MAX_SENTENCE, sentence_starts, split_sentences


def document(*texts: str) -> Document:
    passages = []
    offset = 0
    for text in texts:
        passages.append(Passage("abstract", offset, text))
        offset += len(text) + 1
    return Document("1", 0, tuple(passages))


def split(*texts: str) -> list[str]:
    return [sentence.text for sentence in split_sentences(document(*texts))]


@pytest.mark.parametrize(
    "sentences",
    [
        ["Asthma was common.", "We treated it."],
        ["Was it gout?", "It was!", "Colchicine helped."],
        ['He called it "benign."', "It was not."],
        ["Reactions were frequent (62%).", "(None was severe.)", "Two patients withdrew."],
        ["Renal failure followed in 1998.", "25 patients died."],
        ["We gave vitamin C.", "The scurvy healed."],
        ["It raised cyclin D.", "Therefore we stopped."],
        ["METHODS: Rats were used.", "RESULTS: Fever fell."],
        ["The answer was no.", "Twelve were not."],
    ],
)
def test_sentences_are_distinguished(sentences: list[str]) -> None:
    assert split(" ".join(sentences)) == sentences


@pytest.mark.parametrize(
    "sentence",
    [
        "Antibiotics, e.g. Amoxicillin, were given.",
        "Other salts, i.e. Lithium carbonate, were not.",
        "Placebo vs. Aspirin in stroke.",
        "See Fig. 2 and Figs. 3 and 4.",
        "Colitis due to E. coli and C. difficile.",
        "Tonsillitis due to Streptococcus dysgalactiae subsp. equisimilis.",
        "Plague by Y. pestis was treated by J. M. Whaley.",
        "The difference was small (P <. 001) in gout.",
        "Deficiency of G6PD (EC 1. 1. 1. 49) is common.",
        "Alkaptonuria (McKusick no. 203500) is rare.",
        "Doses of 20 ng./ml. in five men caused nausea.",
        "Patients (aged approx. 30 yrs.) improved.",
        "Neuropathy (seen before. Now again) was mild.",
        "An outbreak of St. Anthony's fire.",
        "3. Nausea was frequent.",
        "The variants c. 1093G>A and p. 12 were found.",
    ],
)
def test_a_stop_within_a_sentence_does_not_end_it(sentence: str) -> None:
    assert split(sentence) == [sentence]


def test_a_forgotten_space_ends_a_sentence() -> None:
    assert split("Nausea followed therapy.After that it fell.") == ["Nausea followed therapy.", "After that it fell."]


def test_an_empty_line_ends_a_sentence() -> None:
    assert split("Introduction\n\nGout is old") == ["Introduction", "Gout is old"]


def test_offsets_count_code_points_of_the_document() -> None:
    found = split_sentences(document("Über 𝛼-toxin 😀.", "It kills. We saw it."))
    assert [(sentence.start, sentence.end, sentence.text) for sentence in found] == [
        (0, 15, "Über 𝛼-toxin 😀."),
        (16, 25, "It kills."),
        (26, 36, "We saw it."),
    ]


def test_offsets_follow_the_passage() -> None:
    found = split_sentences(Document("1", 0, (Passage("title", 7, " Gout"), Passage("abstract", 40, "Old. New."))))
    assert [(sentence.start, sentence.end, sentence.text) for sentence in found] == [
        (8, 12, "Gout"),
        (40, 44, "Old."),
        (45, 49, "New."),
    ]


def test_an_unclosed_bracket_does_not_hold_sentences_together() -> None:
    assert split("Rash (grade 2 was seen. It faded. All were well.")[-2:] == ["It faded.", "All were well."]


def test_characters_that_tokens_omit_stay_in_the_text() -> None:
    """The tokens of syntok lack hyphens within words and zero-width spaces from its tokens."""
    assert split("\u200bAnti-TNF-\u200balpha didn't help.\u200b Beta_2-agonists\u00ad did.") == [
        "\u200bAnti-TNF-\u200balpha didn't help.\u200b",
        "Beta_2-agonists\u00ad did.",
    ]


def test_many_paragraphs_keep_their_offsets() -> None:
    """The `analyze` of syntok takes quadratic time over them."""
    found = split_sentences(document("Gout is old. It hurts.\n\n" * 3000))
    assert len(found) == 6000
    assert [(sentence.start, sentence.text) for sentence in found[-2:]] == [
        (2999 * 24, "Gout is old."),
        (2999 * 24 + 13, "It hurts."),
    ]


def test_a_table_is_cut_at_white_space_after_a_separator() -> None:
    found = split("aspirin 100 mg, " * 130)
    assert [len(sentence) for sentence in found] == [991, 991, 95]
    assert {sentence[-3:] for sentence in found} == {"mg,"}


def test_a_run_without_white_space_is_cut_anyway() -> None:
    assert [len(sentence) for sentence in split("A" * (2 * MAX_SENTENCE + 1))] == [1000, 1000, 1]


def test_nothing_gives_no_sentences() -> None:
    assert split() == []
    assert split(" \n ") == []


marks = [". ", ".", "? ", "; ", "...", "(", ")", "[", "] ", '" ', "'t", "-", "_"]
spaces = [" ", "\n", "\r\n\n", "\u200b", "\u00ad"]
words = ["e.g. ", "The ", "A", "b", "n", "7", "é", "😀", "\ud800"]  # the last: half of a pair, as JSON may hold
pieces = st.sampled_from(marks + spaces + words)
passages = st.lists(
    st.one_of(st.text(max_size=80), st.lists(pieces, max_size=60).map("".join), st.just("word " * 450)), max_size=4
)


@settings(max_examples=150, deadline=None)
@given(passages)
def test_every_character_is_in_exactly_one_sentence_of_one_passage(texts: list[str]) -> None:
    given_document = document(*texts)
    text = given_document.text
    covered: list[int] = []
    for sentence in split_sentences(given_document):
        assert text[sentence.start : sentence.end] == sentence.text
        assert sentence.text == sentence.text.strip()
        assert 0 < len(sentence.text) <= MAX_SENTENCE
        assert any(p.offset <= sentence.start and sentence.end <= p.end for p in given_document.passages)
        covered += range(sentence.start, sentence.end)
    assert covered == sorted(set(covered))
    assert not text or {place for place in range(len(text)) if not text[place].isspace()} <= set(covered)


def test_at_most_one_gold_mention_in_a_thousand_is_cut(shared_data: Path) -> None:
    cut = mentions = sentences = abstracts = 0
    for corpus in sorted((shared_data / "corpora").glob("*.dev.PubTator")):
        for record in parse_pubtator(corpus):
            if isinstance(record, Document):
                inner = [sentence.start for sentence in split_sentences(record)]
                abstracts += 1
                sentences += len(inner)
                mentions += len(record.annotations)
                cut += sum(any(gold.start < start < gold.end for start in inner) for gold in record.annotations)
    assert mentions > 10_000
    assert cut <= mentions / 1000
    assert 8 < sentences / abstracts < 12


_WORDS = 'The a renal no No Fig e.g Dr J IV May 1998 25 3 beta-blocker word Word ( ) [ ] (( ). () _( . ! ; ... , : " -'


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(_WORDS.split()), st.sampled_from(["", " ", " ", " ", "  ", "\u200b", "\n"]))))
def test_sentences_begin_where_syntok_says(parts: list[tuple[str, str]]) -> None:
    """Most words are hidden from syntok; its `analyze` reads all, and pads only paragraphs after the first."""
    text = "".join(word + space for word, space in parts).replace("\n\n", "\n")
    [paragraph] = segmenter.analyze(text)
    assert sentence_starts(text) == [0, *[sentence[0].offset for sentence in paragraph][1:]]
