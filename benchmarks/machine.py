"""What measured, and what it can do at best: rates of matrix products and of reading memory."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embedsearch.device import pick_device, pick_dtype

ROOT = Path(__file__).parents[1]
VERSIONS = ("numpy", "torch", "transformers", "tokenizers", "faiss-cpu", "tantivy", "sentence-transformers")
FLAGS = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512f", "avx512_vnni", "avx2")
SHAPES = ((4096, 384, 384), (4096, 384, 1536), (4096, 1536, 384))
"""Rows, inner and outer dimension of the products of a layer of minilm, in a pass of 4,096 tokens."""
WEIGHTS = (4, 1, 1)
"""How many of each a layer has."""
ROUNDS = 10
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def best(work: Callable[[], object], rounds: int) -> float:
    """Least seconds of some rounds, after one that is not counted."""
    work()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


@cache
def matrix_rate(
    dtype: str, *, shapes: tuple[tuple[int, int, int], ...] = SHAPES, weights: tuple[int, ...] = WEIGHTS
) -> float:
    """Floating-point operations a second of products of these shapes, each as often as `weights` says."""
    seconds = operations = 0.0
    for (rows, inner, outer), n in zip(shapes, weights, strict=True):
        a, b = (torch.randn(shape).to(DTYPES[dtype]) for shape in ((rows, inner), (inner, outer)))
        seconds += n * best(lambda a=a, b=b: torch.mm(a, b), ROUNDS)  # type: ignore[misc]
        operations += n * 2.0 * rows * inner * outer
    return operations / seconds


@cache
def bandwidth() -> float:
    """Bytes a second of reading an array that no cache holds, by all of torch's threads."""
    array = torch.ones(2**26, dtype=torch.float32)  # 256 MiB
    return array.nbytes / best(array.sum, ROUNDS)


def default_dtype() -> str:
    """The precision that the encoder takes on this processor if nobody says: what a peer is given as well."""
    return str(pick_dtype("auto", pick_device("cpu"))).removeprefix("torch.")


def processor() -> str:
    """Its name as the system has it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def machine_name() -> str:
    """A name for its file of results."""
    return re.sub(r"[^a-z0-9]+", "-", f"{processor()} {os.cpu_count()} cores".lower()).strip("-")


def describe() -> dict[str, Any]:
    """Processor, memory, system, and the measured rates that the floors come from."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": [flag for flag in FLAGS if flag in _flags()],
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "matrix_gflops": {dtype: matrix_rate(dtype) / 1e9 for dtype in DTYPES},
        "read_gb_per_s": bandwidth() / 1e9,
    }


def provenance() -> dict[str, Any]:
    """What code was measured, with what, and when."""
    return {
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "python": sys.version.split()[0],
        "versions": {name: found for name in VERSIONS if (found := _version(name))},
    }


def commit() -> str:
    """The commit that is checked out, with `+` where files other than texts and results differ from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    others = (":(exclude)*.md", ":(exclude)benchmarks/results")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", *others)
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("+" if changed else "")


def operations(lengths: Sequence[int], *, layers: int = 6, width: int = 384, inner: int = 1536) -> float:
    """Floating-point operations of BERT's forward passes over texts of these many tokens; by default minilm's."""
    lengths = np.asarray(lengths, np.float64)
    linear = 2 * lengths.sum() * layers * (4 * width * width + 2 * width * inner)
    attention = 2 * 2 * layers * width * (lengths**2).sum()
    return float(linear + attention)


def _flags() -> set[str]:
    try:
        found = re.search(r"^flags\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        return set()
    return set(found[1].split()) if found else set()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
