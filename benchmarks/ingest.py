"""Peak memory and rate of ingest on a large file: real records, repeated under new ids.

    python -m benchmarks.ingest PAPERS [--gigabytes 2]

Writes the file to a temporary folder, reads it into a catalogue and a keyword index in a process of its own, and prints
that process's peak resident memory after each of the two, beside that of the imports alone.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from embedsearch.corpus.streams import open_stream


def write_large(source: Path, target: Path, n_bytes: int) -> int:
    """Repeat the records of `source` under new ids until `target` has n_bytes; returns how many they are."""
    records = [json.loads(line) for _, line in open_stream(source).lines()]
    n = size = 0
    with target.open("wb") as file:
        while size < n_bytes:
            record = records[n % len(records)] | {
                "id": f"{n // 90_000 % 12 + 2001 + n // 1_080_000 * 100}.{n % 90_000 + 10_000:05d}"
            }
            size += file.write(msgspec.json.encode(record) + b"\n")
            n += 1
    return n


def peak() -> float:
    """MB; Linux counts in kB, macOS in bytes."""
    value = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return value / (1e6 if sys.platform == "darwin" else 1e3)


def ingest(folder: str, source: str) -> None:
    """Run in a process of its own."""
    from embedsearch.stages.ingest import index_words, read_corpus
    from embedsearch.stages.options import BuildOptions
    from embedsearch.texts import Template

    print(f"imports: {peak():,.0f} MB", flush=True)
    start = time.perf_counter()
    papers, note, _ = read_corpus(
        Path(folder), source, number=1, template=Template.parse(), options=BuildOptions(), progress=lambda step: None
    )
    read = time.perf_counter()
    print(
        f"catalogue: {note.n_selected:,} papers, {note.n_selected / (read - start):,.0f}/s, peak {peak():,.0f} MB",
        flush=True,
    )
    index_words(Path(folder), papers, number=1, progress=lambda step: None)
    rate = note.n_selected / (time.perf_counter() - read)
    print(f"keywords: {rate:,.0f} papers/s, peak {peak():,.0f} MB", flush=True)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("papers_file", type=Path)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        large = Path(temporary) / "papers.jsonl"
        n = write_large(options.papers_file, large, int(options.gigabytes * 1e9))
        print(f"{n:,} records, {large.stat().st_size / 1e9:.2f} GB", flush=True)
        process = multiprocessing.get_context("spawn").Process(target=ingest, args=(temporary, str(large)))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(1)


if __name__ == "__main__":
    main()
