"""The bank, the resolver and the cascade, on a model trained on five sentences."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from e2emern.model.document import Concept, Sentence, Text
from e2emern.model.evaluation.evaluate import link_gold
from e2emern.model.inference.bank import EntityBank, distinct_names, encode_names
from e2emern.model.inference.cascade import Cascade
from e2emern.model.inference.grouping import group_spans
from e2emern.model.inference.lookup import LookUps
from e2emern.model.inference.resolver import EVIDENCE, Resolver
from e2emern.model.inference.timings import Report
from e2emern.model.network import E2emernModel
from e2emern.model.pretrained import load_model, save_model
from e2emern.model.tagging import TAG_SCHEMES
from e2emern.model.training.calibrate import tune
from e2emern.model.vocabulary import Vocabulary
from tests.model import tiny


@cache
def learned(scheme: str) -> E2emernModel:
    """Knows the five sentences by heart."""
    return tiny.learn(tiny.network(hidden=32, candidate_weight=0.3, tag_scheme=scheme), tiny.vocabulary())


@pytest.fixture
def model() -> E2emernModel:
    return learned("BIO")


def cascade_of(model: E2emernModel, **options: object) -> Cascade:
    bank = EntityBank.build(model, tiny.vocabulary(), tokenizer=tiny.tokenizer(), rank=32)
    return Cascade(
        model, tokenizer=tiny.tokenizer(), vocabulary=tiny.vocabulary(), bank=bank, model_version="m", **options
    )  # type: ignore[arg-type]


def texts() -> list[Text]:
    return [Text(document.sentences) for document in tiny.gold()]


@pytest.mark.parametrize("scheme", TAG_SCHEMES)
def test_the_cascade_finds_and_links_what_it_was_taught(scheme: str) -> None:
    mentions, report = cascade_of(learned(scheme)).annotate(texts())
    found = [[(m.text, m.entity_type, m.mesh_id) for m in row] for row in mentions]
    assert found == [
        [("breast cancer", "Disease", "D001")],
        [("Colon cancer", "Disease", "D002"), ("cisplatin", "Chemical", "C007")],
        [("Aspirin", "Chemical", "D006"), ("renal failure", "Disease", "D004"), ("headache", "Disease", "D005")],
        [("Familial mediterranean fever", "Disease", "D003")],
        [],
    ]
    assert (report.sentences, report.spans_found, report.mentions_linked) == (5, 7, 7)
    assert report.candidates_scored >= 7
    assert list(report.seconds) == ["low", "candidates", "mid", "high", "features", "resolve"]


def test_every_mention_has_its_scores_and_its_text(model: E2emernModel) -> None:
    mentions, _ = cascade_of(model).annotate(texts())
    for document, found in zip(tiny.gold(), mentions, strict=True):
        for mention in found:
            assert document.text[mention.start : mention.end] == mention.text
            scores = (mention.ner_score, mention.mid_score, mention.high_score, mention.link_score)
            assert all(score is not None and 0 <= score <= 1 for score in scores)
            assert mention.how in EVIDENCE


@pytest.mark.parametrize("tokens", [16, 64, 4096])
def test_batch_size_changes_nothing(model: E2emernModel, tokens: int) -> None:
    expected, _ = cascade_of(model).annotate(texts())
    found, _ = cascade_of(model, tokens=tokens).annotate(texts())
    assert [[(m.start, m.mesh_id) for m in row] for row in found] == [
        [(m.start, m.mesh_id) for m in row] for row in expected
    ]


def test_no_text_gives_no_mentions(model: E2emernModel) -> None:
    assert cascade_of(model).annotate([])[0] == []
    assert cascade_of(model).annotate([Text(()), Text((Sentence(0, 1, "\u200b"),))])[0] == [[], []]


def test_an_abbreviation_takes_the_concept_of_its_long_form(model: E2emernModel) -> None:
    sentence = "Familial mediterranean fever after treated patients."
    other = "Fmf was severe."
    text = Text(
        (Sentence(0, len(sentence), sentence), Sentence(60, 60 + len(other), other)),
        {"Fmf": "Familial mediterranean fever"},
    )
    cascade = cascade_of(model)
    given = [[(0, 28, "Disease"), (60, 63, "Disease")]]
    _, spans = cascade.find_spans([text], given=given)
    groups = group_spans(spans, abbreviations=[text.abbreviations], look_ups=LookUps(tiny.vocabulary()))
    assert [sorted(spans[at].text for at in group.spans) for group in groups] == [
        ["Familial mediterranean fever", "Fmf"]
    ]
    [found], _ = cascade.annotate([text], given=given)
    assert [(m.text, m.mesh_id) for m in found] == [("Familial mediterranean fever", "D003"), ("Fmf", "D003")]


@torch.inference_mode()
def test_capitals_in_brackets_after_a_name_have_its_type_everywhere(model: E2emernModel) -> None:
    sentences = ("Colon cancer was treated with cisplatin (XQ).", "No patients with XQ.")
    text = Text((Sentence(0, 45, sentences[0]), Sentence(46, 66, sentences[1])))
    cascade = cascade_of(model)
    states, spans = cascade.read_spans([text])
    [name] = [span for span in spans if span.text == "cisplatin"]
    taken = replace(name, start=41, end=43, text="XQ", entity_type="Disease", score=0.6, first=7, last=8)
    assert states.windows[0].words_of(41, 43) == (taken.first, taken.last)
    agreed = cascade.agree([text], states.windows, [*(span for span in spans if span.text != "XQ"), taken])
    assert [(span.start, span.entity_type) for span in agreed if span.text == "XQ"] == [
        (41, "Chemical"),
        (63, "Chemical"),
    ]
    linked = cascade.link([text], states, agreed, Report())
    assert [group.words for group in linked.groups if group.entity_type == "Chemical"] == ["cisplatin"]


@torch.inference_mode()
def test_a_fuller_name_replaces_the_long_form_and_plurals_are_explained_too(model: E2emernModel) -> None:
    """Of "thrombotic thrombocytopenic purpura (TTP)" the algorithm takes two words."""
    sentence = "Renal failure (RF) and RFs were severe."
    text = Text((Sentence(0, len(sentence), sentence),), {"RF": "failure"})
    cascade = cascade_of(model)
    given = [[(0, 13, "Disease"), (15, 17, "Disease"), (23, 26, "Disease")]]
    states, spans = cascade.find_spans([text], given=given)
    groups = cascade.link([text], states, spans, Report()).groups
    assert [(group.words, [spans[at].text for at in group.spans]) for group in groups] == [
        ("Renal failure", ["Renal failure", "RF", "RFs"])
    ]


@pytest.mark.parametrize(
    ("words", "linked"),
    [
        ("cisplatin", True),
        ("cisplatin-201", True),  # an isotope or a dose
        ("CISPLATIN317", False),
        ("cisplatin C", False),
    ],
)
def test_numbers_and_single_letters_must_occur_in_names_of_the_concept(
    model: E2emernModel, words: str, linked: bool
) -> None:
    """FK317 is not tacrolimus (FK506), and "hepatitis C" is not hepatitis B."""
    text = Text((Sentence(0, len(words), words),))
    [[mention]], _ = cascade_of(model).annotate([text], given=[[(0, len(words), "Chemical")]])
    assert mention.mesh_id == ("C007" if linked else None)


def test_a_span_of_two_concepts_has_a_mention_for_each(model: E2emernModel) -> None:
    sentence = "The patients had severe breast and colon cancer."
    text = Text((Sentence(0, len(sentence), sentence),))
    [found], _ = cascade_of(model).annotate([text], given=[[(24, 47, "Disease")]])
    assert [(m.start, m.end, m.text, m.mesh_id) for m in found] == [
        (24, 47, "breast and colon cancer", "D001"),
        (24, 47, "breast and colon cancer", "D002"),
    ]


def test_only_selected_concepts_are_linked(model: E2emernModel) -> None:
    selection = tiny.vocabulary().select(branches=["C04"])
    mentions, _ = cascade_of(model, selection=selection).annotate(texts())
    found = [(m.text, m.mesh_id, m.how is None) for row in mentions for m in row]
    assert found == [
        ("breast cancer", "D001", False), ("Colon cancer", "D002", False), ("cisplatin", None, True),
        ("Aspirin", None, True), ("renal failure", None, True), ("headache", None, True),
        ("Familial mediterranean fever", None, True),
    ]  # fmt: skip


def test_given_spans_keep_their_offsets(model: E2emernModel) -> None:
    text = Text((Sentence(0, 16, "Breast neoplasms"), Sentence(17, 18, "\u200b")))
    [found], _ = cascade_of(model).annotate([text], given=[[(0, 15, "Disease"), (17, 18, "Disease")]])
    assert [(m.start, m.end, m.text, m.mesh_id) for m in found] == [(0, 15, "Breast neoplasm", "D001")]


def test_levels_can_be_off_without_affecting_the_others() -> None:
    low_only = tiny.learn(tiny.network(hidden=32, use_mid=False, use_high=False), tiny.vocabulary())
    mentions, report = cascade_of(low_only).annotate(texts())
    assert [m.mesh_id for row in mentions for m in row] == ["D001", "D002", "C007", "D006", "D004", "D005", "D003"]
    assert {(m.mid_score, m.high_score) for row in mentions for m in row} == {(0.5, 1.0)}  # they contribute nothing
    assert report.sentences == 5


def test_given_spans_are_linked_and_scored(model: E2emernModel) -> None:
    (answers,) = link_gold(cascade_of(model), tiny.gold())
    wanted = [[mention.concepts for mention in document.mentions] for document in tiny.gold()]
    assert [[(ranking[0],) for ranking in row] for row in answers] == wanted


def test_calibration_learns_weights_that_link_correctly_and_refuse_wrong_spans(model: E2emernModel) -> None:
    cascade = cascade_of(model)
    fitted, validated = tune(cascade, tiny.gold() * 3, seen=tiny.gold())
    mentions, _ = cascade.annotate(texts())
    assert set(fitted) == {"span_threshold", "resolver"}
    assert fitted["resolver"]["prior"]["D001"] == 200  # in a thousand: one of five documents names it
    assert validated == {"tiny Chemical": 1.0, "tiny Disease": 1.0}
    assert [m.mesh_id for row in mentions for m in row] == ["D001", "D002", "C007", "D006", "D004", "D005", "D003"]


def test_a_saved_model_loads_with_its_resolver(model: E2emernModel, tmp_path: Path) -> None:
    model.config.resolver = Resolver.unfitted().to_dict()
    save_model(model, tiny.tokenizer(), tmp_path)
    again, tokenizer, version = load_model(tmp_path, device="cpu", dtype=torch.float32)
    assert len(version) == 12
    cascade = Cascade(
        again, tokenizer=tokenizer, vocabulary=tiny.vocabulary(), model_version=version,
        bank=EntityBank.build(again, tiny.vocabulary(), tokenizer=tokenizer, rank=32),
    )  # fmt: skip
    assert cascade.resolver.to_dict() == Resolver.unfitted().to_dict()
    assert sum(len(row) for row in cascade.annotate(texts())[0]) == 7


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_that_lacks_a_file_is_refused(model: E2emernModel, tmp_path: Path, missing: str) -> None:
    save_model(model, tiny.tokenizer(), tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(ValueError, match=f"no {missing}; expected a model folder"):
        load_model(tmp_path, device="cpu", dtype=torch.float32)


def test_weights_in_pickles_are_never_read(model: E2emernModel, tmp_path: Path) -> None:
    save_model(model, tiny.tokenizer(), tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"no model\.safetensors"):
        load_model(tmp_path, device="cpu", dtype=torch.float32)


class TestBank:
    def test_full_rank_gives_vectors_back(self, model: E2emernModel) -> None:
        vocabulary, tokenizer = tiny.vocabulary(), tiny.tokenizer()
        bank = EntityBank.build(model, vocabulary, tokenizer=tokenizer, rank=32)
        kept, owner = distinct_names(vocabulary)
        vectors = encode_names(model, [vocabulary.names[at] for at in kept], tokenizer=tokenizer)
        error = (bank.vectors(torch.arange(len(kept))) - vectors).abs().max() / vectors.abs().max()
        assert error < 0.02
        assert owner.tolist() == bank.owner.tolist()

    @pytest.mark.parametrize("cosine", [False, True])
    def test_search_is_exhaustive_and_takes_each_concepts_best_name(self, model: E2emernModel, cosine: bool) -> None:
        vocabulary = tiny.vocabulary()
        bank = EntityBank.build(model, vocabulary, tokenizer=tiny.tokenizer(), rank=32)
        queries = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
        every = bank.vectors(torch.arange(len(bank)))
        if cosine:
            every = every / every.norm(dim=1, keepdim=True)
        within = vocabulary.slice_of("Disease")
        for query, found in zip(queries, bank.search(queries, within=within, k=5, cosine=cosine), strict=True):
            best: dict[int, float] = {}
            for owner, score in zip(bank.owner.tolist(), (every @ query).tolist(), strict=True):
                if within.start <= owner < within.stop:
                    best[owner] = max(best.get(owner, -np.inf), score)
            assert set(found) == set(best)
            assert [best[at] for at in found] == pytest.approx(sorted(best.values(), reverse=True), abs=0.3)

    def test_a_concept_with_many_names_does_not_displace_others(self, model: E2emernModel) -> None:
        letters = "abcdefghijklmnopqrstuvwxyz"
        many = Concept("D900", "Disease", tuple(f"breast cancer {a} {b}" for a in letters for b in letters[:3]))
        vocabulary = Vocabulary([*tiny.CONCEPTS, many], version="many")
        bank = EntityBank.build(model, vocabulary, tokenizer=tiny.tokenizer(), rank=32)
        queries = encode_names(model, ["breast cancer b c", "headache"], tokenizer=tiny.tokenizer())
        within = vocabulary.slice_of("Disease")
        for k in (4, 6, 12):
            found = bank.search(queries, within=within, k=k, cosine=True)
            assert [len(set(each)) for each in found] == [min(k, 6)] * 2
            assert [vocabulary.concepts[each[0]].mesh_id for each in found] == ["D900", "D005"]

    def test_concepts_are_compared_by_their_best_names(self, model: E2emernModel) -> None:
        vocabulary = tiny.vocabulary()
        bank = EntityBank.build(model, vocabulary, tokenizer=tiny.tokenizer(), rank=32)
        [name] = encode_names(model, ["colon cancer"], tokenizer=tiny.tokenizer())
        concepts = np.array([vocabulary.position[each] for each in ("D005", "D002", "D001")])
        rows, scores, cosines = bank.compare(
            concepts, np.zeros(3, np.int64), contexts=torch.zeros(1, 32), names=name[None]
        )
        assert bank.owner[rows].tolist() == concepts.tolist()
        assert scores.tolist() == [0, 0, 0]
        assert cosines.argmax() == 1
        assert cosines[1] == pytest.approx(1.0, abs=1e-3)

    def test_a_bank_of_other_weights_or_names_is_not_used(self, model: E2emernModel, tmp_path: Path) -> None:
        vocabulary, path = tiny.vocabulary(), tmp_path / "bank.safetensors"
        bank = EntityBank.build(model, vocabulary, tokenizer=tiny.tokenizer(), rank=8)
        bank.save(path, encoder="w", vocabulary=vocabulary)
        again = EntityBank.load(path, encoder="w", vocabulary=vocabulary)
        assert again is not None
        assert torch.equal(again.codes, bank.codes)
        assert EntityBank.load(path, encoder="x", vocabulary=vocabulary) is None
        assert EntityBank.load(tmp_path / "none", encoder="w", vocabulary=vocabulary) is None
