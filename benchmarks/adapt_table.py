"""The results of `benchmarks.adapt` as Markdown: two tables, and the differences with their intervals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.adapt_plan import FAMILIES, PAIRS, Chain, Result, Variant
from benchmarks.adapt_steps import steps
from embedsearch.language.perplexity import Losses
from embedsearch.language.surprise import Surprise, measure
from embedsearch.measures import Interval, mean_interval

BEGIN, END = "<!-- table: made by `python -m benchmarks.adapt --write` -->", "<!-- end of the table -->"
MODES = ("dense", "keyword", "hybrid")
NAMES = {"effective_rank": "effective rank", "auc": "AUC of equal categories"}


def block(chain: Chain) -> str:
    """All of it, between its markers."""
    parts = [BEGIN, _about(chain), space_table(chain)]
    parts += [retrieval_table(chain, queries) for queries in _query_sets(chain)]
    parts.append(guard_table(chain))
    parts += ["Differences, with their 95 % intervals, paired over the same papers or queries:", _differences(chain)]
    return "\n\n".join([*parts, END])


def write_block(path: Path, text: str) -> None:
    """Put it in place of what stands between the markers. Raises ValueError where the file has no such pair."""
    page = path.read_text(encoding="utf-8")
    begin, end = page.find(BEGIN), page.find(END)
    if begin < 0 or end < begin:
        raise ValueError(f"expected {BEGIN} and {END} in {path}, found no such pair; put them where the table belongs")
    path.write_text(page[:begin] + text + page[end + len(END) :], encoding="utf-8")


def _read(chain: Chain, step: str) -> Result:
    found: Result = json.loads(chain.result(step).read_bytes())
    return found


def _label(chain: Chain, variant: Variant) -> str:
    base = Path({"encoder": chain.encoder, "language_model": chain.language_model}[variant.family]).name
    return base if variant.name == "base" else f"{base}, {variant.name}"


def _about(chain: Chain) -> str:
    parts, sizes = _read(chain, "split"), chain.sizes
    minutes = sum(_read(chain, step)["step_seconds"] for step, _ in steps(chain)) / 60
    trained = [
        f"{_label(chain, v)}: {_read(chain, f'finetune {v.slug}')['step_seconds'] / 60:.0f} min"
        for v in chain.variants
        if v.objective
    ]
    encoder, reader = Path(chain.encoder).name, Path(chain.language_model).name
    return (
        f"{parts['encoder']:,} papers trained {encoder}, {parts['language_model']:,} of them {reader} (epochs:"
        f" {sizes.causal_epochs:g} causal, {sizes.contrastive_epochs:g} contrastive). Measured on {parts['held-out']:,}"
        f" other papers, perplexity on {_n_texts(chain):,} of them. {minutes:.0f} minutes in all, of which the"
        f" trainings and what they measure took: {', '.join(trained)}. Intervals hold 95 %, ± is one standard error;"
        " what has no head predicts no tokens."
    )


def _n_texts(chain: Chain) -> int:
    return len(_read(chain, "perplexity language_model-base")["nats"])


def surprises(chain: Chain) -> Surprise:
    """What `perplexity` makes of the losses of the language models that have a head, named as variants."""
    names, losses = [], []
    for variant in chain.of("language_model"):
        found = _read(chain, f"perplexity {variant.slug}")
        if "refused" not in found:
            names.append(variant.name)
            losses.append(Losses(**{field.name: np.array(found[field.name]) for field in fields(Losses)}))
    return measure((), names, losses)


def space_table(chain: Chain) -> str:
    """Perplexity, bits per byte, and the space that each model makes."""
    of_model = {model.name: model for model in surprises(chain).models}
    lines = [
        "| | perplexity | bits per byte | mean cosine | sd of cosines | effective rank |",
        "|---|---|---|---|---|---|",
    ]
    for family in FAMILIES:
        measures = _read(chain, f"compare {family}")["measures"]
        for variant in chain.of(family):
            cells = ["no head", "no head"]
            if family == "language_model" and variant.name in of_model:
                figures = of_model[variant.name]
                cells = [_interval(figures.perplexity, 1), _interval(figures.bits_per_byte, 3)]
            of_space = measures[variant.name]
            cells += [_with_error(of_space[name], 3) for name in ("mean", "sd")]
            cells.append(_with_error(of_space["effective_rank"], 1))
            lines.append(f"| {_label(chain, variant)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _query_sets(chain: Chain) -> list[str]:
    return list(_read(chain, "evaluate encoder")["values"])


def retrieval_table(chain: Chain, queries: str) -> str:
    """MRR@10 by mode, for one set of queries."""
    n = len(next(iter(_read(chain, "evaluate encoder")["values"][queries][MODES[0]].values())))
    lines = [f"| MRR@10, {n:,} queries ({queries}) | {' | '.join(MODES)} |", "|---|---|---|---|"]
    for family in FAMILIES:
        values = _read(chain, f"evaluate {family}")["values"][queries]
        for variant in chain.of(family):
            cells = [_interval(mean_interval(values[mode][variant.name]), 3) for mode in MODES]
            lines.append(f"| {_label(chain, variant)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def guard_table(chain: Chain) -> str:
    """What each contrastive training measured before and after of what it was not to make worse."""
    lines = ["| before → after, difference | " + " | ".join(_label(chain, v) for v in _contrastive(chain)) + " |"]
    lines.append("|---" * (1 + len(_contrastive(chain))) + "|")
    cells: dict[str, list[str]] = {}
    for variant in _contrastive(chain):
        for m in _read(chain, f"finetune {variant.slug}")["measures"]:
            difference = f", {_signed(Interval(**m['difference']), 3)}" if m["difference"] else ""
            cells.setdefault(m["name"], []).append(f"{m['before']:.3f} → {m['after']:.3f}{difference}")
    return "\n".join([*lines, *(f"| {name} | {' | '.join(row)} |" for name, row in cells.items())])


def _contrastive(chain: Chain) -> list[Variant]:
    return [variant for variant in chain.variants if variant.objective == "contrastive"]


def _differences(chain: Chain) -> str:
    return "\n".join(f"- {line}" for line in differences(chain))


def differences(chain: Chain) -> Iterator[str]:
    """A line for each pair of PAIRS."""
    for family in FAMILIES:
        of_name = {variant.name: variant for variant in chain.of(family)}
        for after, before in PAIRS:
            if after in of_name and before in of_name:
                found = [*_language(chain, family, after, before), *_space(chain, family, after, before)]
                found += _retrieval(chain, family, after, before)
                names = f"{_label(chain, of_name[after])} less {_label(chain, of_name[before])}"
                yield f"{names}: {'; '.join(found)}."


def _language(chain: Chain, family: str, after: str, before: str) -> Iterator[str]:
    if family != "language_model" or before != "base":
        return
    for found in surprises(chain).differences:
        if found.name == after:
            yield f"perplexity {_signed(found.perplexity, 1)} %"
            yield f"bits per byte {_signed(found.bits_per_byte, 1)} %"


def _space(chain: Chain, family: str, after: str, before: str) -> Iterator[str]:
    for name, values in _read(chain, f"compare {family}")["differences"][f"{after} - {before}"].items():
        yield f"{NAMES[name]} {_signed(Interval(*values), 3 if name == 'auc' else 1)}"


def _retrieval(chain: Chain, family: str, after: str, before: str) -> Iterator[str]:
    for queries, modes in _read(chain, f"evaluate {family}")["values"].items():
        for mode in ("dense", "hybrid"):
            paired = np.array(modes[mode][after]) - np.array(modes[mode][before])
            yield f"MRR@10 of {queries}, {mode} {_signed(mean_interval(paired), 3)}"


def _interval(found: Interval, digits: int) -> str:
    return f"{found.mean:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def _signed(found: Interval, digits: int) -> str:
    return f"{found.mean:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"


def _with_error(found: list[Any], digits: int) -> str:
    value, error = found
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def options_of(chain: Chain) -> Result:
    """What must be the same for results to belong together."""
    return {
        "papers": chain.papers.name,
        "encoder": chain.encoder,
        "language_model": chain.language_model,
        "queries": chain.queries.name,
    } | asdict(chain.sizes)
