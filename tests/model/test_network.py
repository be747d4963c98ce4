"""Each equation of the paper against plain loops, in float64."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from e2emern.model.network import ATTENTIONS, FUSIONS, E2emernConfig, E2emernModel
from tests.model import tiny

SIZE, TOKENS, ENTITIES = 16, 5, 3


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def dot(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def times(matrix: list[list[float]], vector: list[float]) -> list[float]:
    return [dot(row, vector) for row in matrix]


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(2, TOKENS, SIZE, generator=generator, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    return hidden, mask, torch.randn(ENTITIES, SIZE, generator=generator, dtype=torch.float64)


def looped_attention(model: E2emernModel, h: list[list[float]], e: list[float]) -> tuple[list[float], list[float]]:
    """a_i and h_a of one sentence without padding and one entity."""
    kind = model.config.attention
    if kind == "uniform":
        weights = [1 / len(h)] * len(h)
    elif kind == "bilinear":
        product = model.attention.product.tolist()
        mapped = [sum(h_i[r] * product[r][c] for r in range(SIZE)) for h_i in h for c in range(SIZE)]
        rows = [mapped[i * SIZE : (i + 1) * SIZE] for i in range(len(h))]
        weights = softmax([dot(row, e) / math.sqrt(SIZE) for row in rows])
    else:
        w, b = model.attention.score.weight[0].tolist(), model.attention.score.bias.item()
        weights = softmax([dot(w, h_i + e) + b for h_i in h])
    feature = [sum(a * h_i[d] for a, h_i in zip(weights, h, strict=True)) for d in range(SIZE)]
    if kind == "released":
        squashed = [math.tanh(value) for value in feature + e]
        mixed = times(model.attention.mix.weight.tolist(), squashed)
        mixed = [m + b for m, b in zip(mixed, model.attention.mix.bias.tolist(), strict=True)]
        feature = [m if m > 0 else math.exp(m) - 1 for m in mixed]
    return weights, feature


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_every_level_equals_its_equation(attention: str, fusion: str) -> None:
    model = tiny.network(attention=attention, fusion=fusion).double()
    hidden, mask, entities = inputs()
    attended = model.attend(hidden, mask, entities.unsqueeze(0))
    mid = model.mid(attended, entities.unsqueeze(0))
    high = model.high(hidden, attended, entities.unsqueeze(0))
    low = model.low(hidden)
    for b, length in enumerate((5, 3)):
        h = hidden[b, :length].tolist()
        for i in range(length):
            expected = [
                y + c
                for y, c in zip(times(model.low_head.weight.tolist(), h[i]), model.low_head.bias.tolist(), strict=True)
            ]
            assert low[b, i].tolist() == pytest.approx(expected, abs=1e-10)
        for m in range(ENTITIES):
            e = entities[m].tolist()
            weights, h_a = looped_attention(model, h, e)
            row = m if attended.weights.shape[1] > 1 else 0
            assert attended.weights[b, row, :length].tolist() == pytest.approx(weights, abs=1e-10)
            assert attended.weights[b, row, length:].tolist() == [0.0] * (TOKENS - length)
            logit = dot(model.mid_head.weight[0].tolist(), e + h_a) + model.mid_head.bias.item()
            if attention == "bilinear":
                product = model.mid_product.tolist()
                logit += sum(h_a[r] * product[r][c] * e[c] for r in range(SIZE) for c in range(SIZE)) / math.sqrt(SIZE)
            assert mid[b, m].item() == pytest.approx(logit, abs=1e-10)
            for i in range(length):
                if fusion == "gate":
                    raw = times(model.gate.weight.tolist(), h[i] + h_a)
                    gate = [sigmoid(g + c) for g, c in zip(raw, model.gate.bias.tolist(), strict=True)]
                    fused = [x * (1 - g) + y * g for x, y, g in zip(h[i], e, gate, strict=True)]
                else:
                    fused = h[i] + h_a + e
                tags = times(model.high_head.weight.tolist(), fused)
                expected = [y + c for y, c in zip(tags, model.high_head.bias.tolist(), strict=True)]
                assert high[b, m, i].tolist() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("attention", ["printed", "released", "uniform"])
def test_these_attentions_do_not_depend_on_the_entity(attention: str) -> None:
    model = tiny.network(attention=attention).double()
    hidden, mask, entities = inputs()
    weights = [model.attend(hidden, mask, entity[None, None]).weights for entity in entities]
    assert torch.allclose(weights[0], weights[1], atol=1e-12)
    assert torch.allclose(weights[0], weights[2], atol=1e-12)


def test_printed_mid_level_cannot_tell_which_entity_a_text_mentions() -> None:
    """With printed attention the logit is f(e) + g(X): differences between entities are the same in every text."""
    model = tiny.network(attention="printed").double()
    hidden, mask, entities = inputs()
    logits = model.score_bank(hidden, mask, entities)
    assert torch.allclose(logits[0] - logits[0, 0], logits[1] - logits[1, 0], atol=1e-10)


def test_bilinear_attention_depends_on_the_entity() -> None:
    model = tiny.network(attention="bilinear").double()
    hidden, mask, entities = inputs()
    weights = model.attend(hidden, mask, entities.unsqueeze(0)).weights
    assert (weights[:, 0] - weights[:, 1]).abs().max() > 0.01


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_scoring_a_bank_equals_the_pairwise_forward_pass(attention: str) -> None:
    """Each pair on its own, its name encoded alone, against the bank scored at once."""
    model, tokenizer, vocabulary = tiny.network(attention=attention), tiny.tokenizer(), tiny.vocabulary()
    texts = [text for text, _ in tiny.SENTENCES]
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    names = tokenizer(vocabulary.names, padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = model.encode(encoded["input_ids"], encoded["attention_mask"])
        bank = model.encode_names(names["input_ids"], names["attention_mask"])
        scores = model.score_bank(hidden, encoded["attention_mask"], bank)
        for b, text in enumerate(texts):
            for m, name in enumerate(vocabulary.names):
                one = tokenizer(text, return_tensors="pt")
                other = tokenizer(name, return_tensors="pt")
                h = model.encode(one["input_ids"], one["attention_mask"])
                e = model.encode_names(other["input_ids"], other["attention_mask"]).unsqueeze(0)
                alone = model.mid(model.attend(h, one["attention_mask"], e), e)
                assert scores[b, m].item() == pytest.approx(alone.item(), abs=1e-5)


def test_high_level_on_some_words_equals_high_level_on_all() -> None:
    model = tiny.network()
    hidden, mask, entities = inputs()
    hidden, shared = hidden.float(), entities.float().unsqueeze(0)
    attended = model.attend(hidden, mask, shared)
    whole = model.high(hidden, attended, shared)
    assert torch.allclose(model.high(hidden[:, 1:3], attended, shared), whole[:, :, 1:3], atol=1e-6)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_any_encoder_saved_and_loaded_gives_the_same_scores(kind: str, tmp_path: Path) -> None:
    base = tiny.encoder(kind=kind)
    base.save_pretrained(tmp_path / "encoder")
    model = E2emernModel.on_encoder(str(tmp_path / "encoder"), attention="released").eval()
    model.save_pretrained(tmp_path / "model")
    again = E2emernModel.from_pretrained(tmp_path / "model").eval()
    ids, mask = torch.tensor([[2, 7, 8, 3]]), torch.ones(1, 4, dtype=torch.int64)
    assert torch.equal(model.encode(ids, mask), again.encode(ids, mask))
    assert again.config.attention == "released"
    assert [file.name for file in (tmp_path / "model").iterdir() if file.suffix in (".bin", ".pt", ".pickle")] == []


def test_the_encoder_of_one_of_our_models_can_be_reused(tmp_path: Path) -> None:
    first = tiny.network(use_mid=False, use_high=False)
    first.save_pretrained(tmp_path)
    second = E2emernModel.on_encoder(str(tmp_path), attention="bilinear")
    ids, mask = torch.tensor([[2, 7, 8, 3]]), torch.ones(1, 4, dtype=torch.int64)
    assert torch.equal(second.eval().encode(ids, mask), first.eval().encode(ids, mask))
    assert second.config.use_high


def test_heads_that_both_models_have_are_kept(tmp_path: Path) -> None:
    first = tiny.network(use_mid=False, fusion="concatenation")
    first.save_pretrained(tmp_path)
    second = E2emernModel.on_encoder(str(tmp_path), attention="bilinear")
    assert torch.equal(second.low_head.weight, first.low_head.weight)
    assert torch.equal(second.attention.product, first.attention.product)
    assert second.high_head.weight.shape != first.high_head.weight.shape  # a gate has another
    assert torch.equal(second.mid_product, torch.eye(16))
    other = E2emernModel.on_encoder(str(tmp_path), entity_types=("Chemical", "Disease"))
    assert not torch.equal(other.low_head.weight, first.low_head.weight)


def test_levels_can_be_switched_off() -> None:
    low_only = tiny.network(use_mid=False, use_high=False)
    heads = {name.split(".")[0] for name, _ in low_only.named_parameters()}
    assert heads == {"encoder", "low_head"}


def test_tags_follow_the_entity_types() -> None:
    assert E2emernConfig().tags == ["O", "B-Disease", "I-Disease", "B-Chemical", "I-Chemical"]


@pytest.mark.parametrize(("field", "value"), [("attention", "additive"), ("fusion", "sum")])
def test_unknown_choice_is_refused_with_the_choices(field: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is '{value}', expected one of"):
        E2emernConfig(**{field: value})


def test_an_encoder_in_half_precision_is_loaded_in_full(tmp_path: Path) -> None:
    tiny.encoder().half().save_pretrained(tmp_path)
    model = E2emernModel.on_encoder(str(tmp_path))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
