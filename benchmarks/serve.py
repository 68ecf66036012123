"""Searches per second of `embedsearch serve` on loopback, beside other servers of the same papers and model.

    python -m benchmarks.serve INDEX [--seconds 10] [--rounds 3] [--connections 64]
        [--peer-python txtai=PYTHON] [--peer-python plain=PYTHON] [--only NAME] [--work DIR]

INDEX is one of minilm. wrk (Debian's) asks from a process of its own, each server in turn, round by round: each of its
connections asks again as soon as it is answered, and no server gets the same query twice: real questions, and the words
of real titles in another order. All servers are up all the time; the one that is asked shares the machine with wrk
alone. Medians of the rounds; `of first` is the rate as a share of the first line's. A peer is given the same texts and
makes its index itself, in DIR, where it is found again by those who come with the same papers.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np

from benchmarks import peers
from benchmarks.servers import server
from embedsearch.store.catalogue import Catalogue, StoredPaper
from embedsearch.store.manifest import read_manifest
from embedsearch.texts import Template

QUESTIONS = Path(__file__).with_name("user_queries.jsonl")
OURS = {
    "embedsearch serve": (),
    "  --batch 1": ("--batch", "1"),
    "  --workers 2": ("--workers", "2"),
}
PEERS = {"plain": peers.plain, "txtai": peers.txtai}
N_COMPARED = 50
"""Queries by whose answers the servers are compared; they warm them up as well."""
THREADS = 2
"""Of wrk."""

LUA = """
local n = 0
function setup(thread) thread:set("number", n); n = n + 1 end
function init(args)
  paths = {}
  for line in io.lines(args[1]) do paths[#paths + 1] = line end
  at = math.floor(number * #paths / tonumber(args[2]))
end
function request()
  at = at % #paths + 1
  return wrk.format("GET", paths[at])
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\\n{"n": %d, "seconds": %f, "p50": %f, "p99": %f, "errors": %d}\\n', summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Target:
    """A server that is asked one way: `path` has a place for the query."""

    name: str
    mode: str
    url: str
    path: str


@dataclass(frozen=True)
class Measured:
    """What wrk saw of one run: requests, of which `errors` failed; times in ms."""

    n: int
    seconds: float
    p50: float
    p99: float
    errors: int

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return (self.n - self.errors) / self.seconds


def distinct_queries(papers: Sequence[StoredPaper]) -> Iterator[str]:
    """Questions first, then words of titles in another order, up to twelve; each once."""
    seen, choose = set[str](), random.Random(0)
    for line in QUESTIONS.read_text().splitlines():
        query = json.loads(line)["query"]
        seen.add(query)
        yield query
    while True:
        words = choose.choice(papers).title.split()
        query = " ".join(choose.sample(words, min(len(words), 12)))
        if len(words) > 3 and query not in seen:
            seen.add(query)
            yield query


def load(target: Target, queries: Sequence[str], *, folder: Path, seconds: int, connections: int) -> Measured:
    """One run of wrk."""
    script, paths = folder / "load.lua", folder / "paths.txt"
    script.write_text(LUA)
    paths.write_text("".join(target.path.format(quote(query)) + "\n" for query in queries))
    command = [
        "wrk",
        f"-t{min(THREADS, connections)}",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "30s",
        "-s",
        str(script),
    ]
    done = subprocess.run([*command, target.url, "--", str(paths), str(THREADS)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"expected wrk to run, found: {done.stderr or done.stdout}")
    measured = Measured(**json.loads(done.stdout.strip().splitlines()[-1]))
    if measured.n > len(queries):
        print(f"{target.name}: {measured.n} requests of {len(queries)} distinct queries: some were asked twice")
    return measured


def answers(target: Target, queries: Sequence[str]) -> list[set[str]]:
    """The ids of the ten hits of each query."""
    with httpx.Client(base_url=target.url, timeout=60, trust_env=False) as client:
        found = [client.get(target.path.format(quote(query))).raise_for_status().json() for query in queries]
    return [{hit["id"] for hit in (answer["hits"] if isinstance(answer, dict) else answer)} for answer in found]


def overlap(some: Sequence[set[str]], others: Sequence[set[str]]) -> float:
    """Mean share of the ten hits that two servers have in common."""
    return statistics.mean(len(a & b) / 10 for a, b in zip(some, others, strict=True))


def stages(url: str) -> dict[str, tuple[float, float]]:
    """Sum and count of each stage and of the texts of a pass, as /metrics has them."""
    text = httpx.get(f"{url}/metrics", trust_env=False).raise_for_status().text
    found: dict[str, dict[str, float]] = {}
    pattern = r'^embedsearch_(?:stage_seconds_(sum|count)\{stage="(\w+)"\}|batch_texts_(sum|count)) (\S+)'
    for of_stage, stage, of_texts, value in re.findall(pattern, text, re.M):
        found.setdefault(stage or "texts in a pass", {})[of_stage or of_texts] = float(value)
    return {name: (values["sum"], values["count"]) for name, values in found.items()}


def show_stages(before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]) -> None:
    """The mean of each over the time between."""
    for name, (total, count) in after.items():
        total_before, count_before = before.get(name, (0.0, 0.0))
        n = count - count_before
        mean = (total - total_before) / n if n else 0.0
        print(f"    {name:<16} " + (f"{mean:8.1f}" if name == "texts in a pass" else f"{1000 * mean:8.2f} ms"))


def open_targets(args: argparse.Namespace, papers: Path, stack: ExitStack) -> list[Target]:
    """Start all servers that were asked for."""
    found = []
    for name, options in OURS.items():
        if args.only and name.strip() not in args.only:
            continue
        errors = papers.with_name(f"{name.strip().replace(' ', '-')}.log")
        running = stack.enter_context(server(args.index, "--log-format", "none", *options, errors=errors))
        for mode in ("dense", "hybrid"):
            found.append(Target(name, mode, running.url, f"/v1/search?k=10&mode={mode}&q={{}}"))
    for name, python in (given.split("=", 1) for given in args.peer_python):
        if args.only and name not in args.only:
            continue
        url = stack.enter_context(PEERS[name](python, papers))
        path = "/search?k=10&q={}" if name == "plain" else "/search?limit=10&query={}"
        found.append(Target(name, "dense", url, path))
    return found


def measure(args: argparse.Namespace, targets: Sequence[Target], queries: Sequence[str], folder: Path) -> None:
    """Ask all in turn, and print what came of it."""
    compared, queries = queries[:N_COMPARED], queries[N_COMPARED:]
    same = {target: answers(target, compared) for target in targets}
    reference = next((target for target in targets if target.mode == "dense"), targets[0])
    runs: dict[Target, list[Measured]] = {target: [] for target in targets}
    per_run = len(queries) // (2 * args.rounds)
    for number in range(args.rounds):
        for target in targets:
            first = (2 * number + (target.mode == "hybrid")) * per_run  # a server has not seen them in its other mode
            before = stages(target.url) if target.url in ours(targets) else {}
            part = queries[first : first + per_run]
            runs[target].append(load(target, part, folder=folder, seconds=args.seconds, connections=args.connections))
            print(f"round {number + 1}: {target.name} {target.mode}: {runs[target][-1].rate:.1f}/s", flush=True)
            if before:
                show_stages(before, stages(target.url))
    print(f"\n{'':<20} {'':<7} {'per s':>7} {'of first':>8} {'p50 ms':>8} {'p99 ms':>8} {'errors':>6} {'same hits':>9}")
    base = statistics.median(run.rate for run in runs[reference])
    for target, its in runs.items():
        rate, p50, p99 = (statistics.median(getattr(run, name) for run in its) for name in ("rate", "p50", "p99"))
        shared = overlap(same[target], same[reference])
        print(
            f"{target.name:<20} {target.mode:<7} {rate:7.1f} {rate / base:8.2f} {p50:8.0f} {p99:8.0f} "
            f"{sum(run.errors for run in its):6d} {shared:9.0%}"
        )


def ours(targets: Sequence[Target]) -> set[str]:
    """Addresses of servers that have our metrics."""
    return {target.url for target in targets if target.name in OURS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--queries", type=int, default=60_000, help="distinct ones, of all rounds together")
    parser.add_argument("--peer-python", action="append", default=[], metavar="NAME=PYTHON", help="NAME: txtai, plain")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="leave out all others")
    parser.add_argument("--work", type=Path, help="where peers' indexes are kept; default: nowhere")
    args = parser.parse_args()
    named = {*args.only, *(given.partition("=")[0] for given in args.peer_python)}
    if unknown := named - {name.strip() for name in (*OURS, *PEERS)}:
        parser.error(
            f"expected names of {', '.join(map(str.strip, (*OURS, *PEERS)))}, found {', '.join(sorted(unknown))}"
        )
    with ExitStack() as stack:
        generation = read_manifest(args.index).serving
        folder = args.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder /= generation.corpus.checksum[:16]  # a peer's index is of these papers
        folder.mkdir(parents=True, exist_ok=True)
        stored = Catalogue(args.index / generation.papers.name).papers(np.arange(generation.n_papers))
        papers, template = folder / "papers.jsonl", Template.parse(generation.template)
        texts = [{"id": found.paper.id, "abstract": template.render(found.paper)} for found in stored]
        papers.write_text("".join(json.dumps(text) + "\n" for text in texts))
        new = distinct_queries(stored)
        queries = [next(new) for _ in range(args.queries)]
        measure(args, open_targets(args, papers, stack), queries, folder)


if __name__ == "__main__":
    main()
