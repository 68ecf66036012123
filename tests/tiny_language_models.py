"""Language models of random weights, small enough for a test: a few words, two layers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = ("star", "gas", "dust", "wave", "disk", "hot", "cold", "old", "étoile")
CONTEXT = 32


def make_language_model(
    folder: Path, *, kind: str = "llama", adds_bos: bool = True, padding_side: str = "right", seed: int = 0,
    has_eos: bool = True, n_rows: int | None = None, n_layers: int = 2,
) -> Any:  # fmt: skip
    """Save a model and its tokenizer in `folder`; the model. `n_rows`: of its embeddings, if not one a token."""
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<s>", "</s>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    ends = {"eos_token": "</s>", "pad_token": "</s>"} if has_eos else {}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", padding_side=padding_side, **ends
    ).save_pretrained(folder)
    model = _random_model(kind, n_rows or len(vocabulary), n_layers, seed)
    model.save_pretrained(folder)
    return model.eval()


def _random_model(kind: str, n_rows: int, n_layers: int, seed: int) -> Any:
    torch.manual_seed(seed)
    # Far larger than transformers' usual 0.02, with which every token would be as probable as any other
    ends = {"bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.4}
    if kind == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(vocab_size=n_rows, n_embd=16, n_layer=n_layers, n_head=2, n_positions=CONTEXT, **ends)
        )
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=n_rows, hidden_size=16, intermediate_size=32, num_hidden_layers=n_layers, num_attention_heads=2,
            max_position_embeddings=CONTEXT, **ends,
        )
    )  # fmt: skip


def make_adapter(folder: Path, base: Path, *, seed: int = 1) -> Any:
    """Save a LoRA adapter of random weights on the model in `base`; the adapted model."""
    from peft import LoraConfig, get_peft_model

    model = LlamaForCausalLM.from_pretrained(base)
    torch.manual_seed(seed)
    config = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft reads a name that transformers will give up
        tuned = get_peft_model(model, config)
        tuned.save_pretrained(folder)
    return tuned.eval()


def make_gguf(path: Path, model: Any) -> None:
    """Write a tiny LLaMA as llama.cpp would, in float16, with a vocabulary of letters: 12 tokens, of which one is
    merged of two."""
    import gguf

    config, state = model.config, model.state_dict()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<unk>", "<s>", "</s>", "s", "t", "a", "r", "g", "h", "o", "st", "\u0120"])
    writer.add_token_merges(["s t"])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weights in state.items():
        array = weights.float().numpy()
        if name.endswith(("q_proj.weight", "k_proj.weight")):  # llama.cpp turns pairs of neighbours, not of halves
            halves = array.reshape(config.num_attention_heads, 2, -1, array.shape[1])
            array = halves.swapaxes(1, 2).reshape(array.shape)
        stored = array if array.ndim == 1 else array.astype("float16")
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
