"""The divergent pairs against brute force over all pairs in float64: three measures, both directions."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from embedsearch.errors import OptionError
from embedsearch.pairs.divergent import selecting
from embedsearch.pairs.divergent.divergence import Closer, Conditional, Divergence, Measure
from embedsearch.pairs.divergent.greedy import count_at_least, most_divergent
from embedsearch.pairs.divergent.selecting import Pool, pair_cosines
from embedsearch.pairs.scan import scan_pairs
from embedsearch.scores import cosines, unit_rows


def ids_of(n):
    """Ids whose order is not that of the rows."""
    return [f"{(7919 * i) % 10007:05d}" for i in range(n)]


def two_spaces(n=90, *, seed=0, hub=False, ties=False):
    """Aligned unit rows of 12 and 20 numbers that agree in part; a hub diverges from all others."""
    random = np.random.default_rng(seed)
    base = random.normal(size=(n, 12))
    a = base + 0.6 * random.normal(size=(n, 12))
    b = np.concatenate([base + 0.6 * random.normal(size=(n, 12)), 0.3 * random.normal(size=(n, 8))], axis=1)
    if ties:  # few distinct vectors, so that most pairs tie
        a, b = a[random.integers(6, size=n)], b[random.integers(6, size=n)]
    if hub:
        a[3], b[3] = a.mean(axis=0) * 9, -b.mean(axis=0) * 9
        a += 0.8 * a[3] / np.linalg.norm(a[3]) * np.sqrt(12)
        b -= 0.8 * b[3] / np.linalg.norm(b[3]) * np.sqrt(12)
    return unit_rows(a), unit_rows(b)


def brute(vectors, ids, scan, measure, closer, *, n, per_paper, min_cosine=None):
    """All pairs in float64, sorted by divergence and ids, then greedily; and how many diverge as much."""
    pairs = list(itertools.combinations(range(len(ids)), 2))
    a, b = (
        np.array([np.float32(np.sum(v[i].astype(np.float64) * v[j].astype(np.float64))) for i, j in pairs])
        for v in vectors
    )
    wide = a.astype(np.float64), b.astype(np.float64)
    if measure is Measure.RANK:
        values = scan.marginals[0].cdf(wide[0]) - scan.marginals[1].cdf(wide[1])
    elif measure is Measure.RAW:
        values = wide[0] - wide[1]
    else:
        values = 1 - conditional_cdf(scan.joints[0], *wide)
    if closer is Closer.SECOND:
        values = 1 - values if measure is Measure.CONDITIONAL else -values
    near = a if closer is Closer.FIRST else b
    found = [
        (float(value), min(ids[i], ids[j]), max(ids[i], ids[j]))
        for (i, j), value, cosine in zip(pairs, values, near, strict=True)
        if min_cosine is None or cosine >= np.float32(min_cosine)
    ]
    found.sort(key=lambda pair: (-pair[0], pair[1:]))
    taken, counts = [], Counter()
    for pair in found:
        if len(taken) < n and all(counts[id] < per_paper for id in pair[1:]):
            counts.update(pair[1:])
            taken.append(pair)
    return taken, found


def conditional_cdf(joint, a, b, min_group=1000):
    """C(b | a), written out: merge rows from below until a group has enough, the rest joins the last."""
    groups, group, held = [], [], 0
    for row in range(len(joint.counts)):
        if held >= min_group:
            groups.append(group)
            group, held = [], 0
        group.append(row)
        held += joint.counts[row].sum()
    if held < min_group and groups:
        groups[-1] += group
    else:
        groups.append(group)
    rows = np.clip((a - joint.first_start) / joint.first_width, 0, len(joint.counts) - 1).astype(int)
    edges = joint.second_start + joint.second_width * np.arange(joint.counts.shape[1] + 1)
    result = np.empty(len(a))
    for group in groups:
        counts, mine = joint.counts[group].sum(axis=0), np.isin(rows, group)
        result[mine] = np.interp(b[mine], edges, np.concatenate([[0], np.cumsum(counts)]) / counts.sum())
    return result


def names(found, ids):
    return [tuple(sorted((ids[i], ids[j]))) for i, j in zip(found.first, found.second, strict=True)]


def assert_same(found, expected, ids):
    """The same divergences in the same order; the same pairs, but for those that tie within rounding."""
    np.testing.assert_allclose(found.divergence, [value for value, *_ in expected], atol=1e-9)
    for name, value, (wanted, *pair) in zip(names(found, ids), found.divergence, expected, strict=True):
        assert name == tuple(pair) or abs(value - wanted) < 1e-9
    assert len(set(names(found, ids))) == len(found)


@pytest.mark.parametrize("measure", list(Measure))
@pytest.mark.parametrize("per_paper", [1, 2, 1000])
@pytest.mark.parametrize("side", [16, 1024])
def test_equals_brute_force(monkeypatch, measure, per_paper, side):
    monkeypatch.setattr(selecting, "SIDE", side)
    vectors, ids = two_spaces(), ids_of(90)
    scan = scan_pairs(vectors)
    pool = Pool.of(vectors, ids, Divergence.of(scan, measure))
    for closer, found in most_divergent(pool, n=12, per_paper=per_paper).items():
        expected, _ = brute(vectors, ids, scan, measure, closer, n=12, per_paper=per_paper)
        assert_same(found, expected, ids)


@pytest.mark.parametrize("measure", list(Measure))
def test_a_hub_that_fills_the_heap_takes_another_pass(monkeypatch, measure):
    monkeypatch.setattr(selecting, "SIDE", 32)
    vectors, ids = two_spaces(hub=True), ids_of(90)
    scan = scan_pairs(vectors)
    pool = Pool.of(vectors, ids, Divergence.of(scan, measure))
    passes = []
    found = most_divergent(
        pool, n=10, heap_size=12, closers=[Closer.FIRST], progress=lambda done, total: passes.append(done == total)
    )[Closer.FIRST]
    expected, everything = brute(vectors, ids, scan, measure, Closer.FIRST, n=10, per_paper=1)
    if measure is not Measure.CONDITIONAL:
        assert Counter(id for pair in everything[:12] for id in pair[1:])[ids[3]] == 12  # the heap holds nothing else
    assert sum(passes) > 1
    assert_same(found, expected, ids)


def test_ties_go_by_id_whatever_the_order(monkeypatch):
    monkeypatch.setattr(selecting, "SIDE", 16)
    vectors, ids = two_spaces(ties=True), ids_of(90)
    scan = scan_pairs(vectors)
    divergence = Divergence.of(scan, Measure.RANK)
    expected, everything = brute(vectors, ids, scan, Measure.RANK, Closer.FIRST, n=20, per_paper=2)
    assert len({value for value, *_ in everything}) < 300  # of 4,005 pairs
    shuffled = np.random.default_rng(1).permutation(90)
    for order, heap_size in itertools.product((np.arange(90), shuffled), (7, 1000)):
        mine = [ids[i] for i in order]
        pool = Pool.of([v[order] for v in vectors], mine, divergence)
        found = most_divergent(pool, n=20, per_paper=2, heap_size=heap_size)[Closer.FIRST]
        assert names(found, mine) == [pair[1:] for pair in expected]
        np.testing.assert_array_equal(found.divergence, [value for value, *_ in expected])


@pytest.mark.parametrize("measure", list(Measure))
@pytest.mark.parametrize("closer", list(Closer))
def test_a_smallest_cosine_is_asked_of_the_closer_space(measure, closer):
    vectors, ids = two_spaces(), ids_of(90)
    scan = scan_pairs(vectors)
    pool = Pool.of(vectors, ids, Divergence.of(scan, measure), min_cosine=0.3)
    found = most_divergent(pool, n=8, closers=[closer])[closer]
    expected, _ = brute(vectors, ids, scan, measure, closer, n=8, per_paper=1, min_cosine=0.3)
    assert_same(found, expected, ids)
    assert pool.cosines(found.first, found.second)[0 if closer is Closer.FIRST else 1].min() >= np.float32(0.3)


def test_more_than_there_are():
    vectors, ids = two_spaces(8), ids_of(8)
    scan = scan_pairs(vectors)
    pool = Pool.of(vectors, ids, Divergence.of(scan))
    assert len(most_divergent(pool, n=1000, per_paper=None)[Closer.SECOND]) == 28
    assert len(most_divergent(pool, n=1000)[Closer.SECOND]) == 4  # eight papers, each once
    none = Pool.of(vectors, ids, Divergence.of(scan), min_cosine=2.0)
    assert len(most_divergent(none, n=3)[Closer.FIRST]) == 0


@pytest.mark.parametrize("measure", list(Measure))
@pytest.mark.parametrize("min_cosine", [None, 0.2])
def test_the_count_of_pairs_that_diverge_as_much(monkeypatch, measure, min_cosine):
    monkeypatch.setattr(selecting, "SIDE", 32)
    vectors, ids = two_spaces(), ids_of(90)
    scan = scan_pairs(vectors)
    pool = Pool.of(vectors, ids, Divergence.of(scan, measure), min_cosine=min_cosine)
    found = most_divergent(pool, n=15)
    counts = count_at_least(pool, {closer: pairs.divergence for closer, pairs in found.items()})
    for closer, pairs in found.items():
        _, everything = brute(vectors, ids, scan, measure, closer, n=1, per_paper=1, min_cosine=min_cosine)
        expected = [sum(value >= mine - 1e-9 for value, *_ in everything) for mine in pairs.divergence]
        assert counts[closer].tolist() == expected


def test_pair_cosines_are_those_of_scores_to_the_bit():
    for dim in (3, 384, 1536):
        rows = unit_rows(np.random.default_rng(dim).normal(size=(50, dim)))
        first, second = np.triu_indices(50, 1)
        expected = np.concatenate([cosines(rows[i], rows[i + 1 :]) for i in range(50)])
        np.testing.assert_array_equal(pair_cosines(rows, first, second), expected)


def test_bounds_hold_for_every_pair():
    vectors = two_spaces(60, seed=3)
    scan = scan_pairs(vectors)
    i, j = np.triu_indices(60, 1)
    rough = [(v @ v.T)[i, j] for v in vectors]
    exact = [pair_cosines(v, i, j) for v in vectors]
    for measure, closer in itertools.product(Measure, Closer):
        divergence = Divergence.of(scan, measure)
        bounds = divergence.bounds((12, 20))
        bins = bounds.bins(*rough)
        value = divergence(*exact, closer)
        assert (bounds.lower(bins, closer) <= value).all()
        assert (bounds.upper(bins, closer) >= value).all()


def test_groups_of_the_conditional_are_large_enough_and_whole():
    scan = scan_pairs(two_spaces(120, seed=5))
    conditional = Conditional.of(scan.joints[0], min_group=500)
    assert conditional.n_pairs.min() >= 500
    assert conditional.n_pairs.sum() == scan.n_pairs
    assert len(conditional.n_pairs) > 5
    assert (np.diff(conditional.group) >= 0).all()
    few = Conditional.of(scan.joints[0], min_group=10**6)
    assert few.n_pairs.tolist() == [scan.n_pairs]  # the marginal
    np.testing.assert_allclose(
        few.cdf(np.zeros(3), np.array([-0.2, 0.0, 0.4])), scan.marginals[1].cdf([-0.2, 0.0, 0.4]), atol=2e-3
    )


def test_what_cannot_be():
    vectors = two_spaces(5)
    with pytest.raises(OptionError, match="rank, conditional, raw, found 'rang'"):
        Divergence.of(scan_pairs(vectors), "rang")
    with pytest.raises(OptionError, match="two spaces, found 1"):
        Divergence.of(scan_pairs(vectors[:1]))
    with pytest.raises(OptionError, match="joint=True"):
        Divergence.of(scan_pairs(vectors, joint=False), "conditional")
    pool = Pool.of(vectors, ids_of(5), Divergence.of(scan_pairs(vectors)))
    with pytest.raises(OptionError, match="at least 1 pair"):
        most_divergent(pool, n=0)
    with pytest.raises(OptionError, match="expected vectors of 4 papers"):
        Pool.of(vectors, ids_of(4), pool.divergence)
