"""Search: indexes propose rows, `scores` decides, and papers come out in one order."""

from embedsearch.search.modes import Mode, Sort
from embedsearch.search.searcher import Searcher
from embedsearch.search.view import HYBRID_WEIGHT

__all__ = ["HYBRID_WEIGHT", "Mode", "Searcher", "Sort"]
