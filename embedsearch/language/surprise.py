"""Perplexity and bits per byte of several models on the same papers, with intervals over papers.

The intervals are those of the percentile bootstrap (Efron 1979): papers are drawn with replacement, and the sum of the
losses is divided by the sum of the tokens anew. All models are measured on the same draws, so that the difference of
two is a paired one: it is given in per cent of the first model's figure, as the AstroLLaMA paper does (32.5 % less).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedsearch.errors import OptionError
from embedsearch.measures import Interval

if TYPE_CHECKING:
    from embedsearch.language.perplexity import Losses
    from embedsearch.records import Paper

N_RESAMPLES = 2000
_AT_ONCE = 2**23
"""Numbers of how often each paper was drawn, at a time."""

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One model's. The intervals are NaN where there is one paper."""

    name: str
    about: Mapping[str, Any]
    """What is known of the model, and with what it was computed; JSON can hold it."""
    n_tokens: int
    n_bytes: int
    n_windowed: int
    """Texts that were longer than the model's context."""
    n_unknown: int
    """Tokens that stand for whatever a tokenizer does not know."""
    predicts_first: bool
    perplexity: Interval
    bits_per_byte: Interval
    paper_perplexity: Float64
    """(n,), NaN for a paper without a predicted token."""
    paper_bits: Float64
    """(n,): bits per byte."""
    paper_tokens: NDArray[np.int64]
    """(n,)"""
    paper_bytes: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A model's figures against the first one's, in per cent of those: -32.5 is 32.5 % less."""

    name: str
    against: str
    perplexity: Interval
    bits_per_byte: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Surprise:
    """What `measure` found of some papers."""

    papers: tuple[Paper, ...]
    models: tuple[Figures, ...]
    differences: tuple[Difference, ...]
    """Of every model but the first."""
    seed: int
    notes: tuple[str, ...]

    def extremes(self, k: int = 5) -> tuple[list[int], list[int]]:
        """The positions of the papers that surprise the first model most, by bits per byte, and least: up to k each.

        The most extreme first; no paper is in both. Papers without a predicted token are in neither.
        """
        bits = self.models[0].paper_bits
        order = sorted(np.flatnonzero(np.isfinite(bits)).tolist(), key=lambda i: (-bits[i], self.papers[i].id))
        least = min(k, len(order) // 2)
        return order[: min(k, len(order) - least)], order[::-1][:least]

    def distributions(self) -> tuple[Float64, list[Float64]]:
        """Densities of the papers' bits per byte: the edges of the steps, (m + 1,), and (m,) for each model.

        Steps as wide as Freedman & Diaconis (1981) find right for the model that needs the finest, at most 100.
        """
        each = [model.paper_bits[np.isfinite(model.paper_bits)] for model in self.models]
        low, high = min(bits.min() for bits in each), max(bits.max() for bits in each)
        if not low < high:
            low, high = low - 0.5, high + 0.5
        widths = [2 * float(np.subtract(*np.quantile(bits, [0.75, 0.25]))) / len(bits) ** (1 / 3) for bits in each]
        width = min((width for width in widths if width > 0), default=high - low)
        edges = np.linspace(low, high, 1 + min(100, max(1, math.ceil((high - low) / width))))
        return edges, [np.histogram(bits, edges, density=True)[0] for bits in each]


def measure(
    papers: Sequence[Paper],
    names: Sequence[str],
    losses: Sequence[Losses],
    *,
    about: Sequence[Mapping[str, Any]] = (),
    seed: int = 0,
) -> Surprise:
    """The figures of models by name, each with its `losses` on all `papers`; `about` are what is known of each.

    If one of several models is given the first token of a text, all are: else those that predict it, which is the
    hardest token of all, would look worse. Raises OptionError where a model predicts no token of any paper.
    """
    is_mixed = len({loss.predicts_first for loss in losses}) > 1
    fair = [loss.without_first() for loss in losses] if is_mixed else list(losses)
    for name, loss in zip(names, fair, strict=True):
        if not loss.n_tokens.sum():
            raise OptionError(f"expected texts of more than one token, found none of which {name} predicts a token")
    drawn = _drawn(fair, seed)
    given = about or [{}] * len(names)
    models = tuple(_figures(*each) for each in zip(names, fair, drawn, given, strict=True))
    differences = tuple(
        Difference(
            name=models[i].name,
            against=models[0].name,
            perplexity=_percent(models[0].perplexity, models[i].perplexity, drawn[0][0], drawn[i][0]),
            bits_per_byte=_percent(models[0].bits_per_byte, models[i].bits_per_byte, drawn[0][1], drawn[i][1]),
        )
        for i in range(1, len(models))
    )
    return Surprise(
        papers=tuple(papers), models=models, differences=differences, seed=seed, notes=tuple(_remarks(models, is_mixed))
    )


def _drawn(losses: Sequence[Losses], seed: int) -> list[tuple[Float64, Float64]]:
    """Perplexity and bits per byte of each resample, (N_RESAMPLES,) each, of every model on the same draws."""
    n = len(losses[0].nats)
    parts = np.stack([part for each in losses for part in (each.nats, each.n_tokens, each.n_bytes)], axis=1)
    generator = np.random.default_rng(seed)
    sums = []
    step = max(1, _AT_ONCE // n)
    for start in range(0, N_RESAMPLES, step):
        times = generator.multinomial(n, np.full(n, 1 / n), size=min(step, N_RESAMPLES - start))
        sums.append(times @ parts)
    nats, tokens, n_bytes = np.concatenate(sums).T.reshape(len(losses), 3, N_RESAMPLES).swapaxes(0, 1)
    return [
        (np.exp(_divided(nats[i], tokens[i])), _divided(nats[i], n_bytes[i]) / math.log(2)) for i in range(len(losses))
    ]


def _divided(a: Float64, b: Float64) -> Float64:
    """NaN where there is nothing to divide by."""
    quotient: Float64 = np.divide(a, b, out=np.full(a.shape, np.nan), where=b > 0)
    return quotient


def _figures(name: str, losses: Losses, drawn: tuple[Float64, Float64], about: Mapping[str, Any]) -> Figures:
    n_tokens, n_bytes = losses.n_tokens.astype(np.float64), losses.n_bytes.astype(np.float64)
    per_paper = _divided(losses.nats, n_tokens)
    total = float(losses.nats.sum())
    return Figures(
        name=name,
        about=about,
        n_tokens=int(losses.n_tokens.sum()),
        n_bytes=int(losses.n_bytes.sum()),
        n_windowed=int((losses.n_windows > 1).sum()),
        n_unknown=int(losses.n_unknown.sum()),
        predicts_first=losses.predicts_first,
        perplexity=_interval(math.exp(total / float(n_tokens.sum())), drawn[0], len(n_tokens)),
        bits_per_byte=_interval(total / math.log(2) / float(n_bytes.sum()), drawn[1], len(n_tokens)),
        paper_perplexity=np.exp(per_paper),
        paper_bits=_divided(losses.nats, n_bytes) / math.log(2),
        paper_tokens=losses.n_tokens,
        paper_bytes=losses.n_bytes,
    )


def _interval(value: float, drawn: Float64, n_papers: int) -> Interval:
    if n_papers < 2:
        return Interval(value, math.nan, math.nan)
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def _percent(first: Interval, other: Interval, first_drawn: Float64, other_drawn: Float64) -> Interval:
    value = 100 * (other.mean / first.mean - 1)
    return _interval(value, 100 * (other_drawn / first_drawn - 1), 1 if math.isnan(first.low) else 2)


def _remarks(models: Sequence[Figures], is_mixed: bool) -> list[str]:
    if is_mixed:
        said = ["The first token of each text is given to every model, since not all have a [BOS] to predict it from."]
    elif models[0].predicts_first:
        said = ["The first token of each text is predicted from [BOS]; [BOS] itself is not scored."]
    else:
        said = [
            "No tokenizer puts a [BOS] first: the first token of each text is given, neither it nor its bytes count."
        ]
    for model in models:
        if model.n_windowed:
            texts = "text was" if model.n_windowed == 1 else "texts were"
            said.append(f"{model.n_windowed:,} {texts} longer than {model.name} reads at once: overlapping windows.")
        if model.n_unknown:
            which = "1 token stands" if model.n_unknown == 1 else f"{model.n_unknown:,} tokens stand"
            said.append(
                f"{which} for what {model.name} has no token for: its figures are too low, as that costs nothing."
            )
    return said
