"""Where the time of a first query goes: medians over fresh processes.

python -m benchmarks.first_query --index indexes/real [--rounds 5] [--against CHECKOUT]

With --against each round also runs another checkout of embedsearch, in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

STAGES = """
import json, sys, time
start = last = time.perf_counter()
spent = {}
def stage(name):
    global last
    now = time.perf_counter()
    spent[name], last = now - last, now
index, mode = sys.argv[1:]
import click, embedsearch.cli.main
stage("import click")
import numpy
stage("import numpy")
import tantivy
stage("import tantivy")
from embedsearch.search import Searcher
stage("import the rest of embedsearch")
searcher = Searcher.open(index)
stage("open the store")
if mode != "keyword":
    import torch
    stage("import torch")
    encoder = searcher.encoder
    stage("import the encoder, find and hash the weights")
    from embedsearch.encoders import Role
    prepared = encoder.prepare(["warm"], role=Role.QUERY)
    stage("load the tokenizer")
    encoder.encode_prepared(prepared)
    stage("load the weights, the first pass")
    encoder.encode(["magnetized plasma"], role=Role.QUERY)
    stage("embed a query")
found = searcher.search("magnetized plasma", mode=mode)
stage("search (embedding again), read the papers")
from embedsearch.cli.terminal import make_console, show
from embedsearch.render import terminal
show(terminal.hits_table(found, links=False, abstracts=False), console=make_console())
stage("print")
searcher.search("could the red dots be torn stars", mode=mode)
stage("the second query")
print(json.dumps(spent), file=sys.stderr)
"""


def one(index: str, mode: str, root: str) -> dict[str, float]:
    """Seconds of each stage in one process, and of the whole command in another."""
    env = os.environ | {"PYTHONPATH": root}
    staged = subprocess.run(
        [sys.executable, "-c", STAGES, index, mode], capture_output=True, check=True, env=env, cwd=root
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True, env=env, cwd=root)
    python = time.perf_counter()
    command = [sys.executable, "-m", "embedsearch", "query", "magnetized plasma", "--index", index, "--mode", mode]
    subprocess.run(command, capture_output=True, check=True, env=env, cwd=root)
    whole = time.perf_counter() - python
    stages: dict[str, float] = json.loads(staged.stderr.splitlines()[-1])
    return {"the whole command": whole, "start Python": python - start} | stages


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", metavar="CHECKOUT")
    parser.add_argument("--modes", nargs="+", default=["keyword", "dense", "hybrid"])
    options = parser.parse_args()
    roots = {"this": os.getcwd()} | ({"the other": os.path.abspath(options.against)} if options.against else {})
    for mode in options.modes:
        spent: dict[str, list[dict[str, float]]] = {name: [] for name in roots}
        for _ in range(options.rounds):
            for name, root in roots.items():
                spent[name].append(one(os.path.abspath(options.index), mode, root))
        print(f"\n{mode}, medians of {options.rounds} in ms: {', '.join(roots)}")
        for stage in spent["this"][0]:
            medians = [statistics.median(round_[stage] for round_ in spent[name]) for name in roots]
            print(*(f"{1000 * median:8.1f}" for median in medians), f"  {stage}")


if __name__ == "__main__":
    main()
