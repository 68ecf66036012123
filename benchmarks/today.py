"""The morning's list on real papers: what it is, what it looks like, and how long it takes.

    python -m benchmarks.today CORPUS --out DIR [--index STORE] [--new 300] [--mine 30] [--about "dwarf"]

The newest papers of CORPUS are left out of a store of the others, and added by `embedsearch today --no-fetch` in a
process of its own; a .bib of some of the others is the library: those whose titles have the words of --about, newest
first. STORE is one of the whole CORPUS: it is copied and the new papers are removed from the copy, which takes seconds;
without it the store is built. Prints the times (the whole process; the second run adds nothing), and of the first
entries id, shared terms and percentile; DIR has the list in each form.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from embedsearch.build import build_index
from embedsearch.corpus import open_corpus
from embedsearch.records import Paper
from embedsearch.render.bibtex import to_bibtex
from embedsearch.update import compact, remove

FORMS = {"list.txt": "table", "list.md": "markdown", "list.html": "html", "list.json": "json", "list.bib": "bibtex"}


def main() -> None:
    """The whole of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--index", type=Path)
    parser.add_argument("--new", type=int, default=300)
    parser.add_argument("--mine", type=int, default=30)
    parser.add_argument("--about", default="dwarf")
    arguments = parser.parse_args()
    folder: Path = arguments.out
    folder.mkdir(parents=True)
    papers = sorted(open_corpus(arguments.corpus), key=by_number)
    old, new = papers[: -arguments.new], papers[-arguments.new :]
    mine = library(old, arguments.about, arguments.mine)
    (folder / "my.bib").write_text(to_bibtex(mine))
    write_records(folder / "new.jsonl", arguments.corpus, {paper.id for paper in new})
    make_store(arguments, folder, old, new)
    print(f"{len(old):,} papers in the index, {len(new):,} new ones, {len(mine):,} of mine")
    for name, what in (("list.json", "first run"), ("list.html", "second run")):
        print(f"{what}: {run(folder, '--no-fetch', 'new.jsonl', '--out', name):.1f} s")
    for name in FORMS:
        run(folder, "--no-fetch", "new.jsonl", "--out", name)
    day = json.loads((folder / "list.json").read_text())
    print(f"{day['n_new']:,} new from {day['since']} to {day['until']}, {day['n_year']:,} of the year before")
    for paper in day["papers"][:3]:
        print(paper["id"], f"{paper['cosine']:.3f}", ", ".join(paper["terms"]), f"{paper['percentile']:.2f}", sep="\t")


def by_number(paper: Paper) -> tuple[str, str]:
    """In the order in which arXiv gave the ids out."""
    return paper.published or "", paper.id.rpartition("/")[2]


def library(papers: list[Paper], words: str, n: int) -> list[Paper]:
    """The newest papers whose titles have these words, one after another."""
    found = [paper for paper in reversed(papers) if words.lower() in paper.title.lower()]
    if len(found) < n:
        sys.exit(f"expected {n} titles with {words!r}, found {len(found)}: name others with --about")
    return found[:n]


def write_records(path: Path, corpus: Path, ids: set[str]) -> None:
    """The lines of these papers, as the corpus has them."""
    with gzip.open(corpus, "rt") if corpus.suffix == ".gz" else corpus.open() as lines, path.open("w") as file:
        file.writelines(line for line in lines if json.loads(line)["id"] in ids)


def make_store(arguments: argparse.Namespace, folder: Path, old: list[Paper], new: list[Paper]) -> None:
    """A store of the old papers at FOLDER/index."""
    index = folder / "index"
    if arguments.index is not None:
        shutil.copytree(arguments.index, index)
        remove([paper.id for paper in new], index)
        compact(index)
        return
    write_records(folder / "old.jsonl", arguments.corpus, {paper.id for paper in old})
    build_index(folder / "old.jsonl", index)


def run(folder: Path, *arguments: str) -> float:
    """Seconds of a whole process."""
    command = [sys.executable, "-m", "embedsearch", "today", "--index", "index", "--like", "my.bib", *arguments]
    began = time.monotonic()
    subprocess.run(command, cwd=folder, check=True)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
