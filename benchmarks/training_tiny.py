"""A language model of random weights and papers of a few words: what trains in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

WORDS = [
    "star",
    "gas",
    "dust",
    "wave",
    "disk",
    "hot",
    "cold",
    "old",
    "young",
    "bright",
    "faint",
    "near",
    "far",
    "blue",
    "red",
]


def write_tiny(folder: Path, *, n_papers: int, seed: int = 0) -> tuple[Path, Path]:
    """A LLaMA of two layers in `folder`/base and a corpus in `folder`/papers.jsonl."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<unk>", "<s>", "</s>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    wrapped.save_pretrained(folder / "base")
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=128, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder / "base")
    random = np.random.default_rng(seed)
    lines = [
        {
            "id": f"2001.{i:05d}",
            "title": f"Paper {i}",
            "abstract": " ".join(random.choice(WORDS[:6], random.integers(5, 60))),
        }
        for i in range(n_papers)
    ]
    (folder / "papers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "base", folder / "papers.jsonl"
