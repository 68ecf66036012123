"""The numbers of the similarity figure against all pairs in float64."""

from __future__ import annotations

import json

import numpy as np
import pytest
from figure_oracle import check

from embedsearch.errors import OptionError
from embedsearch.pairs.curves import clipped_curve, curve, n_cells
from embedsearch.pairs.similarity import distinct_labels, similarity_figure
from embedsearch.store.space import Space

N = 300


def spaces(n: int = N, *, seed: int = 0) -> list[Space]:
    """Three spaces of the same papers: two that share a signal, the second with a common direction, one unrelated."""
    random = np.random.default_rng(seed)
    signal = random.normal(size=(n, 12))
    ids = [f"2001.{i:05d}" for i in range(n)]
    return [
        Space.of(ids, signal + 0.7 * random.normal(size=(n, 12)), name="one"),
        Space.of(ids, np.hstack([signal + random.normal(size=(n, 12)), np.full((n, 1), 6.0)]), name="two"),
        Space.of(ids, random.normal(size=(n, 20)) + 0.3, name="three"),
    ]


@pytest.mark.parametrize("binning", ["quantile", "width"])
@pytest.mark.parametrize("n_bins", [1, 2, 10])
def test_every_number_is_that_of_all_pairs(n_bins: int, binning: str) -> None:
    given = spaces()
    check(similarity_figure(given, n_bins=n_bins, binning=binning, by=(0, 1)), given)


def test_one_space() -> None:
    given = spaces()[:1]
    check(similarity_figure(given, by=()), given)


def test_quantile_bins_hold_equal_counts() -> None:
    (panel,) = similarity_figure(spaces(), n_bins=10).panels
    assert abs(panel.ridges[0].share - 0.1).max() < 1e-3


def test_the_space_that_is_not_binned_by_spreads_more_by_construction() -> None:
    """Two spaces of equal signal and noise swap their ratios with the binning: what the paper's figure cannot show."""
    random = np.random.default_rng(1)
    signal, ids = random.normal(size=(400, 12)), [str(i) for i in range(400)]
    twins = [Space.of(ids, signal + 0.7 * random.normal(size=(400, 12)), name=name) for name in "ab"]
    (panel,) = similarity_figure(twins, by=(0, 1)).panels
    first, second = panel.ridges
    assert first.spaces[0].pooled_ratio < 0.3 < 0.6 < first.spaces[1].pooled_ratio
    assert second.spaces[1].pooled_ratio < 0.3 < 0.6 < second.spaces[0].pooled_ratio
    assert first.spaces[1].pooled_ratio == pytest.approx(second.spaces[0].pooled_ratio, abs=0.05)


def test_panels_are_the_spaces_after_a_transform() -> None:
    given = spaces()
    both = similarity_figure(given, panels=("raw", "center"))
    assert [panel.transform for panel in both.panels] == ["raw", "center"]
    alone = similarity_figure([space.transformed("center") for space in given])
    np.testing.assert_array_equal(both.panels[1].ridges[0].n_pairs, alone.panels[0].ridges[0].n_pairs)
    assert abs(both.panels[1].spaces[1].mean.value) < 0.05 < both.panels[0].spaces[1].mean.value
    assert [view.label for view in both.panels[1].spaces] == ["one", "two", "three"]


def test_equal_papers_have_no_range() -> None:
    same = Space.of(["a", "b", "c", "d"], np.ones((4, 5)), name="same")
    data = similarity_figure([same, same], n_bins=2)
    assert data.panels[0].spaces[0].mean.value == pytest.approx(1)
    json.dumps(data.as_dict(), allow_nan=False)


def test_as_dict_has_every_number() -> None:
    data = similarity_figure(spaces(), by=(0, 1))
    plain = json.loads(json.dumps(data.as_dict(), allow_nan=False))
    assert (plain["n_papers"], plain["n_pairs"]) == (N, N * (N - 1) // 2)
    ridges = plain["panels"][0]["ridges"][1]
    assert ridges["edges"] == data.panels[0].ridges[1].edges.tolist()
    assert ridges["spaces"][0]["curves"][3]["density"] == data.panels[0].ridges[1].spaces[0].curves[3].density.tolist()
    assert plain["panels"][0]["spaces"][0]["mean"]["error"] > 0


def test_a_step_that_a_bin_cuts_is_as_wide_as_it_lies_inside() -> None:
    edges, counts = np.linspace(0, 1, 6), np.array([0, 30, 40, 30, 0])
    cut = clipped_curve(edges, counts, 0.3, 0.7)
    np.testing.assert_allclose(cut.edges, [0.3, 0.4, 0.6, 0.7])
    np.testing.assert_allclose(cut.density, [3.0, 2.0, 3.0])
    assert (cut.density * np.diff(cut.edges)).sum() == pytest.approx(1)
    thin = clipped_curve(edges, counts, 0.39, 0.7)
    np.testing.assert_allclose(thin.edges, [0.39, 0.6, 0.7])
    assert not len(clipped_curve(edges, counts, 0.3, 0.3).density)
    assert not len(curve(edges, 0 * counts).density)
    np.testing.assert_allclose(curve(edges, counts).edges, [0.2, 0.4, 0.6, 0.8])


def test_steps_follow_the_pairs() -> None:
    assert [n_cells(n) for n in (1, 1000, 10**9)] == [16, 20, 256]


def test_labels_are_distinct() -> None:
    one = Space.of(["a"], [[1.0]], name="x", model_name="m")
    other = Space.of(["a"], [[1.0]], name="y", model_name="m")
    assert distinct_labels([one, other]) == ["m [x]", "m [y]"]
    assert distinct_labels([one, one]) == ["m [x] (1)", "m [x] (2)"]
    assert distinct_labels([one]) == ["m"]


def test_what_cannot_be_counted() -> None:
    given = spaces()
    with pytest.raises(OptionError, match="expected a binning of quantile or width, found 'log'"):
        similarity_figure(given, binning="log")
    with pytest.raises(OptionError, match=r"expected to bin by one of 3 spaces, found \[3\]"):
        similarity_figure(given, by=(3,))
    with pytest.raises(OptionError, match="expected spaces with the same papers, at least 3, found 300, 200"):
        similarity_figure([given[0], given[1].take(np.arange(200))])
    with pytest.raises(OptionError, match="expected at least 1 bin, found 0"):
        similarity_figure(given, n_bins=0)
