"""What a model's files state about its use: pooling, prompts, limit, dimension. Imports neither torch nor transformers.

What a user sets (`ModelSpec`) wins, then what is settled for a named model, then what the folder states, then what is
customary: the mean without [BOS] for a causal model, the mean for others.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embedsearch.encoders.files import ModelFiles, gguf_header, read_json
from embedsearch.encoders.models import CAUSAL_MAX_TOKENS, NAMED_MODELS
from embedsearch.encoders.protocol import ModelSpec, Pooling, Recipe
from embedsearch.encoders.weights import resolve
from embedsearch.errors import EncoderError, MissingExtra, OptionError

log = logging.getLogger("embedsearch")

# sentence-transformers' names. The mean over the root of the length has the mean's direction, and length is not kept.
POOLINGS = {
    "cls": Pooling.CLS,
    "mean": Pooling.MEAN,
    "mean_sqrt_len_tokens": Pooling.MEAN,
    "lasttoken": Pooling.LAST_TOKEN,
}
OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
GGUF_POOLINGS = {1: Pooling.MEAN, 2: Pooling.CLS, 3: Pooling.LAST_TOKEN}
BOS_LEFT_OUT = "embedsearch_bos_left_out"
"""Key of config_sentence_transformers.json in folders that `finetune` wrote: the mean is one without [BOS], for which
sentence-transformers has no word."""
MODULES = ("Transformer", "Pooling", "Normalize")
"""The parts of a sentence-transformers model that are understood."""
PROMPTED = re.compile(
    r"(^|[-_/])(e5|bge|gte-qwen\w*|instructor|nomic-embed|arctic-embed|qwen3-embedding)([-_.]|$)", re.I
)
"""Families that were trained with a prompt before queries or documents."""
SHIFTED_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet")
"""Architectures whose first two positions are not for tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that was found, and how it is used."""

    spec: ModelSpec
    """As asked, with the hub's commit as its revision where there is one."""
    files: ModelFiles
    recipe: Recipe
    dim: int
    lower_case: bool
    """Texts are lowered before they are tokenised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stated:
    """What the files say."""

    dim: int
    causal: bool
    pooling: Pooling | None = None
    prompts: dict[str, str] = field(default_factory=dict)
    """By role: query, document."""
    most_tokens: int
    """What the model's positions allow."""
    usual_tokens: int | None = None
    """Where the folder cuts its texts."""
    lower_case: bool = False


def read_model(spec: ModelSpec, expected: Recipe | None = None) -> Model:
    """Find the model and read what it states; `expected` helps to find it, and is not compared.

    Raises ModelNotFound, EncoderError for a model that cannot be used here, OptionError for a limit outside of what
    the model can do.
    """
    files = resolve(spec, expected)
    stated = _gguf_states(files.folder / files.gguf) if files.gguf else _folder_states(files, spec)
    named = NAMED_MODELS.get(spec.name)
    customary = Pooling.MEAN_WITHOUT_BOS if stated.causal else Pooling.MEAN
    query, document = _prompts(spec, stated.prompts)
    recipe = Recipe(
        weights=files.weights_sha256,
        tokenizer=files.tokenizer_sha256,
        config=files.config_sha256,
        pooling=spec.pooling or (named.pooling if named else None) or stated.pooling or customary,
        query_prompt=query,
        document_prompt=document,
        max_tokens=_limit(spec, stated),
    )
    pinned = spec if files.commit is None else replace(spec, revision=files.commit)
    return Model(spec=pinned, files=files, recipe=recipe, dim=stated.dim, lower_case=stated.lower_case)


def check_extras(model: Model) -> None:
    """Raise MissingExtra if reading the model takes a package that is not installed."""
    missing = [name for name in ("gguf", "accelerate") if model.files.gguf and not importlib.util.find_spec(name)]
    if missing:
        raise MissingExtra(f"{model.spec.name} is a GGUF, which needs {missing[0]}: pip install 'embedsearch[gguf]'")


def _limit(spec: ModelSpec, stated: _Stated) -> int:
    named = NAMED_MODELS.get(spec.name)
    usual = named.max_tokens if named else stated.usual_tokens or CAUSAL_MAX_TOKENS
    limit = min(usual, stated.most_tokens) if spec.max_tokens is None else spec.max_tokens
    if not 1 <= limit <= stated.most_tokens:
        raise OptionError(f"max_tokens must be from 1 to the model's {stated.most_tokens}, was {limit}")
    return limit


def _prompts(spec: ModelSpec, stated: dict[str, str]) -> tuple[str, str]:
    query = stated.get("query", "") if spec.query_prompt is None else spec.query_prompt
    document = stated.get("document", "") if spec.document_prompt is None else spec.document_prompt
    nobody_said = spec.query_prompt is None and spec.document_prompt is None
    if nobody_said and not (query or document) and PROMPTED.search(spec.name):
        log.warning(
            "%s is of a family that was trained with a prompt before its texts, and states none: see its README, and "
            "set query_prompt and document_prompt",
            spec.name,
        )
    return query, document


def _folder_states(files: ModelFiles, spec: ModelSpec) -> _Stated:
    config = files.json("config.json")
    if not config:
        raise EncoderError(f"expected what the model is in {files.folder / 'config.json'}, found nothing")
    if config.get("is_encoder_decoder"):
        raise EncoderError(f"{spec.name} is an encoder and a decoder, which is not supported: expected one of the two")
    transformer = files.json("sentence_bert_config.json")
    return _Stated(
        dim=_dim(config, files),
        causal=any("ForCausalLM" in name for name in config.get("architectures") or ()),
        pooling=_folder_pooling(files, spec.pooling),
        prompts=_folder_prompts(files.json("config_sentence_transformers.json")),
        most_tokens=_most_tokens(config, files),
        usual_tokens=transformer.get("max_seq_length"),
        lower_case=bool(transformer.get("do_lower_case")),
    )


def _dim(config: dict[str, Any], files: ModelFiles) -> int:
    for part in (config, config.get("text_config") or {}):
        for key in ("hidden_size", "d_model", "n_embd", "dim"):
            if isinstance(part.get(key), int):
                return int(part[key])
    raise EncoderError(f"expected hidden_size in {files.folder / 'config.json'}, found none")


def _most_tokens(config: dict[str, Any], files: ModelFiles) -> int:
    stated = [part.get("max_position_embeddings") for part in (config, config.get("text_config") or {})]
    stated.append(config.get("n_positions"))
    limits = [int(limit) for limit in stated if isinstance(limit, int) and limit > 0][:1]
    if limits and config.get("model_type") in SHIFTED_POSITIONS:
        limits[0] -= 2
    of_tokenizer = files.json("tokenizer_config.json").get("model_max_length")
    # Tokenizers without a limit state 10**30.
    if isinstance(of_tokenizer, int) and 0 < of_tokenizer < 1_000_000:
        limits.append(of_tokenizer)
    return min(limits, default=CAUSAL_MAX_TOKENS)


def _folder_pooling(files: ModelFiles, given: Pooling | None) -> Pooling | None:
    """The pooling that a sentence-transformers folder was trained with; None where it is no such folder.

    One that is `given` replaces a pooling that is not understood, but not a module that is not.
    """
    modules = read_json(files.folder / "modules.json")
    if modules is None:
        return None
    if not isinstance(modules, list):
        raise EncoderError(f"expected a list of modules in {files.folder / 'modules.json'}, found another thing")
    pooling = None
    for module in modules:
        kind = str(module.get("type", "")).rsplit(".", 1)[-1]
        if kind not in MODULES:
            raise EncoderError(f"{files.name} has a {kind} module, which is not supported: {', '.join(MODULES)} are")
        if kind == "Transformer" and module.get("path"):
            raise EncoderError(f"{files.name} keeps its weights in {module['path']}: name that folder, and its pooling")
        if kind == "Pooling":
            pooling = given or _stated_pooling(files, f"{module.get('path', '')}/config.json".lstrip("/"))
    return pooling


def _stated_pooling(files: ModelFiles, name: str) -> Pooling:
    config = files.json(name)
    stated = config.get("pooling_mode") or [mode for key, mode in OLD_POOLINGS.items() if config.get(key)] or "mean"
    modes = [stated] if isinstance(stated, str) else list(stated)
    if len(modes) != 1 or modes[0] not in POOLINGS or config.get("include_prompt") is False:
        told = " + ".join(map(str, modes)) + (" without the prompt" if config.get("include_prompt") is False else "")
        raise EncoderError(f"{files.name} pools by {told}, which is not supported: set one of the known poolings")
    pooling = POOLINGS[modes[0]]
    without_bos = pooling is Pooling.MEAN and files.json("config_sentence_transformers.json").get(BOS_LEFT_OUT) is True
    return Pooling.MEAN_WITHOUT_BOS if without_bos else pooling


def _folder_prompts(config: dict[str, Any]) -> dict[str, str]:
    prompts = config.get("prompts") or {}
    default = prompts.get(config.get("default_prompt_name")) or ""
    document = next((prompts[key] for key in ("document", "passage", "corpus") if prompts.get(key)), default)
    return {"query": prompts.get("query") or default, "document": document}


def _gguf_states(path: Path) -> _Stated:
    header = gguf_header(path)
    architecture = header.get("general.architecture", "")
    dim, most = (header.get(f"{architecture}.{key}") for key in ("embedding_length", "context_length"))
    if not isinstance(dim, int):
        raise EncoderError(f"expected the architecture and dimension of a model in {path}, found none")
    pooling = GGUF_POOLINGS.get(header.get(f"{architecture}.pooling_type", 0))
    causal = "bert" not in architecture
    return _Stated(dim=dim, causal=causal, pooling=pooling, most_tokens=most or CAUSAL_MAX_TOKENS)
