"""embedsearch embed: vectors alone, in a folder or a file, resumable."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import corpora
import numpy as np
import pytest
from fake_encoder import FakeEncoder
from running import Done, run

from embedsearch import build
from embedsearch.build import BuildOptions
from embedsearch.errors import StoreError
from embedsearch.store import vector_writer
from embedsearch.store.manifest import read_manifest
from embedsearch.store.space import Space

RECORDS = corpora.records(50)


class Named(FakeEncoder):
    """A fake encoder as `open_encoder` gives one."""

    @property
    def spec(self) -> build.ModelSpec:
        return build.ModelSpec(name="fake")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    corpora.write(tmp_path / "p.jsonl", RECORDS)
    return tmp_path


def embed(home: Path, *arguments: str, encoder: FakeEncoder | None = None) -> Done:
    """Run the command with shards of 16 papers and a fake encoder."""
    encoder = encoder or Named()
    small = mock.patch.object(build, "BuildOptions", lambda **options: BuildOptions(shard_rows=16, **options))
    with small, mock.patch.object(build, "open_encoder", return_value=encoder):
        return run("embed", "p.jsonl", *arguments, cwd=home)


def test_a_folder_is_an_index_without_faiss(home: Path) -> None:
    done = embed(home, "--out", "s")
    assert done.returncode == 0, done.stderr
    assert "s: 50 papers, 50 embedded now." in done.stderr
    generation = read_manifest(home / "s").serving
    assert (generation.complete, generation.ann, generation.ann_kind) == (True, None, "exact")
    assert "s is complete" in embed(home, "--out", "s").stderr


@pytest.mark.parametrize("name", ["s.npz", "s.npy", "s.parquet", "s.jsonl", "sub/s.npz"])
def test_a_file_holds_what_the_index_would(home: Path, name: str) -> None:
    done = embed(home, "--out", name, "--transform", "center")
    assert done.returncode == 0, done.stderr
    assert f"{name}: 50 vectors of 8 numbers by fake (center)." in done.stderr
    embed(home, "--out", "index", "--transform", "center", "--dtype-stored", "float32")
    file, index = Space.open(home / name), Space.open(home / "index")
    assert (file.label, list(file.ids), dict(file.recipe)) == (index.label, list(index.ids), dict(index.recipe))
    np.testing.assert_allclose(file.vectors, index.vectors, atol=1e-6)
    assert not list(home.rglob("*.building"))


@pytest.mark.parametrize("fail_at", [0, 20, 49])
def test_it_goes_on_where_it_stopped(home: Path, fail_at: int) -> None:
    embed(home, "--out", "whole.npz")
    failing = Named(fail_at=fail_at, failure=StoreError("told to fail"))
    assert "Error: told to fail" in embed(home, "--out", "s.npz", encoder=failing).stderr
    assert not (home / "s.npz").exists()
    encoder = Named()
    assert embed(home, "--out", "s.npz", encoder=encoder).returncode == 0
    assert encoder.n_texts == 50 - fail_at // 16 * 16
    assert (Space.open(home / "s.npz").vectors == Space.open(home / "whole.npz").vectors).all()


def test_stopped_while_the_file_is_written(home: Path) -> None:
    with mock.patch.object(vector_writer, "_array", side_effect=StoreError("the disk is full")):
        assert "the disk is full" in embed(home, "--out", "s.npz").stderr
    assert sorted(path.name for path in home.iterdir()) == [".s.npz.building", "p.jsonl"]
    encoder = Named()
    assert embed(home, "--out", "s.npz", encoder=encoder).returncode == 0
    assert encoder.n_texts == 0
    assert len(Space.open(home / "s.npz")) == 50


def test_stopped_between_the_file_and_the_removal(home: Path) -> None:
    with mock.patch("embedsearch.store.atomic.remove", side_effect=_not_the_index):
        embed(home, "--out", "s.npz")
    assert (home / ".s.npz.building").exists()
    assert "s.npz is complete" in embed(home, "--out", "s.npz").stderr
    assert not (home / ".s.npz.building").exists()


def _not_the_index(path: Path) -> None:
    if path.name.endswith(".building"):
        raise StoreError("killed")


def test_what_is_there_is_replaced_only_when_asked(home: Path) -> None:
    embed(home, "--out", "s.npz")
    before = (home / "s.npz").read_bytes()
    done = embed(home, "--out", "s.npz", encoder=Named("other"))
    assert "Error: expected no file at s.npz yet, found one: replace it with --overwrite" in done.stderr
    assert (home / "s.npz").read_bytes() == before
    failing = Named("third", fail_at=20, failure=StoreError("told to fail"))
    assert embed(home, "--out", "s.npz", "--overwrite", encoder=failing).returncode == 1
    assert (home / "s.npz").read_bytes() == before
    done = embed(home, "--out", "s.npz", "--overwrite", encoder=Named("other"))  # another one was begun there
    assert done.returncode == 0, done.stderr
    assert Space.open(home / "s.npz").recipe["weights"] == Named("other").recipe.weights


def test_messages_name_the_option_that_there_is(home: Path) -> None:
    (home / "mine").mkdir()
    (home / "mine" / "notes").touch()
    assert "found notes; name a folder of its own with --out" in embed(home, "--out", "mine").stderr
    assert embed(home, "--out", "s").returncode == 0
    assert "name another --out" in embed(home, "--out", "s", encoder=Named("other")).stderr


@pytest.mark.parametrize("name", ["s.csv", "s.jsonl.gz", "s.txt"])
def test_a_file_that_is_not_written(home: Path, name: str) -> None:
    done = embed(home, "--out", name)
    assert done.returncode == 1
    assert "Error: expected a file to write (.npz, .npy, .parquet, .jsonl), found" in done.stderr
    assert sorted(path.name for path in home.iterdir()) == ["p.jsonl"]


def test_half_precision_and_a_subset(home: Path) -> None:
    done = embed(home, "--out", "s.npz", "--dtype-stored", "float16", "--sample", "20", "--seed", "3")
    assert done.returncode == 0, done.stderr
    with np.load(home / "s.npz") as arrays:
        assert (arrays["vectors"].dtype, arrays["vectors"].shape) == (np.float16, (20, 8))
