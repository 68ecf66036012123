"""Batches side by side: the same results, in order, and torch's threads left as they were."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from embedsearch.encoders.lanes import LEAST_IN_A_LANE, in_lanes, n_lanes


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_from_lanes_that_run_at_once(two_threads):
    both = threading.Barrier(2, timeout=20)  # broken if the lanes took turns

    def work(item):
        both.wait()
        return item, torch.get_num_threads()

    assert list(in_lanes(work, range(10), n=2)) == [(i, 1) for i in range(10)]


def test_other_threads_keep_their_number_of_torch_threads(two_threads):
    list(in_lanes(abs, [1, -2], n=2))
    with ThreadPoolExecutor(1) as fresh:
        assert fresh.submit(torch.get_num_threads).result() == 2
    assert torch.get_num_threads() == 2


def test_one_lane_is_the_calling_thread():
    assert list(in_lanes(lambda _: threading.get_ident(), [0], n=1)) == [threading.get_ident()]


def test_a_failure_surfaces_at_its_item_and_ends_the_rest(two_threads):
    begun = []

    def work(item):
        begun.append(item)
        time.sleep(0.005 if item > 1 else 0)
        return 1 // (item - 1)

    results = in_lanes(work, range(1000), n=2)
    assert next(results) == -1
    with pytest.raises(ZeroDivisionError):
        next(results)
    count = len(begun)
    assert count < 1000
    assert len(list(in_lanes(abs, [1, 2], n=2))) == 2
    assert len(begun) == count


def test_a_thread_that_cannot_be_started_leaves_none_waiting(two_threads, monkeypatch):
    submit, calls = ThreadPoolExecutor.submit, []

    def second_fails(pool, *arguments):
        calls.append(pool)
        if len(calls) == 2:
            raise RuntimeError("can't start new thread")
        return submit(pool, *arguments)

    before = threading.active_count()
    monkeypatch.setattr(ThreadPoolExecutor, "submit", second_fails)
    with pytest.raises(RuntimeError, match="can't start"):
        next(in_lanes(abs, [1, 2, 3], n=3))
    assert threading.active_count() == before
    assert torch.get_num_threads() == 2
    monkeypatch.undo()
    assert list(in_lanes(abs, [-1, 2], n=3)) == [1, 2]


def test_few_batches_are_not_worth_lanes(two_threads):
    assert n_lanes(2 * LEAST_IN_A_LANE - 1) == 1
    assert n_lanes(2 * LEAST_IN_A_LANE) == 2
