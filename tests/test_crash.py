"""Builds that are killed come to the same store; benchmarks/crash.py does the same a hundred times."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from crashing import Build, Case, Kill, Snapshot, leftovers, prove, run, write_corpus

N_PAPERS, SHARD_ROWS = 130, 16
N_SHARDS = 9
LAST_COMMIT = N_SHARDS + 3
"""A build commits when all is read, after each shard, after the transform and after the ann."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undisturbed:
    """A build that nobody killed: how it was called, what came out, how long it took."""

    build: Build
    whole: Snapshot
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    corpus = write_corpus(folder / "papers.jsonl", N_PAPERS)
    build = Build(corpus=str(corpus), index=str(folder / "whole"), shard_rows=SHARD_ROWS)
    seconds = run(replace(build, slow=True)).seconds
    return Undisturbed(build=build, whole=Snapshot.of(build), seconds=seconds)


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(
            (Kill("paper", 70), Kill("document", 40), Kill("renamed", 1, "keywords"), Kill("clean-up of a folder", 2)),
            id="while nothing is committed",
        ),
        pytest.param(
            (Kill("renamed", 1, "manifest"), Kill("renamed", 2, "vectors"), Kill("half written", 1, "manifest")),
            id="among the first commits",
        ),
        pytest.param(
            (Kill("written", 3, "vectors"), Kill("update", 2), Kill("half written by faiss", 1, "ann")),
            id="shards and the ann",
        ),
    ],
)
def test_a_build_that_is_killed_comes_to_the_same(
    undisturbed: Undisturbed, tmp_path: Path, kills: tuple[Kill, ...]
) -> None:
    case = Case(build=replace(undisturbed.build, index=str(tmp_path / "i")), kills=kills, expected=undisturbed.whole)
    verdict = prove(case)
    assert verdict.problems == []
    assert len(verdict.stages) == len(kills)


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_at_any_time(undisturbed: Undisturbed, tmp_path: Path, share: float) -> None:
    kills = (Kill(after=share * undisturbed.seconds),)
    case = Case(build=replace(undisturbed.build, index=str(tmp_path / "i")), kills=kills, expected=undisturbed.whole)
    assert prove(case).problems == []


def test_what_is_replaced_answers_until_then(undisturbed: Undisturbed, tmp_path: Path) -> None:
    index = tmp_path / "i"
    shutil.copytree(undisturbed.build.index, index)
    build = replace(undisturbed.build, index=str(index), overwrite=True)
    # The shards of both generations have the same names. The second kill: two commits of the first build are there.
    kills = (Kill("renamed", 2, "vectors"), Kill("synced", LAST_COMMIT - 2, "manifest"))
    verdict = prove(Case(build=build, kills=kills, expected=undisturbed.whole, before=undisturbed.whole))
    assert verdict.problems == []
    assert len(verdict.stages) == len(kills)


def test_a_difference_is_seen(undisturbed: Undisturbed, tmp_path: Path) -> None:
    build = replace(undisturbed.build, index=str(tmp_path / "i"))
    expected = replace(undisturbed.whole, vectors=undisturbed.whole.vectors[::-1], files={})
    kills = (Kill("update", 4),)
    assert prove(Case(build=build, kills=kills, expected=expected)).problems == [
        "killed (update): shards differ from those of the undisturbed build",
        "resumed: vectors differ",
        "resumed: files differ",
        "resumed: vectors differ after one more build",
    ]
    (tmp_path / "i" / ".new-manifest.json").touch()
    assert leftovers(tmp_path / "i") == [".new-manifest.json"]
