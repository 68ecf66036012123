"""One or more spaces on the same papers, measured: each alone, each beside the first, and the differences.

Raw, and centred: since a raw cosine mostly shows a model's common direction (Mu & Viswanath 2018, arXiv:1702.01417).
The sources of the measures stand where they are computed: `moments` (mean, sd, Pearson, CKA), `histograms`
(quantiles, Spearman), `discrimination` (AUC), `neighbours` (accuracy, hubness, overlap), `spectrum` (effective rank,
leading share), `known_items` (MRR), `measured` (errors).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from embedsearch.errors import BadVector, OptionError
from embedsearch.pairs.compare.comparison import (
    CENTRED,
    PANELS,
    QUANTILES,
    RAW,
    Agreement,
    Comparison,
    PairMeasures,
    PanelMeasures,
    SpaceMeasures,
)
from embedsearch.pairs.compare.known_items import KnownItems, reciprocal_ranks
from embedsearch.pairs.compare.measured import UNKNOWN, Measured, from_influence
from embedsearch.pairs.compare.panel import Options, PanelResult, measure_panel, work_of_panel
from embedsearch.pairs.compare.spectrum import Spectrum, centred, spectrum, without_leading
from embedsearch.pairs.moments import Estimate, Moments, cka, moments, pearson
from embedsearch.scores import Float32
from embedsearch.store.space import Space

FEWEST_FOR_CKA = 5
"""Debiasing divides by n - 3, its jackknife by n - 4."""


def compare(
    spaces: Sequence[Space],
    *,
    categories: Sequence[str | None] | None = None,
    titles: Sequence[KnownItems | None] | None = None,
    options: Options | None = None,
    notes: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Measure aligned spaces of at least 3 papers; each is set beside the first.

    `categories` has the primary category of each paper, None where it is not known; `titles` the queries of each space
    (see `known_items`), None where there are none. `progress` is called with cosines done and cosines in all. The order
    of the papers changes nothing: they are taken by id. Memory: the vectors twice, and some hundred neighbours a paper.

    Raises OptionError for fewer than 3 papers or spaces that are not aligned, BadVector where a paper lies on the mean.
    """
    options = options or Options()
    _check(spaces)
    ids = np.array(spaces[0].ids)
    order = np.argsort(ids, kind="stable")
    groups = _groups(categories, order)
    items = [_moved(found, order) for found in titles or [None] * len(spaces)]
    work = _Work(2 * work_of_panel(len(ids), len(spaces), groups is not None, options), progress)
    raw = [space.vectors[order] for space in spaces]
    spectra = [spectrum(rows) for rows in raw]
    middle = [_centred(*pair, ids[order]) for pair in zip(raw, spectra, spaces, strict=True)]
    panels = {
        name: (rows, measure_panel(rows, groups, options, work)) for name, rows in ((RAW, raw), (CENTRED, middle))
    }
    measured = tuple(_space(space, panels, spectra[i], items[i], i) for i, space in enumerate(spaces))
    return Comparison(
        n_papers=len(ids),
        n_categories=len(set(groups[groups >= 0])) if groups is not None else 0,
        n_known=int((groups >= 0).sum()) if groups is not None else 0,
        n_titles=tuple(len(found.positions) if found else 0 for found in items),
        options=options,
        spaces=measured,
        pairs=tuple(_pair(measured, panels, raw, spectra, i, options) for i in range(1, len(spaces))),
        chance={k: k / (len(ids) - 1) for k in options.overlaps},
        notes=tuple(notes),
    )


def _check(spaces: Sequence[Space]) -> None:
    if not spaces or len(spaces[0]) < 3:
        raise OptionError(f"expected spaces of at least 3 papers, found {len(spaces[0]) if spaces else 'no space'}")
    if any(list(space.ids) != list(spaces[0].ids) for space in spaces[1:]):
        raise OptionError("expected spaces over the same papers in the same order, found others: align them first")


def _groups(categories: Sequence[str | None] | None, order: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """A number for each category, by name; -1 where it is not known."""
    if categories is None or not any(categories):
        return None
    number = {name: i for i, name in enumerate(sorted({name for name in categories if name}))}
    return np.array([number.get(categories[i] or "", -1) for i in order], np.int64)


def _moved(items: KnownItems | None, order: NDArray[np.int64]) -> KnownItems | None:
    """The same titles when the papers are taken in `order`."""
    if items is None:
        return None
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    by_paper = np.argsort(place[items.positions], kind="stable")
    return KnownItems(queries=items.queries[by_paper], positions=place[items.positions][by_paper])


def _centred(rows: Float32, of: Spectrum, space: Space, ids: NDArray[np.str_]) -> Float32:
    try:
        return centred(rows, of.mean)
    except BadVector as error:
        raise BadVector(
            f"paper {ids[error.position]} lies on the mean of {space.label}: expected papers that differ, centring"
            " leaves nothing of it",
            position=error.position,
        ) from error


def _mrr(items: KnownItems | None, rows: Float32) -> Measured:
    """MRR@10 over the titles, its error that of a mean over queries."""
    if items is None:
        return UNKNOWN
    found = reciprocal_ranks(items, rows)
    return from_influence(float(found.mean()), found - found.mean())


def _shape(of: Spectrum) -> dict[str, Measured]:
    return {"effective_rank": of.effective_rank, "leading_share": of.leading_share}


def _space(
    space: Space,
    panels: Mapping[str, tuple[Sequence[Float32], PanelResult]],
    of: Spectrum,
    items: KnownItems | None,
    i: int,
) -> SpaceMeasures:
    """The i-th space by itself, raw and centred."""
    (raw, plain), (middle, moved) = panels[RAW], panels[CENTRED]
    return SpaceMeasures(
        label=space.label,
        name=space.name,
        dim=space.dim,
        recipe=space.recipe,
        panels={
            RAW: _panel(
                moments(raw[i], centred=space.is_centred),
                plain,
                i,
                {"common_share": of.centroid},
                _mrr(items, raw[i]),
            ),
            CENTRED: _panel(
                moments(middle[i], centred=True),
                moved,
                i,
                _shape(of),
                _mrr(items and items.centred(of.mean), middle[i]),
            ),
        },
    )


def _panel(of_pairs: Moments, panel: PanelResult, i: int, shape: dict[str, Measured], mrr: Measured) -> PanelMeasures:
    alone = {"auc": panel.auc[i], "accuracy": panel.accuracy[i], "mrr": mrr, "hubness": panel.hubness[i]}
    return PanelMeasures(
        mean=of_pairs.mean,
        sd=of_pairs.sd,
        quantiles=tuple(float(q) for q in panel.scan.marginals[i].quantile(QUANTILES)),
        measures=shape | alone,
    )


def _pair(
    spaces: Sequence[SpaceMeasures],
    panels: Mapping[str, tuple[Sequence[Float32], PanelResult]],
    raw: Sequence[Float32],
    spectra: Sequence[Spectrum],
    i: int,
    options: Options,
) -> PairMeasures:
    """The first space beside the i-th."""
    agreements = {}
    for name, (rows, panel) in panels.items():
        spearman, resolution = panel.scan.joints[i - 1].spearman()
        agreements[name] = Agreement(
            pearson=pearson(rows[0], rows[i]),
            spearman=spearman,
            spearman_resolution=resolution,
            overlap={k: panel.overlap[k][i - 1] for k in options.overlaps},
        )
    return PairMeasures(
        first=0,
        second=i,
        panels=agreements,
        cka={k: _cka(raw, spectra, i, k) for k in (0, *options.leading)},
        differences={
            name: {
                measure: value.minus(spaces[i].panels[name].measures[measure])
                for measure, value in spaces[0].panels[name].measures.items()
            }
            for name in panels
        },
    )


def _cka(raw: Sequence[Float32], spectra: Sequence[Spectrum], i: int, k: int) -> Estimate:
    """Debiased linear CKA of the first and the i-th, without the k leading directions of each."""
    if len(raw[0]) < FEWEST_FOR_CKA or (k and k >= min(len(raw[0]) - 1, raw[0].shape[1], raw[i].shape[1])):
        return Estimate(float("nan"), float("nan"))
    if not k:
        return cka(raw[0], raw[i])
    return cka(without_leading(raw[0], spectra[0], k), without_leading(raw[i], spectra[i], k))


class _Work:
    """Adds up what was done."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def __call__(self, n: int) -> None:
        self._done = min(self._done + n, self._total)
        if self._progress is not None:
            self._progress(self._done, self._total)


__all__ = [
    "CENTRED",
    "PANELS",
    "QUANTILES",
    "RAW",
    "Agreement",
    "Comparison",
    "Options",
    "PairMeasures",
    "PanelMeasures",
    "SpaceMeasures",
    "compare",
]
