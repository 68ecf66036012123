"""What a training did, as tables, CSV and JSON."""

from __future__ import annotations

from embedsearch.render import tables
from embedsearch.render.tables import Column, Table
from embedsearch.training.report import TrainingReport


def measure_table(report: TrainingReport) -> Table:
    """Each figure before and after, with the paired difference and its interval."""
    columns = ("measure", "before", "after", "difference", "low", "high")
    rows = []
    for measure in report.measures:
        paired = measure.difference
        ends = (paired.mean, paired.low, paired.high) if paired else (measure.after - measure.before, None, None)
        rows.append((measure.name, measure.before, measure.after, *ends))
    caption = (
        f"{report.base}, {report.objective}: {report.n_train:,} papers trained on, {report.n_validation:,} held out. "
        "Low to high holds 95 %, paired."
    )
    return Table(tuple(Column(name) for name in columns), tuple(rows), caption)


def loss_table(report: TrainingReport, *, each_step: bool = False) -> Table:
    """Training and validation loss: where there was a validation, with the mean of the steps up to it; or each step."""
    columns = (Column("step"), Column("epoch", digits=2), Column("train"), Column("validation"))
    rows, since = [], list[float]()
    for point in report.losses:
        since.extend([] if point.train is None else [point.train])
        if each_step:
            rows.append((point.step, point.epoch, point.train, point.validation))
        elif point.validation is not None:
            mean = sum(since) / len(since) if since else None
            rows.append((point.step, point.epoch, mean, point.validation))
            since = []
    caption = "Losses" if each_step else "Losses; of the training, the mean of the steps since the line above"
    return Table(columns, tuple(rows), f"{caption}.")


def to_text(report: TrainingReport, format: str, *, width: int | None = None) -> str:
    """As `table` or `latex` both tables, as `csv` the measures, as `json` the whole report."""
    if format == "json":
        return tables.to_json(report.as_dict())
    made = [measure_table(report)]
    losses = loss_table(report)
    if format != "csv" and losses.rows:
        made.append(losses)
    return "\n".join(tables.to_text(table, format, width=width) for table in made)
