"""Batches in which no pair is a false negative of another: sentence-transformers' sampler, told who belongs together.

In a batch the positive of every pair is a negative of all others, which is wrong for two pairs of one paper, or of
near-duplicates.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from embedsearch.duplicates.links import Groups
from embedsearch.training.contrastive.pairs import Pair


def batches_apart(pairs: Sequence[Pair], groups: Groups) -> Callable[..., Any]:
    """What the trainer takes as `batch_sampler`: each batch has at most one pair of a group, and no text twice.

    `groups` (n_papers,) int64 are of the papers that `pairs` name by position. The sampler is made for any data set of
    the columns anchor and positive whose rows are among `pairs`.
    """
    group_of = {(pair.anchor, pair.positive): int(groups[pair.paper]) for pair in pairs}

    def sampler(dataset: Any, *, batch_size: int, drop_last: bool, **others: Any) -> Any:
        from datasets import Dataset
        from sentence_transformers.base.sampler import NoDuplicatesBatchSampler

        # Where many are alike it fills an epoch up with pairs that were in it, and says so in words of its own.
        logging.getLogger(NoDuplicatesBatchSampler.__module__).setLevel(logging.ERROR)
        anchors, positives = dataset["anchor"][:], dataset["positive"][:]
        # It keeps apart rows that share any value of any column; no text looks like "group 17 of papers".
        labels = [f"group {group_of[both]} of papers" for both in zip(anchors, positives, strict=True)]
        told = Dataset.from_dict({"anchor": anchors, "positive": positives, "group": labels})
        return NoDuplicatesBatchSampler(told, batch_size=batch_size, drop_last=drop_last, **others)

    return sampler


def largest_batch(pairs: Sequence[Pair], groups: Groups) -> int:
    """The most pairs that one batch can have: a pair of each group."""
    return len({int(groups[pair.paper]) for pair in pairs})
