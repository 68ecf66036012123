"""Where the time of a first query goes: medians over fresh processes.

python -m benchmarks.first_query --index indexes/real [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
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
from embedsearch.search import Searcher
stage("import embedsearch, numpy, tantivy")
searcher = Searcher.open(index)
stage("open the store")
if mode != "keyword":
    import torch
    stage("import torch")
    import transformers.models.auto.modeling_auto
    stage("import transformers")
    encoder = searcher.encoder
    stage("find and hash the weights")
    from embedsearch.encoders import Role
    encoder.encode(["warm"], role=Role.QUERY)
    stage("load the model")
searcher.search("magnetized plasma", mode=mode)
stage("the first query")
searcher.search("could the red dots be torn stars", mode=mode)
stage("the second query")
print(json.dumps(spent))
"""


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for mode in ("keyword", "dense", "hybrid"):
        spent: list[dict[str, float]] = []
        whole: list[float] = []
        command = [sys.executable, "-m", "embedsearch", "query", "magnetized plasma", "--index", options.index]
        for _ in range(options.rounds):
            done = subprocess.run([sys.executable, "-c", STAGES, options.index, mode], capture_output=True, check=True)
            spent.append(json.loads(done.stdout))
            start = time.perf_counter()
            subprocess.run([*command, "--mode", mode], capture_output=True, check=True)
            whole.append(time.perf_counter() - start)
        print(f"\n{mode}: the whole command {statistics.median(whole):.2f} s, of which")
        for name in spent[0]:
            print(f"  {statistics.median(one[name] for one in spent):6.3f} s  {name}")


if __name__ == "__main__":
    main()
