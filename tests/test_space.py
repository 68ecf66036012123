"""What analysis sees of a store."""

from __future__ import annotations

from pathlib import Path

import corpora
import numpy as np
import pytest
from fake_encoder import FakeEncoder

from embedsearch.build import BuildOptions, build_index
from embedsearch.errors import OptionError, StoreError
from embedsearch.store.space import Space


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
