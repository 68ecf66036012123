"""A causal language model by name: a named model, a folder, a GGUF, a hub id, or a LoRA adapter on its base."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig

from embedsearch.device import pick_device, pick_dtype
from embedsearch.encoders import Compute, ModelSpec, Pooling
from embedsearch.encoders.files import ModelFiles, gguf_header
from embedsearch.encoders.folder import Model, check_extras, read_model
from embedsearch.encoders.loading import _failures_named, load_model, load_tokenizer, quiet
from embedsearch.encoders.models import CAUSAL_MAX_TOKENS
from embedsearch.encoders.services import is_service
from embedsearch.errors import EncoderError
from embedsearch.language.adapters import Adapter, apply_adapter, base_name, check_base, find_adapter


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModel:
    """A model that says how probable the next token is, ready to compute. Not safe to use from several threads."""

    name: str
    """As it was asked for."""
    model: Any
    """A causal LM of transformers, in eval mode, without a cache of keys; an adapter's layers lie in it."""
    tokenizer: Any
    """Of transformers."""
    device: torch.device
    bos_id: int | None
    """Only where the tokenizer itself puts it before a text."""
    eos_id: int | None
    pad_id: int
    """Any id: what is padding follows from lengths."""
    max_tokens: int
    """The model's context, at most CAUSAL_MAX_TOKENS."""
    files: ModelFiles
    """Of the model, or of an adapter's base, with their hashes."""
    adapter: Adapter | None
    note: str
    """What is to be known of the weights, "" where there is nothing: that they were dequantised."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        dtype: torch.dtype = next(self.model.parameters()).dtype
        return dtype


def open_language_model(
    name: str,
    *,
    revision: str | None = None,
    base: str | None = None,
    compute: Compute | None = None,
    dtype: str | None = None,
    merged: bool = False,
) -> LanguageModel:
    """Load the causal language model of this name.

    `name` is a named model, a folder, a GGUF file (its weights are dequantised), a hub id (looked for on this machine
    first), or a folder or hub id with an adapter_config.json: a LoRA adapter, put on the model that it was trained on,
    which is where the adapter says or at `base`. `revision` is the hub's, of what `name` is there, else of the base.
    `dtype` (float32, bfloat16, ...) goes before that of `compute`. `merged`: an adapter's change is added to the
    weights, as for a model that is to be saved.

    Raises ModelNotFound, OptionError, MissingExtra, and EncoderError for a model without a language-model head, one
    that lacks weights, and an adapter of another base.
    """
    compute = compute or Compute()
    device = pick_device(compute.device)
    precision = pick_dtype(dtype or compute.dtype, device)
    found, adapter = _find(name, revision, base)
    tokenizer = load_tokenizer(found)
    module: Any = load_model(found, device=device, dtype=precision, with_head=True)
    n_rows = module.get_input_embeddings().weight.shape[0]
    _check_vocabulary(found, n_rows, tokenizer)
    if adapter is not None:
        with quiet():
            module = apply_adapter(module, adapter, dtype=precision, merged=merged)
    return LanguageModel(
        name=name,
        model=module,
        tokenizer=tokenizer,
        device=device,
        bos_id=_bos_id(tokenizer),
        eos_id=tokenizer.eos_token_id,
        pad_id=next((id for id in (tokenizer.pad_token_id, tokenizer.eos_token_id) if id in range(n_rows)), 0),
        max_tokens=_context(module.config, tokenizer),
        files=found.files,
        adapter=adapter,
        note=f"dequantised from {found.files.gguf}" if found.files.gguf else "",
    )


def check_language_model(name: str, *, revision: str | None = None, base: str | None = None) -> None:
    """Raise what `open_language_model` would for a model that is not here or no language model, without its weights."""
    _find(name, revision, base)


def _find(name: str, revision: str | None, base: str | None) -> tuple[Model, Adapter | None]:
    adapter = find_adapter(name, revision)
    if adapter is None:
        found = _read(name, revision, None)
    else:
        found = _read(base or base_name(adapter), None if adapter.from_hub else revision, adapter)
    check_extras(found)
    _refuse_encoder(found)
    if adapter is not None:
        check_base(adapter, found.files)
    return found, adapter


def _read(name: str, revision: str | None, adapter: Adapter | None) -> Model:
    # How it would pool and prompt is of no concern here, nor is a pooling that is not known.
    spec = ModelSpec(
        name=name, revision=revision, pooling=Pooling.MEAN_WITHOUT_BOS, query_prompt="", document_prompt=""
    )
    if is_service(spec):
        raise EncoderError(f"{name} is a service, which does not give what it finds probable: name a model's files")
    try:
        return read_model(spec)
    except EncoderError as error:
        if adapter is None:
            raise
        wanted = f"the adapter {adapter.folder} needs its base model {name!r}"
        raise type(error)(f"{wanted}, found: {error}; say where it is with --base") from error


def _refuse_encoder(found: Model) -> None:
    """An encoder's head, if it has one, sees what comes after a token: it predicts nothing."""
    if found.files.gguf:
        kind = str(gguf_header(found.files.folder / found.files.gguf).get("general.architecture", ""))
        is_encoder = "bert" in kind
    else:
        with quiet(), _failures_named(found):
            config = AutoConfig.from_pretrained(found.files.folder, local_files_only=True, trust_remote_code=False)
        kind = ", ".join(config.architectures or [config.model_type])
        # Only architectures that can be both have the key.
        is_encoder = not getattr(config, "is_decoder", True) or "MaskedLM" in kind
    if is_encoder:
        raise EncoderError(
            f"expected a language model, found {found.spec.name}, an encoder ({kind}), which does not predict the next "
            "token: name a causal model, such as smollm2"
        )


def _check_vocabulary(found: Model, n_rows: int, tokenizer: Any) -> None:
    """Tokens that were added to a tokenizer without an embedding are common, [PAD] first of all: those need not be."""
    n_tokens = tokenizer.vocab_size
    if n_tokens > n_rows:
        raise EncoderError(
            f"expected a tokenizer of at most the {n_rows:,} tokens that {found.spec.name} has embeddings of, found "
            f"{n_tokens:,}: take the model's own tokenizer"
        )


def _bos_id(tokenizer: Any) -> int | None:
    """By behaviour: attributes such as add_bos_token say False where it is added, and the reverse."""
    bos = tokenizer.bos_token_id
    return int(bos) if bos is not None and tokenizer("a")["input_ids"][:1] == [bos] else None


def _context(config: Any, tokenizer: Any) -> int:
    stated = [getattr(config, key, None) for key in ("max_position_embeddings", "n_positions")]
    stated.append(tokenizer.model_max_length)  # 10**30 where none is stated
    return min([n for n in stated if isinstance(n, int) and n > 0] + [CAUSAL_MAX_TOKENS])
