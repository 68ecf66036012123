"""Adapters onto models and into them, and models into folders that others load."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any

import torch

from embedsearch.encoders import Compute
from embedsearch.encoders.loading import quiet
from embedsearch.errors import MissingExtra, OptionError
from embedsearch.language.adapters import BASE, describe_base, find_adapter
from embedsearch.language.language_model import LanguageModel, open_language_model
from embedsearch.store.atomic import check_writable, disk_errors, new_path, sync
from embedsearch.training.report import model_name

SHORT_DTYPES = ("float16", "bfloat16")


def check_peft() -> None:
    """Raise MissingExtra where peft, which makes adapters, is not installed."""
    if not importlib.util.find_spec("peft"):
        raise MissingExtra("expected peft for --lora, found none: pip install 'embedsearch[train]'")


def with_adapters(module: Any, rank: int, alpha: int) -> Any:
    """The model with new adapters on all of its linear layers, which alone are trained (peft's PeftModel)."""
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules="all-linear", task_type=TaskType.CAUSAL_LM
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of embeddings that are tied to the head, which is left as it is
        adapted = get_peft_model(module, config)
    for made in adapted.peft_config.values():
        made.base_model_name_or_path = ""  # at each checkpoint peft would ask the hub for a model of this name
    return adapted


def stored_dtype(model: LanguageModel) -> torch.dtype:
    """What the weights of a model made from this one are stored in: bfloat16 where its own have 16 bits."""
    config = model.files.json("config.json") or {}
    stated = config.get("dtype") or config.get("torch_dtype")
    return torch.bfloat16 if stated in SHORT_DTYPES else torch.float32


def save_model(module: Any, folder: Path, model: LanguageModel) -> None:
    """Write weights (safetensors), configuration, generation settings and the tokenizer of `model` to `folder`.

    A tokenizer without padding gets EOS for it, since others pad by it; what is padding is known by lengths here.
    """
    # What GGUF weights were packed as says nothing of these.
    if getattr(module.config, "quantization_config", None) is not None:
        del module.config.quantization_config
    module.config.use_cache = True  # as it was: generation wants it
    tokenizer = model.tokenizer
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
    with quiet():
        module.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        generation = getattr(module, "generation_config", None)
        if generation is not None:
            (folder / "generation_config.json").write_text(generation.to_json_string(), encoding="utf-8")


def save_adapter(adapted: Any, folder: Path, model: LanguageModel) -> None:
    """Write the adapters of a PeftModel to `folder`, with what tells their base: its name and its hash, no path."""
    folder.mkdir(parents=True, exist_ok=True)
    base = describe_base(model_name(model.name), model.files)
    for config in adapted.peft_config.values():
        config.base_model_name_or_path = base["name"]
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft looks for the base on the hub, to see whether its vocabulary grew
        adapted.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty card
    (folder / BASE).write_text(json.dumps(base) + "\n", encoding="utf-8")


def merge(adapter: str, out: Path, *, base: str | None = None, revision: str | None = None) -> LanguageModel:
    """Add a LoRA adapter to the model that it was trained on, and write the whole to the new folder `out`.

    `base` says where that model is, if it is not where the adapter says. Raises OptionError for a folder without an
    adapter or an `out` that exists, and what `open_language_model` raises: EncoderError for another model's adapter.
    """
    if find_adapter(adapter) is None:
        raise OptionError(f"expected a folder with adapter_config.json and no model beside it, found none in {adapter}")
    with disk_errors(out):
        if out.exists():
            raise OptionError(f"expected nothing at {out} yet, found something; name another --out")
    check_writable(out)
    model = open_language_model(
        adapter, base=base, revision=revision, compute=Compute(device="cpu", dtype="float32"), merged=True
    )
    with new_path(out) as folder:
        folder.mkdir()
        save_model(model.model.to(stored_dtype(model)), folder, model)
        for path in sorted(folder.iterdir()):
            path.chmod((folder / "config.json").stat().st_mode)  # safetensors keeps its files from all others
            sync(path)
    return model
