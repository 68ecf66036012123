"""The crash proof: builds are killed at many points and at random times, resumed, and compared with one that was not.

    python -m benchmarks.crash [--runs 100] [--seed 0] [--model minilm --papers 200] [-v]

Exits with 1 if any store that was killed could not be read, or if any resumed one is not the same as the undisturbed.
What is compared, and how a build is killed, stands in tests/crashing.py.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from crashing import Build, Case, Kill, Snapshot, Verdict, prove, run, write_corpus

TRIES = 10
PLAIN, OTHER, SAME = "new store", "overwrite, other papers", "overwrite, same papers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A place to kill: its line in the table, which flavour of build, and the kills that it meets one after the other.

    `may_be_new`: a store that is to be replaced may be replaced by then.
    """

    label: str
    flavour: str = PLAIN
    kills: tuple[Kill, ...]
    may_be_new: bool = False

    @property
    def slow(self) -> bool:
        """Whether the times of a slow build are meant."""
        return any(kill.after is not None for kill in self.kills)


@dataclass(slots=True)
class Line:
    """A line of the table."""

    runs: int = 0
    planned: int = 0
    kills: int = 0
    problems: list[str] = field(default_factory=list)


class Bench:
    """The undisturbed builds, and folders for those that are not."""

    def __init__(self, folder: Path, *, model: str, n_papers: int) -> None:
        self._folder = folder
        self.n_papers = n_papers
        self.shard_rows = max(1, min(64, n_papers // 8))
        self.n_shards = -(-n_papers // self.shard_rows)
        self._corpus = str(write_corpus(folder / "papers.jsonl", n_papers))
        n_others = n_papers * 7 // 8
        self.n_other_shards = -(-n_others // self.shard_rows)
        self._reversed = str(write_corpus(folder / "reversed.jsonl", n_others, backwards=True))
        self._model, self._other_model = model, model if model == "minilm" else "other"
        self._whole = self._build(PLAIN, folder / "whole")
        self.seconds = run(replace(self._whole, slow=True)).seconds
        self._plain = Snapshot.of(self._whole)
        shutil.copytree(self._whole.index, folder / "other")
        replaced = self._build(OTHER, folder / "other")
        run(replaced)
        self._replaced = Snapshot.of(replaced)

    def prove(self, number: int, point: Point) -> Verdict:
        """Run the kills of a point on a store of its own, which is removed."""
        index = self._folder / f"run-{number}"
        is_new = point.flavour == PLAIN
        if not is_new:
            shutil.copytree(self._whole.index, index)
        try:
            return prove(
                Case(
                    build=replace(self._build(point.flavour, index), slow=point.slow),
                    kills=point.kills,
                    expected=self._replaced if point.flavour == OTHER else self._plain,
                    before=None if is_new else self._plain,
                    may_be_new=point.may_be_new,
                )
            )
        finally:
            shutil.rmtree(index, ignore_errors=True)

    def _build(self, flavour: str, index: Path) -> Build:
        return Build(
            corpus=self._reversed if flavour == OTHER else self._corpus,
            index=str(index),
            shard_rows=self.shard_rows,
            model=self._other_model if flavour == OTHER else self._model,
            overwrite=flavour != PLAIN,
        )


def injected(random: Random, *, n_papers: int, n_shards: int, n_other_shards: int) -> list[Point]:
    """Fifty points at which a build kills itself. A new store is committed once, then for each shard, then twice.

    `n_other_shards` are those of the papers that replace others.
    """
    last = n_shards + 3
    return [
        *_points("reading: n-th paper", [_at("paper", random.randint(1, n_papers)) for _ in range(2)]),
        *_points("catalogue full, not finished", [_at("catalogue")]),
        *_points("keyword index: n-th document", [_at("document", random.randint(1, n_papers)) for _ in range(2)]),
        *_points("all read, nothing committed", [_at("begin")]),
        *_points("file half written", list(_half_written(random, n_shards))),
        *_points("between write and sync", list(_each_file("written", random, n_shards))),
        *_points("between sync and rename", list(_each_file("synced", random, n_shards))),
        *_points("just after rename", list(_each_file("renamed", random, n_shards))),
        *_points("last manifest synced", [_at("synced", last, "manifest")]),
        *_points("last manifest renamed", [_at("renamed", last, "manifest")]),
        *_points("shard there, not in manifest", [_at("update", random.randint(1, n_shards)) for _ in range(2)]),
        *_points("before the ann is built", [_at("ann")]),
        *_clean_up(random, n_shards),
        *_overwrite(random, n_papers=n_papers, n_shards=n_other_shards),
    ]


def _at(step: str, nth: int = 1, file: str = "") -> tuple[Kill, ...]:
    return (Kill(step, nth, file),)


def _points(label: str, kills: list[tuple[Kill, ...]]) -> Iterator[Point]:
    return (Point(label=label, kills=each) for each in kills)


def _half_written(random: Random, n_shards: int) -> Iterator[tuple[Kill, ...]]:
    yield _at("half written", random.randint(1, n_shards), "vectors")
    yield _at("half written", 1, "manifest")
    yield _at("half written", random.randint(2, n_shards), "manifest")
    yield _at("half written by faiss", 1, "ann")


def _each_file(step: str, random: Random, n_shards: int) -> Iterator[tuple[Kill, ...]]:
    """Once for each kind of file; between write and sync of the keyword index, in the middle of its files."""
    yield _at(step, 1, "papers")
    yield _at(step, 4 if step == "written" else 1, "keywords")
    yield _at(step, random.randint(1, n_shards), "vectors")
    yield _at(step, 1, "manifest")
    yield _at(step, random.randint(2, n_shards), "manifest")
    yield _at(step, 1, "transform")
    yield _at(step, 1, "ann")


def _clean_up(random: Random, n_shards: int) -> Iterator[Point]:
    """First something is left behind, then the build that tidies it away is killed too."""
    unnamed, folder = Kill("renamed", 1, "keywords"), Kill("written", 5, "keywords")
    shard = Kill("renamed", random.randint(1, n_shards), "vectors")
    for kills in (
        (unnamed, Kill("clean-up", 2), Kill("clean-up", 1)),
        (unnamed, Kill("clean-up of a folder", 3)),
        (folder, Kill("clean-up of a folder", 1), Kill("clean-up of a folder", 2)),
        (shard, Kill("clean-up", 1)),
    ):
        yield Point(label="clean-up of what a killed build left", kills=kills)


def _overwrite(random: Random, *, n_papers: int, n_shards: int) -> Iterator[Point]:
    some = random.randint(2, n_shards // 2)
    last = n_shards + 3
    for label, flavour, kills in (
        ("overwrite: n-th paper", OTHER, _at("paper", random.randint(1, n_papers // 2))),
        ("overwrite: n-th document", OTHER, _at("document", random.randint(1, n_papers // 2))),
        ("overwrite: first manifest renamed", OTHER, _at("renamed", 1, "manifest")),
        ("overwrite: shard renamed", SAME, _at("renamed", some, "vectors")),
        ("overwrite: shard renamed", OTHER, _at("renamed", some, "vectors")),
        ("overwrite: shard there, not in manifest", OTHER, _at("update", some) + _at("update", 2)),
        ("overwrite: clean-up", OTHER, (*_at("begin"), *_at("clean-up", 2))),
        ("overwrite: ann renamed", OTHER, _at("renamed", 1, "ann")),
        ("overwrite: last manifest synced", OTHER, _at("synced", last, "manifest")),
    ):
        yield Point(label=label, flavour=flavour, kills=kills)
    committed = _at("renamed", last, "manifest")
    yield Point(label="overwrite: last manifest renamed", flavour=OTHER, kills=committed, may_be_new=True)


def at_random(random: Random, number: int, seconds: float) -> Point:
    """The n-th point at random times, uniform over a build: 3 of 10 are kills in a row, 2 of 10 an overwrite."""
    if number % 10 in (2, 5, 8):
        # What is left to do becomes less with every kill.
        kills = tuple(Kill(after=random.uniform(0, seconds * share)) for share in (0.8, 0.5, 0.3))
        return Point(label="random times, three in a row", kills=kills)
    kills = (Kill(after=random.uniform(0, seconds)),)
    if number % 10 in (4, 9):
        flavour = OTHER if number % 10 == 4 else SAME
        return Point(label="random time, overwrite", flavour=flavour, kills=kills, may_be_new=True)
    return Point(label="random time", kills=kills)


def main() -> int:
    """Run the proof; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", choices=["fake", "minilm"], default="fake")
    parser.add_argument("--papers", type=int, default=1000)
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for each run")
    asked = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="embedsearch-crash-") as folder:
        bench = Bench(Path(folder), model=asked.model, n_papers=asked.papers)
        table, stages = _run_all(bench, asked.runs, Random(asked.seed), verbose=asked.verbose)
    _print(table, stages)
    print(
        f"{asked.runs} runs of {asked.papers:,} papers in {bench.n_shards} shards with {asked.model};"
        f" an undisturbed build took {bench.seconds:.1f} s, all of this {time.monotonic() - start:.0f} s"
    )
    return int(any(line.problems for line in table.values()))


def _run_all(bench: Bench, n_runs: int, random: Random, *, verbose: bool) -> tuple[dict[str, Line], Counter[str]]:
    """The table by label, and how often random times hit which stage."""
    n_injected = n_runs // 2
    known = injected(random, n_papers=bench.n_papers, n_shards=bench.n_shards, n_other_shards=bench.n_other_shards)
    order = range(len(known)) if n_injected >= len(known) else sorted(random.sample(range(len(known)), n_injected))
    points = [known[order[i % len(order)]] for i in range(n_injected)]
    table, stages = dict[str, Line](), Counter[str]()
    for number in range(n_runs):
        is_random = number >= n_injected
        point = at_random(random, number, bench.seconds) if is_random else points[number]
        verdict = bench.prove(number, point)
        for _ in range(TRIES - 1):
            if verdict.stages or verdict.problems or not is_random:
                break
            # The build was faster than the one that was measured, and over by then.
            point = at_random(random, number, bench.seconds)
            verdict = bench.prove(number, point)
        if not is_random and len(verdict.stages) < len(point.kills):
            verdict.problems.append("expected each kill to happen: a function that is wrapped was not called")
        _note(table.setdefault(point.label, Line()), point, verdict)
        stages.update(verdict.stages if is_random else ())
        if verbose or verdict.problems:
            outcome = "; ".join(verdict.problems) or "equal"
            print(f"{number + 1:4} {point.label}: {len(verdict.stages)} kills: {outcome}  {point.kills}", flush=True)
    return table, stages


def _note(line: Line, point: Point, verdict: Verdict) -> None:
    line.runs += 1
    line.planned += len(point.kills)
    line.kills += len(verdict.stages)
    line.problems += verdict.problems


def _print(table: dict[str, Line], stages: Counter[str]) -> None:
    print(f"{'kill point':40} {'runs':>5} {'kills':>12}  all equal")
    for label, line in table.items():
        kills = f"{line.kills} of {line.planned}"
        print(f"{label:40} {line.runs:5} {kills:>12}  {'no' if line.problems else 'yes'}")
    total = Line(sum(x.runs for x in table.values()), 0, sum(x.kills for x in table.values()))
    print(f"{'all':40} {total.runs:5} {total.kills:12}  {'no' if any(x.problems for x in table.values()) else 'yes'}")
    print("random times hit: " + ", ".join(f"{stage} {n}" for stage, n in stages.most_common()))


if __name__ == "__main__":
    sys.exit(main())
