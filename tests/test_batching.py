from itertools import pairwise

import numpy as np
import pytest

from embedsearch.encoders.batching import batches, n_padded_tokens
from embedsearch.errors import OptionError


@pytest.mark.parametrize("budget", [1, 7, 100, 4096])
def test_each_text_is_in_one_batch_that_fits(budget):
    lengths = np.random.default_rng(0).integers(1, 60, size=500)
    result = batches(lengths, budget)
    assert sorted(np.concatenate(result)) == list(range(500))
    for batch in result:
        assert len(batch) == 1 or n_padded_tokens(lengths, batch) <= budget


@pytest.mark.parametrize("enough", [1, 64, 256, 10_000])
def test_what_is_enough_only_divides_further(enough):
    lengths = np.random.default_rng(1).integers(1, 60, size=500)
    result = batches(lengths, 1000, enough=enough)
    assert sorted(np.concatenate(result)) == list(range(500))
    for batch, after in pairwise(result):
        assert len(batch) == 1 or n_padded_tokens(lengths, batch) <= 1000
        kept = lengths[batch][-(-enough // lengths[batch[0]]) :]
        assert (kept >= lengths[batch[0]] * 7 / 8).all()
        is_full = (len(batch) + 1) * lengths[batch[0]] > 1000
        assert is_full or lengths[after[0]] < lengths[batch[0]] * 7 / 8
    if enough == 10_000:
        assert [batch.tolist() for batch in result] == [batch.tolist() for batch in batches(lengths, 1000)]


def test_a_batch_that_has_enough_ends_before_what_is_much_shorter():
    lengths = np.array([10, 10, 9, 8, 2, 2])
    assert [batch.tolist() for batch in batches(lengths, 100, enough=20)] == [[0, 1, 2], [3, 4, 5]]
    assert [batch.tolist() for batch in batches(lengths, 100, enough=40)] == [[0, 1, 2, 3], [4, 5]]


def test_longest_first_and_equal_lengths_in_order():
    assert [batch.tolist() for batch in batches(np.array([3, 5, 3, 5, 1]), 10)] == [[1, 3], [0, 2, 4]]


def test_a_text_longer_than_the_budget_is_alone():
    assert [batch.tolist() for batch in batches(np.array([50, 2]), 4)] == [[0], [1]]


def test_no_texts_no_batches():
    assert batches(np.array([], dtype=np.int64), 10) == []


def test_empty_texts_do_not_divide_by_zero():
    assert [batch.tolist() for batch in batches(np.array([0, 0]), 10)] == [[0, 1]]


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(OptionError, match="at least 1, was 0"):
        batches(np.array([1]), 0)
