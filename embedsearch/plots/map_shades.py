"""The colours of a map's papers, and the picture of many papers as shades."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb

from embedsearch.map import Groups, Ramp
from embedsearch.map.colours import OTHER
from embedsearch.scores import Float32, Float64

FAINTEST = 0.22
"""How opaque the shade of a single paper is."""
PER_INCH = 200
"""Pixels of a shaded picture."""
SPREAD = 0.8
"""Pixels over which a paper is spread."""


def colours_of(colours: Groups | Ramp) -> Float64:
    """Red, green and blue of each paper: (n, 3) from 0 to 1."""
    if isinstance(colours, Groups):
        table = np.array([to_rgb(colour) for colour in colours.colours])
        grouped: Float64 = table[colours.of]
        return grouped
    known = np.isfinite(colours.values)
    found = np.tile(to_rgb(OTHER), (len(colours.values), 1))
    found[known] = ramp_map(colours)(colours.values[known])[:, :3]
    return found


def ramp_map(ramp: Ramp) -> LinearSegmentedColormap:
    """Its colours as matplotlib has them."""
    return LinearSegmentedColormap.from_list("ramp", ramp.colours)


def shades(xy: Float32, rgb: Float64, *, extent: tuple[float, float, float, float], inches: float) -> Float64:
    """An image (rows, columns, 4), the uppermost row first: the mean colour of the papers in each pixel.

    The more papers, the more opaque, by the logarithm of their number. `extent` is left, right, bottom, top of the
    picture in map units, `inches` its width.
    """
    from scipy.ndimage import gaussian_filter

    left, right, bottom, top = extent
    columns = int(inches * PER_INCH)
    rows = max(1, round(columns * (top - bottom) / (right - left)))
    box = [[bottom, top], [left, right]]

    def spread(weights: Float64 | None) -> Float64:
        counts, _, _ = np.histogram2d(xy[:, 1], xy[:, 0], bins=(rows, columns), range=box, weights=weights)
        found: Float64 = gaussian_filter(counts, SPREAD, mode="constant")
        return found[::-1]

    n = np.maximum(spread(None), 0)
    some = n > 0.02  # farther from a paper nothing is seen
    image = np.zeros((rows, columns, 4))
    for channel in range(3):
        image[..., channel][some] = (spread(rgb[:, channel])[some] / n[some]).clip(0, 1)
    full = np.log1p(np.quantile(n[some], 0.99) * 4) if some.any() else 1.0
    strength = (np.log1p(n * 4) / full).clip(0, 1)
    image[..., 3] = np.where(some, FAINTEST * np.minimum(n / 0.2, 1) + (1 - FAINTEST) * strength, 0).clip(0, 1)
    return image
