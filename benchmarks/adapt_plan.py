"""What `benchmarks.adapt` is made of: models and what is done to them, how much of everything, where results lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

Result = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of everything. The defaults suit two cores and 10,000 abstracts: most of an hour."""

    train: int = 600
    """Papers that the language model learns."""
    encoder_train: int = 0
    """Papers that the encoder learns; 0: all that are not held out."""
    held_out: int = 600
    """Papers that no training sees, on which all is measured; those that questions ask for are among them."""
    perplexity: int = 200
    """Of those, the ones whose losses are measured."""
    causal_epochs: float = 1.0
    causal_tokens: int = 4096
    """Tokens that make a step of the causal training."""
    contrastive_epochs: float = 1.0
    """Of the language model; the encoder's are the defaults of `finetune`."""
    contrastive_tokens: int = 128
    batch: int = 32
    rate: float = 1e-4
    """Texts cut here, pairs in a batch and the learning rate of the language model's contrastive training."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A model: `family` "encoder" or "language_model", what was done to it, and to which other variant."""

    family: str
    name: str
    objective: str | None = None
    parent: str | None = None

    @property
    def slug(self) -> str:
        """For the names of files."""
        return f"{self.family}-{self.name}".replace(" ", "-")


VARIANTS = (
    Variant("encoder", "base"),
    Variant("encoder", "contrastive", "contrastive", "base"),
    Variant("language_model", "base"),
    Variant("language_model", "causal", "causal", "base"),
    Variant("language_model", "contrastive", "contrastive", "base"),
    Variant("language_model", "causal then contrastive", "contrastive", "causal"),
)
FAMILIES = ("encoder", "language_model")
PAIRS = (
    ("causal", "base"),
    ("contrastive", "base"),
    ("causal then contrastive", "base"),
    ("causal then contrastive", "contrastive"),
)
"""What is set against what. The last one is what causal training adds to a contrastive one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What is done with which corpus, models and queries, and the folder where all of it is kept."""

    work: Path
    papers: Path
    encoder: str
    language_model: str
    queries: Path
    sizes: Sizes
    without: tuple[str, ...] = ()
    """Names of variants that are left out."""

    @property
    def variants(self) -> list[Variant]:
        """All that are made, parents first."""
        return [variant for variant in VARIANTS if variant.name not in self.without]

    def of(self, family: str) -> list[Variant]:
        """The variants of a family, the base first."""
        return [variant for variant in self.variants if variant.family == family]

    def model(self, variant: Variant) -> str:
        """Name of the base, or folder of what was made of it."""
        base = {"encoder": self.encoder, "language_model": self.language_model}[variant.family]
        return base if variant.objective is None else str(self.work / "models" / variant.slug)

    def index(self, variant: Variant) -> Path:
        """Its store of the held-out papers."""
        return self.work / "indexes" / variant.slug

    def corpus(self, name: str) -> Path:
        """A part of the papers: encoder, language_model (to train on), held-out."""
        return self.work / f"{name}.jsonl"

    def result(self, step: str) -> Path:
        """Where a step's result lies when it is done."""
        return self.work / "results" / f"{step.replace(' ', '-')}.json"
