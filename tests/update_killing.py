"""Changes of a store in processes of their own, which this file is the script of, and which are killed with SIGKILL.

A process is killed by the one that started it, at some time, or by itself at the n-th of the POINTS of updating.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import corpora
from fake_encoder import FakeEncoder
from updating import Model, Record, State, applied, killed_at

from embedsearch.update import add, compact, remove

PATIENCE = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An addition of `batch`, a removal of `ids`, or, with neither, a compaction."""

    batch: Sequence[Record] = ()
    ids: Sequence[str] = ()

    @property
    def what(self) -> str:
        return "add" if self.batch else "remove" if self.ids else "compact"

    def after(self, before: State) -> State:
        """The papers then."""
        if self.ids:
            gone = set(self.ids)
            return State({id: record for id, record in before.papers.items() if id not in gone}, clean=False)
        return applied(before, self.batch) if self.batch else State(before.papers)

    def of(self, model: Model) -> None:
        """Do it here, undisturbed."""
        if self.batch:
            model.add(self.batch)
        elif self.ids:
            model.remove(self.ids)
        else:
            model.compact()


def run(model: Model, change: Change, *, nth: int | None = None, after: float | None = None) -> float | None:
    """Change the store in a new process; the seconds it took, None where it was killed. RuntimeError where it fails."""
    corpus = corpora.write(model.folder / "batch.jsonl", list(change.batch))
    task = {"index": str(model.index), "what": change.what, "corpus": str(corpus), "ids": list(change.ids), "nth": nth}
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    with subprocess.Popen(
        [sys.executable, __file__, json.dumps(task)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it has imported everything and begins
        if after is not None:
            time.sleep(after)
            process.send_signal(signal.SIGKILL)
        said, errors = process.communicate(timeout=PATIENCE)
    if process.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"a change ended with {process.returncode}: {errors[-2000:]}")
    return float(said) if said else None


def prove(model: Model, change: Change, *, nth: int | None = None, after: float | None = None) -> bool:
    """Kill a change, look, do it again, go back: raises AssertionError for what is wrong; whether it was killed."""
    old, new = model.manifest.serving, model.next_number
    model.states[new] = change.after(model.states[old.number])
    was_killed = run(model, change, nth=nth, after=after) is None
    assert model.manifest.serving.number in (old.number, new)
    model.check()
    change.of(model)
    model.check()
    assert model.papers == change.after(model.states[old.number]).papers
    model.tidy()
    model.rollback()
    assert model.manifest.serving == old
    model.check()
    return was_killed


def n_points(model: Model, change: Change) -> int:
    """How many points an undisturbed change comes to; the store is as it was then."""
    with killed_at(None) as points:
        change.of(model)
    model.rollback()
    return points.n


def _kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _child(task: dict[str, Any]) -> None:
    changes: dict[str, Callable[[], Any]] = {
        "add": lambda: add(task["corpus"], task["index"], encoder=FakeEncoder()),
        "remove": lambda: remove(task["ids"], task["index"]),
        "compact": lambda: compact(task["index"], encoder=FakeEncoder()),
    }
    print("begins", flush=True)
    start = time.monotonic()
    with killed_at(task["nth"], _kill_myself):
        changes[task["what"]]()
    print(time.monotonic() - start, flush=True)


if __name__ == "__main__":
    _child(json.loads(sys.argv[1]))
