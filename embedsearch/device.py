"""Where to compute and in which precision, and blocks of scores there: CPU, CUDA and MPS by the same code.

Imports torch, which takes a second: callers import this module when they need it, not before.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from embedsearch.errors import OptionError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""The precisions of a forward pass by name; `auto` is chosen by `pick_dtype`."""

BLOCK_SIDE = 2048
"""Rows and columns of a block of scores: 16 MB in float32, which hides the cost of a call and stays in a cache."""


def pick_device(name: str = "auto") -> torch.device:
    """The device of this name: auto (cuda, else mps, else cpu), cpu, cuda, cuda:N or mps.

    Raises OptionError, which says what there is, if it is unknown or not here.
    """
    here = available_devices()
    if name == "auto":
        return torch.device(next((kind for kind in ("cuda:0", "mps") if kind in here), "cpu"))
    wanted = "cuda:0" if name == "cuda" else name
    if wanted in here:
        return torch.device(wanted)
    raise OptionError(f"no device {name!r} here: expected auto or one of {', '.join(here)}")


def available_devices() -> list[str]:
    """The names of the devices of this machine: cpu, then each cuda:N, then mps."""
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *(f"cuda:{i}" for i in range(n_cuda)), *mps]


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The precision of this name for a forward pass on `device`: auto, float32, bfloat16 or float16.

    auto is bfloat16 where the hardware multiplies in it, since it is then about twice as fast and moves a vector by a
    cosine of less than 0.001; elsewhere it is emulated and slower than float32, which auto is there. On MPS it is
    float32 as well. Raises OptionError for an unknown name.
    """
    if name == "auto":
        return torch.bfloat16 if _has_native_bfloat16(device) else torch.float32
    if name not in DTYPES:
        raise OptionError(f"no dtype {name!r}: expected auto or one of {', '.join(DTYPES)}")
    return DTYPES[name]


def _has_native_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        # Ampere and later; torch's is_bf16_supported also says yes where it is emulated.
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    if platform.machine().lower() in ("arm64", "aarch64"):
        # True only if oneDNN (or the Arm Compute Library) is there to use the instructions.
        supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
        return supported is not None and bool(supported())
    # Private, but the only names that torch 2.6 and later have in common.
    probes = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(probe is not None and probe() for probe in probes)


def device_name(device: torch.device) -> str:
    """What a person calls the device: the GPU's model, or the processor's architecture and threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return f"{platform.machine()} {device.type}{threads}"


def score_blocks(
    a: NDArray[np.float32],
    b: NDArray[np.float32] | None = None,
    *,
    device: torch.device | None = None,
    side: int = BLOCK_SIDE,
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Inner products of all rows of `a` (n, d) with all rows of `b` (m, d), block by block.

    Yields (row_start, col_start, (r, c) float32) with r, c <= `side`, each block a new array. Without `b`: of `a` with
    itself, only blocks on and above the diagonal; in those with row_start == col_start the caller masks what is not
    above the diagonal. Memory: two strips of rows and one block, on the device and here. Products are accumulated in
    float32; `scores.py` gives the scores that users see. Raises OptionError on shapes that do not fit.
    """
    columns = a if b is None else b
    if a.ndim != 2 or columns.ndim != 2 or a.shape[1] != columns.shape[1]:
        raise OptionError(f"expected rows of one length, found arrays of shapes {a.shape} and {columns.shape}")
    if side < 1:
        raise OptionError(f"the side of a block must be at least 1, was {side}")
    return _score_blocks(a, columns, b is None, device or torch.device("cpu"), side)


def _score_blocks(
    a: NDArray[np.float32], columns: NDArray[np.float32], upper: bool, device: torch.device, side: int
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    for i in range(0, len(a), side):
        strip = _to_device(a[i : i + side], device)
        for j in range(i if upper else 0, len(columns), side):
            other = strip if upper and i == j else _to_device(columns[j : j + side], device)
            with torch.inference_mode():
                block: NDArray[np.float32] = (strip @ other.T).cpu().numpy()
            yield i, j, block


def _to_device(rows: NDArray[np.float32], device: torch.device) -> torch.Tensor:
    # A copy: rows may be memory-mapped and read-only, which torch does not know.
    return torch.from_numpy(np.array(rows, dtype=np.float32)).to(device)
