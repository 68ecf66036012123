"""The pairs on which two spaces disagree most: which, how many chance alone would give, and why."""

from embedsearch.pairs.divergent.study import DivergentPairs, Search, Study

__all__ = ["DivergentPairs", "Search", "Study"]
