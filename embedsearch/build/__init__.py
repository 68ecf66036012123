"""Building: a corpus and an encoder make a store."""

from embedsearch.build.options import BuildOptions, BuildReport, Progress, Stage, Step
from embedsearch.build.pipeline import build_index

__all__ = ["BuildOptions", "BuildReport", "Progress", "Stage", "Step", "build_index"]
