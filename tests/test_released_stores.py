"""Stores that earlier releases wrote are read, searched and changed; tests/stores/README.md says how they were made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import corpora
import pytest
import released
from crashing import leftovers
from running import run

from embedsearch.build import build_index
from embedsearch.corpus import sample_path
from embedsearch.encoders import Compute, Encoder, open_encoder
from embedsearch.errors import StoreError
from embedsearch.search import Mode, Searcher
from embedsearch.store.history import history
from embedsearch.store.info import store_info
from embedsearch.store.manifest import check_sizes, read_manifest
from embedsearch.update import add, compact, remove, rollback
from embedsearch.verify import verify_store

STORES = Path(__file__).parent / "stores"
COMPLETE = ("search", "spaces", "server", "scale", "language")
WITH_MODEL = ("search", "server", "scale", "language")
"""Of vectors that came without a model, nothing is known to embed another paper with."""


@pytest.fixture(scope="module")
def minilm(one_thread: None) -> Encoder:
    return open_encoder("minilm", compute=Compute(device="cpu", dtype="float32"))


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the store of this name."""
    return Path(shutil.copytree(STORES / request.param / "store", tmp_path / request.param))


@pytest.fixture
def expected(store: Path) -> dict[str, Any]:
    """What its release answered."""
    found: dict[str, Any] = json.loads((STORES / store.name / "expected.json").read_text())
    return found


def sample(*indices: int) -> list[dict[str, Any]]:
    lines = sample_path().read_text(encoding="utf-8").splitlines()
    return [json.loads(lines[i]) for i in indices]


@pytest.mark.parametrize("store", [*COMPLETE, "unfinished"], indirect=True)
def test_it_answers_as_its_release_did(store: Path, expected: dict[str, Any]) -> None:
    assert list(verify_store(store)) == []
    assert released.answers(store) == expected
    assert run("info", "--index", store, cwd=store).returncode == 0
    info = store_info(store)
    assert (info.n_papers, info.n_dead, info.complete) == (12, 0, expected["complete"])
    assert len(history(store)) == (2 if store.name == "search" else expected["complete"])
    assert run("log", "--index", store, "-q", cwd=store).stdout.startswith("generation")


@pytest.mark.parametrize("store", WITH_MODEL, indirect=True)
def test_a_query_by_meaning(store: Path, minilm: Encoder) -> None:
    wanted = sample(2)[0]
    for mode in (Mode.DENSE, Mode.HYBRID):
        result = Searcher.open(store, encoder=minilm).search(wanted["abstract"][:200], mode=mode, k=3)
        assert result.hits[0].id == wanted["id"]


@pytest.mark.parametrize("store", WITH_MODEL, indirect=True)
def test_papers_come_change_and_go(store: Path, expected: dict[str, Any], minilm: Encoder, tmp_path: Path) -> None:
    old, changed, new = sample(0), sample(1), sample(20, 21)
    old[0]["journal-ref"] = "J. Inv. 1 (2030) 1"
    changed[0]["abstract"] = "A wholly different text about the rings of a planet."
    corpus = corpora.write(tmp_path / "more.jsonl", [*old, *changed, *new])
    report = add(corpus, store, encoder=minilm)
    assert report.new == tuple(record["id"] for record in new)
    assert (report.changed, report.renewed) == ((changed[0]["id"],), (old[0]["id"],))
    assert list(verify_store(store)) == []
    searcher = Searcher.open(store, encoder=minilm)
    assert searcher.search("rings of a planet", k=1).hits[0].id == changed[0]["id"]
    assert searcher.paper(old[0]["id"]).journal_ref == "J. Inv. 1 (2030) 1"
    # Those that were not touched are as near to one another as they were.
    others = [id for id in expected["similar"] if id != changed[0]["id"]]
    for id in others:
        known = {like: score for like, score in expected["similar"][id] if like in others}
        found = dict(released.hits(searcher.similar_to(id, k=20)))
        assert known.items() <= found.items()
    rollback(store)
    assert released.answers(store) == expected
    assert list(verify_store(store)) == []


@pytest.mark.parametrize("store", COMPLETE, indirect=True)
def test_papers_go(store: Path, expected: dict[str, Any]) -> None:
    gone = next(iter(expected["similar"]))
    assert remove([gone], store).removed == (gone,)
    assert list(verify_store(store)) == []
    with_dead = released_without(gone, store)
    compact(store)
    assert list(verify_store(store)) == []
    assert store_info(store).n_dead == 0
    assert released_without(gone, store) == with_dead
    assert [event.what for event in history(store)][-2:] == ["remove", "compact"]


def released_without(gone: str, store: Path) -> list[Any]:
    """The papers nearest to each, by meaning."""
    searcher = Searcher.open(store)
    ids = [id for id in json.loads((STORES / store.name / "expected.json").read_text())["similar"] if id != gone]
    found = [released.hits(searcher.similar_to(id, k=20)) for id in ids]
    assert all(len(hits) == 10 and gone not in dict(hits) for hits in found)
    return found


@pytest.mark.parametrize("store", ["search"], indirect=True)
def test_the_generation_before_is_whole(store: Path, expected: dict[str, Any]) -> None:
    assert rollback(store).number == 1
    assert list(verify_store(store)) == []
    found = released.answers(store)
    assert (found["generation"], found["keyword"]) == (1, expected["keyword"])
    assert found["vector"] != expected["vector"]  # it was not centred
    with pytest.raises(StoreError, match="expected a previous generation"):
        rollback(store)


@pytest.mark.parametrize("store", ["spaces"], indirect=True)
def test_without_a_model_nothing_is_added(store: Path, tmp_path: Path) -> None:
    manifest = (store / "manifest.json").read_bytes()
    corpus = corpora.write(tmp_path / "more.jsonl", sample(20))
    done = run("add", corpus, "--index", store, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: expected")
    assert (store / "manifest.json").read_bytes() == manifest


@pytest.mark.parametrize("store", ["unfinished"], indirect=True)
def test_what_was_begun_is_finished(store: Path, minilm: Encoder, tmp_path: Path) -> None:
    corpus = corpora.write(tmp_path / "more.jsonl", sample(20))
    for arguments in (("add", corpus), ("remove", sample(0)[0]["id"]), ("compact",)):
        done = run(*arguments, "--index", store, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "finish it with: embedsearch build-index" in done.stderr
    report = build_index(index=store, encoder=minilm)
    assert (report.n_embedded, report.n_papers) == (12, 12)
    assert list(verify_store(store)) == []
    assert add(corpus, store, encoder=minilm).n_papers == 13


@pytest.mark.parametrize("name", [*COMPLETE, "unfinished"])
def test_all_of_it_is_there(name: str) -> None:
    assert leftovers(STORES / name / "store") == []
    check_sizes(STORES / name / "store", read_manifest(STORES / name / "store").generations()[-1])
