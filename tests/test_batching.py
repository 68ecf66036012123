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
