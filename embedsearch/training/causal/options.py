"""What can be set about a causal training. Defaults are the AstroLLaMA paper's where it states them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from embedsearch.errors import OptionError

SCHEDULES = ("cosine", "linear", "constant_with_warmup")


@dataclass(frozen=True, slots=True, kw_only=True)
class CausalOptions:
    """How a language model learns abstracts. Raises OptionError for a value outside of what is possible."""

    model: str = "smollm2"
    revision: str | None = None
    base: str | None = None
    """Where the base of a model that is an adapter is, if not where that says."""
    template: str = "{abstract}"
    """The text of a paper."""
    epochs: float = 3.0
    context: int = 512
    """Tokens in a block."""
    token_budget: int = 4096
    """Tokens, padding counted, that make one step of the optimiser."""
    micro_tokens: int | None = None
    """Tokens that go through the model at once; None: by device. Changes the memory, not the batch."""
    learning_rate: float | None = None
    """The highest, after warming up; None: 3e-4, and 1e-3 for adapters."""
    warmup: float = 0.05
    """Share of the steps in which the rate rises."""
    schedule: str = "cosine"
    weight_decay: float = 0.1
    beta2: float = 0.95
    clip: float = 1.0
    """Longest gradient."""
    lora: int | None = None
    """Rank of adapters on all linear layers, trained in place of the weights (Hu et al. 2021, arXiv:2106.09685)."""
    lora_alpha: int | None = None
    """Adapters count alpha / rank times; None: twice the rank."""
    merge: bool = True
    """The result is a whole model, the adapter beside it; without, the adapter alone."""
    gradient_checkpointing: bool = False
    """Less memory for a third more time."""
    validation: float = 0.1
    """Share of the papers that are held out."""
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"
    """Of the forward pass; weights and gradients stay float32."""

    def __post_init__(self) -> None:
        for name in ("context", "token_budget", "micro_tokens", "lora", "lora_alpha"):
            value = getattr(self, name)
            _check(name, value, value is None or value >= (2 if name == "context" else 1), "at least 1")
        for name in ("epochs", "learning_rate", "clip"):
            value = getattr(self, name)
            _check(name, value, value is None or 0 < value < float("inf"), "above 0")
        _check("warmup", self.warmup, 0 <= self.warmup < 1, "from 0 to below 1")
        _check("beta2", self.beta2, 0 <= self.beta2 < 1, "from 0 to below 1")
        _check("weight_decay", self.weight_decay, self.weight_decay >= 0, "at least 0")
        _check("validation", self.validation, 0 < self.validation < 1, "between 0 and 1")
        _check("seed", self.seed, 0 <= self.seed < 2**32, f"from 0 to below {2**32}")
        _check("schedule", repr(self.schedule), self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}")
        _check("merge", "--no-merge alone", self.merge or self.lora is not None, "off only beside --lora")

    @property
    def rate(self) -> float:
        """The learning rate, also where none was named."""
        return self.learning_rate if self.learning_rate is not None else 1e-3 if self.lora else 3e-4

    @property
    def alpha(self) -> int:
        """What adapters are scaled by, times the rank."""
        return self.lora_alpha if self.lora_alpha is not None else 2 * (self.lora or 0)

    def as_dict(self) -> dict[str, Any]:
        """The options as JSON can hold them, with what is the default of the other ones filled in."""
        return asdict(self) | {"learning_rate": self.rate, "lora_alpha": self.alpha if self.lora else None}

    def of_result(self) -> dict[str, Any]:
        """Those that decide on the result: not where the files lie, nor what memory it may take."""
        apart = ("model", "revision", "base", "micro_tokens", "device", "dtype", "gradient_checkpointing")
        return {name: value for name, value in self.as_dict().items() if name not in apart}


def _check(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise OptionError(f"expected {name} {expected}, found {value}")
