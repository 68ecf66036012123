"""The benchmarks run, and say of each figure what it is. None of their times is asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks import environments, machine, results
from benchmarks.suite import Case, Floor, Stage, times_as_good

pytestmark = pytest.mark.skipif("EMBEDSEARCH_BENCHMARKS" not in os.environ, reason="set EMBEDSEARCH_BENCHMARKS to run")

ROOT = Path(__file__).parents[1]
STAGES = ("embed", "search", "pairs", "serve", "build")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """The results of a quick run and its table."""
    out = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "benchmarks", "all", "--quick", "--out", str(out)]
    environment = os.environ | {"EMBEDSEARCH_PEERS": str(out / "none")}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    [path] = out.glob("*.json")
    return json.loads(path.read_text()), path.with_suffix(".md").read_text()


def test_quick_run_measures_every_stage(quick: tuple[dict[str, Any], str]) -> None:
    found, table = quick
    assert set(found["stages"]) == set(STAGES)
    assert found["machine"]["processor"] in table
    for name in STAGES:
        stage = found["stages"][name]
        assert stage["commit"]
        assert stage["versions"]["torch"]
        assert stage["commit"] in table
        measured = [row for row in stage["figures"] if "failed" not in row]
        ours = [row for row in measured if row["ours"]]
        if name != "serve" or ours:  # wrk may not be installed
            assert ours, stage["figures"]
        for row in measured:
            assert row["unit"]
            assert len(row["rounds"]) == 1
            assert row["median"] == row["rounds"][0] > 0
            assert f"{results.number(row['median'])} {row['unit']}" in table
            if "floor" in row:
                assert row["floor_is"]
                assert row["share_of_floor"] == pytest.approx(
                    times_as_good(row["median"], row["floor"], more=row["more_is_better"])
                )


def test_each_stage_compares_with_a_peer_and_a_floor(quick: tuple[dict[str, Any], str]) -> None:
    for name in STAGES:
        rows = {row["name"]: row for row in quick[0]["stages"][name]["figures"]}
        compared = [row for row in rows.values() if "ratio" in row]
        if name == "serve" and all("failed" in row for row in rows.values()):
            pytest.skip("needs wrk")
        assert compared, name
        assert any("floor" in row for row in rows.values())
        for row in compared:
            other = rows[row["peer"]]["median"]
            assert row["ratio"] == pytest.approx(times_as_good(row["median"], other, more=row["more_is_better"]))


def test_peers_without_an_environment_are_rows_that_say_so(quick: tuple[dict[str, Any], str]) -> None:
    rows = {row["name"]: row for row in quick[0]["stages"]["search"]["figures"]}
    assert "make it with --peers" in rows["txtai, hybrid"]["failed"]
    assert "| *txtai, hybrid* | not measured: PeerMissing: txtai has no environment" in quick[1]


def test_profile_of_a_build(quick: tuple[dict[str, Any], str]) -> None:
    profile = quick[0]["stages"]["build"]["profile"]["by_size"]["32"]
    assert profile["n_papers"] == 32
    assert profile["stages"].keys() >= {"importing", "reading papers", "indexing words", "embedding"}
    assert 0 < profile["forward_share"] < 1
    assert sum(profile["stages"].values()) <= profile["seconds"]


def case(name: str, values: list[float], **more: Any) -> Case:
    left = iter(values)
    return Case(name=name, unit="s", prepare=lambda: lambda: next(left), **more)


def test_rounds_are_taken_in_turn_and_ratios_round_by_round() -> None:
    stage, said = Stage("embed"), list[str]()
    cases = [
        case("peer", [8.0, 2.0, 30.0], ours=False),
        case("mine", [4.0, 2.0, 3.0], peer="peer", floor=Floor(1.5, "f")),
    ]
    stage.run(cases, rounds=3, say=said.append)
    peer, mine = stage.figures()
    assert [line.split(": ")[1] for line in said] == ["peer", "mine"] * 3
    assert (peer["median"], mine["median"]) == (8.0, 3.0)
    assert mine["ratio"] == 2.0  # of 2, 1 and 10; of the medians it would be 2.67
    assert mine["share_of_floor"] == 0.5


def test_better_is_above_one_for_rates_and_times() -> None:
    assert times_as_good(30.0, 10.0, more=True) == 3.0
    assert times_as_good(10.0, 30.0, more=False) == 3.0


def test_a_case_that_fails_leaves_the_others() -> None:
    stage = Stage("embed")

    def broken() -> Any:
        raise ValueError("no such peer\nand more")

    stage.run([Case(name="peer", unit="s", prepare=broken, ours=False), case("mine", [1.0], peer="peer")], rounds=1,
              say=lambda line: None)  # fmt: skip
    peer, mine = stage.figures()
    assert peer["failed"] == "ValueError: no such peer"
    assert mine["median"] == 1.0
    assert "ratio" not in mine


def test_an_interrupted_stage_keeps_its_rounds() -> None:
    stage = Stage("embed")
    calls = iter([1.0, 2.0])

    def work() -> float:
        try:
            return next(calls)
        except StopIteration:
            raise KeyboardInterrupt from None

    with pytest.raises(KeyboardInterrupt):
        stage.run([Case(name="mine", unit="s", prepare=lambda: work)], rounds=3, say=lambda line: None)
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


def test_the_readme_has_the_committed_results() -> None:
    assert results.readme_block() in results.README.read_text(encoding="utf-8")


def test_write_readme(tmp_path: Path, quick: tuple[dict[str, Any], str]) -> None:
    readme, folder = tmp_path / "README.md", tmp_path / "results"
    folder.mkdir()
    (folder / "one.json").write_text(json.dumps(quick[0]))
    readme.write_text(f"before\n{results.BEGIN}\nold\n{results.END}\nafter\n")
    results.write_readme(readme, folder)
    text = readme.read_text()
    assert text.startswith(f"before\n{results.BEGIN}\n")
    assert text.endswith(f"{results.END}\nafter\n")
    assert results.machine_line(quick[0]) in text
    for stage in quick[0]["stages"].values():
        for row in stage["figures"]:
            is_shown = row["ours"] and "median" in row
            assert (f"| {row['name']} |" in text) == is_shown
            assert not is_shown or f"| {row['name']} | {results.number(row['median'])} {row['unit']} |" in text
    assert "\nold\n" not in text
    readme.write_text("nothing")
    with pytest.raises(ValueError, match="expected <!-- made by"):
        results.write_readme(readme, folder)
