"""All pairs of two spaces counted, beside plain NumPy and embeddings-evaluator: benchmarks/pairs.py as a stage."""

from __future__ import annotations

import argparse
import sys

from benchmarks import environments, machine
from benchmarks.pairs import in_child
from benchmarks.suite import Case, Floor, Setup, Stage, Work

DIMS = [384, 1536]
SIDES = (512, 4096)
"""Of the product whose rate is the floor's: quick, and large enough to reach what the machine can."""


def measure(stage: Stage, setup: Setup) -> None:
    """Run it."""
    n = 400 if setup.quick else 10_000
    options = argparse.Namespace(papers=n, dims=DIMS)
    memory: dict[str, float] = {}
    side = SIDES[not setup.quick]
    rate = machine.matrix_rate("float32", shapes=((side, max(DIMS), side),), weights=(1,))
    floor = Floor(n * (n - 1) * sum(DIMS) / rate, "products of all pairs / float32 matrix rate")

    def case(name: str, child: str, *, ours: bool, venv: str | None = None) -> Case:
        def prepare() -> Work:
            python = environments.python_of(venv, make=setup.peers) if venv else sys.executable

            def work() -> float:
                result = in_child(child, options, python)
                memory[name] = max(memory.get(name, 0.0), result["mb"])
                return result["seconds"]

            return work

        peers = (plain, evaluator) if ours else ()
        return Case(name=name, unit="s", prepare=prepare, ours=ours, peers=peers, floor=floor)

    plain, evaluator = "plain NumPy", "embeddings-evaluator (no joint table)"
    cases = [case(plain, "plain", ours=False)]
    if setup.has_slow_peers:
        cases += [case(evaluator, "peer", ours=False, venv="embeddings-evaluator")]
    cases += [case("embedsearch", "ours", ours=True)]
    if not setup.quick:
        cases += [case("embedsearch, fast", "ours, fast", ours=True)]
    try:
        stage.run(cases, rounds=setup.rounds)
    finally:
        stage.profile["mb_above_imports_and_inputs"] = memory
        told = ", ".join(f"{name} {mb:,.0f} MB" for name, mb in memory.items())
        stage.notes.append(
            f"{n * (n - 1) // 2:,} pairs of {n:,} made rows with a model's spread, each run in a fresh process, joint"
            f" table included. Peak memory above imports and inputs: {told}."
        )
