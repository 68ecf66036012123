"""Is a store, or a model, good: known items and judged queries, by each mode, with errors."""

from embedsearch.evaluate.asking import Scored
from embedsearch.evaluate.entries import Entry, Making, Papers, distinct, open_entry
from embedsearch.evaluate.measuring import MEASURES
from embedsearch.evaluate.misses import Miss
from embedsearch.evaluate.report import Difference, Evaluation, Figures, evaluate
from embedsearch.evaluate.study import Also, study
from embedsearch.evaluate.tasks import Task, make_sets

__all__ = [
    "MEASURES",
    "Also",
    "Difference",
    "Entry",
    "Evaluation",
    "Figures",
    "Making",
    "Miss",
    "Papers",
    "Scored",
    "Task",
    "distinct",
    "evaluate",
    "make_sets",
    "open_entry",
    "study",
]
