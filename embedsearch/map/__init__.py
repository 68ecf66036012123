"""The papers of a space in two dimensions: where they lie, which regions there are, and how much of it is true."""

from embedsearch.map.colours import ColourBy, Groups, Ramp, colouring
from embedsearch.map.layout import LayoutOptions
from embedsearch.map.making import make_maps
from embedsearch.map.papers import MapPapers, read_papers
from embedsearch.map.points import MapPoints, Region

__all__ = [
    "ColourBy",
    "Groups",
    "LayoutOptions",
    "MapPapers",
    "MapPoints",
    "Ramp",
    "Region",
    "colouring",
    "make_maps",
    "read_papers",
]
