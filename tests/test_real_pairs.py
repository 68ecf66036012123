"""The figure's numbers on 2,000 real papers, minilm against smollm2, by brute force in float64.

The models read the first words of each abstract only, so that this takes a minute and not fifteen;
EMBEDSEARCH_TEST_SPACES="A B" names two spaces of whole abstracts instead.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from figure_oracle import check, cosines

from embedsearch.build import BuildOptions, build_index
from embedsearch.encoders import ModelSpec
from embedsearch.pairs.moments import moments, pearson
from embedsearch.pairs.scan import scan_pairs
from embedsearch.pairs.similarity import similarity_figure
from embedsearch.store.space import Space, align

N = 2000


@pytest.fixture(scope="module")
def spaces(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> list[Space]:
    """minilm and smollm2 on the same papers."""
    if named := os.environ.get("EMBEDSEARCH_TEST_SPACES"):
        return [space.sample(N) for space in align([Space.open(path) for path in named.split()]).spaces]
    folder, corpus = tmp_path_factory.mktemp("real"), real_data
    for name, n_tokens in (("minilm", 48), ("smollm2", 16)):
        spec, options = ModelSpec(name=name, max_tokens=n_tokens), BuildOptions(sample=N if name == "minilm" else None)
        build_index(corpus, folder / name, model=spec, options=options)
        corpus = folder / name
    return list(align([Space.open(folder / "minilm"), Space.open(folder / "smollm2")]).spaces)


def test_every_number_of_the_figure(spaces: list[Space]) -> None:
    data = similarity_figure(spaces, by=(0, 1))
    assert data.n_pairs == N * (N - 1) // 2
    check(data, spaces)


def test_scan_moments_and_brute_force_agree(spaces: list[Space]) -> None:
    vectors = [space.vectors for space in spaces]
    scan, pairs = scan_pairs(vectors), [cosines(space) for space in spaces]
    for i, rows in enumerate(vectors):
        found = moments(rows)
        assert found.mean.value == pytest.approx(scan.means[i], abs=1e-9)
        assert found.sd.value == pytest.approx(scan.sds[i], abs=1e-9)
        assert found.mean.value == pytest.approx(pairs[i].mean(), abs=1e-12)
        assert found.sd.value == pytest.approx(pairs[i].std(), abs=1e-12)
    # Divided by the spread, which is small in smollm2, the rounding of float32 products is larger.
    assert pearson(*vectors).value == pytest.approx(scan.correlations[0], abs=1e-8)
    assert pearson(*vectors).value == pytest.approx(np.corrcoef(*pairs)[0, 1], abs=1e-11)
    ranks = [np.argsort(np.argsort(c, kind="stable"), kind="stable") for c in pairs]
    value, resolution = scan.joints[0].spearman()
    assert value == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=resolution)


def test_the_order_of_the_papers_changes_nothing(spaces: list[Space]) -> None:
    order = np.random.default_rng(3).permutation(N)
    one, other = (scan_pairs([space.vectors[o] for space in spaces]) for o in (np.arange(N), order))
    for a, b in zip(one.marginals, other.marginals, strict=True):
        assert (a.start, a.width, a.n_pairs) == (b.start, b.width, b.n_pairs)
        assert abs(np.cumsum(a.counts - b.counts)).max() <= 1e-5 * a.n_pairs
    assert one.means == pytest.approx(other.means, abs=1e-9)
