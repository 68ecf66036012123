"""What chance gives: the Gaussian copula against simulation, and the halves of abstracts."""

from __future__ import annotations

import numpy as np
import pytest
from fake_encoder import FakeEncoder

from embedsearch.pairs.divergent.divergence import Closer, Divergence, Measure
from embedsearch.pairs.divergent.nulls import CopulaNull, copula_correlation, half_texts, halves
from embedsearch.pairs.histograms import Joint, Marginal
from embedsearch.records import Paper

N_DRAWS = 500_000


def histograms(a, b, *, fine=1 << 16, coarse=1 << 10):
    """The distributions of drawn cosines as a scan counts them."""
    made = []
    for values in (a, b):
        low, high = float(values.min()), float(values.max())
        width = (high - low) / fine * (1 + 1e-9)
        counts = np.bincount(((values - low) / width).astype(int), minlength=fine)
        made.append(Marginal(start=low, width=width, counts=counts, minimum=low, maximum=high))
    first, second = made
    ratio = fine // coarse
    cells = [((v - m.start) / (m.width * ratio)).astype(int) for v, m in ((a, first), (b, second))]
    joint = Joint(
        first_start=first.start,
        first_width=first.width * ratio,
        second_start=second.start,
        second_width=second.width * ratio,
        counts=np.bincount(cells[0] * coarse + cells[1], minlength=coarse**2).reshape(coarse, coarse),
    )
    return first, second, joint


def draw(seed):
    """Cosines of two spaces that a Gaussian copula of correlation 0.6 ties, their distributions skewed unalike."""
    random = np.random.default_rng(seed)
    x = random.normal(size=N_DRAWS)
    y = 0.6 * x + 0.8 * random.normal(size=N_DRAWS)
    return np.tanh(0.3 * x), 0.9 + 0.09 * np.tanh(y - 0.5)


@pytest.fixture(scope="module")
def drawn():
    a, b = draw(0)
    return a, b, *histograms(a, b)


@pytest.fixture(scope="module")
def others():
    """Drawn anew: those that were counted fit their own distributions too well."""
    return draw(1)


def test_the_correlation_of_the_copula_is_found_again(drawn):
    *_, joint = drawn
    assert copula_correlation(joint.spearman()[0]) == pytest.approx(0.6, abs=0.005)


@pytest.mark.parametrize("measure", list(Measure))
@pytest.mark.parametrize("closer", list(Closer))
@pytest.mark.parametrize("share", [0.2, 0.002])
@pytest.mark.parametrize("limit", [None, 0.7])
def test_the_copula_gives_what_simulation_gives(drawn, others, measure, closer, share, limit):
    _, _, first, second, joint = drawn
    a, b = drawn[:2] if measure is Measure.CONDITIONAL else others
    divergence = Divergence(measure=measure, first=first, second=second, joint=joint)
    values = divergence(a, b, closer)
    value = float(np.quantile(values, 1 - share))
    near, marginal = (a, first) if closer is Closer.FIRST else (b, second)
    min_cosine = None if limit is None else float(marginal.quantile(limit))
    observed = float(((values >= value) & (near >= (-2 if min_cosine is None else min_cosine))).mean())
    expected = CopulaNull.of(divergence).share(value, closer, min_cosine=min_cosine)
    # Five standard errors of the draws, and what 0.002 of rho makes
    assert expected == pytest.approx(observed, rel=0.03, abs=5 * np.sqrt(observed / N_DRAWS))


def test_another_correlation_is_told_apart(drawn):
    _, _, first, second, joint = drawn
    divergence = Divergence(measure=Measure.RANK, first=first, second=second, joint=joint)
    right, wrong = CopulaNull.of(divergence), CopulaNull(divergence=divergence, rho=0.4)
    assert wrong.share(0.8, Closer.FIRST) > 3 * right.share(0.8, Closer.FIRST)


def test_without_correlation_the_share_is_known():
    uniform = Marginal(start=0, width=1 / 4096, counts=np.ones(4096, np.int64), minimum=0, maximum=1)
    joint = Joint(first_start=0, first_width=1, second_start=0, second_width=1, counts=np.array([[4096]]))
    divergence = Divergence(measure=Measure.RANK, first=uniform, second=uniform, joint=joint)
    for gap in (-0.5, 0.0, 0.3, 0.9, 0.999):  # P(U - V >= g) of two uniform numbers
        expected = (1 - gap) ** 2 / 2 if gap >= 0 else 1 - (1 + gap) ** 2 / 2
        share = CopulaNull(divergence=divergence, rho=0.0).share(gap, Closer.FIRST)
        assert share == pytest.approx(expected, rel=1e-3)


def test_halves_are_disjoint_sentences():
    assert half_texts("One star.  Two\ngalaxies. Three waves.") == ("One star. Three waves.", "Two galaxies.")
    assert half_texts("One sentence, e.g. this.") is None


def test_halves_are_encoded_and_those_of_one_sentence_counted():
    papers = [
        Paper(id="a", abstract="Star star. Gas here."),
        Paper(id="b", abstract="Only one"),
        Paper(id="c", abstract="Dust. Wave. Dust."),
    ]
    told = []
    found = halves(papers, FakeEncoder(), progress=lambda done, total: told.append((done, total)))
    assert found.ids == ("a", "c")
    assert found.n_left_out == 1
    # "star." is no word of the fake encoder, "star" is
    assert found.odd[0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    assert found.even[0].tolist() == [0, 0, 0, 0, 0, 0, 1, 0]
    assert told[-1] == (4, 4)
