"""Where the time of a build goes: one build in this process, as JSON or as a table.

    python -m benchmarks.profile_build PAPERS INDEX [--limit N] [--json]

`in the model` is the forward passes with pooling and copying; what is prepared while the model runs (the next shard is
read and tokenised beside it) is counted apart, since it takes no time of its own unless the model waits for it.
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()  # before the imports, which are part of a build

import argparse  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from benchmarks.ingest import peak  # noqa: E402
from embedsearch import BuildOptions, build_index  # noqa: E402
from embedsearch.encoders import transformer  # noqa: E402
from embedsearch.stages import embed  # noqa: E402
from embedsearch.stages.options import Step  # noqa: E402

PARTS = {
    "loading the weights": (transformer.TransformerEncoder, "_load"),
    "in the model": (transformer.TransformerEncoder, "encode_prepared"),
    "padding": (transformer.TokenRows, "padded"),
    "reading and tokenising, beside the model": (transformer.TransformerEncoder, "prepare"),
    "writing vectors": (embed, "write_shard"),
}
"""What is timed, and the function that does it."""


def build(papers: str, index: Path, limit: int | None) -> dict[str, Any]:
    """Seconds of the whole and of its parts, the share of the forward passes, and the peak memory in MB."""
    spent = dict.fromkeys(PARTS, 0.0)
    for name, (owner, function) in PARTS.items():
        setattr(owner, function, _timed(getattr(owner, function), name, spent))
    imported = time.perf_counter()
    begun: dict[str, float] = {}

    def note(step: Step) -> None:
        begun.setdefault(step.stage.value, time.perf_counter())

    report = build_index(papers, index, options=BuildOptions(limit=limit), progress=note)
    end = time.perf_counter()
    spent["in the model"] -= spent["loading the weights"] + spent["padding"]
    times = [*begun.values(), end]
    stages = {name: after - at for (name, at), after in zip(begun.items(), times[1:], strict=True)}
    return {
        "n_papers": report.n_papers,
        "seconds": end - STARTED,
        "stages": {"importing": imported - STARTED, **stages},
        "parts": spent,
        "forward_share": spent["in the model"] / (end - STARTED),
        "forward_share_of_embedding": spent["in the model"] / stages["embedding"],
        "peak_mb": peak(),
    }


def _timed(function: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[name] += time.perf_counter() - start

    return timed


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("papers_file")
    parser.add_argument("index", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = build(options.papers_file, options.index, options.limit)
    if options.json:
        json.dump(found, sys.stdout)
        return
    print(f"{found['n_papers']:,} papers in {found['seconds']:.1f} s, peak memory {found['peak_mb']:,.0f} MB")
    for name, seconds in {**found["stages"], **found["parts"]}.items():
        print(f"  {seconds:8.2f} s  {seconds / found['seconds']:6.1%}  {name}")
    print(f"forward passes: {found['forward_share']:.1%} of the whole, {found['forward_share_of_embedding']:.1%} of the"
          " embedding")  # fmt: skip


if __name__ == "__main__":
    main()
