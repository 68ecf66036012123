"""A folder is renamed, or its store replaced, under those who read it: nobody mixes two stores."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from corpora import records, write
from fake_encoder import FakeEncoder

from embedsearch.ann import AnnKind, faiss_index
from embedsearch.build import BuildOptions, build_index
from embedsearch.encoders import Role
from embedsearch.errors import QueryError, RecipeMismatch, StoreCorrupt, StoreError
from embedsearch.scores import Float32
from embedsearch.search import Mode, Searcher
from embedsearch.search import encoding as encoding_module
from embedsearch.search import view as view_module
from embedsearch.search.view import StoreView
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.manifest import Manifest, read_manifest
from embedsearch.store.space import Space

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

    monkeypatch.setattr(encoding_module, "encoder_of", encoder_of)
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


def n_open(path: Path) -> int:
    """How often this process has the file open."""
    return sum(os.path.realpath(entry) == str(path) for entry in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_connection_is_closed_with_its_thread_and_with_its_catalogue(index):
    path = index / "papers-1.sqlite"
    catalogue = Catalogue(path)
    for _ in range(5):
        in_a_new_thread(catalogue.ids)
    assert n_open(path) == 1
    with ThreadPoolExecutor(1) as pool:
        pool.submit(catalogue.connect).result()
        assert n_open(path) == 2
        del catalogue
        assert n_open(path) == 0


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


def star() -> dict[str, Float32]:
    """What the encoder makes of a query, as a caller would who embeds those of many at once."""
    return {"star": FakeEncoder().encode(["star"], role=Role.QUERY)[0]}


def test_vectors_are_looked_for_in_no_newer_store(index, new):
    searcher = Searcher.open(index, encoder=FakeEncoder(fail_at=0))
    assert names(searcher, vectors=star()) == {"old"}  # embedded by nobody else
    replace(index, new)
    with pytest.raises(StoreCorrupt, match="another file than before"):
        in_a_new_thread(lambda: names(searcher, vectors=star()))


def test_vectors_of_another_length_are_refused(index):
    searcher = Searcher.open(index, encoder=FakeEncoder())
    with pytest.raises(QueryError, match=r"expected vectors of 8 numbers, found one of shape \(7,\)"):
        searcher.search("star", vectors={"star": np.ones(7, np.float32)})


def test_a_store_that_was_copied_into_its_own_place_is_the_same_store(tmp_path, index):
    searcher = Searcher.open(index, encoder=FakeEncoder())
    assert not searcher.refresh()
    shutil.copytree(index, tmp_path / "copy")
    replace(index, tmp_path / "copy")
    assert in_a_new_thread(lambda: names(searcher)) == {"old"}
    assert not searcher.refresh()


def test_threads_that_find_the_old_files_gone_together_all_go_on(index, new, monkeypatch):
    """Only one of them finds something newer; the others find that it has been gone over to."""
    searcher = Searcher.open(index, encoder=FakeEncoder())
    replace(index, new)
    together = threading.Barrier(4)
    refresh, turn = searcher.refresh, threading.Lock()

    def one_after_another() -> bool:
        together.wait(60)
        with turn:
            return refresh()

    monkeypatch.setattr(searcher, "refresh", one_after_another)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: names(searcher), range(4))) == [{"new"}] * 4


def test_a_store_without_a_model_is_searched_by_words_though_the_one_before_had_one(tmp_path, index, models, caplog):
    searcher = Searcher.open(index)
    assert names(searcher) == {"old"}
    vectors = Space.of([record["id"] for record in records(30)], np.eye(30), name="mine")
    build_index(tmp_path / "old.jsonl", index, vectors=vectors, options=BuildOptions(overwrite=True))
    assert searcher.has_encoder
    assert searcher.refresh()
    assert not searcher.has_encoder
    assert searcher.search("star").mode == searcher.search("gas").mode == "keyword"
    assert caplog.text.count("searching by words alone") == 1


def test_a_store_that_is_replaced_while_it_is_opened_is_opened_anew(tmp_path, index, new, monkeypatch):
    """Its catalogue would be of one store, its keywords and vectors of another."""
    manifest = read_manifest

    def replaced_behind(folder: Path) -> Manifest:
        found = manifest(folder)
        if new.exists():
            replace(index, new)
        return found

    monkeypatch.setattr(view_module, "read_manifest", replaced_behind)
    view = StoreView.open(index)
    assert view.catalogue.papers(np.array([0]))[0].title == "new 0"
    assert view.manifest == manifest(index)
    assert len(view.keywords) == 30


def test_an_ann_that_is_replaced_while_it_is_loaded_is_not_taken(index, new, monkeypatch):
    view = StoreView.open(index)
    load = faiss_index.load

    def replaced_before(path: Path, kind: AnnKind) -> object:
        replace(index, new)
        return load(path, kind)

    monkeypatch.setattr(faiss_index, "load", replaced_before)
    with pytest.raises(StoreCorrupt, match=r"ann-1-flat\.faiss as it was written, found another file"):
        _ = view.ann


@pytest.mark.parametrize("pattern", ["ann-*", "vectors/*"])
def test_a_disk_that_cannot_be_read_is_no_corrupt_store(index, pattern):
    view = StoreView.open(index)
    path = next(index.glob(pattern))
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError, match=rf"expected to read .*{path.name}, found: Is a directory") as found:
        view.open_all()
    assert not isinstance(found.value, StoreCorrupt)
