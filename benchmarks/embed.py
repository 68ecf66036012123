"""Papers embedded per second, beside sentence-transformers on the same texts, weights and limit.

    python -m benchmarks.embed PAPERS [--papers 512] [--rounds 3] [--max-tokens 512]

Each setting in turn, round by round (A B C A B C ...), so that a machine that changes its speed changes it for all:
medians, and ratios to sentence-transformers' default. Models are loaded and warmed beforehand. The limit is the
processor's own: the rate of matrix products of the model's shapes in the same dtype, over 2 x parameters of the layers
x tokens plus the two products of attention. `python -m benchmarks embed` compares more settings, and keeps the results.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks import machine
from embedsearch import open_encoder
from embedsearch.corpus import open_corpus, sample_key
from embedsearch.encoders import Compute, ModelSpec, Role
from embedsearch.encoders.models import MINILM
from embedsearch.encoders.weights import find_local
from embedsearch.texts import Template


def texts_of(path: str, n: int) -> list[str]:
    """The texts of the n papers with the smallest hash, as a build would embed them."""
    papers = sorted(open_corpus(path), key=lambda paper: sample_key(paper.id, 0))[:n]
    return [Template.parse().render(paper) for paper in papers]


def ours(dtype: str, max_tokens: int) -> Callable[[list[str]], object]:
    """This project with its defaults, in one dtype."""
    encoder = open_encoder(ModelSpec(max_tokens=max_tokens), compute=Compute(device="cpu", dtype=dtype))
    return lambda texts: encoder.encode(texts, role=Role.DOCUMENT)


def theirs(dtype: torch.dtype, batch: int, max_tokens: int) -> Callable[[list[str]], object]:
    """sentence-transformers on the same folder."""
    from sentence_transformers import SentenceTransformer

    files = find_local(MINILM)
    assert files is not None
    model = SentenceTransformer(str(files.folder), device="cpu", model_kwargs={"dtype": dtype})
    model.max_seq_length = max_tokens
    return lambda texts: model.encode(texts, batch_size=batch, convert_to_tensor=True, show_progress_bar=False)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("papers_file")
    parser.add_argument("--papers", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=512)
    options = parser.parse_args()
    texts = texts_of(options.papers_file, options.papers)
    limit = options.max_tokens
    settings = {
        "sentence-transformers, float32, batch 32 (its default)": theirs(torch.float32, 32, limit),
        "sentence-transformers, bfloat16, batch 12": theirs(torch.bfloat16, 12, limit),
        "sentence-transformers, bfloat16, batch 32": theirs(torch.bfloat16, 32, limit),
        "embedsearch, float32": ours("float32", limit),
        "embedsearch, bfloat16": ours("bfloat16", limit),
    }
    encoder = open_encoder(ModelSpec(max_tokens=limit))
    lengths = np.minimum(encoder.prepare(texts, role=Role.DOCUMENT).n_tokens, limit)
    for encode in settings.values():
        encode(texts[:16])
    seconds: dict[str, list[float]] = {name: [] for name in settings}
    for _ in range(options.rounds):
        for name, encode in settings.items():
            start = time.perf_counter()
            encode(texts)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: len(texts) / statistics.median(times) for name, times in seconds.items()}
    base = next(iter(medians.values()))
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{len(texts)} abstracts, {lengths.mean():.0f} tokens each, at most {limit}; medians of {options.rounds}\n")
    print("| setting | abstracts/s | ratio to the default |\n|---|---|---|")
    for name, rate in medians.items():
        print(f"| {name} | {rate:.1f} | {rate / base:.2f} |")
    for dtype in machine.DTYPES:
        floor = machine.matrix_rate(dtype) / (machine.operations(lengths.tolist()) / len(texts))
        print(f"\nLimit by matrix products alone in {dtype}: {floor:.0f} abstracts/s")


if __name__ == "__main__":
    main()
