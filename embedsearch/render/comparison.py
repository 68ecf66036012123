"""A comparison of spaces as tables, as one table in long form, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from embedsearch.pairs.compare import PANELS, QUANTILES, Comparison
from embedsearch.pairs.compare.comparison import PairMeasures, PanelMeasures
from embedsearch.pairs.compare.measured import NORMAL_95, Measured
from embedsearch.pairs.moments import Estimate
from embedsearch.pairs.similarity import distinct_labels
from embedsearch.render import tables
from embedsearch.render.tables import Column, Table

LABELS = {
    "effective_rank": "effective rank",
    "leading_share": "share of leading direction",
    "common_share": "share that all have in common",
    "auc": "AUC, same category",
    "accuracy": "10-NN category accuracy",
    "mrr": "MRR@10, title to abstract",
    "hubness": "hubness, 10-occurrence skew",
}
"""The measures of one space, in the order in which they are shown."""


def labels(found: Comparison) -> list[str]:
    """A name for each space: its model, and where two are the same its folder or file too."""
    return distinct_labels(found.spaces)


def comparison_tables(found: Comparison) -> list[Table]:
    """Each space; with several also what they agree on, and their differences."""
    made = [_space_table(found)]
    if found.pairs:
        made += [_agreement_table(found), _difference_table(found)]
    return made


def to_text(found: Comparison, format: str, *, about: dict[str, Any] | None = None, width: int | None = None) -> str:
    """In a format of `tables.to_text`: `csv` is the long form, a number a line; `json` is `to_dict` with `about`."""
    if format == "json":
        return tables.to_json(to_dict(found) | (about or {}))
    if format == "csv":
        return tables.to_text(long_table(found), "csv")
    return "\n".join(tables.to_text(table, format, width=width) for table in comparison_tables(found))


def _space_table(found: Comparison) -> Table:
    columns = [Column("measure")]
    for label in labels(found):
        columns += [Column(f"{label} {panel}", f"{label}, {panel}") for panel in PANELS]
    rows: list[tuple[Any, ...]] = [
        ("mean cosine", *(panel.mean for panel in _panels(found))),
        ("sd of cosines", *(panel.sd for panel in _panels(found))),
    ]
    for i, share in enumerate(QUANTILES):
        rows.append((f"{share:.0%} of pairs below", *(panel.quantiles[i] for panel in _panels(found))))
    for name, label in LABELS.items():
        cells = [panel.measures.get(name) for panel in _panels(found)]
        if any(cell is not None and math.isfinite(cell.value) for cell in cells):
            rows.append((label, *cells))
    notes = [f"{found.n_papers:,} papers, {found.n_pairs:,} pairs"]
    if found.n_categories:
        known = "" if found.n_known == found.n_papers else f" of {found.n_known:,} papers"
        notes.append(f"{found.n_categories} primary categories{known}")
    if any(found.n_titles):
        notes.append(f"{max(found.n_titles):,} titles")
    return Table(tuple(columns), tuple(rows), f"{'; '.join(notes)}. ± is one standard error.")


def _panels(found: Comparison) -> list[PanelMeasures]:
    """In the order of the columns."""
    return [space.panels[panel] for space in found.spaces for panel in PANELS]


def _agreement_table(found: Comparison) -> Table:
    names = labels(found)
    columns = [Column("measure")]
    for pair in found.pairs:
        label = f"{names[pair.first]} | {names[pair.second]}"
        columns += [Column(f"{label} {panel}", f"{label}, {panel}") for panel in PANELS]
    each = [(pair, panel) for pair in found.pairs for panel in PANELS]
    resolution = max(pair.panels[panel].spearman_resolution for pair, panel in each)
    rows: list[tuple[Any, ...]] = [
        ("Pearson", *(pair.panels[panel].pearson for pair, panel in each)),
        (f"Spearman (to ±{resolution:.0e})", *(pair.panels[panel].spearman for pair, panel in each)),
    ]
    for k, chance in found.chance.items():
        label = f"overlap of {k} neighbours (chance {chance:.4f})"
        rows.append((label, *(pair.panels[panel].overlap[k] for pair, panel in each)))
    for k in found.pairs[0].cka:
        # Centring is in its definition, so there is one figure for both
        cells = [pair.cka[k] if panel == PANELS[-1] else None for pair, panel in each]
        rows.append((cka_label(k), *cells))
    return Table(tuple(columns), tuple(rows), "What two spaces agree on, over the same pairs and papers.")


def cka_label(k: int) -> str:
    """CKA without k leading directions."""
    return "debiased CKA" if not k else f"debiased CKA without {k} leading direction{'s' * (k > 1)}"


def _difference_table(found: Comparison) -> Table:
    names = labels(found)
    columns = (
        Column("measure"),
        Column("difference"),
        Column("panel"),
        Column("value"),
        Column("low", digits=4),
        Column("high", digits=4),
    )
    rows = tuple(
        (LABELS[name], f"{names[pair.first]} - {names[pair.second]}", panel, value, *value.interval)
        for pair in found.pairs
        for name in LABELS
        for panel in PANELS
        if (value := pair.differences[panel].get(name)) is not None and math.isfinite(value.value)
    )
    return Table(columns, rows, "Paired differences: the same papers, halves and titles. Low to high holds 95 %.")


def long_table(found: Comparison) -> Table:
    """One number a row, with its error and 95 % interval where they are known."""
    names = ("of", "measure", "space", "other", "panel", "value", "error", "low", "high")
    return Table(tuple(Column(name) for name in names), tuple(_long(found)))


def _long(found: Comparison) -> Iterator[tuple[Any, ...]]:
    names = labels(found)
    for label, space in zip(names, found.spaces, strict=True):
        for panel, of in space.panels.items():
            yield ("space", "mean", label, None, panel, *_numbers(of.mean))
            yield ("space", "sd", label, None, panel, *_numbers(of.sd))
            for share, value in zip(QUANTILES, of.quantiles, strict=True):
                yield ("space", f"quantile_{share}", label, None, panel, value, None, None, None)
            for name, measured in of.measures.items():
                yield ("space", name, label, None, panel, *_numbers(measured))
    for pair in found.pairs:
        both = (names[pair.first], names[pair.second])
        for panel, agreement in pair.panels.items():
            yield ("pair", "pearson", *both, panel, *_numbers(agreement.pearson))
            yield ("pair", "spearman", *both, panel, agreement.spearman, None, None, None)
            for k, measured in agreement.overlap.items():
                yield ("pair", f"overlap_{k}", *both, panel, *_numbers(measured))
                yield ("pair", f"overlap_{k}_chance", *both, panel, found.chance[k], None, None, None)
        for k, estimate in pair.cka.items():
            yield ("pair", f"cka_without_{k}", *both, None, *_numbers(estimate))
        for panel, differences in pair.differences.items():
            for name, measured in differences.items():
                yield ("difference", name, *both, panel, *_numbers(measured))


def _numbers(of: Estimate | Measured) -> tuple[float, float, float, float]:
    """Value, error, and the ends of the 95 % interval."""
    return of.value, of.error, of.value - NORMAL_95 * of.error, of.value + NORMAL_95 * of.error


def to_dict(found: Comparison) -> dict[str, Any]:
    """Everything, as JSON can have it once NaN is None."""
    options = found.options
    return {
        "n_papers": found.n_papers,
        "n_pairs": found.n_pairs,
        "n_categories": found.n_categories,
        "n_papers_with_category": found.n_known,
        "n_titles": list(found.n_titles),
        "n_halves": options.n_halves,
        "seed": options.seed,
        "fast": options.fast,
        "spaces": [
            {"label": label, "name": space.name, "dim": space.dim, "recipe": dict(space.recipe)}
            | {panel: _panel_dict(of) for panel, of in space.panels.items()}
            for label, space in zip(labels(found), found.spaces, strict=True)
        ],
        "pairs": [_pair_dict(found, pair) for pair in found.pairs],
        "notes": list(found.notes),
    }


def _panel_dict(of: PanelMeasures) -> dict[str, Any]:
    return {
        "mean": _number(of.mean),
        "sd": _number(of.sd),
        "quantiles": {str(share): value for share, value in zip(QUANTILES, of.quantiles, strict=True)},
    } | {name: _number(value) for name, value in of.measures.items()}


def _pair_dict(found: Comparison, pair: PairMeasures) -> dict[str, Any]:
    return {
        "first": pair.first,
        "second": pair.second,
        **{
            panel: {
                "pearson": _number(of.pearson),
                "spearman": {"value": of.spearman, "resolution": of.spearman_resolution},
                "overlap": {str(k): _number(value) | {"chance": found.chance[k]} for k, value in of.overlap.items()},
                "differences": {name: _number(value) for name, value in pair.differences[panel].items()},
            }
            for panel, of in pair.panels.items()
        },
        "cka": {f"without_{k}": _number(value) for k, value in pair.cka.items()},
    }


def _number(of: Estimate | Measured) -> dict[str, Any]:
    value, error, low, high = _numbers(of)
    return {"value": value, "error": error, "interval_95": [low, high]}
