"""What stands beside a similarity figure: its tables, and every number that it draws as JSON and CSV."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from embedsearch.pairs.figure import RAW, Panel, SimilarityFigure
from embedsearch.pairs.moments import Estimate
from embedsearch.render import tables
from embedsearch.render.tables import Column, Table
from embedsearch.store.atomic import write_bytes


def space_table(data: SimilarityFigure) -> Table:
    """A row for each space and transform: papers, pairs, mean and sd with errors, range, Spearman with the first space.

    For each space that pairs were binned by, in order, the pooled sd in its bins over the sd of all pairs.
    """
    columns = [
        Column("space"), Column("transform"), Column("n_papers", "papers"), Column("n_pairs", "pairs"), Column("mean"),
        Column("sd"), Column("minimum", "min"), Column("maximum", "max"), Column("spearman", "Spearman"),
    ]  # fmt: skip
    first = data.panels[0]
    by = [first.spaces[ridges.by].label for ridges in first.ridges]
    columns += [Column(f"ratio_by_{i + 1}", f"sd in bins of {label} / sd", 2) for i, label in enumerate(by)]
    rows = [
        (
            space.label, panel.transform, data.n_papers, data.n_pairs, space.mean, space.sd, space.minimum,
            space.maximum, space.spearman, *(ridges.spaces[i].pooled_ratio for ridges in panel.ridges),
        )
        for panel in data.panels
        for i, space in enumerate(panel.spaces)
    ]  # fmt: skip
    kept = [c for c in range(len(columns)) if not _is_idle(columns[c].name, data)]
    return Table(tuple(columns[c] for c in kept), tuple(tuple(row[c] for c in kept) for row in rows))


def _is_idle(column: str, data: SimilarityFigure) -> bool:
    """Whether a column would say nothing."""
    if column == "transform":
        return [panel.transform for panel in data.panels] == [RAW]
    return column == "spearman" and len(data.panels[0].spaces) == 1


def bin_tables(data: SimilarityFigure) -> list[Table]:
    """For each transform and space that pairs were binned by, a row a bin: mean, and sd over the sd of all pairs."""
    return [_bin_table(data, panel, i) for panel in data.panels for i in range(len(panel.ridges))]


def _bin_table(data: SimilarityFigure, panel: Panel, i: int) -> Table:
    ridges = panel.ridges[i]
    columns = [Column("bin"), Column("from", digits=4), Column("to", digits=4), Column("share")]
    for space in panel.spaces:
        columns += [Column(f"{space.label} mean"), Column(f"{space.label} sd/sd", digits=2)]
    rows = []
    for b in range(len(ridges.n_pairs)):
        row: list[Any] = [b + 1, float(ridges.edges[b]), float(ridges.edges[b + 1])]
        row.append(Estimate(float(ridges.share[b]), float(ridges.share_error[b])))
        for view in ridges.spaces:
            row += [Estimate(float(view.mean[b]), float(view.mean_error[b])), float(view.ratio[b])]
        rows.append(tuple(row))
    transform = "" if len(data.panels) == 1 and panel.transform == RAW else f"{panel.transform}: "
    return Table(tuple(columns), tuple(rows), caption=f"{transform}in bins of {panel.spaces[ridges.by].label}")


def long_table(data: SimilarityFigure) -> Table:
    """A row for each space, transform, binning and bin, for other programs; bin 0 holds all pairs."""
    columns = (
        "transform", "binned_by", "bin", "low", "high", "n_pairs", "share", "space", "mean", "sd", "sd_ratio",
    )  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    for panel in data.panels:
        for space in panel.spaces:
            rows.append(
                (
                    panel.transform, None, 0, space.minimum, space.maximum, data.n_pairs, Estimate(1.0, 0.0),
                    space.label, space.mean, space.sd, 1.0,
                )
            )  # fmt: skip
        for ridges in panel.ridges:
            by = panel.spaces[ridges.by].label
            for b in range(len(ridges.n_pairs)):
                where = (panel.transform, by, b + 1, ridges.edges[b], ridges.edges[b + 1], ridges.n_pairs[b])
                share = Estimate(float(ridges.share[b]), float(ridges.share_error[b]))
                for space, view in zip(panel.spaces, ridges.spaces, strict=True):
                    mean = Estimate(float(view.mean[b]), float(view.mean_error[b]))
                    sd = Estimate(float(view.sd[b]), float(view.sd_error[b]))
                    rows.append((*where, share, space.label, mean, sd, view.ratio[b]))
    return Table(tuple(Column(name) for name in columns), tuple(rows))


def to_text(data: SimilarityFigure, format: str, *, width: int | None = None) -> str:
    """The tables as `table` or `latex` (spaces, then bins), `csv` (the long table), or `json` (both)."""
    if format == "csv":
        return tables.to_text(long_table(data), "csv")
    if format == "json":
        both = {
            "spaces": tables.to_records(space_table(data)),
            "bins": [record for record in tables.to_records(long_table(data)) if record["bin"]],
        }
        return tables.to_json(both)
    texts = [tables.to_text(space_table(data), format, width=width)]
    for table in bin_tables(data):
        if format == "table":  # what the rows are comes first where people read
            texts.append(f"{table.caption}:\n" + tables.to_text(replace(table, caption=""), format, width=width))
        else:
            texts.append(tables.to_text(table, format, width=width))
    return "\n".join(texts)


def write_data(data: SimilarityFigure, path: Path, *, about: Mapping[str, Any], csv: bool = False) -> list[Path]:
    """Write every number drawn beside the figure at `path`, as NAME.json, and with `csv` as NAME.csv; their paths.

    `about` says how they were made (seed, command). Raises OptionError where they cannot be written.
    """
    written = [path.with_suffix(".json")]
    text = compact_json({**about, **data.as_dict()}) + "\n"
    write_bytes(written[0], text.encode(errors="replace"))  # a command's bytes need not be UTF-8
    if csv:
        written.append(path.with_suffix(".csv"))
        write_bytes(written[1], tables.to_text(long_table(data), "csv").encode())
    return written


def compact_json(value: Any, indent: str = "") -> str:
    """JSON with a line for each key, and lists of numbers on one line."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        lines = [f"{inner}{json.dumps(str(key))}: {compact_json(part, inner)}" for key, part in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(part, (dict, list)) for part in value):
        return "[\n" + ",\n".join(inner + compact_json(part, inner) for part in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
