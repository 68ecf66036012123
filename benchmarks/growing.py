"""What it takes to add papers to an index of very many, to remove some, and to write it anew.

    python -m benchmarks.growing --like INDEX [--papers 300000] [--added 1000] [--steps add,remove,compact] [--profile]
                                 [--verify] [--work FOLDER]

Takes the index that benchmarks.scale makes, or makes it, and changes a copy of it that is made of links: no file of an
index is ever changed in place. The papers that are added are those of INDEX, which is real, under other ids, embedded
by its model; as many old ones are removed then. Prints seconds by stage, what was written, and, with --profile, where
the time outside of embedding goes.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np

from benchmarks import environments, stores
from benchmarks.scale import index_of
from embedsearch.build import model_of_store
from embedsearch.encoders import Compute, Encoder, Role, open_encoder
from embedsearch.stages.options import Stage, Step
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.manifest import read_manifest
from embedsearch.update import UpdateReport, add, compact, remove
from embedsearch.verify import verify_store


class Clock:
    """Seconds by stage, from its first step to the first of the next; what is before any counts for "begin"."""

    def __init__(self) -> None:
        self.spent = dict[str, float]()
        self._stage, self._since = "begin", time.perf_counter()

    def __call__(self, step: Step) -> None:
        if step.stage.value != self._stage:
            self.end(step.stage.value)

    def end(self, then: str = "") -> None:
        """The stage is over."""
        now = time.perf_counter()
        self.spent[self._stage] = self.spent.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = then, now


def linked(index: Path, copy: Path) -> Path:
    """The index again, without a byte that is written twice."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(index, copy, copy_function=os.link, ignore=shutil.ignore_patterns(".lock*"))
    return copy


def write_papers(like: Path, path: Path, n: int) -> Path:
    """The first n real papers, under ids that no paper has."""
    with path.open("wb") as file:
        for row, stored in enumerate(stores.papers_of(like)[:n]):
            paper = stored.paper
            record = {"id": f"9901.{row:05d}", "title": paper.title, "abstract": paper.abstract}
            record |= {"authors": ", ".join(paper.authors), "categories": " ".join(paper.categories)}
            file.write(msgspec.json.encode(record) + b"\n")
    return path


def measured(name: str, change: Callable[[Clock], UpdateReport], index: Path, *, profile: bool) -> UpdateReport:
    """Change the index and print what it took."""
    before, start, clock, cpu = _files(index), time.perf_counter(), Clock(), time.process_time()
    with ExitStack() as stack:
        profiler = stack.enter_context(cProfile.Profile()) if profile else None
        report = change(clock)
    clock.end()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    after = _files(index)
    new = sum(size for inode, size in after.items() if inode not in before)
    embedding = clock.spent.pop(Stage.EMBED.value, 0.0)
    stages = ", ".join(f"{stage} {spent:.1f}" for stage, spent in clock.spent.items())
    print(
        f"{name}: {seconds:.1f} s, of which embedding {embedding:.1f}, all else {seconds - embedding:.1f} ({stages});"
        f" of the processor {cpu:.1f} s; {new / 1e6:,.0f} MB of new files ({report.n_bytes / 1e6:,.0f} reported);"
        f" {report.n_papers:,} papers",
        flush=True,
    )
    if profiler is not None:
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(45)
    return report


def _files(index: Path) -> dict[int, int]:
    """Bytes of each file, by inode: a link has none of its own."""
    found = (path.stat() for path in index.rglob("*") if path.is_file())
    return {stat.st_ino: stat.st_size for stat in found}


def _encoder(like: Path) -> Encoder:
    """Its model, in memory by now."""
    spec = model_of_store(like)
    encoder = open_encoder(spec if spec is not None else "minilm", compute=Compute())
    encoder.encode(["to have it loaded"], role=Role.DOCUMENT)
    return encoder


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--like", type=Path, required=True, metavar="INDEX")
    parser.add_argument("--papers", type=int, default=300_000)
    parser.add_argument("--added", type=int, default=1000)
    parser.add_argument("--work", type=Path, default=environments.work(), metavar="FOLDER")
    parser.add_argument("--steps", default="add,remove,compact", metavar="LIST")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--verify", action="store_true")
    asked = parser.parse_args()
    folder = asked.work / f"scale-{asked.papers}"
    index = linked(index_of(asked.like, folder, asked.papers), folder / "growing")
    corpus = write_papers(asked.like, folder / "added.jsonl", asked.added)
    encoder = _encoder(asked.like)
    generation = read_manifest(index).serving
    old = Catalogue(index / generation.papers.name).ids()
    gone = [old[i] for i in np.random.default_rng(0).choice(len(old), asked.added, replace=False).tolist()]

    changes: dict[str, Callable[[Clock], UpdateReport]] = {
        "add": lambda clock: add(corpus, index, encoder=encoder, progress=clock),
        "remove": lambda clock: remove(gone, index),
        "compact": lambda clock: compact(index, encoder=encoder, progress=clock),
    }
    for name in asked.steps.split(","):
        measured(name, changes[name], index, profile=asked.profile)
    if asked.verify:
        print("\n".join(verify_store(index)) or "nothing is wrong with it")
    shutil.rmtree(index)


if __name__ == "__main__":
    main()
