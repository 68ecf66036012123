"""The whole chain on one corpus: fine-tune an encoder and a language model, and see what that did to each.

    python -m benchmarks.adapt --papers FILE [--work FOLDER] [--train 600] [--held-out 600] [...] [--list]
    python -m benchmarks.adapt --work FOLDER --table
    python -m benchmarks.adapt --work FOLDER --write docs/adapt.md

finetune (contrastive for both, causal, and causal then contrastive for the language model), perplexity, build-index,
evaluate, compare and similarity-plot against the base, on papers that no training saw. Each step leaves its result as
JSON in the work folder; stopped, the same command goes on where it was, within a training too. `--table` prints the
tables, `--write` puts them between the markers of a page; both need no options but the folder.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from benchmarks import environments
from benchmarks.adapt_plan import Chain, Sizes
from benchmarks.adapt_steps import steps
from benchmarks.adapt_table import block, options_of, write_block
from embedsearch.errors import EmbedsearchError
from embedsearch.store.atomic import write_bytes

QUERIES = Path(__file__).with_name("user_queries.jsonl")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.adapt", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--papers", type=Path, metavar="FILE")
    parser.add_argument("--work", type=Path, metavar="FOLDER", default=environments.work() / "adapt")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--language-model", default="smollm2")
    parser.add_argument("--queries", type=Path, default=QUERIES, metavar="FILE", help="questions and their papers")
    for size in fields(Sizes):
        default = size.default
        parser.add_argument(f"--{size.name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument(
        "--without", action="append", default=[], metavar="VARIANT", help="leave one out: 'causal then contrastive'"
    )
    parser.add_argument("--list", action="store_true", help="the steps, and which of them are done")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--write", type=Path, metavar="PAGE")
    options = parser.parse_args(arguments)
    if options.papers is None and not (options.table or options.write):
        parser.error("expected --papers FILE, or --table or --write of a folder that is finished")
    return options


def chain_of(options: argparse.Namespace) -> Chain:
    """What the command line asks for; without --papers what the folder was made with."""
    kept = options.work / "options.json"
    if options.papers is None:
        if not kept.exists():
            raise SystemExit(
                f"Error: expected a finished chain in {options.work}, found none; name --papers to run one"
            )
        made = json.loads(kept.read_bytes())
        return _chain(options.work, made, Path(made["papers"]), Path(made["queries"]))
    asked = vars(options)
    chain = _chain(options.work, asked, options.papers.resolve(), options.queries.resolve())
    if kept.exists() and (made := json.loads(kept.read_bytes())) != options_of(chain):
        differ = [name for name, value in options_of(chain).items() if made.get(name) != value]
        raise SystemExit(f"Error: expected {', '.join(differ)} as in {kept}, found another; name another --work")
    return chain


def _chain(work: Path, made: dict[str, object], papers: Path, queries: Path) -> Chain:
    sizes = Sizes(**{size.name: made[size.name] for size in fields(Sizes)})  # type: ignore[arg-type]
    names = {name: str(made[name]) for name in ("encoder", "language_model")}
    return Chain(work=work, papers=papers, queries=queries, sizes=sizes, **names)  # type: ignore[arg-type]


def run(chain: Chain) -> None:
    """All steps that are not done."""
    for folder in ("results", "models", "indexes", "figures"):
        (chain.work / folder).mkdir(parents=True, exist_ok=True)
    write_bytes(chain.work / "options.json", json.dumps(options_of(chain), indent=1).encode())
    all_steps = list(steps(chain))
    for number, (name, do) in enumerate(all_steps, 1):
        if chain.result(name).exists():
            continue
        print(f"{number} of {len(all_steps)}: {name}", file=sys.stderr, flush=True)
        start = time.monotonic()
        found = do()
        seconds = time.monotonic() - start
        write_bytes(chain.result(name), json.dumps(found | {"step_seconds": seconds}).encode())
        print(f"    {seconds / 60:.1f} min", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it."""
    options = parse(arguments)
    os.environ["HF_HUB_OFFLINE"] = "1"
    logging.basicConfig(level=logging.WARNING, format="    %(message)s")
    chain = replace(chain_of(options), without=tuple(options.without))
    if options.list:
        for name, _ in steps(chain):
            print(f"{'done' if chain.result(name).exists() else '    '}  {name}")
        return
    try:
        if options.papers is not None:
            run(chain)
        missing = [name for name, _ in steps(chain) if not chain.result(name).exists()]
        if missing:
            raise SystemExit(
                f"Error: expected all steps done in {chain.work}, found {missing[0]} missing; run it first"
            )
        text = block(chain)
        if options.write:
            write_block(options.write, text)
        else:
            print(text)
    except (EmbedsearchError, ValueError) as error:
        raise SystemExit(f"Error: {error}") from error


if __name__ == "__main__":
    main()
