"""The bank, the resolver and the cascade, on a model trained on five sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model.bank import EntityBank, distinct_names, encode_names
from model.cascade import Cascade, Text
from model.document import Sentence
from model.evaluate import link_gold
from model.folder import load_model, save_model
from model.linking import FEATURES, Group, Resolver, Span, features_of, group_spans, spelling
from model.network import E2emernModel
from model.samples import Sampler, make_samples
from model.train import joint_loss
from model.tune import tune
from tests.model import tiny


def span(text: str, *, document: int = 0, start: int = 0, kind: str = "Disease") -> Span:
    return Span(document, start, start + len(text), text, kind, 0.9, 0, 0, 1)


@pytest.fixture(scope="module")
def model() -> E2emernModel:
    """Knows the five sentences by heart."""
    network = tiny.network(hidden=32, candidate_weight=0.3).train()
    samples = make_samples(tiny.gold(), tokenizer=tiny.tokenizer(), vocabulary=tiny.vocabulary())
    sampler = Sampler(samples, vocabulary=tiny.vocabulary(), tokenizer=tiny.tokenizer(), tags=network.config.tags)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    for epoch in range(120):
        for batch in sampler.epoch(epoch):
            loss = joint_loss(network, batch).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


def cascade_of(model: E2emernModel, **options: object) -> Cascade:
    bank = EntityBank.build(model, tiny.vocabulary(), tokenizer=tiny.tokenizer(), rank=32)
    return Cascade(
        model, tokenizer=tiny.tokenizer(), vocabulary=tiny.vocabulary(), bank=bank, model_version="m", **options
    )  # type: ignore[arg-type]


def texts() -> list[Text]:
    return [Text(document.sentences) for document in tiny.gold()]


def test_the_cascade_finds_and_links_what_it_was_taught(model: E2emernModel) -> None:
    mentions, report = cascade_of(model).annotate(texts())
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
    assert list(report.seconds) == ["low", "candidates", "mid", "high", "resolve"]


def test_every_mention_carries_its_scores_and_stands_in_the_text(model: E2emernModel) -> None:
    mentions, _ = cascade_of(model).annotate(texts())
    for document, found in zip(tiny.gold(), mentions, strict=True):
        for mention in found:
            assert document.text[mention.start : mention.end] == mention.text
            scores = (mention.ner_score, mention.mid_score, mention.high_score, mention.link_score)
            assert all(score is not None and 0 <= score <= 1 for score in scores)
            assert mention.how in ("name", "variant", "spelling", "bank", "mid", "high")


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
    windows, hidden, spans = cascade.find_spans([text], given=given)
    groups = group_spans(spans, abbreviations=[dict(text.abbreviations)])
    assert [sorted(spans[at].text for at in group.spans) for group in groups] == [
        ["Familial mediterranean fever", "Fmf"]
    ]
    assert len(windows) == 2
    assert len(hidden) == 2


def test_levels_that_are_off_leave_the_others_working(model: E2emernModel) -> None:
    low_only = tiny.network(hidden=32, use_mid=False, use_high=False)
    mentions, report = cascade_of(low_only).annotate(texts())
    assert report.sentences == 5
    assert len(mentions) == 5


def test_given_spans_are_linked_and_scored(model: E2emernModel) -> None:
    answers = link_gold(cascade_of(model), tiny.gold())
    assert all(set(mention.concepts) & set(ranking[:1]) for row in answers for mention, ranking in row)


def test_tuning_learns_weights_that_link_right_and_refuse_wrong_spans(model: E2emernModel) -> None:
    cascade = cascade_of(model)
    fitted = tune(cascade, tiny.gold() * 3)
    mentions, _ = cascade.annotate(texts())
    assert set(fitted) == {"span_threshold", "resolver"}
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

    def test_search_is_exhaustive_and_takes_each_concepts_best_name(self, model: E2emernModel) -> None:
        vocabulary = tiny.vocabulary()
        bank = EntityBank.build(model, vocabulary, tokenizer=tiny.tokenizer(), rank=32)
        queries = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
        every = bank.vectors(torch.arange(len(bank)))
        within = vocabulary.slice_of("Disease")
        for query, found in zip(queries, bank.search(queries, within=within, k=5), strict=True):
            best = {}
            for owner, score in zip(bank.owner.tolist(), (every @ query).tolist(), strict=True):
                if within.start <= owner < within.stop:
                    best[owner] = max(best.get(owner, -np.inf), score)
            assert set(found.concepts.tolist()) == set(best)
            assert found.scores.tolist() == pytest.approx([best[at] for at in found.concepts.tolist()], abs=0.3)

    def test_concepts_asked_for_are_scored_however_bad(self, model: E2emernModel) -> None:
        vocabulary = tiny.vocabulary()
        bank = EntityBank.build(model, vocabulary, tokenizer=tiny.tokenizer(), rank=32)
        [found] = bank.search(torch.randn(1, 32), within=vocabulary.slice_of("Disease"), k=1, always=[[2, 3, 4, 5, 6]])
        assert set(found.concepts.tolist()) == {2, 3, 4, 5, 6}

    def test_a_bank_of_other_weights_or_names_is_not_taken(self, model: E2emernModel, tmp_path: Path) -> None:
        vocabulary, path = tiny.vocabulary(), tmp_path / "bank.safetensors"
        bank = EntityBank.build(model, vocabulary, tokenizer=tiny.tokenizer(), rank=8)
        bank.save(path, weights="w", vocabulary=vocabulary)
        again = EntityBank.load(path, weights="w", vocabulary=vocabulary)
        assert again is not None
        assert torch.equal(again.codes, bank.codes)
        assert EntityBank.load(path, weights="x", vocabulary=vocabulary) is None
        assert EntityBank.load(tmp_path / "none", weights="w", vocabulary=vocabulary) is None


class TestLinking:
    def test_repeats_and_abbreviations_are_one_group_within_a_document(self) -> None:
        spans = [span("Renal failure"), span("renal-failure", start=30), span("RF", start=50), span("RF", document=1)]
        groups = group_spans(spans, abbreviations=[{"RF": "renal failure"}, {}])
        assert [group.spans for group in groups] == [[0, 1, 2], [3]]

    def test_features_say_how_the_words_agree(self) -> None:
        vocabulary = tiny.vocabulary()
        group = Group("renal failure", "Disease", [0])
        group.match, group.named = vocabulary.look_up("renal failure", entity_type="Disease")
        group.concepts = np.array([vocabulary.position["D004"], vocabulary.position["D005"]])
        group.similarity = np.array([2.0, 3.0], np.float32)
        group.mid, group.high = np.array([0.5, -1], np.float32), np.array([-0.1, -4], np.float32)
        table = [dict(zip(FEATURES, row, strict=True)) for row in features_of(group, vocabulary=vocabulary).tolist()]
        assert (table[0]["exact"], table[0]["exact_preferred"], table[0]["sole"], table[0]["lead"]) == (1, 0, 1, -1)
        assert (table[1]["exact"], table[1]["lead"], table[1]["descriptor"]) == (0, 0, 1)

    def test_the_fit_finds_what_decides(self) -> None:
        random = np.random.default_rng(0)
        examples = []
        for _ in range(200):
            features = random.normal(size=(4, len(FEATURES))).astype(np.float32)
            right = np.zeros(4, bool)
            if features[:, 6].max() > 0.5:  # mid decides, and too little of it means none
                right[features[:, 6].argmax()] = True
            examples.append((features, 0.9, right))
        resolver = Resolver.fit(examples)
        assert np.abs(resolver.weights).argmax() == FEATURES.index("mid")
        answers = [resolver.resolve(features, ner=0.9) for features, _, _ in examples]
        agreed = [
            (answer is None and not right.any()) or (answer is not None and right[answer[0]])
            for answer, (_, _, right) in zip(answers, examples, strict=True)
        ]
        assert np.mean(agreed) > 0.9

    @pytest.mark.parametrize(
        ("words", "name", "share"),
        [("colon cancer", "Colon-Cancer", 1.0), ("rash", "fever", 0.0), ("tumour", "tumor", 6 / 11), ("", "", 0.0)],
    )
    def test_spelling_is_the_share_of_trigrams(self, words: str, name: str, share: float) -> None:
        assert spelling(words, name) == pytest.approx(share)

    def test_nothing_to_choose_from_gives_none(self) -> None:
        assert Resolver.unfitted().resolve(np.zeros((0, len(FEATURES)), np.float32), ner=0.9) is None
