"""One table of measures for one or more spaces, with errors and paired differences."""

from embedsearch.pairs.compare.compare import CENTRED, PANELS, QUANTILES, RAW, Comparison, Options, compare

__all__ = ["CENTRED", "PANELS", "QUANTILES", "RAW", "Comparison", "Options", "compare"]
