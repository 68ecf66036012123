"""Causal trainings of a few seconds: a tiny model, papers of a few words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tiny_language_models import WORDS

from embedsearch.records import Paper
from embedsearch.training.causal.options import CausalOptions
from embedsearch.training.watching import TrainingStep


def papers(n: int = 48, *, seed: int = 0) -> list[Paper]:
    """Papers of three to twenty words, a few of which come often."""
    random = np.random.default_rng(seed)
    return [
        Paper(
            id=f"2001.{i:05d}", title=f"Paper {i}", abstract=" ".join(random.choice(WORDS[:3], random.integers(3, 21)))
        )
        for i in range(n)
    ]


def options(base: Path, **settings: Any) -> CausalOptions:
    """Ten steps or so, in float32."""
    usual = {"context": 32, "token_budget": 128, "micro_tokens": 64, "epochs": 2, "learning_rate": 5e-3}
    return CausalOptions(model=str(base), dtype="float32", device="cpu", **usual | settings)


class StopAt:
    """A callback that interrupts a training at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, step: TrainingStep) -> None:
        if step.stage == "training" and step.done == self.step:
            raise KeyboardInterrupt
