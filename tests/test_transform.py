"""Transforms against their definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedsearch import transform
from embedsearch.errors import BadVector, OptionError, StoreCorrupt
from embedsearch.scores import Float32, unit_rows
from embedsearch.transform import Kind, TransformSpec


def rows(n: int = 500, d: int = 12) -> Float32:
    random = np.random.default_rng(0)
    return unit_rows(random.normal(size=(n, d)) * np.linspace(3, 0.3, d) + 1.0)


def fitted(spec: str, data: Float32, size: int = 100) -> transform.Transform:
    blocks = [(first, data[first : first + size]) for first in range(0, len(data), size)]
    return transform.fit(TransformSpec.parse(spec), blocks, dim=data.shape[1])


@pytest.mark.parametrize("text", ["center", "whiten:8", "remove-top:2", "truncate:4"])
def test_spec_round_trip(text: str) -> None:
    assert str(TransformSpec.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "centre", "center:3", "whiten", "whiten:", "whiten:0", "whiten:-1", "whiten:x", "whiten:²"]
)
def test_spec_rejects(text: str) -> None:
    with pytest.raises(OptionError, match="expected a transform center, whiten:K, remove-top:K or truncate:D, found"):
        TransformSpec.parse(text)


@pytest.mark.parametrize("text", ["center", "whiten:8", "remove-top:2", "truncate:4"])
def test_its_dimension_is_known_before_it_is_fitted(text: str) -> None:
    assert (
        TransformSpec.parse(text).dim_after(12)
        == fitted(text, rows()).dim
        == fitted(text, rows()).apply(rows()).shape[1]
    )


def test_center() -> None:
    data = rows()
    expected = data - data.astype(np.float64).mean(axis=0)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(fitted("center", data).apply(data), expected, atol=1e-6)


def test_whiten_gives_unit_covariance() -> None:
    data = rows()
    t = fitted("whiten:5", data)
    assert t.matrix is not None
    moved = (data - t.mean) @ t.matrix
    np.testing.assert_allclose(np.cov(moved.T, bias=True), np.eye(5), atol=1e-5)
    assert t.apply(data).shape == (500, 5)


def test_remove_top_leaves_nothing_along_the_leading_directions() -> None:
    data = rows()
    t = fitted("remove-top:2", data)
    centred = data - data.mean(axis=0)
    leading = np.linalg.svd(centred.astype(np.float64), full_matrices=False)[2][:2]
    np.testing.assert_allclose(t.apply(data) @ leading.T, 0, atol=1e-5)


def test_truncate() -> None:
    data = rows()
    np.testing.assert_allclose(fitted("truncate:4", data).apply(data), unit_rows(data[:, :4]), atol=1e-6)


@pytest.mark.parametrize("spec", ["center", "whiten:5", "remove-top:2", "truncate:4"])
def test_a_row_comes_out_the_same_bit_for_bit_whatever_is_beside_it(spec: str) -> None:
    data = rows()
    t = fitted(spec, data)
    whole = t.apply(data)
    assert (np.concatenate([t.apply(data[i : i + 1]) for i in range(60)]) == whole[:60]).all()
    assert (t.apply(data[17:200]) == whole[17:200]).all()


@pytest.mark.parametrize("spec", ["center", "whiten:5"])
def test_blocks_do_not_matter(spec: str) -> None:
    data = rows()
    np.testing.assert_allclose(fitted(spec, data, 7).mean, fitted(spec, data, 500).mean, atol=1e-12)


@pytest.mark.parametrize("spec", ["center", "whiten:5", "remove-top:2", "truncate:4"])
def test_round_trip(spec: str, tmp_path: Path) -> None:
    t = fitted(spec, rows())
    transform.save(tmp_path / "t.npz", t)
    loaded = transform.load(tmp_path / "t.npz")
    assert loaded.spec == t.spec
    assert (loaded.apply(rows()) == t.apply(rows())).all()


def test_too_large_a_size() -> None:
    with pytest.raises(
        OptionError, match="expected a size of at most 12 in whiten:13 for vectors of 12 numbers, found 13"
    ):
        fitted("whiten:13", rows())
    with pytest.raises(OptionError, match="expected 8 directions with variance in 4 papers, found 3"):
        fitted("whiten:8", rows(4))


def test_one_paper_has_no_direction_left() -> None:
    with pytest.raises(BadVector):
        fitted("center", rows(1)).apply(rows(1))


@pytest.mark.parametrize("data", [b"", b"x" * 100, b"PK\x03\x04" + b"x" * 50])
def test_a_file_that_is_no_transform(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.npz").write_bytes(data)
    with pytest.raises(StoreCorrupt, match="expected a transform in"):
        transform.load(tmp_path / "t.npz")


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "t.npz").open("wb") as file:
        np.savez(file, allow_pickle=True, spec=np.array("center"), mean=np.array([{}], dtype=object))
    with pytest.raises(StoreCorrupt, match="allow_pickle"):
        transform.load(tmp_path / "t.npz")


def test_every_kind_is_explained() -> None:
    assert {kind.value for kind in Kind} == {"center", "whiten", "remove-top", "truncate"}
