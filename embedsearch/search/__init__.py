"""Search: indexes propose rows, `scores` decides, and papers come out in one order."""

from embedsearch.search.modes import Mode, Sort
from embedsearch.search.scored import HYBRID_WEIGHT
from embedsearch.search.searcher import Searcher

__all__ = ["HYBRID_WEIGHT", "Mode", "Searcher", "Sort"]
