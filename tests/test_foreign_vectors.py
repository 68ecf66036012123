"""An index whose vectors somebody else made, and what can be asked of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
from fake_encoder import FakeEncoder
from running import run

from embedsearch.ann import AnnKind
from embedsearch.build import BuildOptions, build_index
from embedsearch.encoders import Recipe, Role
from embedsearch.errors import (
    EncoderError,
    ModelNotFound,
    NothingInCommon,
    OptionError,
    RecipeMismatch,
    SpaceError,
    StoreError,
    StoreNotFound,
)
from embedsearch.search import Searcher
from embedsearch.store.info import store_info
from embedsearch.store.manifest import read_manifest
from embedsearch.store.space import Space
from embedsearch.store.vector_writer import write_space
from embedsearch.verify import verify_store

RECORDS = corpora.records(50)
SMALL = BuildOptions(shard_rows=16)


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    return corpora.write(tmp_path / "papers.jsonl", RECORDS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Vectors of the last 40 papers, backwards, and of one that is no paper here; minilm's dimension."""
    ids = [*(f"arXiv:{record['id']}v1" for record in RECORDS[:9:-1]), "2401.99999"]
    vectors = np.random.default_rng(0).normal(size=(41, 384)).astype(np.float32)
    np.savez(tmp_path / "ada.npz", ids=np.array(ids), vectors=vectors, allow_pickle=False)
    return tmp_path / "ada.npz"


def test_vectors_are_taken_by_id_and_papers_without_one_left_out(papers: Path, file: Path, tmp_path: Path) -> None:
    report = build_index(papers, tmp_path / "i", vectors=file, options=SMALL)
    assert (report.n_papers, report.n_embedded, report.corpus.n_without_vector) == (40, 40, 10)
    assert list(verify_store(tmp_path / "i")) == []
    space, given = Space.open(tmp_path / "i"), Space.open(file)
    assert list(space.ids) == [record["id"] for record in RECORDS[10:]]
    assert space.model_name == "ada"
    np.testing.assert_allclose(space.vectors, given.take(np.arange(39, -1, -1)).vectors, atol=1e-3)
    again = build_index(papers, tmp_path / "i", vectors=file, options=SMALL)
    assert again.already_complete
    assert not again.read


@pytest.mark.parametrize("name", ["v.npz", "v.parquet", "v.jsonl", "v.npy"])
def test_a_file_that_notes_the_recipe_gives_an_index_that_knows_it(papers: Path, tmp_path: Path, name: str) -> None:
    build_index(papers, tmp_path / "a", encoder=FakeEncoder(), options=BuildOptions(template="{title}"))
    write_space(tmp_path / name, Space.open(tmp_path / "a"))
    build_index(papers, tmp_path / "b", vectors=tmp_path / name)
    generation = read_manifest(tmp_path / "b").serving
    assert Recipe.from_dict(generation.recipe) == FakeEncoder().recipe
    assert generation.template == "{title}"
    hits = [
        [(hit.id, hit.score) for hit in Searcher.open(tmp_path / i, encoder=FakeEncoder()).search("star gas").hits]
        for i in "ab"
    ]
    assert hits[0] == hits[1]
    with pytest.raises(RecipeMismatch, match="found another: weights"):
        Searcher.open(tmp_path / "b", encoder=FakeEncoder("other"))
    with pytest.raises(RecipeMismatch, match=r"expected vectors of the template '\{abstract\}', found those of"):
        build_index(papers, tmp_path / "c", vectors=tmp_path / name, options=BuildOptions(template="{abstract}"))


def test_another_store_gives_its_vectors_without_its_transform(papers: Path, tmp_path: Path) -> None:
    build_index(papers, tmp_path / "a", encoder=FakeEncoder(), options=BuildOptions(transform="center"))
    build_index(tmp_path / "a", tmp_path / "b", vectors=tmp_path / "a")
    expected = FakeEncoder().encode([record["abstract"] for record in RECORDS], role=Role.DOCUMENT)
    np.testing.assert_allclose(Space.open(tmp_path / "b").vectors, expected, atol=1e-3)
    build_index(papers, tmp_path / "c", vectors=Space.open(tmp_path / "a"))  # a Space is taken as it is
    generation = read_manifest(tmp_path / "c").serving
    assert not generation.has_encoder
    with pytest.raises(
        ModelNotFound, match=r"taken from arrays in Python after a transform \(center\); --mode keyword"
    ):
        Searcher.open(tmp_path / "c", model="minilm").search("star", mode="dense")
    with pytest.raises(OptionError, match="as a model makes them, found a after center: leave --model out"):
        build_index(papers, tmp_path / "d", vectors=Space.open(tmp_path / "a"), model="minilm")


def test_what_can_be_searched_without_an_encoder(
    papers: Path, file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build_index(papers, tmp_path / "i", vectors=file)
    searcher = Searcher.open(tmp_path / "i")
    assert not searcher.has_encoder
    found = searcher.search(["star", RECORDS[20]["id"], "gas"])
    assert [result.mode for result in found] == ["keyword", "hybrid", "keyword"]
    assert found[1].hits[0].id == RECORDS[20]["id"]
    assert len(found[1].hits) == 10
    assert caplog.text.count("searching by words alone: the vectors were taken from ada.npz") == 1
    assert len(searcher.similar_to(RECORDS[20]["id"]).hits) == 10
    assert searcher.search("star", mode="keyword").hits
    assert searcher.search(RECORDS[20]["id"], mode="dense").hits
    with pytest.raises(ModelNotFound, match=r"ada.npz, which does not say .*; name the model with --model; --mode key"):
        searcher.search("star", mode="dense")


def test_an_encoder_can_be_given_if_its_dimension_fits(papers: Path, file: Path, tmp_path: Path) -> None:
    build_index(papers, tmp_path / "i", vectors=file, options=BuildOptions(transform="truncate:7"))
    with pytest.raises(RecipeMismatch, match="vectors of 384 numbers, as the index has them, found one of 8"):
        Searcher.open(tmp_path / "i", encoder=FakeEncoder())
    encoder = FakeEncoder()
    space = Space.of([record["id"] for record in RECORDS], np.eye(50, 8) + 1)
    build_index(papers, tmp_path / "j", vectors=space)
    assert Searcher.open(tmp_path / "j", encoder=encoder).search("star", mode="dense").hits
    assert encoder.n_queries == 1


def test_resumed_it_goes_on_with_the_same_vectors(papers: Path, file: Path, tmp_path: Path) -> None:
    def stop(step: Any) -> None:
        if step.done > 20:
            raise RuntimeError("stopped")

    build_index(papers, tmp_path / "whole", vectors=file, options=SMALL)
    with pytest.raises(RuntimeError):
        build_index(papers, tmp_path / "i", vectors=file, options=SMALL, progress=_in_embedding(stop))
    assert len(read_manifest(tmp_path / "i").serving.shards) == 1
    report = build_index(None, tmp_path / "i", options=SMALL)  # nobody names them again
    assert report.n_embedded == 24
    shards = [[s.file.sha256 for s in read_manifest(tmp_path / i).serving.shards] for i in ("i", "whole")]
    assert shards[0] == shards[1]
    file.unlink()
    assert build_index(None, tmp_path / "i", options=SMALL).already_complete
    build_index(None, tmp_path / "i", options=BuildOptions(shard_rows=16, ann=AnnKind.EXACT))
    with pytest.raises(StoreNotFound):
        build_index(None, tmp_path / "i", options=BuildOptions(shard_rows=16, overwrite=True))


def _in_embedding(stop: Any) -> Any:
    return lambda step: stop(step) if step.stage.value == "embedding" else None


def test_of_arrays_that_were_not_given_again(papers: Path, tmp_path: Path) -> None:
    space = Space.of([record["id"] for record in RECORDS], np.eye(50, 8) + 1)

    def stop(step: Any) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        build_index(papers, tmp_path / "i", vectors=space, progress=_in_embedding(stop))
    with pytest.raises(StoreError, match="found none: give them again as vectors="):
        build_index(papers, tmp_path / "i")
    assert build_index(papers, tmp_path / "i", vectors=space).n_papers == 50


def test_other_vectors_are_refused(papers: Path, file: Path, tmp_path: Path) -> None:
    build_index(papers, tmp_path / "i", vectors=file)
    other = Space.of([record["id"] for record in RECORDS], np.eye(50, 384) + 1)
    with pytest.raises(
        RecipeMismatch, match=r"weights 'vectors:.*' against 'vectors:.*'; replace them with --overwrite"
    ):
        build_index(papers, tmp_path / "i", vectors=other)
    build_index(papers, tmp_path / "i", vectors=other, options=BuildOptions(overwrite=True))
    assert len(Space.open(tmp_path / "i")) == 50


def test_nothing_in_common(papers: Path, tmp_path: Path) -> None:
    space = Space.of(["a1", "a2", "a3", "a4"], np.eye(4, 8), name="ada.npz")
    with pytest.raises(
        NothingInCommon,
        match=r"papers.jsonl has 2001.10000, 2002.10001, 2003.10002, ...; ada.npz has a1, a2, a3, \.\.\.$",
    ):
        build_index(papers, tmp_path / "i", vectors=space)


def test_an_encoder_and_vectors_exclude_each_other(papers: Path, file: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="expected vectors or an encoder, found both"):
        build_index(papers, tmp_path / "i", vectors=file, encoder=FakeEncoder())


def test_the_commands(papers: Path, file: Path, tmp_path: Path) -> None:
    done = run("build-index", papers, "--vectors", file, "--index", "i", cwd=tmp_path, env={"EMBEDSEARCH_MODEL": "no"})
    assert done.returncode == 0, done.stderr
    assert "Of 50 records, 10 have no vector and were left out." in done.stderr
    assert "i: 40 papers, 40 vectors taken now." in done.stderr
    info = run("info", "--index", "i", cwd=tmp_path)
    shown = " ".join(info.stdout.split())  # a long path may break the line anywhere
    assert "ada.npz: no recipe" in shown
    assert "10 without a vector" in shown
    assert "not known" in shown
    assert "up to 0 tokens" not in shown
    assert store_info(tmp_path / "i").as_dict()["vectors"]["model"] == "ada"
    assert json.loads(run("info", "--index", "i", "--format", "json", cwd=tmp_path).stdout)["vectors"]["model"] == "ada"
    plain = run("query", "star", "--index", "i", cwd=tmp_path)
    assert plain.returncode == 0
    assert len([line for line in plain.stderr.splitlines() if line]) == 1
    assert "searching by words alone" in plain.stderr
    dense = run("query", "star", "--index", "i", "--mode", "dense", cwd=tmp_path)
    assert dense.returncode == 1
    assert dense.stderr.startswith(
        "Error: expected a model to embed the query with, found none: the vectors were taken"
    )
    like = run("query", "--like", RECORDS[20]["id"], "--index", "i", "-k", "3", "--format", "json", cwd=tmp_path)
    assert len(json.loads(like.stdout)["hits"]) == 3
    named = run("query", "star", "--index", "i", "--mode", "dense", "--model", "minilm", cwd=tmp_path)
    assert named.returncode == 0, named.stderr
    assert "queries are embedded by minilm, and ada.npz calls itself ada" in named.stderr
    wrong = run("query", "star", "--index", "i", "--mode", "dense", "--model", "smollm2", cwd=tmp_path)
    assert "Error: expected a model that makes vectors of 384 numbers" in wrong.stderr


def test_a_model_that_is_named_with_the_vectors_is_the_index_s(papers: Path, file: Path, tmp_path: Path) -> None:
    done = run("build-index", papers, "--vectors", file, "--model", "minilm", "--index", "i", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "i").serving.has_encoder
    assert run("query", "star", "--index", "i", "--mode", "dense", cwd=tmp_path).returncode == 0
    done = run("build-index", papers, "--vectors", file, "--model", "smollm2", "--index", "j", cwd=tmp_path)
    assert "Error: expected vectors of 576 numbers, as smollm2 makes them, found 384 in ada.npz" in done.stderr


def test_columns_are_named_and_a_dry_run_refused(papers: Path, tmp_path: Path) -> None:
    lines = [
        {"id": r["id"], "title-embeddings": [1.0, i], "abstract-embeddings": [i, 1.0]} for i, r in enumerate(RECORDS)
    ]
    corpora.write(tmp_path / "v.jsonl", lines)
    done = run("build-index", papers, "--vectors", "v.jsonl", "--index", "i", cwd=tmp_path)
    assert "found title-embeddings, abstract-embeddings; say which it is with --vector-field embedding=" in done.stderr
    named = ["--vector-field", "embedding=abstract-embeddings"]
    done = run("build-index", papers, "--vectors", "v.jsonl", *named, "--index", "i", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run("build-index", papers, *named, "--index", "j", cwd=tmp_path)
    assert (done.returncode, "Expected --vectors SPACE beside" in done.stderr) == (2, True)
    done = run("build-index", papers, "--vectors", "i", *named, "--index", "j", cwd=tmp_path)
    assert "expected a file of vectors for --vector-field, found an index" in done.stderr
    done = run("build-index", papers, "--vectors", "v.jsonl", "--dry-run", cwd=tmp_path)
    assert done.returncode == 2
    assert issubclass(SpaceError, ValueError)
    assert not issubclass(SpaceError, EncoderError)
