"""Seconds of a whole `build-index` in a fresh process, beside a script by hand; profile; time and memory by size."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.results import number
from benchmarks.stage_embed import token_lengths
from benchmarks.stores import N_QUICK
from benchmarks.suite import Case, Floor, Setup, Stage, Work
from embedsearch.corpus import open_corpus
from embedsearch.texts import Template

Profile = dict[str, Any]


def measure(stage: Stage, setup: Setup) -> None:
    """A few papers in turns with the peer, then each size once; each size's last profile is kept."""
    few, sizes = (N_QUICK, ()) if setup.quick else (500, (1_000, 10_000))
    texts = [Template.parse().render(paper) for paper in islice(open_corpus(setup.papers), max((few, *sizes)))]
    dtype, profiles = machine.default_dtype(), dict[int, Profile]()
    lengths, size = token_lengths(texts), setup.papers.stat().st_size

    def floor(n: int) -> Floor:
        seconds = machine.operations(lengths[:n]) / machine.matrix_rate(dtype)
        seconds += size * n / len(texts) / machine.bandwidth()
        return Floor(seconds, f"operations / {dtype} matrix rate + reading the file once")

    stage.profile["by_size"] = profiles
    by_hand = f"a script by hand (sentence-transformers, {dtype}, batch 12; FAISS), {few:,} papers"
    command = [sys.executable, "-m", "benchmarks.plain_build", str(setup.papers), "INDEX", "--limit", str(few)]
    script = Case(name=by_hand, unit="s", prepare=lambda: _timed([*command, "--dtype", dtype], setup.work), ours=False,
                  floor=floor(few))  # fmt: skip
    mine = _whole(few, setup, floor(few), profiles, peers=(by_hand,))
    stage.run([script, *mine] if setup.has_slow_peers else mine, rounds=setup.rounds)
    for n in (n for n in sizes if n <= len(texts)):
        for measured in list(profiles.values())[-1:]:
            minutes = measured["seconds"] * n / measured["n_papers"] / 60
            stage.say(f"build, next: {n:,} papers in one go, about {minutes:.1f} min")
        stage.run(_whole(n, setup, floor(n), profiles), rounds=1)
    stage.notes += [told(profile) for profile in profiles.values()]


def _whole(
    n: int, setup: Setup, floor: Floor, profiles: dict[int, Profile], *, peers: tuple[str, ...] = ()
) -> list[Case]:
    """Time of one size, then the memory of that same run."""
    name = f"embedsearch, {n:,} papers"
    return [
        Case(name=name, unit="s", prepare=lambda: _profiled(n, setup, profiles), peers=peers, floor=floor),
        Case(name=f"its peak memory, {n:,} papers", unit="MB", prepare=lambda: lambda: float(profiles[n]["peak_mb"])),
    ]


def told(profile: Profile) -> str:
    """A profile as a line."""
    whole = profile["seconds"]
    stages = ", ".join(f"{name} {number(seconds)} s" for name, seconds in profile["stages"].items())
    parts = ", ".join(f"{name} {number(seconds)} s" for name, seconds in profile["parts"].items())
    return (
        f"Profile of {profile['n_papers']:,} papers, {number(whole)} s: {stages}. Within the embedding: {parts}. The"
        f" forward passes are {profile['forward_share']:.1%} of the whole and"
        f" {profile['forward_share_of_embedding']:.1%} of the embedding."
    )


def _run(command: list[str], work: Path) -> tuple[float, str]:
    """Seconds of a process that makes an index in an empty folder, and what it printed."""
    index = work / "built"
    shutil.rmtree(index, ignore_errors=True)
    start = time.perf_counter()
    done = subprocess.run(
        [str(index) if word == "INDEX" else word for word in command], capture_output=True, text=True, check=False,
        cwd=machine.ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    seconds = time.perf_counter() - start
    shutil.rmtree(index, ignore_errors=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it failed"])[-1])
    return seconds, done.stdout


def _timed(command: list[str], work: Path) -> Work:
    return lambda: _run(command, work)[0]


def _profiled(n: int, setup: Setup, profiles: dict[int, Profile]) -> Work:
    command = [sys.executable, "-m", "benchmarks.profile_build", str(setup.papers), "INDEX"]

    def work() -> float:
        seconds, printed = _run([*command, "--limit", str(n), "--json"], setup.work)
        profiles[n] = json.loads(printed)
        return seconds

    return work
