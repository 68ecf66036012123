"""A model as sentence-transformers trains it, and the folder that it is saved as.

Pooling, prompts and limit are those that the base model is used with here (`encoders.folder`), so that the result is
used alike. Imports sentence-transformers, which takes seconds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

from embedsearch.encoders import Pooling as Pooled
from embedsearch.encoders.folder import BOS_LEFT_OUT, Model
from embedsearch.encoders.loading import load_model, load_tokenizer, quiet
from embedsearch.encoders.tokens import Tokenizer
from embedsearch.store.atomic import new_path, write_bytes

ST_CONFIG = "config_sentence_transformers.json"
MODES = {
    Pooled.MEAN: "mean",
    Pooled.MEAN_WITHOUT_BOS: "mean",
    Pooled.CLS: "cls",
    Pooled.LAST_TOKEN: "lasttoken",
}


PLAIN_TEXT = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
"""What sentence-transformers is to take: it would put each text into the chat template of a tokenizer that has one."""
EAGER = ("cpu",)
"""Kinds of device on which the plain attention is trained with: in bfloat16 on a CPU the fused one's backward pass took
minilm 1.5 times as long in all at 64 tokens, 1.4 times at 128, as long at 256."""


class MeanWithoutBos(Pooling):
    """The mean over all tokens but the first, which is the [BOS] that the tokenizer put there.

    For training alone: sentence-transformers has no such pooling, so that a saved folder has its plain mean.
    """

    def forward(self, features: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Pool `token_embeddings` (b, t, h), padded on the right, into `sentence_embedding` (b, h)."""
        mask = features["attention_mask"].clone()
        mask[:, 0] = mask.sum(dim=1) == 1  # a text of nothing but [BOS] keeps it
        pooled = super().forward(features | {"attention_mask": mask}, **options)
        return features | {"sentence_embedding": pooled["sentence_embedding"]}


def open_sentence_model(
    model: Model, *, max_tokens: int, device: torch.device, scratch: Path, dropout: bool = False
) -> SentenceTransformer:
    """The model, ready to train in float32, its texts cut at `max_tokens`.

    The weights of a GGUF are dequantised, and written to the folder `scratch` if they are not there yet.
    Without `dropout` none is dropped in training, whatever the model states.
    """
    folder = model.files.folder
    with quiet():
        tokenizer = usable_tokenizer(model)
        if model.files.gguf:
            with PartialState().main_process_first():
                if not scratch.exists():
                    _write_dequantised(model, tokenizer, scratch)
            folder = scratch
        attention = {"attn_implementation": "eager"} if device.type in EAGER else {}
        local = {"local_files_only": True, "trust_remote_code": False}
        transformer = Transformer(
            str(folder),
            model_kwargs=local | {"dtype": torch.float32, "use_safetensors": True} | attention,
            processor_kwargs=local,
            config_kwargs=local,
            unpad_inputs=False,
            modality_config=PLAIN_TEXT,
            module_output_name="token_embeddings",
        )
        transformer.processor = tokenizer
        transformer.max_seq_length = max_tokens
        stated = model.files.json(ST_CONFIG)
        built = SentenceTransformer(
            modules=[transformer, _pooling(model, tokenizer), Normalize()],
            prompts=stated.get("prompts") or None,
            default_prompt_name=stated.get("default_prompt_name"),
            device=str(device),
        )
    transformer.model.config.use_cache = False
    for name, parameter in transformer.model.named_parameters():
        if name.startswith("pooler."):  # works on the hidden states, and is not used
            parameter.requires_grad_(False)
    for module in built.modules() if not dropout else ():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return built


def _write_dequantised(model: Model, tokenizer: Any, folder: Path) -> None:
    unpacked: Any = load_model(model, device=torch.device("cpu"), dtype=torch.float32)
    if getattr(unpacked.config, "quantization_config", None) is not None:
        del unpacked.config.quantization_config  # of the weights that it was
    with new_path(folder) as new:
        unpacked.save_pretrained(new)
        tokenizer.save_pretrained(new)


def leaves_out_bos(model: Model, tokenizer: Any) -> bool:
    """Whether the pooling leaves a [BOS] out that the tokenizer really puts before a text."""
    return model.recipe.pooling is Pooled.MEAN_WITHOUT_BOS and Tokenizer(tokenizer, max_tokens=8).has_bos


def usable_tokenizer(model: Model) -> Any:
    """The model's tokenizer, which pads on the right, with any token where it has none to pad with: it is masked."""
    tokenizer = load_tokenizer(model)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        named = (tokenizer.eos_token, tokenizer.unk_token, tokenizer.bos_token)
        tokenizer.pad_token = next((token for token in named if token), tokenizer.convert_ids_to_tokens(0))
    return tokenizer


def save_sentence_model(trained: Any, model: Model, folder: Path) -> None:
    """Write the trained model to `folder`, to be used as its base was: same tokenizer, pooling, prompts and limit.

    Where the pooling leaves out the [BOS], the folder says so in a key that embedsearch reads; sentence-transformers
    has the [BOS] in the mean.
    """
    with quiet():
        tokenizer = usable_tokenizer(model)
        without_bos = leaves_out_bos(model, tokenizer)
        tokenizer.model_max_length = model.recipe.max_tokens
        trained[0].processor = tokenizer
        trained[0].model.config.use_cache = model.files.json("config.json").get("use_cache", True)
        trained[1] = Pooling(model.dim, MODES[model.recipe.pooling])
        trained.save(str(folder), create_model_card=False)
    if without_bos:
        _state(folder / ST_CONFIG, BOS_LEFT_OUT)
    if model.lower_case:
        _state(folder / "sentence_bert_config.json", "do_lower_case")


def _state(path: Path, key: str) -> None:
    """Add `key`: true to a JSON object."""
    stated = json.loads(path.read_text(encoding="utf-8")) | {key: True}
    write_bytes(path, json.dumps(stated, indent=2, sort_keys=True).encode())


def _pooling(model: Model, tokenizer: Any) -> Pooling:
    mode = MODES[model.recipe.pooling]
    pooling: Pooling = MeanWithoutBos(model.dim, mode) if leaves_out_bos(model, tokenizer) else Pooling(model.dim, mode)
    return pooling
