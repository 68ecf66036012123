"""Maps: the same layout again, what is kept of neighbourhoods, regions and the terms that name them."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from pathlib import Path

import corpora
import map_samples as samples
import numpy as np
import pytest
from fake_encoder import FakeEncoder

from embedsearch.build import build_index
from embedsearch.errors import MissingExtra, OptionError
from embedsearch.map import LayoutOptions, MapPapers, MapPoints, Ramp, colouring, make_maps, read_papers
from embedsearch.map import layout as layouts
from embedsearch.map.agreement import agreement, measured_papers, neighbours_in_picture, neighbours_in_space
from embedsearch.map.caption import _share as share_text
from embedsearch.map.colours import OTHER, PALETTE, by_category, by_year
from embedsearch.map.density import density_of
from embedsearch.map.layout import exact_neighbours, layout, placed, start, umap_version
from embedsearch.map.papers import short_authors
from embedsearch.map.regions import find_regions
from embedsearch.map.terms import TermCounts
from embedsearch.pairs.compare.neighbours import Neighbours, nearest
from embedsearch.store.space import Space

N = 120


@pytest.fixture(scope="module")
def maps() -> tuple[MapPoints, ...]:
    """Of two spaces of the same papers."""
    return make_maps([samples.space(N), samples.space(N, seed=1, name="other")], samples.papers(N))


def lay_out(vectors: np.ndarray, **options: float) -> np.ndarray:
    chosen = LayoutOptions(**options)  # type: ignore[arg-type]
    return layout(vectors, chosen, found=exact_neighbours(vectors, chosen.neighbors))


def test_the_same_layout_again(maps: tuple[MapPoints, ...]) -> None:
    again = placed(lay_out(samples.vectors(N)))
    assert again.tobytes() == maps[0].xy.tobytes()
    assert placed(lay_out(samples.vectors(N), seed=1)).tobytes() != maps[0].xy.tobytes()


def test_subjects_lie_together(maps: tuple[MapPoints, ...]) -> None:
    for one in maps:
        near = neighbours_in_picture(one.xy, np.arange(N), 5).positions
        assert (samples.groups(N)[near] == samples.groups(N)[:, None]).mean() > 0.95
        low, high = one.xy.min(axis=0), one.xy.max(axis=0)
        assert (high - low).max() == pytest.approx(2, abs=1e-5)
        assert high + low == pytest.approx(0, abs=1e-5)


def test_the_second_lies_like_the_first(maps: tuple[MapPoints, ...]) -> None:
    middles = [np.array([one.xy[samples.groups(N) == g].mean(axis=0) for g in range(3)]) for one in maps]
    for g in range(3):
        away = np.linalg.norm(middles[0] - middles[1][g], axis=1)
        assert away.argmin() == g


def test_what_is_kept_is_measured_and_said(maps: tuple[MapPoints, ...]) -> None:
    found = maps[0].recipe["agreement"]
    full = [nearest(samples.vectors(N, seed=seed), 15).positions for seed in (0, 1)]
    drawn = [neighbours_in_picture(one.xy, np.arange(N), 15).positions for one in maps]

    def shared(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean([len(set(x) & set(y)) / 15 for x, y in zip(a, b, strict=True)]))

    assert found["kept"] == pytest.approx(shared(full[0], drawn[0]))
    assert maps[1].recipe["agreement"]["kept"] == pytest.approx(shared(full[1], drawn[1]))
    assert found["shared"] == pytest.approx(shared(*full))
    assert found["shared_in_pictures"] == pytest.approx(shared(*drawn))
    assert found["chance"] == pytest.approx(15 / (N - 1))
    assert f"{100 * found['kept']:.0f} % are among its 15 nearest in this picture (by chance 13 %)." in maps[0].caption
    assert f"fake and other share {100 * found['shared']:.0f} % of a paper's 15 nearest in full" in maps[1].caption
    assert "15 neighbours, smallest distance 0.1, seed 0." in maps[0].caption
    assert "What it cannot show: the axes mean nothing" in maps[0].caption


def test_two_of_one_model_are_told_apart() -> None:
    spaces = [samples.space(10, name=name) for name in ("one", "two")]
    spaces = [replace(space, model_name="minilm") for space in spaces]
    maps = make_maps(spaces, samples.papers(10))
    assert [one.label for one in maps] == ["minilm [one]", "minilm [two]"]
    assert "minilm [one] and minilm [two] share 100 % of a paper's 9 nearest" in maps[0].caption


@pytest.mark.parametrize(
    ("share", "text"), [(1, "100 %"), (0.999, "99 %"), (0.1, "10 %"), (0.0046, "0.46 %"), (0, "0 %")]
)
def test_shares_have_two_digits(share: float, text: str) -> None:
    assert share_text(share) == text


def test_regions_are_the_subjects(maps: tuple[MapPoints, ...]) -> None:
    coarse = [region for region in maps[0].regions if region.level == 0]
    assert sorted(region.n for region in coarse) == [40, 40, 40]
    for i, region in enumerate(coarse):
        inside = maps[0].region_of[0] == i
        assert inside.sum() == region.n
        assert len(set(samples.groups(N)[inside])) == 1
        assert np.linalg.norm(maps[0].xy[inside] - region.xy, axis=1).min() < 0.1
    assert {region.terms[0] for region in coarse} == {
        "millisecond pulsars",
        "stellar streams",
        "primordial black holes",
    }
    fine = [region for region in maps[0].regions if region.level == 1]
    assert fine
    assert all(maps[0].regions[region.parent].level == 0 for region in fine)


def test_of_many_papers_some_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fake(vectors: np.ndarray, options: LayoutOptions, *, found: Neighbours | None) -> np.ndarray:
        asked.append(found)  # None lets UMAP search, which would compile for ten seconds here
        return start(vectors, seed=options.seed)

    monkeypatch.setattr(layouts, "EXACT_UP_TO", 50)
    monkeypatch.setattr("embedsearch.map.making.layout", fake)
    monkeypatch.setattr("embedsearch.map.agreement.N_MEASURED", 30)
    (made,) = make_maps([samples.space(60)], samples.papers(60))
    assert asked == [None]
    assert "15 neighbours, searched approximately" in made.caption
    assert "; measured on 30 of them)" in made.caption
    assert made.recipe["neighbours"] == "approximate"
    some = measured_papers(60, exact=False, seed=0)
    near = nearest(samples.vectors(60), 15).first(15)
    expected = agreement([Neighbours(near.positions[some], near.scores[some])], [made.xy], some)
    assert made.recipe["agreement"]["kept"] == pytest.approx(expected.kept[0])


@pytest.mark.parametrize("n", [3, 4, 7])
def test_few_papers(n: int) -> None:
    (made,) = make_maps([samples.space(n)], samples.papers(n))
    assert np.isfinite(made.xy).all()
    assert f"UMAP {umap_version()}: {n - 1} neighbours, " in made.caption
    assert made.regions == ()
    assert (made.region_of == -1).all()
    with pytest.raises(OptionError, match="expected at least 3 papers for a map, found 2"):
        make_maps([samples.space(2)], samples.papers(2))


def test_papers_that_are_all_alike_or_opposite() -> None:
    same = np.tile(np.float32([1, 0, 0]), (20, 1))
    assert np.isfinite(lay_out(same)).all()
    opposite = np.concatenate([same, -same])
    found = lay_out(opposite, neighbors=30)
    assert np.isfinite(found).all()
    assert len(np.unique(found, axis=0)) == 40


def test_the_start_is_the_leading_components() -> None:
    rows = samples.vectors(60)
    centred = rows - rows.mean(axis=0, dtype=np.float64)
    expected = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    begun = start(rows, seed=0)
    for axis in range(2):
        assert abs(np.corrcoef(begun[:, axis], expected[:, axis])[0, 1]) == pytest.approx(1, abs=1e-6)
    assert np.abs(begun).max() == pytest.approx(10, abs=1e-2)


@pytest.mark.parametrize("mirrored", [1, -1])
def test_a_turned_layout_is_turned_back(mirrored: int) -> None:
    xy = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    first = placed(xy)
    angle = 1.234
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * [1, mirrored]
    assert placed((3 * xy @ turn + 5).astype(np.float32), like=first) == pytest.approx(first, abs=1e-5)


def test_neighbours_of_some_are_those_of_all() -> None:
    rows = samples.vectors(80)
    rows[7] = rows[3]
    some = np.array([3, 7, 50])
    expected = nearest(rows, 6)
    found = neighbours_in_space(rows, some, 6)
    assert (found.positions == expected.positions[some]).all()
    assert (found.scores == expected.scores[some]).all()


def test_neighbours_in_a_picture_of_papers_on_one_place() -> None:
    xy = np.array([[0, 0]] * 4 + [[1, 0], [2, 0], [4, 0]], np.float32)
    found = neighbours_in_picture(xy, np.arange(7), 2).positions
    assert all(i not in found[i] for i in range(7))
    assert all(set(found[i]) < {0, 1, 2, 3} for i in range(4))
    assert found[6].tolist() == [5, 4]


def test_a_picture_of_itself_keeps_all() -> None:
    xy = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    papers = measured_papers(50, exact=True, seed=0)
    near = neighbours_in_picture(xy, papers, 5)
    assert agreement([near], [xy], papers).kept == (1.0,)
    none = Neighbours((near.positions[:, :1] * 0 + np.argsort(-xy[:, 0])[:1]), near.scores[:, :1])
    assert agreement([none], [xy], papers).kept[0] < 0.5
    assert len(measured_papers(5000, exact=False, seed=0)) == 2000


def test_a_small_hill_is_no_region() -> None:
    rng = np.random.default_rng(0)
    xy = np.concatenate([rng.normal(-0.7, 0.03, (50, 2)), rng.normal(0.7, 0.02, (4, 2))]).astype(np.float32)
    regions, of = find_regions(xy, texts=[("A title", "of words")] * 54, of_texts=np.arange(54))
    assert [region.n for region in regions if region.level == 0] == [50]
    assert (of[0, 50:] == -1).all()


def test_density_is_a_rank() -> None:
    rng = np.random.default_rng(0)
    xy = np.concatenate([rng.normal(-0.5, 0.01, (30, 2)), rng.uniform(-1, 1, (30, 2))]).astype(np.float32)
    found = density_of(xy)
    assert found[:30].min() > np.median(found[30:])
    assert (found.min(), found.max() <= 1) == (0, True)


def test_class_tf_idf_by_hand() -> None:
    # Two groups of two papers; "pulsar" 4 times in the first, "comet" 4 times in the second, "dust" twice in each
    texts = [("", "pulsar. pulsar. dust.")] * 2 + [("", "comet. comet. dust.")] * 2
    counts = TermCounts(texts)
    weights, shares = counts._weights(np.array([0, 0, 1, 1]), 2)
    terms = list(counts._terms)
    assert shares[0, terms.index("pulsar")] == pytest.approx(4 / 6)
    assert weights[0, terms.index("pulsar")] == pytest.approx(np.sqrt(4 / 6) * np.log(1 + 6 / 4))
    assert weights[1, terms.index("dust")] == pytest.approx(np.sqrt(2 / 6) * np.log(1 + 6 / 4))
    assert weights[0, terms.index("comet")] == 0
    assert counts.of_groups(np.array([0, 0, 1, 1]), 2) == [("pulsar", "dust"), ("comet", "dust")]


def test_terms_are_written_as_the_papers_write_them() -> None:
    texts = [
        ("Little Red Dots", "Little red dots are red. We see many little red dots with JWST in X-rays at z = 5."),
        ("The little red dot", "Here JWST finds little red dots and X-ray emission."),
    ] * 3 + [("Comets", "Comets have tails. The comets, other comets, and a comet's coma (CO).")] * 3
    first, second = TermCounts(texts).of_groups(np.array([0] * 6 + [1] * 3), 2)
    assert {"little red dots", "JWST"} <= set(first)
    assert any(term.startswith("X-ray") for term in first)
    assert second[0] == "comets"
    assert not {"we", "the", "have", "5"} & {term.casefold() for term in (*first, *second)}


def test_texts_without_words_have_no_terms() -> None:
    assert TermCounts([("", "")] * 3).of_groups(np.zeros(3, int), 1) == [()]
    assert TermCounts([]).of_groups(np.zeros(0, int), 0) == []


@pytest.mark.parametrize(
    ("names", "short"),
    [
        ((), ""),
        (("J. M. Muench",), "Muench"),
        (("A. Li", "B. Xu"), "Li & Xu"),
        (("Roeland van der Marel", "B. Xu", "C. Y"), "van der Marel et al."),
        (("Planck Collaboration", "N. Aghanim"), "Planck Collaboration & Aghanim"),
        (("John Smith Jr.",), "Smith"),
        (("Cher",), "Cher"),
    ],
)
def test_short_authors(names: tuple[str, ...], short: str) -> None:
    assert short_authors(names) == short


def test_papers_of_a_store_and_of_ids_alone(tmp_path: Path) -> None:
    corpora.write(tmp_path / "papers.jsonl", corpora.records(12))
    build_index(tmp_path / "papers.jsonl", tmp_path / "i", encoder=FakeEncoder())
    ids = sorted(Space.open(tmp_path / "i").ids)[::2]
    found = read_papers([*ids, "unknown"], [tmp_path / "i"])
    assert found.titles[0].startswith("Paper ")
    assert found.authors[0] == "Author0 & Writer0"
    assert found.categories[1] == "gr-qc"
    assert found.years.tolist() == [2020] * 6 + [0]
    assert len(found.texts) == 6
    assert found.of_texts.tolist() == list(range(6))
    bare = MapPapers(ids=["2301.00001", "math/0309136", "mine"])
    assert bare.years.tolist() == [2023, 2003, 0]
    assert bare.titles == ["", "", ""]


def test_colours_of_categories() -> None:
    names = ["a"] * 500 + ["b"] * 300 + ["c"] * 2 + [""]
    found = by_category(names)
    assert found.names == ("a", "b", "other")
    assert found.colours == (*PALETTE[:2], OTHER)
    assert found.counts == (500, 300, 3)
    assert by_category(["x", ""]).names == ("x", "unknown")
    assert by_category(["", ""]).names == ("unknown",)


def test_colours_of_years_and_density() -> None:
    years = np.array([1990] + [2000] * 150 + [2010] * 100 + [0], np.int16)
    found = by_year(years)
    assert found.ticks[0] == (0.0, "≤ 2000")
    assert found.ticks[-1] == (1.0, "2010")
    assert found.values[0] == 0
    assert np.isnan(found.values[-1])
    assert by_year(np.zeros(3, np.int16)).ticks == ()
    ramp = colouring(samples.points(30), "density")
    assert isinstance(ramp, Ramp)
    assert [text for _, text in ramp.ticks] == ["sparse", "median", "dense"]


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="expected one space, or two to lay side by side, found 3"):
        make_maps([samples.space(5)] * 3, samples.papers(5))
    with pytest.raises(OptionError, match="in the order of their ids, found others: align them"):
        make_maps([samples.space(5)], samples.papers(6))
    for options, message in (
        ({"neighbors": 1}, "expected 2 to 200 neighbours, found 1"),
        ({"min_dist": 2}, "expected a smallest distance of 0 to 1, found 2"),
        ({"seed": -1}, "expected a seed of 0 to 4294967295, found -1"),
    ):
        with pytest.raises(OptionError, match=message):
            LayoutOptions(**options)  # type: ignore[arg-type]

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(layouts, "version", missing)
    with pytest.raises(MissingExtra, match=r"pip install 'embedsearch\[map\]'"):
        make_maps([samples.space(5)], samples.papers(5))
