"""Steps of training on a GPU: tokens a second and memory, beside what benchmarks.training_arithmetic counts.

    python -m benchmarks.gpu_train [--device cuda:0] [--rounds 3] [--quick]

A model of LLaMA-2-7B's shape with random weights, trained on random tokens in full blocks of two documents each: LoRA
and all weights, in bfloat16 alone and as `finetune` does it (float32 weights, products in bfloat16), with and without
recomputation of activations. What does not fit says so.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import training_arithmetic as arithmetic
from benchmarks.gpu import LLAMA_7B, TINY, Row, in_turn, matrix_rate, print_rows
from benchmarks.training_arithmetic import WAYS, Way
from embedsearch.device import device_name, pick_device
from embedsearch.encoders.loading import quiet
from embedsearch.errors import OptionError
from embedsearch.training.causal.packing import Collator
from embedsearch.training.causal.trainer import checkpoint_activations
from embedsearch.training.merging import with_adapters
from embedsearch.training.running import is_out_of_memory

QUICK_BLOCK, QUICK_VOCABULARY = 16, 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 1 if there is no such device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true", help="a tiny model, to see that it works")
    options = parser.parse_args(arguments)
    try:
        device = pick_device(options.device)
    except OptionError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    rounds = options.rounds or (1 if options.quick else 3)
    found = rows(device, rounds, quick=options.quick)
    print_rows(f"{device_name(device)}, torch {torch.__version__}, medians of {rounds}", found)
    return 0


def rows(device: torch.device, rounds: int, *, quick: bool) -> Iterator[Row]:
    """Lines of the table."""
    vocabulary, block = (QUICK_VOCABULARY, QUICK_BLOCK) if quick else (arithmetic.VOCABULARY, arithmetic.BLOCK)
    config = LlamaConfig(
        vocab_size=vocabulary, max_position_embeddings=4096, tie_word_embeddings=False, **(TINY if quick else LLAMA_7B)
    )
    n_rows = 2 if quick else arithmetic.BATCH // block
    batch = {name: tensor.to(device) for name, tensor in packed(n_rows, block, vocabulary).items()}
    rate = matrix_rate(config, n_rows * block, device, torch.bfloat16)
    yield Row("products of the layers' shapes, bfloat16", f"{rate / 1e12:.3g} TFLOP/s")
    for way in WAYS:
        for again in (False, True):
            name = f"{way.name}, {'with' if again else 'without'} recomputation"
            try:
                yield _row(name, way, config, batch, device, rounds, again=again, rate=None if quick else rate)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                yield Row(name, "out of memory")
            _let_go(device)


def packed(n_rows: int, block: int, vocabulary: int) -> dict[str, torch.Tensor]:
    """Blocks of two documents of random tokens, as `finetune` packs them: (n_rows, block) int64 each."""
    ids = torch.randint(vocabulary, (n_rows, block), generator=torch.Generator().manual_seed(0)).tolist()
    cut = 3 * block // 5
    return Collator(0)([[row[:cut], row[cut:]] for row in ids])


def _row(
    name: str, way: Way, config: Any, batch: dict[str, torch.Tensor], device: torch.device, rounds: int, *,
    again: bool, rate: float | None,
) -> Row:  # fmt: skip
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with quiet():
        seconds = in_turn({name: step(way, config, batch, device, again=again)}, device, rounds)[name]
    tokens = batch["input_ids"].numel() / seconds
    beside = []
    if rate is not None:
        operations = way.all_operations if again else way.operations
        beside.append(f"{tokens * operations / rate:.0%} of that rate")
    if device.type == "cuda":
        counted = way.memory if again else way.states + way.kept + arithmetic.LOGITS
        beside.append(f"{torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB")
        beside.append(f"{counted / 1e9:.1f} GB counted" * (rate is not None))
    return Row(name, f"{tokens:.0f} tokens/s", ", ".join(filter(None, beside)))


def step(
    way: Way, config: Any, batch: dict[str, torch.Tensor], device: torch.device, *, again: bool
) -> Callable[[], float]:
    """One step of the optimiser, which gives the loss before it."""
    with torch.device(device):
        module: Any = LlamaForCausalLM._from_config(config, dtype=torch.float32 if way.base == 4 else torch.bfloat16)
    module.config.use_cache = False
    if way.trained != arithmetic.WEIGHTS:
        module = with_adapters(module, arithmetic.RANK, 2 * arithmetic.RANK)
    if again:
        checkpoint_activations(module)
    module.train()
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-4, fused=True)
    in_bfloat16 = torch.autocast(device.type, torch.bfloat16) if way.copies or way.base == 4 else None

    def once() -> float:
        with in_bfloat16 or contextlib.nullcontext():
            loss = module(**batch, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return once


def _let_go(device: torch.device) -> None:
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())
