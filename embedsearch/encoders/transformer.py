"""The encoder that runs a model of transformers on this machine.

Final hidden states, pooled in float32, brought to unit length. Texts are sorted by length into batches of at most
`token_budget` tokens and padded on the right; BERT on a CPU (`bert_cpu`) and what `packing` takes on CUDA run without
padding. A text's vector depends on its batch only through rounding: by cosine less than 1e-6 in float32 and 1e-3 in
bfloat16.
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import platform
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from embedsearch._version import __version__
from embedsearch.device import device_name, pick_device, pick_dtype
from embedsearch.encoders.batching import n_padded_tokens, n_real_tokens
from embedsearch.encoders.bert_cpu import BertOnCpu
from embedsearch.encoders.bert_files import read_bert, read_tokenizer
from embedsearch.encoders.folder import Model, check_extras
from embedsearch.encoders.lanes import in_lanes, n_lanes
from embedsearch.encoders.pace import Pace, Progress, Tally
from embedsearch.encoders.pooling import mask_from_lengths, pool
from embedsearch.encoders.protocol import Compute, Encoded, ModelSpec, Prepared, Recipe, Role
from embedsearch.encoders.tokens import Tokenizer, TokenRows
from embedsearch.errors import BadVector, EncoderError, OptionError
from embedsearch.scores import unit_rows

if TYPE_CHECKING:
    from embedsearch.encoders.cuda import PackedEncoder

log = logging.getLogger("embedsearch")

TOKEN_BUDGETS = {"cpu": 4096, "cuda": 32768, "mps": 8192}
"""By kind of device. On a CPU the hidden states of more tokens leave its caches, and it becomes slower again."""

PACKED_ON = ("cuda",)
"""Kinds of device on which batches are packed, if the model can be."""

ENOUGH_TOKENS = {"cpu": 256}
"""Of padded batches. A pass costs a CPU as much as some 50 tokens more (reading the weights), and a token costs the
same in all passes above this: 64 queries of 10 to 35 tokens took a sixth less in a few passes than padded to the
longest, measured on minilm, which `bert_cpu` runs without padding now. Like the budget it decides on the last bits of a
shard: it belongs to the version of embedsearch, which `made_with` has."""


class TransformerEncoder:
    """Encodes with the model that `read_model` found. `open_encoder` makes it from a name.

    Its tokenizer and weights are loaded when they are first needed. `module`: weights that are on the device, and in
    the dtype, already. Safe to use from several threads.
    Raises MissingExtra for a GGUF without the packages that read it, OptionError for a device or dtype that is not.
    """

    def __init__(self, model: Model, *, compute: Compute | None = None, module: torch.nn.Module | None = None) -> None:
        compute = compute or Compute()
        check_extras(model)
        self._model = model
        self._device = pick_device(compute.device)
        self._dtype = pick_dtype(compute.dtype, self._device)
        self._budget = TOKEN_BUDGETS[self._device.type] if compute.token_budget is None else compute.token_budget
        if self._budget < 1:
            raise OptionError(f"a token budget must be at least 1, was {self._budget}")
        self._loading = threading.RLock()
        self._tokenizer: Tokenizer | None = None
        self._given = module
        self._module: torch.nn.Module | None = None
        self._bert: BertOnCpu | None = None
        self._packed: PackedEncoder | None = None

    @property
    def spec(self) -> ModelSpec:
        """The model as it was asked for, with the hub's commit as its revision."""
        return self._model.spec

    @property
    def recipe(self) -> Recipe:
        """What the vectors are."""
        return self._model.recipe

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._model.dim

    @property
    def made_with(self) -> Mapping[str, Any]:
        """Device, dtype, token budget, attention (None before the model is loaded) and versions."""
        config = getattr(self._module, "config", None)
        own = self._packed or self._bert
        return {
            "device": str(self._device),
            "device_name": device_name(self._device),
            "dtype": str(self._dtype).removeprefix("torch."),
            "token_budget": self._budget,
            "attention": own.attention if own else getattr(config, "_attn_implementation", None),
            "source": self._model.files.source,
            "torch": str(torch.__version__),
            "transformers": importlib.metadata.version("transformers"),
            "python": platform.python_version(),
            "embedsearch": __version__,
        }

    def encode(self, texts: Sequence[str], *, role: Role) -> NDArray[np.float32]:
        """Vectors of `texts`: (n, dim) float32, rows of unit length, in the order of the texts."""
        return self.encode_counted(texts, role=role).vectors

    def encode_counted(self, texts: Sequence[str], *, role: Role, progress: Progress | None = None) -> Encoded:
        """Vectors of `texts` and their token counts: `prepare` and `encode_prepared`."""
        return self.encode_prepared(self.prepare(texts, role=role), progress=progress)

    def prepare(self, texts: Sequence[str], *, role: Role) -> Prepared:
        """The texts with the role's prompt before them, tokenised. Needs no weights and no device."""
        prompt = self.recipe.query_prompt if role is Role.QUERY else self.recipe.document_prompt
        rows, n_tokens = self._load_tokenizer()([prompt + text for text in texts])
        return Prepared(n_tokens=n_tokens, truncated=n_tokens > self.recipe.max_tokens, content=rows)

    def encode_prepared(self, prepared: Prepared, *, progress: Progress | None = None) -> Encoded:
        """Vectors of the texts that this encoder has prepared.

        Where a GPU runs out of memory the token budget is halved, for good, and the whole call starts again, so that
        all its vectors come from one budget; `progress` is then called with negative counts that take back what was
        reported. Raises BadVector for a text without any token or a vector that is zero or not finite, EncoderError
        if the longest text alone does not fit.
        """
        rows: TokenRows = prepared.content
        empty = np.flatnonzero(rows.lengths == 0)
        if len(empty):
            message = f"expected texts that are not empty, found no token at position {empty[0]}"
            raise BadVector(message, position=int(empty[0]))
        pooled = self._pooled(rows, progress)
        return Encoded(vectors=unit_rows(pooled), n_tokens=prepared.n_tokens, truncated=prepared.truncated)

    def _pooled(self, rows: TokenRows, progress: Progress | None) -> NDArray[np.float32]:
        if not len(rows.lengths):
            return np.empty((0, self.dim), np.float32)
        self._load()  # before, so that what it raises is not taken for a batch's
        while True:
            budget = self._budget
            tally = Tally(progress)
            try:
                return self._run(rows, budget, tally)
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
            # Not in the except clause, where the traceback still holds the tensors.
            tally.take_back()
            self._halve(rows, budget)

    def _halve(self, rows: TokenRows, budget: int) -> None:
        count = n_padded_tokens if self._packed is None else n_real_tokens
        most = max(count(rows.lengths, batch) for batch in self._batches(rows, budget))
        longest = int(rows.lengths.max())
        if most <= longest:
            raise EncoderError(f"out of memory on {self._device}: one text of {longest} tokens does not fit into it")
        self._budget = max(1, min(budget, most) // 2)
        log.warning("out of memory on %s: starting again with batches of %d tokens", self._device, self._budget)
        if self._packed is not None:
            self._packed.release()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        elif self._device.type == "mps":
            torch.mps.empty_cache()

    def _batches(self, rows: TokenRows, budget: int) -> list[NDArray[np.int64]]:
        if self._packed is not None:
            return self._packed.batches(rows, budget)
        # Without padding nothing is wasted, and fewer passes read the weights less often.
        enough = None if self._bert is not None else ENOUGH_TOKENS.get(self._device.type)
        return rows.batches(budget, enough=enough)

    @torch.inference_mode()
    def _run(self, rows: TokenRows, budget: int, tally: Tally) -> NDArray[np.float32]:
        """(n, dim) float32 pooled vectors in the order of the texts."""
        order = self._batches(rows, budget)
        parts = []
        pace = Pace(self._device, tally)
        n = n_lanes(len(order)) if self._bert is not None else 1
        for batch, part in zip(order, in_lanes(functools.partial(self._forward, rows), order, n=n), strict=True):
            parts.append(part)
            pace.given(len(batch), int(rows.lengths[batch].sum()))
        pooled = torch.cat(parts).cpu().numpy()  # the one copy from the device
        pace.finish()
        result: NDArray[np.float32] = np.empty_like(pooled)
        result[np.concatenate(order)] = pooled
        return result

    @torch.inference_mode()  # in each lane: it is a thread's
    def _forward(self, rows: TokenRows, batch: NDArray[np.int64]) -> torch.Tensor:
        """(k, dim) float32 on the device."""
        if self._packed is not None:
            return self._packed(rows, batch)
        tokenizer = self._load_tokenizer()
        ids = self._to_device(rows.padded(batch, tokenizer.pad_id))
        lengths = self._to_device(rows.lengths[batch])
        if self._bert is not None:
            hidden = self._bert(ids, rows.lengths[batch].tolist())
        else:
            # int64, not bool: some models compute with the mask.
            mask = mask_from_lengths(lengths, ids.shape[1]).to(torch.int64)
            hidden = self._load_module()(input_ids=ids, attention_mask=mask).last_hidden_state
        return pool(hidden, lengths, pooling=self.recipe.pooling, has_bos=tokenizer.has_bos)

    @torch.inference_mode()
    def encode_padded(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of `texts` as AstroLLaMA's model card makes them, to compare: (n, dim) float32, rows of unit length.

        `hidden_states[-1][:, 1:].mean(1)` of one batch that is padded to its longest text, on the side that the
        tokenizer states: the first position is left out, whatever stands there, and padding enters the mean, so that a
        text's vector depends on the others. Without a prompt.
        """
        rows, _ = self._load_tokenizer()(list(texts))
        tokenizer, module = self._load_tokenizer(), self._load_module()
        ids = rows.padded(np.arange(len(rows.lengths)), tokenizer.pad_id)
        mask = (np.arange(ids.shape[1]) < rows.lengths[:, None]).astype(np.int64)
        if tokenizer.pads_left:
            shift = ids.shape[1] - rows.lengths
            ids, mask = (np.array([np.roll(r, k) for r, k in zip(a, shift, strict=True)]) for a in (ids, mask))
        hidden = module(input_ids=self._to_device(ids), attention_mask=self._to_device(mask)).last_hidden_state
        return unit_rows(hidden[:, 1:].float().mean(dim=1).cpu().numpy())

    def _to_device(self, array: NDArray[np.int64]) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        if self._device.type == "cuda":
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._device)

    def _load_tokenizer(self) -> Tokenizer:
        with self._loading:
            if self._tokenizer is None:
                tokenizer: Any = read_tokenizer(self._model)
                if tokenizer is None:
                    from embedsearch.encoders.loading import load_tokenizer  # takes a second or two

                    tokenizer = load_tokenizer(self._model)
                limit, lower_case = self.recipe.max_tokens, self._model.lower_case
                self._tokenizer = Tokenizer(tokenizer, max_tokens=limit, lower_case=lower_case)
            return self._tokenizer

    def _load(self) -> None:
        """What computes: the CPU's own pass from the files alone where it can, else the module."""
        with self._loading:
            if self._bert is None and self._module is None and self._given is None and self._device.type == "cpu":
                self._bert = read_bert(self._model, self._dtype)
            if self._bert is None:
                self._load_module()

    def _load_module(self) -> torch.nn.Module:
        with self._loading:
            if self._module is None:
                from embedsearch.encoders.loading import load_model

                module = self._given or load_model(self._model, device=self._device, dtype=self._dtype)
                if self._bert is None and BertOnCpu.takes(module):
                    self._bert = BertOnCpu.of(module)
                self._packed = self._pack(module) if self._device.type in PACKED_ON else None
                self._module = module
            return self._module

    def _pack(self, module: torch.nn.Module) -> PackedEncoder | None:
        from embedsearch.encoders.cuda import PackedEncoder  # takes torch's compiler with it

        if not PackedEncoder.takes(module):
            return None
        has_bos = self._load_tokenizer().has_bos
        return PackedEncoder(module, self._device, pooling=self.recipe.pooling, has_bos=has_bos)


def _out_of_memory(error: RuntimeError) -> bool:
    """CUDA has a class of its own for it; of MPS and the CPU's allocator there is only the message."""
    told = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or any(phrase in str(error) for phrase in told)
