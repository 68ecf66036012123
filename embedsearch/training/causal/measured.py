"""Perplexity of the held-out papers before and after a training, as measures with their intervals."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedsearch.language.perplexity import Losses, bits_per_byte, perplexity
from embedsearch.language.surprise import measure
from embedsearch.measures import Interval
from embedsearch.training.report import Measure

N_RESAMPLES = 2000


def as_numbers(losses: Losses) -> dict[str, list[float]]:
    """Losses as JSON can hold them."""
    return {field.name: getattr(losses, field.name).tolist() for field in fields(losses)}


def as_losses(numbers: dict[str, Any]) -> Losses:
    """The losses that `as_numbers` gave."""
    arrays: dict[str, Any] = {
        name: np.array(values, np.float64 if "nats" in name else np.int64) for name, values in numbers.items()
    }
    return Losses(**arrays)


def measures(before: Losses, after: Losses) -> tuple[tuple[Measure, ...], tuple[str, ...]]:
    """Perplexity and bits per byte, each with the paired difference, and a sentence that says it in per cent.

    Intervals are over papers (percentile bootstrap); there is none of one paper.
    """
    found = measure([], ["the base", "the new model"], [before, after])
    n = len(before.nats)
    picks = np.random.default_rng(0).integers(n, size=(N_RESAMPLES, n))
    made = []
    for name, counted, of in (("perplexity", "n_tokens", perplexity), ("bits per byte", "n_bytes", bits_per_byte)):
        interval = None
        if n > 1:
            drawn = [_resampled(losses, getattr(losses, counted), picks) for losses in (before, after)]
            a, b = (np.exp(nats) if of is perplexity else nats / np.log(2) for nats in drawn)
            low, high = np.quantile(b - a, [0.025, 0.975])
            interval = Interval(of(after) - of(before), float(low), float(high))
        made.append(Measure(name, of(before), of(after), interval))
    percent = found.differences[0].perplexity
    reach = f" [{percent.low:+.1f}, {percent.high:+.1f}]" if n > 1 else ""
    notes = [f"perplexity of {n:,} held-out papers {percent.mean:+.1f} %{reach}", *found.notes]
    return tuple(made), tuple(notes)


def _resampled(losses: Losses, counts: NDArray[np.int64], picks: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N_RESAMPLES,): nats for each token or byte that is counted, of the papers that `picks` draws."""
    ratio: NDArray[np.float64] = losses.nats[picks].sum(axis=1) / counts[picks].sum(axis=1)
    return ratio
