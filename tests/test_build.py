"""Building: what is committed when, what is gone on with, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
from fake_encoder import FakeEncoder

from embedsearch.ann import AnnKind
from embedsearch.build import BuildOptions, BuildReport, Stage, Step, build_index
from embedsearch.corpus import Selection
from embedsearch.errors import (
    BadVector,
    CorpusError,
    MissingExtra,
    ModelNotFound,
    OptionError,
    RecipeMismatch,
    StoreCorrupt,
    StoreError,
)
from embedsearch.search import Searcher
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.info import store_info
from embedsearch.store.manifest import Manifest, read_manifest
from embedsearch.store.space import Space
from embedsearch.verify import verify_store

SMALL = {"shard_rows": 16}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return corpora.write(tmp_path / "papers.jsonl", corpora.records(50))


def build(
    corpus: Path | None, index: Path, encoder: FakeEncoder | None = None, progress: Any = None, **options: Any
) -> BuildReport:
    return build_index(
        corpus,
        index,
        encoder=encoder or FakeEncoder(),
        options=BuildOptions(**SMALL | options),
        progress=progress or (lambda step: None),
    )


def state(index: Path) -> Manifest:
    return read_manifest(index)


def shard_hashes(index: Path) -> list[str]:
    return [shard.file.sha256 for shard in state(index).serving.shards]


def test_a_store_holds_every_paper_by_row(corpus: Path, tmp_path: Path) -> None:
    report = build(corpus, tmp_path / "i")
    assert (report.n_papers, report.n_embedded, report.already_complete) == (50, 50, False)
    assert list(verify_store(tmp_path / "i")) == []
    space = Space.open(tmp_path / "i")
    texts = [record["abstract"] for record in corpora.records(50)]
    expected = FakeEncoder().encode(texts, role=None)  # type: ignore[arg-type]
    assert list(space.ids) == [record["id"] for record in corpora.records(50)]
    np.testing.assert_allclose(space.vectors, expected, atol=1e-3)
    assert [len(block) for _, block in space.blocks(20)] == [20, 20, 10]


def test_again_does_nothing(corpus: Path, tmp_path: Path) -> None:
    build(corpus, tmp_path / "i")
    before = (tmp_path / "i" / "manifest.json").read_bytes()
    for again in (corpus, None):
        encoder = FakeEncoder()
        report = build(again, tmp_path / "i", encoder)
        assert report.already_complete
        assert not report.read
        assert encoder.n_calls == 0
    corpus.touch()  # another time stamp: it is read, and found to be the same
    assert build(corpus, tmp_path / "i").read
    assert (tmp_path / "i" / "manifest.json").read_bytes() == before
    assert not list((tmp_path / "i").glob("*-2*"))


@pytest.mark.parametrize("fail_at", [0, 15, 16, 40])
def test_it_goes_on_where_it_stopped_and_comes_to_the_same_bytes(corpus: Path, tmp_path: Path, fail_at: int) -> None:
    build(corpus, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="told to fail"):
        build(corpus, tmp_path / "i", FakeEncoder(fail_at=fail_at))
    assert len(state(tmp_path / "i").serving.shards) == fail_at // 16
    encoder = FakeEncoder()
    report = build(None, tmp_path / "i", encoder)
    assert encoder.n_texts == report.n_embedded == 50 - fail_at // 16 * 16
    assert shard_hashes(tmp_path / "i") == shard_hashes(tmp_path / "whole")
    assert list(verify_store(tmp_path / "i")) == []


def test_it_can_be_searched_while_it_is_built(corpus: Path, tmp_path: Path) -> None:
    seen: list[tuple[Stage, int]] = []

    def look(step: Step) -> None:
        if step.stage is Stage.EMBED:
            searcher = Searcher.open(tmp_path / "i", encoder=FakeEncoder())
            seen.append((step.stage, searcher.generation.n_embedded))
            assert searcher.search("star", mode="keyword", k=3).hits
            for hit in searcher.search("star", k=50).hits:
                assert (hit.cosine is not None) == (int(hit.id[5:]) - 10000 < seen[-1][1])
            if seen[-1][1]:
                assert len(searcher.search("star", mode="dense", k=50).hits) == seen[-1][1]
            else:
                with pytest.raises(StoreError, match="found none yet: finish it with embedsearch build-index"):
                    searcher.search("star", mode="dense")

    build(corpus, tmp_path / "i", progress=look)
    assert {n for _, n in seen} >= {0, 16, 32}


def test_another_model_template_or_corpus_is_refused_and_says_what_differs(corpus: Path, tmp_path: Path) -> None:
    build(corpus, tmp_path / "i")
    before = (tmp_path / "i" / "manifest.json").read_bytes()
    with pytest.raises(
        RecipeMismatch, match=r"found weights '.*' against '.*'; replace them with --overwrite, or name"
    ):
        build(corpus, tmp_path / "i", FakeEncoder("other"))
    with pytest.raises(RecipeMismatch, match=r"template '\{abstract\}' against '\{title\}'"):
        build(corpus, tmp_path / "i", template="{title}")
    with pytest.raises(RecipeMismatch, match="transform none against center; "):
        build(corpus, tmp_path / "i", transform="center")
    other = corpora.write(tmp_path / "other.jsonl", corpora.records(5, seed=1))
    with pytest.raises(
        RecipeMismatch, match=r"expected the 50 papers that .*papers.jsonl, found others in .*other.jsonl"
    ):
        build(other, tmp_path / "i")
    with pytest.raises(RecipeMismatch, match="found others"):
        build(None, tmp_path / "i", limit=10)
    assert (tmp_path / "i" / "manifest.json").read_bytes() == before
    build(corpus, tmp_path / "i")
    assert list(verify_store(tmp_path / "i")) == []


def test_overwrite_replaces_when_it_is_complete_and_keeps_the_previous(corpus: Path, tmp_path: Path) -> None:
    index = tmp_path / "i"
    build(corpus, index)
    other = corpora.write(tmp_path / "other.jsonl", corpora.records(40, seed=1))
    with pytest.raises(RuntimeError):
        build(other, index, FakeEncoder("other", fail_at=20), overwrite=True)
    assert (state(index).serving.number, state(index).building.number) == (1, 2)  # type: ignore[union-attr]
    assert len(Searcher.open(index, encoder=FakeEncoder()).search("star", mode="dense", k=99).hits) == 50
    encoder = FakeEncoder("other")
    build(other, index, encoder, overwrite=True)
    assert encoder.n_texts == 24  # it went on
    assert state(index).serving.number == 2
    assert state(index).building is None
    assert state(index).previous.number == 1  # type: ignore[union-attr]
    assert list(verify_store(index)) == []
    assert len(Searcher.open(index, encoder=encoder).search("star", mode="dense", k=99).hits) == 40


def test_overwrite_without_a_corpus_takes_the_papers_that_are_there(corpus: Path, tmp_path: Path) -> None:
    build(corpus, tmp_path / "i")
    build(None, tmp_path / "i", FakeEncoder("other"), overwrite=True)
    assert state(tmp_path / "i").serving.n_papers == 50
    assert state(tmp_path / "i").serving.recipe["weights"] == FakeEncoder("other").recipe.weights


def test_overwrite_mends_a_broken_store(corpus: Path, tmp_path: Path) -> None:
    build(corpus, tmp_path / "i")
    (tmp_path / "i" / state(tmp_path / "i").serving.shards[1].file.name).write_bytes(b"")
    with pytest.raises(StoreCorrupt, match="build again with --overwrite"):
        build(corpus, tmp_path / "i")
    build(corpus, tmp_path / "i", overwrite=True)
    assert len(Searcher.open(tmp_path / "i", encoder=FakeEncoder()).search("star", mode="dense", k=99).hits) == 50


def test_a_store_is_a_corpus(corpus: Path, tmp_path: Path) -> None:
    build(corpus, tmp_path / "a")
    report = build(tmp_path / "a", tmp_path / "b", FakeEncoder("other"), selection=Selection(categories=("gr-qc",)))
    assert report.n_papers == 16
    papers = Catalogue(tmp_path / "b" / state(tmp_path / "b").serving.papers.name).papers(np.array([0]))
    assert papers[0].paper.authors == ("A. Author2", "B. Writer2")


def test_another_kind_of_index_keeps_the_vectors(corpus: Path, tmp_path: Path) -> None:
    build(corpus, tmp_path / "i")
    encoder = FakeEncoder()
    for kind in (AnnKind.IVF, AnnKind.EXACT, AnnKind.FLAT):
        build(None, tmp_path / "i", encoder, ann=kind)
        assert state(tmp_path / "i").serving.ann_kind == kind.value
        assert list(verify_store(tmp_path / "i")) == []
    assert encoder.n_texts == encoder.n_queries  # which the index was measured with; no paper was embedded again


def test_a_repeated_id_an_empty_abstract_and_a_missing_id(tmp_path: Path) -> None:
    made = corpora.records(4)
    made[1]["abstract"] = "  "
    del made[2]["id"]
    made.append(made[0] | {"title": "Later"})
    corpus = corpora.write(tmp_path / "p.jsonl", made)
    report = build(corpus, tmp_path / "i")
    assert (report.n_papers, report.corpus.n_read, report.corpus.n_repeated) == (3, 5, 1)
    assert (report.corpus.n_empty, report.empty_ids) == (1, (made[1]["id"],))
    assert report.corpus.n_content_ids == 1
    assert Searcher.open(tmp_path / "i").paper(made[0]["id"]).title == "Later"
    with pytest.raises(
        CorpusError, match=rf"expected an abstract in each paper, found none in {made[1]['id']} \(record 2"
    ):
        build(corpus, tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict" / "manifest.json").exists()


def test_a_later_record_that_is_not_selected_takes_the_earlier_out(tmp_path: Path) -> None:
    made = corpora.records(3)
    made.append(made[0] | {"categories": "hep-ex"})
    report = build(corpora.write(tmp_path / "p", made), tmp_path / "i", selection=Selection(categories=("astro-ph*",)))
    assert report.n_papers == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"limit": 7}, 7),
        ({"sample": 9}, 9),
        ({"sample": 99}, 50),
        ({"selection": Selection(since="2020-03", until="2020-04-01")}, 8),
        ({"selection": Selection(categories=("*.CO",))}, 17),
    ],
)
def test_which_papers(corpus: Path, tmp_path: Path, options: dict[str, Any], expected: int) -> None:
    assert build(corpus, tmp_path / "i", **options).n_papers == expected
    assert list(verify_store(tmp_path / "i")) == []


def test_nothing_is_left_where_nothing_can_be_read(tmp_path: Path) -> None:
    corpus = tmp_path / "p.jsonl"
    corpus.write_text(json.dumps(corpora.records(1)[0]) + '\n{"id": "2001.10')
    with pytest.raises(CorpusError, match="line 2"):
        build(corpus, tmp_path / "i")
    assert [path.name for path in (tmp_path / "i").iterdir()] in ([".lock"], [])
    with pytest.raises(
        CorpusError, match=r"expected papers with an abstract in .*, found 50 records, of which 50 are not"
    ):
        build(corpora.write(corpus, corpora.records(50)), tmp_path / "i", selection=Selection(categories=("cs.*",)))


def test_a_bad_vector_names_the_paper_and_never_enters(tmp_path: Path) -> None:
    made = corpora.records(40)
    made[21]["abstract"] = "NAN"
    corpus = corpora.write(tmp_path / "p.jsonl", made)
    with pytest.raises(BadVector, match=rf"paper {made[21]['id']}: expected finite vectors"):
        build(corpus, tmp_path / "i")
    assert state(tmp_path / "i").serving.n_embedded == 16


def test_a_transform_is_fitted_once_and_applied_to_queries(corpus: Path, tmp_path: Path) -> None:
    build(corpus, tmp_path / "i", transform="whiten:3", dtype="float32")
    space = Space.open(tmp_path / "i")
    assert space.dim == store_info(tmp_path / "i").dim == 3
    assert space.vectors.shape == (50, 3)
    searcher = Searcher.open(tmp_path / "i", encoder=FakeEncoder())
    text = corpora.records(50)[4]["abstract"]
    best = searcher.search(text, mode="dense", k=1).hits[0]
    assert best.cosine == pytest.approx(1.0, abs=1e-6)
    assert list(verify_store(tmp_path / "i")) == []


def test_the_dtype_that_is_stored(corpus: Path, tmp_path: Path) -> None:
    sizes = []
    for dtype in ("float16", "float32"):
        build(corpus, tmp_path / dtype, dtype=dtype)
        sizes.append(sum(shard.file.size - 128 for shard in state(tmp_path / dtype).serving.shards))
    assert sizes == [50 * 8 * 2, 50 * 8 * 4]


def test_progress_adds_up(corpus: Path, tmp_path: Path) -> None:
    steps: list[Step] = []
    build(corpus, tmp_path / "i", progress=steps.append)
    stages = list(dict.fromkeys(step.stage for step in steps))
    assert stages == [Stage.READ, Stage.KEYWORDS, Stage.EMBED, Stage.ANN]
    last = [step for step in steps if step.stage is Stage.EMBED][-1]
    n_tokens = sum(len(record["abstract"].split()) for record in corpora.records(50))
    assert (last.done, last.total, last.n_tokens, last.n_tokens_expected) == (50, 50, n_tokens, n_tokens)
    assert sum(shard.n_tokens for shard in state(tmp_path / "i").serving.shards) == n_tokens


def test_truncated_texts_are_counted(corpus: Path, tmp_path: Path) -> None:
    expected = sum(len(record["abstract"].split()) > 4 for record in corpora.records(50))
    assert build(corpus, tmp_path / "i", FakeEncoder(max_tokens=4)).n_truncated == expected


def test_too_little_disk_is_said_before_the_work(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 1))  # type: ignore[attr-defined]
    encoder = FakeEncoder()
    with pytest.raises(StoreError, match=r"expected .* MB of free disk for vectors in .*, found 0 MB"):
        build(corpus, tmp_path / "i", encoder)
    assert encoder.n_calls == 0


@pytest.mark.parametrize(
    "options",
    [
        {"limit": 0},
        {"sample": -1},
        {"sample": 2.5},
        {"shard_rows": 0},
        {"dtype": "int8"},
        {"ann": "hnsw"},
        {"template": "x"},
    ],
)
def test_options_that_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="expected"):
        BuildOptions(**options)


def test_a_folder_of_somebody_is_left_alone(tmp_path: Path) -> None:
    theirs = ["papers-2023.jsonl", "ann-notes.txt", "keywords-list/a.txt", "vectors/mine.npy", "transform-x.npz"]
    for name in theirs:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    corpus = corpora.write(tmp_path / "papers-2023.jsonl", corpora.records(5))
    with pytest.raises(
        StoreError, match=r"expected an index or an empty folder at .*, found ann-notes.txt and 3 more;"
    ):
        build(corpus, tmp_path)
    (tmp_path / "i").mkdir()
    build(corpus, tmp_path / "i")
    for name in theirs:
        (tmp_path / "i" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "i" / name).write_text("mine")
    build(corpus, tmp_path / "i", overwrite=True)
    assert all((folder / name).exists() for name in theirs for folder in (tmp_path, tmp_path / "i"))


def test_a_broken_manifest_is_mended_by_overwrite_with_a_corpus(corpus: Path, tmp_path: Path) -> None:
    index = tmp_path / "i"
    build(corpus, index)
    (index / "manifest.json").write_bytes(b"{}")
    for given, overwrite in ((None, True), (corpus, False)):
        with pytest.raises(StoreCorrupt):
            build(given, index, overwrite=overwrite)
    build(corpus, index, overwrite=True)
    assert list(verify_store(index)) == []


@pytest.mark.parametrize("damage", ["no column", "itself"])
def test_a_broken_manifest_loses_nothing_before_a_new_one_is_there(corpus: Path, tmp_path: Path, damage: str) -> None:
    index = tmp_path / "i"
    build(corpus, index)
    whole = (index / "manifest.json").read_bytes()
    (index / "NOTES.txt").write_text("mine")
    (index / "manifest.json").write_bytes(whole[:-9] + b"x" + whole[-8:])
    bad = index if damage == "itself" else corpora.write(tmp_path / "bad", [{"id": "2001.00001"}])
    with pytest.raises((CorpusError, StoreCorrupt)):
        build(bad, index, overwrite=True)
    kept = (index / "manifest.json").read_bytes()
    (index / "manifest.json").write_bytes(whole)
    assert list(verify_store(index)) == []
    (index / "manifest.json").write_bytes(kept)
    build(corpus, index, overwrite=True)
    assert list(verify_store(index)) == []
    assert (index / "NOTES.txt").exists()
    assert not list(index.glob("*-1*"))


def test_a_user_may_name_files_as_we_do(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "papers-2023.sqlite").write_text("mine")
    with pytest.raises(StoreError, match=r"found papers-2023.sqlite; name a folder of its own with --index"):
        build(corpus, tmp_path / "theirs")
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["papers-2023.sqlite"]
    index = tmp_path / "i"
    index.mkdir()
    (index / ".DS_Store").write_text("")
    build(corpus, index)
    (index / "papers-2023.sqlite").write_text("mine")
    (index / "keywords-2024").mkdir()
    for overwrite in (False, True, True):
        build(corpus, index, overwrite=overwrite)
    assert (index / "papers-2023.sqlite").exists()
    assert (index / "keywords-2024").exists()


def test_a_broken_generation_is_not_kept_as_the_previous_one(corpus: Path, tmp_path: Path) -> None:
    index = tmp_path / "i"
    build(corpus, index)
    path = index / "papers-1.sqlite"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    build(corpus, index, overwrite=True)
    assert list(verify_store(index)) == []
    assert state(index).previous is None


def test_a_transform_that_cannot_be_is_found_before_the_work(corpus: Path, tmp_path: Path) -> None:
    for spec, message in (
        ("truncate:9", "at most 8"),
        ("remove-top:8", "at most 7"),
        ("bleach", "expected a transform"),
    ):
        encoder = FakeEncoder()
        with pytest.raises(OptionError, match=message):
            build(corpus, tmp_path / "i", encoder, transform=spec)
        assert encoder.n_calls == 0
    with pytest.raises(OptionError, match="expected more than 5 papers to fit whiten:5 on, found 4"):
        build(corpora.write(tmp_path / "p", corpora.records(4)), tmp_path / "i", transform="whiten:5")
    assert not (tmp_path / "i" / "manifest.json").exists()


def test_vectors_have_their_own_length_until_a_transform_is_fitted(tmp_path: Path) -> None:
    corpus = corpora.write(tmp_path / "p", [record | {"abstract": "gas"} for record in corpora.records(20)])
    with pytest.raises(BadVector):  # the first four numbers are all zero
        build(corpus, tmp_path / "i", transform="truncate:4")
    assert store_info(tmp_path / "i").dim == 8
    assert Searcher.open(tmp_path / "i").search_vector(np.ones(8)).hits


def test_a_transform_that_failed_can_be_changed_without_embedding_again(tmp_path: Path) -> None:
    same = [record | {"abstract": "star"} for record in corpora.records(20)]
    corpus = corpora.write(tmp_path / "p", same)
    with pytest.raises(
        BadVector, match=rf"paper {same[0]['id']}: expected something of its vector to be left after cent"
    ):
        build(corpus, tmp_path / "i", transform="center")
    encoder = FakeEncoder()
    build(corpus, tmp_path / "i", encoder, transform="truncate:4")
    assert encoder.n_calls == 0
    assert state(tmp_path / "i").serving.complete


def test_a_transform_can_be_taken_away(corpus: Path, tmp_path: Path) -> None:
    index = tmp_path / "i"
    build(corpus, index, transform="whiten:03")
    assert state(index).serving.transform == "whiten:3"
    assert build(corpus, index, transform="whiten:03").already_complete
    with pytest.raises(RecipeMismatch, match="transform whiten:3 against none"):
        build(corpus, index, transform="none")
    build(corpus, index, transform="none", overwrite=True)
    assert state(index).serving.transform is None
    assert Space.open(index).dim == 8


def test_a_complete_stores_transform_stays_while_its_index_is_changed(corpus: Path, tmp_path: Path) -> None:
    index = tmp_path / "i"
    build(corpus, index, ann=AnnKind.EXACT)

    def stop(step: Step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(None, index, ann=AnnKind.FLAT, progress=stop)
    with pytest.raises(RecipeMismatch, match="transform none against center"):
        build(None, index, transform="center")
    build(None, index)
    assert state(index).serving.ann_kind == "flat"


def test_overwrite_without_a_corpus_means_the_papers_given_last(corpus: Path, tmp_path: Path) -> None:
    index = tmp_path / "i"
    build(corpus, index)
    other = corpora.write(tmp_path / "other.jsonl", corpora.records(40, seed=1))
    with pytest.raises(RuntimeError):
        build(other, index, FakeEncoder(fail_at=20), overwrite=True)
    build(None, index, overwrite=True, dtype="float32")
    assert state(index).serving.n_papers == 40
    assert build(other, index).already_complete  # known to be of that file


def test_an_encoder_of_ones_own_is_said_to_be_that(corpus: Path, tmp_path: Path) -> None:
    build(corpus, tmp_path / "i")
    assert Space.open(tmp_path / "i").model_name == "given in Python"
    with pytest.raises(ModelNotFound, match="expected the encoder object that made the vectors"):
        Searcher.open(tmp_path / "i").search("star")


def test_without_faiss_a_kind_that_needs_it_is_refused(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedsearch.ann.protocol.faiss_package", lambda: None)
    with pytest.raises(MissingExtra, match=r"expected FAISS for an index of kind flat, found none: pip install"):
        build(corpus, tmp_path / "i", ann=AnnKind.FLAT)
    build(corpus, tmp_path / "i")
    assert state(tmp_path / "i").serving.ann is None


def test_a_column_name_means_nothing_for_an_index(corpus: Path, tmp_path: Path) -> None:
    build(corpus, tmp_path / "a")
    with pytest.raises(OptionError, match="expected a file with columns for --field, found an index"):
        build(tmp_path / "a", tmp_path / "b", fields={"abstract": "foo"})


def test_leftovers_are_removed_and_strangers_are_not(corpus: Path, tmp_path: Path) -> None:
    index = tmp_path / "i"
    build(corpus, index)
    (index / ".new-papers-2.sqlite").write_text("half")
    (index / "papers-2.sqlite").write_text("unnamed")
    (index / "vectors" / "000009-0123456789abcdef.npy").write_text("unnamed")
    (index / "keywords-2").mkdir()
    (index / "my notes.txt").write_text("mine")
    named = {path.name for path in index.rglob("*")} - {
        ".new-papers-2.sqlite", "papers-2.sqlite", "000009-0123456789abcdef.npy", "keywords-2",
    }  # fmt: skip
    build(corpus, index)
    assert {path.name for path in index.rglob("*")} == named
