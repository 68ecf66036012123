"""This project and its peers, measured in turn, beside what the machine could do at best.

    python -m benchmarks [embed|search|pairs|serve|build|all] [--quick] [--papers FILE] [--index DIR] [--rounds 3]
        [--peers] [--scale] [--out FOLDER] [--work FOLDER]
    python -m benchmarks readme

All settings of a stage run in turn, round by round (A B A B), so that a machine that changes its speed changes it for
all: medians, and ratios round by round. Each stage takes its place in FOLDER/MACHINE.json, with a table beside it;
`readme` puts the tables of benchmarks/results/ into README.md. Interrupted, it keeps what was measured.

`--papers` is a file of abstracts; without it the real ones of the project's data folder where they are, else the
bundled sample. `--index` is an index of them by minilm, else one is made (and kept in the work folder). `--peers` makes
the environments of peers that need one of their own; without it those that are there are used. `--quick` takes a few
papers of the sample and one round, to see that it works, and with `--peers` alone the peers that need a process of
their own: its figures mean nothing and go to a temporary folder.
`--scale` measures large indexes as well (benchmarks.ann, benchmarks.scale), where `all` leaves them out: hours.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import environments, machine, results
from benchmarks.suite import Setup, Stage
from embedsearch.corpus import open_corpus, sample_path

STAGES = ("embed", "search", "pairs", "serve", "build")
LARGE = ("ann", "scale")
REAL = machine.ROOT.parent / "shared" / "data" / "arxiv-astro-10k.jsonl.gz"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", default="all", choices=[*STAGES, "all", "readme"])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--papers", type=Path, metavar="FILE")
    parser.add_argument("--index", type=Path, metavar="DIR")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--out", type=Path, metavar="FOLDER")
    parser.add_argument("--work", type=Path, metavar="FOLDER")
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"expected at least 1 round, found {options.rounds}")
    return options


def setup_of(options: argparse.Namespace, stack: ExitStack) -> Setup:
    """What is measured: the sample if it is to be quick, else what was named, else the real abstracts."""
    papers = options.papers or (sample_path() if options.quick or not REAL.exists() else REAL)
    work = options.work
    if work is None:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory())) if options.quick else environments.work()
    work.mkdir(parents=True, exist_ok=True)
    return Setup(
        papers=papers,
        is_real=papers != sample_path(),
        quick=options.quick,
        rounds=options.rounds or (1 if options.quick else 3),
        work=work,
        index=options.index,
        peers=options.peers,
        scale=options.scale,
    )


def measure(name: str, setup: Setup, path: Path, about: dict[str, Any], n_papers: int) -> None:
    """One stage; what it has measured is written after each round and whatever stops it."""

    def save(stage: Stage) -> None:
        results.add(path, stage, about, n_papers=n_papers, is_real=setup.is_real)

    stage = Stage(name, save=save)
    try:
        importlib.import_module(f"benchmarks.stage_{name}").measure(stage, setup)
    finally:
        save(stage)


def main(arguments: list[str] | None = None) -> None:
    """Run it."""
    options = parse(arguments)
    if options.what == "readme":
        results.write_readme()
        return
    os.environ["HF_HUB_OFFLINE"] = "1"
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    out = options.out or (Path(tempfile.gettempdir()) / "embedsearch-quick" if options.quick else results.FOLDER)
    path = out / f"{machine.machine_name()}.json"
    try:
        with ExitStack() as stack:
            measure_all(STAGES if options.what == "all" else (options.what,), setup_of(options, stack), path)
        if options.scale:
            large()
    except KeyboardInterrupt:
        print(f"interrupted; what was measured is in {path}", file=sys.stderr)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, before)
    print(path.with_suffix(".md").read_text(encoding="utf-8"))
    print(f"{path}", file=sys.stderr)


def measure_all(names: Sequence[str], setup: Setup, path: Path) -> None:
    """The stages in turn, saying how far it is."""
    start = time.monotonic()
    about, n_papers = machine.describe(), sum(1 for _ in open_corpus(setup.papers))
    for number, name in enumerate(names, 1):
        minutes = (time.monotonic() - start) / 60
        print(f"{name}: stage {number} of {len(names)}, after {minutes:.1f} min", flush=True)
        measure(name, setup, path, about, n_papers)


def large() -> None:
    """The benchmarks of large indexes, which print tables of their own."""
    for name in LARGE:
        if find_spec(f"benchmarks.{name}") is not None:
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=machine.ROOT, check=False)


if __name__ == "__main__":
    main()
