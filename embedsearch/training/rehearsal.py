"""What a training will take: a few of its steps are done on some of the papers, and measured."""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from embedsearch.corpus import sample_key
from embedsearch.records import Paper
from embedsearch.training.running import Rehearsed
from embedsearch.training.workspace import RunOptions

N_STEPS = 3
"""The first one is not counted: it makes the optimiser's state, and is slower."""
N_PAPERS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What was measured, of a training of so many papers.

    `n_tokens` are of all epochs, `tokens_per_second` of the steps that were done; `peak_bytes` is the most memory that
    they took (the GPU's where there is one, else this process's); `disk_bytes` is for checkpoints and result.
    """

    n_papers: int
    n_tokens: int
    n_steps: int
    tokens_per_second: float
    peak_bytes: int
    disk_bytes: int

    @property
    def seconds(self) -> float:
        """Of the training; measuring before and after comes on top."""
        return self.n_tokens / self.tokens_per_second


def rehearse(finetune: Callable[..., Any], papers: Sequence[Paper], options: Any, *, progress: Any = None) -> Rehearsal:
    """Begin the training that `finetune(papers, options, out, progress)` is, on at most N_PAPERS, and leave nothing.

    Tokens are scaled up from those papers to all. Raises what `finetune` raises.
    """
    some = sorted(papers, key=lambda paper: sample_key(paper.id, 0))[:N_PAPERS]
    with tempfile.TemporaryDirectory(prefix="embedsearch-") as folder:
        try:
            finetune(some, options, Path(folder) / "out", progress, run=RunOptions(rehearsal_steps=N_STEPS))
        except Rehearsed as done:
            share = len(papers) / len(some)
            return Rehearsal(
                n_papers=len(papers),
                n_tokens=round(done.n_tokens * share),
                n_steps=max(1, round(done.n_steps * share)),
                tokens_per_second=done.tokens_per_second,
                peak_bytes=_peak_bytes(done.device),
                disk_bytes=done.disk_bytes,
            )
    raise AssertionError("a rehearsal ends by Rehearsed")


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
