"""Quality at other sizes of the corpus: thinning against drawn subsets, fits against corpora that were made."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from embedsearch.errors import OptionError
from embedsearch.evaluate import sizes, tails
from embedsearch.evaluate.asking import Scored
from embedsearch.evaluate.sizes import Ranked, default_sizes, size_curve, size_difference
from embedsearch.evaluate.thinning import gains_of, thinned
from embedsearch.measures import mean_interval
from embedsearch.search import Mode

MEASURES = ["MRR@10", "recall@1", "recall@3"]


def gain(n_better: int, measure: str) -> float:
    """Of one query, as a reader would say it."""
    name, _, k = measure.partition("@")
    if n_better >= int(k):
        return 0.0
    return 1 / (1 + n_better) if name == "MRR" else 1.0


@pytest.mark.parametrize("measure", MEASURES)
def test_thinning_is_the_mean_over_every_subset(measure: str) -> None:
    n_corpus = 8
    for rank, n in itertools.product(range(1, n_corpus + 1), range(1, n_corpus + 1)):
        subsets = list(itertools.combinations(range(1, n_corpus), n - 1))  # of the others; the better ones come first
        mean = np.mean([gain(sum(other < rank for other in subset), measure) for subset in subsets])
        assert thinned(np.array([rank]), n_corpus, n, gains_of(measure))[0] == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_thinning_equals_real_subsampling(measure: str) -> None:
    random = np.random.default_rng(3)
    n_corpus, n, draws = 500, 60, 2000
    scores = random.normal(size=(25, n_corpus))
    scores[:, 0] += 2.0  # paper 0 is the right one
    ranks = (scores >= scores[:, :1]).sum(axis=1)
    others = np.argsort(random.random((draws, n_corpus - 1)), axis=1)[:, : n - 1] + 1
    better = (scores[:, 1:] > scores[:, :1]).T
    drawn = np.stack([better[subset - 1].sum(axis=0) for subset in others])
    seen = np.array([[gain(int(count), measure) for count in counts] for counts in drawn])
    exact = thinned(ranks, n_corpus, n, gains_of(measure))
    squares = thinned(ranks, n_corpus, n, gains_of(measure) ** 2)
    error = np.sqrt(np.maximum(squares - exact**2, 0) / draws)
    assert (np.abs(seen.mean(axis=0) - exact) < 4.5 * error + 1e-9).all()
    assert error.max() > 1e-3  # else the subsets would say nothing


def test_thinning_in_closed_form() -> None:
    """Of one better paper among N - 1 others, n - 1 are drawn: it is there with a chance of (n - 1) / (N - 1)."""
    ranks, n_corpus, n = np.array([1, 2]), 1001, 251
    assert thinned(ranks, n_corpus, n, gains_of("recall@1")) == pytest.approx([1.0, 0.75])
    assert thinned(ranks, n_corpus, n, gains_of("MRR@10")) == pytest.approx([1.0, 0.75 + 0.25 / 2])
    assert thinned(np.array([40]), n_corpus, n_corpus, gains_of("MRR@50")) == pytest.approx([1 / 40])


def made(n_corpus: int, n_queries: int = 150, *, seed: int = 0) -> Scored:
    """Scores of papers that no query is about, and of the right one, which is some way above them."""
    random = np.random.default_rng(seed)
    cosine = random.normal(size=(n_queries, n_corpus)).astype(np.float32)
    cosine[:, 0] = random.normal(3.3, 0.9, size=n_queries)
    return Scored(
        name="made",
        ids=[f"p{i}" for i in range(n_corpus)],
        queries=("q",) * n_queries,
        relevant=({0: 1},) * n_queries,
        cosine=cosine,
        bm25=None,
    )


@pytest.fixture(scope="module")
def large() -> Scored:
    return made(20_000)


def part(scored: Scored, n: int) -> Scored:
    """The first n papers."""
    assert scored.cosine is not None
    return Scored(
        name="part",
        ids=scored.ids[:n],
        queries=scored.queries,
        relevant=scored.relevant,
        cosine=scored.cosine[:, :n],
        bm25=None,
    )


@pytest.mark.parametrize("measure", ["MRR@10", "recall@1", "recall@10"])
def test_a_part_predicts_the_whole_within_its_band(large: Scored, measure: str) -> None:
    truth = size_curve(Ranked.of(large, Mode.DENSE), measure=measure, sizes=[20_000]).points[0].value.mean
    for n in (2000, 500):
        ranked = Ranked.of(part(large, n), Mode.DENSE)
        point = size_curve(ranked, measure=measure, sizes=[20_000]).points[0]
        assert point.extrapolated
        assert set(point.by_model) == {"power law", "log-normal", "scores"}
        assert point.value.low < truth < point.value.high
        assert point.value.high - point.value.low < 0.55
        assert abs(point.value.mean - truth) < 0.1
        assert min(point.by_model.values()) <= point.value.mean <= max(point.by_model.values())


def test_a_curve_falls_and_has_no_step(large: Scored) -> None:
    curve = size_curve(Ranked.of(part(large, 2000), Mode.DENSE), up_to=3_000_000)
    values = [point.value.mean for point in curve.points]
    assert values == sorted(values, reverse=True)
    assert [point.extrapolated for point in curve.points] == [point.n_papers > 2000 for point in curve.points]
    assert all(point.value.low <= point.value.mean <= point.value.high for point in curve.points)
    here, next_one = (
        size_curve(Ranked.of(part(large, 2000), Mode.DENSE), sizes=[n]).points[0].value.mean for n in (2000, 2001)
    )
    assert here == pytest.approx(next_one, abs=1e-3)
    assert curve.at(3_000_000).value.high - curve.at(3_000_000).value.low > curve.at(2000).value.high - here
    with pytest.raises(OptionError, match=r"expected a size of the curve, 10, 20, .*found 7"):
        curve.at(7)


def test_at_the_corpus_the_measure_is_the_ranks_own(large: Scored) -> None:
    ranks = large.ranks(Mode.DENSE)
    point = size_curve(Ranked(ranks=ranks, n_corpus=20_000), sizes=[20_000]).points[0]
    assert point.value.mean == pytest.approx(np.mean([gain(rank - 1, "MRR@10") for rank in ranks.tolist()]))
    assert not point.extrapolated
    assert point.by_model == {}
    assert point.value == mean_interval(np.where(ranks <= 10, 1 / ranks, 0))  # as the report has it


def test_two_are_compared_query_by_query(large: Scored) -> None:
    """A model that is a little better everywhere: its lead is told, though both bands are far wider."""
    first = Ranked.of(part(large, 2000), Mode.DENSE)
    worse = np.minimum(first.ranks + 1, 2000)
    assert first.chances is not None
    second = Ranked(ranks=worse, n_corpus=2000, chances=np.minimum(2 * first.chances + 1e-4, 1.0))
    small, big = size_difference(first, second, sizes=[2000, 100_000])
    assert small.value.low > 0
    assert big.value.low > 0
    alone = size_curve(first, sizes=[100_000]).points[0].value
    assert big.value.high - big.value.low < alone.high - alone.low
    same = size_difference(first, first, sizes=[100, 100_000])
    assert [point.value.mean for point in same] == [0.0, 0.0]
    with pytest.raises(OptionError, match="expected the same queries among the same papers, found 150 among"):
        size_difference(first, Ranked.of(part(large, 500), Mode.DENSE), sizes=[10])


def test_several_papers_may_answer_and_are_none_of_the_others() -> None:
    cosine = np.array([[0.9, 0.8, 0.1, 0.2, 0.3, 0.4, 0.5, 0.85]], np.float32)
    scored = Scored(name="x", ids=list("abcdefgh"), queries=("q",), relevant=({0: 1, 7: 1},), cosine=cosine, bm25=None)
    ranked = Ranked.of(scored, Mode.DENSE)
    assert ranked.ranks.tolist() == [1]
    assert ranked.chances is not None
    others = np.array([0.8, 0.1, 0.2, 0.3, 0.4, 0.5])
    gap = (0.9 - 0.1) / (others[others > 0.1] - 0.1).mean()
    assert ranked.chances[0] == pytest.approx(5 / 6 * np.exp(-gap), rel=1e-5)


def test_scores_of_few_or_equal_others_say_no_more_than_the_rank() -> None:
    nothing = np.full(40, -np.inf, np.float32)
    assert tails.chance_by_scores(nothing, 1.0) == 0.0
    assert tails.chance_by_scores(np.full(40, 0.5, np.float32), 0.6) == 0.0
    assert tails.chance_by_scores(np.full(40, 0.5, np.float32), 0.5) == 1.0
    assert tails.chance_by_scores(np.linspace(0, 1, 41, dtype=np.float32), 0.25) == pytest.approx(31 / 41)
    assert tails.chance_by_scores(np.empty(0, np.float32), 0.5) == 0.0


def test_the_expected_measure_of_a_binomial() -> None:
    chances = np.array([0.0, 0.5, 1.0, 1e-6])
    assert tails.expected(chances, 3, gains_of("recall@1")) == pytest.approx([1, 0.25, 0, (1 - 1e-6) ** 2])
    assert tails.expected(chances, 3, gains_of("MRR@10"))[1] == pytest.approx(0.25 + 0.5 / 2 + 0.25 / 3)
    assert tails.expected(chances, 3, gains_of("recall@3")) == pytest.approx([1, 1, 1, 1])


@pytest.mark.parametrize("family", [tails.power_law(), tails.log_normal()], ids=["power law", "log-normal"])
def test_a_family_finds_the_distribution_that_made_the_ranks(family: tails.Family) -> None:
    random = np.random.default_rng(1)
    true = len(family.shares) // 2
    p = 1 / (1 + np.exp(-random.choice(tails.NODES, size=4000, p=family.shares[true])))
    better, counts = np.unique(random.binomial(1000, p), return_counts=True)
    best = int((family.log_likelihood(better, 1000) @ counts).argmax())
    gains = gains_of("recall@10")
    assert family.expected(10_000, gains)[best] == pytest.approx(family.expected(10_000, gains)[true], abs=0.03)


def test_queries_without_a_miss_do_not_promise_any_corpus() -> None:
    """40 queries, each first of 100: were all chances 0.1 %, no query would be missed in one of 52 such sets."""
    perfect, other = Ranked(ranks=np.ones(40, np.int64), n_corpus=100), Ranked(ranks=np.full(40, 3), n_corpus=100)
    curve = size_curve(perfect, measure="recall@1", sizes=[100, 101, 1000, 1_000_000])
    lows = [point.value.low for point in curve.points]
    assert lows == pytest.approx([1.0, *(0.025 ** ((n - 1) / (40 * 99)) for n in (101, 1000, 1_000_000))], abs=1e-6)
    assert all(point.value.high > 0.99 for point in curve.points)
    (ahead,) = size_difference(perfect, other, measure="recall@1", sizes=[1_000_000])
    assert ahead.value.low <= 0 < 0.9 < ahead.value.high
    (behind,) = size_difference(other, perfect, measure="recall@1", sizes=[1_000_000])
    assert behind.value.low < -0.9 < 0 <= behind.value.high


def test_what_cannot_be_is_said() -> None:
    good = Ranked(ranks=np.array([1, 3]), n_corpus=10)
    for measure in ("nDCG@10", "MRR", "recall@0", "mrr@10"):
        with pytest.raises(OptionError, match="expected MRR@K or recall@K, found"):
            size_curve(good, measure=measure)
    for ranks in ([0, 1], [11], []):
        with pytest.raises(OptionError, match="expected ranks from 1 to 10, found"):
            size_curve(Ranked(ranks=np.array(ranks, np.int64), n_corpus=10))
    for wrong in ([0], []):
        with pytest.raises(OptionError, match="expected sizes of at least one paper, found"):
            size_curve(good, sizes=wrong)
    assert sizes.BM25_NOTE


def test_sizes_are_round_and_hold_the_corpus_and_the_aim() -> None:
    assert default_sizes(120) == [10, 20, 50, 100, 120]
    assert default_sizes(7) == [7]
    assert default_sizes(120, 3_000) == [10, 20, 50, 100, 120, 200, 500, 1000, 2000, 3000]


def test_a_corpus_of_one_paper_has_a_curve() -> None:
    curve = size_curve(Ranked(ranks=np.array([1, 1]), n_corpus=1, chances=np.zeros(2)), up_to=100)
    assert curve.points[0].value.mean == 1.0
    assert 0 <= curve.points[-1].value.low <= curve.points[-1].value.mean
