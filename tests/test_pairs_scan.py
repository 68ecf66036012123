"""All pairs counted, against brute force in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pair_spaces import brute_force, counted_brutally, rotated, two_spaces
from scipy.stats import spearmanr

from embedsearch.device import PairEngine
from embedsearch.errors import OptionError
from embedsearch.pairs import binned, engine, scan
from embedsearch.pairs.binned import bin_pairs
from embedsearch.pairs.grids import Grid, regrid
from embedsearch.pairs.histograms import Joint, Marginal
from embedsearch.pairs.scan import PairScan, scan_pairs
from embedsearch.scores import Float32, Float64, product_margin, unit_rows

MARGIN = product_margin(32)


def assert_counts(marginal: Marginal, cosines: Float64) -> None:
    """Each count, and each sum of counts from below, lies where products rounded to float32 can bring it."""
    low, high = counted_brutally(cosines, marginal.edges, MARGIN)
    assert (low <= marginal.counts).all()
    assert (marginal.counts <= high).all()
    below = np.searchsorted(np.sort(cosines), marginal.edges[1:-1])
    near = np.searchsorted(np.sort(cosines), marginal.edges[1:-1] + MARGIN)
    near -= np.searchsorted(np.sort(cosines), marginal.edges[1:-1] - MARGIN)
    assert (np.abs(np.cumsum(marginal.counts)[:-1] - below) <= near).all()
    assert marginal.counts.sum() == len(cosines)
    assert marginal.minimum == pytest.approx(cosines.min(), abs=MARGIN)
    assert marginal.maximum == pytest.approx(cosines.max(), abs=MARGIN)


def assert_joint(joint: Joint, a: Float64, b: Float64) -> None:
    first = joint.first_start + joint.first_width * np.arange(joint.counts.shape[0] + 1)
    second = joint.second_start + joint.second_width * np.arange(joint.counts.shape[1] + 1)
    expected, _, _ = np.histogram2d(a, b, bins=[first, second])
    assert joint.counts.sum() == len(a)
    near = sum(
        int((np.abs(values - width * np.rint(values / width)) <= MARGIN).sum())
        for values, width in ((a, joint.first_width), (b, joint.second_width))
    )
    assert np.abs(joint.counts - expected).sum() <= 2 * near + 2


@pytest.mark.parametrize("n", [2, 3, 5, 300, 1024, 1025, 2100])
def test_every_pair_is_counted_in_its_bin(n: int) -> None:
    spaces = two_spaces(n)
    found = scan_pairs(spaces)
    cosines = [brute_force(rows) for rows in spaces]
    assert found.n_pairs == n * (n - 1) // 2
    for marginal, mine in zip(found.marginals, cosines, strict=True):
        assert_counts(marginal, mine)
    assert_joint(found.joints[0], *cosines)
    assert found.means == pytest.approx([mine.mean() for mine in cosines], abs=MARGIN)
    assert found.sds == pytest.approx([mine.std() for mine in cosines], abs=MARGIN)


@pytest.fixture(scope="module")
def spaces() -> list[Float32]:
    return [*two_spaces(2100), two_spaces(2100, seed=5)[0][:, ::-1].copy()]


@pytest.fixture(scope="module")
def scanned(spaces: list[Float32]) -> PairScan:
    return scan_pairs(spaces)


def test_the_bins_are_fine_enough(scanned: PairScan) -> None:
    for marginal in scanned.marginals:
        assert 65_536 <= len(marginal.counts) <= 2 * 65_536 + 1
        assert marginal.counts[0]
        assert marginal.counts[-1]
    for joint in scanned.joints:
        assert min(joint.counts.shape) >= 1000


def test_three_spaces_are_the_first_with_each_other(spaces: list[Float32], scanned: PairScan) -> None:
    assert len(scanned.joints) == 2
    alone = scan_pairs([spaces[0], spaces[2]])
    assert (scanned.joints[1].counts == alone.joints[0].counts).all()
    assert scanned.correlations[1] == pytest.approx(alone.correlations[0], abs=1e-12)
    assert not scan_pairs(spaces, joint=False).joints


def test_deciles_are_even(scanned: PairScan) -> None:
    for marginal in scanned.marginals:
        edges = marginal.bin_edges(10)
        counts = np.histogram(np.repeat(marginal.edges[:-1] + marginal.width / 2, marginal.counts), edges)[0]
        assert np.abs(counts - marginal.n_pairs / 10).max() < 1e-4 * marginal.n_pairs


def test_another_order_of_papers_changes_nothing_but_roundings_at_edges(
    spaces: list[Float32], scanned: PairScan
) -> None:
    order = np.random.default_rng(3).permutation(len(spaces[0]))
    other = scan_pairs([rows[order] for rows in spaces])
    for mine, theirs in zip(scanned.marginals, other.marginals, strict=True):
        assert (mine.width, mine.n_pairs) == (theirs.width, theirs.n_pairs)
        probe = np.linspace(mine.minimum, mine.maximum, 300)
        assert np.abs(mine.cdf(probe) - theirs.cdf(probe)).max() < 1e-5
    assert np.abs(scanned.joints[0].counts - other.joints[0].counts).sum() < 1e-3 * scanned.n_pairs
    assert scanned.means == pytest.approx(other.means, abs=1e-9)


def test_a_rotated_space_is_the_same_space(spaces: list[Float32]) -> None:
    found = scan_pairs([spaces[0], rotated(spaces[0])])
    assert found.correlations[0] == pytest.approx(1, abs=1e-9)
    assert found.joints[0].spearman()[0] == pytest.approx(1, abs=1e-6)
    a, b = found.marginals
    assert a.width == b.width
    probe = np.linspace(a.minimum, a.maximum, 300)
    assert np.abs(a.cdf(probe) - b.cdf(probe)).max() < 1e-5


def test_the_rank_correlation_lies_within_its_resolution(spaces: list[Float32], scanned: PairScan) -> None:
    for joint, other in zip(scanned.joints, spaces[1:], strict=True):
        exact = spearmanr(brute_force(spaces[0]), brute_force(other)).statistic
        value, resolution = joint.spearman()
        assert abs(value - exact) <= resolution < 1e-4


def test_pairs_of_one_group_are_counted_apart(spaces: list[Float32]) -> None:
    groups = np.random.default_rng(0).integers(-1, 4, len(spaces[0]))
    found = scan_pairs(spaces[:2], groups=groups)
    i, j = np.triu_indices(len(groups), 1)
    same = (groups[i] == groups[j]) & (groups[i] >= 0)
    assert found.same is not None
    for every, mine, rows in zip(found.marginals, found.same, spaces, strict=False):
        cosines = brute_force(rows)
        assert mine.n_pairs == same.sum()
        assert every.n_pairs == found.n_pairs
        np.testing.assert_allclose(mine.quantile([0.1, 0.5]), np.quantile(cosines[same], [0.1, 0.5]), atol=1e-3)


def test_identical_papers_have_one_cosine() -> None:
    found = scan_pairs([np.tile(unit_rows(np.ones((1, 4))), (50, 1))] * 2)
    assert [len(marginal.counts) for marginal in found.marginals] == [1, 1]
    assert found.marginals[0].n_pairs == found.joints[0].counts.sum() == 1225
    assert found.sds == pytest.approx([0, 0], abs=1e-7)
    assert (found.marginals[0].bin_edges(3) <= 1).all()


def test_a_cell_holds_more_than_sixteen_bits() -> None:
    two = unit_rows(np.array([[1.0, 0], [0, 1]]))
    found = scan_pairs([np.repeat(two, 600, axis=0)] * 2)
    assert sorted(found.joints[0].counts[found.joints[0].counts > 0]) == [2 * (600 * 599 // 2), 360_000]


def test_a_range_that_grows_late_is_followed() -> None:
    close, far = two_spaces(1500, common=50)[0], two_spaces(1500, seed=9, common=0)[0]
    rows = np.concatenate([close, far])
    assert_counts(scan_pairs([rows]).marginals[0], brute_force(rows))


def test_regridding_merges_bins_and_keeps_counts() -> None:
    old, new = Grid(3, -5, 6), Grid(1, -2, 1)
    counts = np.arange(12)
    merged = regrid(counts, old, new)
    assert merged.sum() == counts.sum()
    edges = np.arange(-2, 3) / 2
    centres = (np.arange(-5, 7) + 0.5) / 8
    assert merged.tolist() == np.histogram(centres, edges, weights=counts)[0].tolist()


@pytest.mark.parametrize("fast", [False, True])
def test_torch_counts_what_the_compiled_loops_count(
    spaces: list[Float32], monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    groups = np.random.default_rng(0).integers(-1, 4, len(spaces[0]))
    edges = np.linspace(-0.2, 0.9, 6)
    compiled, compiled_bins = scan_pairs(spaces, groups=groups, fast=fast), bin_pairs(spaces, edges, by=1, fast=fast)
    monkeypatch.setattr(PairEngine, "side", 700)
    for module in (scan, binned):
        monkeypatch.setattr(
            module, "open_engine",
            lambda vectors, *, groups=None, fast=False, device="cpu": PairEngine(
                vectors, groups=groups, fast=fast, device=torch.device("cpu")
            ),
        )  # fmt: skip
    by_torch, torch_bins = scan_pairs(spaces, groups=groups, fast=fast), bin_pairs(spaces, edges, by=1, fast=fast)
    tolerance = 1e-9 if not fast else 1e-6
    assert compiled.means == pytest.approx(by_torch.means, abs=tolerance)
    assert compiled.correlations == pytest.approx(by_torch.correlations, abs=tolerance)
    assert compiled.same is not None
    assert by_torch.same is not None
    for mine, theirs in zip(compiled.marginals + compiled.same, by_torch.marginals + by_torch.same, strict=True):
        assert (mine.width, mine.n_pairs) == (theirs.width, theirs.n_pairs)
        assert np.abs(mine.cdf(mine.edges[::99]) - theirs.cdf(mine.edges[::99])).max() < 1e-5
    for one, other in zip(compiled.joints, by_torch.joints, strict=True):
        assert np.abs(one.counts - other.counts).sum() < 1e-2 * compiled.n_pairs
    assert np.abs(compiled_bins.n_pairs - torch_bins.n_pairs).max() < 20
    assert np.allclose(compiled_bins.share_error, torch_bins.share_error, rtol=1e-4)
    for here, there in zip(compiled_bins.spaces, torch_bins.spaces, strict=True):
        assert np.allclose(here.mean, there.mean, atol=1e-5)
        assert np.allclose(here.sd_error, there.sd_error, rtol=1e-2)


def test_fast_products_say_how_far_they_are_off(spaces: list[Float32], scanned: PairScan) -> None:
    found = scan_pairs(spaces, fast=True)
    assert found.product_error is not None
    assert found.product_error < 1e-2
    assert found.means == pytest.approx(scanned.means, abs=found.product_error)
    assert scanned.product_error is None


def test_what_cannot_be_counted_is_refused() -> None:
    a, b = two_spaces(10)
    with pytest.raises(OptionError, match="same n papers in each space, n at least 2, found"):
        scan_pairs([a, b[:9]])
    with pytest.raises(OptionError, match="n at least 2"):
        scan_pairs([a[:1]])
    with pytest.raises(OptionError, match="at least one space"):
        scan_pairs([])
    with pytest.raises(OptionError, match=r"length one, found one of length 2 at position 0: .*unit_rows"):
        scan_pairs([2 * a])
    with pytest.raises(OptionError, match="length nan at position 3"):
        scan_pairs([np.where(np.arange(10)[:, None] == 3, np.float32("nan"), a)])
    with pytest.raises(OptionError, match="one group for each of 10 papers"):
        scan_pairs([a], groups=np.zeros(9, np.int64))
    with pytest.raises(OptionError, match="two edges in rising order"):
        bin_pairs([a], np.array([0.5, 0.1]))
    with pytest.raises(OptionError, match="no device 'abacus' here"):
        engine.open_engine([a], device="abacus")


def test_progress_ends_with_all_pairs(spaces: list[Float32]) -> None:
    steps: list[tuple[int, int]] = []
    found = scan_pairs(spaces, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (found.n_pairs, found.n_pairs)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_one_cosine_alone_has_no_rank_correlation() -> None:
    """Rounding of the shares must not pass for a spread."""
    random = np.random.default_rng(0)
    for _ in range(20):
        counts = random.integers(50, size=(1000, 1))
        for table in (counts, counts.T):
            joint = Joint(first_start=0, first_width=1, second_start=0, second_width=1, counts=table)
            assert np.isnan(joint.spearman()).all()
