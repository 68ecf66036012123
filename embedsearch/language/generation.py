"""Writing behind prompts with a language model on this machine, several at once, with their keys and values kept."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from embedsearch.encoders.loading import quiet
from embedsearch.encoders.transformer import _out_of_memory
from embedsearch.errors import EncoderError, OptionError
from embedsearch.language.completion import INSTRUCTION, Completion, CompletionOptions, Progress, Prompt, continuation

if TYPE_CHECKING:
    from embedsearch.language.language_model import LanguageModel

CACHE_TOKENS = 16_384
"""Tokens whose keys and values are kept at once, unless another budget is given: 0.4 GB for SmolLM2-135M and 8.6 GB for
LLaMA-2-7B, both in 16 bits."""

log = logging.getLogger("embedsearch")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One prompt as the model takes it: `limit` is how many tokens may be written behind its `ids`."""

    position: int
    ids: list[int]
    limit: int
    seed: int


def complete(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    options: CompletionOptions | None = None,
    *,
    progress: Progress | None = None,
) -> list[Completion]:
    """What the model writes behind each prompt, in their order.

    A text ends at any of the model's special tokens: what begins another document ends this one too. Only the
    temperature changes what the model says: what its own folder asks for (top-k, a penalty) is not looked at.

    Each prompt has random numbers of its own, taken by the Gumbel-max trick (Maddison et al. 2014, arXiv:1411.0030).
    Equal batches give equal texts on the same machine. In another batch a text differs only where rounding decides:
    padding moved SmolLM2-135M's logits by at most 4e-5 in float32, and by up to 0.5 in bfloat16, where two texts of
    four came out others. A `token_budget` of 1 writes each prompt alone: then nothing else matters in either.

    Raises OptionError for an empty prompt, one that fills the model's context, and `use_chat` for a model without a
    chat template; EncoderError where one prompt alone does not fit into memory.
    """
    options = options or CompletionOptions()
    waiting = [_row(model, prompt, options, position) for position, prompt in enumerate(prompts)]
    waiting.sort(key=lambda row: (row.limit, len(row.ids), row.position))
    budget = options.token_budget or CACHE_TOKENS
    found: dict[int, Completion] = {}
    n_written = 0
    while waiting:
        batch = _batch(waiting, budget)
        draw = _Draw(batch, _ends(model), len(model.tokenizer), options.temperature, n_written)
        draw.tell = None if progress is None else lambda done, n: progress(len(found) + done, len(prompts), n)
        try:
            written = _write(model, batch, draw)
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            written = None
        if written is None:  # not in the except clause, where the traceback still holds the tensors
            budget = _halved(model, batch)
            continue
        for row, ids in zip(batch, written, strict=True):
            prompt = prompts[row.position]
            found[row.position] = _completion(model, prompt, row, ids, use_chat=options.use_chat)
        n_written += sum(map(len, written))
        del waiting[: len(batch)]
    return [found[position] for position in range(len(prompts))]


def _row(model: LanguageModel, prompt: Prompt, options: CompletionOptions, position: int) -> _Row:
    ids = _ids(model, prompt.text, use_chat=options.use_chat)
    where = f"the prompt of {prompt.id}" if prompt.id else f"prompt {position + 1}"
    if not prompt.text.strip() or not ids:
        raise OptionError(f"expected text in {where}, found none: give the beginning of an abstract")
    if len(ids) >= model.max_tokens:
        raise OptionError(
            f"expected fewer than the {model.max_tokens:,} tokens that {model.name} takes in {where}, found"
            f" {len(ids):,}: make it shorter"
        )
    # Not of the position, so that a prompt's numbers are the same whatever else is asked.
    seed = hashlib.sha256(f"{options.seed}\n{prompt.text}".encode(errors="replace")).digest()
    limit = min(options.max_new_tokens, model.max_tokens - len(ids))
    return _Row(position=position, ids=ids, limit=limit, seed=int.from_bytes(seed[:8], "big"))


def _ids(model: LanguageModel, text: str, *, use_chat: bool) -> list[int]:
    """Without the blank at the end, of which a tokenizer makes a token that no text goes on from."""
    tokenizer: Any = model.tokenizer
    before = [] if model.bos_id is None else [model.bos_id]
    if use_chat:
        text, before = _templated(model, text), []  # the template has what it wants before the text
    with quiet():  # of texts that are longer than the context, which is said in our own words
        return before + list(tokenizer(text.rstrip(), add_special_tokens=False)["input_ids"])


def _templated(model: LanguageModel, text: str) -> str:
    tokenizer: Any = model.tokenizer
    if not getattr(tokenizer, "chat_template", None):
        raise OptionError(f"expected a chat template in {model.name}, found none: leave out --chat")
    message = {"role": "user", "content": f"{INSTRUCTION}\n\n{text}"}
    try:
        filled: str = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is a program of the model's, and may raise anything
        raise EncoderError(f"cannot fill the chat template of {model.name}: {error}; leave out --chat") from error
    return filled


def _batch(waiting: Sequence[_Row], budget: int) -> list[_Row]:
    """The first of `waiting` that fit into `budget` tokens, at least one. All have one limit: where a model has
    learned its positions, the row that may go furthest would lead the others past the last."""
    n = 1
    while n < len(waiting) and waiting[n].limit == waiting[0].limit:
        if (n + 1) * (len(waiting[n].ids) + waiting[n].limit) > budget:
            break
        n += 1
    return list(waiting[:n])


def _halved(model: LanguageModel, batch: Sequence[_Row]) -> int:
    """The budget of half as many prompts at once."""
    if len(batch) == 1:
        raise EncoderError(
            f"out of memory on {model.device}: one prompt of {len(batch[0].ids):,} tokens and {batch[0].limit:,} new"
            " ones do not fit; allow fewer new tokens"
        )
    log.warning("out of memory on %s: going on with %d prompts at once", model.device, len(batch) // 2)
    if torch.device(model.device).type == "cuda":
        torch.cuda.empty_cache()
    return (len(batch[-1].ids) + batch[-1].limit) * (len(batch) // 2)


def _ends(model: LanguageModel) -> list[int]:
    """The tokens that end a text: the tokenizer's special ones, and those that the model names."""
    stated = getattr(model.model.generation_config, "eos_token_id", None)
    named = stated if isinstance(stated, list) else [stated]
    ends = {*model.tokenizer.all_special_ids, *named, model.eos_id}
    return sorted(end for end in ends if end is not None)


class _Draw(LogitsProcessor):
    """Makes the likeliest token one that was drawn: argmax(logit + temperature * Gumbel noise), noise for each row."""

    def __init__(
        self, rows: Sequence[_Row], ends: Sequence[int], n_vocabulary: int, temperature: float, n_before: int
    ) -> None:
        self._generators = [np.random.default_rng(row.seed) for row in rows]
        self.ends = ends
        self._n_vocabulary = n_vocabulary
        self._temperature = temperature
        self._is_done = np.zeros(len(rows), bool)
        self._n_steps, self._n_written = 0, n_before
        self.tell: Any = None  # told of rows that are done, and of tokens that were written in all

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`scores` (rows, vocabulary) float32 with the noise added; rows that have ended draw no more."""
        if self._n_steps:
            self._n_written += int((~self._is_done).sum())
            self._is_done |= np.isin(input_ids[:, -1].cpu().numpy(), self.ends)
            if self.tell is not None:
                self.tell(int(self._is_done.sum()), self._n_written)
        self._n_steps += 1
        scores[:, self._n_vocabulary :] = -torch.inf  # room that the tokenizer has no tokens for
        if not self._temperature:
            return scores
        noise = np.zeros(scores.shape, np.float32)
        for row in np.flatnonzero(~self._is_done):
            # In float64: one in 2**23 is 0 in float32, which makes nonsense of one word in 170 where there are 50,000.
            noise[row] = -np.log(self._generators[row].standard_exponential(scores.shape[1]))
        return scores + self._temperature * torch.from_numpy(noise).to(scores.device)


def _write(model: LanguageModel, batch: Sequence[_Row], draw: _Draw) -> list[list[int]]:
    """The tokens that are written behind each row, the one that ended it included."""
    longest = max(len(row.ids) for row in batch)
    ids = torch.full((len(batch), longest), model.pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(batch):
        ids[i, longest - len(row.ids) :] = torch.tensor(row.ids)
        mask[i, longest - len(row.ids) :] = 1
    make: Any = GenerationConfig  # untyped
    config = make(
        max_new_tokens=batch[0].limit,
        do_sample=False,
        use_cache=True,
        eos_token_id=list(draw.ends) or None,
        pad_token_id=model.pad_id,
    )
    with quiet(), _generating(model, config), torch.inference_mode():
        out = model.model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            logits_processor=LogitsProcessorList([draw]),
        )
    return [_until_end(row, draw.ends) for row in out[:, longest:].tolist()]


def _until_end(ids: list[int], ends: Sequence[int]) -> list[int]:
    """What lies behind the first end is padding, whatever its id."""
    return next((ids[: i + 1] for i, id in enumerate(ids) if id in ends), ids)


@contextmanager
def _generating(model: LanguageModel, config: GenerationConfig) -> Iterator[None]:
    """With no other rules than these: what is not set in a configuration that is given is taken from the model's."""
    own = model.model.generation_config
    model.model.generation_config = config
    try:
        yield
    finally:
        model.model.generation_config = own


def _completion(model: LanguageModel, prompt: Prompt, row: _Row, ids: list[int], *, use_chat: bool) -> Completion:
    has_ended = bool(ids) and ids[-1] in _ends(model)
    ids = ids[: len(ids) - has_ended]  # the end may be a token that only the model's configuration names
    if use_chat:
        text = continuation(prompt.text, _decoded(model, ids))
    else:
        # Both together: the blank before the first word belongs to its token, and some tokenizers drop it there.
        whole, before = _decoded(model, row.ids + ids), _decoded(model, row.ids)
        text = whole.removeprefix(before) if whole.startswith(before) else _decoded(model, ids)
    return Completion(text=text.rstrip(), n_tokens=len(ids), has_ended=has_ended)


def _decoded(model: LanguageModel, ids: list[int]) -> str:
    text: str = model.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text
