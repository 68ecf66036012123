"""What stands under a map: how it was made, how much it keeps, and what it cannot show."""

from __future__ import annotations

from collections.abc import Sequence

from embedsearch.map.agreement import Agreement
from embedsearch.map.layout import LayoutOptions, n_neighbors
from embedsearch.store.space import Space

CANNOT = (
    "What it cannot show: the axes mean nothing; how far apart groups lie, how large and how dense they look, and"
    " whether there is a gap between them need not be so in the space. Papers that lie close here may be far apart"
    " there, and near ones may be torn apart: look at their cosines."
)


def caption(
    spaces: Sequence[Space],
    labels: Sequence[str],
    number: int,
    *,
    options: LayoutOptions,
    umap: str,
    exact: bool,
    found: Agreement,
) -> str:
    """Of the map of `spaces[number]`, in paragraphs that a line break ends; `labels` tell the spaces apart."""
    space, label = spaces[number], labels[number]
    searched = "" if exact else ", searched approximately"
    made = (
        f"{len(space):,} papers by {label} ({space.name}, {space.dim} dimensions), laid out by UMAP {umap}:"
        f" {n_neighbors(options, len(space))} neighbours{searched}, smallest distance {options.min_dist:g},"
        f" seed {options.seed}."
    )
    kept = (
        f"Of a paper's {found.k} nearest papers in {label}, {_share(found.kept[number])} are among its {found.k}"
        f" nearest in this picture (by chance {_share(found.chance)}{_measured(found, len(space))})."
    )
    lines = [made, kept]
    if found.shared is not None and found.shared_in_pictures is not None:
        lines.append(
            f"{labels[0]} and {labels[1]} share {_share(found.shared)} of a paper's {found.k} nearest in"
            f" full; their pictures, of which the second is turned to lie like the first, share"
            f" {_share(found.shared_in_pictures)}."
        )
    return "\n".join([*lines, CANNOT])


def _measured(found: Agreement, n: int) -> str:
    return "" if found.n_measured == n else f"; measured on {found.n_measured:,} of them"


def _share(share: float) -> str:
    """Two digits of a percentage; 100 % only of all."""
    percent = 100 * share if share == 1 else min(100 * share, 99)
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"
