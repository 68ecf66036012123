"""Changes of a store, random and killed, beside a model of it in plain Python.

    python -m benchmarks.update_kills [--sequences 200] [--steps 12] [--kills 50] [--seed 0]

First random sequences of add, remove, compact and rollback, of which some are killed in this process: after each step
the store is compared with one that was built of its papers. Then so many SIGKILLs of processes in add, remove and
compact each, half at a point of writing and half at a random time. Exits with an error at the first difference.
What is compared stands in tests/updating.py, how processes are killed in tests/update_killing.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import corpora
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from update_killing import Change, n_points, prove, run
from update_machine import COUNTS, Updates
from updating import Model

N_OLD, N_NEW = 30, 30


def sequences(n: int, *, steps: int, start: int) -> None:
    """Random sequences; prints how many steps of which kind there were."""
    profile = settings(
        max_examples=n,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(start)(Updates), settings=profile)
    print(", ".join(f"{name} {n:,}" for name, n in sorted(COUNTS.items())), flush=True)


def kills(n: int, random: Random) -> None:
    """So many killed processes for each kind of change; prints what became of them."""
    records = corpora.records(N_OLD + N_NEW)
    old, new = records[:N_OLD], records[N_OLD:]
    again = [
        old[1] | {"abstract": "plasma plasma"},
        old[2] | {"title": "Another"},
        {"id": old[3]["id"], "deleted": True},
    ]
    removal = Change(ids=[record["id"] for record in old[5:15]])
    for change in (Change(batch=[*new, *again]), removal, Change()):
        for kind in ("exact", "flat"):
            with tempfile.TemporaryDirectory(prefix="embedsearch-kills-") as folder:
                model = Model(Path(folder), kind)
                model.start(N_OLD)
                if change.what == "compact":
                    model.remove(removal.ids)
                _kill(model, change, n=-(-n // 2), random=random)


def _kill(model: Model, change: Change, *, n: int, random: Random) -> None:
    points = n_points(model, change)
    seconds = _undisturbed(model, change)
    at_points = at_times = tries = 0
    while at_points + at_times < n:
        tries += 1
        if at_points <= at_times:
            at_points += prove(model, change, nth=random.randint(1, points))
        else:
            at_times += prove(model, change, after=random.uniform(0, seconds))
    print(
        f"{change.what}, {model.kind}: {at_points} kills at one of {points} points, {at_times} at random times"
        f" ({tries - n} came too late), all equal",
        flush=True,
    )


def _undisturbed(model: Model, change: Change) -> float:
    """How many seconds a change takes; the store is as it was then."""
    old, number = model.manifest.serving.number, model.next_number
    model.states[number] = change.after(model.states[old])
    seconds = run(model, change)
    model.rollback()
    assert seconds is not None, "nobody killed it"
    return seconds


def main() -> int:
    """Run the proof; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sequences", type=int, default=200)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    start = time.monotonic()
    if asked.sequences:
        sequences(asked.sequences, steps=asked.steps, start=asked.seed)
    if asked.kills:
        kills(asked.kills, Random(asked.seed))
    print(f"{time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
