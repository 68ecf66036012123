"""What is counted of LLaMA-2-7B's training, against torch's own count on a model without weights; the GPU's steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import gpu, gpu_train
from benchmarks import training_arithmetic as arithmetic
from embedsearch.training.merging import with_adapters

pytestmark = pytest.mark.usefixtures("one_thread")

LORA, _, FULL, _ = arithmetic.WAYS
CPU = torch.device("cpu")


def llama() -> Any:
    """LLaMA-2-7B's shape. Nothing is computed: operations are counted from shapes."""
    config = LlamaConfig(vocab_size=arithmetic.VOCABULARY, tie_word_embeddings=False, **gpu.LLAMA_7B)
    with torch.device("meta"):
        return LlamaForCausalLM._from_config(config, attn_implementation="eager", dtype=torch.bfloat16).train()


def operations(module: Any) -> float:
    """Of a token of a block, forward and backward."""
    ids = torch.zeros((1, arithmetic.BLOCK), dtype=torch.int64, device="meta")
    mask = torch.zeros((1, 1, arithmetic.BLOCK, arithmetic.BLOCK), dtype=torch.bfloat16, device="meta")
    with FlopCounterMode(display=False) as counted:
        module(input_ids=ids, attention_mask=mask, labels=ids, use_cache=False).loss.backward()
    return counted.get_total_flops() / arithmetic.BLOCK


def test_full_training_against_torchs_count() -> None:
    module = llama()
    assert sum(p.numel() for p in module.parameters()) == arithmetic.WEIGHTS
    assert operations(module) == pytest.approx(FULL.operations, rel=1e-3)


def test_lora_against_torchs_count() -> None:
    module = with_adapters(llama(), arithmetic.RANK, 2 * arithmetic.RANK)
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == arithmetic.ADAPTERS
    assert operations(module) == pytest.approx(LORA.operations, rel=1e-2)  # nothing is before the first layer


def test_memory_and_hours_by_hand() -> None:
    as_finetune = arithmetic.WAYS[3]
    assert as_finetune.states == arithmetic.WEIGHTS * (4 + 4 + 8 + 2)
    assert LORA.states == arithmetic.WEIGHTS * 2 + arithmetic.ADAPTERS * 16
    assert FULL.recomputed < FULL.kept / 10
    tokens = 300_000 * 3 * arithmetic.TOKENS
    assert FULL.hours("A100") == pytest.approx(tokens * FULL.all_operations / (0.4 * 312e12) / 3600)


@pytest.mark.parametrize("way", arithmetic.WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize("again", [False, True], ids=["kept", "recomputed"])
def test_a_step_learns_what_it_should(way: arithmetic.Way, again: bool) -> None:
    config = LlamaConfig(vocab_size=gpu_train.QUICK_VOCABULARY, tie_word_embeddings=False, **gpu.TINY)
    batch = gpu_train.packed(2, gpu_train.QUICK_BLOCK, gpu_train.QUICK_VOCABULARY)
    once = gpu_train.step(way, config, batch, CPU, again=again)
    losses = [once() for _ in range(20)]
    assert losses[-1] < losses[0]


def test_the_command_prints_a_line_for_each_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_train.main(["--quick", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("tokens/s" in line for line in lines) == 2 * len(arithmetic.WAYS)


def test_what_does_not_fit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*_: object, **__: object) -> Callable[[], float]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(gpu_train, "step", step)
    monkeypatch.setattr(gpu_train, "matrix_rate", lambda *arguments: 1e12)
    found = list(gpu_train.rows(CPU, 1, quick=True))
    assert [row.figure for row in found[1:]] == ["out of memory"] * 2 * len(arithmetic.WAYS)
