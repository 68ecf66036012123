"""The steps of `benchmarks.adapt`: each does what the command of its name does, and gives what JSON can hold."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

from benchmarks.adapt_plan import FAMILIES, PAIRS, Chain, Result, Variant
from benchmarks.machine import ROOT
from embedsearch import BuildOptions, Space, build_index
from embedsearch.ann import AnnKind
from embedsearch.corpus import sample_key
from embedsearch.encoders import ModelSpec
from embedsearch.errors import EncoderError
from embedsearch.evaluate import Entry, Papers, Task, evaluate, make_sets
from embedsearch.evaluate.qrels import read_query_sets
from embedsearch.language.papers import read_papers
from embedsearch.pairs.compare import compare
from embedsearch.pairs.compare.categories import primary_categories
from embedsearch.records import Paper
from embedsearch.store.atomic import write_bytes

MEASURE = "MRR@10"
SEED = 7
"""Of the hash that says which papers are held out from all trainings."""
SHAPE = ("effective_rank", "auc")
"""Measures of a space of which differences are shown, raw or centred as `compare` defines them."""


def steps(chain: Chain) -> Iterator[tuple[str, Callable[[], Result]]]:
    """All of them, in their order."""
    yield "split", lambda: split(chain)
    for variant in chain.variants:
        if variant.objective is not None:
            yield f"finetune {variant.slug}", lambda variant=variant: finetune(chain, variant)
        if variant.family == "language_model":
            yield f"perplexity {variant.slug}", lambda variant=variant: perplexity(chain, variant)
        yield f"build-index {variant.slug}", lambda variant=variant: index(chain, variant)
    for family in FAMILIES:
        yield f"evaluate {family}", lambda family=family: evaluated(chain, family)
        yield f"compare {family}", lambda family=family: compared(chain, family)
    for variant in chain.variants:
        if variant.objective is not None:
            yield f"similarity-plot {variant.slug}", lambda variant=variant: plot(chain, variant)


def split(chain: Chain) -> Result:
    """Papers that are held out, by hash and because a question asks for them; of the others, those to train on."""
    found = read_papers(chain.papers).papers
    asked = {id for one in read_query_sets(chain.queries)[0] for query in one.queries for id in query.relevant}
    order = sorted(found, key=lambda paper: (paper.id not in asked, sample_key(paper.id, SEED)))
    held = order[: max(chain.sizes.held_out, len(asked & {paper.id for paper in found}))]
    titles = {_plain(paper) for paper in held}
    rest = [paper for paper in order[len(held) :] if not paper.title or _plain(paper) not in titles]
    parts = {
        "held-out": held,
        "encoder": rest[: chain.sizes.encoder_train or None],
        "language_model": rest[: chain.sizes.train],
    }
    for name, papers in parts.items():
        write_bytes(chain.corpus(name), "".join(map(_line, papers)).encode())
    n_asked = len(asked & {paper.id for paper in held})
    return {"n_asked": n_asked} | {name: len(papers) for name, papers in parts.items()}


def _plain(paper: Paper) -> str:
    return " ".join(paper.title.lower().split())


def _line(paper: Paper) -> str:
    record = {
        "id": paper.id,
        "title": paper.title,
        "abstract": paper.abstract,
        "authors": list(paper.authors),
        "categories": " ".join(paper.categories),
        "published": paper.published,
    }
    return json.dumps(record, ensure_ascii=False) + "\n"


def finetune(chain: Chain, variant: Variant) -> Result:
    """The report of the training. One that was stopped goes on."""
    from embedsearch.training.causal.finetune import CausalOptions, finetune_causal
    from embedsearch.training.contrastive.finetune import ContrastiveOptions, finetune_contrastive

    parent = next(one for one in chain.of(variant.family) if one.name == variant.parent)
    papers = read_papers(chain.corpus(variant.family)).papers
    out, sizes, model = Path(chain.model(variant)), chain.sizes, chain.model(parent)
    out.parent.mkdir(exist_ok=True)
    if variant.objective == "causal":
        causal = CausalOptions(model=model, epochs=sizes.causal_epochs, token_budget=sizes.causal_tokens)
        return finetune_causal(papers, causal, out).as_dict()
    options = ContrastiveOptions(model=model)
    if variant.family == "language_model":
        options = ContrastiveOptions(
            model=model, epochs=sizes.contrastive_epochs, max_tokens=sizes.contrastive_tokens, batch=sizes.batch,
            micro_batch=min(8, sizes.batch), learning_rate=sizes.rate,
        )  # fmt: skip
    return finetune_contrastive(papers, options, out).as_dict()


def perplexity(chain: Chain, variant: Variant) -> Result:
    """The losses of each text, as lists. What has learnt from pairs predicts tokens still where its head is the table
    of its words, and has no head otherwise."""
    from embedsearch.language.language_model import open_language_model
    from embedsearch.language.perplexity import paper_losses

    texts = read_papers(chain.corpus("held-out")).texts[: chain.sizes.perplexity]
    try:
        model = open_language_model(chain.model(variant))
    except EncoderError as error:
        if variant.objective != "contrastive":
            raise
        return {"refused": str(error)}
    losses = paper_losses(model, texts)
    return {field.name: getattr(losses, field.name).tolist() for field in fields(losses)}


def index(chain: Chain, variant: Variant) -> Result:
    """The store of the held-out papers, searched exactly."""
    options = BuildOptions(ann=AnnKind.EXACT)
    spec = ModelSpec(name=chain.model(variant))
    report = build_index(chain.corpus("held-out"), chain.index(variant), model=spec, options=options)
    return {"n_papers": report.n_papers, "n_truncated": report.n_truncated}


def evaluated(chain: Chain, family: str) -> Result:
    """By queries, mode and variant: the reciprocal rank of each query."""
    entries = [Entry.open(chain.index(variant), name=variant.name) for variant in chain.of(family)]
    papers, _ = Papers.common(entries)
    asks = json.loads(chain.result("split").read_bytes())["n_asked"] > 0
    tasks = (Task.TITLE, Task.QRELS) if asks else (Task.TITLE,)
    sets, notes = make_sets(papers, tasks, n_queries=len(papers), queries=chain.queries if asks else None)
    values: Result = {}
    for found in evaluate(entries, papers, sets).figures:
        values.setdefault(found.queries, {}).setdefault(found.mode, {})[found.entry] = found.values[MEASURE].tolist()
    return {"values": values, "n_papers": len(papers), "notes": notes}


def compared(chain: Chain, family: str) -> Result:
    """Mean and sd of the cosines of all pairs and the shape of each space, with errors; differences, paired."""
    variants = chain.of(family)
    spaces = [Space.open(chain.index(variant)) for variant in variants]
    found = compare(spaces, categories=primary_categories(spaces[0].ids, [chain.index(variants[0])]))
    of = {variant.name: space.panels for variant, space in zip(variants, found.spaces, strict=True)}
    shape = {name: panels["raw"].measures | panels["centred"].measures for name, panels in of.items()}
    differences = {}
    for after, before in PAIRS:
        if after in of and before in of:
            each = {name: shape[after][name].minus(shape[before][name]) for name in SHAPE if name in shape[after]}
            differences[f"{after} - {before}"] = {
                name: [m.value, *m.interval] for name, m in each.items() if math.isfinite(m.error)
            }
    measures = {
        name: {"mean": [panels["raw"].mean.value, panels["raw"].mean.error],
               "sd": [panels["raw"].sd.value, panels["raw"].sd.error]}
        | {key: [shape[name][key].value, shape[name][key].error] for key in SHAPE if key in shape[name]}
        for name, panels in of.items()
    }  # fmt: skip
    return {"measures": measures, "differences": differences, "n_papers": found.n_papers}


def plot(chain: Chain, variant: Variant) -> Result:
    """The figure of a space beside its base's."""
    out = chain.work / "figures" / f"{variant.slug}.png"
    out.parent.mkdir(exist_ok=True)
    base = chain.index(chain.of(variant.family)[0])
    command = ["similarity-plot", "--index", str(chain.index(variant)), "--against", str(base), "--out", str(out)]
    subprocess.run([sys.executable, "-m", "embedsearch", *command, "-q"], cwd=ROOT, check=True, stdout=sys.stderr)
    return {"figure": str(out)}
