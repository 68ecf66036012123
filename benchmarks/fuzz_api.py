"""Thousands of requests made from the OpenAPI document of a running server, with all checks of schemathesis.

    python -m benchmarks.fuzz_api [--examples 100] [--seed 0] [--model minilm]

`embedsearch serve` runs in a process of its own, on an index of the bundled papers, with a key. Prints how many answers
had which status and how many checks held; exits with 1 if one did not. What is allowed stands in tests/fuzzing.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fuzzing import ASCII, UNICODE, Found, fuzz

from benchmarks.servers import server
from embedsearch.build import build_index
from embedsearch.corpus import sample_path
from embedsearch.server.keys import Role, add_key

SHOWN = 20
"""Failures that are printed."""


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100, help="random requests for each operation and alphabet")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="minilm")
    args = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        build_index(sample_path(), folder / "index", model=args.model)
        token = add_key(folder / "keys.json", "fuzz", role=Role.ADMIN)
        with server(folder / "index", "--keys", str(folder / "keys.json"), errors=folder / "log") as running:
            for alphabet in (ASCII, UNICODE):
                start = time.perf_counter()
                found = fuzz(running.url, token=token, examples=args.examples, alphabet=alphabet, seed=args.seed)
                report(alphabet, found, time.perf_counter() - start)
                failures += len(found.failures)
    return int(failures > 0)


def report(alphabet: str, found: Found, seconds: float) -> None:
    """Print what was found with texts of an alphabet."""
    by_status = Counter[str]()
    for label, n in found.statuses.items():
        by_status[label.rpartition(" ")[2]] += n
    print(f"texts of {alphabet}: {found.n_requests:,} requests in {seconds:.0f} s, {len(found.failures)} failures")
    print("  answers: " + ", ".join(f"{status} {n:,}" for status, n in sorted(by_status.items())))
    print("  checks that held: " + ", ".join(f"{name} {n:,}" for name, n in found.checks.most_common()))
    for failure in found.failures[:SHOWN]:
        print(f"  FAILED {failure}")


if __name__ == "__main__":
    sys.exit(main())
