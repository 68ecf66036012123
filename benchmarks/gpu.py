"""Embedding on a GPU: how near to the rate of its matrix products, and beside the peers.

    python -m benchmarks.gpu [--device cuda:0] [--papers FILE] [--texts 8192] [--rounds 3] [--quick]

A table in Markdown goes to stdout. minilm with this project and with sentence-transformers: from texts to vectors, in
turn. A model of LLaMA-2-7B's shape with random weights, which cost what trained ones do: from tokens to vectors, by
this project and by vLLM's pooling runner where it is installed. The share is that of the measured rate of products of
the model's own shapes. Texts are real abstracts (the bundled sample, again and again, unless --papers names a file).
`--quick` takes a tiny LLaMA and a few texts, to see that it works: its figures mean nothing. Steps of
training: benchmarks.gpu_train.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, LlamaConfig

from benchmarks import machine
from embedsearch.corpus import open_corpus, sample_path
from embedsearch.device import device_name, pick_device, pick_dtype
from embedsearch.encoders import Compute, ModelSpec, Pooling, Role
from embedsearch.encoders.folder import read_model
from embedsearch.encoders.transformer import TransformerEncoder
from embedsearch.errors import OptionError
from embedsearch.texts import Template

LIMIT = 512
SHARD = 4096
PEER_BATCHES = (32, 128, 512)
"""sentence-transformers' default, and what suits a GPU better."""
LLAMA_7B = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    name: str
    figure: str
    beside: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 1 if there is no such device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--papers")
    parser.add_argument("--texts", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    try:
        device = pick_device(options.device)
    except OptionError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    rounds = options.rounds or (1 if options.quick else 3)
    papers = open_corpus(options.papers or sample_path())
    found = [Template.parse().render(paper) for paper in islice(papers, 8 if options.quick else None)]
    texts = list(islice(cycle(found), options.texts or (8 if options.quick else 2 * SHARD)))
    found_rows = [
        *minilm(texts, device, rounds, quick=options.quick),
        *llama(texts, device, rounds, quick=options.quick),
    ]
    print_rows(f"{device_name(device)}, torch {torch.__version__}, {len(texts)} texts, medians of {rounds}", found_rows)
    return 0


def print_rows(about: str, rows: Iterable[Row]) -> None:
    """A table, each line when it is known."""
    print(f"{about}\n\n| what | figure | beside |\n|---|---|---|")
    for row in rows:
        print(f"| {row.name} | {row.figure} | {row.beside} |", flush=True)


def minilm(texts: list[str], device: torch.device, rounds: int, *, quick: bool) -> list[Row]:
    """Texts a second, by this project's defaults and by the settings of sentence-transformers."""
    ours = "minilm, embedsearch"
    work = {ours: _ours(device)}
    for batch in PEER_BATCHES[: 1 if quick else None]:
        work[f"minilm, sentence-transformers, batch {batch}"] = _theirs(device, batch)
    seconds = in_turn({name: lambda encode=encode: encode(texts) for name, encode in work.items()}, device, rounds)
    best = min(taken for name, taken in seconds.items() if name != ours)
    return [
        Row(name, f"{len(texts) / taken:.0f} texts/s", f"{best / taken:.2f} times the peer's best" * (name == ours))
        for name, taken in seconds.items()
    ]


def _ours(device: torch.device) -> Callable[[list[str]], object]:
    encoder = TransformerEncoder(read_model(ModelSpec(max_tokens=LIMIT)), compute=Compute(device=str(device)))

    def encode(texts: list[str]) -> object:
        # As a build does: one thread tokenises the next shard.
        shards = [texts[start : start + SHARD] for start in range(0, len(texts), SHARD)]
        with ThreadPoolExecutor(1) as beside:
            prepared = [beside.submit(encoder.prepare, shard, role=Role.DOCUMENT) for shard in shards]
            return [encoder.encode_prepared(ready.result()).vectors for ready in prepared]

    return encode


def _theirs(device: torch.device, batch: int) -> Callable[[list[str]], object]:
    from sentence_transformers import SentenceTransformer

    folder = read_model(ModelSpec()).files.folder
    model = SentenceTransformer(str(folder), device=str(device), model_kwargs={"dtype": pick_dtype("auto", device)})
    model.max_seq_length = LIMIT
    return lambda texts: model.encode(texts, batch_size=batch, normalize_embeddings=True, show_progress_bar=False)


def llama(texts: list[str], device: torch.device, rounds: int, *, quick: bool) -> list[Row]:
    """Tokens a second of a large model, as a share of the rate of its matrix products, and by the peer."""
    config = LlamaConfig(vocab_size=32000, max_position_embeddings=4096, **(TINY if quick else LLAMA_7B))
    rows, tokens, ids = _llama_ours(config, texts, device, rounds, n_tokens=256 if quick else 32768)
    return [*rows, _vllm(config, ids, device, tokens)]


def _llama_ours(
    config: LlamaConfig, texts: list[str], device: torch.device, rounds: int, *, n_tokens: int
) -> tuple[list[Row], float, list[list[int]]]:
    """Lines of the table, tokens a second, and the tokens of each text."""
    dtype = pick_dtype("auto", device)
    rate = matrix_rate(config, n_tokens, device, dtype)
    encoder = random_llama(config, device, dtype)
    prepared = encoder.prepare(texts, role=Role.DOCUMENT)
    lengths = prepared.content.lengths
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = in_turn({"ours": lambda: encoder.encode_prepared(prepared)}, device, rounds)["ours"]
    tokens = lengths.sum() / seconds
    share = operations(config, lengths) / seconds / rate
    name = f"LLaMA of {config.hidden_size} x {config.num_hidden_layers}, {str(dtype).removeprefix('torch.')}"
    rows = [
        Row(f"products of {name}", f"{rate / 1e12:.3g} TFLOP/s"),
        Row(f"{name}, embedsearch", f"{tokens:.0f} tokens/s", f"{share:.0%} of that rate"),
        Row("attention, token budget", str(encoder.made_with["attention"]), str(encoder.made_with["token_budget"])),
    ]
    if device.type == "cuda":
        rows.append(Row("memory, at most", f"{torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB"))
    ids = np.split(prepared.content.ids, prepared.content.offsets[1:-1])
    return rows, float(tokens), [row.tolist() for row in ids]


def random_llama(config: LlamaConfig, device: torch.device, dtype: torch.dtype) -> TransformerEncoder:
    """An encoder around random weights made on the device. Its tokens are minilm's, which are fewer than LLaMA's."""
    with torch.device(device):
        module = AutoModel.from_config(config, dtype=dtype).eval()
    found = read_model(ModelSpec(pooling=Pooling.MEAN_WITHOUT_BOS, max_tokens=LIMIT))
    compute = Compute(device=str(device), dtype=str(dtype).removeprefix("torch."))
    return TransformerEncoder(replace(found, dim=config.hidden_size), compute=compute, module=module)


def operations(config: LlamaConfig, lengths: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    """Floating-point operations of passes over texts of these many tokens: products of the layers, causal attention."""
    layer = sum(inner * outer for inner, outer in _products(config))
    attention = 2 * config.hidden_size * float((lengths.astype(np.float64) ** 2).sum())
    return float(config.num_hidden_layers * (2.0 * layer * lengths.sum() + attention))


def _products(config: LlamaConfig) -> list[tuple[int, int]]:
    """(inner, outer) of the products of a layer with as many heads for keys as for queries."""
    hidden, inner = config.hidden_size, config.intermediate_size
    return [(hidden, hidden)] * 4 + [(hidden, inner)] * 2 + [(inner, hidden)]


@torch.inference_mode()
def matrix_rate(config: LlamaConfig, n_tokens: int, device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a layer's products on rows of `n_tokens`, as they follow one another."""
    weights = [torch.randn(outer, inner, dtype=dtype, device=device) for inner, outer in _products(config)]
    rows = {inner: torch.randn(n_tokens, inner, dtype=dtype, device=device) for inner, _ in _products(config)}

    def layer() -> None:
        for weight in weights:
            torch.nn.functional.linear(rows[weight.shape[1]], weight)

    def several() -> None:
        for _ in range(10):
            layer()
        _wait(device)

    several()  # clocks rise and fall with the load
    done = 10 * 2.0 * n_tokens * sum(inner * outer for inner, outer in _products(config))
    return done / machine.best(several, 5)


def in_turn(work: dict[str, Callable[[], object]], device: torch.device, rounds: int) -> dict[str, float]:
    """Median seconds of each, after one that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for counted in (False, *[True] * rounds):
        for name, do in work.items():
            _wait(device)
            start = time.perf_counter()
            do()
            _wait(device)
            if counted:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _vllm(config: LlamaConfig, ids: list[list[int]], device: torch.device, ours: float) -> Row:
    """vLLM's rate on the same tokens, with random weights of its own."""
    name = "the same, vLLM's pooling runner"
    if device.type != "cuda" or find_spec("vllm") is None:
        return Row(name, "skipped", "no vLLM here" if device.type == "cuda" else "needs CUDA")
    from vllm import LLM

    torch.cuda.empty_cache()
    with tempfile.TemporaryDirectory() as folder:
        config.architectures = ["LlamaModel"]
        config.save_pretrained(folder)
        model = LLM(
            folder, runner="pooling", load_format="dummy", skip_tokenizer_init=True, dtype="bfloat16",
            max_model_len=LIMIT, gpu_memory_utilization=0.6,
        )  # fmt: skip
        prompts = [{"prompt_token_ids": row} for row in ids]
        seconds = in_turn({name: lambda: model.embed(prompts, use_tqdm=False)}, device, 1)[name]
    rate = sum(map(len, ids)) / seconds
    return Row(name, f"{rate:.0f} tokens/s", f"embedsearch is {ours / rate:.2f} times as fast")


if __name__ == "__main__":
    sys.exit(main())
