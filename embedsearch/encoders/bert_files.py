"""A plain BERT from its files, without transformers: importing that takes longer than all the rest of a first query.

What is read here is what transformers would make of the same files. Where a file states anything else than the usual,
or lacks something, nothing is read, and transformers decides, which knows the exceptions and names the failures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import tokenizers.models
import tokenizers.normalizers
import tokenizers.pre_tokenizers
import tokenizers.processors
import torch
from safetensors import SafetensorError, safe_open

from embedsearch.encoders.bert_cpu import BertOnCpu
from embedsearch.encoders.files import read_json
from embedsearch.encoders.folder import Model

SPECIAL = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
SETTINGS: dict[str, tuple[Any, ...]] = {
    **{key: (token, {"content": token, **PLAIN}) for key, token in SPECIAL.items()},
    "backend": ("tokenizers",),
    "never_split": (None,),
    "padding_side": ("right",),
    "tokenizer_class": (None, "BertTokenizer", "BertTokenizerFast"),
    "truncation_side": ("right",),
}
"""Keys of tokenizer_config.json that may have these values alone."""
COMPARED = ("added_tokens_decoder", "do_lower_case", "strip_accents", "tokenize_chinese_chars")
"""With tokenizer.json."""
WITHOUT_EFFECT = (
    "clean_up_tokenization_spaces", "do_basic_tokenize", "is_local", "local_files_only", "max_length",
    "model_input_names", "model_max_length", "name_or_path", "special_tokens_map_file", "stride", "truncation_strategy",
)  # fmt: skip
"""On the token ids of a text that is cut at a length given with it. Any other key leaves it to transformers."""
PARTS = ("added_tokens", "model", "normalizer", "post_processor", "pre_tokenizer")
"""Of tokenizer.json. The others have no effect here: padding and truncation are set before each use."""
SIZES = ("hidden_size", "intermediate_size", "max_position_embeddings", "num_attention_heads", "num_hidden_layers",
         "type_vocab_size", "vocab_size")  # fmt: skip
OTHERWISE = ("add_cross_attention", "auto_map", "configuration_files", "is_decoder", "pruned_heads",
             "quantization_config")  # fmt: skip
"""Keys of config.json that make another model of it."""


class BertTokenizer:
    """BERT's tokenizer: the part of a tokenizer of transformers that `tokens.Tokenizer` asks for."""

    bos_token_id = None
    padding_side = "right"

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        backend.no_truncation()
        backend.no_padding()
        self.backend_tokenizer = backend
        self.pad_token_id = backend.token_to_id(SPECIAL["pad_token"])

    def num_special_tokens_to_add(self) -> int:
        """To one text."""
        return int(self.backend_tokenizer.num_special_tokens_to_add(False))

    def __call__(self, texts: Sequence[str], *, max_length: int, **_: bool) -> dict[str, list[list[int]]]:
        """The ids of each text, cut at `max_length` with its special tokens."""
        backend = self.backend_tokenizer
        backend.enable_truncation(max_length)
        return {"input_ids": [encoding.ids for encoding in backend.encode_batch_fast(list(texts))]}


def read_tokenizer(model: Model) -> BertTokenizer | None:
    """The model's tokenizer, if it is BERT's usual one; else None."""
    files, path = model.files, model.files.folder / "tokenizer.json"
    config = files.json("config.json")
    if files.gguf or config.get("model_type") != "bert" or path.with_name("added_tokens.json").exists():
        return None
    settings, special = files.json("tokenizer_config.json"), files.json("special_tokens_map.json")
    if {*settings, *special} - {*SETTINGS, *COMPARED, *WITHOUT_EFFECT}:
        return None
    stated = [(key, value) for part in (settings, special, config) for key, value in part.items() if key in SETTINGS]
    if any(value not in SETTINGS[key] for key, value in stated) or not _is_usual(read_json(path), settings):
        return None
    try:
        return BertTokenizer(tokenizers.Tokenizer.from_file(str(path)))
    except Exception:  # it has no other kind
        return None


def _is_usual(whole: Any, settings: dict[str, Any]) -> bool:
    """Whether tokenizer.json holds what transformers makes of its vocabulary and the settings, which it believes."""
    model = whole.get("model") if isinstance(whole, dict) else None
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocabulary, dict):
        return False
    ids = {token: vocabulary[token] for token in SPECIAL.values() if isinstance(vocabulary.get(token), int)}
    if len(ids) < len(SPECIAL):
        return False
    usual = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="[UNK]"))
    usual.add_special_tokens([tokenizers.AddedToken(token, special=True, normalized=False) for token in ids])
    usual.normalizer = tokenizers.normalizers.BertNormalizer(
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
        strip_accents=settings.get("strip_accents"),
        lowercase=settings.get("do_lower_case", True),
    )
    usual.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    usual.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    parts = json.loads(usual.to_str())
    parts["model"]["vocab"] = vocabulary
    added = {str(token["id"]): {key: token[key] for key in token if key != "id"} for token in parts["added_tokens"]}
    alike = all(whole.get(part) == parts[part] for part in PARTS)
    return alike and bool(settings.get("added_tokens_decoder", added) == added)


def read_bert(model: Model, dtype: torch.dtype) -> BertOnCpu | None:
    """The model's forward pass on the CPU, if it is a plain BERT whose file has all its weights; else None."""
    config, folder = model.files.json("config.json"), model.files.folder
    sizes = [config.get(key) for key in SIZES]
    plain = (
        config.get("model_type") == "bert"
        and config.get("hidden_act") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and isinstance(config.get("layer_norm_eps"), float)
        and not any(config.get(key) for key in OTHERWISE)
        and all(isinstance(size, int) and size > 0 for size in sizes)
        and config["hidden_size"] % config["num_attention_heads"] == 0
    )
    single = model.files.weights == ("model.safetensors",) and not (folder / "adapter_config.json").exists()
    if not plain or not single or not BertOnCpu.multiplies(dtype):
        return None
    try:
        weights = _weights(str(folder / "model.safetensors"), config, dtype)
    except (OSError, SafetensorError):
        return None
    if weights is None:
        return None
    return BertOnCpu(weights, n_heads=config["num_attention_heads"], eps=config["layer_norm_eps"])


def _weights(path: str, config: dict[str, Any], dtype: torch.dtype) -> dict[str, torch.Tensor] | None:
    """What `BertOnCpu` needs, in `dtype` but for the words, which stay mapped in the file.

    None if any of it is missing, has another shape or is packed.
    """
    weights = {}
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        prefix = "bert." if "bert.embeddings.LayerNorm.weight" in names else ""
        for name, shape in _shapes(config):
            weight = file.get_tensor(prefix + name) if prefix + name in names else None
            if weight is None or weight.shape != shape or weight.dtype not in FLOATS:
                return None
            weights[name] = weight if name == WORDS else weight.to(dtype)
    return weights


WORDS = "embeddings.word_embeddings.weight"
FLOATS = (torch.float32, torch.bfloat16, torch.float16)


def _shapes(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, wide, positions, _, n_layers, types, words = (config[key] for key in SIZES)
    for name, rows in (("word", words), ("position", positions), ("token_type", types)):
        yield f"embeddings.{name}_embeddings.weight", (rows, width)
    linears = {f"attention.self.{name}": (width, width) for name in ("query", "key", "value")}
    linears |= {"attention.output.dense": (width, width), "intermediate.dense": (wide, width)}
    linears |= {"output.dense": (width, wide)}
    norms = ["embeddings.LayerNorm"]
    for layer in (f"encoder.layer.{i}" for i in range(n_layers)):
        for name, shape in linears.items():
            yield f"{layer}.{name}.weight", shape
            yield f"{layer}.{name}.bias", shape[:1]
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for name in norms:
        yield f"{name}.weight", (width,)
        yield f"{name}.bias", (width,)
