"""Papers for tests of maps: three subjects whose words and places are known."""

from __future__ import annotations

import numpy as np

from embedsearch.map import MapPapers, MapPoints
from embedsearch.map.density import density_of
from embedsearch.map.regions import find_regions
from embedsearch.scores import Float32, unit_rows
from embedsearch.store.space import Space

SUBJECTS = {
    "astro-ph.HE": ("millisecond pulsars", "glitches", "a timing array", "Parkes", "radio pulses", "neutron stars"),
    "astro-ph.GA": ("stellar streams", "Gaia", "the halo", "X-ray dwarfs", "satellites", "the Milky Way"),
    "astro-ph.CO": ("primordial black holes", "dark energy", "voids", "DESI", "the CMB", "lensing"),
}
"""A category and what its papers are about; each tells of its first subject."""


def abstract(name: str, i: int) -> str:
    """Of paper i of a category."""
    first, *others = SUBJECTS[name]
    chosen = np.random.default_rng(i).permutation(others)[:3]
    return f"We look for {first}. Beside {first} there are {chosen[0]}, {chosen[1]} and {chosen[2]}."


def groups(n: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The subject of each of n papers: (n,)."""
    return np.arange(n) % 3


def ids(n: int) -> list[str]:
    """In order, as they are everywhere here."""
    return [f"{2001 + i // 20:04d}.{10000 + i:05d}" for i in range(n)]


def vectors(n: int, *, seed: int = 0, dim: int = 8) -> Float32:
    """Unit rows (n, dim): each subject around its own direction."""
    rng = np.random.default_rng(seed)
    return unit_rows(np.eye(dim)[groups(n)] + 0.15 * rng.normal(size=(n, dim)))


def space(n: int, *, seed: int = 0, name: str = "fake") -> Space:
    """The space of those."""
    return Space.of(ids(n), vectors(n, seed=seed), name=name)


def papers(n: int) -> MapPapers:
    """What is known of them; every ninth has no category and every tenth no year."""
    found = MapPapers(ids=ids(n))
    names = list(SUBJECTS)
    for i, group in enumerate(groups(n)):
        found.titles[i] = f"Paper {i} on </script> and others"
        found.authors[i] = f"Author{i % 7} et al."
        found.categories[i] = "" if i % 9 == 8 else names[group]
        found.years[i] = 0 if i % 10 == 9 else 2001 + i % 20
    found.texts = [(found.titles[i], abstract(names[group], i)) for i, group in enumerate(groups(n))]
    found.of_texts = np.arange(n)
    return found


def points(n: int, *, seed: int = 0, label: str = "fake") -> MapPoints:
    """A map without UMAP: each subject is a cloud of its own."""
    rng = np.random.default_rng(seed)
    middles = np.array([[-0.7, -0.3], [0.7, -0.3], [0.0, 0.5]])
    xy = np.clip(middles[groups(n)] + 0.08 * rng.normal(size=(n, 2)), -1, 1).astype(np.float32)
    of = papers(n)
    regions, region_of = find_regions(xy, texts=of.texts, of_texts=of.of_texts)
    return MapPoints(
        name="i", label=label, ids=tuple(of.ids), xy=xy, titles=tuple(of.titles), authors=tuple(of.authors),
        categories=tuple(of.categories), years=of.years, density=density_of(xy), regions=regions, region_of=region_of,
        caption=f"{n} papers.\nWhat it cannot show: much.", seed=0, recipe={},
    )  # fmt: skip
