from __future__ import annotations

import math

import pytest
import torch

from e2emern.model.training.losses import candidate_loss, mention_loss, tag_loss


def test_tag_loss_with_one_allowed_tag_is_the_cross_entropy() -> None:
    logits = torch.tensor([[[2.0, 0.0, 1.0], [0.5, 0.5, 0.5]]])
    allowed = torch.tensor([[[True, False, False], [False, True, False]]])
    expected = -(2.0 - math.log(math.exp(2) + 1 + math.e) + -math.log(3)) / 2
    assert tag_loss(logits, allowed, torch.ones(1, 2)).item() == pytest.approx(expected)


def test_a_token_that_may_be_o_or_unannotated_costs_the_sum_of_both() -> None:
    logits = torch.log(torch.tensor([[[0.2, 0.3, 0.5]]]))
    allowed = torch.tensor([[[True, False, True]]])
    assert tag_loss(logits, allowed, torch.ones(1, 1)).item() == pytest.approx(-math.log(0.7))


def test_tokens_that_do_not_count_neither_cost_nor_learn() -> None:
    logits = torch.randn(1, 3, 4, requires_grad=True)
    allowed = torch.zeros(1, 3, 4, dtype=torch.bool)
    allowed[0, 0, 1] = True  # the others allow nothing, as padding does
    loss = tag_loss(logits, allowed, torch.tensor([[1.0, 0.0, 0.0]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert logits.grad[0, 1:].abs().sum() == 0


def test_mention_loss_balances_positives_and_negatives_and_skips_the_unknown() -> None:
    logits = torch.tensor([[0.0, 0.0, 5.0, 100.0]])
    contained = torch.tensor([[True, False, False, False]])
    known = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    negative = (math.log(2) + math.log(1 + math.exp(5))) / 2
    assert mention_loss(logits, contained, known).item() == pytest.approx((math.log(2) + negative) / 2, rel=1e-5)


def test_candidate_loss_accepts_any_correct_concept() -> None:
    scores = torch.log(torch.tensor([[0.1, 0.2, 0.7]]))
    right = torch.tensor([[True, True, False]])
    assert candidate_loss(scores, right).item() == pytest.approx(-math.log(0.3))
