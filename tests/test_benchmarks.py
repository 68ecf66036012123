"""The benchmarks run, and say of each figure what it is. None of their times is asserted."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import environments, machine, results, stores
from benchmarks.suite import Case, Floor, Stage, times_as_good

ROOT = Path(__file__).parents[1]
STAGES = ("embed", "search", "pairs", "serve", "build")
PEERS = {  # in a quick run; the others are processes of their own
    "embed": {"sentence-transformers"},
    "search": {"FAISS flat + sentence-transformers, by meaning", "FAISS flat, vector given"},
    "pairs": {"plain NumPy"},
    "serve": set[str](),
    "build": set[str](),
}
Quick = dict[str, Any]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Quick:
    """The results of `--quick` of all stages. Two stages wait for processes of theirs while the others compute.

    So each computes on one thread: two that wait for each other on the same cores take many times as long.
    """
    folder = tmp_path_factory.mktemp("benchmarks")

    def run(*names: str) -> Quick:
        path = folder / f"{names[0]}.json"
        setup = dataclasses.replace(made, work=folder / names[0])
        setup.work.mkdir()
        command.measure_all(names, setup, path)
        assert path.with_suffix(".md").read_text() == results.markdown(results.read(path))
        return results.read(path)

    with pytest.MonkeyPatch.context() as patch, one_thread(), ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        patch.setattr(machine, "ROUNDS", 1)
        patch.setenv("EMBEDSEARCH_PEERS", str(folder / "none"))
        patch.setenv("OMP_NUM_THREADS", "1")
        made = command.setup_of(command.parse(["--quick", "--work", str(folder / "work")]), stack)
        waiting = [pool.submit(run, "build")]
        made = dataclasses.replace(made, index=stores.store(made))
        waiting.append(pool.submit(run, "serve"))
        found = run("embed", "search", "pairs")
        for one in waiting:
            found["stages"] |= one.result()["stages"]
    return found


@contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", STAGES)
def test_quick_run_says_of_each_figure_what_it_is(quick: Quick, name: str) -> None:
    stage = quick["stages"][name]
    assert stage["commit"]
    assert stage["versions"]["torch"]
    rows = {row["name"]: row for row in stage["figures"]}
    if name == "serve" and shutil.which("wrk") is None:
        assert "wrk" in rows.popitem()[1]["failed"]
        return
    assert {
        row["name"].split(", bfloat16")[0].split(", float32")[0] for row in rows.values() if not row["ours"]
    } == PEERS[name]
    for row in rows.values():
        assert "failed" not in row
        assert row["unit"] in ("abstracts/s", "ms", "s", "searches/s", "MB")
        assert row["median"] == row["rounds"][0] > 0
        assert len(row["rounds"]) == 1
        assert row["more_is_better"] == row["unit"].endswith("/s")
        assert (
            not row["ours"]
            or "ratio" in row
            or "floor" in row
            or row["unit"] == "MB"
            or "words" in row["name"]
            or "hybrid" in row["name"]
        )
        check_ratios(row, rows)
    assert any("floor" in row and row["floor_is"] for row in rows.values())


def check_ratios(row: dict[str, Any], rows: dict[str, dict[str, Any]]) -> None:
    """Above 1 is better than the peer, or than what the machine can do."""
    if "peer" in row:
        assert not rows[row["peer"]]["ours"]
        other = rows[row["peer"]]["median"]
        assert row["ratio"] == pytest.approx(times_as_good(row["median"], other, more=row["more_is_better"]))
    if "floor" in row:
        share = times_as_good(row["median"], row["floor"], more=row["more_is_better"])
        assert row["share_of_floor"] == pytest.approx(share)


def test_table_of_a_quick_run(quick: Quick) -> None:
    table = results.markdown(quick)
    assert quick["machine"]["processor"] in table
    for name in STAGES:
        stage = quick["stages"][name]
        assert f"commit {stage['commit']}, {stage['date']}" in table
        assert f"torch {stage['versions']['torch']}" in table
        for row in stage["figures"]:
            what = row["name"] if row["ours"] else f"*{row['name']}*"
            ratio = f"{results.number(row['ratio'])} × {row['peer']}" if "ratio" in row else ""
            figure = "not measured" if "failed" in row else f"{results.number(row['median'])} {row['unit']} | {ratio} |"
            assert f"| {what} | {figure}" in table
        assert all(note in table for note in stage["notes"])


def test_peers_vectors_are_compared(quick: Quick) -> None:
    alike = quick["stages"]["embed"]["profile"]["least_cosine_to_float32"]
    assert len(alike) == len(quick["stages"]["embed"]["figures"])
    assert all(0.999 < cosine < 1.001 for cosine in alike.values())


def test_profile_of_a_build(quick: Quick) -> None:
    profile = quick["stages"]["build"]["profile"]["by_size"][str(stores.N_QUICK)]
    assert profile["n_papers"] == stores.N_QUICK
    assert profile["stages"].keys() >= {"importing", "reading papers", "indexing words", "embedding"}
    assert 0 < profile["parts"]["in the model"] < profile["stages"]["embedding"]
    assert profile["forward_share"] == pytest.approx(profile["parts"]["in the model"] / profile["seconds"])
    assert sum(profile["stages"].values()) <= profile["seconds"]


def test_peers_without_an_environment_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMBEDSEARCH_PEERS", str(tmp_path))
    with pytest.raises(environments.PeerMissing, match="txtai has no environment; make it with --peers"):
        environments.python_of("txtai", make=False)
    (tmp_path / "bm25s").mkdir()
    (tmp_path / "bm25s" / "complete").write_text("0.3")
    assert environments.python_of("bm25s", make=False) == str(tmp_path / "bm25s/bin/python")
    assert environments.versions() == {"bm25s": "0.3"}


@pytest.mark.skipif("EMBEDSEARCH_BENCHMARKS" not in os.environ, reason="minutes; set EMBEDSEARCH_BENCHMARKS to run")
def test_command_with_all_peers(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "benchmarks", "all", "--quick", "--peers", "--out", str(tmp_path)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split(",")[0] for line in done.stdout.splitlines() if ": stage " in line] == [
        f"{name}: stage {number} of 5" for number, name in enumerate(STAGES, 1)
    ]
    [path] = tmp_path.glob("*.json")
    figures = [row for stage in results.read(path)["stages"].values() for row in stage["figures"]]
    assert [row for row in figures if "failed" in row] == []
    assert {"txtai", "txtai, hybrid", "bm25s, by words (ids alone)"} < {row["name"] for row in figures}
    assert all("ratio" in row for row in figures if row["ours"] and row["unit"] != "MB")


def case(name: str, values: list[float], **more: Any) -> Case:
    left = iter(values)
    return Case(name=name, unit="s", prepare=lambda: lambda: next(left), **more)


def test_rounds_are_taken_in_turn_and_ratios_round_by_round() -> None:
    said, saved = list[str](), list[int]()
    stage = Stage("embed", say=said.append, save=lambda stage: saved.append(len(stage.values["mine"])))
    cases = [
        case("peer", [8.0, 2.0, 30.0], ours=False),
        case("mine", [4.0, 2.0, 3.0], peers=("peer",), floor=Floor(1.5, "f")),
    ]
    stage.run(cases, rounds=3)
    peer, mine = stage.figures()
    assert [line.split(": ")[1] for line in said if "round" in line] == ["peer", "mine"] * 3
    assert saved == [1, 2, 3]
    assert (peer["median"], mine["median"]) == (8.0, 3.0)
    assert mine["ratio"] == 2.0  # of 2, 1 and 10; of the medians it would be 2.67
    assert mine["share_of_floor"] == 0.5


def test_the_best_peer_of_those_measured_is_compared_with() -> None:
    stage = Stage("embed", say=lambda line: None)
    peers = [case("slow", [9.0]), case("quick", [3.0]), case("broken", [])]
    stage.run([*peers, case("mine", [2.0], peers=("slow", "quick", "broken"))], rounds=1)
    assert (stage.figures()[-1]["peer"], stage.figures()[-1]["ratio"]) == ("quick", 1.5)


def test_better_is_above_one_for_rates_and_times() -> None:
    assert times_as_good(30.0, 10.0, more=True) == 3.0
    assert times_as_good(10.0, 30.0, more=False) == 3.0


def test_a_case_that_fails_leaves_the_others() -> None:
    stage = Stage("embed", say=lambda line: None)

    def broken() -> Any:
        raise ValueError("no such peer\nand more")

    stage.run([Case(name="peer", unit="s", prepare=broken, ours=False), case("mine", [1.0], peers=("peer",))], rounds=1)
    peer, mine = stage.figures()
    assert peer["failed"] == "ValueError: no such peer"
    assert mine["median"] == 1.0
    assert "ratio" not in mine


def test_an_interrupted_stage_keeps_its_rounds() -> None:
    stage = Stage("embed", say=lambda line: None)
    calls = iter([1.0, 2.0])

    def work() -> float:
        try:
            return next(calls)
        except StopIteration:
            raise KeyboardInterrupt from None

    with pytest.raises(KeyboardInterrupt):
        stage.run([Case(name="mine", unit="s", prepare=lambda: work)], rounds=3)
    assert stage.figures()[0]["rounds"] == [1.0, 2.0]


def test_worker_gives_numbers_and_the_last_line_of_an_error() -> None:
    script = "import sys\ntold = sys.stdin.readline()\nprint('ready', flush=True)\nfor _ in sys.stdin:\n    "
    with closing(environments.Worker(sys.executable, script + "print(len(told), flush=True)", [1])) as work:
        assert [work(), work()] == [4.0, 4.0]
    broken = environments.Worker(sys.executable, script + "1 / 0", [1])
    with pytest.raises(environments.PeerMissing, match="ZeroDivisionError"):
        broken()


def test_operations_of_a_text() -> None:
    # 10 tokens in one layer of width 2, inner 3: products of 4 x 2 x 2 and 2 x 2 x 3, and of attention 2 x 10 x 10 x 2
    assert machine.operations([10], layers=1, width=2, inner=3) == 2 * 10 * (16 + 12) + 2 * 2 * 2 * 100


def test_a_stage_that_is_stopped_leaves_its_results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from benchmarks import stage_pairs

    def stopped(stage: Stage, setup: Any) -> None:
        values = iter([2.0])

        def work() -> float:
            for value in values:
                return value
            raise KeyboardInterrupt

        stage.run([Case(name="mine", unit="s", prepare=lambda: work)], rounds=2)

    monkeypatch.setattr(stage_pairs, "measure", stopped)
    monkeypatch.setattr(machine, "describe", lambda: SMALL["machine"])
    with pytest.raises(SystemExit, match="130"):
        command.main(["pairs", "--quick", "--out", str(tmp_path)])
    [path] = tmp_path.glob("*.json")
    assert results.read(path)["stages"]["pairs"]["figures"][0]["rounds"] == [2.0]


def test_pairs_of_too_few_papers() -> None:
    run = [sys.executable, "-m", "benchmarks.pairs", "--papers", "2047"]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("expected at least 2,048 papers, two blocks of rows, found 2,047")


SMALL = {
    "machine": {"processor": "A Processor", "cores": 2, "memory_gb": 24.6, "read_gb_per_s": 20.04,
                "matrix_gflops": {"float32": 200.4, "bfloat16": 1400.0}},
    "stages": {"embed": {
        "commit": "abc+", "date": "2026-01-31", "python": "3.11", "versions": {"torch": "2"}, "peers": {},
        "n_papers": 9, "corpus": "real abstracts", "notes": [], "figures": [
            {"name": "other", "ours": False, "unit": "abstracts/s", "more_is_better": True, "median": 20.0,
             "rounds": [20.0]},
            {"name": "mine", "ours": True, "unit": "abstracts/s", "more_is_better": True, "median": 30.04,
             "peer": "other", "ratio": 1.502, "floor": 60.0, "floor_is": "f", "share_of_floor": 0.5007,
             "rounds": [30.04]},
            {"name": "gone", "ours": True, "unit": "s", "more_is_better": False, "failed": "why"},
        ],
    }},
}  # fmt: skip
"""As a file of results holds them."""


def test_the_readme_has_the_committed_results() -> None:
    assert results.readme_block() in results.README.read_text(encoding="utf-8")


def test_write_readme(tmp_path: Path) -> None:
    readme, folder = tmp_path / "README.md", tmp_path / "results"
    folder.mkdir()
    (folder / "one.json").write_text(json.dumps(SMALL))
    readme.write_text(f"before\n{results.BEGIN}\nold\n{results.END}\nafter\n")
    results.write_readme(readme, folder)
    assert (
        readme.read_text()
        == f"""before
{results.BEGIN}

A Processor, 2 cores, 25 GB. Measured rates: matrix products of minilm's shapes float32 200, bfloat16 1,400 GFLOP/s, \
reading memory 20.0 GB/s. Commit abc+ (2026-01-31); \
[every setting, its rounds' median, versions and floors](benchmarks/results/one.md).

| | | times as good as the best peer | share of the floor |
|---|---|---|---|
| **Embedding (minilm, at most 512 tokens)** | | `python -m benchmarks embed` | |
| mine | 30 abstracts/s | 1.5 × other (20 abstracts/s) | 50% |

{results.END}
after
"""
    )
    readme.write_text("nothing")
    with pytest.raises(ValueError, match="expected <!-- made by"):
        results.write_readme(readme, folder)
