"""Perplexities as tables, as JSON, and each paper's as rows of a file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from embedsearch.corpus import to_text as readable
from embedsearch.language.surprise import Surprise
from embedsearch.measures import Interval
from embedsearch.render import tables
from embedsearch.render.tables import UNKNOWN, Column, Table, counted

PER_PAPER: Mapping[str, type] = {
    "id": str, "model": str, "bits_per_byte": float, "perplexity": float, "n_tokens": int, "n_bytes": int, "title": str
}  # fmt: skip
"""The columns of `paper_rows`, and the types of their values."""
EXTREMES = 5


def to_text(found: Surprise, format: str, *, about: dict[str, Any] | None = None, width: int | None = None) -> str:
    """In a format of `tables.to_text`: `csv` is a row a model, `json` is `to_dict` with `about`."""
    if format == "json":
        return tables.to_json(to_dict(found) | (about or {}))
    if format == "csv":
        return tables.to_text(wide_table(found), "csv")
    made = [model_table(found), *([difference_table(found)] if found.differences else [])]
    return "\n".join(tables.to_text(table, format, width=width) for table in made)


def model_table(found: Surprise) -> Table:
    """A row a model, for people."""
    columns = (
        Column("model"), Column("perplexity", digits=2), Column("perplexity_interval", "95 %"),
        Column("bits_per_byte", "bits per byte"), Column("bits_interval", "95 %"), Column("n_tokens", "tokens"),
    )  # fmt: skip
    rows = tuple(
        (
            model.name, model.perplexity.mean, ends(model.perplexity, 2), model.bits_per_byte.mean,
            ends(model.bits_per_byte, 3), model.n_tokens,
        )
        for model in found.models
    )  # fmt: skip
    n = len(found.papers)
    drawn = "No interval: one paper." if n == 1 else "Intervals: bootstrap over papers."
    return Table(columns, rows, " ".join([f"{counted(n, 'paper')}.", drawn, *found.notes]))


def difference_table(found: Surprise) -> Table:
    """A row for each model but the first, for people."""
    columns = (
        Column("model"), Column("perplexity", digits=1), Column("perplexity_interval", "95 %"),
        Column("bits_per_byte", "bits per byte", digits=1), Column("bits_interval", "95 %"),
    )  # fmt: skip
    rows = tuple(
        (
            each.name, each.perplexity.mean, ends(each.perplexity, 1), each.bits_per_byte.mean,
            ends(each.bits_per_byte, 1),
        )
        for each in found.differences
    )  # fmt: skip
    against = found.differences[0].against
    caption = f"Difference to {against} in per cent, paired over papers; below zero is better."
    return Table(columns, rows, f"{caption} Tokens differ between tokenizers: across those, compare bits per byte.")


def ends(interval: Interval, digits: int) -> str:
    """27.90 to 29.81."""
    if math.isnan(interval.low):
        return UNKNOWN
    return f"{interval.low:,.{digits}f} to {interval.high:,.{digits}f}"


def wide_table(found: Surprise) -> Table:
    """A row a model with all its figures, for programs."""
    names = ["perplexity", "bits_per_byte"]
    parts = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    changes = [f"{name}_percent{end}" for name in names for end in ("", "_low", "_high")]
    columns = [*map(Column, ["model", "n_papers", "n_tokens", "n_bytes", *parts, "against", *changes])]
    rows = []
    for i, model in enumerate(found.models):
        change = found.differences[i - 1] if i else None
        nothing = (None,) * 3
        rows.append(
            (
                model.name, len(found.papers), model.n_tokens, model.n_bytes, *_numbers(model.perplexity),
                *_numbers(model.bits_per_byte), change.against if change else None,
                *(_numbers(change.perplexity) if change else nothing),
                *(_numbers(change.bits_per_byte) if change else nothing),
            )
        )  # fmt: skip
    return Table(tuple(columns), tuple(rows))


def _numbers(interval: Interval) -> tuple[float, float, float]:
    return interval.mean, interval.low, interval.high


def to_dict(found: Surprise) -> dict[str, Any]:
    """Everything but the papers' own figures, of which the most extreme are there; NaN is for `tables.to_json`."""
    most, least = found.extremes(EXTREMES)
    edges, densities = found.distributions()
    return {
        "n_papers": len(found.papers),
        "seed": found.seed,
        "models": [
            {
                "name": model.name,
                "n_tokens": model.n_tokens,
                "n_bytes": model.n_bytes,
                "n_windowed": model.n_windowed,
                "n_unknown": model.n_unknown,
                "first_token": "predicted" if model.predicts_first else "given",
                "perplexity": _interval(model.perplexity),
                "bits_per_byte": _interval(model.bits_per_byte),
                "density": densities[i],
                **model.about,
            }
            for i, model in enumerate(found.models)
        ],
        "edges": edges,
        "differences_percent": [
            {
                "name": each.name,
                "against": each.against,
                "perplexity": _interval(each.perplexity),
                "bits_per_byte": _interval(each.bits_per_byte),
            }
            for each in found.differences
        ],
        "most_surprising": [_paper(found, i) for i in most],
        "least_surprising": [_paper(found, i) for i in least],
        "notes": list(found.notes),
    }


def _interval(interval: Interval) -> dict[str, float]:
    return {"value": interval.mean, "low": interval.low, "high": interval.high}


def _paper(found: Surprise, i: int) -> dict[str, Any]:
    bits = {model.name: model.paper_bits[i] for model in found.models}
    return {"id": found.papers[i].id, "title": readable(found.papers[i].title), "bits_per_byte": bits}


def paper_rows(found: Surprise) -> Iterator[tuple[Any, ...]]:
    """A row of PER_PAPER for each paper and model; None for a figure of a paper without a predicted token."""
    for model in found.models:
        for i, paper in enumerate(found.papers):
            yield (
                paper.id, model.name, _known(model.paper_bits[i]), _known(model.paper_perplexity[i]),
                int(model.paper_tokens[i]), int(model.paper_bytes[i]), readable(paper.title),
            )  # fmt: skip


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
