"""Where to compute and in which precision, and blocks of scores there: CPU, CUDA and MPS by the same code.

Imports torch, which takes a second: callers import this module when they need it, not before.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from embedsearch.errors import OptionError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""The precisions of a forward pass by name; `auto` is chosen by `pick_dtype`."""

Ints = NDArray[np.int64]
_Cells = tuple[NDArray[np.float64], Ints, Ints]

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


def bfloat16_product(a: NDArray[np.float32], b: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """`a` (n, d) times the transpose of `b` (m, d) into `out` (n, m), rounding what is multiplied to bfloat16.

    Sums and result stay float32. Where the processor cannot, the product is an ordinary one.
    """
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # set up when torch is loaded
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        with torch.inference_mode():
            torch.mm(torch.from_numpy(a), torch.from_numpy(b).T, out=torch.from_numpy(out))
    finally:
        settings.fp32_precision = before


class PairEngine:
    """Blocks of cosines and what is counted of them, in torch's operations: `embedsearch.pairs.engine.Engine`.

    For CUDA; on the CPU it gives what the compiled loops give, more slowly. Memory, on the device: the vectors, a
    block a space of `side` squared, and the tables.
    """

    side = 4096

    def __init__(
        self,
        vectors: Sequence[NDArray[np.float32]],
        *,
        groups: NDArray[np.int64] | None = None,
        fast: bool = False,
        device: torch.device,
    ) -> None:
        self._device, self._fast = device, fast
        self._vectors = [_to_device(rows, device) for rows in vectors]
        if fast and device.type == "cuda":
            self._vectors = [rows.bfloat16() for rows in self._vectors]
        self._groups = None if groups is None else torch.from_numpy(np.array(groups, np.int64)).to(device)

    @property
    def block(self) -> NDArray[np.float32]:
        """The block of each space, (s, r, c) float32, here."""
        return torch.stack(self._blocks).cpu().numpy()

    def load(self, top: int, bottom: int, left: int, right: int) -> None:
        """Compute the block of these rows and columns; where top == left only the pairs above the diagonal count."""
        self._place = (top, bottom, left, right)
        with torch.inference_mode():
            self._blocks = [self._product(rows[top:bottom], rows[left:right]) for rows in self._vectors]
            pairs = torch.ones(bottom - top, right - left, dtype=torch.bool, device=self._device)
            self._rows, self._columns = (pairs.triu(1) if top == left else pairs).nonzero(as_tuple=True)
            self._cosines = [block[self._rows, self._columns] for block in self._blocks]

    def _product(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        if not self._fast:
            return a @ b.T
        if self._device.type == "cuda":
            return torch.mm(a, b.T, out_dtype=torch.float32)
        out = np.empty((len(a), len(b)), np.float32)
        bfloat16_product(a.numpy(), b.numpy(), out)
        return torch.from_numpy(out)

    def measure(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(s, 2) minimum and maximum, (s, 3) sums of the cosines, their squares, their products with space 0's."""
        wide = [cosines.double() for cosines in self._cosines]
        ranges = [[float(c.min()), float(c.max())] for c in wide]
        return np.array(ranges), np.array([[float(c.sum()), float(c @ c), float(c @ wide[0])] for c in wide])

    def open(self, scales: NDArray[np.float64], firsts: Ints, sizes: Ints, cells: _Cells | None) -> None:
        """Begin empty tables: of each space `sizes` bins from `firsts` on, `scales` to a cosine; `cells` of joints."""
        self._bins, self._cells = (scales, firsts, sizes), cells
        self._tables = [torch.zeros(2 * int(size), dtype=torch.int64, device=self._device) for size in sizes]
        joints = [] if cells is None else [int(cells[2][0] * size) for size in cells[2][1:]]
        self._joints = [torch.zeros(size, dtype=torch.int64, device=self._device) for size in joints]

    def _places(self, s: int, plan: _Cells) -> torch.Tensor:
        return (self._cosines[s].clamp(-1, 1) * float(plan[0][s])).floor().long() - int(plan[1][s])

    def count(self) -> None:
        """Add the block to the tables."""
        top, bottom, left, right = self._place
        same = None
        if self._groups is not None:
            mine, others = self._groups[top:bottom][self._rows], self._groups[left:right][self._columns]
            same = ((mine == others) & (mine >= 0)).long()
        for s, table in enumerate(self._tables):
            bins = self._places(s, self._bins)
            table += torch.bincount(bins if same is None else bins + same * int(self._bins[2][s]), minlength=len(table))
        for s, table in enumerate(self._joints, 1):
            assert self._cells is not None
            cell = self._places(0, self._cells) * int(self._cells[2][s]) + self._places(s, self._cells)
            table += torch.bincount(cell, minlength=len(table))

    def close(self) -> tuple[list[Ints], list[Ints]]:
        """The tables, (2, size) of each space and (a, b) of the first space with each other, int64."""
        joints = [table.cpu().numpy().reshape(int(self._cells[2][0]), -1) for table in self._joints if self._cells]
        return [table.cpu().numpy().reshape(2, -1) for table in self._tables], joints

    def bin(
        self, by: int, edges: NDArray[np.float32], fine: NDArray[np.float64], counts: Ints, sums: NDArray[np.float64]
    ) -> None:
        """Add the block to `counts` (s, b, m) int64 and the papers' `sums` (n, b, 1 + 2 s)."""
        top, bottom, left, right = self._place
        n_bins, n_fine = counts.shape[1:]
        inner = torch.from_numpy(edges[1:-1].copy()).to(self._device)
        which = torch.bucketize(self._cosines[by], inner, right=True)
        weights: list[torch.Tensor | None] = [None]
        for s, (start, scale, shift) in enumerate(fine.tolist()):
            cosines = self._cosines[s].double()
            place = ((cosines - start) * scale).long().clamp(0, n_fine - 1)
            added = torch.bincount(which * n_fine + place, minlength=n_bins * n_fine)
            counts[s] += added.cpu().numpy().reshape(n_bins, n_fine)
            weights += [cosines - shift, (cosines - shift) ** 2]
        for papers, first, end in ((self._rows, top, bottom), (self._columns, left, right)):
            for k, weight in enumerate(weights):
                added = torch.bincount(papers * n_bins + which, weights=weight, minlength=(end - first) * n_bins)
                sums[first:end, :, k] += added.cpu().numpy().reshape(end - first, n_bins)
