"""A chunk of documents is linked at once, to the same concepts as one group at a time."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from e2emern.model.document import Sentence, Text
from e2emern.model.inference.bank import EntityBank
from e2emern.model.inference.cascade import Cascade
from e2emern.model.inference.features import FEATURES, NONE_FEATURES
from e2emern.model.inference.remembered import Remembered
from e2emern.model.inference.resolver import Resolver
from e2emern.model.inference.timings import Report
from e2emern.model.inference.training_strings import TrainingStrings
from tests.model import tiny
from tests.model.inference import plain

STRINGS = TrainingStrings(
    {"Disease": {"colon fever": {"D002": 3, "D003": 1}, "severe": {"D005": 1}}, "Chemical": {"aspirin a": {"C007": 2}}},
    {"Disease": {"rash": (3, 1), "severe": (1, 9)}},
)
_NAMES = (
    "breast cancer", "colonic neoplasm", "Aspirin", "cisplatin 317", "renal failure", "headache",
    "breast and colon cancer",
)  # fmt: skip


@cache
def cascade_of(attention: str, seed: int) -> Cascade:
    """Return a random network with a random resolver."""
    network = tiny.network(hidden=32, attention=attention)
    bank = EntityBank.build(network, tiny.vocabulary(), tokenizer=tiny.tokenizer(), rank=32)
    cascade = Cascade(network, tokenizer=tiny.tokenizer(), vocabulary=tiny.vocabulary(), bank=bank, model_version="m")
    random = np.random.default_rng(seed)
    cascade.resolver = Resolver(
        random.normal(size=len(FEATURES)).astype(np.float32),
        np.array([-4, *0.3 * random.normal(size=len(NONE_FEATURES) - 1)], np.float32),
        hidden=random.normal(size=(3, len(FEATURES))).astype(np.float32),
        bias=np.zeros(3, np.float32),
        output=random.normal(size=3).astype(np.float32),
        prior={"D001": 9, "D004": 80, "C007": 2, "D999": 1},
        strings=STRINGS,
    )
    return cascade


def documents(seed: int, count: int = 12) -> tuple[list[Text], list[list[tuple[int, int, str]]]]:
    """Return random sentences of the words of the tokenizer, and spans of one to three words or names."""
    chance = random.Random(seed)
    texts, given = [], []
    for _ in range(count):
        sentences, spans, start = [], [], 0
        for _ in range(chance.randint(0, 4)):
            words = [chance.choice([*tiny.WORDS[:40], *_NAMES]).lstrip("#") for _ in range(chance.randint(1, 14))]
            text = " ".join(words)
            ends = np.cumsum([len(word) + 1 for word in words])
            for first in chance.sample(range(len(words)), chance.randint(0, min(4, len(words)))):
                last = min(len(words), first + chance.choice([1, 1, 1, 2, 3]))
                begin = start + int(ends[first]) - len(words[first]) - 1
                spans.append((begin, start + int(ends[last - 1]) - 1, chance.choice(["Disease", "Chemical"])))
            sentences.append(Sentence(start, start + len(text), text))
            start += len(text) + 1
        abbreviations = {"severe": "colon fever"} if chance.random() < 0.3 else {}
        texts.append(Text(tuple(sentences), abbreviations))
        given.append(list(dict.fromkeys(spans)))
    return texts, given


@pytest.mark.parametrize("attention", ["bilinear", "released", "uniform"])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@torch.inference_mode()
def test_a_chunk_is_linked_as_one_group_at_a_time(attention: str, seed: int) -> None:
    cascade = cascade_of(attention, seed)
    texts, given = documents(seed)
    states, spans = cascade.find_spans(texts, given=given)
    chance = random.Random(seed)
    spans = [replace(span, score=chance.random()) for span in spans]
    cascade.span_threshold = 0.0
    mentions = cascade.resolve(cascade.link(texts, states, spans, Report()), states.windows, len(texts))
    found = {(d, m.start, m.end, m.entity_type, m.mesh_id): m for d, row in enumerate(mentions) for m in row}
    linked: dict[tuple[int, int, int, str], set[str | None]] = {}
    evidence = {}  # for a composite whose parts are linked to one concept, the evidence of the last part
    for group, (mesh_id, how, scores) in plain.link(cascade, texts, states, spans):
        for span in (spans[at] for at in group.spans):
            place = (span.document, span.start, span.end, span.entity_type)
            linked.setdefault(place, set()).add(mesh_id)
            evidence[(*place, mesh_id)] = how, scores
    assert found.keys() == {(*place, mesh_id) for place, ids in linked.items() for mesh_id in (ids - {None} or {None})}
    for place, mention in found.items():
        how, scores = evidence[place]
        assert mention.how == how
        if scores is not None:
            assert (mention.mid_score, mention.high_score, mention.link_score) == pytest.approx(scores, abs=1e-4)
    assert len({mention.mesh_id for mention in found.values()}) > 1


def test_earlier_results_are_cached() -> None:
    cascade = cascade_of("bilinear", 0)
    texts, given = documents(9)
    first, _ = cascade.annotate(texts, given=given)
    again, report = cascade.annotate(texts, given=given)
    assert again == first
    assert report.shares == {"words looked up": 1.0, "words searched for": 1.0}


def test_a_cache_drops_the_least_recently_used() -> None:
    made: list[int] = []

    def squares(numbers: list[int]) -> list[int]:
        made.extend(numbers)
        return [number**2 for number in numbers]

    memory = Remembered[int, int](3)
    assert memory.of([1, 2, 1, 3], squares) == [1, 4, 1, 9]
    assert memory.take_counts() == (4, 1)
    assert memory.of([1, 4], squares) == [1, 16]  # 2 is forgotten
    assert memory.of([1, 3, 4, 2], squares) == [1, 9, 16, 4]
    assert made == [1, 2, 3, 4, 2]
    assert memory.take_counts() == (6, 4)
    assert memory.of([5, 6, 7, 8], squares) == [25, 36, 49, 64]  # more than its size
