"""Paired bootstrap over documents."""

from __future__ import annotations

import numpy as np
import pytest

from e2emern.model.evaluation.comparison import Difference, compare, figure, mean_and_range
from e2emern.model.evaluation.scores import Cell, Counts

CELL = Cell("c", "dev", "document", "all", "Disease")


def counts(*rows: tuple[int, int, int], cell: Cell = CELL) -> Counts:
    return {cell: np.array(rows, np.int64)}


def test_a_clear_difference_excludes_zero_and_none_is_zero() -> None:
    good, bad = counts(*[(9, 1, 1)] * 40), counts(*[(5, 5, 5)] * 40)
    difference = compare(bad, good).cells[CELL]
    assert difference == Difference(0.5, 0.9, pytest.approx(0.4), pytest.approx(0.4))
    assert (difference.better, difference.worse) == (True, False)
    same = compare(good, good).cells[CELL]
    assert (same.value, same.low, same.high, same.better, same.worse) == (0.0, 0.0, 0.0, False, False)
    assert compare(good, bad).overall["document"].worse


def test_a_difference_that_one_document_makes_is_not_clear() -> None:
    champion, challenger = counts(*[(5, 5, 5)] * 20), counts((9, 1, 1), *[(5, 5, 5)] * 19)
    difference = compare(champion, challenger).cells[CELL]
    assert difference.value == pytest.approx(0.02)
    assert difference.low == 0.0
    assert not difference.better


def test_the_mean_over_splits_and_types_leaves_slices_out() -> None:
    other, slice_ = Cell("d", "dev", "document", "all", "Chemical"), Cell("c", "dev", "document", "refined", "Disease")
    champion = counts((1, 1, 1)) | counts((3, 1, 1), cell=other) | counts((0, 9, 9), cell=slice_)
    challenger = counts((3, 1, 1)) | counts((3, 1, 1), cell=other) | counts((9, 0, 0), cell=slice_)
    comparison = compare(champion, challenger)
    assert set(comparison.cells) == {CELL, other, slice_}
    assert comparison.overall == {"document": Difference(0.625, 0.75, 0.125, 0.125)}
    assert comparison.cells[slice_].value == 1.0


def test_pooled_counts_weigh_documents_alike_whatever_their_corpus() -> None:
    small = Cell("d", "dev", "document", "all", "Disease")
    champion = counts(*[(5, 5, 5)] * 9) | counts((5, 5, 5), cell=small)
    challenger = counts(*[(6, 4, 4)] * 9) | counts((0, 10, 10), cell=small)
    comparison = compare(champion, challenger)
    assert comparison.overall["document"].challenger == pytest.approx(0.3)
    pooled = comparison.pooled["document"]
    assert (pooled.champion, pooled.challenger) == (0.5, pytest.approx(0.54))
    assert pooled.low == pooled.high == pytest.approx(0.04)  # each corpus has documents that are all alike
    chemical = Cell("d", "dev", "document", "all", "Chemical")
    both = compare(champion | counts((1, 0, 0), cell=chemical), challenger | counts((1, 0, 0), cell=chemical))
    assert both.pooled["document"].challenger == pytest.approx(0.77)  # the mean over types


def test_models_counted_on_other_documents_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="c/dev: found 1 and 2 documents"):
        compare(counts((1, 0, 0)), counts((1, 0, 0), (1, 0, 0)))
    with pytest.raises(ValueError, match="found no corpus, split and protocol that both models are counted on"):
        compare(counts((1, 0, 0)), {})


def test_the_leading_figure_is_f1_or_the_share_of_given_spans() -> None:
    assert figure(np.array([6, 2, 2]), "ner") == 0.75
    assert figure(np.array([6, 0, 2]), "link") == 0.75
    assert figure(np.array([[0, 0, 0], [1, 0, 1]]), "recall@4").tolist() == [0.0, 0.5]


def test_seeds_give_a_mean_and_a_range() -> None:
    assert mean_and_range([0.5, 0.75, 0.25]) == (0.5, 0.25, 0.75)
