"""A folder is renamed, or its store replaced, under those who read it: nobody mixes two stores."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from corpora import records, write
from fake_encoder import FakeEncoder

from embedsearch.build import BuildOptions, build_index
from embedsearch.encoders import Role
from embedsearch.errors import RecipeMismatch, StoreCorrupt
from embedsearch.search import Mode, Searcher
from embedsearch.search import searcher as searcher_module
from embedsearch.search.view import StoreView
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.manifest import read_manifest

T = TypeVar("T")


def in_a_new_thread(call: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def build(folder: Path, name: str, index: Path, model: str = "fake") -> Path:
    """A store whose every title holds `name`."""
    made = [record | {"title": f"{name} {i}"} for i, record in enumerate(records(30))]
    corpus = write(folder / f"{name}.jsonl", made)
    build_index(corpus, index, encoder=FakeEncoder(model), options=BuildOptions(overwrite=True))
    return index


def replace(index: Path, new: Path) -> None:
    shutil.rmtree(index)
    new.rename(index)


def names(searcher: Searcher, **asked: object) -> set[str]:
    """The first words of the titles of what is found."""
    result = searcher.search("star", **asked)  # type: ignore[call-overload]
    return {hit.title.split()[0] for hit in result.hits}


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return build(tmp_path, "old", tmp_path / "index")


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return build(tmp_path, "new", tmp_path / "new")


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stores open the fake encoder of their recipe; the names of those that were opened."""
    opened: list[str] = []

    def encoder_of(generation: object, **_: object) -> FakeEncoder:
        name = next(name for name in ("fake", "other") if FakeEncoder(name).recipe.as_dict() == generation.recipe)
        opened.append(name)
        return FakeEncoder(name)

    monkeypatch.setattr(searcher_module, "encoder_of", encoder_of)
    return opened


def test_a_catalogue_opens_no_other_file_of_its_name(index, new):
    catalogue = Catalogue(index / "papers-1.sqlite")
    replace(index, new)
    for ask in (catalogue.connect, catalogue.ids):
        with pytest.raises(StoreCorrupt, match="found: another file than before"):
            in_a_new_thread(ask)
    assert catalogue.papers(np.array([0]))[0].title == "old 0"  # who has it open goes on


def test_a_catalogue_whose_file_is_gone_says_so(index):
    catalogue = Catalogue(index / "papers-1.sqlite")
    in_a_new_thread(catalogue.connect)
    (index / "papers-1.sqlite").unlink()
    with pytest.raises(StoreCorrupt, match=r"expected papers in .*papers-1\.sqlite"):
        in_a_new_thread(catalogue.connect)
    assert len(catalogue.ids()) == 30


def test_connections_are_closed_with_their_catalogue(index):
    catalogue = Catalogue(index / "papers-1.sqlite")
    in_a_new_thread(catalogue.connect)
    opened = catalogue._opened
    assert len(opened) == 2
    del catalogue
    for connection in opened:
        with pytest.raises(Exception, match="closed database"):
            connection.execute("SELECT 1")


def test_keywords_are_not_taken_from_another_store(index, new):
    view = StoreView(index, read_manifest(index))
    replace(index, new)
    with pytest.raises(StoreCorrupt, match=r"keywords-1/meta\.json as it was written, found other bytes"):
        _ = view.keywords


@pytest.mark.parametrize("mode", list(Mode))
def test_a_searcher_goes_over_to_the_new_store_as_a_whole(index, new, mode):
    searcher = Searcher.open(index, encoder=FakeEncoder())
    assert searcher.search("gas", mode="dense").hits  # the catalogue is open; keywords are not
    replace(index, new)
    assert in_a_new_thread(lambda: names(searcher, mode=mode)) == {"new"}
    assert names(searcher, mode=mode) == {"new"}


def test_one_that_does_not_follow_stays_with_what_it_opened(index, new):
    searcher = Searcher.open(index, encoder=FakeEncoder(), follows=False)
    searcher.warm_up()
    replace(index, new)
    for mode in Mode:
        assert names(searcher, mode=mode) == {"old"}
    with pytest.raises(StoreCorrupt, match="another file than before"):
        in_a_new_thread(lambda: names(searcher))
    assert names(searcher) == {"old"}
    assert searcher.refresh()  # when told to
    assert names(searcher) == {"new"}


def test_after_warming_up_no_file_is_needed(index):
    searcher = Searcher.open(index, encoder=FakeEncoder(), follows=False)
    searcher.warm_up()
    shutil.rmtree(index)
    for mode in Mode:
        assert names(searcher, mode=mode, n_counted=20) == {"old"}
    assert searcher.similar_to("2001.10000").hits
    with pytest.raises(StoreCorrupt):
        in_a_new_thread(searcher.connect)


def test_warming_up_is_no_query(index):
    stages: list[str] = []
    searcher = Searcher.open(index, encoder=FakeEncoder(), observe=lambda stage, _: stages.append(stage))
    searcher.warm_up()
    assert stages == []
    searcher.search("star")
    assert stages == ["encode", "search", "catalogue"]


def test_a_store_of_another_model_is_refused_where_the_encoder_was_given(tmp_path, index):
    searcher = Searcher.open(index, encoder=FakeEncoder())
    build(tmp_path, "new", index, model="other")
    with pytest.raises(RecipeMismatch, match="expected the encoder that made the index, found another: weights"):
        searcher.refresh()
    assert names(searcher) == {"old"}


def test_a_store_of_another_model_opens_its_own(tmp_path, index, models):
    searcher = Searcher.open(index)
    assert names(searcher) == {"old"}
    build(tmp_path, "new", index, model="other")
    assert searcher.refresh()
    assert names(searcher) == {"new"}
    build(tmp_path, "newer", index, model="other")
    assert searcher.refresh()
    assert names(searcher) == {"newer"}
    assert searcher.embed(["star"], role=Role.QUERY).vectors.shape == (1, 8)
    assert models == ["fake", "other"]


def test_vectors_of_one_model_are_not_looked_for_in_a_store_of_another(tmp_path, index, models):
    searcher = Searcher.open(index)
    vectors = {"star": FakeEncoder().encode(["star"], role=Role.QUERY)[0]}
    replace(index, build(tmp_path, "new", tmp_path / "other", model="other"))
    with pytest.raises(StoreCorrupt, match="found other bytes"):
        in_a_new_thread(lambda: names(searcher, vectors=vectors))
    replace(index, build(tmp_path, "newer", tmp_path / "another", model="other"))
    assert in_a_new_thread(lambda: names(searcher)) == {"newer"}  # without them it is embedded anew


def test_vectors_of_the_same_model_are_used_in_a_newer_store(index, new):
    searcher = Searcher.open(index, encoder=FakeEncoder(fail_at=0))
    vectors = {"star": FakeEncoder().encode(["star"], role=Role.QUERY)[0]}
    replace(index, new)
    assert in_a_new_thread(lambda: names(searcher, vectors=vectors)) == {"new"}
