"""What fine-tuning LLaMA-2-7B on 300,000 abstracts takes, counted and not measured: the table of docs/adapt.md.

    python -m benchmarks.training_arithmetic

Operations are those of matrix products (Kaplan et al. 2020, arXiv:2001.08361: 2 a weight and token forward, 4 backward,
2 of which only weights that are trained need) and of attention. Bytes of activations are what the products and norms
must keep, counted tensor by tensor as Korthikanti et al. (2022, arXiv:2205.05198) do for GPT: an implementation keeps
rather more. A GPU's share of its peak is an assumption.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# LLaMA-2-7B (Touvron et al. 2023, arXiv:2307.09288).
LAYERS, HIDDEN, INNER, VOCABULARY = 32, 4096, 11_008, 32_000
IN_LAYERS = LAYERS * (4 * HIDDEN**2 + 3 * HIDDEN * INNER)
IN_HEAD = VOCABULARY * HIDDEN
WEIGHTS = IN_LAYERS + 2 * IN_HEAD + (2 * LAYERS + 1) * HIDDEN
"""With the table of words, which multiplies nothing, and the norms."""
RANK = 16
ADAPTERS = LAYERS * RANK * (4 * (HIDDEN + HIDDEN) + 3 * (HIDDEN + INNER))
"""On all linear layers but the head."""

# What is trained on.
PAPERS, EPOCHS = 300_000, 3
TOKENS = 314.4 + 1
"""Of an abstract, and its EOS: the mean over 10,000 real abstracts by SmolLM2's tokenizer, which knows 49,152 tokens.
LLaMA-2's knows 32,000 and was not at hand."""
BLOCK = 512
BATCH = 8 * BLOCK
"""Tokens that go through the model at once."""

# Assumed. No GPU was measured.
SHARE = 0.4
"""Of a GPU's peak, counting what is computed twice."""
PEAK = {"A100": 312e12, "H200": 989e12}
"""bfloat16 products a second without sparsity, as NVIDIA states them."""
MEMORY = {"A100": 80e9, "H200": 141e9}
GPUS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to train: how many weights are trained, and bytes of each number.

    `base` is of a weight of the model, `gradient` and `moments` (AdamW's two together) of a trained one, `copies` of
    those that products are made from where it is another; `stream` of what all layers add to. `adapters` are float32.
    """

    name: str
    trained: int
    base: int
    gradient: int
    moments: int
    copies: int
    stream: int

    @property
    def weights(self) -> float:
        """Bytes."""
        return WEIGHTS * self.base + (0 if self.trained == WEIGHTS else 4 * self.trained)

    @property
    def states(self) -> float:
        """Bytes that do not depend on the batch."""
        return self.weights + self.trained * (self.gradient + self.moments) + WEIGHTS * self.copies

    @property
    def layer_activations(self) -> float:
        """Bytes a token that the backward pass through one layer needs: what comes into the two norms, what comes out
        of them, queries, keys, values, attention's result, and four of the inner width."""
        return HIDDEN * (2 * self.stream + 2 * (2 + 3 + 1)) + INNER * 2 * 4

    @property
    def kept(self) -> float:
        """Bytes of activations of a batch, where all of them are kept."""
        return BATCH * LAYERS * self.layer_activations

    @property
    def recomputed(self) -> float:
        """Bytes of activations of a batch where each layer keeps what comes in, and one at a time the rest."""
        return BATCH * (LAYERS * HIDDEN * self.stream + self.layer_activations)

    @property
    def memory(self) -> float:
        """Bytes in all, with recomputation."""
        return self.states + self.recomputed + LOGITS

    @property
    def on_each(self) -> float:
        """Bytes on each of some GPUs among which the states are divided (FSDP), with recomputation."""
        return self.states / GPUS + self.recomputed + LOGITS

    @property
    def operations(self) -> float:
        """Of a token, forward and backward."""
        frozen = self.trained != WEIGHTS
        through = 2 * (IN_LAYERS + IN_HEAD)
        return through * (2 if frozen else 3) + 3 * ATTENTION + (6 * self.trained if frozen else 0)

    @property
    def all_operations(self) -> float:
        """Of a token, with the layers computed a second time in the backward pass."""
        again = 2 * self.trained if self.trained != WEIGHTS else 0
        return self.operations + 2 * IN_LAYERS + ATTENTION + again

    def hours(self, gpu: str) -> float:
        """On one GPU, with recomputation."""
        return EPOCHS * PAPERS * TOKENS * self.all_operations / (SHARE * PEAK[gpu]) / 3600


ATTENTION = 4 * HIDDEN * BLOCK * LAYERS
"""Operations a token, forward: the mask of packed documents leaves none out."""
LOGITS = BATCH * VOCABULARY * (2 + 4 + 4 + 2)
"""Bytes: bfloat16, float32 for the softmax, and a gradient of each."""

WAYS = (
    Way(name=f"LoRA {RANK}, bfloat16", trained=ADAPTERS, base=2, gradient=4, moments=8, copies=0, stream=2),
    Way(name=f"LoRA {RANK}, as `finetune`", trained=ADAPTERS, base=4, gradient=4, moments=8, copies=0, stream=4),
    Way(name="full, bfloat16", trained=WEIGHTS, base=2, gradient=2, moments=4, copies=0, stream=2),
    Way(name="full, as `finetune`", trained=WEIGHTS, base=4, gradient=4, moments=8, copies=2, stream=4),
)
"""`finetune` keeps weights in float32 and multiplies in bfloat16. In bfloat16 alone, small steps round to nothing."""

ROWS: dict[str, Callable[[Way], str]] = {
    "weights that are trained": lambda way: f"{way.trained / 1e6:,.0f} million",
    "operations a token": lambda way: f"{way.operations / 1e9:.1f} billion",
    "with recomputation": lambda way: f"{way.all_operations / 1e9:.1f} billion",
    "weights": lambda way: size(way.weights),
    "gradients": lambda way: size(way.trained * way.gradient),
    "AdamW's states": lambda way: size(way.trained * way.moments),
    "copies to multiply with": lambda way: size(WEIGHTS * way.copies),
    f"activations of {BATCH:,} tokens, all kept": lambda way: size(way.kept),
    "activations with recomputation": lambda way: size(way.recomputed),
    "logits and their gradient": lambda way: size(LOGITS),
    "memory in all, with recomputation": lambda way: size(way.memory),
    "on an A100 of 80 GB": lambda way: fits(way, "A100"),
    "on an H200 of 141 GB": lambda way: fits(way, "H200"),
    f"on each of {GPUS} GPUs (FSDP)": lambda way: size(way.on_each),
    "GPU hours, A100": lambda way: f"{way.hours('A100'):.0f}",
    "GPU hours, H200": lambda way: f"{way.hours('H200'):.0f}",
}


def fits(way: Way, gpu: str) -> str:
    """Whether it fits on one."""
    return "fits" if way.memory < MEMORY[gpu] else "does not fit"


def size(n_bytes: float) -> str:
    """In gigabytes."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes else "none"


def table() -> str:
    """Markdown: a line for each quantity, a column for each way."""
    lines = [f"| | {' | '.join(way.name for way in WAYS)} |", "|---|" + "---:|" * len(WAYS)]
    lines += [f"| {name} | {' | '.join(row(way) for way in WAYS)} |" for name, row in ROWS.items()]
    return "\n".join(lines)


def summary() -> str:
    """What the table is of, in one sentence."""
    return (
        f"{PAPERS:,} abstracts of {TOKENS:.0f} tokens, {EPOCHS} epochs: {EPOCHS * PAPERS * TOKENS / 1e6:.0f} million"
        f" tokens, {BATCH:,} at once; assumed: {SHARE:.0%} of {PEAK['A100'] / 1e12:.0f} (A100) and"
        f" {PEAK['H200'] / 1e12:.0f} (H200) TFLOP/s in bfloat16, what is computed twice counted."
    )


if __name__ == "__main__":
    print(f"{summary()}\n\n{table()}")
