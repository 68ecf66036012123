"""Near-duplicates of the right paper, which count as it where an evaluation is told so."""

from __future__ import annotations

import json
from pathlib import Path

import corpora
import numpy as np
import pytest
from fake_encoder import FakeEncoder
from running import run

from embedsearch.build import BuildOptions, build_index
from embedsearch.corpus import sample_key
from embedsearch.errors import OptionError
from embedsearch.evaluate import Entry, Evaluation, Papers, Scored, Task, evaluate, make_sets
from embedsearch.evaluate.alike import find_alike
from embedsearch.evaluate.entries import SEED
from embedsearch.evaluate.sizes import Ranked
from embedsearch.search import Mode

TEXTS = {
    "2001.00001": ("star gas", "star star gas"),
    "2001.00002": ("gas and stars", "star gas star"),  # the same counts of words as the first
    "2001.00003": ("planet", "planet dust"),
    "2001.00004": ("PLANET", "wave wave wave planet"),  # the same title as the third
    "2001.00005": ("plasma", "plasma"),
    "2001.00006": ("galaxy", "galaxy galaxy galaxy dust"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alike")
    records = [{"id": id, "title": title, "abstract": abstract} for id, (title, abstract) in TEXTS.items()]
    build_index(corpora.write(folder / "papers.jsonl", records), folder / "i", encoder=FakeEncoder())
    return folder


def evaluated(folder: Path, near_duplicates: float | None) -> Evaluation:
    entry = Entry.open(folder / "i", name="fake", encoder=FakeEncoder())
    papers, _ = Papers.common([entry])
    sets, _ = make_sets(papers, [Task.TITLE])
    return evaluate([entry], papers, sets, near_duplicates=near_duplicates)


def ranks(found: Evaluation, mode: str) -> dict[str, int]:
    """By the query's paper: titles are asked in the order of the hashes of their papers' ids."""
    figures = found.figure("fake", "title", mode)
    assert figures is not None
    order = sorted(TEXTS, key=lambda id: sample_key(id, SEED))
    return dict(zip(order, figures.ranks.tolist(), strict=True))


def test_what_is_found_in_the_place_of_the_right_paper_counts_as_it(folder: Path) -> None:
    bare, found = evaluated(folder, None), evaluated(folder, 0.95)
    assert (bare.alike, bare.alike_changes) == (None, ())
    # "star gas" is equally near to both of its papers, and known items stand behind what they tie with.
    assert ranks(bare, "dense")["2001.00001"] == 2
    # "PLANET" is nearer to the third paper, which has its title.
    assert ranks(bare, "dense")["2001.00004"] == 2
    assert ranks(found, "dense") == ranks(bare, "dense") | {
        "2001.00001": 1, "2001.00002": 1, "2001.00003": 1, "2001.00004": 1,
    }  # fmt: skip
    assert found.alike is not None
    assert found.alike.others == {0: (1,), 1: (0,), 2: (3,), 3: (2,)}
    assert (found.alike.entry, found.alike.min_cosine, found.alike.is_centered) == ("fake", 0.95, False)
    change = next(each for each in found.alike_changes if each.mode == "dense")
    n_changed = sum(ranks(bare, "dense")[id] != ranks(found, "dense")[id] for id in TEXTS)
    assert (change.n_queries, change.n_with, change.n_changed) == (6, 4, n_changed)
    for each in found.alike_changes:
        assert each.mrr_without == bare.figure("fake", "title", each.mode).intervals["MRR@10"].mean
        assert each.mrr_with == found.figure("fake", "title", each.mode).intervals["MRR@10"].mean
        assert each.mrr_with >= each.mrr_without


def test_a_higher_cosine_leaves_titles_alone(folder: Path) -> None:
    entry = Entry.open(folder / "i", name="fake", encoder=FakeEncoder())
    papers, _ = Papers.common([entry])
    sets, _ = make_sets(papers, [Task.TITLE])
    assert find_alike([entry], papers, sets, 1.0).others == {0: (1,), 1: (0,), 2: (3,), 3: (2,)}
    # cosine of the third and the fourth: 1 / sqrt(2 * 10) = 0.224; of the third and the sixth: 1 / sqrt(2 * 10)
    others = find_alike([entry], papers, sets, 0.2).others
    assert others[2] == (3, 5)
    with pytest.raises(OptionError, match="expected a cosine above 0 and at most 1"):
        find_alike([entry], papers, sets, 1.2)


def by_hand(alike: tuple[dict[int, tuple[int, ...]], ...]) -> Scored:
    return Scored(
        name="by hand",
        ids=("a", "b", "c", "d"),
        queries=("q", "r"),
        relevant=({2: 1}, {0: 1, 1: 2}),
        cosine=np.array([[0.1, 0.9, 0.5, 0.6], [0.1, 0.2, 0.9, 0.8]], np.float32),
        bm25=np.array([[0, 3, 1, 0], [0, 0, 2, 1]], np.float32),
        weight=0.5,
        alike=alike,
    )


def test_the_best_score_is_the_answers_and_the_others_are_not_there() -> None:
    scored = by_hand(({2: (1,)}, {0: (3,)}))
    dense = np.concatenate([block for _, block in scored.blocks(Mode.DENSE)])
    np.testing.assert_array_equal(dense, np.array([[0.1, -np.inf, 0.9, 0.6], [0.8, 0.2, 0.9, -np.inf]], np.float32))
    assert scored.ranks(Mode.DENSE).tolist() == [1, 2]
    assert by_hand(()).ranks(Mode.DENSE).tolist() == [3, 3]
    assert [rows.tolist() for rows, _ in scored.top(Mode.KEYWORD, 4)] == [[2], [2, 0]]
    for mode in Mode:
        whole, chosen = scored.top(mode, 4)[1], scored.select([1]).top(mode, 4)[0]
        assert [part.tolist() for part in whole] == [part.tolist() for part in chosen]
        np.testing.assert_array_equal(Ranked.of(scored, mode).ranks, scored.ranks(mode))
    np.testing.assert_array_equal(scored.cosine, by_hand(()).cosine)  # is not written into


def test_two_answers_may_share_a_near_duplicate() -> None:
    scored = by_hand(({}, {0: (3, 2), 1: (3,)}))
    dense = np.concatenate([block for _, block in scored.blocks(Mode.DENSE)])
    np.testing.assert_array_equal(dense[1], np.array([0.9, 0.8, -np.inf, -np.inf], np.float32))
    np.testing.assert_array_equal(dense[0], by_hand(()).cosine[0])


def test_an_index_without_vectors_tells_no_near_duplicates(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        build_index(folder / "papers.jsonl", tmp_path / "i", encoder=FakeEncoder(fail_at=0), options=BuildOptions())
    done = run("evaluate", "--index", "i", "--near-duplicates", "0.9", "--no-cost", cwd=tmp_path)
    assert done.returncode == 1
    assert "Error: expected vectors of all papers by which near-duplicates are told, found none" in done.stderr


def test_the_command_tells_what_it_changes_and_nothing_where_it_was_not_asked(folder: Path) -> None:
    asked = ("evaluate", "--index", "i", "--mode", "keyword", "--no-cost")
    as_json = json.loads(run(*asked, "--near-duplicates", "0.95", "--format", "json", cwd=folder).stdout)
    told = as_json["near_duplicates"]
    assert (told["min_cosine"], told["centered"], len(told["changes"])) == (0.95, False, 1)
    assert told["changes"][0]["n_with"] == 4
    table = run(*asked, "--near-duplicates", "0.95", cwd=folder).stdout
    assert "count as the right paper in all figures" in table
    as_csv = run(*asked, "--near-duplicates", "0.95", "--format", "csv", cwd=folder).stdout
    assert "near-duplicates,title,keyword," in as_csv
    bare = run(*asked, "--format", "json", cwd=folder).stdout
    assert "near_duplicates" not in json.loads(bare)
    assert run("evaluate", "--near-duplicates", "0", cwd=folder).returncode == 2
