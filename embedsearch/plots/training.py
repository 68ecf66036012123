"""The figure of a training: the loss of each step, its running mean, and the validation's."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from embedsearch.plots.style import GREY, LOOKS, ONE_COLUMN, PALE, journal_style
from embedsearch.training.report import TrainingReport

HEIGHT = 2.3
SMOOTHED = 20
"""The running mean is over a twentieth of all steps."""


def loss_figure(report: TrainingReport) -> Figure:
    """One column wide: steps along, loss upwards; dots where the held-out papers were measured."""
    train = [(point.step, point.train) for point in report.losses if point.train is not None]
    validation = [(point.step, point.validation) for point in report.losses if point.validation is not None]
    with journal_style():
        figure = Figure(figsize=(ONE_COLUMN, HEIGHT), layout="constrained")
        ax = figure.add_subplot()
        steps, losses = [step for step, _ in train], [loss for _, loss in train]
        ax.plot(steps, losses, color=PALE, linewidth=0.6, label="each step")
        if len(train) > SMOOTHED:
            ax.plot(steps, _running(losses), color=GREY, linewidth=1.1, label="running mean")
        if validation:
            ax.plot(
                [step for step, _ in validation],
                [loss for _, loss in validation],
                color=LOOKS[1].colour,
                linewidth=1.1,
                marker="o",
                markersize=3.2,
                label="held-out papers",
            )
        ax.set_xlabel("step")
        ax.set_ylabel("loss (nats)")
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.legend()
    return figure


def _running(losses: Sequence[float]) -> list[float]:
    """The mean of the steps up to each, over a window."""
    window = max(2, len(losses) // SMOOTHED)
    starts = [max(0, i + 1 - window) for i in range(len(losses))]
    return [sum(losses[start : i + 1]) / (i + 1 - start) for i, start in enumerate(starts)]
