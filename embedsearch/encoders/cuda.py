"""Packed batches on a CUDA device: copies beside the computation, and recorded passes of small models.

A batch's tokens are copied from pinned memory while the batch before is computed, and nothing waits for the device. A
pass of a small model is over before Python has started its kernels, so it is recorded once for each of a few shapes
(a CUDA graph) and replayed: the last batch of a shape fills what is left with tokens that belong to no text.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from embedsearch.encoders.batching import batches_of_tokens
from embedsearch.encoders.packing import BY_LENGTH, VARLEN, PackedModel, Shape
from embedsearch.encoders.protocol import Pooling
from embedsearch.encoders.tokens import TokenRows

log = logging.getLogger("embedsearch")

USE_GRAPHS = True
"""Whether passes of small models are recorded."""
SMALL = 200_000_000
"""Parameters below which they are."""
MOST_GRAPHS = 32
"""Shapes that are recorded, each once and for good; others run as large models do."""
SAME_STEPS = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary positions that compute the same for all texts. Others look at the longest, and cannot be recorded."""

Record = Callable[[Callable[[], torch.Tensor]], tuple[Callable[[], object], torch.Tensor]]
"""From a computation to one that repeats it, and the tensor that holds its result each time."""


class PackedEncoder:
    """Pooled vectors of packed batches. Safe to use from several threads.

    On another device than CUDA it computes the same, without what the module's docstring promises.
    """

    def __init__(self, module: nn.Module, device: torch.device, *, pooling: Pooling, has_bos: bool) -> None:
        attention = VARLEN if has_varlen(module, device) else BY_LENGTH
        self._model = PackedModel(module, attention=attention, pooling=pooling, has_bos=has_bos)
        self._send: Callable[[NDArray[np.int64]], torch.Tensor] = torch.from_numpy
        self._graphs: Graphs | None = None
        if device.type == "cuda":
            self._send = Transfers(device)
            if attention == VARLEN and can_record(module):
                self._graphs = Graphs(self._model, Recorder(device))

    takes = staticmethod(PackedModel.takes)

    @property
    def attention(self) -> str:
        """What attends: VARLEN or BY_LENGTH."""
        return self._model.attention

    def batches(self, rows: TokenRows, budget: int) -> list[NDArray[np.int64]]:
        """The positions of the texts of each batch: at most `budget` tokens, unless it is one text."""
        return batches_of_tokens(rows.lengths, budget)

    def __call__(self, rows: TokenRows, batch: NDArray[np.int64]) -> torch.Tensor:
        """(k, h) float32 on the device: the texts at the positions `batch`, not yet of unit length."""
        lengths = rows.lengths[batch]
        shape = Shape.of(lengths)
        if self._graphs is not None and (common := self._graphs.fitting(shape)) is not None:
            return self._graphs(self._send(self._model.pack(rows, batch, common)), common)[: len(batch)]
        return self._model(self._send(self._model.pack(rows, batch, shape)), shape, lengths.tolist())

    def release(self) -> None:
        """Give up recorded passes, whose memory is wanted."""
        if self._graphs is not None:
            self._graphs.clear()


def has_varlen(module: nn.Module, device: torch.device) -> bool:
    """Whether torch's kernel for texts of many lengths runs this model on this device."""
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    config: Any = module.config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    dtype = next(module.parameters()).dtype
    return (
        torch.backends.cuda.is_flash_attention_available()
        and torch.cuda.get_device_capability(device) >= (8, 0)
        and dtype in (torch.bfloat16, torch.float16)
        and width % 8 == 0
        and width <= 256
    )


def can_record(module: nn.Module) -> bool:
    """Whether the module is small, and its steps are the same for all texts."""
    config: Any = module.config
    rotary = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    return USE_GRAPHS and rotary in SAME_STEPS and sum(part.numel() for part in module.parameters()) < SMALL


class Transfers:
    """Copies to a device on a stream of their own, which computing does not hold up."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, host: NDArray[np.int64]) -> torch.Tensor:
        """The array there. What is queued from now on waits for it; this thread does not."""
        pinned = torch.from_numpy(host).pin_memory()
        with torch.cuda.stream(self._stream):
            there = pinned.to(self._device, non_blocking=True)
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        there.record_stream(current)  # so that its memory is not used again while it is read
        return there


class Recorder:
    """Records computations on a CUDA device. All share their memory, since they never run at the same time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None

    def __call__(self, work: Callable[[], torch.Tensor]) -> tuple[Callable[[], object], torch.Tensor]:
        with torch.cuda.device(self._device):
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            stream, current = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                work()  # libraries set themselves up at their first call, which cannot be recorded
            current.wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # Other threads may go on allocating.
            with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
                result = work()
        return graph.replay, result


class Graphs:
    """A model's passes, recorded for a few shapes."""

    def __init__(self, model: Callable[[torch.Tensor, Shape], torch.Tensor], record: Record) -> None:
        self._model, self._record = model, record
        self._recorded: dict[Shape, tuple[torch.Tensor, Callable[[], object], torch.Tensor]] = {}
        self._turn = threading.Lock()
        self._usable = True

    def fitting(self, shape: Shape) -> Shape | None:
        """The shape to pack into, or None if it is too late to record another."""
        common = rounded(shape)
        return common if self._usable and (common in self._recorded or len(self._recorded) < MOST_GRAPHS) else None

    def __call__(self, packed: torch.Tensor, shape: Shape) -> torch.Tensor:
        """As the model. `shape` is one that `fitting` gave."""
        with self._turn:
            if shape not in self._recorded and not self._add(packed, shape):
                return self._model(packed, shape)
            given, replay, result = self._recorded[shape]
            given.copy_(packed)
            replay()
            return result.clone()  # the next replay writes over it

    def _add(self, packed: torch.Tensor, shape: Shape) -> bool:
        given = packed.clone()
        try:
            replay, result = self._record(lambda: self._model(given, shape))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            # What CUDA refuses to record, in a model or a version that nobody tried, it may well compute.
            log.warning("passes are not recorded, which is slower: %s", next(iter(str(error).splitlines()), error))
            self._usable = False
            return False
        self._recorded[shape] = (given, replay, result)
        return True

    def clear(self) -> None:
        """Forget all."""
        with self._turn:
            self._recorded.clear()


def rounded(shape: Shape) -> Shape:
    """The next of few shapes: tokens a power of two up to 4,096 and then a multiple of it, the rest powers of two."""
    n_tokens = _power_of_two(shape.n_tokens, 256) if shape.n_tokens <= 4096 else -(-shape.n_tokens // 4096) * 4096
    return Shape(n_tokens, _power_of_two(shape.n_texts, 8), _power_of_two(shape.longest, 32))


def _power_of_two(n: int, least: int) -> int:
    return max(least, 1 << (n - 1).bit_length())
