"""Search: indexes propose rows, `scores` decides, and papers come out in one order."""

from embedsearch.search.modes import HYBRID_WEIGHT, Combine, Mode, Sort
from embedsearch.search.searcher import Searcher

__all__ = ["HYBRID_WEIGHT", "Combine", "Mode", "Searcher", "Sort"]
