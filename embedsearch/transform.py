"""Linear changes of a space that are fitted on its papers: centring, whitening, removal of directions, truncation.

Each is x -> unit((x - mean) @ matrix), fitted on unit rows and frozen. A raw cosine mostly shows a model's common
direction; without it the rest can be told apart (Mu & Viswanath 2018, arXiv:1702.01417; Su et al. 2021,
arXiv:2103.15316). Sources and formulas: docs/method.md.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from embedsearch.errors import OptionError, StoreCorrupt
from embedsearch.scores import Float32, Float64, unit_rows


class Kind(Enum):
    """What a transform does; the value is its name on the command line."""

    CENTER = "center"
    """Subtract the mean of the papers."""
    WHITEN = "whiten"
    """Centre, keep the K directions of largest variance, bring each to variance one."""
    REMOVE_TOP = "remove-top"
    """Centre, then remove the K directions of largest variance ("all but the top")."""
    TRUNCATE = "truncate"
    """Keep the first D numbers, as models trained by Matryoshka representation learning allow."""


@dataclass(frozen=True, slots=True)
class TransformSpec:
    """Which transform: `center`, `whiten:K`, `remove-top:K` or `truncate:D`."""

    kind: Kind
    size: int | None = None

    @classmethod
    def parse(cls, text: str) -> TransformSpec:
        """Read `whiten:64` and its like; raises OptionError for anything else."""
        name, _, size = text.partition(":")
        kind = next((kind for kind in Kind if kind.value == name), None)
        wants_size = kind is not Kind.CENTER
        if kind is None or bool(size) != wants_size or (size and not (size.isascii() and size.isdigit() and int(size))):
            raise OptionError(f"expected a transform center, whiten:K, remove-top:K or truncate:D, found {text!r}")
        return cls(kind, int(size) if size else None)

    def check(self, *, dim: int | None, n_papers: int | None = None) -> None:
        """Raise OptionError where the size cannot fit vectors of `dim` numbers, or so many papers; None: not known."""
        size = self.size or 0
        if dim is not None and size > (most := dim - 1 if self.kind is Kind.REMOVE_TOP else dim):
            raise OptionError(f"expected a size of at most {most} in {self} for vectors of {dim} numbers, found {size}")
        if n_papers is not None and self.kind is not Kind.TRUNCATE and max(size, 1) >= n_papers:
            raise OptionError(f"expected more than {max(size, 1)} papers to fit {self} on, found {n_papers}")

    def dim_after(self, dim: int) -> int:
        """Length of what it makes of vectors of `dim` numbers."""
        return self.size if self.size is not None and self.kind in (Kind.WHITEN, Kind.TRUNCATE) else dim

    def __str__(self) -> str:
        return self.kind.value if self.size is None else f"{self.kind.value}:{self.size}"


@dataclass(frozen=True, slots=True)
class Transform:
    """A fitted transform: `mean` (d,) float64, `matrix` (d, dim) float64, or None where only the mean is taken off."""

    spec: TransformSpec
    mean: Float64
    matrix: Float64 | None

    @property
    def dim(self) -> int:
        """Length of a vector after the transform."""
        return len(self.mean) if self.matrix is None else self.matrix.shape[1]

    def apply(self, rows: Float32) -> Float32:
        """Transform unit rows (n, d) float32 to unit rows (n, dim) float32; a row that comes to zero is a BadVector.

        Row by row: a product of many rows at once sums in an order that depends on how many there are, and every score
        depends on these numbers (see `scores.cosines`).
        """
        moved = rows.astype(np.float64) - self.mean
        if self.matrix is not None:
            moved = (moved[:, None, :] @ self.matrix)[:, 0]
        return unit_rows(moved)


def fit(spec: TransformSpec, blocks: Iterable[tuple[int, Float32]], *, dim: int) -> Transform:
    """Fit on unit rows that come in blocks (first row, (n, d) float32); sums in float64, one pass, O(d^2) memory.

    Raises OptionError where the size does not fit the dimension or the number of papers.
    """
    spec.check(dim=dim)
    if spec.kind is Kind.TRUNCATE:
        return Transform(spec, np.zeros(dim), np.eye(dim)[:, : spec.size])
    n, total, squares = 0, np.zeros(dim), np.zeros((dim, dim))
    for _, rows in blocks:
        wide = rows.astype(np.float64)
        n, total, squares = n + len(wide), total + wide.sum(axis=0), squares + wide.T @ wide
    mean = total / n
    if spec.kind is Kind.CENTER:
        return Transform(spec, mean, None)
    variances, directions = np.linalg.eigh(squares / n - np.outer(mean, mean))
    leading = directions[:, ::-1][:, : spec.size]
    if spec.kind is Kind.REMOVE_TOP:
        return Transform(spec, mean, np.eye(dim) - leading @ leading.T)
    kept = variances[::-1][: spec.size]
    n_directions = int((kept > dim * np.finfo(np.float64).eps * variances[-1]).sum())
    if n_directions < len(kept):
        raise OptionError(f"expected {spec.size} directions with variance in {n} papers, found {n_directions}: lower K")
    return Transform(spec, mean, leading / np.sqrt(kept))


def save(path: Path, transform: Transform) -> None:
    """Write plain arrays to a new .npz file."""
    arrays = {"spec": np.array(str(transform.spec)), "mean": transform.mean}
    if transform.matrix is not None:
        arrays["matrix"] = transform.matrix
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load(path: Path) -> Transform:
    """Read what `save` wrote; raises StoreCorrupt for anything else."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            matrix = arrays.get("matrix")
            return Transform(TransformSpec.parse(str(arrays["spec"])), arrays["mean"], matrix)
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise StoreCorrupt(f"expected a transform in {path}, found: {error}") from error
