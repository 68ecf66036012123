"""Spaces side by side: known values, and each number against a direct computation."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embedsearch.errors import BadVector, OptionError
from embedsearch.pairs.compare import CENTRED, PANELS, RAW, Comparison, Options, compare
from embedsearch.pairs.compare.known_items import KnownItems, reciprocal_ranks
from embedsearch.pairs.compare.measured import half_samples
from embedsearch.pairs.compare.panel import measure_panel
from embedsearch.render import comparison as compare_tables
from embedsearch.scores import Float32, unit_rows
from embedsearch.store.space import Space

N = 130
IDS = [f"2001.{i:05d}" for i in np.random.default_rng(7).permutation(N)]
FEW = Options(overlaps=(10, 20), n_halves=12)


def rows(seed: int, *, n: int = N, d: int = 12, common: float = 0.8) -> Float32:
    x = np.random.default_rng(seed).normal(size=(n, d)) * np.linspace(2, 0.3, d)
    x[:, -1] += common
    return unit_rows(x)


CATEGORIES = [("a", "b", "c")[k] for k in np.argmax(rows(1)[:, :3], axis=1)]


def measure(*vectors: Float32, **options: Any) -> Comparison:
    spaces = [Space.of(IDS[: len(v)], v, name=f"space{i}") for i, v in enumerate(vectors)]
    return compare(spaces, **{"options": FEW, "categories": CATEGORIES[: len(vectors[0])]} | options)


def value(found: Comparison, panel: str, name: str, space: int = 0) -> float:
    return found.spaces[space].panels[panel].measures[name].value


def test_a_space_beside_itself() -> None:
    found = measure(rows(1), rows(1))
    for panel in PANELS:
        agreement = found.pairs[0].panels[panel]
        assert agreement.pearson.value == pytest.approx(1, abs=1e-9)
        assert agreement.spearman == pytest.approx(1, abs=1e-4)
        assert [overlap.value for overlap in agreement.overlap.values()] == [1, 1]
        for difference in found.pairs[0].differences[panel].values():
            if np.isfinite(difference.value):
                assert difference.value == 0
                assert difference.error == 0
    assert [estimate.value for estimate in found.pairs[0].cka.values()] == pytest.approx([1, 1, 1], abs=1e-6)


def test_a_rotated_space_is_the_same_space() -> None:
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(12, 12)))[0]
    found = measure(rows(1), unit_rows(rows(1) @ rotation))
    for panel in PANELS:
        assert found.pairs[0].panels[panel].overlap[10].value == pytest.approx(1, abs=0.01)
        assert found.pairs[0].panels[panel].spearman == pytest.approx(1, abs=1e-4)
        for name in ("auc", "hubness", "accuracy", "effective_rank", "leading_share", "common_share"):
            if name in found.pairs[0].differences[panel]:
                assert found.pairs[0].differences[panel][name].value == pytest.approx(0, abs=2e-2)
    assert [estimate.value for estimate in found.pairs[0].cka.values()] == pytest.approx([1, 1, 1], abs=1e-5)


def test_unrelated_spaces_agree_by_chance_alone() -> None:
    found = measure(rows(1), rows(2))
    agreement = found.pairs[0].panels[CENTRED]
    assert abs(agreement.pearson.value) < 0.05
    assert abs(agreement.spearman) < 0.05
    for k, chance in {10: 10 / (N - 1), 20: 20 / (N - 1)}.items():
        assert found.chance[k] == chance
        assert agreement.overlap[k].value == pytest.approx(chance, abs=4 * agreement.overlap[k].error)
    # Debiased: 0 in the mean, where the plain one would be 0.1 here
    assert all(abs(estimate.value) < 0.06 for estimate in found.pairs[0].cka.values())


def brute_accuracy(vectors: Float32, labels: NDArray[Any]) -> float:
    cosines = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    np.fill_diagonal(cosines, -2)
    hits = 0
    for i, row in enumerate(cosines):
        near = np.argsort(-row, kind="stable")[:10]
        score = {name: (sum(labels[near] == name), row[near][labels[near] == name].sum()) for name in set(labels[near])}
        hits += max(score, key=lambda name: score[name]) == labels[i]
    return hits / len(vectors)


def test_accuracy_and_quantiles_against_a_direct_computation() -> None:
    found = measure(rows(1))
    labels = np.array(CATEGORIES)
    assert value(found, RAW, "accuracy") == brute_accuracy(rows(1), labels)
    middle = rows(1).astype(np.float64) - rows(1).astype(np.float64).mean(axis=0)
    assert value(found, CENTRED, "accuracy") == brute_accuracy(unit_rows(middle), labels)
    cosines = (rows(1) @ rows(1).T)[np.triu_indices(N, 1)]
    expected = np.quantile(cosines, [0.01, 0.05, 0.5, 0.95, 0.99])
    np.testing.assert_allclose(found.spaces[0].panels[RAW].quantiles, expected, atol=2e-3)
    assert found.spaces[0].panels[RAW].mean.value == pytest.approx(float(cosines.mean(dtype=np.float64)), abs=1e-6)


def test_papers_without_a_category_are_left_out_of_what_needs_one() -> None:
    known = np.arange(N) % 3 > 0
    some: list[str | None] = [c if k else None for c, k in zip(CATEGORIES, known, strict=True)]
    found = measure(rows(1), categories=some)
    alone = compare(
        [Space.of(list(np.array(IDS)[known]), rows(1)[known])],
        categories=[c for c in some if c], options=FEW,
    )  # fmt: skip
    assert found.n_known == known.sum()
    for name in ("auc", "accuracy"):
        assert value(found, RAW, name) == pytest.approx(value(alone, RAW, name), abs=1e-9)
    assert found.spaces[0].panels[RAW].measures["auc"].error == pytest.approx(
        alone.spaces[0].panels[RAW].measures["auc"].error, rel=1e-6
    )


def test_the_order_of_the_papers_changes_nothing() -> None:
    shuffled = np.random.default_rng(5).permutation(N)
    titles = KnownItems(queries=rows(9, n=20), positions=np.arange(20))
    place = np.argsort(shuffled)
    moved = KnownItems(queries=titles.queries, positions=place[titles.positions])
    first = measure(rows(1), rows(2), titles=[titles, None])
    spaces = [Space.of([IDS[i] for i in shuffled], rows(s)[shuffled], name=f"space{s - 1}") for s in (1, 2)]
    second = compare(
        spaces, categories=[CATEGORIES[i] for i in shuffled], options=FEW, titles=[moved, None]
    )  # fmt: skip
    assert compare_tables.to_text(first, "json") == compare_tables.to_text(second, "json")


def test_known_items_rank_among_all_papers_and_ties_count_against() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 1, 2, 2]]
    queries = unit_rows(np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0.9, 0.5, 0, 0]]))
    items = KnownItems(queries=queries, positions=np.array([0, 2, 1]))
    assert reciprocal_ranks(items, vectors).tolist() == [1, 0.5, 0.5]
    assert reciprocal_ranks(items, vectors, k=1).tolist() == [1, 0, 0]


def test_mrr_of_papers_that_ask_for_themselves_is_one() -> None:
    items = KnownItems(queries=rows(1)[:30], positions=np.arange(30))
    found = measure(rows(1), titles=[items])
    assert value(found, RAW, "mrr") == 1
    assert value(found, CENTRED, "mrr") == 1
    assert found.n_titles == (30,)


def test_overlap_errors_are_not_below_the_scatter_of_other_draws() -> None:
    values, errors = [], []
    for seed in range(60):
        shared = np.random.default_rng(seed).normal(size=(160, 4))
        noise = np.random.default_rng(seed + 1000).normal(size=(2, 160, 4))
        vectors = [unit_rows(shared + 0.7 * part) for part in noise]
        found = measure_panel(vectors, None, Options(overlaps=(10,), n_halves=20), lambda _: None)
        values.append(found.overlap[10][0].value)
        errors.append(found.overlap[10][0].error)
    # Too large, since neighbours are no smooth statistic: what `from_halves` says
    assert 0.95 < np.mean(errors) / np.std(values, ddof=1) < 1.6


def test_halves_are_measured_on_the_half_alone() -> None:
    vectors = [rows(1), rows(2)]
    found = measure_panel(vectors, None, Options(overlaps=(10,), n_halves=2), lambda _: None)
    direct = []
    for half in half_samples(N, n_halves=2, seed=0):
        part = measure_panel([v[half] for v in vectors], None, Options(overlaps=(10,), n_halves=2), lambda _: None)
        direct.append(part.overlap[10][0].value)
    scale = np.sqrt(65 / 65 / 1)
    expected = scale * (np.array(direct) - np.mean(direct))
    np.testing.assert_allclose(found.overlap[10][0].deviations, expected, atol=1e-12)


def test_few_papers_leave_what_cannot_be_measured_unknown() -> None:
    found = measure(rows(1, n=5), rows(2, n=5))
    read = json.loads(compare_tables.to_text(found, "json"))
    assert read["spaces"][0]["raw"]["hubness"]["value"] is None
    assert read["pairs"][0]["raw"]["overlap"]["10"]["value"] is None
    assert read["spaces"][0]["centred"]["effective_rank"]["value"] > 1
    assert "hubness" not in compare_tables.to_text(found, "table")


def test_progress_ends_at_the_whole() -> None:
    steps: list[tuple[int, int]] = []
    measure(rows(1), rows(2), progress=lambda done, total: steps.append((done, total)))
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1][0] <= steps[-1][1]
    assert steps[-1][0] > 0.7 * steps[-1][1]


def test_two_papers_and_spaces_that_are_not_aligned_are_refused() -> None:
    with pytest.raises(OptionError, match="expected spaces of at least 3 papers, found 2"):
        measure(rows(1, n=2))
    spaces = [Space.of(IDS[:5], rows(1, n=5)), Space.of(IDS[1:6], rows(2, n=5))]
    with pytest.raises(OptionError, match="align them first"):
        compare(spaces)


def test_papers_that_are_all_one_are_named() -> None:
    with pytest.raises(BadVector, match=r"paper 2001\.\d+ lies on the mean of space0"):
        measure(np.repeat(rows(1)[:1], 6, axis=0), categories=None)
