"""Near-duplicates against brute force: every pair, its cosine, its order, and the groups that pairs make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import corpora
import numpy as np
import pytest
from fake_encoder import WORDS, FakeEncoder

from embedsearch import update
from embedsearch.ann import AnnKind, measuring
from embedsearch.build import BuildOptions, build_index
from embedsearch.duplicates import (
    Duplicates,
    find_duplicates,
    finding,
    links,
    near_duplicates,
    proposing,
    scan,
    uncrowded,
)
from embedsearch.duplicates.tally import Tally
from embedsearch.errors import OptionError, StoreError
from embedsearch.scores import Float32, cosines, unit_rows
from embedsearch.search.view import StoreView
from embedsearch.store.filters import Filters
from embedsearch.store.space import Space

N = 240


def clustered(n: int, *, d: int = 24, seed: int = 0) -> Float32:
    """In clumps, some of whose members are told apart by nothing."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(30, d))[random.integers(30, size=n)] + 0.25 * random.normal(size=(n, d))
    rows[1::6] = rows[::6][: len(rows[1::6])]
    return unit_rows(rows)


def stored(folder: Path, vectors: Float32, *, ann: AnnKind = AnnKind.EXACT, titles: Sequence[str] = ()) -> StoreView:
    """A store that has these vectors, float32, of papers whose ids are not in the order of the rows."""
    records = corpora.records(len(vectors))
    for record, title in zip(records, titles, strict=False):
        record |= {"title": title}
    papers = corpora.write(folder.with_suffix(".jsonl"), records)
    space = Space.of([record["id"] for record in records], vectors)
    options = BuildOptions(ann=ann, dtype="float32", shard_rows=100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "ROWS_AS_QUERIES", 100)
        build_index(papers, folder, vectors=space, options=options)
    return StoreView.open(folder)


def brute_force(view: StoreView, least: float, usable: Sequence[int] | None = None) -> list[tuple[float, str, str]]:
    """(-cosine, smaller id, larger id) of every pair, in the order of results."""
    rows = np.arange(view.n_rows) if usable is None else np.array(usable)
    ids, vectors = view.catalogue.ids(rows), view.read(rows)
    found = []
    for i, vector in enumerate(vectors):
        for j, cosine in enumerate(cosines(vector, vectors[i + 1 :]), i + 1):
            if cosine >= min(np.float32(least), np.float32(1 - 2.0**-22)):
                found.append((-float(cosine), min(ids[i], ids[j]), max(ids[i], ids[j])))
    return sorted(found)


def pairs_of(found: Duplicates) -> list[tuple[float, str, str]]:
    return [(-pair.cosine, min(pair.ids), max(pair.ids)) for pair in found.pairs]


def groups_of(pairs: Sequence[tuple[float, str, str]]) -> set[frozenset[str]]:
    """By joining sets, one pair at a time."""
    group_of: dict[str, frozenset[str]] = {}
    for _, first, second in pairs:
        joined = group_of.get(first, frozenset([first])) | group_of.get(second, frozenset([second]))
        group_of |= dict.fromkeys(joined, joined)
    return set(group_of.values())


@pytest.fixture(autouse=True)
def ask_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few papers there are."""
    monkeypatch.setattr(finding, "SCANNED_PAPERS", 0)


@pytest.fixture(scope="module", params=["exact", "ivf"])
def view(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StoreView:
    return stored(tmp_path_factory.mktemp("duplicates") / request.param, clustered(N), ann=AnnKind(request.param))


@pytest.mark.parametrize("least", [0.8, 0.9, 0.999, 1.0])
def test_pairs_and_groups_are_those_of_brute_force(view: StoreView, least: float) -> None:
    expected = brute_force(view, least)
    found = find_duplicates(view, min_cosine=least, exact=True)
    assert pairs_of(found) == expected
    assert (found.n_pairs, found.is_exact, found.n_papers) == (len(expected), True, N)
    assert {frozenset(group.ids) for group in found.groups} == groups_of(expected)
    assert [len(group.ids) for group in found.groups] == sorted((len(g.ids) for g in found.groups), reverse=True)
    number_of = {id: group.number for group in found.groups for id in group.ids}
    assert all(pair.group == number_of[pair.ids[0]] == number_of[pair.ids[1]] for pair in found.pairs)
    assert len(expected) >= 40  # those that nothing tells apart


def test_a_cosine_that_is_the_threshold_is_enough(view: StoreView) -> None:
    all_pairs = brute_force(view, 0.8)
    least = -all_pairs[len(all_pairs) // 2][0]
    found = find_duplicates(view, min_cosine=least)
    assert found.pairs[-1].cosine == least
    above = find_duplicates(view, min_cosine=float(np.nextafter(np.float32(least), np.float32(2))))
    assert above.n_pairs < found.n_pairs == sum(-pair[0] >= least for pair in all_pairs)


def test_the_index_proposes_all_or_nearly_all_and_it_is_said(view: StoreView) -> None:
    expected = brute_force(view, 0.85)
    found = find_duplicates(view, min_cosine=0.85)
    assert found.is_exact == (view.generation.ann is None or view.generation.ann.kind == "flat")
    assert found.is_exact or any("--exact looks at all pairs" in note for note in found.notes)
    assert set(pairs_of(found)) <= set(expected)
    assert found.n_pairs == len(found.pairs) >= (1 if found.is_exact else 0.95) * len(expected)


def test_few_papers_are_scanned_whatever_the_index(view: StoreView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "SCANNED_PAPERS", N)
    assert find_duplicates(view, min_cosine=0.85).is_exact


def test_the_closest_n_are_kept_with_ties_in_the_order_of_ids(view: StoreView) -> None:
    everything = find_duplicates(view, min_cosine=0.8, exact=True)
    for n in (1, 7, 40, everything.n_pairs, 100_000):
        some = find_duplicates(view, min_cosine=0.8, n=n, exact=True)
        assert some.pairs == everything.pairs[:n]
        assert (some.n_pairs, some.groups) == (everything.n_pairs, everything.groups)


def test_filters_leave_out_papers_on_both_sides(view: StoreView) -> None:
    filters = Filters(categories=("gr-qc",))
    rows = np.flatnonzero(view.catalogue.allowed(filters))
    expected = brute_force(view, 0.8, rows.tolist())
    assert 0 < len(expected) < len(brute_force(view, 0.8))
    for exact in (True, False):
        found = find_duplicates(view, min_cosine=0.8, filters=filters, exact=exact)
        assert (found.n_papers, set(pairs_of(found)) <= set(expected)) == (len(rows), True)
        assert found.n_pairs >= (1 if found.is_exact else 0.95) * len(expected)


def test_all_is_alike_in_any_number_of_blocks(view: StoreView, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = find_duplicates(view, min_cosine=0.8, exact=True)
    monkeypatch.setattr(scan, "SIDE", 16)
    for numbers in (1, 24 * 50, 24 * 96):  # a strip of 16, of 48, of 96 rows
        monkeypatch.setattr(scan, "STRIP_NUMBERS", numbers)
        assert find_duplicates(view, min_cosine=0.8, exact=True) == whole


def test_progress_reaches_the_end(view: StoreView) -> None:
    told: dict[str, tuple[int, int]] = {}
    found = find_duplicates(view, min_cosine=0.8, progress=lambda what, done, total: told.update({what: (done, total)}))
    searching = ("pairs of papers", N * (N - 1) // 2) if found.is_exact else ("neighbours of papers", N)
    assert told == {searching[0]: (searching[1],) * 2, "words of pairs": (found.n_pairs,) * 2}


# ---- cliques, few papers, crowds -----------------------------------------------------------------------------------


def test_a_clique_larger_than_the_first_question_is_found_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = unit_rows(np.random.default_rng(1).normal(size=(150, 16)))
    vectors[40:100] = vectors[40]
    view = stored(tmp_path / "clique", vectors, ann=AnnKind.IVF)
    asked: list[int] = []
    candidates = view.ann.candidates
    monkeypatch.setattr(
        view.ann, "candidates", lambda q, k, allowed: asked.append(k) or candidates(q, k, allowed=allowed)
    )
    found = find_duplicates(view)
    assert (found.n_pairs, [len(group.ids) for group in found.groups]) == (60 * 59 // 2, [60])
    assert max(asked) > 60
    assert not found.is_exact
    for limit in ("MOST_PROPOSED", "MOST_NEIGHBOURS"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(proposing, limit, 50)
            scanned = find_duplicates(view)
        assert scanned.is_exact
        assert scanned.pairs == found.pairs


def test_one_paper_or_none_that_is_alike(tmp_path: Path) -> None:
    one = find_duplicates(stored(tmp_path / "one", clustered(1)))
    assert (one.n_papers, one.n_pairs, one.pairs, one.groups, one.mean_cosine) == (1, 0, (), (), None)
    none = find_duplicates(stored(tmp_path / "none", np.eye(8, dtype=np.float32)), n=3)
    assert (none.n_pairs, none.pairs, none.groups, none.notes) == (0, (), (), ())
    nobody = find_duplicates(tmp_path / "none", filters=Filters(categories=("q-bio*",)))
    assert (nobody.n_papers, nobody.n_pairs) == (0, 0)


def test_where_all_is_alike_cosines_are_about_the_mean(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    cone = unit_rows(np.ones((60, 8)) * 5 + random.normal(size=(60, 8)))
    cone[7] = cone[3]
    view = stored(tmp_path / "cone", cone, ann=AnnKind.IVF)
    found = find_duplicates(view, min_cosine=0.98)
    assert (found.is_centered, found.is_exact, found.n_pairs) == (True, True, 1)
    assert found.mean_cosine is not None
    assert found.mean_cosine > 0.95
    assert any("cosines are about the mean" in note for note in found.notes)
    crowd = find_duplicates(view, min_cosine=0.9, n=5, center=False, exact=True)
    assert (crowd.n_pairs, len(crowd.pairs)) == (len(brute_force(view, 0.9)), 5)
    assert any("tells little" in note for note in crowd.notes)
    asked = find_duplicates(stored(tmp_path / "wide", clustered(50)), min_cosine=0.9, center=True)
    assert asked.is_centered
    assert not any("mean" in note for note in asked.notes)


def test_vectors_that_are_all_the_same_are_not_centred(tmp_path: Path) -> None:
    found = find_duplicates(stored(tmp_path / "same", np.tile(np.float32([0.6, 0.8]), (5, 1))))
    assert (found.n_pairs, found.is_centered, len(found.groups)) == (10, False, 1)


def test_exact_cosines_are_computed_where_something_depends_on_them(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally(np.arange(4), min_cosine=0.5, keep=1)
    rows = unit_rows(np.array([[1, 0], [1, 0], [1, 0.1], [1, 0.9]]))
    (near,) = scan.scan(lambda first, end: rows[first:end], 4, 0.5)
    n_exact: list[int] = []
    exact = scan.Near.exact
    monkeypatch.setattr(scan.Near, "exact", lambda self, chosen: n_exact.append(chosen.sum()) or exact(self, chosen))
    tally.add_near(near)
    assert [column.tolist() for column in tally.closest()] == [[0], [1], [1.0]]
    tally.add_near(near)  # the same pairs again; by now the others cannot become one of the closest
    assert n_exact == [6, 1]
    assert (tally.n_pairs, tally.groups().tolist()) == (12, [0, 0, 0, 0])


@pytest.mark.parametrize("cosine", [0, -0.5, 1.5, float("nan")])
def test_a_cosine_that_cannot_be_is_refused(cosine: float) -> None:
    with pytest.raises(OptionError, match="expected a cosine above 0 and at most 1"):
        near_duplicates(np.eye(2, dtype=np.float32), min_cosine=cosine)
    with pytest.raises(OptionError, match="expected a cosine above 0 and at most 1"):
        find_duplicates("nowhere", min_cosine=cosine)


def test_a_store_without_vectors_is_refused_in_one_line(tmp_path: Path) -> None:
    papers = corpora.write(tmp_path / "papers.jsonl", corpora.records(8))
    with pytest.raises(RuntimeError):
        build_index(papers, tmp_path / "i", encoder=FakeEncoder(fail_at=0), options=BuildOptions(shard_rows=4))
    with pytest.raises(StoreError, match="found none yet; finish it with: embedsearch build-index"):
        find_duplicates(tmp_path / "i")
    with pytest.raises(RuntimeError):
        build_index(papers, tmp_path / "i", encoder=FakeEncoder(fail_at=4), options=BuildOptions(shard_rows=4))
    found = find_duplicates(tmp_path / "i")
    assert found.n_papers == 4
    assert "4 of 8 papers have a vector so far; the others were not looked at" in found.notes


@pytest.mark.parametrize("kind", ["exact", "ivf"])
def test_papers_of_one_title_are_found_where_they_are_asked_for(kind: str, tmp_path: Path) -> None:
    titles = ["Dust around stars", "DUST around: stars", "Dust around $stars$", "Erratum", "Erratum", *["A b c"] * 25]
    vectors = unit_rows(np.random.default_rng(0).normal(size=(40, 16)))
    vectors[1] = vectors[0]
    view = stored(tmp_path / "i", vectors, ann=AnnKind(kind), titles=titles)
    ids = view.catalogue.ids()
    bare, found = find_duplicates(view), find_duplicates(view, same_title=True)
    assert [set(pair.ids) for pair in bare.pairs] == [{ids[0], ids[1]}]
    assert [set(pair.ids) for pair in found.pairs] == [{ids[0], ids[1]}, {ids[0], ids[2]}, {ids[1], ids[2]}]
    assert (bare.n_by_title, found.n_by_title, found.n_pairs) == (0, 2, 3)
    assert [list(group.ids) for group in found.groups] == [ids[:3]]
    read = view.read(np.array([0, 2]))
    assert found.pairs[1].cosine == found.pairs[2].cosine == float(cosines(read[0], read[1:])[0])
    if kind == "ivf":  # what the index proposes for nobody, a title may
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(view.ann, "candidates", lambda queries, k, allowed: [np.array([5])] * len(queries))
            assert find_duplicates(view, same_title=True).pairs == found.pairs
    centred = find_duplicates(view, same_title=True, center=True)
    assert (centred.n_pairs, centred.pairs[1].cosine == found.pairs[1].cosine) == (3, False)


@pytest.mark.parametrize("kind", ["exact", "flat", "ivf"])
def test_what_was_removed_or_replaced_is_nobodys_duplicate(kind: str, tmp_path: Path) -> None:
    texts = ["star dust", "dust star", "star dust star", "galaxy", "galaxy", *WORDS, *(f"{word} gas" for word in WORDS)]
    records = [record | {"abstract": text} for record, text in zip(corpora.records(len(texts)), texts, strict=True)]
    ids = [record["id"] for record in records]
    papers, encoder = corpora.write(tmp_path / "papers.jsonl", records), FakeEncoder()
    build_index(papers, tmp_path / "i", encoder=encoder, options=BuildOptions(ann=AnnKind(kind), shard_rows=8))
    before = find_duplicates(tmp_path / "i")
    assert {frozenset(pair.ids) for pair in before.pairs} >= {frozenset(ids[:2]), frozenset(ids[3:5])}
    update.remove([ids[1]], tmp_path / "i")
    changed = [records[3] | {"abstract": "wave dust"}, records[0] | {"id": "2112.00001", "abstract": "dust wave"}]
    update.add(corpora.write(tmp_path / "new.jsonl", changed), tmp_path / "i", encoder=encoder)
    view = StoreView.open(tmp_path / "i")
    assert view.live is not None
    expected = brute_force(view, 0.95, view.catalogue.rows().tolist())
    for exact in (False, True):
        found = find_duplicates(view, exact=exact)
        assert pairs_of(found) == expected
        assert {frozenset(pair.ids) for pair in found.pairs} >= {frozenset((ids[3], "2112.00001"))}
        assert not any(ids[1] in pair.ids or set(pair.ids) == set(ids[3:5]) for pair in found.pairs)
        assert found.n_papers == len(texts)


# ---- groups of vectors in memory -----------------------------------------------------------------------------------


def on_a_circle(degrees: Sequence[float]) -> Float32:
    angles = np.radians(degrees)
    return unit_rows(np.stack([np.cos(angles), np.sin(angles)], axis=1))


def test_groups_are_connected_components_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    # Angles on a circle: 0, 15 and 30 degrees are a chain (cosine of 15 is 0.966, of 30 is 0.866), 90 stands alone.
    vectors = on_a_circle([90, 0, 180, 30, 15])
    assert near_duplicates(vectors).tolist() == [0, 1, 2, 1, 1]
    monkeypatch.setattr(links, "MOST_EDGES", 0)
    assert near_duplicates(vectors, keys=["", "", "", "", ""]).tolist() == [0, 1, 2, 1, 1]


def test_groups_equal_those_of_a_plain_walk_over_blocks() -> None:
    rng = np.random.default_rng(3)
    base = unit_rows(rng.normal(size=(2500, 16)))
    base[2400:2450] = unit_rows(base[:50] + 0.05 * rng.normal(size=(50, 16)))  # in another block than their likes
    expected = np.arange(len(base))
    for i, j in zip(*np.nonzero(np.triu(base.astype(np.float64) @ base.astype(np.float64).T >= 0.95, 1)), strict=True):
        low, high = sorted((expected[i], expected[j]))
        expected[expected == high] = low
    assert (expected[2400:2450] < 50).sum() > 40
    assert near_duplicates(base).tolist() == expected.tolist()


def chain(n: int) -> list[tuple[int, int]]:
    return [(i, i + 1) for i in range(n - 1)]


@pytest.mark.parametrize(
    "edges",
    [
        lambda n: chain(n),
        lambda n: chain(n)[::-1],
        lambda n: [(i, n - 1 - i) for i in range(n)] + [(0, 1)],
        lambda n: [(5, 3), (3, 5), (5, 5)],
        lambda n: list(combinations(range(0, n, 3), 2)),
    ],
)
def test_the_group_is_the_smallest_position_that_links_lead_to(edges: Callable[[int], list[tuple[int, int]]]) -> None:
    n, pairs = 90, edges(90)
    found = links.Links(n)
    order = np.random.default_rng(0).permutation(len(pairs))
    found.add(*np.array(pairs, np.int64)[order].T)
    expected = list(range(n))
    for _ in range(n):
        for i, j in pairs:
            expected[i] = expected[j] = min(expected[i], expected[j])
    assert found.groups().tolist() == expected


def test_equal_keys_join_papers_that_are_far_apart() -> None:
    assert near_duplicates(np.eye(4, dtype=np.float32), keys=["a", "", "a", ""]).tolist() == [0, 1, 0, 3]


def test_a_crowded_space_is_centred_first() -> None:
    rng = np.random.default_rng(0)
    cone = unit_rows(np.ones((40, 8)) * 5 + rng.normal(size=(40, 8)))
    cone[7] = cone[3]
    assert np.median(cone @ cone.T) > 0.95
    assert uncrowded(cone)[1]
    assert near_duplicates(cone).tolist() == [3 if i == 7 else i for i in range(40)]
    assert not uncrowded(unit_rows(rng.normal(size=(40, 8))))[1]


def test_papers_that_are_all_the_same_are_one_group() -> None:
    assert near_duplicates(np.tile(np.float32([0.6, 0.8]), (5, 1))).tolist() == [0] * 5
    assert near_duplicates(np.float32([[1, 0]])).tolist() == [0]
