"""Stores that change: what is served afterwards is what a fresh build of the same papers would be."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import corpora
import msgspec
import numpy as np
import pytest
from fake_encoder import FakeEncoder
from test_parts import Here, in_parts

from embedsearch.ann import AnnKind
from embedsearch.build import BuildOptions, build_index
from embedsearch.corpus import Selection
from embedsearch.errors import (
    ModelNotFound,
    OptionError,
    PaperNotFound,
    RecipeMismatch,
    StoreCorrupt,
    StoreError,
    StoreNotFound,
    StoreTooNew,
)
from embedsearch.search import Searcher
from embedsearch.store import manifest as manifests
from embedsearch.store import writer
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.filters import Filters
from embedsearch.store.history import history
from embedsearch.store.manifest import read_manifest
from embedsearch.store.space import Space
from embedsearch.update import UpdateReport, add, compact, remove, rollback
from embedsearch.verify import verify_store

N = 60
OLD = corpora.records(N)
QUERIES = ["star", "plasma dust", "filler", "Paper 17 or star"]


def build(folder: Path, made: list[dict[str, Any]], **options: Any) -> Path:
    corpus = corpora.write(folder.with_name(f"{folder.name}.jsonl"), made)
    build_index(corpus, folder, encoder=FakeEncoder(), options=BuildOptions(**{"shard_rows": 16, **options}))
    return folder


def put(folder: Path, made: list[dict[str, Any]], **options: Any) -> UpdateReport:
    corpus = corpora.write(folder.with_name("added.jsonl"), made)
    return add(corpus, folder, encoder=FakeEncoder(), options=BuildOptions(**options))


def added() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What is added to OLD, and all that is there afterwards."""
    new = corpora.records(N + 25)[N:]
    changed = [{**OLD[i], "abstract": f"{OLD[i]['abstract']} wave gas"} for i in (3, 17, 40)]
    renewed = [{**OLD[5], "journal-ref": "ApJ 1"}, {**OLD[6], "title": "A comet in Orion"}]
    gone = [{"id": OLD[i]["id"], "deleted": True, "update_date": "2026-11-01"} for i in (0, 59)]
    by_id = {each["id"]: each for each in [*OLD, *changed, *renewed, *new]}
    for each in gone:
        del by_id[each["id"]]
    return [*new, *changed, *renewed, *gone, OLD[9]], list(by_id.values())


def hits(searcher: Searcher, query: str, **options: Any) -> list[tuple[str, float]]:
    return [(hit.id, hit.score) for hit in searcher.search(query, k=200, **options).hits]


def assert_same(one: Path, other: Path, *, by_words: bool) -> None:
    """Both stores answer alike; BM25 counts the dead until they are compacted, so scores by words may differ."""
    first, second = (Searcher.open(each, encoder=FakeEncoder()) for each in (one, other))
    filters = [None, Filters(categories=("gr-qc",)), Filters(authors=("Author3",))]
    for query in QUERIES:
        for chosen in filters:
            assert hits(first, query, mode="dense", filters=chosen) == hits(second, query, mode="dense", filters=chosen)
            words = [hits(each, query, mode="keyword", filters=chosen) for each in (first, second)]
            assert {id for id, _ in words[0]} == {id for id, _ in words[1]}
            if by_words:
                assert words[0] == words[1]
                assert hits(first, query, filters=chosen) == hits(second, query, filters=chosen)
    spaces = [Space.open(each) for each in (one, other)]
    vectors = [dict(zip(space.ids, space.vectors.tolist(), strict=True)) for space in spaces]
    assert vectors[0] == vectors[1]


@pytest.mark.parametrize("kind", list(AnnKind), ids=lambda kind: kind.value)
def test_an_updated_store_is_that_of_a_fresh_build(tmp_path: Path, kind: AnnKind) -> None:
    index = build(tmp_path / "i", OLD, ann=kind)
    given, after = added()
    report = put(index, given)
    assert (len(report.new), report.n_unchanged, report.n_papers) == (25, 1, len(after))
    assert set(report.changed) == {OLD[i]["id"] for i in (3, 17, 40)}
    assert set(report.renewed) == {OLD[i]["id"] for i in (5, 6)}
    assert set(report.removed) == {OLD[i]["id"] for i in (0, 59)}
    assert list(verify_store(index)) == []
    fresh = build(tmp_path / "fresh", after, ann=AnnKind.EXACT)
    assert_same(index, fresh, by_words=False)
    assert compact(index, encoder=FakeEncoder()).n_dead_rows == 5
    assert list(verify_store(index)) == []
    assert_same(index, fresh, by_words=True)
    generation = read_manifest(index).serving
    assert [shard.n_rows for shard in generation.shards] == [16] * 5 + [3]
    assert generation.starts == [0]


def test_papers_that_only_come_have_the_same_scores_by_words_at_once(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD)
    put(index, corpora.records(N + 25)[N:])
    assert_same(index, build(tmp_path / "fresh", corpora.records(N + 25)), by_words=True)


def test_words_of_renewed_papers_are_compacted(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD)
    renewed = [{**each, "title": "A comet in Orion", "journal-ref": "ApJ 1"} for each in OLD[:40]]
    assert len(put(index, renewed).renewed) == 40
    assert read_manifest(index).serving.n_dead == 0
    assert not compact(index).is_nothing
    assert_same(index, build(tmp_path / "fresh", [*renewed, *OLD[40:]]), by_words=True)
    assert compact(index).is_nothing


def test_only_what_is_new_is_embedded(tmp_path: Path) -> None:
    index, encoder = build(tmp_path / "i", OLD), FakeEncoder()
    add(corpora.write(tmp_path / "more.jsonl", added()[0]), index, encoder=encoder)
    assert encoder.n_texts == 25 + 3
    encoder = FakeEncoder()
    assert add(tmp_path / "more.jsonl", index, encoder=encoder).is_nothing
    renewed = [{**OLD[9], "doi": "10.1/x"}]
    assert add(corpora.write(tmp_path / "c.jsonl", renewed), index, encoder=encoder).renewed == (OLD[9]["id"],)
    assert encoder.n_texts == 0
    assert Searcher.open(index, encoder=encoder).paper(OLD[9]["id"]).doi == "10.1/x"


def test_what_was_there_is_not_written_again(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD)
    before = read_manifest(index).serving
    put(index, corpora.records(N + 25)[N:])
    after = read_manifest(index).serving
    assert after.shards[: len(before.shards)] == before.shards
    assert len(after.shards) == len(before.shards) + 2  # of 16 rows and of 9, behind one of 12
    linked = [entry for entry in before.keywords if not entry.name.endswith(".json")]
    for entry in linked:
        again = index / f"keywords-{after.number}" / Path(entry.name).name
        assert again.samefile(index / entry.name)
    assert rollback(index).number == before.number
    assert read_manifest(index).serving == before


def test_the_last_record_of_a_paper_stands(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD)
    (new, short_lived), id = corpora.records(N + 2)[N:], OLD[7]["id"]
    report = put(
        index,
        [
            new, {**new, "abstract": "star star"},  # new, and again
            short_lived, {"id": short_lived["id"], "deleted": True},
            {**OLD[7], "abstract": "dust dust"}, {"id": id, "deleted": True}, {**OLD[7], "abstract": "wave"},
            {**OLD[8], "abstract": "dust dust"}, {"id": OLD[8]["id"], "deleted": True},
            {**OLD[9], "title": "Other"}, {"id": OLD[9]["id"], "deleted": True},
            {"id": "2301.99999", "deleted": True},
        ],
    )  # fmt: skip
    assert report.new == (new["id"],)
    assert report.changed == (id,)
    assert set(report.removed) == {OLD[8]["id"], OLD[9]["id"]}
    assert report.n_unknown == 1
    assert list(verify_store(index)) == []
    by_id = {each["id"]: each for each in OLD} | {new["id"]: {**new, "abstract": "star star"}}
    by_id[id] = {**OLD[7], "abstract": "wave"}
    del by_id[OLD[8]["id"]], by_id[OLD[9]["id"]]
    assert_same(index, build(tmp_path / "fresh", list(by_id.values())), by_words=False)


def test_a_removed_paper_is_nowhere(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD)
    report = remove([OLD[3]["id"] + "v2", f"https://arxiv.org/abs/{OLD[4]['id']}", "0704.0001"], index)
    assert (report.removed, report.n_unknown) == ((OLD[3]["id"], OLD[4]["id"]), 1)
    searcher = Searcher.open(index, encoder=FakeEncoder())
    found = {
        id for query in QUERIES for mode in ("dense", "keyword", "hybrid") for id, _ in hits(searcher, query, mode=mode)
    }
    assert found == {each["id"] for each in OLD} - {OLD[3]["id"], OLD[4]["id"]}
    with pytest.raises(PaperNotFound):
        searcher.similar_to(OLD[3]["id"])
    assert len(Space.open(index)) == N - 2
    assert remove([OLD[3]["id"]], index).is_nothing


def test_parts_know_nothing_of_the_dead(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD)
    put(index, added()[0])
    whole = Searcher.open(index, encoder=FakeEncoder())
    parted = in_parts(index, Here(index, 3))
    for query in QUERIES:
        assert parted.search(query, k=30).hits == whole.search(query, k=30).hits


def test_a_transform_stays_as_it_was_fitted(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD, transform="center")
    fitted = read_manifest(index).serving.transform_file
    put(index, corpora.records(N + 25)[N:])
    remove([OLD[0]["id"]], index)
    compact(index)
    generation = read_manifest(index).serving
    assert (generation.transform_file, generation.n_fitted, generation.n_papers) == (fitted, N, N + 24)


def test_an_ivf_is_made_anew_when_it_has_grown_much(tmp_path: Path) -> None:
    index = build(tmp_path / "i", corpora.records(100), ann=AnnKind.IVF)
    put(index, corpora.records(140)[100:])
    ann = read_manifest(index).serving.ann
    assert ann is not None
    assert ann.parameters["n_fitted"] == 100
    put(index, corpora.records(160)[140:])
    ann = read_manifest(index).serving.ann
    assert ann is not None
    assert "n_fitted" not in ann.parameters


def test_a_transform_needs_no_papers_to_stay_as_it_is(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD[:12], transform="whiten:4")
    remove([each["id"] for each in OLD[:10]], index)
    assert put(index, [OLD[12]]).n_papers == 3  # fewer than it could be fitted on


def test_an_addition_takes_no_transform(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD)
    more = corpora.write(tmp_path / "more.jsonl", added()[0])
    with pytest.raises(_StopError):
        add(more, index, encoder=FakeEncoder(fail_at=20, failure=_StopError()))
    with pytest.raises(RecipeMismatch, match="transform none against center"):
        build_index(None, index, encoder=FakeEncoder(), options=BuildOptions(transform="center"))
    add(more, index, encoder=FakeEncoder())
    assert read_manifest(index).serving.transform is None


def test_history_of_before_there_was_one_is_kept(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD)
    manifests.commit(index, msgspec.structs.replace(read_manifest(index), history=[], made_by="embedsearch 0.0.9"))
    build_index(None, index, encoder=FakeEncoder(), options=BuildOptions(ann=AnnKind.EXACT))
    for each in OLD[:3]:
        remove([each["id"]], index)
    told = [(event.number, event.what, event.by) for event in history(index)]
    now = writer.MADE_BY
    assert told == [(1, "build", "embedsearch 0.0.9"), *((number, "remove", now) for number in (2, 3, 4))]


@pytest.mark.parametrize("damaged", ["papers-1.sqlite", "ann-1-flat.faiss", "vectors/*.npy", "keywords-1/*.term"])
def test_damage_is_not_copied(tmp_path: Path, damaged: str) -> None:
    index = build(tmp_path / "i", OLD, ann=AnnKind.FLAT)
    remove([OLD[0]["id"]], index)
    for path in {*index.glob(damaged), *index.glob(damaged.replace("-1", "-2"))}:
        data = bytearray(path.read_bytes())
        path.unlink()  # which may have another name
        data[len(data) // 2] ^= 255
        path.write_bytes(data)
    assert list(verify_store(index))
    changes = [lambda: compact(index)] if "vectors" in damaged else [lambda: put(index, added()[0])]
    if damaged.startswith("papers"):
        changes += [lambda: remove([OLD[1]["id"]], index), lambda: compact(index)]
    for change in changes:
        with pytest.raises(StoreCorrupt, match="as it was written, found other bytes"):
            change()
    assert read_manifest(index).serving.number == 2


def test_history_says_what_was_done(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD)
    put(index, added()[0])
    remove([OLD[1]["id"]], index)
    rollback(index)
    told = [(event.what, event.number, event.n_papers, event.n_new, event.n_removed) for event in history(index)]
    n = len(added()[1])
    assert told == [("build", 1, N, N, 0), ("add", 2, n, 25, 2), ("remove", 3, n - 1, 0, 1), ("rollback", 2, n, 0, 0)]
    with pytest.raises(StoreError, match=r"expected a previous generation in .*, found none"):
        rollback(index)
    remove([OLD[1]["id"]], index)  # the number of what was rolled back is not used again
    assert read_manifest(index).serving.number == 4


def test_an_older_version_says_that_it_cannot_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = build(tmp_path / "i", OLD)
    assert read_manifest(index).features == []
    put(index, [{**OLD[5], "title": "Other"}])  # no row is new or dead, but the catalogue has two files
    assert read_manifest(index).features == ["updates"]
    put(index, added()[0])
    monkeypatch.setattr(manifests, "FEATURES", frozenset())
    with pytest.raises(StoreTooNew, match="found the features updates: update embedsearch"):
        read_manifest(index)


class _StopError(BaseException):
    """A process that ends."""


def test_an_addition_that_stops_is_finished_by_the_next(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD)
    given, after = added()
    more = corpora.write(tmp_path / "more.jsonl", given)
    stopping = FakeEncoder(fail_at=20, failure=_StopError())
    with pytest.raises(_StopError):
        add(more, index, encoder=stopping)
    assert len(Searcher.open(index, encoder=FakeEncoder()).search("star", k=200, mode="dense").hits) == N  # as before
    for change in (lambda: remove([OLD[1]["id"]], index), lambda: compact(index)):
        with pytest.raises(StoreError, match=r"expected an index that is finished .* embedsearch rollback"):
            change()
    other = shutil.copytree(index, tmp_path / "other")
    report = add(more, index, encoder=FakeEncoder())
    assert (len(report.new), len(report.changed), len(report.removed)) == (25, 3, 2)
    fresh = build(tmp_path / "fresh", after)
    assert_same(index, fresh, by_words=False)
    build_index(None, other, encoder=FakeEncoder())  # finishes it as well
    assert_same(other, fresh, by_words=False)
    assert [event.what for event in history(other)] == ["build", "add"]


def test_what_was_begun_can_be_given_up(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD)
    with pytest.raises(_StopError):
        add(
            corpora.write(tmp_path / "more.jsonl", added()[0]), index,
            encoder=FakeEncoder(fail_at=20, failure=_StopError()),
        )  # fmt: skip
    building = read_manifest(index).building
    assert building is not None
    (index / building.papers.name).unlink()
    with pytest.raises(StoreCorrupt, match="found no such file; give up what is being built: embedsearch rollback"):
        put(index, OLD)
    assert rollback(index).number == 1
    assert read_manifest(index).pending is None
    assert remove([OLD[1]["id"]], index).n_papers == N - 1
    assert list(verify_store(index)) == []


def test_what_cannot_be_added(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD)
    more = corpora.write(tmp_path / "more.jsonl", added()[0])
    with pytest.raises(RecipeMismatch, match=r"expected the model of .*, found weights"):
        add(more, index, encoder=FakeEncoder("other"))
    with pytest.raises(RecipeMismatch, match=r"expected texts of the template '\{abstract\}'"):
        add(more, index, encoder=FakeEncoder(), options=BuildOptions(template="{title} {abstract}"))
    with pytest.raises(OptionError, match="those are for build-index"):
        add(more, index, encoder=FakeEncoder(), options=BuildOptions(sample=3))
    with pytest.raises(StoreNotFound):
        add(more, tmp_path / "none", encoder=FakeEncoder())
    assert not (tmp_path / "none").exists()
    with pytest.raises(StoreError, match="expected papers to be left"):
        remove([each["id"] for each in OLD], index)
    assert read_manifest(index).serving.number == 1
    with pytest.raises(RecipeMismatch, match="put them beside with `embedsearch add`"):
        build_index(more, index, encoder=FakeEncoder())


def test_vectors_of_an_unknown_model_cannot_be_added_to(tmp_path: Path) -> None:
    corpus = corpora.write(tmp_path / "a.jsonl", OLD)
    vectors = np.random.default_rng(0).normal(size=(N, 4))
    build_index(corpus, tmp_path / "i", vectors=Space.of([each["id"] for each in OLD], vectors))
    with pytest.raises(ModelNotFound, match=r"expected .* to know what made its vectors"):
        add(corpus, tmp_path / "i")


def test_what_was_added_to_given_vectors_stays_when_they_are_built_again(tmp_path: Path) -> None:
    given, corpus = build(tmp_path / "given", OLD), corpora.write(tmp_path / "a.jsonl", OLD)
    build_index(corpus, tmp_path / "i", vectors=given)
    put(tmp_path / "i", corpora.records(N + 25)[N:])
    remove([OLD[0]["id"]], tmp_path / "i")
    build_index(None, tmp_path / "i", encoder=FakeEncoder(), options=BuildOptions(overwrite=True))
    assert read_manifest(tmp_path / "i").serving.n_papers == N + 24
    rollback(tmp_path / "i")
    known = read_manifest(tmp_path / "i").serving
    assert (known.vectors, known.has_encoder) == (None, True)  # no build takes those of the first alone


def test_papers_are_chosen_as_for_a_build(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD)
    new = corpora.records(N + 25)[N:]
    new[1]["abstract"] = " "
    report = put(index, new, selection=Selection(categories=("gr-qc",)))
    chosen = [each for each in new if each["categories"] == "gr-qc" and each["abstract"].strip()]
    assert report.new == tuple(each["id"] for each in chosen)
    assert report.n_left_out + report.n_empty + len(chosen) == 25


def test_a_build_of_the_papers_that_are_there_finds_nothing_to_do(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD)
    remove([OLD[3]["id"]], index)
    all_papers = corpora.records(N + 2)
    put(index, all_papers[N:])
    del all_papers[3]
    corpus = corpora.write(tmp_path / "all.jsonl", all_papers)
    assert build_index(corpus, index, encoder=FakeEncoder()).already_complete
    with pytest.raises(RecipeMismatch, match="found others in"):
        build_index(corpora.write(tmp_path / "fewer.jsonl", all_papers[:-1]), index, encoder=FakeEncoder())
    assert list(verify_store(index)) == []


def test_another_store_is_a_corpus(tmp_path: Path) -> None:
    index, other = build(tmp_path / "i", OLD), build(tmp_path / "o", corpora.records(N + 25))
    remove([corpora.records(N + 25)[N]["id"]], other)
    assert len(add(other, index, encoder=FakeEncoder()).new) == 24


def test_a_deleted_record_leaves_a_build_without_its_paper(tmp_path: Path) -> None:
    index = build(tmp_path / "i", [*OLD, {"id": OLD[0]["id"], "deleted": True}])
    assert read_manifest(index).serving.n_papers == N - 1


def test_only_what_changed_is_written_of_a_catalogue(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD)
    remove([OLD[-1]["id"], OLD[4]["id"]], index)
    put(index, [{**OLD[5], "title": "Other"}])
    generation = read_manifest(index).serving
    assert generation.papers_base is not None
    assert generation.papers_base.name == "papers-1.sqlite"
    catalogue = Catalogue(index / generation.papers.name)
    assert (len(catalogue), catalogue.n_rows, len(catalogue.rows())) == (N - 2, N, N - 2)
    with sqlite3.connect(index / generation.papers.name) as db:
        assert [id for (id,) in db.execute("SELECT id FROM papers")] == [OLD[5]["id"]]
        assert db.execute("SELECT count(*) FROM gone").fetchone() == (3,)
    compact(index)
    assert read_manifest(index).serving.papers_base is None


def test_a_base_that_was_changed_is_found_out(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD)
    remove([OLD[-1]["id"]], index)
    with sqlite3.connect(index / "papers-1.sqlite") as db:
        db.execute("UPDATE texts SET checksum = zeroblob(32) WHERE row = 3")
    db.close()
    assert any("papers-1.sqlite" in line for line in verify_store(index))
    assert Catalogue(index / "papers-2.sqlite").checksum() != read_manifest(index).serving.corpus.checksum
    (index / "papers-1.sqlite").write_bytes(b"x" * (index / "papers-1.sqlite").stat().st_size)
    with pytest.raises(StoreCorrupt, match="file is not a database"):
        remove([OLD[2]["id"]], index)
    (index / "papers-1.sqlite").unlink()
    with pytest.raises(StoreError, match=r"expected .*papers-1.sqlite, found no such file"):
        Searcher.open(index, encoder=FakeEncoder())


def test_a_broken_generation_is_no_way_back(tmp_path: Path) -> None:
    index = build(tmp_path / "i", OLD)
    remove([OLD[1]["id"]], index)
    (index / "keywords-1" / "meta.json").write_bytes(b"")
    with pytest.raises(StoreError, match=r"expected generation 1 of .* to be whole"):
        rollback(index)
    assert read_manifest(index).serving.number == 2
    assert json.loads((index / "manifest.json").read_text())["features"] == ["updates"]
