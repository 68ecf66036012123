"""What analysis sees of a store."""

from __future__ import annotations

from pathlib import Path

import corpora
import numpy as np
import pytest
from fake_encoder import FakeEncoder
from hypothesis import given, settings
from hypothesis import strategies as st

from embedsearch.build import BuildOptions, build_index
from embedsearch.errors import BadVector, NothingInCommon, OptionError, SpaceError, StoreError
from embedsearch.store.space import Space, align
from embedsearch.transform import TransformSpec, fit


@pytest.fixture
def index(tmp_path: Path) -> Path:
    corpus = corpora.write(tmp_path / "p", corpora.records(50))
    build_index(corpus, tmp_path / "i", encoder=FakeEncoder(), options=BuildOptions(shard_rows=16))
    return tmp_path / "i"


def test_blocks_are_the_vectors(index: Path) -> None:
    space = Space.open(index)
    assert len(space) == 50
    assert space.vectors.dtype == np.float32
    assert (np.concatenate([block for _, block in space.blocks(7)]) == space.vectors).all()
    assert space.recipe["template"] == "{abstract}"


def test_a_sample_is_of_the_same_papers_everywhere(index: Path, tmp_path: Path) -> None:
    build_index(index, tmp_path / "j", encoder=FakeEncoder("other"))
    one, other = Space.open(index).sample(20, seed=1), Space.open(tmp_path / "j").sample(20, seed=1)
    assert one.ids == other.ids
    assert one.vectors.shape == (20, 8)
    assert one.ids != Space.open(index).sample(20, seed=2).ids
    assert set(Space.open(index).sample(5, seed=1).ids) <= set(one.ids)


@pytest.mark.parametrize("n", [0, 51])
def test_a_sample_of_too_few_or_many(index: Path, n: int) -> None:
    with pytest.raises(OptionError, match=f"expected a sample of 1 to 50 papers, found {n}"):
        Space.open(index).sample(n)


def test_of_a_store_that_is_being_built_it_has_what_has_vectors(tmp_path: Path) -> None:
    corpus, options = corpora.write(tmp_path / "p", corpora.records(50)), BuildOptions(shard_rows=16)
    for fail_at, n in ((0, 0), (20, 16)):
        with pytest.raises(RuntimeError):
            build_index(corpus, tmp_path / "i", encoder=FakeEncoder(fail_at=fail_at), options=options)
        if n:
            assert len(Space.open(tmp_path / "i")) == n
        else:
            with pytest.raises(StoreError, match=r"expected vectors in .*, found none yet; finish it with"):
                Space.open(tmp_path / "i")


def random_space(n: int, *, dim: int = 6, seed: int = 0, name: str = "a") -> Space:
    """n papers with vectors of any length, none of them zero."""
    vectors = np.random.default_rng(seed).normal(size=(n, dim))
    return Space.of([f"2301.{i:05d}" for i in range(n)], vectors, name=name, model_name=name)


def test_take_is_those_papers_in_that_order(index: Path) -> None:
    space, order = Space.open(index), np.array([40, 3, 17, 3])
    taken = space.take(order)
    assert list(taken.ids) == [space.ids[i] for i in order]
    assert (taken.vectors == space.vectors[order]).all()
    assert (taken.take(np.array([2, 0])).vectors == space.vectors[[17, 40]]).all()


@pytest.mark.parametrize("spec", ["center", "whiten:3", "remove-top:2", "truncate:4"])
def test_a_transform_is_fitted_on_the_space_s_own_papers(spec: str) -> None:
    space = random_space(30).take(np.arange(20)[::-1])
    changed = space.transformed(spec)
    fitted = fit(TransformSpec.parse(spec), [(0, space.vectors)], dim=6)
    assert (changed.vectors == fitted.apply(space.vectors)).all()
    assert changed.dim == fitted.dim == changed.vectors.shape[1]
    np.testing.assert_allclose(np.linalg.norm(changed.vectors, axis=1), 1, atol=1e-6)
    assert changed.label == f"a ({spec})"
    assert (space.label, space.dim) == ("a", 6)


def test_transforms_are_chained_behind_the_store_s(index: Path, tmp_path: Path) -> None:
    build_index(index, tmp_path / "t", encoder=FakeEncoder(), options=BuildOptions(transform="center"))
    changed = Space.open(tmp_path / "t").transformed(TransformSpec.parse("truncate:5")).sample(9)
    assert changed.recipe["transform"] == "center, truncate:5"
    assert changed.label == "given in Python (center, truncate:5)"
    assert changed.vectors.shape == (9, 5)


def test_a_transform_that_leaves_nothing_names_the_paper() -> None:
    space = Space.of(["x", "y", "z"], [[0, 1.0], [1, 1], [1, 0]]).transformed("truncate:1")
    with pytest.raises(BadVector, match=r"paper x in vectors \(truncate:1\): .*length zero"):
        assert space.vectors.size
    with pytest.raises(OptionError, match="expected more than 3 papers"):
        random_space(3).transformed("whiten:3")


def test_of_arrays() -> None:
    space = Space.of(["arXiv:2301.00001v2", "x "], np.array([[3, 4], [0, 2]], np.int32), recipe={"weights": "w"})
    assert list(space.ids) == ["2301.00001", "x"]
    assert (space.vectors == np.array([[0.6, 0.8], [0, 1]], np.float32)).all()
    assert (space.name, space.model_name, space.label, space.recipe) == (
        "vectors",
        "vectors",
        "vectors",
        {"weights": "w"},
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_of_any_floating_dtype_and_more_rows_than_a_block(dtype: type) -> None:
    vectors = np.random.default_rng(1).normal(size=(1500, 3)).astype(dtype)
    space = Space.of([str(i) for i in range(1500)], vectors)
    expected = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    np.testing.assert_allclose(space.vectors, expected, atol=1e-7)
    order = np.random.default_rng(2).permutation(1500)
    assert (space.take(order).vectors == space.vectors[order]).all()


@pytest.mark.parametrize(
    ("ids", "vectors", "error", "message"),
    [
        (["x", "y"], [[1.0, 0]], SpaceError, "expected an id for each of 1 vectors, found 2 ids"),
        (["x", "arXiv:x"], [[1.0], [2, 1]], SpaceError, "expected rows of one length"),
        (["x"], [1.0], SpaceError, r"\(n papers, d numbers\), found the shape \(1,\)"),
        ([], np.empty((0, 3)), SpaceError, r"found the shape \(0, 3\)"),
        (["x"], [["a"]], SpaceError, "expected vectors of numbers, found the dtype <U1"),
        (["x"], np.array([[None]]), SpaceError, "found the dtype object"),
        (["x"], np.array([[1]], np.uint8), SpaceError, "found the dtype uint8"),
        (["x", " "], [[1.0], [1]], SpaceError, "row 2: expected an id, found none"),
        (["x", "y"], [[1.0], [np.nan]], BadVector, "row 2, paper y: expected a finite .*, found NaN or infinity"),
        (["x", "y"], [[1.0], [np.inf]], BadVector, "paper y: .*found NaN or infinity"),
        (["x", "y"], [[1.0], [0]], BadVector, "paper y: .*found zero"),
        (["2301.00001", "2301.00001v3"], [[1.0], [1]], SpaceError, "expected each id once, found 1 again"),
        (["2301.00001", "2301.00001v3"], [[1.0], [-1]], SpaceError, "paper 2301.00001: expected one vector of each"),
    ],
)
def test_arrays_that_are_no_space(ids: list[str], vectors: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Space.of(ids, vectors)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_aligned_rows_agree(data: st.DataObject) -> None:
    whole = random_space(12)
    orders = data.draw(st.lists(st.lists(st.integers(0, 11), min_size=1, unique=True), min_size=1, max_size=4))
    spaces = [whole.take(np.array(order)) for order in orders]
    common = set(orders[0]).intersection(*orders[1:])
    if not common:
        with pytest.raises(NothingInCommon):
            align(spaces)
        return
    aligned = align(spaces)
    expected = whole.take(np.array([i for i in orders[0] if i in common]))
    for space in aligned.spaces:
        assert list(space.ids) == list(expected.ids)
        assert (space.vectors == expected.vectors).all()
    assert aligned.n_left_out == tuple(len(order) - len(common) for order in orders)
    assert (aligned.line is None) == (not any(aligned.n_left_out))


def test_what_fell_out_is_said_and_nothing_in_common_shows_ids() -> None:
    one, other = random_space(1200), random_space(1000, seed=1, name="ada-002")
    assert align([one, other]).line == "1,000 papers in common; left out: 200 of a, 0 of ada-002"
    assert align([one, one]).spaces == (one, one)
    with pytest.raises(NothingInCommon, match=r"a has 2301.00000, 2301.00001, 2301.00002, \.\.\.; few has x, y$"):
        align([one, Space.of(["x", "y"], np.eye(2), name="few")])
    with pytest.raises(OptionError, match="expected at least one space, found none"):
        align([])
