"""From a model's files to a tokenizer and a torch module of transformers, in silence and without surprises.

To import transformers and what a model hangs on takes seconds: this module is imported when it is needed, and a plain
BERT on a CPU does without it (`bert_files`).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import huggingface_hub.utils
import torch
from safetensors import SafetensorError
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, GgufConfig, modeling_gguf_pytorch_utils
from transformers.utils import logging as transformers_logging

from embedsearch.encoders.folder import Model
from embedsearch.errors import EncoderError

_QUIET = threading.RLock()  # what is silenced is global to the process


def load_tokenizer(model: Model) -> Any:
    """The model's own tokenizer, a class of transformers. Raises EncoderError if it cannot be read."""
    gguf = {"gguf_file": model.files.gguf} if model.files.gguf else {}
    with quiet(), _failures_named(model):
        return AutoTokenizer.from_pretrained(
            model.files.folder, local_files_only=True, trust_remote_code=model.spec.trust_remote_code, **gguf
        )


def load_model(model: Model, *, device: torch.device, dtype: torch.dtype, with_head: bool = False) -> torch.nn.Module:
    """The model up to its final hidden states: no head is loaded, no logits are computed. `with_head`: with one.

    Raises EncoderError if it cannot be read, does not fit into memory, or lacks weights: transformers would give random
    ones in their place, and only warn.
    """
    # Packed GGUF weights would be multiplied by other kernels, where those are installed, with other results.
    packed: dict[str, Any] = {"gguf_file": model.files.gguf, "quantization_config": GgufConfig(dequantize=True)}
    auto: Any = AutoModelForCausalLM if with_head else AutoModel
    with quiet(), _failures_named(model):
        loaded, report = auto.from_pretrained(
            model.files.folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=model.spec.trust_remote_code,
            output_loading_info=True,
            **(packed if model.files.gguf else {}),
        )
        # A pooler works on the hidden states, and is not used.
        missing = [name for name in sorted(report["missing_keys"]) if not name.startswith("pooler.")]
        if missing:
            raise EncoderError(f"{model.spec.name} lacks {len(missing)} of its weights, such as {missing[0]}")
        module: torch.nn.Module = loaded.to(device=device).eval()
        # Only weights: rotary positions made of bfloat16 frequencies are off by a radian after some 500 tokens.
        for weights in module.parameters():
            weights.data = weights.data.to(dtype)
    loaded.config.use_cache = False  # keys and values are kept for generation only
    return module


@contextmanager
def _failures_named(model: Model) -> Iterator[None]:
    try:
        yield
    except EncoderError:
        raise
    # What transformers raises on files that it cannot read, on architectures that it does not know, on code that it
    # may not run, and torch on a device that is too small.
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        if "trust_remote_code" in str(error):
            reason = "it comes with Python code of its own, which is run only with trust_remote_code"
        else:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise EncoderError(f"cannot load {model.spec.name} from {model.files.folder}: {reason}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bars and warnings; afterwards they are as they were."""
    loud: Any = transformers_logging  # typed in part
    hub: Any = huggingface_hub.utils
    gguf: Any = modeling_gguf_pytorch_utils
    with _QUIET:
        verbosity, bars, gguf_bar = loud.get_verbosity(), loud.is_progress_bar_enabled(), gguf.tqdm
        hub_bars_off = hub.are_progress_bars_disabled()
        loud.set_verbosity_error()
        loud.disable_progress_bar()  # the hub's as well
        gguf.tqdm = functools.partial(gguf_bar, disable=True)  # this bar asks nobody whether it is wanted
        try:
            yield
        finally:
            gguf.tqdm = gguf_bar
            loud.set_verbosity(verbosity)
            if bars:
                loud.enable_progress_bar()
            if bars and hub_bars_off:
                hub.disable_progress_bars()
